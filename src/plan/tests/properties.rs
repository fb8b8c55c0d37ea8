//! Whatever happens around a Workspace, in whatever order.

use proptest::prelude::*;
use serde_json::json;

use super::world::{World, settings};
use crate::plan::Step;
use crate::seen::{Proof, Turn};
use crate::workspace::AGENT;

#[derive(Clone, Debug)]
enum Happens {
    Runs,
    PullFails,
    Crashes,
    Fails,
    NoNode,
    PodGone,
    Edit(u8),
    Suspend(bool),
    Settings(u8),
    Turn(Turn),
    Proof(Proof),
    Refuse(bool),
    Restart,
    Time(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        Just(Happens::Runs),
        Just(Happens::PullFails),
        Just(Happens::Crashes),
        Just(Happens::Fails),
        Just(Happens::NoNode),
        Just(Happens::PodGone),
        (0..3_u8).prop_map(Happens::Edit),
        any::<bool>().prop_map(Happens::Suspend),
        (0..6_u8).prop_map(Happens::Settings),
        prop::sample::select(vec![Turn::Waits, Turn::Proves, Turn::Moves]).prop_map(Happens::Turn),
        prop::sample::select(proofs()).prop_map(Happens::Proof),
        any::<bool>().prop_map(Happens::Refuse),
        Just(Happens::Restart),
        (1..40_i64).prop_map(Happens::Time),
    ]
}

fn proofs() -> Vec<Proof> {
    let why = "b.example.com answered 401 Unauthorized".to_owned();
    let failed = Proof::Failed { why };
    vec![Proof::Unknown, Proof::UnderWay, Proof::Proved, failed]
}

/// The first four move nothing that runs.
const SETTINGS: [&[(&str, &str)]; 6] = [
    &[("MOLECULE_IMAGE_REGISTRY", "a.example.com/agents")],
    &[("MOLECULE_IMAGE_REGISTRY", "b.example.com/agents")],
    &[
        ("MOLECULE_IMAGE_REGISTRY", "b.example.com/agents"),
        ("IMAGE_PULL_SECRETS", "x"),
    ],
    &[("MOLECULE_IMAGE_REGISTRY", "Not a prefix")],
    &[
        ("MOLECULE_IMAGE_REGISTRY", "b.example.com/agents"),
        ("ROLLOUT", "Paced"),
    ],
    &[
        ("MOLECULE_IMAGE_REGISTRY", "a.example.com/agents"),
        ("ROLLOUT", "Paced"),
        ("IMAGE_PULL_SECRETS", "x"),
    ],
];

impl World {
    fn happen(&mut self, what: &Happens) {
        match (what, self.pod.is_some()) {
            (Happens::Runs, true) => self.run(),
            (Happens::PullFails, true) => self.pull_fails("401 Unauthorized"),
            (Happens::Crashes, true) => self.agent(json!({
                "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1}},
            })),
            (Happens::Fails, true) => self.fail(),
            (Happens::NoNode, true) => self.unschedulable(),
            (Happens::PodGone, _) => self.pod = None,
            (Happens::Edit(tag), _) => self.edit("tag", json!(format!("v{tag}"))),
            (Happens::Suspend(suspend), _) => self.edit("suspend", json!(suspend)),
            (Happens::Settings(which), _) => {
                self.settings = settings(SETTINGS[usize::from(*which)])
            }
            (Happens::Turn(turn), _) => self.turn = *turn,
            (Happens::Proof(proof), _) => self.proof = proof.clone(),
            (Happens::Refuse(refuse), _) => self.refuses = refuse.then(|| "no".into()),
            (Happens::Restart, _) => self.restart(),
            (Happens::Time(seconds), _) => self.pass_time(*seconds),
            (_, false) => {}
        }
    }

    /// I8 and I4 of the steps since the last check.
    fn check(&mut self) -> Result<(), TestCaseError> {
        for step in self.steps.drain(..) {
            match step {
                Step::CreatePod { pod, ask, .. } | Step::TryPod { pod, ask, .. } => {
                    let spec = pod.spec.expect("a Pod has a spec");
                    let agent = spec.containers.into_iter().find(|it| it.name == AGENT);
                    prop_assert_eq!(agent.and_then(|it| it.image), Some(ask.image.clone()));
                    prop_assert!(is_ours(&ask.image), "{}", ask.image);
                }
                Step::SetImage { version, ask, .. } | Step::MovePod { version, ask, .. } => {
                    prop_assert!(!version.uid.is_empty() && !version.resource_version.is_empty());
                    prop_assert!(is_ours(&ask.image), "{}", ask.image);
                }
                Step::DeletePod { version, .. } => {
                    prop_assert!(!version.uid.is_empty() && !version.resource_version.is_empty());
                }
                Step::PatchStatus { version, status } => {
                    prop_assert!(!version.resource_version.is_empty());
                    let types: Vec<_> = status.conditions.iter().map(|it| &*it.type_).collect();
                    prop_assert!(!(types.contains(&"Reconciling") && types.contains(&"Stalled")));
                }
                Step::CreateClaim { .. } | Step::PatchClaim { .. } => {}
            }
        }
        Ok(())
    }
}

fn is_ours(image: &str) -> bool {
    ["a", "b"].iter().any(|host| {
        image.starts_with(&format!(
            "{host}.example.com/agents/workspace-template-langgraph:"
        ))
    })
}

proptest! {
    /// I7: from any state, once the world holds still, the steps end, and then nothing is left
    /// to do or to wake for.
    #[test]
    fn the_steps_converge_and_then_stop(history in prop::collection::vec(happens(), 0..25)) {
        let mut world = World::new(&json!({}));
        for what in &history {
            world.happen(what);
            world.settle();
            world.check()?;
        }
        world.refuses = None;
        world.proof = Proof::Proved;
        world.settings = settings(SETTINGS[0]);
        world.edit("suspend", json!(false));
        world.settle();
        // A failed Pod is replaced at the latest after its longest back-off.
        world.pass_time(301);
        world.run();
        world.settle();
        world.check()?;
        prop_assert_eq!(world.state(), "Ready");
        world.pass_time(3);
        prop_assert!(world.steps.is_empty(), "{:?}", world.steps);
        prop_assert_eq!(world.plan().wake, None);
    }

    /// Only those that an edit of the settings could matter to are woken by it, so for the others
    /// it must not.
    #[test]
    fn an_edit_of_the_settings_wakes_everyone_it_matters_to(
        history in prop::collection::vec(happens(), 0..25),
        edit in 0..4_usize,
    ) {
        let mut world = World::new(&json!({}));
        for what in &history {
            world.happen(what);
            world.settle();
        }
        // An edit ends every turn, and wakes those that had one.
        world.turn = Turn::Waits;
        let before = world.plan();
        world.settings = settings(SETTINGS[edit]);
        if !world.awaits_settings() {
            prop_assert_eq!(world.plan(), before);
        }
    }

    /// I2: an edit of the settings alone deletes no Pod that has run.
    #[test]
    fn no_edit_of_the_settings_deletes_a_pod_that_has_run(
        history in prop::collection::vec(happens(), 0..25),
        edits in prop::collection::vec(0..4_usize, 1..6),
    ) {
        let mut world = World::new(&json!({}));
        world.settle();
        for what in &history {
            world.happen(what);
            world.settle();
        }
        world.refuses = None;
        world.proof = Proof::Proved;
        world.settings = settings(SETTINGS[0]);
        world.edit("suspend", json!(false));
        world.pass_time(301);
        world.run();
        world.settle();
        world.pull_fails("401 Unauthorized");
        let pod = world.pod.as_mut().expect("a Pod");
        pod["status"]["containerStatuses"][0]["restartCount"] = json!(1);
        world.settle();
        let uid = world.pod_uid();
        for edit in edits {
            world.settings = settings(SETTINGS[edit]);
            world.settle();
            prop_assert_eq!(world.pod_uid(), uid.clone());
        }
    }
}
