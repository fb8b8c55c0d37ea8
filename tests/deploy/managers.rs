//! The ways to install, one after the other, and what people do in between: nobody is refused because
//! somebody else wrote the same in another way.

use crate::bed::{DEPLOY, empty, folder, must, tool};
use crate::helm::Helm;

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
