//! The ways to install, one after the other, and what people do in between: nobody is refused because
//! somebody else wrote the same in another way.

use crate::bed::{DEPLOY, SYSTEM, empty, folder, get, must, tool};
use crate::helm::{Helm, bed};

const RELEASE: &str = "workspace-operator";

#[tokio::test]
async fn the_same_again_is_unchanged_and_in_conflict_with_nobody() {
    let cluster = empty().await;
    let kubectl = cluster.kubectl();
    must(&kubectl, &["apply", "-k", DEPLOY]);
    let said = must(&kubectl, &["apply", "-k", DEPLOY]);
    let changed: Vec<_> = said
        .lines()
        .filter(|it| !it.ends_with(" unchanged"))
        .collect();
    // kubectl patches the whole selector of a budget each time, as the API says that it is replaced.
    assert_eq!(
        changed,
        ["poddisruptionbudget.policy/workspace-operator configured"]
    );
    must(&kubectl, &["apply", "--server-side", "-k", DEPLOY]);

    let helm = Helm {
        program: tool("helm").await,
        cluster: &cluster,
    };
    let chart = folder("chart");
    helm.must(&["install", RELEASE, &chart, "--take-ownership"]);
    helm.must(&["upgrade", RELEASE, &chart]);
}

/// The commands of the runbook for an operator whose registry fails, with what is yours in them.
fn other_image() -> String {
    let runbook = include_str!("../../deploy/RUNBOOK.md");
    let rest = runbook.split_once("the operator's own registry fails");
    let block = rest.expect("what to do").1.split("```sh\n").nth(1);
    let block = block.and_then(|it| it.split("```").next());
    let digest = format!("sha256:{}", "a".repeat(64));
    let yours = [
        ("RELEASE", RELEASE),
        ("CHART", &folder("chart")),
        ("REGISTRY/NAME", "elsewhere.example.com/operator"),
        ("DIGEST", &digest),
    ];
    let block = block.expect("a block").trim().to_owned();
    (yours.iter()).fold(block, |text, (word, yours)| text.replace(word, yours))
}

#[tokio::test]
async fn an_image_and_a_number_set_by_hand_cost_the_next_upgrade_a_word_and_no_other() {
    let (cluster, program) = bed().await;
    let kubectl = cluster.kubectl();
    let helm = Helm {
        program,
        cluster: &cluster,
    };
    let chart = folder("chart");
    helm.must(&["install", RELEASE, &chart, "--create-namespace"]);
    let image = || {
        let deployment = get(&kubectl, &["deployment", RELEASE, "-n", SYSTEM]);
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().expect("an image").to_owned()
    };
    let here = format!("elsewhere.example.com/operator@sha256:{}", "a".repeat(64));
    helm.shell(&other_image());
    assert_eq!(image(), here);
    helm.must(&["upgrade", RELEASE, &chart, "--reuse-values"]);
    assert_eq!(image(), here);

    let deployment = "deployment/workspace-operator";
    let other = "operator=by-hand.example.com/operator:1";
    must(&kubectl, &["set", "image", "-n", SYSTEM, deployment, other]);
    must(
        &kubectl,
        &["scale", "-n", SYSTEM, deployment, "--replicas=1"],
    );
    let again = ["upgrade", RELEASE, &chart, "--reuse-values"];
    let said = helm.refused(SYSTEM, &again);
    for words in ["2 conflicts", "\"kubectl-set\"", ".spec.replicas"] {
        assert!(said.contains(words), "{said}");
    }
    helm.shell(&format!("{} --force-conflicts", other_image()));
    assert_eq!(image(), here);
    helm.must(&again);
    helm.must(&["rollback", RELEASE, "1"]);
}
