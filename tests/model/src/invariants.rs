//! What must hold of every state, and the words in which a counterexample says what does not.

use std::fmt;

use jiff::SignedDuration;
use kube::api::Patch;
use stateright::Property;
use workspace_operator::apply::{Call, Request};
use workspace_operator::plan::{Plan, Step};
use workspace_operator::seen::{Controller, Phase, Seen};
use workspace_operator::settings::DEFAULT_PROVISION_TIMEOUT_SECONDS;

use crate::cluster::Cluster;
use crate::operator::Basis;
use crate::state::{Life, Owner, Pod, State, is_true};

/// An invariant, by its number in the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// At most one Pod object per Workspace UID.
    I1,
    /// An edit of the settings alone stops no Pod that has something to lose.
    I2,
    /// What is Ready is stopped for another image only once that is known to be on its node.
    I3,
    /// Only what is ours is written, and every write names the state that it was planned from.
    I4,
    /// Ready is only told when it is true, and taken back when it is not.
    I5,
    /// Storage outlives all but the deletion that was asked for.
    I6,
    /// The steps converge, then stop.
    I7,
    /// No wrong image is ever written.
    I8,
}

/// An invariant that a write broke, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// How.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.how)
    }
}

/// The names under which the checker knows the invariants.
pub const NAMES: [(Invariant, &str); 8] = [
    (Invariant::I1, "I1 at most one Pod per Workspace UID"),
    (Invariant::I2, "I2 settings stop nothing that runs or ran"),
    (
        Invariant::I3,
        "I3 what is Ready stops for no image that is not proved",
    ),
    (
        Invariant::I4,
        "I4 writes are guarded and touch only what is ours",
    ),
    (
        Invariant::I5,
        "I5 Ready is told only while true, and taken back",
    ),
    (Invariant::I6, "I6 storage is never deleted by a rollout"),
    (
        Invariant::I7,
        "I7 without faults the steps converge, then stop",
    ),
    (Invariant::I8, "I8 no wrong image is written"),
];

/// The name of an invariant.
#[must_use]
pub fn name(invariant: Invariant) -> &'static str {
    NAMES
        .iter()
        .find(|(it, _)| *it == invariant)
        .map_or("", |(_, name)| name)
}

/// The invariants as properties of every state.
#[must_use]
pub fn properties() -> Vec<Property<Cluster>> {
    fn holds(state: &State, invariant: Invariant) -> bool {
        state
            .broken
            .as_ref()
            .is_none_or(|it| it.invariant != invariant)
    }
    vec![
        Property::always(name(Invariant::I1), |_, it| {
            holds(it, Invariant::I1) && one_pod_each(it)
        }),
        Property::always(name(Invariant::I2), |_, it| holds(it, Invariant::I2)),
        Property::always(name(Invariant::I3), |_, it| holds(it, Invariant::I3)),
        Property::always(name(Invariant::I4), |_, it| holds(it, Invariant::I4)),
        Property::always(name(Invariant::I5), |_, it| holds(it, Invariant::I5)),
        Property::always(name(Invariant::I6), |_, it| holds(it, Invariant::I6)),
        Property::always(name(Invariant::I7), |cluster: &Cluster, it: &State| {
            it.broken.is_some() || cluster.settles(it).is_ok()
        }),
        Property::always(name(Invariant::I8), |_, it| holds(it, Invariant::I8)),
    ]
}

fn one_pod_each(state: &State) -> bool {
    let of_the_name = state.pod.now().as_ref().and_then(|pod| match pod.owner {
        Owner::Workspace(uid) => Some(uid),
        Owner::Foreign { .. } => None,
    });
    let mut owners: Vec<u8> = state.strays.iter().copied().chain(of_the_name).collect();
    let all = owners.len();
    owners.sort_unstable();
    owners.dedup();
    owners.len() == all
}

/// What is wrong with this plan, whatever becomes of it. The image is what the user asks for by the
/// settings that are in force, both as whoever planned it sees them.
#[must_use]
pub fn judge(seen: &Seen<'_>, plan: &Plan, image: Option<&str>) -> Option<Broken> {
    let Some(step) = &plan.step else {
        return ready_stays(seen);
    };
    not_ours(seen, step)
        .or_else(|| wrong_image(step, image))
        .or_else(|| ready_too_early(seen, step))
        .or_else(|| claim_goes_along(seen, step))
}

fn broken(invariant: Invariant, how: impl Into<String>) -> Option<Broken> {
    let how = how.into();
    Some(Broken { invariant, how })
}

/// What is wrong with this request, whatever becomes of it: a write to an object that is there names
/// the version that it was planned from, and a delete its uid besides.
#[must_use]
pub fn judge_request(request: &Request) -> Option<Broken> {
    let names = |it: Option<&str>| it.is_some_and(|it| !it.is_empty());
    let is_guarded = match &request.call {
        Call::Create { .. } => true,
        Call::Patch {
            patch: Patch::Merge(patch) | Patch::Strategic(patch),
            ..
        } => names(patch["metadata"]["resourceVersion"].as_str()),
        Call::Patch { .. } => false,
        Call::Delete { preconditions } => {
            names(preconditions.uid.as_deref()) && names(preconditions.resource_version.as_deref())
        }
    };
    if is_guarded {
        return None;
    }
    broken(
        Invariant::I4,
        "a write does not name the uid and resourceVersion that it was planned from",
    )
}

fn not_ours(seen: &Seen<'_>, step: &Step) -> Option<Broken> {
    let uid = &seen.workspace?.version.uid;
    let owners = match step {
        Step::CreatePod { pod, .. } => pod.metadata.owner_references.as_deref(),
        _ => return None,
    };
    let mut owners = owners.unwrap_or_default().iter();
    if owners.any(|it| it.uid == *uid && it.controller == Some(true)) {
        return None;
    }
    broken(
        Invariant::I4,
        "a Pod is created that its Workspace does not control",
    )
}

/// One that other settings or another spec would give is as wrong as one that does not exist.
fn wrong_image(step: &Step, wanted: Option<&str>) -> Option<Broken> {
    let images: Vec<&str> = match step {
        Step::CreatePod { pod, ask, .. } | Step::TryPod { pod, ask, .. } => {
            let containers = pod.spec.iter().flat_map(|it| &it.containers);
            let images = containers.map(|it| it.image.as_deref().unwrap_or_default());
            images.chain([&*ask.image]).collect()
        }
        Step::SetImage { ask, .. } | Step::MovePod { ask, .. } => vec![&ask.image],
        _ => return None,
    };
    let wrong = images.into_iter().find(|image| Some(*image) != wanted)?;
    let wanted = wanted.unwrap_or("none");
    broken(
        Invariant::I8,
        format!("the image {wrong:?} is written, and what is asked for is {wanted}"),
    )
}

/// I5, of what is written.
fn ready_too_early(seen: &Seen<'_>, step: &Step) -> Option<Broken> {
    let Step::PatchStatus { status, .. } = step else {
        return None;
    };
    if !is_true(status, "Ready") {
        return None;
    }
    let workspace = seen.workspace?;
    if status.observed_generation != Some(workspace.generation) {
        return broken(
            Invariant::I5,
            "Ready is told of a generation that was not seen",
        );
    }
    let Some(pod) = seen.pod.filter(|_| serves(seen)) else {
        return broken(Invariant::I5, "Ready is told, and the Pod is not Ready");
    };
    if status.image != pod.told.image {
        return broken(Invariant::I5, "status.image is not what the Pod was told");
    }
    None
}

/// I5, of what is not written.
fn ready_stays(seen: &Seen<'_>) -> Option<Broken> {
    let workspace = seen.workspace.filter(|it| !it.deleting)?;
    if is_true(&workspace.status, "Ready") && !serves(seen) {
        return broken(Invariant::I5, "Ready stays told, and the Pod is not Ready");
    }
    None
}

fn serves(seen: &Seen<'_>) -> bool {
    let Some((workspace, pod)) = seen.workspace.zip(seen.pod) else {
        return false;
    };
    pod.controller == Controller::Workspace(workspace.version.uid.clone())
        && pod.ready
        && pod.deleting.is_none()
        && pod.phase == Phase::Alive
}

/// I6: a claim goes with its Workspace only when that was asked for.
fn claim_goes_along(seen: &Seen<'_>, step: &Step) -> Option<Broken> {
    use workspace_operator::workspace::WhenDeleted;
    let owners = match step {
        Step::CreateClaim { claim, .. } => claim.metadata.owner_references.as_ref()?,
        Step::PatchClaim { change, .. } => change.owners.as_ref()?,
        _ => return None,
    };
    let spec = seen.workspace?.spec.as_ref().ok()?.unpack();
    let retain = spec
        .storage
        .as_ref()
        .is_none_or(|it| it.when_deleted == WhenDeleted::Retain);
    if owners.is_empty() || !retain {
        return None;
    }
    broken(
        Invariant::I6,
        "the claim gets an owner, with which it would go, though it is to be retained",
    )
}

/// I5 and I2 of a write that was done to this Pod: against the cluster as it is, not as seen.
#[must_use]
pub fn judge_stop(pod: &Pod, asked: u8, suspend: bool, deletes: bool) -> Option<Broken> {
    let to_lose = match pod.life {
        Life::Running | Life::Leaving | Life::Crashed => true,
        // Its container ran, and a new image in place is the only way back.
        Life::Bereft => deletes,
        Life::Pulling | Life::Failing { .. } if pod.starts > 0 => deletes,
        Life::Unscheduled | Life::Pulling | Life::Failing { .. } | Life::Dead => false,
    };
    let users_wish = deletes && (suspend || pod.asked != asked);
    if !to_lose || users_wish {
        return None;
    }
    let what = if deletes { "deleted" } else { "given an image" };
    let life = pod.life;
    broken(
        Invariant::I2,
        format!("a Pod ({life:?}) is {what}, and no user asked for another"),
    )
}

/// I3 of a write that stops this Pod: against the cluster as it is, not as seen.
#[must_use]
pub fn judge_proof(state: &State, pod: &Pod, basis: &Basis) -> Option<Broken> {
    let image = basis.image.as_deref()?;
    // One that crashed for the first time is back by itself, from the image on its node.
    let timeout = SignedDuration::from_secs(DEFAULT_PROVISION_TIMEOUT_SECONDS.into());
    let in_time = pod.changed.is_some_and(|at| state.now < at + timeout);
    let comes_back = pod.life == Life::Crashed && pod.starts == 1 && in_time;
    let is_ready = (pod.life == Life::Running || comes_back) && pod.going.is_none();
    let is_new = *pod.image != *image;
    let is_proved = matches!(&state.proof, Some((proved, true)) if **proved == *image);
    if basis.suspend || !is_ready || !is_new || is_proved {
        return None;
    }
    broken(
        Invariant::I3,
        format!("what serves is stopped for {image}, which is not proved to be on its node"),
    )
}

/// I5 in the part that no operator sees: which image the container runs.
#[must_use]
pub fn judge_container(pod: Option<&Pod>) -> Option<Broken> {
    if pod.is_some_and(|pod| pod.life == Life::Leaving) {
        return broken(
            Invariant::I5,
            "Ready is told of a container that runs another image than it was last told",
        );
    }
    None
}
