//! Which step comes next, and where the Workspace stands before it.

use jiff::Timestamp;

use super::diagnosis::{self, Deadline};
use super::{
    Decision, FAILURE_BACKOFF, Finding, Kind, Rollout, Step, Stuck, TERMINATING_OVERDUE, is_over,
    retry_at,
};
use crate::fleet::InForce;
use crate::names;
use crate::pod;
use crate::pull;
use crate::seen::{
    AgentState, Ask, Controller, Left, Phase, Pod, STABLE, Seen, Service, Workspace, later,
};
use crate::settings::{DEFAULT_PROVISION_TIMEOUT_SECONDS, Settings};
use crate::workspace::{Reason, WorkspaceSpec};

/// All that one decision rests on.
pub(super) struct Case<'a> {
    pub(super) seen: &'a Seen<'a>,
    pub(super) workspace: &'a Workspace,
    pub(super) spec: &'a WorkspaceSpec,
    pub(super) in_force: &'a InForce,
    pub(super) now: Timestamp,
}

/// Whose the Pod of this name is.
enum Ownership {
    Ours,
    /// Of an earlier Workspace of the same name: the garbage collector deletes it.
    Predecessors,
    /// Of a Workspace, and out of sight.
    Hidden,
    Foreign,
}

pub(super) fn decide(
    seen: &Seen<'_>,
    workspace: &Workspace,
    in_force: &InForce,
    now: Timestamp,
) -> Decision {
    let spec = match &workspace.spec {
        Ok(spec) => &spec.unpack(),
        Err(error) => {
            return Decision::wait(Finding::new(Kind::Stalled, Reason::InvalidSpec, error));
        }
    };
    let case = Case {
        seen,
        workspace,
        spec,
        in_force,
        now,
    };
    let decision = case.claim_change().unwrap_or_else(|| case.pod_or_none());
    case.until_expiry(case.with_delete_refusal(case.with_claim_refusal(decision)))
}

impl Case<'_> {
    fn pod_or_none(&self) -> Decision {
        let off = self.off();
        let Some(pod) = self.seen.pod else {
            return off.map_or_else(|| self.new_rollout(), Off::decision);
        };
        match (self.ownership(pod), pod.deleting, off) {
            (Ownership::Ours, None, Some(off)) => stop(pod, off),
            (Ownership::Ours, None, None) => self.existing(pod),
            (Ownership::Ours, Some(grace), _) => self.going(pod, grace),
            (Ownership::Hidden, _, _) => Decision::wait(self.hidden()),
            (_, _, Some(off)) => off.decision(),
            (Ownership::Predecessors, Some(grace), None) => self.going(pod, grace),
            (Ownership::Predecessors, None, None) => Decision::wait(Finding::new(
                Kind::Progress,
                Reason::WaitingForOldPod,
                "the Pod of an earlier Workspace of this name is still there; it goes as garbage, \
                 and if it does not, delete it",
            )),
            (Ownership::Foreign, _, None) => Decision::wait(Finding::new(
                Kind::Stalled,
                Reason::PodNotOwned,
                format!(
                    "a Pod named {} exists that does not belong to this Workspace; delete that \
                     Pod or rename the Workspace",
                    self.seen.key.name
                ),
            )),
        }
    }

    fn ownership(&self, pod: &Pod) -> Ownership {
        match &pod.controller {
            Controller::Workspace(uid) if *uid == self.workspace.version.uid => Ownership::Ours,
            Controller::Workspace(_) => Ownership::Predecessors,
            Controller::Hidden => Ownership::Hidden,
            Controller::None | Controller::Other => Ownership::Foreign,
        }
    }

    fn hidden(&self) -> Finding {
        let (pod, label, value) = (&self.seen.key.name, names::LABEL_NAME, names::NAME);
        Finding::new(
            Kind::Stalled,
            Reason::PodNotOwned,
            format!(
                "the Pod {pod} lost the label {label}={value}, without which nothing is known of \
                 it; put the label back or delete that Pod"
            ),
        )
    }

    /// Why there is to be no Pod, if there is to be none.
    fn off(&self) -> Option<Off> {
        if self.spec.suspend {
            return Some(Off::Suspended);
        }
        is_over(self.spec.expires_at.as_ref(), self.now).then_some(Off::Expired)
    }

    /// What runs now is looked at when its time is over.
    fn until_expiry(&self, decision: Decision) -> Decision {
        match &self.spec.expires_at {
            Some(at) if self.off().is_none() => decision.until(at.0),
            _ => decision,
        }
    }

    /// A Pod that is going away keeps its name until it is gone.
    fn going(&self, pod: &Pod, grace: Timestamp) -> Decision {
        let overdue = later(grace, TERMINATING_OVERDUE);
        if self.now >= overdue {
            let node = pod.node.as_deref().unwrap_or("(none)");
            return Decision::wait(Finding::new(
                Kind::Stalled,
                Reason::PodStuckTerminating,
                format!(
                    "the old Pod hangs in Terminating on node {node}; if that node is lost, taint \
                     it with node.kubernetes.io/out-of-service=nodeshutdown:NoExecute; if the Pod \
                     has finalizers, see to whoever set them"
                ),
            ));
        }
        let (reason, message) = if self.off().is_some() {
            (Reason::Suspending, "the Pod is being stopped")
        } else {
            (Reason::WaitingForOldPod, "the old Pod is still going away")
        };
        Decision::wait(Finding::new(Kind::Progress, reason, message)).until(overdue)
    }

    /// There is no Pod: a new rollout, with the settings of this moment.
    fn new_rollout(&self) -> Decision {
        let (settings, ask) = match self.ask() {
            Ok(found) => found,
            Err(finding) => return Decision::wait(finding),
        };
        if self.seen.service == Service::Missing {
            return Decision::wait(pending("the Service of the namespace is being created"));
        }
        if let Some(decision) = self.claim_first().or_else(|| self.rejected(&ask)) {
            return decision;
        }
        let failures = self.seen.memory.failures;
        let rollout = if failures > 0 {
            Rollout::PodFailed
        } else {
            Rollout::NoPod
        };
        let mut pod = pod::pod(
            self.seen.key,
            self.workspace,
            self.spec,
            &ask,
            settings,
            failures,
        );
        if let Some(left) = &self.seen.memory.left {
            pod::take_the_place(&mut pod, left, self.now);
        }
        Decision::act(
            Step::CreatePod {
                rollout,
                ask,
                pod: Box::new(pod),
            },
            pending("the Pod is about to be created"),
        )
    }

    /// The Pod that the settings of this moment would make, or why there is none.
    pub(super) fn ask(&self) -> Result<(&Settings, Ask), Finding> {
        let Some(settings) = &self.in_force.settings else {
            let error = self
                .in_force
                .error
                .as_deref()
                .unwrap_or("they are not read yet");
            return Err(Finding::new(
                Kind::Stalled,
                Reason::InvalidSettings,
                format!("no settings are in force, so no Pod is started: {error}"),
            ));
        };
        match pod::ask(self.workspace, self.spec, settings) {
            Ok(ask) => Ok((settings, ask)),
            Err(unknown) => Err(Finding::new(
                Kind::Stalled,
                Reason::UnknownRuntime,
                unknown.to_string(),
            )),
        }
    }

    /// A live Pod of ours.
    fn existing(&self, pod: &Pod) -> Decision {
        if pod.told.revision.is_none() && pod.phase == Phase::Alive {
            return Decision::wait(Finding::new(
                Kind::Stalled,
                Reason::PodAltered,
                format!(
                    "the Pod has lost its annotation {}, so it is not known whether it is what \
                     was asked for; delete it to have it started anew",
                    names::TOLD_REVISION
                ),
            ));
        }
        let current = pod
            .told
            .revision
            .as_ref()
            .is_none_or(|it| *it == self.workspace.revision);
        if !current {
            self.replace(pod)
        } else if pod.phase == Phase::Dead {
            self.bury(pod)
        } else {
            let decision = self.heal(pod).or_else(|| self.moved(pod));
            let decision = decision.or_else(|| self.put_back(pod));
            decision.unwrap_or_else(|| self.diagnosed(pod))
        }
    }

    /// A Pod that failed or succeeded stays for its logs until its back-off is over.
    fn bury(&self, pod: &Pod) -> Decision {
        if let Err(finding) = self.ask() {
            return Decision::wait(finding);
        }
        let exit = pod.agent.last_exit.as_ref();
        let failures = if pod.agent.last_run().is_some_and(|ran| ran >= STABLE) {
            0
        } else {
            pod.told.failures
        };
        let ended = exit.and_then(|exit| exit.finished).or(pod.ready_changed);
        let pause = FAILURE_BACKOFF.after(failures);
        let due = later(self.by_our_clock(ended.unwrap_or(pod.created)), pause);
        let kind = if FAILURE_BACKOFF.is_longest(failures) {
            Kind::Stalled
        } else {
            Kind::Problem
        };
        let finding = Finding::new(
            kind,
            Reason::PodFailed,
            format!(
                "the Pod ended ({}); it is replaced {} s after its end",
                diagnosis::end(pod),
                pause.as_secs()
            ),
        );
        if self.now < due {
            return Decision::wait(finding).until(due);
        }
        let step = Step::DeletePod {
            version: pod.version.clone(),
            why: Rollout::PodFailed,
            left: Box::new(self.left_unfinished(pod)),
            failures: failures.saturating_add(1),
        };
        Decision::act(step, finding)
    }

    /// A Pod that takes the place of one that never came back from its move has not come back either.
    fn left_unfinished(&self, pod: &Pod) -> Left {
        let grace = self.spec.termination_grace_period_seconds;
        let moved = pod.told.moved.as_ref();
        let moved = moved.filter(|it| !it.came_back(pod, grace, self.provision_timeout()));
        Left {
            node: None,
            moved_from: moved.and_then(|it| it.from.clone()),
            moved_at: moved.map(|it| it.at),
            moved_back: pod.told.moved.as_ref().and_then(|it| it.back.clone()),
            moved_to: moved.and_then(|_| self.told_ask(pod)),
        }
    }

    /// What this Pod was made or moved for.
    fn told_ask(&self, pod: &Pod) -> Option<Ask> {
        Some(Ask {
            revision: self.workspace.revision.clone(),
            image: pod.told.image.clone()?,
            settings: pod.told.settings.clone()?,
        })
    }

    /// When a Pod ended, by a clock that may be behind that of its node: then what counts is since
    /// when it has been seen, or it would be replaced late by as much as the clocks differ.
    fn by_our_clock(&self, ended: Timestamp) -> Timestamp {
        match self.seen.memory.showing {
            _ if ended <= self.now => ended,
            Some((Reason::PodFailed, since)) => since.min(self.now),
            _ => self.now,
        }
    }

    /// The one place where an edit of the settings alone reaches a Pod that exists: only a Pod that
    /// cannot start because of what the settings gave it, and that has nothing to lose.
    fn heal(&self, pod: &Pod) -> Option<Decision> {
        let (_, ask) = self.ask().ok()?;
        // One that nobody knows of may be the old one. That of the settings may have been taken off
        // by a policy, and a new Pod for it would come without it again, and again.
        let image = pod.told.image.as_ref() != Some(&ask.image);
        let settings = pod
            .told
            .settings
            .as_ref()
            .is_some_and(|it| *it != ask.settings)
            && !pod.agent.has_run();
        if !image && !settings {
            return None;
        }
        let why = match self.stuck(pod) {
            Ok(why) => why,
            Err(look_again) => return look_again.map(|at| self.diagnosed(pod).until(at)),
        };
        // One that was put back had its time on what the settings give, which is the better of the two
        // only where what it ran cannot be had any more.
        let is_back = pod.told.was_put_back_from(&ask.image);
        if is_back && !settings && !diagnosis::cannot_pull(pod) {
            return None;
        }
        if let Some(decision) = self.rejected(&ask) {
            return Some(decision);
        }
        if let Some(retry) = self.undone(&ask) {
            return Some(self.diagnosed(pod).until(retry));
        }
        let finding = self.diagnosed(pod).finding;
        let step = if settings {
            delete(pod, Rollout::SettingsChanged, Left::default())
        } else {
            Step::SetImage {
                version: pod.version.clone(),
                ask,
                at: self.now,
                why,
            }
        };
        Some(Decision::act(step, finding))
    }

    /// Why the Pod is stuck; else when it will count as stuck, if it may.
    fn stuck(&self, pod: &Pod) -> Result<Stuck, Option<Timestamp>> {
        if pod.agent.state == AgentState::Running {
            return Err(None);
        }
        if pod.node.is_none() {
            return Ok(Stuck::Unscheduled);
        }
        if let AgentState::Waiting { reason, .. } = &pod.agent.state
            && pull::is_failure(reason)
        {
            return Ok(Stuck::Image);
        }
        let has_run = pod.agent.has_run() && !waits_for_new_image(pod);
        if has_run || !pod.sandbox_ready {
            return Err(None);
        }
        let deadline = self.deadline(pod).at;
        if self.now >= deadline {
            Ok(Stuck::NeverStarted)
        } else {
            Err(Some(deadline))
        }
    }

    /// Somebody undid this very change, and it is too early to do it again.
    pub(super) fn undone(&self, ask: &Ask) -> Option<Timestamp> {
        let healed = self.seen.memory.healed.as_deref();
        retry_at(healed.filter(|it| it.what == *ask)?, self.now)
    }

    pub(super) fn diagnosed(&self, pod: &Pod) -> Decision {
        let claim_pending = self.seen.claim.is_some_and(|claim| claim.pending);
        let told = &self.workspace.status;
        let finding = diagnosis::diagnose(pod, self.spec, claim_pending, told);
        self.deadline(pod).apply(finding, self.now)
    }

    pub(super) fn deadline(&self, pod: &Pod) -> Deadline {
        let grace = self.spec.termination_grace_period_seconds;
        Deadline::of(pod, grace, self.provision_timeout())
    }

    /// In seconds.
    pub(super) fn provision_timeout(&self) -> u32 {
        let of_settings = self.in_force.settings.as_ref();
        self.spec.provision_timeout_seconds.unwrap_or_else(|| {
            of_settings.map_or(DEFAULT_PROVISION_TIMEOUT_SECONDS, |it| {
                it.provision_timeout_seconds()
            })
        })
    }
}

/// Whether its container ended for another image, and has not started with it: nothing can restart it.
fn waits_for_new_image(pod: &Pod) -> bool {
    let waits = matches!(pod.agent.state, AgentState::Waiting { .. });
    waits && pod.is_leaving()
}

/// Why there is to be no Pod.
#[derive(Clone, Copy)]
enum Off {
    Suspended,
    Expired,
}

impl Off {
    fn decision(self) -> Decision {
        let (reason, message) = match self {
            Self::Suspended => (
                Reason::Suspended,
                "there is no Pod while spec.suspend is true; the storage stays",
            ),
            Self::Expired => (
                Reason::Expired,
                "there is no Pod since spec.expiresAt has passed; the storage stays",
            ),
        };
        Decision::wait(Finding::new(Kind::Suspended, reason, message))
    }
}

fn stop(pod: &Pod, off: Off) -> Decision {
    let why = match off {
        Off::Suspended => Rollout::Suspended,
        Off::Expired => Rollout::Expired,
    };
    let message = "the Pod is being stopped";
    Decision::act(
        delete(pod, why, Left::default()),
        Finding::new(Kind::Progress, Reason::Suspending, message),
    )
}

pub(super) fn pending(message: &str) -> Finding {
    Finding::new(Kind::Progress, Reason::Pending, message)
}

pub(super) fn delete(pod: &Pod, why: Rollout, left: Left) -> Step {
    Step::DeletePod {
        version: pod.version.clone(),
        why,
        left: Box::new(left),
        failures: 0,
    }
}
