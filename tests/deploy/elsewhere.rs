//! The operator in another namespace than `molecule-system`.

use std::path::{Path, PathBuf};

use crate::bed::{DEPLOY, SYSTEM, empty, folder, get, guarded, must};
use crate::objects::{Objects, kustomize, kustomized, objects};

const OTHER: &str = "foo";

/// Copies of the overlays as a person makes them, with a namespace of their own.
struct Copies {
    whole: PathBuf,
    namespaced: PathBuf,
}

fn copies(name: &str) -> Copies {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (whole, namespaced) = (own.join("elsewhere"), own.join("namespaced"));
    // kustomize takes no absolute paths.
    let up = "../".repeat(whole.components().count() - 1);
    let base = format!("{up}{}/base", DEPLOY.trim_start_matches('/'));
    for (copy, of, changes) in [
        (
            &whole,
            "elsewhere",
            [
                ("../../base", &*base),
                ("namespace: operators", "namespace: foo"),
            ],
        ),
        (
            &namespaced,
            "namespaced",
            [("- ../../base", "- ../elsewhere"), ("", "")],
        ),
    ] {
        std::fs::create_dir_all(copy).expect("a folder");
        let file = format!("overlays/{of}/kustomization.yaml");
        let mut text = std::fs::read_to_string(folder(&file)).expect("the overlay");
        for (from, to) in changes {
            assert!(text.contains(from), "{from} in {file}");
            text = text.replace(from, to);
        }
        std::fs::write(copy.join("kustomization.yaml"), text).expect("it is written");
    }
    let role = std::fs::read_to_string(folder("overlays/namespaced/role.yaml"));
    let role = role.expect("the Role");
    std::fs::write(namespaced.join("role.yaml"), role).expect("it is written");
    Copies { whole, namespaced }
}

/// What kustomize takes for an object of a namespace though it is none: kubectl knows better.
fn without_odd_namespaces(text: &str) -> Objects {
    let mut all: Vec<serde_json::Value> = serde_saphyr::from_multiple(text).expect("it is YAML");
    for object in &mut all {
        let kind = object["kind"].as_str().unwrap_or_default();
        if kind.starts_with("ValidatingAdmissionPolicy") || kind == "FlowSchema" {
            let metadata = object["metadata"].as_object_mut().expect("metadata");
            metadata.remove("namespace");
        }
    }
    objects(&crate::objects::yaml(&all))
}

#[test]
fn nothing_is_left_in_the_namespace_that_it_is_not_in() {
    let copies = copies("elsewhere-rendered");
    for (copy, shipped) in [
        (&copies.whole, folder("")),
        (&copies.namespaced, folder("overlays/namespaced")),
    ] {
        let text = kustomized(&copy.display().to_string());
        assert!(!text.contains(SYSTEM), "{}", copy.display());
        let expected = objects(&kustomized(&shipped).replace(SYSTEM, OTHER));
        assert_eq!(without_odd_namespaces(&text), expected);
    }
    let of_one = kustomize(&copies.namespaced.display().to_string());
    assert!(of_one.contains_key("Role agents/workspace-operator-workspaces"));
}

#[tokio::test]
async fn its_settings_are_guarded_there_and_a_second_time_changes_nothing() {
    let cluster = empty().await;
    let kubectl = cluster.kubectl();
    let copy = copies("elsewhere-applied").whole.display().to_string();
    must(&kubectl, &["apply", "-k", &copy]);
    guarded(&kubectl, OTHER).await;
    must(&kubectl, &["diff", "-k", &copy]);
    get(&kubectl, &["flowschema", "workspace-operator.foo"]);
}
