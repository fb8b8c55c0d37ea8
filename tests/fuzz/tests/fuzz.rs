//! Whatever is typed and whatever is stored, as the API server sends it: decoded, joined and decided
//! on as in production.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use fuzz::any;
use fuzz::image::{self, Basis, Data};
use jiff::Timestamp;
use kube::core::{ObjectList, WatchEvent};
use kube::runtime::watcher::Event;
use proptest::array::uniform3;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workspace_operator::fleet::{InForce, Source, in_force, record};
use workspace_operator::index::{Index, Slot};
use workspace_operator::plan::{Answer, Plan, Step, awaits_settings, plan, remember};
use workspace_operator::resolver;
use workspace_operator::seen::{self, Key, Known, Memory, Proof, Seen, Service, Turn};
use workspace_operator::settings::{Environment, Settings};
use workspace_operator::watch::decode;
use workspace_operator::wire::{self, Wire};

/// An object as the API server sends it. There is none that it stores and that does not decode: it
/// would end the list and the watch of all others.
fn received<K: DeserializeOwned>(object: &Value) -> Result<K, String> {
    let text = object.to_string();
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

fn decoded<K: Wire + DeserializeOwned>(object: Option<&Value>) -> Result<Option<K::Seen>, String> {
    let received = object.map(received::<K>).transpose();
    Ok(received?.map(Wire::seen))
}

fn data(map: &Value) -> Result<Data, String> {
    Ok(received::<wire::ConfigMap>(map)?.seen())
}

/// The settings in force, and what was typed for them.
struct Typed {
    in_force: InForce,
    data: Option<Data>,
}

/// What this ConfigMap puts in force: where it is invalid, what another operator had in force
/// before and recorded.
fn typed(map: &Value, before: Option<&Typed>) -> Result<Typed, String> {
    let data = data(map)?;
    let recorded = before
        .and_then(|it| record(&it.in_force, &Source::Absent, Timestamp::UNIX_EPOCH))
        .unwrap_or_default();
    let recorded = recorded.into_iter();
    let recorded = recorded.filter_map(|(key, value)| Some((key, value?)));
    let fleet = Source::Present(recorded.collect());
    let environment = Environment::default();
    let in_force = in_force(&Source::Present(data.clone()), &fleet, None, &environment);
    let data = match in_force.error {
        None => Some(data),
        Some(_) => before.and_then(|it| it.data.clone()),
    };
    if in_force.settings.is_some() != data.is_some() {
        return Err(format!(
            "{in_force:?}, and {data:?} was the last to be valid"
        ));
    }
    Ok(Typed { in_force, data })
}

impl Typed {
    fn basis<'a>(&'a self, workspace: &'a Value, pod: &'a Value) -> Basis<'a> {
        Basis {
            settings: self.data.as_ref(),
            workspace,
            pod,
        }
    }
}

#[derive(Debug)]
struct Stored {
    workspace: Option<Value>,
    pod: Option<Value>,
    claim: Option<Value>,
    service: Option<Value>,
}

fn stored() -> impl Strategy<Value = Stored> {
    let workspace = proptest::option::weighted(0.95, any::workspace());
    let pod = proptest::option::of(any::pod());
    let claim = proptest::option::of(any::claim());
    let service = proptest::option::of(any::service());
    (workspace, pod, claim, service).prop_map(|(workspace, pod, claim, service)| Stored {
        workspace,
        pod,
        claim,
        service,
    })
}

#[derive(Debug)]
struct Objects {
    workspace: Option<seen::Workspace>,
    pod: Option<seen::Pod>,
    claim: Option<seen::Claim>,
    service: Service,
}

impl Objects {
    fn decoded(stored: &Stored) -> Result<Self, String> {
        Ok(Self {
            workspace: decoded::<wire::Workspace>(stored.workspace.as_ref())?,
            pod: decoded::<wire::Pod>(stored.pod.as_ref())?,
            claim: decoded::<wire::Claim>(stored.claim.as_ref())?,
            service: decoded::<wire::Service>(stored.service.as_ref())?.unwrap_or_default(),
        })
    }

    fn seen<'a>(
        &'a self,
        key: &'a Key,
        memory: &'a Memory,
        proof: Option<&'a Known>,
        turn: Turn,
    ) -> Seen<'a> {
        Seen {
            key,
            workspace: self.workspace.as_ref(),
            pod: self.pod.as_ref(),
            claim: self.claim.as_ref(),
            service: self.service,
            memory,
            proof,
            turn,
        }
    }
}

fn kind(step: &Step) -> &'static str {
    match step {
        Step::CreatePod { .. } => "CreatePod",
        Step::TryPod { .. } => "TryPod",
        Step::SetImage { .. } => "SetImage",
        Step::MovePod { moved, .. } if moved.back.is_some() => "MovePod back",
        Step::MovePod { .. } => "MovePod",
        Step::DeletePod { .. } => "DeletePod",
        Step::CreateClaim { .. } => "CreateClaim",
        Step::PatchClaim { .. } => "PatchClaim",
        Step::PatchStatus { .. } => "PatchStatus",
    }
}

/// Passes with these answers, and in between with other settings. What is wanted proved is so, or is
/// not, in the next pass.
fn passes(
    stored: &Stored,
    typed: [&Typed; 2],
    (turn, proof): &(Turn, Proof),
    answers: [Answer; 3],
    now: Timestamp,
) -> Result<Vec<&'static str>, String> {
    let objects = Objects::decoded(stored)?;
    let workspace = stored.workspace.as_ref().unwrap_or(&Value::Null);
    let pod = stored.pod.as_ref().unwrap_or(&Value::Null);
    let mut steps = Vec::new();
    let key = Key::new("ns", "w");
    let mut memory = Memory::default();
    let mut known = None;
    for (typed, answer) in [typed[0], typed[1], typed[0]].into_iter().zip(answers) {
        let seen = objects.seen(&key, &memory, known.as_ref(), *turn);
        let _ = awaits_settings(&seen);
        let plan = plan(&seen, &typed.in_force, now);
        memory.showing = plan.showing;
        known = plan.wants.map(|it| Known {
            question: it.question,
            proof: proof.clone(),
        });
        let Some(step) = plan.step else { continue };
        image::check(&typed.basis(workspace, pod), &step)?;
        remember(&mut memory, &step, answer, now);
        steps.push(kind(&step));
    }
    Ok(steps)
}

/// Takes in a list of these objects, in the text of the API server's answer.
fn list<K>(index: &mut Index, items: &[&Value]) -> Result<(), String>
where
    K: Wire + DeserializeOwned + Clone + Debug,
    K::Seen: Slot,
{
    let list = json!({
        "kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": items,
    });
    let list: ObjectList<K> = received(&list)?;
    index.take_in(decode(Event::<K>::Init));
    for object in list.items {
        index.take_in(decode(Event::InitApply(object)));
    }
    index.take_in(decode(Event::<K>::InitDone));
    Ok(())
}

/// Takes in that this object is new or changed, in the text of the line of a watch.
fn show<K>(index: &mut Index, object: &Value) -> Result<(), String>
where
    K: Wire + DeserializeOwned + Clone + Debug,
    K::Seen: Slot,
{
    let line = json!({"type": "MODIFIED", "object": object});
    match received::<WatchEvent<K>>(&line)? {
        WatchEvent::Modified(object) => index.take_in(decode(Event::<K>::Apply(object))),
        other => return Err(format!("{other:?}")),
    };
    Ok(())
}

const NEIGHBOURS: [&str; 2] = ["a", "z"];

/// Two whose names come before and after the odd one's: one runs, and one has no Pod yet.
fn neighbours() -> ([Value; 2], Value) {
    let meta = |name: &str| {
        json!({
            "name": name, "namespace": "ns", "uid": format!("ws-{name}"), "resourceVersion": "5",
            "generation": 1,
        })
    };
    let workspace = |name: &str| json!({"metadata": meta(name), "spec": {"runtime": "langgraph"}, "status": {}});
    let pod = json!({
        "metadata": {
            "name": "a", "namespace": "ns", "uid": "pod-a", "resourceVersion": "6",
            "labels": {"app.kubernetes.io/name": "workspace"},
            "ownerReferences": [{
                "kind": "Workspace", "apiVersion": "molecule.ai/v1alpha1", "name": "a",
                "uid": "ws-a", "controller": true,
            }],
        },
        "status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "agent", "ready": true, "state": {"running": {}}}],
        },
    });
    (NEIGHBOURS.map(workspace), pod)
}

/// All that the API server has, with an odd Workspace, Pod and claim in the midst of each list.
fn listed(odd: Option<&[Value; 3]>) -> Result<Index, String> {
    let ([before, after], pod) = neighbours();
    let mut index = Index::default();
    index.set_service(&Arc::from("ns"), Service::Ours);
    let mut workspaces = vec![&before, &after];
    let (mut pods, mut claims) = (vec![&pod], Vec::new());
    if let Some([workspace, pod, claim]) = odd {
        workspaces.insert(1, workspace);
        pods.insert(0, pod);
        claims.push(claim);
    }
    list::<wire::Workspace>(&mut index, &workspaces)?;
    list::<wire::Pod>(&mut index, &pods)?;
    list::<wire::Claim>(&mut index, &claims)?;
    Ok(index)
}

fn plans<'a>(
    index: &Index,
    names: impl IntoIterator<Item = &'a str>,
    in_force: &InForce,
    now: Timestamp,
) -> Vec<Option<Plan>> {
    let planned = |name: &str| {
        let key = Key::new("ns", name);
        let seen = index.seen(&key)?;
        Some(plan(&seen, in_force, now))
    };
    names.into_iter().map(planned).collect()
}

/// What an odd Workspace, with its Pod and its claim, changes for its neighbours; and what is done
/// about itself, listed and shown by a watch.
fn harms(odd: &[Value; 3], map: &Value, now: Timestamp) -> Result<Option<Plan>, String> {
    let typed = typed(map, None)?;
    let in_force = &typed.in_force;
    let mut index = listed(None)?;
    let alone = plans(&index, NEIGHBOURS, in_force, now);
    let among = listed(Some(odd))?;
    if plans(&among, NEIGHBOURS, in_force, now) != alone {
        return Err("the others are planned differently beside it in a list".into());
    }
    let [workspace, pod, claim] = odd;
    show::<wire::Workspace>(&mut index, workspace)?;
    show::<wire::Pod>(&mut index, pod)?;
    show::<wire::Claim>(&mut index, claim)?;
    if plans(&index, NEIGHBOURS, in_force, now) != alone {
        return Err("the others are planned differently once a watch shows it".into());
    }
    let own = [&among, &index].map(|it| plans(it, ["w"], in_force, now));
    if own[0] != own[1] {
        return Err("a list and a watch show it differently".into());
    }
    let own = own.into_iter().flatten().flatten().next();
    if let Some(step) = own.as_ref().and_then(|it| it.step.as_ref()) {
        image::check(&typed.basis(workspace, pod), step)?;
    }
    Ok(own)
}

fn odd() -> impl Strategy<Value = [Value; 3]> {
    let workspace = any::of_the_future(any::odd_workspace());
    let pod = any::of_the_future(any::pod());
    let claim = any::of_the_future(any::claim());
    (workspace, pod, claim).prop_map(|(workspace, pod, claim)| [workspace, pod, claim])
}

proptest! {
    #[test]
    fn whatever_is_typed_every_image_is_what_was_meant(map in any::config_map()) {
        let data = data(&map).map_err(TestCaseError::fail)?;
        let Ok(parsed) = Settings::parse(&data, &Environment::default()) else {
            return Ok(());
        };
        for (runtime, image) in resolver::images(&parsed.settings) {
            let meant = image::meant(&data, &json!({"runtime": runtime}));
            prop_assert_eq!(Some(&image), meant.as_ref());
            image::reads(&image).map_err(TestCaseError::fail)?;
        }
        let again = Settings::parse(&parsed.settings.to_data(), &Environment::default());
        prop_assert_eq!(again.map(|it| it.settings), Ok(parsed.settings));
    }

    #[test]
    fn whatever_is_stored_the_plan_panics_at_nothing_and_writes_no_wrong_image(
        stored in stored(),
        maps in (any::config_map(), any::config_map()),
        turn in any::turn(),
        answers in uniform3(any::answer()),
        now in any::now(),
    ) {
        let passed = passed(&stored, [&maps.0, &maps.1], &turn, answers, now);
        passed.map_err(TestCaseError::fail)?;
    }

    #[test]
    fn whatever_is_stored_harms_only_itself(
        odd in odd(),
        map in any::config_map(),
        now in any::now(),
    ) {
        harms(&odd, &map, now).map_err(TestCaseError::fail)?;
    }
}

/// Puts the settings in force, one after the other, and makes the passes.
fn passed(
    stored: &Stored,
    maps: [&Value; 2],
    turn: &(Turn, Proof),
    answers: [Answer; 3],
    now: Timestamp,
) -> Result<Vec<&'static str>, String> {
    let first = typed(maps[0], None)?;
    let second = typed(maps[1], Some(&first))?;
    passes(stored, [&first, &second], turn, answers, now)
}

/// Objects that never lead to a step would prove nothing of it.
#[test]
fn the_objects_lead_to_every_kind_of_step() {
    const KINDS: [&str; 9] = [
        "CreateClaim",
        "CreatePod",
        "DeletePod",
        "MovePod",
        "MovePod back",
        "PatchClaim",
        "PatchStatus",
        "SetImage",
        "TryPod",
    ];
    let mut runner = TestRunner::deterministic();
    let turns = (any::turn(), uniform3(any::answer()));
    let strategy = (stored(), any::config_map(), turns, any::now());
    let mut reached = BTreeSet::new();
    for _ in 0..40_000 {
        let tree = strategy.new_tree(&mut runner).expect("a case");
        let (stored, map, (turn, answers), now) = tree.current();
        let passed = passed(&stored, [&map, &map], &turn, answers, now);
        reached.extend(passed.expect("a pass"));
        if reached.len() == KINDS.len() {
            break;
        }
    }
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), KINDS);
}

/// Odd Workspaces of which all decode would not be odd; where none does, nothing else is tried.
#[test]
fn some_of_the_odd_do_not_decode_and_are_told_so() {
    let mut runner = TestRunner::deterministic();
    let strategy = (odd(), any::config_map(), any::now());
    let mut told = BTreeSet::new();
    for _ in 0..2_000 {
        let tree = strategy.new_tree(&mut runner).expect("a case");
        let (odd, map, now) = tree.current();
        let own = harms(&odd, &map, now).expect("it harms no other");
        let Some(own) = own else { continue };
        told.extend(own.showing.map(|(reason, _)| reason.to_string()));
        told.extend(own.step.map(|step| kind(&step).to_owned()));
    }
    for word in ["InvalidSpec", "TryPod"] {
        assert!(told.contains(word), "{word}: {told:?}");
    }
}
