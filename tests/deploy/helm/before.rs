//! A release of the chart of the version before, upgraded to this one in each way that keeps its values,
//! and rolled back.

use std::path::Path;

use serde_json::json;

use super::{Helm, MIRROR, OLD, WORKSPACE, bed, registry, switch};
use crate::bed::{SYSTEM, folder, get, guarded};
use crate::objects::{Objects, objects};
use crate::render::template;
use crate::upgrade::source_before;

const RELEASE: &str = "workspace-operator";

impl Helm<'_> {
    /// The objects of the release as it is now.
    fn manifest(&self) -> Objects {
        objects(&self.must(&["get", "manifest", RELEASE]))
    }
}

/// What this chart makes of these values, without the settings: no upgrade writes them.
async fn rendered(flags: &[&str]) -> Objects {
    let mut objects = template(flags).await;
    let settings = objects.remove("ConfigMap molecule-system/workspace-settings");
    settings.expect("the settings of a first installation");
    objects
}

#[tokio::test]
async fn a_release_of_the_chart_before_keeps_its_values_through_an_upgrade_and_goes_back() {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chart-before");
    source_before(&source, "deploy/chart");
    let before = source.join("deploy/chart").display().to_string();
    let (cluster, program) = bed().await;
    let kubectl = cluster.kubectl();
    let helm = Helm {
        program,
        cluster: &cluster,
    };
    // Of the person's own; everything else is the chart's.
    let own = format!("--set=podLabels.team=a,settings.MOLECULE_IMAGE_REGISTRY={OLD}");
    let ready = ["--wait", "--timeout=2m"];
    let install = ["install", RELEASE, &before, "--create-namespace", &own];
    helm.must(&[&install[..], &ready].concat());
    guarded(&kubectl, SYSTEM).await;
    let installed = helm.manifest();
    kubectl.apply(WORKSPACE).expect("the Workspace is applied");
    let alice = || get(&kubectl, &["workspace", "alice"])["metadata"]["uid"].take();
    let uid = alice();
    switch(&kubectl);

    // With these, what this chart has and that one had not is not there at all.
    let of_before = format!("--values={before}/values.yaml");
    for (keep, as_if) in [
        ("--reuse-values", &[&of_before, &own][..]),
        ("--reset-then-reuse-values", &[&own][..]),
    ] {
        let chart = folder("chart");
        let upgrade = ["upgrade", RELEASE, &chart, keep];
        helm.must(&[&upgrade[..], &ready].concat());
        let as_if: Vec<_> = as_if.iter().map(|it| it.as_str()).collect();
        assert_eq!(helm.manifest(), rendered(&as_if).await, "{keep}");
        let deployment = get(&kubectl, &["deployment", RELEASE, "-n", SYSTEM]);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["team"], json!("a"), "{keep}");
        assert_eq!(registry(&kubectl), MIRROR, "{keep}");

        helm.must(&[&["rollback", RELEASE, "1"][..], &ready].concat());
        assert_eq!(helm.manifest(), installed, "{keep}");
        assert_eq!(registry(&kubectl), MIRROR, "{keep}");
        assert_eq!(alice(), uid, "{keep}");
    }
}
