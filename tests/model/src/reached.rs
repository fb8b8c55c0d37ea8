//! What a run must come across: a check that never gets there proves nothing.

use stateright::Property;
use workspace_operator::workspace::Reason;

use crate::cluster::Cluster;
use crate::state::{Life, State};

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

/// States that a run comes across, whatever is asked for in it.
#[must_use]
pub fn properties() -> Vec<Property<Cluster>> {
    vec![
        Property::sometimes("Ready is told", |_, it| told(it, Reason::Ready)),
        Property::sometimes("Suspended is told", |_, it| told(it, Reason::Suspended)),
        Property::sometimes("a stuck Pod is healed in place", |_, it| healed(it)),
        Property::sometimes("a Pod is replaced for another spec", |_, it| replaced(it)),
        Property::sometimes("ImagePullFailed is told", |_, it| {
            told(it, Reason::ImagePullFailed)
        }),
        Property::sometimes("PodStuckTerminating is told", |_, it| {
            told(it, Reason::PodStuckTerminating)
        }),
        Property::sometimes("PodNotOwned is told", |_, it| told(it, Reason::PodNotOwned)),
        Property::sometimes("PodRejected is told", |_, it| told(it, Reason::PodRejected)),
        Property::sometimes("PodFailed is told", |_, it| told(it, Reason::PodFailed)),
        Property::sometimes("a second Workspace of the name exists", |_, it: &State| {
            it.born > 1
        }),
    ]
}
