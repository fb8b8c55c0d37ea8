//! What a run must come across: a check that never gets there proves nothing.

use stateright::Property;
use workspace_operator::workspace::Reason;

use crate::cluster::Cluster;
use crate::state::{Life, Setting, State};

fn told(state: &State, reason: Reason) -> bool {
    let workspace = state.workspace.now().as_ref();
    workspace.is_some_and(|it| it.status.value.state == Some(reason))
}

fn healed(state: &State) -> bool {
    let pod = state.pod.now().as_ref();
    pod.is_some_and(|it| it.told.healed.is_some() && it.life == Life::Running)
}

fn replaced(state: &State) -> bool {
    let pod = state.pod.now().as_ref();
    pod.is_some_and(|it| it.asked > 0 && it.life == Life::Running)
}

fn moved(state: &State) -> bool {
    let pod = state.pod.now().as_ref();
    pod.is_some_and(|it| it.told.moved.is_some() && it.life == Life::Running)
}

/// The settings went to the mirror and back, and a Pod that was healed meanwhile runs where it is.
fn back(state: &State) -> bool {
    let pod = state.pod.now().as_ref();
    let on_mirror = |image: &str| image.starts_with("b.example.com/");
    *state.settings.now() == Setting::A
        && healed(state)
        && pod.is_some_and(|it| on_mirror(&it.image))
}

fn end_refused(state: &State) -> bool {
    let mut operators = state.operators.iter();
    operators.any(|it| it.memory.delete_refusal.is_some())
}

/// An operator sees a Pod as it was two versions ago, or more.
fn far_behind(state: &State) -> bool {
    state.pod.behind(0) > 1
}

/// States that a run comes across, whatever is asked for in it.
#[must_use]
pub fn properties() -> Vec<Property<Cluster>> {
    vec![
        Property::sometimes("Ready is told", |_, it| told(it, Reason::Ready)),
        Property::sometimes("Suspended is told", |_, it| told(it, Reason::Suspended)),
        Property::sometimes("a stuck Pod is healed in place", |_, it| healed(it)),
        Property::sometimes("a Pod is replaced for another spec", |_, it| replaced(it)),
        Property::sometimes("a Pod is moved in place", |_, it| moved(it)),
        Property::sometimes("RolloutBlocked is told", |_, it| {
            told(it, Reason::RolloutBlocked)
        }),
        Property::sometimes("ImagePullFailed is told", |_, it| {
            told(it, Reason::ImagePullFailed)
        }),
        Property::sometimes("PodStuckTerminating is told", |_, it| {
            told(it, Reason::PodStuckTerminating)
        }),
        Property::sometimes("PodNotOwned is told", |_, it| told(it, Reason::PodNotOwned)),
        Property::sometimes("PodRejected is told", |_, it| told(it, Reason::PodRejected)),
        Property::sometimes("PodFailed is told", |_, it| told(it, Reason::PodFailed)),
        Property::sometimes("InvalidSpec is told", |_, it| told(it, Reason::InvalidSpec)),
        Property::sometimes("UnknownRuntime is told", |_, it| {
            told(it, Reason::UnknownRuntime)
        }),
        Property::sometimes("the end of a Pod is refused", |_, it| end_refused(it)),
        Property::sometimes("the settings are back, a healed Pod is not", |_, it| {
            back(it)
        }),
        Property::sometimes("a cache is two versions behind", |_, it| far_behind(it)),
        Property::sometimes("a second Workspace of the name exists", |_, it: &State| {
            it.born > 1
        }),
    ]
}
