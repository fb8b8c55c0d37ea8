//! Which nodes the Pod of a Workspace can be on, and so for which platforms its image has to be; pure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    self as core, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration,
};

use crate::seen::Pod;
use crate::workspace::WorkspaceSpec;

/// Labels by which a Workspace says what its node has to be.
const ARCHITECTURE: &str = "kubernetes.io/arch";
const SYSTEM: &str = "kubernetes.io/os";
/// The one field of a node that an affinity may ask for.
const NAME: &str = "metadata.name";
/// Taints that a node has of its condition, or while it is drained, come and go.
const PASSING: [&str; 2] = ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"];

/// A node, as far as it matters for what can be on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is, as in `linux/amd64`.
    pub platform: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What keeps Pods away from it.
    pub taints: Vec<Taint>,
}

impl Node {
    /// What is known of a node, if it has told what it is.
    #[must_use]
    pub fn of(node: core::Node) -> Option<Self> {
        let info = node.status?.node_info?;
        (!info.architecture.is_empty()).then(|| Self {
            name: node.metadata.name.unwrap_or_default(),
            platform: format!("{}/{}", info.operating_system, info.architecture),
            labels: node.metadata.labels.unwrap_or_default(),
            taints: node.spec.and_then(|it| it.taints).unwrap_or_default(),
        })
    }
}

/// The node that a Pod is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its name.
    pub node: String,
    /// Whether the Pod gets another image right there: it has never run.
    pub stays: bool,
}

impl Bound {
    /// Where a Pod is, if it is anywhere and not on its way out.
    #[must_use]
    pub fn of(pod: Pod) -> Option<Self> {
        let stays = !pod.agent.has_run();
        let is_there = pod.stays();
        let node = pod.node.filter(|_| is_there)?;
        Some(Self { node, stays })
    }
}

/// What the nodes are that a Pod of this Workspace can be on. Where no node takes it, what it says of
/// its node itself; nothing, where it says nothing.
#[must_use]
pub fn platforms(nodes: &[Node], spec: &WorkspaceSpec, bound: Option<&Bound>) -> BTreeSet<String> {
    let here = bound.and_then(|it| nodes.iter().find(|node| node.name == it.node));
    if let (Some(node), Some(Bound { stays: true, .. })) = (here, bound) {
        return BTreeSet::from([node.platform.clone()]);
    }
    let taking = nodes.iter().filter(|it| takes(it, spec));
    let found: BTreeSet<_> = taking.chain(here).map(|it| it.platform.clone()).collect();
    match found.is_empty() {
        true => asked_for(spec),
        false => found,
    }
}

/// What a Workspace says that its node has to be.
fn asked_for(spec: &WorkspaceSpec) -> BTreeSet<String> {
    let selected = |label: &str| spec.node_selector.get(label).cloned();
    let system = selected(SYSTEM).unwrap_or_else(|| "linux".to_owned());
    let architectures: Vec<_> = match selected(ARCHITECTURE) {
        Some(architecture) => vec![architecture],
        None => {
            let terms = required(spec)
                .into_iter()
                .flat_map(|it| &it.node_selector_terms);
            let asked: Option<Vec<_>> = terms.map(architectures).collect();
            asked.unwrap_or_default().concat()
        }
    };
    let platform = |it: &String| format!("{system}/{it}");
    architectures.iter().map(platform).collect()
}

/// The processors of which a term leaves the choice, if it names them.
fn architectures(term: &NodeSelectorTerm) -> Option<Vec<String>> {
    let mut asked = term.match_expressions.iter().flatten();
    let named = asked.find(|it| it.key == ARCHITECTURE && it.operator == "In")?;
    named.values.clone()
}

/// Whether the scheduler could put a Pod of this Workspace on a node, by what both say of themselves;
/// whether there is room is another matter.
fn takes(node: &Node, spec: &WorkspaceSpec) -> bool {
    let mut selected = spec.node_selector.iter();
    selected.all(|(key, value)| node.labels.get(key) == Some(value))
        && is_required(node, spec)
        && node
            .taints
            .iter()
            .all(|it| is_tolerated(it, &spec.tolerations))
}

fn is_required(node: &Node, spec: &WorkspaceSpec) -> bool {
    let fits = |it: &NodeSelector| it.node_selector_terms.iter().any(|term| fits(node, term));
    required(spec).is_none_or(fits)
}

fn required(spec: &WorkspaceSpec) -> Option<&NodeSelector> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

/// A term that asks for nothing fits no node.
fn fits(node: &Node, term: &NodeSelectorTerm) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let of_label = |it: &NodeSelectorRequirement| meets(node.labels.get(&it.key), it);
    let of_field = |it: &NodeSelectorRequirement| it.key == NAME && meets(Some(&node.name), it);
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(of_label)
        && fields.iter().all(of_field)
}

fn meets(found: Option<&String>, asked: &NodeSelectorRequirement) -> bool {
    let values = asked.values.as_deref().unwrap_or_default();
    let is_among = found.is_some_and(|it| values.contains(it));
    let number = |text: &String| text.parse::<i64>().ok();
    let compared = || Some(number(found?)?.cmp(&number(values.first()?)?));
    match asked.operator.as_str() {
        "In" => is_among,
        "NotIn" => !is_among,
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compared() == Some(Ordering::Greater),
        "Lt" => compared() == Some(Ordering::Less),
        // What is not understood here speaks against no node.
        _ => true,
    }
}

fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    let passes = PASSING.iter().any(|it| taint.key.starts_with(it));
    let keeps_away = matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    passes || !keeps_away || tolerations.iter().any(|it| tolerates(it, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let is_any = |asked: &Option<String>, found: &str| {
        let asked = asked.as_deref().unwrap_or_default();
        asked.is_empty() || asked == found
    };
    let told = |value: &Option<String>| value.clone().unwrap_or_default();
    let has_value = match toleration.operator.as_deref() {
        None | Some("" | "Equal") => told(&toleration.value) == told(&taint.value),
        // `Exists`; and what is not understood here speaks against no node.
        Some(_) => true,
    };
    is_any(&toleration.key, &taint.key) && is_any(&toleration.effect, &taint.effect) && has_value
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, architecture: &str, more: Value) -> Node {
        let mut labels = json!({ARCHITECTURE: architecture, SYSTEM: "linux"});
        if let (Value::Object(labels), Value::Object(more)) = (&mut labels, &more["labels"]) {
            labels.extend(more.clone());
        }
        let node = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": more["taints"]},
            "status": {"nodeInfo": {
                "architecture": architecture, "operatingSystem": "linux", "bootID": "",
                "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
                "kubeletVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
            }},
        });
        let node = serde_json::from_value(node).expect("it is a node");
        Node::of(node).expect("it tells what it is")
    }

    /// A small one, one for itself, one that is drained and one of another kind.
    fn nodes() -> [Node; 4] {
        let taint = |key: &str, effect: &str| json!([{"key": key, "value": "x", "effect": effect}]);
        [
            node("a", "amd64", json!({"labels": {"size": "3"}})),
            node(
                "b",
                "arm64",
                json!({"taints": taint("only-for", "NoSchedule")}),
            ),
            node(
                "c",
                "s390x",
                json!({"taints": taint("node.kubernetes.io/unschedulable", "NoSchedule")}),
            ),
            node(
                "d",
                "ppc64le",
                json!({"taints": taint("rather-not", "PreferNoSchedule"), "labels": {"size": "7"}}),
            ),
        ]
    }

    fn spec(spec: Value) -> WorkspaceSpec {
        serde_json::from_value(spec).expect("it is a spec")
    }

    /// The processors of the nodes on which this one can be.
    fn found(asked: Value, bound: Option<(&str, bool)>) -> Vec<String> {
        let bound = bound.map(|(node, stays)| Bound {
            node: node.to_owned(),
            stays,
        });
        let found = platforms(&nodes(), &spec(asked), bound.as_ref());
        let short = |it: &String| it.trim_start_matches("linux/").to_owned();
        found.iter().map(short).collect()
    }

    #[test]
    fn the_nodes_are_those_that_selector_and_affinity_leave() {
        let affinity = |term: Value| {
            let required = json!({"nodeSelectorTerms": [term]});
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
            json!({"affinity": {"nodeAffinity": required}})
        };
        let label = |key: &str, operator: &str, values: Value| {
            let asked = json!({"key": key, "operator": operator, "values": values});
            affinity(json!({"matchExpressions": [asked]}))
        };
        let name = json!({"key": "metadata.name", "operator": "In", "values": ["d"]});
        for (asked, expected) in [
            (json!({}), vec!["amd64", "ppc64le", "s390x"]),
            (
                json!({"nodeSelector": {ARCHITECTURE: "s390x"}}),
                vec!["s390x"],
            ),
            (
                label(ARCHITECTURE, "In", json!(["amd64", "s390x"])),
                vec!["amd64", "s390x"],
            ),
            (
                label(ARCHITECTURE, "NotIn", json!(["amd64"])),
                vec!["ppc64le", "s390x"],
            ),
            (
                label("size", "NotIn", json!(["3"])),
                vec!["ppc64le", "s390x"],
            ),
            (label("size", "Exists", json!([])), vec!["amd64", "ppc64le"]),
            (label("size", "DoesNotExist", json!([])), vec!["s390x"]),
            (label("size", "Gt", json!(["3"])), vec!["ppc64le"]),
            (label("size", "Lt", json!(["7"])), vec!["amd64"]),
            (affinity(json!({"matchFields": [name]})), vec!["ppc64le"]),
            (affinity(json!({})), vec![]),
        ] {
            assert_eq!(found(asked.clone(), None), expected, "{asked}");
        }
    }

    #[test]
    fn a_node_for_others_is_for_those_that_tolerate_it() {
        let all = vec!["amd64", "arm64", "ppc64le", "s390x"];
        let others = vec!["amd64", "ppc64le", "s390x"];
        for (toleration, expected) in [
            (json!({"key": "only-for", "operator": "Exists"}), &all),
            (json!({"key": "only-for", "value": "x"}), &all),
            (json!({"key": "only-for", "value": "y"}), &others),
            (json!({"key": "another", "operator": "Exists"}), &others),
            (json!({"operator": "Exists"}), &all),
            (json!({"operator": "Exists", "effect": "NoSchedule"}), &all),
            (
                json!({"operator": "Exists", "effect": "NoExecute"}),
                &others,
            ),
        ] {
            let asked = json!({"tolerations": [toleration.clone()]});
            assert_eq!(found(asked, None), *expected, "{toleration}");
        }
    }

    #[test]
    fn the_node_of_a_pod_counts_and_alone_where_the_pod_has_never_run() {
        let selected = || json!({"nodeSelector": {ARCHITECTURE: "amd64"}});
        for (bound, expected) in [
            (Some(("b", false)), vec!["amd64", "arm64"]),
            (Some(("b", true)), vec!["arm64"]),
            (Some(("gone", true)), vec!["amd64"]),
            (None, vec!["amd64"]),
        ] {
            assert_eq!(found(selected(), bound), expected, "{bound:?}");
        }
    }

    #[test]
    fn where_no_node_takes_it_what_it_asks_for_is_what_it_needs() {
        let asked = |selector: Value| found(json!({"nodeSelector": selector}), None);
        assert_eq!(asked(json!({ARCHITECTURE: "riscv64"})), ["riscv64"]);
        let windows = json!({ARCHITECTURE: "arm", SYSTEM: "windows"});
        assert_eq!(asked(windows), ["windows/arm"]);
        assert_eq!(asked(json!({"pool": "empty"})), [""; 0]);
        let among = |terms: Value| {
            let required = json!({"nodeSelectorTerms": terms});
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
            found(json!({"affinity": {"nodeAffinity": required}}), None)
        };
        let of = |key: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]});
        let (arm, riscv) = (
            of(ARCHITECTURE, json!(["arm"])),
            of(ARCHITECTURE, json!(["riscv64"])),
        );
        assert_eq!(among(json!([arm, riscv])), ["arm", "riscv64"]);
        let pool = of("pool", json!(["empty"]));
        assert_eq!(
            among(json!([arm, pool])),
            [""; 0],
            "of any kind, if of that pool"
        );
    }
}
