//! What can happen to registries and nodes while a fleet is moved: nothing is stopped for an image that
//! cannot be had then.

use cluster::State;
use serde_json::{Value, json};
use workspace_operator::proof;
use workspace_operator::settings::RUNTIMES;

use crate::fixture::{PATIENCE, World, condition, host, text};
use crate::fleet::REGISTRY;

impl World {
    /// Since the last `forget` no node has said of the Pod of a Workspace that it cannot pull its image,
    /// be it for a moment.
    fn assert_nobody_stopped_in_vain(&self) {
        let told = self.events().in_namespace(&self.namespace).of("pods");
        let stuck = told.filter(|it| {
            let status = it.request_object.as_ref().map(ToString::to_string);
            let fails = status.is_some_and(|it| it.contains("ErrImagePull"));
            it.subresource == "status" && fails && !it.name.starts_with(proof::NAME)
        });
        assert!(stuck.is_empty(), "{stuck:#?}");
    }

    /// Waits until so many are Ready there, and sees that none of them was stopped in vain.
    async fn all_moved(&self, prefix: &str, count: usize) {
        self.holds("the move of all", |it| it.on(prefix) == count)
            .await;
        self.all_ready(count).await;
        self.assert_nobody_stopped_in_vain();
    }

    fn hold(&self, prefix: &str, paused: bool) {
        self.settings(&[
            (REGISTRY, prefix),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MIN_READY_SECONDS", "0"),
            ("ROLLOUT_MAX_UNAVAILABLE", "1"),
            ("ROLLOUT_PAUSED", if paused { "true" } else { "false" }),
        ]);
    }
}

fn has_pulled(probe: &Value) -> bool {
    let status = &probe["status"]["containerStatuses"][0];
    status["imageID"].as_str().is_some_and(|it| !it.is_empty())
}

#[tokio::test]
async fn a_registry_that_dies_between_proof_and_move_stops_nobody_in_vain() {
    const COUNT: usize = 12;
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.fleet_on(&a, "1", COUNT).await;
    world.forget();
    world.paced(&b, "1");
    world
        .holds("the proofs", |it| {
            let probes = it.probes();
            !probes.is_empty() && probes.iter().all(has_pulled) && it.on(&b) > 0
        })
        .await;
    // Those nodes have it, and nobody else gets it any more.
    world.turn(&b, State::UnauthorizedButCached).await;
    assert!(world.on(&b) < COUNT, "it was too late to die");
    world.all_moved(&b, COUNT).await;
}

/// The probe is what keeps the image on its node: without it nothing is proved any more.
#[tokio::test]
async fn an_image_that_may_have_left_its_node_after_the_proof_is_proved_anew() {
    const COUNT: usize = 12;
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", COUNT).await;
    world.forget();
    world.paced(&b, "1");
    world.holds("a first move", |it| it.on(&b) > 0).await;
    world.hold(&b, true);
    world.overview_says("paused: true").await;
    world.all_ready(COUNT).await;
    let moved = world.on(&b);
    assert!(moved < COUNT, "it was too late to hold it");
    let probes = "app.kubernetes.io/name=workspace-probe";
    world.kubectl(&["delete", "pods", "-l", probes]);
    world.turn(&b, State::Unauthorized).await;
    world.hold(&b, false);
    let words = format!("{} answered 401 Unauthorized", host(&b));
    for name in &names[moved..] {
        let told = world.state(name, "RolloutBlocked").await;
        assert_eq!(condition(&told, "Ready")["status"], "True");
        let message = text(condition(&told, "Stalled"), "/message");
        assert!(message.ends_with(&words), "{message}");
    }
    assert_eq!(world.on(&b), moved, "nobody else is moved");
    world.turn(&b, State::Up).await;
    world.all_moved(&b, COUNT).await;
}

#[tokio::test]
async fn a_node_that_goes_while_a_fleet_is_moved_takes_nobody_elses_place() {
    const COUNT: usize = 8;
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.paced(&a, "1");
    world.in_force(&a).await;
    let node = format!("{}-node", world.namespace);
    world.own_node(&node).await;
    let spec = json!({
        "tolerations": [{"key": "only-for", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 1, "preference": {"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
            ]},
        }]}},
    });
    for number in 0..COUNT {
        world.workspace(&format!("w-{number}"), &spec.to_string());
    }
    world.all_ready(COUNT).await;
    let on_it = |it: &World| {
        let pods = it.list("pods").into_iter();
        let pods = pods.filter(|it| it["metadata"]["ownerReferences"][0]["kind"] == "Workspace");
        pods.filter(|it| it["spec"]["nodeName"] == node.as_str())
            .count()
    };
    assert!(on_it(&world) > 0, "some are on {node}");
    world.forget();
    world.paced(&b, "1");
    world.holds("a first move", |it| it.on(&b) > 0).await;
    world.kubectl(&["delete", "node", &node]);
    assert!(world.on(&b) < COUNT, "it was too late to go");
    // The garbage collector of Pods looks every 20 s, and at a lost node once more after 40 s.
    world
        .holds_within(2 * PATIENCE, "the end of its Pods", |it| on_it(it) == 0)
        .await;
    world.all_moved(&b, COUNT).await;
}

#[tokio::test]
async fn a_mirror_that_lacks_one_of_nine_images_is_moved_to_by_the_other_eight() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.paced(&a, "3");
    world.in_force(&a).await;
    for runtime in RUNTIMES {
        world.workspace(runtime, &format!("{{runtime: {runtime}}}"));
    }
    world.all_ready(RUNTIMES.len()).await;
    world.forget();
    let lacking = format!("{b}/workspace-template-hermes:");
    world.turn(&lacking, State::NotFound).await;
    world.paced(&b, "3");
    world.holds("the move of eight", |it| it.on(&b) == 8).await;
    let told = world.state("hermes", "RolloutBlocked").await;
    assert_eq!(condition(&told, "Ready")["status"], "True");
    let message = text(condition(&told, "Stalled"), "/message");
    assert!(message.contains("does not have it"), "{message}");
    let images = world.images();
    assert!(images["hermes"].starts_with(&a), "{images:?}");
    world.turn(&lacking, State::Up).await;
    world.all_moved(&b, RUNTIMES.len()).await;
}
