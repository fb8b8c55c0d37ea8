//! The nodes treat Pods as a kubelet would.

use std::time::Duration;

use crate::bench::{Bench, condition, container, message, phase, ready, waiting};
use anyhow::{Result, ensure};
use cluster::State;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

const GOOD: &str = "docker.io/library/good:1";

#[tokio::test]
async fn a_plain_pod_becomes_ready() -> Result<()> {
    let bench = Bench::new("plain").await?;
    bench.create("one", GOOD, "").await?;
    bench.create("two", GOOD, "").await?;
    let one = bench
        .until("one", 8, ready)
        .await?
        .status
        .unwrap_or_default();
    let two = bench
        .until("two", 8, ready)
        .await?
        .status
        .unwrap_or_default();
    ensure!(one.pod_ip.is_some() && one.pod_ip != two.pod_ip);
    ensure!(one.observed_generation == Some(1));
    let status = &one.container_statuses.unwrap_or_default()[0];
    ensure!(
        status
            .image_id
            .starts_with("docker.io/library/good@sha256:")
    );
    ensure!(
        status
            .container_id
            .as_ref()
            .is_some_and(|id| id.len() == 13 + 64)
    );

    bench.pods.delete("one", &DeleteParams::default()).await?;
    bench.until_gone("one", 3).await
}

/// A kubelet names the UID of what it deletes; kwok does not, and may delete twice.
#[tokio::test]
async fn a_late_delete_of_a_node_spares_the_successor() -> Result<()> {
    let bench = Bench::new("successor").await?;
    bench.create("pod", GOOD, "").await?;
    let pod = bench.until("pod", 8, ready).await?;
    let namespace = pod.namespace().unwrap_or_default();
    let delete = format!("delete pod pod -n {namespace} --as=kwok --as-group=system:masters");
    let words: Vec<&str> = delete.split(' ').collect();
    let refused = bench.cluster.kubectl().run(&words)?;
    ensure!(!refused.ok() && refused.stderr.contains("another Pod"));
    ensure!(bench.pods.get("pod").await?.uid() == pod.uid());

    bench.pods.delete("pod", &DeleteParams::default()).await?;
    bench.until_gone("pod", 3).await
}

#[tokio::test]
async fn an_unschedulable_pod_waits_for_the_scheduler() -> Result<()> {
    let bench = Bench::new("unschedulable").await?;
    let spec = json!({
        "containers": [{"name": "main", "image": GOOD}],
        "nodeSelector": {"no": "such-node"},
    });
    bench.create_spec("pod", spec, "").await?;
    let pod = bench
        .until("pod", 8, |pod| condition(pod, "PodScheduled") == "False")
        .await?;
    ensure!(phase(&pod) == "Pending");
    Ok(())
}

#[tokio::test]
async fn a_suspended_registry_stops_new_pods_only() -> Result<()> {
    let bench = Bench::new("suspended").await?;
    let image = "suspended.example/org/agent:latest";
    bench.create("running", image, "").await?;
    let running = bench.until("running", 8, ready).await?;

    bench
        .cluster
        .registry("suspended.example/org", State::Unauthorized)
        .await?;
    let uid = bench.create("stuck", image, "").await?.uid();
    let pod = bench
        .until("stuck", 8, |pod| waiting(pod) == "ErrImagePull")
        .await?;
    ensure!(phase(&pod) == "Pending" && condition(&pod, "Ready") == "False");
    ensure!(condition(&pod, "PodReadyToStartContainers") == "True");
    ensure!(
        message(&pod)
            == "failed to pull and unpack image \"suspended.example/org/agent:latest\": failed to \
                resolve reference \"suspended.example/org/agent:latest\": failed to authorize: \
                failed to fetch anonymous token: unexpected status from GET request to \
                https://suspended.example/token?scope=repository%3Aorg%2Fagent%3Apull&\
                service=suspended.example: 401 Unauthorized",
        "{}",
        message(&pod)
    );
    for reason in ["ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"] {
        bench
            .until("stuck", 8, |pod| waiting(pod) == reason)
            .await?;
    }

    bench
        .set_image("stuck", "mirror.example/org/agent:latest")
        .await?;
    let healed = bench.until("stuck", 8, ready).await?;
    ensure!(healed.uid() == uid);
    ensure!(container(&healed)?.restart_count == 0);
    let still = bench.pods.get("running").await?;
    ensure!(still.resource_version() == running.resource_version());
    Ok(())
}

#[tokio::test]
async fn a_registry_that_comes_back_is_noticed() -> Result<()> {
    let bench = Bench::new("back").await?;
    let answers = [
        ("forbidden.example/a", State::Forbidden, "403 Forbidden"),
        ("missing.example/a", State::NotFound, ": not found"),
        (
            "limited.example/a",
            State::TooManyRequests,
            "429 Too Many Requests",
        ),
        (
            "down.example/a",
            State::Unavailable,
            "503 Service Unavailable",
        ),
    ];
    let name = |prefix: &str| prefix.replace(['.', '/'], "-");
    for (prefix, state, _) in answers {
        bench.cluster.registry(prefix, state).await?;
        bench
            .create(&name(prefix), &format!("{prefix}/b:1"), "")
            .await?;
    }
    for (prefix, _, words) in answers {
        let pod = bench
            .until(&name(prefix), 8, |pod| waiting(pod) == "ImagePullBackOff")
            .await?;
        ensure!(message(&pod).ends_with(words), "{}", message(&pod));
    }
    for (prefix, _, _) in answers {
        bench.cluster.registry(prefix, State::Up).await?;
    }
    for (prefix, _, _) in answers {
        bench.until(&name(prefix), 8, ready).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_silent_registry_shows_nothing() -> Result<()> {
    let bench = Bench::new("silent").await?;
    bench
        .cluster
        .registry("silent.example", State::Hangs)
        .await?;
    bench.create("pod", "silent.example/a:1", "").await?;
    let quiet = bench
        .until("pod", 8, |pod| waiting(pod) == "ContainerCreating")
        .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pod = bench.pods.get("pod").await?;
    ensure!(pod.resource_version() == quiet.resource_version());
    ensure!(condition(&pod, "PodReadyToStartContainers") == "True");
    bench
        .cluster
        .registry("silent.example", State::Unauthorized)
        .await?;
    bench
        .until("pod", 8, |pod| waiting(pod) == "ErrImagePull")
        .await?;
    bench
        .cluster
        .registry("silent.example", State::Hangs)
        .await?;
    bench.cluster.registry("silent.example", State::Up).await?;
    bench.until("pod", 8, ready).await?;
    Ok(())
}

#[tokio::test]
async fn a_new_image_kills_what_runs_before_it_is_pulled() -> Result<()> {
    let bench = Bench::new("killed").await?;
    bench.create("pod", GOOD, "").await?;
    bench.until("pod", 8, ready).await?;
    bench
        .cluster
        .registry("killed.example", State::NotFound)
        .await?;
    bench.set_image("pod", "killed.example/a:1").await?;
    let pod = bench
        .until("pod", 8, |pod| waiting(pod) == "ErrImagePull")
        .await?;
    ensure!(phase(&pod) == "Running" && !ready(&pod));
    ensure!(container(&pod)?.restart_count == 0);
    bench.set_image("pod", "docker.io/library/good:2").await?;
    let pod = bench.until("pod", 8, ready).await?;
    ensure!(container(&pod)?.restart_count == 1);
    Ok(())
}

#[tokio::test]
async fn every_container_has_its_own_image() -> Result<()> {
    let bench = Bench::new("sidecar").await?;
    bench
        .cluster
        .registry("sidecar.example", State::Forbidden)
        .await?;
    let spec = json!({
        "initContainers": [{"name": "early", "image": GOOD}],
        "containers": [
            {"name": "main", "image": "sidecar.example/a@sha256:0000000000000000000000000000000000000000000000000000000000000001"},
            {"name": "sidecar", "image": GOOD},
        ],
    });
    bench.create_spec("pod", spec, "").await?;
    let pod = bench
        .until("pod", 8, |pod| waiting(pod) == "ImagePullBackOff")
        .await?;
    let status = pod.status.clone().unwrap_or_default();
    ensure!(status.container_statuses.unwrap_or_default()[1].ready && phase(&pod) == "Pending");
    ensure!(status.init_container_statuses.unwrap_or_default()[0].ready);
    bench.cluster.registry("sidecar.example", State::Up).await?;
    let pod = bench.until("pod", 8, ready).await?;
    ensure!(container(&pod)?.image_id.ends_with("01") && phase(&pod) == "Running");
    Ok(())
}

#[tokio::test]
async fn behaviours_show_what_can_go_wrong() -> Result<()> {
    let bench = Bench::new("behaviours").await?;
    for behaviour in [
        "crash",
        "missing-config",
        "no-volume",
        "not-ready",
        "fail",
        "evict",
    ] {
        bench.create(behaviour, GOOD, behaviour).await?;
    }
    let pod = bench
        .until("no-volume", 8, |pod| waiting(pod) == "ContainerCreating")
        .await?;
    ensure!(condition(&pod, "PodReadyToStartContainers") == "False");
    bench
        .until("missing-config", 8, |pod| {
            message(pod) == "configmap \"x\" not found"
        })
        .await?;
    let pod = bench
        .until("not-ready", 8, |pod| phase(pod) == "Running")
        .await?;
    ensure!(!ready(&pod));
    let pod = bench.until("fail", 8, |pod| phase(pod) == "Failed").await?;
    let end = container(&pod)?
        .state
        .clone()
        .and_then(|state| state.terminated);
    ensure!(end.is_some_and(|end| end.exit_code == 1));
    let pod = bench
        .until("evict", 8, |pod| phase(pod) == "Failed")
        .await?;
    ensure!(pod.status.and_then(|status| status.reason).as_deref() == Some("Evicted"));
    let again = |pod: &_| {
        waiting(pod) == "CrashLoopBackOff" && container(pod).is_ok_and(|is| is.restart_count > 0)
    };
    let pod = bench.until("crash", 8, again).await?;
    let last = container(&pod)?
        .last_state
        .clone()
        .and_then(|last| last.terminated);
    ensure!(last.is_some_and(|last| last.exit_code == 1));

    for behaviour in ["crash", "missing-config", "no-volume", "not-ready"] {
        bench.behave(behaviour, None).await?;
        bench.until(behaviour, 8, ready).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_can_be_stuck() -> Result<()> {
    let bench = Bench::new("stuck").await?;
    bench.create("pod", GOOD, "stuck-terminating").await?;
    bench.until("pod", 8, ready).await?;
    bench.pods.delete("pod", &DeleteParams::default()).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(
        bench
            .pods
            .get("pod")
            .await?
            .metadata
            .deletion_timestamp
            .is_some()
    );
    bench.behave("pod", None).await?;
    bench.until_gone("pod", 3).await
}

#[tokio::test]
async fn a_killed_container_comes_back() -> Result<()> {
    let bench = Bench::new("restart").await?;
    bench.create("pod", "restart.example/a:1", "").await?;
    let before = bench.until("pod", 8, ready).await?;
    bench
        .cluster
        .registry("restart.example", State::Unauthorized)
        .await?;
    bench
        .cluster
        .crash_container(&bench.namespace, "pod")
        .await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let after = bench.pods.get("pod").await?;
    ensure!(ready(&after) && container(&after)?.restart_count == 1);
    ensure!(container(&after)?.container_id != container(&before)?.container_id);
    Ok(())
}

#[tokio::test]
async fn a_pod_goes_with_its_owner() -> Result<()> {
    let bench = Bench::new("owned").await?;
    bench.create("pod", GOOD, "").await?;
    let kubectl = bench.cluster.kubectl();
    kubectl.apply(
        "{apiVersion: test.example/v1, kind: Owner, metadata: {name: me, namespace: owned}}",
    )?;
    let uid = kubectl.must(&[
        "-n",
        "owned",
        "get",
        "owner",
        "me",
        "-o=jsonpath={.metadata.uid}",
    ])?;
    let owner = json!({"apiVersion": "test.example/v1", "kind": "Owner", "name": "me", "uid": uid});
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": [owner]}}));
    bench
        .pods
        .patch("pod", &PatchParams::default(), &patch)
        .await?;
    kubectl.must(&["-n", "owned", "delete", "owner", "me"])?;
    bench.until_gone("pod", 4).await
}

#[tokio::test]
async fn a_lost_node_takes_its_pods_with_it() -> Result<()> {
    let bench = Bench::new("lost").await?;
    bench.cluster.add_node("lost", 77).await?;
    let spec = json!({
        "containers": [{"name": "main", "image": GOOD}],
        "nodeSelector": {"kubernetes.io/hostname": "lost"},
        "tolerations": [{"key": "only-for", "operator": "Exists"}],
    });
    bench.create_spec("pod", spec, "").await?;
    bench.until("pod", 8, ready).await?;
    bench.cluster.lose_node("lost").await?;
    bench.until_gone("pod", 3).await
}
