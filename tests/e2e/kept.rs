//! A fleet that moves to new Pods, one of which cannot be: nobody loses storage for it, and it is told.

use std::time::Duration;

use crate::fixture::{World, condition, text, uid};
use crate::fleet::REGISTRY;

/// Long enough for a Pod to be stopped.
const A_WHILE: Duration = Duration::from_secs(5);

impl World {
    /// With other pull secrets, which only another Pod can have.
    fn anew(&self, prefix: &str, secret: &str, more: &[(&str, &str)]) {
        let settings = [
            (REGISTRY, prefix),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MIN_READY_SECONDS", "0"),
            ("ROLLOUT_MAX_UNAVAILABLE", "1"),
            ("IMAGE_PULL_SECRETS", secret),
        ];
        self.settings(&[&settings[..], more].concat());
    }

    /// One with storage, and others without, as many as are counted.
    async fn one_with_storage(&self, prefix: &str, count: usize) {
        self.paced(prefix, "1");
        self.in_force(prefix).await;
        self.workspace("w-00", "{storage: {size: 1Gi}}");
        for number in 1..count {
            self.workspace(&format!("w-{number:02}"), "{}");
        }
        self.all_ready(count).await;
    }

    /// All the others move, and its Pod and its claim stay as they are.
    async fn stays_while_others_move(&self, words: &str, change: impl Fn(&Self)) {
        const COUNT: usize = 3;
        let [a, b] = ["a", "b"].map(|it| self.prefix(it));
        self.one_with_storage(&a, COUNT).await;
        let uids = || {
            let both = [("pod", "w-00"), ("persistentvolumeclaim", "workspace-w-00")];
            both.map(|(kind, name)| uid(&self.get(kind, name)).to_owned())
        };
        let before = uids();
        change(self);
        self.anew(&b, "mirror", &[]);
        self.holds("the move of the others", |it| it.on(&b) == COUNT - 1)
            .await;
        self.until("workspace", "w-00", |it| {
            it["status"]["state"] == "RolloutBlocked"
        })
        .await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(uids(), before);
        let workspace = self.get("workspace", "w-00");
        let message = text(condition(&workspace, "Stalled"), "/message");
        assert!(message.contains(words), "{message}");
        let told = self.overview_text();
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn a_claim_that_lost_its_label_keeps_its_pod_until_it_has_it_again() {
    let world = World::new().await;
    let label = |it: &World, label: &str| {
        it.kubectl(&["label", "pvc", "workspace-w-00", label]);
    };
    let words = "has lost the label";
    world
        .stays_while_others_move(words, |it| label(it, "molecule.ai/workspace-"))
        .await;
    label(&world, "molecule.ai/workspace=w-00");
    let b = world.prefix("b");
    world.holds("its move", |it| it.on(&b) == 3).await;
    world.all_ready(3).await;
}

#[tokio::test]
async fn a_claim_that_only_its_pod_keeps_is_not_lost_for_a_move() {
    let world = World::new().await;
    let words = "goes away as soon as nobody uses it";
    world
        .stays_while_others_move(words, |it| {
            it.kubectl(&["delete", "pvc", "workspace-w-00", "--wait=false"]);
        })
        .await;
}

#[tokio::test]
async fn one_whose_next_pod_cannot_be_halts_the_move_and_is_named() {
    const COUNT: usize = 4;
    let world = World::new().await;
    let [a, b] = ["a", "b"].map(|it| world.prefix(it));
    let extra = ("EXTRA_RUNTIMES", "custom");
    world.anew(&a, "", &[extra]);
    world.in_force(&a).await;
    world.workspace("w-00", "{runtime: custom}");
    for number in 1..COUNT {
        world.workspace(&format!("w-{number:02}"), "{}");
    }
    world.all_ready(COUNT).await;
    let behaves = |how: &str| {
        world.kubectl(&["annotate", "pod", "w-00", how]);
    };
    behaves("kwok/behaviour=stuck-terminating");
    world.anew(&b, "mirror", &[extra]);
    let goes = |it: &serde_json::Value| !it["metadata"]["deletionTimestamp"].is_null();
    world.until("pod", "w-00", goes).await;
    // Its runtime is taken away between its Pods.
    world.anew(&b, "mirror", &[]);
    world.in_force(&b).await;
    behaves("kwok/behaviour-");
    world
        .holds("a halt that names it", |it| {
            let told = it.overview_text();
            told.contains("halted: ") && told.contains("/w-00")
        })
        .await;
    assert_eq!(world.on(&b), 0, "nobody else is stopped");
    world.anew(&b, "mirror", &[extra]);
    world
        .holds("the move of all", |it| it.on(&b) == COUNT)
        .await;
    world.all_ready(COUNT).await;
}
