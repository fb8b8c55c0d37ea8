//! Why a Pod is not Ready, in words that stay the same for as long as the cause does: a message
//! with ports, ids, counts or times of retries in it would be written for ever.

use jiff::{SignedDuration, Timestamp};

use super::{Decision, Finding, Kind};
use crate::pull;
use crate::seen::{AgentState, DEFAULT_GRACE, Pod, later};
use crate::workspace::{Reason, WorkspaceSpec, WorkspaceStatus};

/// A container that is stopped counts as not ready any more this long after its grace, in seconds.
const CEASES_WITHIN: i64 = 10;

/// Until when a Pod may be on its way to Ready.
pub(super) struct Deadline {
    pub(super) at: Timestamp,
    seconds: u32,
}

impl Deadline {
    pub(super) fn of(pod: &Pod, grace: Option<i64>, seconds: u32) -> Self {
        Self {
            at: pod.due(grace, seconds),
            seconds,
        }
    }

    /// Past the deadline, what is under way is stalled; it goes on trying.
    pub(super) fn apply(&self, mut finding: Finding, now: Timestamp) -> Decision {
        if !matches!(finding.kind, Kind::Progress | Kind::Problem) {
            return Decision::wait(finding);
        }
        if now < self.at {
            return Decision::wait(finding).until(self.at);
        }
        finding.kind = Kind::Stalled;
        finding.message = format!("not Ready for {} s: {}", self.seconds, finding.message);
        Decision::wait(finding)
    }
}

/// Where a live Pod of ours stands.
pub(super) fn diagnose(
    pod: &Pod,
    spec: &WorkspaceSpec,
    claim_pending: bool,
    told: &WorkspaceStatus,
) -> Finding {
    if pod.ready {
        return Finding::new(Kind::Ready, Reason::Ready, "the agent answers on port 8000");
    }
    if is_being_moved(pod, spec) {
        let image = pod.told.image.as_deref().unwrap_or(&pod.spec_image);
        let message = format!("the agent is started anew with {image}, and does not answer yet");
        return Finding::new(Kind::Progress, Reason::Replacing, message);
    }
    if pod.node.is_none() {
        return unscheduled(pod, claim_pending);
    }
    match &pod.agent.state {
        AgentState::Waiting { reason, message } if pull::is_failure(reason) => {
            image_failure(pod, reason, message, told)
        }
        AgentState::Waiting { reason, message } if reason == "CreateContainerConfigError" => {
            Finding::new(Kind::Problem, Reason::ConfigMissing, message)
        }
        _ if pod.agent.last_exit.is_some() && !ended_for_another_image(pod) => Finding::new(
            Kind::Problem,
            Reason::CrashLooping,
            format!("the agent ended ({}) and is restarted", end(pod)),
        ),
        AgentState::Waiting { reason, .. } if !is_plain_start(reason) => Finding::new(
            Kind::Problem,
            Reason::ContainerError,
            format!("the container cannot start ({reason}); kubectl describe pod says more"),
        ),
        AgentState::Running | AgentState::Terminated => {
            let message = "the agent runs but does not answer on port 8000";
            Finding::new(Kind::Progress, Reason::NotReady, message)
        }
        AgentState::Waiting { .. } | AgentState::Unknown => starting(pod, spec),
    }
}

/// Whether its container is being stopped for another image, or starts with it for the first time: who
/// waits for it is told once.
fn is_being_moved(pod: &Pod, spec: &WorkspaceSpec) -> bool {
    let Some(moved) = pod.told.moved.as_deref() else {
        return false;
    };
    match pod.agent.state {
        AgentState::Running | AgentState::Terminated if pod.is_leaving() => true,
        AgentState::Running if moved.is_first_run(&pod.agent) => {
            // Once it has answered on it, it is an agent like any other.
            let grace = spec
                .termination_grace_period_seconds
                .unwrap_or(DEFAULT_GRACE);
            let ceases = SignedDuration::from_secs(grace.max(0).saturating_add(CEASES_WITHIN));
            pod.ready_changed
                .is_none_or(|at| at <= later(moved.at, ceases))
        }
        _ => false,
    }
}

/// Whether how its last run ended is not its agent's doing: it waits for another image, and is about
/// to be started with it.
fn ended_for_another_image(pod: &Pod) -> bool {
    match &pod.agent.state {
        AgentState::Waiting { reason, .. } => is_plain_start(reason) && pod.is_leaving(),
        AgentState::Running => {
            let moved = pod.told.moved.as_deref();
            moved.is_some_and(|it| it.is_first_run(&pod.agent))
        }
        _ => false,
    }
}

/// How our container last ended, or why its Pod did.
pub(super) fn end(pod: &Pod) -> String {
    match (&pod.agent.last_exit, &pod.status_reason) {
        (_, Some(reason)) => reason.clone(),
        (Some(exit), None) => format!("{}, exit code {}", exit.reason, exit.code),
        (None, None) => "no reason given".into(),
    }
}

fn is_plain_start(reason: &str) -> bool {
    matches!(reason, "" | "ContainerCreating" | "PodInitializing")
}

fn unscheduled(pod: &Pod, claim_pending: bool) -> Finding {
    match &pod.unschedulable {
        Some(message) if claim_pending => {
            Finding::new(Kind::Problem, Reason::VolumePending, message)
        }
        Some(message) => Finding::new(Kind::Problem, Reason::Unschedulable, message),
        None => Finding::new(
            Kind::Progress,
            Reason::Pending,
            "the Pod waits for the scheduler",
        ),
    }
}

fn starting(pod: &Pod, spec: &WorkspaceSpec) -> Finding {
    let image = pod.told.image.as_deref().unwrap_or(&pod.spec_image);
    if pod.sandbox_ready {
        let message = format!("the node pulls {image}");
        return Finding::new(Kind::Progress, Reason::Pulling, message);
    }
    let message = match &spec.config {
        Some(config) => {
            format!("the Pod waits for its volumes and network; does the ConfigMap {config} exist?")
        }
        None => "the Pod waits for its volumes and network".into(),
    };
    Finding::new(Kind::Progress, Reason::Starting, message)
}

/// Whether the image that the Pod was last told cannot be pulled.
pub(super) fn cannot_pull(pod: &Pod) -> bool {
    match &pod.agent.state {
        AgentState::Waiting { reason, message } => {
            pull::is_failure(reason) && !is_of_another_image(pod, message)
        }
        _ => false,
    }
}

/// Right after a change of the image the kubelet's message still names the old one.
fn is_of_another_image(pod: &Pod, message: &str) -> bool {
    message.contains('"') && !message.contains(&pod.spec_image)
}

/// Which registry refused, and with which code.
fn image_failure(pod: &Pod, reason: &str, message: &str, told: &WorkspaceStatus) -> Finding {
    let image = pod.told.image.as_deref().unwrap_or(&pod.spec_image);
    if is_of_another_image(pod, message) {
        let message = format!("the node pulls {image}");
        return Finding::new(Kind::Progress, Reason::Pulling, message);
    }
    let mut conditions = told.conditions.iter();
    let text = match pull::cause(reason, message) {
        Some(cause) => pull::sentence(image, cause),
        // What was told stays told.
        None => conditions
            .find_map(|it| pull::told(image, &it.message))
            .map_or_else(
                || pull::sentence_without_cause(image, reason),
                str::to_owned,
            ),
    };
    Finding::new(Kind::Problem, Reason::ImagePullFailed, text)
}
