//! `kubectl apply -k`.

use std::collections::BTreeSet;

use cluster::Kubectl;
use serde_json::json;

use crate::alerts::RUNBOOK;
use crate::bed::{
    DEPLOY, SYSTEM, create_settings, empty, folder, get, guarded, installed, must, shell, until,
};
use crate::objects::{kustomize, kustomized, own, yaml};

/// kwok plays the nodes: that the Pods run says that they are admitted by the `restricted` standard
/// and get a node each.
#[tokio::test]
async fn on_an_empty_cluster_two_replicas_run_on_two_nodes() {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    must(
        &kubectl,
        &[
            "rollout",
            "status",
            "deployment/workspace-operator",
            "-n",
            SYSTEM,
        ],
    );
    let pods = get(&kubectl, &["pods", "-n", SYSTEM]);
    let nodes: BTreeSet<_> = (pods["items"].as_array().into_iter().flatten())
        .map(|pod| pod["spec"]["nodeName"].to_string())
        .collect();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    let slices = [
        "endpointslices",
        "-n",
        SYSTEM,
        "-l",
        "kubernetes.io/service-name=workspace-operator",
    ];
    until("the Service", || {
        let slice = &get(&kubectl, &slices)["items"][0];
        let scraped = slice["endpoints"].as_array().map_or(0, Vec::len);
        scraped == 2 && slice["ports"][0]["port"] == 8080
    })
    .await;
    let enforced = get(&kubectl, &["namespace", SYSTEM]);
    let label = "pod-security.kubernetes.io/enforce";
    assert_eq!(enforced["metadata"]["labels"][label], "restricted");
}

#[tokio::test]
async fn a_switch_survives_that_everything_is_applied_again() {
    let cluster = empty().await;
    let kubectl = cluster.kubectl();
    must(&kubectl, &["apply", "-k", DEPLOY]);
    // What the operator writes.
    let record = json!({"data": {"registry": "old.example.com/a"}}).to_string();
    let patch = [
        "patch",
        "configmap",
        "workspace-fleet",
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
    ];
    must(&kubectl, &[&patch[..], &[&record]].concat());
    let lease = json!({"spec": {"holderIdentity": "a", "leaseTransitions": 3}}).to_string();
    let patch = [
        "patch",
        "lease",
        "workspace-operator",
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
    ];
    must(&kubectl, &[&patch[..], &[&lease]].concat());
    // What people write.
    let entry = "MOLECULE_IMAGE_REGISTRY=old.example.com/a";
    assert!(create_settings(&kubectl, SYSTEM, &[entry], false).ok());
    let edit = json!({"data": {"MOLECULE_IMAGE_REGISTRY": "mirror.example.com/a"}}).to_string();
    let patch = [
        "patch",
        "configmap",
        "workspace-settings",
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
    ];
    must(&kubectl, &[&patch[..], &[&edit]].concat());

    must(&kubectl, &["apply", "-k", DEPLOY]);
    // It fails where there is a difference.
    must(&kubectl, &["diff", "-k", DEPLOY]);
    must(&kubectl, &["apply", "--server-side", "-k", DEPLOY]);
    let of = |kind: &str, name: &str| get(&kubectl, &[kind, name, "-n", SYSTEM]);
    let settings = of("configmap", "workspace-settings");
    assert_eq!(
        settings["data"]["MOLECULE_IMAGE_REGISTRY"],
        "mirror.example.com/a"
    );
    assert_eq!(
        of("configmap", "workspace-fleet")["data"]["registry"],
        "old.example.com/a"
    );
    assert_eq!(
        of("lease", "workspace-operator")["spec"]["holderIdentity"],
        "a"
    );

    // The namespace takes all with it: the guard of the settings does not stop that.
    guarded(&kubectl, SYSTEM).await;
    must(&kubectl, &["delete", "namespace", SYSTEM, "--wait=false"]);
    let gone = || {
        !kubectl
            .run(&["get", "namespace", SYSTEM])
            .expect("kubectl runs")
            .ok()
    };
    until("the end of the namespace", gone).await;
}

/// A drain of both nodes: what it evicts finds no other one.
#[tokio::test]
async fn of_two_replicas_one_stays_until_the_other_is_back() {
    let cluster = empty().await;
    let kubectl = cluster.kubectl();
    must(&kubectl, &["apply", "-k", DEPLOY]);
    let may_go = || {
        let budget = get(&kubectl, &["pdb", "workspace-operator", "-n", SYSTEM]);
        budget["status"]["disruptionsAllowed"].as_i64()
    };
    until("both replicas", || may_go() == Some(1)).await;
    let pods = get(&kubectl, &["pods", "-n", SYSTEM]);
    let names = (pods["items"].as_array().into_iter().flatten())
        .map(|it| it["metadata"]["name"].as_str().expect("a name"));
    let [first, second] = names.collect::<Vec<_>>()[..] else {
        panic!("{pods}");
    };
    let evict = |name: &str| {
        let uri = format!("/api/v1/namespaces/{SYSTEM}/pods/{name}/eviction");
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": SYSTEM}});
        let create = ["create", "--raw", &uri, "-f", "-"];
        kubectl
            .run_with_input(&create, &eviction.to_string())
            .expect("kubectl runs")
    };
    must(&kubectl, &["cordon", "node-1", "node-2"]);
    let since = cluster.audit().mark().expect("the audit log is there");
    assert!(evict(first).ok());
    let refused = evict(second);
    assert!(refused.stderr.contains("disruption budget"), "{refused:?}");
    let asked = cluster.audit().events_since(since).expect("the audit log");
    let codes = asked.iter().filter(|it| it.subresource == "eviction");
    assert_eq!(codes.map(|it| it.code).collect::<Vec<_>>(), [201, 429]);

    must(&kubectl, &["uncordon", "node-1", "node-2"]);
    until("the second's turn", || evict(second).ok()).await;
}

/// The commands of the README, the first in a block after these words.
fn commands(after: &str) -> &'static str {
    let rest = include_str!("../../README.md").split_once(after);
    let rest = rest.unwrap_or_else(|| panic!("{after:?} is not in README.md"));
    let block = rest.1.split("```").nth(1).expect("a block");
    block.strip_prefix("sh\n").expect("commands")
}

/// Which of these are there.
fn found<'a>(kubectl: &Kubectl, ids: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let is = |id: &&String| {
        let (kind, name) = id.split_once(' ').expect("a kind and a name");
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        let get = kubectl.run(&["get", &kind.to_lowercase(), name, "-n", namespace]);
        let get = get.expect("kubectl runs");
        assert!(
            get.ok() || get.stderr.contains("NotFound"),
            "{}",
            get.stderr
        );
        get.ok()
    };
    ids.filter(is).collect()
}

#[tokio::test]
async fn what_the_readme_says_of_the_end_leaves_nothing_but_what_it_names() {
    let cluster = empty().await;
    let kubectl = cluster.kubectl();
    must(&kubectl, &["create", "namespace", "agents"]);
    must(&kubectl, &["apply", "-k", DEPLOY]);
    guarded(&kubectl, SYSTEM).await;
    let entry = "MOLECULE_IMAGE_REGISTRY=a.example.com/a";
    assert!(create_settings(&kubectl, SYSTEM, &[entry], false).ok());
    let workspace = "{apiVersion: molecule.ai/v1alpha1, kind: Workspace, \
                      metadata: {name: alice, namespace: agents}, spec: {}}";
    kubectl.apply(workspace).expect("it is applied");

    let namespaced = folder("overlays/namespaced");
    must(&kubectl, &["apply", "-k", &namespaced]);
    let may = |namespace: &str| {
        let operator = "--as=system:serviceaccount:molecule-system:workspace-operator";
        let asked = ["auth", "can-i", "delete", "pods", "-n", namespace, operator];
        kubectl.run(&asked).expect("kubectl runs").ok()
    };
    until("the rights", || may("agents") && may("kube-system")).await;
    shell(&cluster, commands("**From all namespaces to one**"));
    until("fewer rights", || !may("kube-system")).await;
    assert!(may("agents"));

    shell(&cluster, commands("**Uninstall**"));
    let (mut shipped, own) = (kustomize(DEPLOY), kustomize(&namespaced));
    shipped.extend(own);
    let left = found(&kubectl, shipped.keys());
    assert_eq!(
        left,
        [
            "CustomResourceDefinition workspaces.molecule.ai",
            "Namespace molecule-system",
            "Role agents/workspace-operator-workspaces",
            "RoleBinding agents/workspace-operator-workspaces",
        ]
    );
    must(&kubectl, &["get", "ws", "alice", "-n", "agents"]);
    must(
        &kubectl,
        &["get", "configmap", "workspace-settings", "-n", SYSTEM],
    );
    shell(&cluster, commands("Then, if\nthat is meant"));
    let ends = [
        "CustomResourceDefinition workspaces.molecule.ai",
        "Namespace molecule-system",
    ];
    let ends = ends.map(str::to_owned);
    assert_eq!(found(&kubectl, ends.iter()), Vec::<&String>::new());
}

/// Server-side: against what the server knows of each kind, its policies included.
#[tokio::test]
async fn every_overlay_is_accepted_by_the_api_server() {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    kubectl
        .run(&["create", "namespace", "agents"])
        .expect("kubectl runs");
    for name in ["", "overlays/single", "overlays/namespaced"] {
        let folder = folder(name);
        must(&kubectl, &["apply", "--dry-run=server", "-k", &folder]);
    }
}

/// What the component of the alerts says to add where the runbook is served elsewhere.
fn runbook_elsewhere() -> String {
    let file = std::fs::read_to_string(folder("components/alerts/kustomization.yaml"));
    let file = file.expect("the component");
    let lines = file.lines().filter_map(|it| it.strip_prefix("#   "));
    let lines = lines.skip_while(|it| *it != "replacements:");
    lines.map(|it| format!("{it}\n")).collect()
}

/// The components are for a kustomization of one's own.
#[tokio::test]
async fn the_components_go_with_the_base() {
    let with = own("with-components", |there| {
        format!(
            "resources: [{there}/base]\n\
             components: [{there}/components/servicemonitor, {there}/components/podmonitor, \
             {there}/components/alerts, {there}/components/pod-rights]\n"
        )
    });
    let without = kustomize(DEPLOY);
    let added: Vec<_> = with
        .keys()
        .filter(|id| !without.contains_key(*id))
        .collect();
    assert_eq!(
        added,
        [
            "PodMonitor molecule-system/workspace-operator",
            "PrometheusRule molecule-system/workspace-operator",
            "ServiceMonitor molecule-system/workspace-operator",
            "ValidatingAdmissionPolicy workspace-pod-rights",
            "ValidatingAdmissionPolicyBinding workspace-pod-rights",
        ]
    );
    assert_eq!(with.len(), without.len() + added.len());
    let all = yaml(with.values());
    // What is scraped is found by labels and by the name of a port.
    let service = &with["Service molecule-system/workspace-operator"];
    let monitor = &with["ServiceMonitor molecule-system/workspace-operator"]["spec"];
    let labels = &service["metadata"]["labels"];
    assert_eq!(&monitor["selector"]["matchLabels"], labels);
    let port = &service["spec"]["ports"][0]["name"];
    assert_eq!(&monitor["endpoints"][0]["port"], port);
    let monitor = &with["PodMonitor molecule-system/workspace-operator"]["spec"];
    let deployment = &with["Deployment molecule-system/workspace-operator"]["spec"]["template"];
    let labels = &deployment["metadata"]["labels"];
    assert_eq!(&monitor["selector"]["matchLabels"], labels);
    let port = &deployment["spec"]["containers"][0]["ports"][0]["name"];
    assert_eq!(&monitor["podMetricsEndpoints"][0]["port"], port);
    assert!(!all.contains("runbook_url"), "nobody said where it is");

    let served = own("with-runbook", |there| {
        let elsewhere = runbook_elsewhere();
        format!("resources: [{there}/base, {there}/chart/files/alerts]\n{elsewhere}")
    });
    let all = yaml(served.values());
    let url = r#""runbook_url":"https://wiki.example.com/workspace-operator#workspacestuck""#;
    assert!(all.contains(url));
    assert!(!all.contains(RUNBOOK));
}

#[test]
fn the_settings_are_in_no_manifest() {
    for name in ["", "overlays/single", "overlays/namespaced"] {
        let ids = kustomize(&folder(name));
        assert!(ids.contains_key("ConfigMap molecule-system/workspace-fleet"));
        assert!(!ids.contains_key("ConfigMap molecule-system/workspace-settings"));
    }
    assert!(kustomized(DEPLOY).contains("imagePullPolicy: IfNotPresent"));
}
