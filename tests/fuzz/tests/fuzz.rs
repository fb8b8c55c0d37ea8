//! Whatever is typed and whatever is stored.

use std::collections::{BTreeMap, BTreeSet};

use fuzz::{any, image};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use workspace_operator::fleet::{InForce, Source, in_force};
use workspace_operator::plan::{Answer, Step, awaits_settings, plan, remember};
use workspace_operator::resolver;
use workspace_operator::seen::{self, Key, Memory, Seen, Service};
use workspace_operator::settings::{Environment, Settings};
use workspace_operator::wire::{self, Wire};

/// What the API server would hand over; what it would not even store is no case.
fn decode<K: Wire + serde::de::DeserializeOwned>(object: Option<Value>) -> Option<K::Seen> {
    serde_json::from_value::<K>(object?).ok().map(Wire::seen)
}

fn typed(data: &BTreeMap<String, String>) -> InForce {
    let source = Source::Present(data.clone());
    in_force(&source, &Source::Absent, None, &Environment::default())
}

#[derive(Debug)]
struct Objects {
    workspace: Option<seen::Workspace>,
    pod: Option<seen::Pod>,
    claim: Option<seen::Claim>,
    service: Service,
}

/// Objects as stored, decoded as in production.
fn objects() -> impl Strategy<Value = Objects> {
    let workspace = proptest::option::weighted(0.95, any::workspace());
    let pod = proptest::option::of(any::pod());
    let claim = proptest::option::of(any::claim());
    let foreign = proptest::bool::ANY;
    (workspace, pod, claim, foreign).prop_map(|(workspace, pod, claim, foreign)| Objects {
        workspace: decode::<wire::Workspace>(workspace),
        pod: decode::<wire::Pod>(pod),
        claim: decode::<wire::Claim>(claim),
        service: if foreign {
            Service::Foreign
        } else {
            Service::Ours
        },
    })
}

impl Objects {
    fn seen<'a>(&'a self, key: &'a Key, memory: &'a Memory) -> Seen<'a> {
        Seen {
            key,
            workspace: self.workspace.as_ref(),
            pod: self.pod.as_ref(),
            claim: self.claim.as_ref(),
            service: self.service,
            memory,
        }
    }
}

fn images(step: &Step) -> Vec<&str> {
    match step {
        Step::CreatePod { ask, pod, .. } | Step::TryPod { ask, pod } => {
            let containers = pod.spec.iter().flat_map(|it| &it.containers);
            let images = containers.map(|it| it.image.as_deref().unwrap_or_default());
            images.chain([&*ask.image]).collect()
        }
        Step::SetImage { ask, .. } => vec![&ask.image],
        _ => Vec::new(),
    }
}

fn kind(step: &Step) -> &'static str {
    match step {
        Step::CreatePod { .. } => "CreatePod",
        Step::TryPod { .. } => "TryPod",
        Step::SetImage { .. } => "SetImage",
        Step::DeletePod { .. } => "DeletePod",
        Step::CreateClaim { .. } => "CreateClaim",
        Step::PatchClaim { .. } => "PatchClaim",
        Step::PatchStatus { .. } => "PatchStatus",
    }
}

/// Passes with each answer in turn, and again with other settings.
fn passes(
    objects: &Objects,
    typed: [&InForce; 2],
    now: Timestamp,
) -> Result<Vec<&'static str>, String> {
    let mut steps = Vec::new();
    let key = Key::new("ns", "w");
    let answers = [
        Answer::Refused("no".into()),
        Answer::Done,
        Answer::NamespaceTerminating,
    ];
    let mut memory = Memory::default();
    for (in_force, answer) in [typed[0], typed[1], typed[0]].into_iter().zip(answers) {
        let seen = objects.seen(&key, &memory);
        let _ = awaits_settings(&seen);
        let plan = plan(&seen, in_force, now);
        memory.showing = plan.showing;
        let Some(step) = plan.step else { continue };
        for image in images(&step) {
            let settings = in_force.settings.as_ref();
            let settings = settings.ok_or("an image is written with no settings in force")?;
            image::check(settings, image)?;
        }
        remember(&mut memory, &step, answer, now);
        steps.push(kind(&step));
    }
    Ok(steps)
}

proptest! {
    #[test]
    fn whatever_is_typed_every_image_is_what_was_meant(data in any::settings()) {
        let Ok(parsed) = Settings::parse(&data, &Environment::default()) else {
            return Ok(());
        };
        for (_, image) in resolver::images(&parsed.settings) {
            image::check(&parsed.settings, &image).map_err(TestCaseError::fail)?;
        }
        let again = Settings::parse(&parsed.settings.to_data(), &Environment::default());
        prop_assert_eq!(again.map(|it| it.settings), Ok(parsed.settings));
    }

    #[test]
    fn whatever_is_stored_the_plan_panics_at_nothing_and_writes_no_wrong_image(
        objects in objects(),
        data in (any::settings(), any::settings()),
        now in any::now(),
    ) {
        let typed = [typed(&data.0), typed(&data.1)];
        let passed = passes(&objects, [&typed[0], &typed[1]], now);
        passed.map_err(TestCaseError::fail)?;
    }
}

/// Objects that never lead to a step would prove nothing of it.
#[test]
fn the_objects_lead_to_every_kind_of_step() {
    const KINDS: [&str; 7] = [
        "CreateClaim",
        "CreatePod",
        "DeletePod",
        "PatchClaim",
        "PatchStatus",
        "SetImage",
        "TryPod",
    ];
    let mut runner = TestRunner::deterministic();
    let strategy = (objects(), any::settings(), any::now());
    let mut reached = BTreeSet::new();
    for _ in 0..20_000 {
        let tree = strategy.new_tree(&mut runner).expect("a case");
        let (objects, data, now) = tree.current();
        let typed = typed(&data);
        reached.extend(passes(&objects, [&typed, &typed], now).expect("a pass"));
    }
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), KINDS);
}
