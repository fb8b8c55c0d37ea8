//! What is needed, and what the answers mean.

mod judged;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::judge::{self, Asked};
use super::needs::sources;
use super::*;
use crate::fleet::Source;
use crate::probe;
use crate::seen::Key;
use crate::settings::{Environment, Settings};
use crate::workspace::WorkspaceStatus;

const A: &str = "a.example.com/agents";
const B: &str = "b.example.com/agents";

fn digest(c: char) -> String {
    format!("sha256:{}", c.to_string().repeat(64))
}

fn settings(data: &[(&str, &str)]) -> Settings {
    let data = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let parsed = Settings::parse(&data.collect(), &Environment::default());
    parsed.expect("they are valid").settings
}

fn known(name: &str, spec: Value) -> Known {
    Known {
        key: Key::new("team", name),
        spec: Ok(serde_json::from_value(spec).expect("a spec")),
        status: WorkspaceStatus::default(),
        platforms: BTreeSet::new(),
    }
}

fn images(needs: &Needs) -> Vec<(&str, Vec<&str>)> {
    needs
        .images
        .iter()
        .map(|it| {
            let users = it.users.iter().map(|it| &*it.key.name);
            (it.image.as_str(), users.collect())
        })
        .collect()
}

#[test]
fn each_image_is_needed_once_by_all_who_would_pull_it() {
    let pin = digest('a');
    let settings = settings(&[("MOLECULE_IMAGE_REGISTRY", A), ("PIN_codex", &pin)]);
    let all = [
        known("a", json!({"runtime": "codex"})),
        known("b", json!({"runtime": "codex"})),
        known("c", json!({"runtime": "codex", "tag": "v2"})),
        known("d", json!({"runtime": "codex", "digest": digest('b')})),
        known("e", json!({})),
    ];
    let needs = needs(&all, &settings, false);
    let of = |rest: String| format!("{A}/workspace-template-{rest}");
    let expected = [
        (of("codex:v2".into()), vec!["c"]),
        (of(format!("codex@{pin}")), vec!["a", "b"]),
        (of(format!("codex@{}", digest('b'))), vec!["d"]),
        (of("langgraph:latest".into()), vec!["e"]),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(it, users)| (it.as_str(), users.clone()))
        .collect();
    assert_eq!(images(&needs), expected);
    assert!(needs.without.is_empty());
}

#[test]
fn with_all_every_default_image_is_needed_and_those_in_use_once() {
    let all = [known("a", json!({"runtime": "codex"}))];
    let needs = needs(&all, &settings(&[("EXTRA_RUNTIMES", "mine")]), true);
    assert_eq!(needs.images.len(), 10);
    let codex: Vec<_> = needs
        .images
        .iter()
        .filter(|it| it.runtime == "codex")
        .collect();
    assert_eq!(codex.len(), 1);
    assert_eq!(codex[0].users.len(), 1);
}

#[test]
fn who_has_no_image_is_named() {
    let broken = Known {
        spec: Err("no spec".into()),
        ..known("b", json!({}))
    };
    let needs = needs(
        &[known("a", json!({"runtime": "nope"})), broken],
        &settings(&[]),
        false,
    );
    assert!(needs.images.is_empty());
    assert!(needs.without[0].starts_with("team/a has no image: The runtime \"nope\""));
    assert_eq!(needs.without[1], "team/b does not decode: no spec");
}

#[test]
fn credentials_come_from_the_secrets_of_workspace_and_settings_else_from_the_account() {
    let settings = settings(&[("IMAGE_PULL_SECRETS", "mirror")]);
    let own =
        json!({"imagePullSecrets": [{"name": "own"}, {"name": ""}], "serviceAccountName": "robot"});
    let of = |spec: Value, settings: &Settings| {
        let sources = sources(&[known("a", spec)], settings);
        let source = sources.first().expect("there is one").clone();
        (
            source.namespace,
            source.secrets.join(","),
            source.service_account,
        )
    };
    let names = |it: (&str, &str, &str)| (it.0.to_owned(), it.1.to_owned(), it.2.to_owned());
    assert_eq!(of(own, &settings), names(("team", "own,mirror", "robot")));
    assert_eq!(
        of(json!({}), &settings),
        names(("team", "mirror", "default"))
    );
    assert_eq!(
        of(json!({}), &Settings::default()),
        names(("team", "", "default"))
    );
}

fn cluster(data: Option<&[(&str, &str)]>, last_good: Option<&str>) -> Cluster {
    let map = |data: &[(&str, &str)]| {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Source::Present(data.collect())
    };
    let record = last_good.map(|registry| json!({"MOLECULE_IMAGE_REGISTRY": registry}).to_string());
    Cluster {
        settings: data.map_or(Source::Absent, map),
        fleet: record.map_or(Source::Absent, |text| map(&[("lastGood", &text)])),
        workspaces: Vec::new(),
        nodes: vec![Node {
            platform: "linux/amd64".into(),
            ..Node::default()
        }],
        operators: Some(BTreeSet::new()),
    }
}

#[test]
fn a_prefix_is_put_into_the_settings_as_they_stand() {
    let pin = digest('a');
    let to: Prefix = B.parse().expect("a prefix");
    let seen = cluster(Some(&[("PIN_codex", &pin)]), Some(A));
    assert_eq!(
        seen.settings_under(None)
            .expect("in force")
            .registry()
            .as_str(),
        A
    );
    let under = seen.settings_under(Some(&to)).expect("they are valid");
    assert_eq!(under.registry().as_str(), B);
    assert!(under.pin("codex").is_some());
    let written = seen.as_written().expect("they are valid");
    assert_eq!(
        (written.registry().as_str(), written.pin("codex").is_some()),
        (A, true)
    );

    // What is invalid stays so, and a switch would change nothing.
    let broken = cluster(Some(&[("PLATFORM_URL", "nowhere")]), Some(A));
    let error = format!(
        "{:#}",
        broken.settings_under(Some(&to)).expect_err("invalid")
    );
    assert!(error.contains("a switch would change nothing"), "{error}");
    assert!(error.contains("PLATFORM_URL"), "{error}");
    let error = format!("{:#}", broken.as_written().expect_err("invalid"));
    assert!(error.contains("PLATFORM_URL"), "{error}");
    assert_eq!(
        broken
            .settings_under(None)
            .expect("the last good")
            .registry()
            .as_str(),
        A
    );
    assert!(
        cluster(Some(&[("PLATFORM_URL", "x")]), None)
            .settings_under(None)
            .is_err()
    );
    assert!(
        cluster(None, None).settings_under(None).is_ok(),
        "the defaults"
    );
}

fn need(image: &str) -> Need {
    Need {
        image: image.into(),
        runtime: "codex".into(),
        users: Vec::new(),
    }
}

fn request(strict: bool) -> Request {
    Request {
        scope: Scope {
            namespace: None,
            settings_namespace: String::new(),
            settings_name: String::new(),
            fleet_name: String::new(),
        },
        to: None,
        all: false,
        strict,
        access: Access::default(),
    }
}

fn report(rows: Vec<Row>, strict: bool) -> Report {
    let settings = settings(&[("MOLECULE_IMAGE_REGISTRY", B)]);
    let seen = cluster(None, Some(A));
    judge::report(&seen, &settings, Vec::new(), rows, &request(strict))
}

fn row(finding: Finding, content: Option<Content>) -> Row {
    let need = need("b.example.com/agents/codex:latest");
    let nodes = BTreeSet::new();
    Row {
        finding,
        content,
        ..judge::unasked(&asked(&need, &nodes), "")
    }
}

/// As anybody, for nobody.
fn asked<'a>(need: &'a Need, nodes: &'a BTreeSet<String>) -> Asked<'a> {
    Asked {
        need,
        users: &[],
        nodes,
        logins: 0,
        credentials_on_nodes: false,
    }
}

#[test]
fn one_no_is_a_no_and_one_doubt_a_doubt() {
    use Finding::*;
    for (findings, verdict) in [
        (vec![], Verdict::Yes),
        (vec![Present, Present], Verdict::Yes),
        (vec![Present, Unreachable], Verdict::Unknown),
        (vec![Present, CannotTell], Verdict::Unknown),
        (vec![Missing, Unreachable, Present], Verdict::No),
        (vec![Present, Denied], Verdict::No),
        (vec![Unusable], Verdict::No),
    ] {
        let rows = findings.iter().map(|it| row(*it, None)).collect();
        let report = report(rows, false);
        assert_eq!(report.verdict(), verdict, "{findings:?}");
        assert_eq!(report.in_force.as_deref(), Some(A));
    }
}

#[test]
fn other_content_is_told_and_only_strictly_a_no() {
    let different = || row(Finding::Different, Some(Content::Different));
    let unclear = || row(Finding::Present, Some(Content::CannotTell));
    for (rows, lax, strict) in [
        (vec![different()], Verdict::Yes, Verdict::No),
        (vec![unclear()], Verdict::Yes, Verdict::Unknown),
        (vec![unclear(), different()], Verdict::Yes, Verdict::No),
        (
            vec![row(Finding::Present, Some(Content::Same))],
            Verdict::Yes,
            Verdict::Yes,
        ),
    ] {
        assert_eq!(report(rows.clone(), false).verdict(), lax);
        assert_eq!(report(rows, true).verdict(), strict);
    }
}

#[test]
fn what_a_node_pulls_is_compared_with_what_runs() {
    use Content::{CannotTell, Same};
    for (told, running, content, strict) in [
        (Some("a"), vec!["a", "a"], Some(Same), Verdict::Yes),
        (
            Some("a"),
            vec!["a", "b"],
            Some(CannotTell),
            Verdict::Unknown,
        ),
        (Some("b"), vec!["a"], Some(CannotTell), Verdict::Unknown),
        (None, vec!["a"], Some(CannotTell), Verdict::Unknown),
        (Some("a"), vec![], None, Verdict::Yes),
    ] {
        let denied = row(Finding::Denied, None);
        let answer = probe::Answer::Pulled(told.map(str::to_owned));
        let pulled = judge::by_node(denied, answer, &running);
        assert_eq!(pulled.content, content, "{told:?} beside {running:?}");
        assert_eq!(report(vec![pulled.clone()], false).verdict(), Verdict::Yes);
        assert_eq!(report(vec![pulled], true).verdict(), strict);
    }
}

#[test]
fn the_operator_has_to_survive_the_outage_that_it_cures() {
    let warned = |registry: &str| {
        let mut seen = cluster(None, Some(A));
        seen.operators = Some(["a.example.com/platform/operator:1".to_owned()].into());
        let settings = settings(&[("MOLECULE_IMAGE_REGISTRY", registry)]);
        let rows = vec![row(Finding::Present, None)];
        let report = judge::report(&seen, &settings, Vec::new(), rows, &request(false));
        report.warnings.join("\n")
    };
    assert!(
        warned(B).contains("is on a.example.com, which is being left"),
        "{}",
        warned(B)
    );
    assert!(
        warned(A).contains("is on a.example.com with the Workspaces'"),
        "{}",
        warned(A)
    );
    let mut elsewhere = cluster(None, Some(A));
    elsewhere.operators = Some(["c.example.com/platform/operator:1".to_owned()].into());
    let settings = settings(&[("MOLECULE_IMAGE_REGISTRY", B)]);
    let rows = vec![row(Finding::Present, None)];
    let report = judge::report(&elsewhere, &settings, Vec::new(), rows, &request(false));
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);

    elsewhere.operators = None;
    let rows = vec![row(Finding::Present, None)];
    let report = judge::report(&elsewhere, &settings, Vec::new(), rows, &request(false));
    let told = report.warnings.join("\n");
    assert!(
        told.starts_with("The operator's own Deployment cannot be read"),
        "{told}"
    );
}

#[test]
fn how_far_the_switch_is_prepared_is_told_of_that_prefix_alone() {
    let told = |registry: &str, key: &str| {
        let text = format!(
            "prepull:\n  registry: {B}\n  images: 12\n  pulled: 11\n  failed:\n    b.example.com \
             does not have it: 1\n"
        );
        let mut seen = cluster(None, None);
        seen.fleet = Source::Present([(key.to_owned(), text)].into());
        let settings = settings(&[("MOLECULE_IMAGE_REGISTRY", registry)]);
        let rows = vec![row(Finding::Present, None)];
        let report = judge::report(&seen, &settings, Vec::new(), rows, &request(false));
        report.prepared
    };
    let words = "Pulled before the switch, counted on each node: 11 of 12 images; 1 failed: \
                 b.example.com does not have it.";
    assert_eq!(told(B, "status").as_deref(), Some(words));
    assert_eq!(told(A, "status"), None);
    assert_eq!(told(B, "status.elsewhere"), None);
}
