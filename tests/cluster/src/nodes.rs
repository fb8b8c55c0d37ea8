//! The nodes that kwok plays, and what is lost with one.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::Cluster;

impl Cluster {
    /// Adds a node, as a kubelet that registers itself. `number` makes its addresses. It has the
    /// taint `only-for=<name>:NoSchedule`, so that no Pod of another test meets its end there.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn add_node(&self, name: &str, number: u8) -> Result<()> {
        let client = self.client().await?;
        let taints = json!([{"key": "only-for", "value": name, "effect": "NoSchedule"}]);
        add(&client, name, number, self.kubernetes_version(), taints).await
    }

    /// Deletes a node together with its Pods, at once.
    ///
    /// The real pod garbage collector does the same to the Pods of a node that is gone,
    /// but waits 40 to 60 seconds first, and no flag makes it quicker. `kubectl delete
    /// node` shows that.
    ///
    /// # Errors
    /// When the API server refuses a request.
    pub async fn lose_node(&self, name: &str) -> Result<()> {
        let client = self.client().await?;
        Api::<Node>::all(client.clone())
            .delete(name, &DeleteParams::default())
            .await?;
        let on_node = ListParams::default().fields(&format!("spec.nodeName={name}"));
        for pod in Api::<Pod>::all(client.clone()).list(&on_node).await? {
            let namespace = pod.namespace().unwrap_or_default();
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            let failed = json!({
                "metadata": {"uid": pod.uid()},
                "status": {"phase": "Failed", "conditions": [{
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByPodGC",
                    "message": "PodGC: node no longer exists",
                    "lastTransitionTime": Timestamp::now(),
                }]},
            });
            let params = PatchParams::default();
            pods.patch_status(&pod.name_any(), &params, &Patch::Strategic(failed))
                .await?;
            pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                .await?;
        }
        Ok(())
    }
}

pub(crate) async fn add(
    client: &Client,
    name: &str,
    number: u8,
    version: &str,
    taints: Value,
) -> Result<()> {
    let now = Timestamp::now();
    let conditions: Vec<_> = [
        ("Ready", "True", "KubeletReady"),
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ]
    .into_iter()
    .map(|(kind, status, reason)| {
        json!({
            "type": kind, "status": status, "reason": reason,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    })
    .collect();
    let room =
        json!({"cpu": "1000", "memory": "4Ti", "ephemeral-storage": "10Ti", "pods": "100000"});
    let cidr = format!("10.{}.0.0/16", 128 + number % 100);
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
        }},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr], "taints": taints},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": format!("172.18.0.{number}")},
                {"type": "Hostname", "address": name},
            ],
            "capacity": room,
            "allocatable": room,
            "conditions": conditions,
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "kwok",
                "kernelVersion": "", "machineID": "", "systemUUID": "", "bootID": "",
                "kubeProxyVersion": "", "kubeletVersion": version,
                "containerRuntimeVersion": "containerd://2.2.0",
            },
        },
    }))?;
    Api::<Node>::all(client.clone())
        .create(&PostParams::default(), &node)
        .await
        .with_context(|| format!("adding the node {name}"))?;
    Ok(())
}
