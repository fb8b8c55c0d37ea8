//! A check of images that cannot fail would prove nothing.

use fuzz::image::{Basis, Data, check, meant, reads};
use jiff::Timestamp;
use serde_json::{Value, json};
use workspace_operator::plan::{Step, Stuck};
use workspace_operator::seen::{Ask, Moved, Version};

const MEANT: &str = "a.example.com/agents/workspace-template-codex:v1";
const BEFORE: &str = "b.example.com/agents/workspace-template-codex:v1";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn settings(more: &[(&str, &str)]) -> Data {
    let registry = ("MOLECULE_IMAGE_REGISTRY", "a.example.com/agents");
    let all = more.iter().chain([&registry]);
    all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn ask(image: &str) -> Ask {
    Ask {
        revision: String::new(),
        image: image.to_owned(),
        settings: String::new(),
    }
}

fn set(image: &str) -> Step {
    Step::SetImage {
        version: Version::default(),
        ask: ask(image),
        at: Timestamp::UNIX_EPOCH,
        why: Stuck::Image,
    }
}

fn back(image: &str, from: &str) -> Step {
    let moved = Moved {
        from: None,
        at: Timestamp::UNIX_EPOCH,
        over: None,
        back: Some(from.to_owned()),
    };
    Step::MovePod {
        version: Version::default(),
        ask: ask(image),
        moved: Box::new(moved),
    }
}

fn accepts(settings: Option<&Data>, annotations: &Value, step: &Step) -> bool {
    let workspace = json!({"spec": {"runtime": "codex", "tag": "v1"}});
    let pod = json!({"metadata": {"annotations": annotations}});
    let basis = Basis {
        settings,
        workspace: &workspace,
        pod: &pod,
    };
    check(&basis, step).is_ok()
}

#[test]
fn only_the_image_that_is_meant_is_let_pass() {
    let typed = settings(&[]);
    let accepts = |image: &str| accepts(Some(&typed), &Value::Null, &set(image));
    assert!(accepts(MEANT));
    let wrong = [
        BEFORE,
        "a.example.com/agents/workspace-template-codex:latest",
        "a.example.com/agents/workspace-template-langgraph:v1",
        "a.example.com/workspace-template-codex:v1",
        "",
    ];
    for image in wrong {
        assert!(!accepts(image), "{image:?}");
    }
}

#[test]
fn nothing_is_let_pass_while_no_settings_are_in_force() {
    assert!(!accepts(None, &Value::Null, &set(MEANT)));
}

#[test]
fn a_pod_is_put_back_where_the_settings_say_so_and_on_what_it_ran() {
    let paced = [("ROLLOUT", "Paced"), ("ROLLOUT_ROLL_BACK", "true")];
    let typed = settings(&paced);
    let moved = |image: &str, from: &str| {
        let (told, before) = ("molecule.ai/image", "molecule.ai/movedFrom");
        json!({told: image, before: from})
    };
    let well = moved(MEANT, BEFORE);
    assert!(accepts(Some(&typed), &well, &back(BEFORE, MEANT)));

    for typed in [settings(&[]), settings(&paced[..1]), settings(&paced[1..])] {
        assert!(!accepts(Some(&typed), &well, &back(BEFORE, MEANT)));
    }
    let paused = settings(&[paced[0], paced[1], ("ROLLOUT_PAUSED", "true")]);
    assert!(!accepts(Some(&paused), &well, &back(BEFORE, MEANT)));
    let other = "b.example.com/agents/workspace-template-langgraph:v1";
    let wrong = [
        (&well, back(MEANT, MEANT)),
        (&well, back(other, MEANT)),
        (&well, back(BEFORE, BEFORE)),
        (&well, set(BEFORE)),
        (&moved(BEFORE, BEFORE), back(BEFORE, MEANT)),
        (&moved(MEANT, other), back(other, MEANT)),
        (&moved(MEANT, MEANT), back(MEANT, MEANT)),
        (&Value::Null, back(BEFORE, MEANT)),
    ];
    for (annotations, step) in wrong {
        let accepted = accepts(Some(&typed), annotations, &step);
        assert!(!accepted, "{annotations}: {step:?}");
    }
}

#[test]
fn what_is_meant_is_as_the_design_has_it() {
    let pin = format!("ghcr.io/molecule-ai/workspace-template-codex@{DIGEST}");
    let table = [
        (
            json!({}),
            Some("ghcr.io/molecule-ai/workspace-template-langgraph:latest"),
        ),
        (json!({"runtime": "codex"}), Some(&*pin)),
        (
            json!({"runtime": "codex", "tag": "v1"}),
            Some("ghcr.io/molecule-ai/workspace-template-codex:v1"),
        ),
        (
            json!({"runtime": "zed"}),
            Some("ghcr.io/molecule-ai/workspace-template-zed:latest"),
        ),
        (json!({"runtime": "nonesuch"}), None),
        (json!({"runtime": ""}), None),
    ];
    let typed = [("EXTRA_RUNTIMES", "zed, ,a1"), ("PIN_codex", DIGEST)];
    let typed = typed.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let typed = Data::from(typed);
    for (spec, image) in table {
        assert_eq!(meant(&typed, &spec).as_deref(), image, "{spec}");
        assert!(image.is_none_or(|it| reads(it).is_ok()), "{image:?}");
    }
}

#[test]
fn an_image_is_to_be_read_as_what_it_says() {
    for image in ["busybox:1", "docker.io/busybox:1", "a.example.com/x"] {
        assert!(reads(image).is_err(), "{image}");
    }
}
