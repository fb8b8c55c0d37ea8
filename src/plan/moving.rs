//! The one place where a Pod that runs is stopped for another: none that serves before its image is
//! proved to be on its node, and the API server would take what comes after it.

use jiff::SignedDuration;

use super::decide::{Case, delete};
use super::outdated::{How, When, how, when};
use super::{Decision, Finding, Kind, Rollout, Step};
use crate::pod;
use crate::proof::Want;
use crate::resolver;
use crate::revision::short_hash;
use crate::seen::{AgentState, Ask, Left, Moved, Pod, Proof, Question, Turn, later};
use crate::settings::{self, Settings};
use crate::workspace::Reason;

/// For so long the API server is taken at its word that it would take a Pod.
const ACCEPTED_FOR: SignedDuration = SignedDuration::from_mins(1);

impl Case<'_> {
    /// The user asked for another Pod.
    pub(super) fn replace(&self, pod: &Pod) -> Decision {
        let (settings, ask) = match self.ask() {
            Ok(found) => found,
            Err(finding) => return Decision::wait(finding),
        };
        if let Some(decision) = self.claim_first().or_else(|| self.rejected(&ask)) {
            return decision;
        }
        let want = self.to_prove(pod, &ask, settings);
        let proof = want.as_ref().map(|it| self.seen.proof(&it.question));
        if let Some((want, proof)) = want.as_ref().zip(proof)
            && proof != Proof::Proved
        {
            let finding = self.blocked(want, &proof).unwrap_or_else(|| proving(want));
            // What the server would not take needs no proof.
            if self.seen.memory.foreseen.as_deref() != Some(&ask) {
                return Decision::act(self.trial(ask, settings, true), finding);
            }
            let decision = Decision::wait(finding).wanting(want.clone());
            return if pod.answered {
                decision
            } else {
                decision.until(self.deadline(pod).at)
            };
        }
        let finding = Finding::new(
            Kind::Progress,
            Reason::Replacing,
            "the Pod is being replaced because what was asked for changed",
        );
        self.stop(pod, ask, settings, want, Rollout::SpecChanged, finding)
    }

    /// The Pod is as its user asked for it, and the move of the fleet has come to it.
    pub(super) fn moved(&self, pod: &Pod) -> Option<Decision> {
        let rollout = self.spec.rollout.as_ref();
        if self.seen.turn == Turn::Waits || when(rollout, self.now) != When::Now {
            return None;
        }
        let (settings, ask) = self.ask().ok()?;
        if settings.rollout().policy != settings::Policy::Paced {
            return None;
        }
        let how = how(pod, &ask.image, &ask.settings)?;
        if pod.told.was_put_back_from(&ask.image) {
            return None;
        }
        // Told its old image again before its node has looked, the container would just stay.
        if pod.is_leaving() {
            return None;
        }
        if let Some(decision) = self.rejected(&ask) {
            return Some(decision);
        }
        if let Some(decision) = self.keeps_storage(pod, how) {
            return Some(decision);
        }
        let mut stays = self.diagnosed(pod);
        let is_ready = stays.finding.kind == Kind::Ready;
        let uid = (how == How::Anew && is_ready).then_some(&pod.version.uid);
        if let Some(decision) = uid.and_then(|it| self.end_refused(it)) {
            return Some(decision);
        }
        if let Some(retry) = self.undone(&ask) {
            return Some(stays.until(retry));
        }
        let want = how.want(self.seen.key, self.spec, settings, pod, &ask.image);
        let Some(want) = want else {
            return Some(stays);
        };
        // Until it is tried again the last answer holds.
        let of_end = || self.refusal_of_end(uid?);
        if let Some(refusal) = self.refusal_of(&ask).or_else(of_end).filter(|_| is_ready) {
            stays.finding = refusal;
        }
        match self.seen.proof(&want.question) {
            Proof::Proved if self.seen.turn == Turn::Moves => Some(match how {
                How::InPlace => self.go(pod, ask, stays.finding),
                How::Anew => {
                    let why = Rollout::Moved;
                    self.stop(pod, ask, settings, Some(want), why, stays.finding)
                }
            }),
            proof if is_ready => {
                let finding = self.blocked(&want, &proof).unwrap_or(stays.finding);
                Some(Decision { finding, ..stays }.wanting(want))
            }
            _ => Some(stays.wanting(want)),
        }
    }

    /// It was moved, and crashes, or is not Ready again in its time: where the settings say so, it gets the image
    /// on which it was. It is down, so there is nothing to prove.
    pub(super) fn put_back(&self, pod: &Pod) -> Option<Decision> {
        let (settings, ask) = self.ask().ok()?;
        let rollout = settings.rollout();
        let may = rollout.roll_back && rollout.policy == settings::Policy::Paced && !rollout.paused;
        if !may || pod.answered || pod.is_leaving() {
            return None;
        }
        if pod.told.image.as_ref() != Some(&ask.image) {
            return None;
        }
        let moved = pod.told.moved.as_ref()?;
        let grace = self.spec.termination_grace_period_seconds;
        let loops = moved.is_looping(&pod.agent, self.now);
        if !loops && moved.came_back(pod, grace, self.provision_timeout()) {
            return None;
        }
        let from = moved.from.as_ref()?;
        let is_another = *from != ask.image && resolver::is_image(from, &self.spec.runtime);
        if !is_another || !loops && self.now < self.deadline(pod).at {
            return None;
        }
        let back = Some(ask.image.clone());
        let image = from.clone();
        let ask = Ask { image, ..ask };
        if let Some(decision) = self.rejected(&ask) {
            return Some(decision);
        }
        let stays = self.diagnosed(pod);
        if let Some(retry) = self.undone(&ask) {
            return Some(stays.until(retry));
        }
        let moved = Moved {
            from: None,
            at: self.now,
            over: Some(pod.run()),
            back,
        };
        Some(Decision::act(move_pod(pod, ask, moved), stays.finding))
    }

    fn go(&self, pod: &Pod, ask: Ask, finding: Finding) -> Decision {
        let moved = Moved {
            from: self.good_image(pod),
            at: self.now,
            over: Some(pod.run()),
            back: None,
        };
        Decision::act(move_pod(pod, ask, moved), finding)
    }

    /// The image on which it was Ready last, as far as the Pod tells; nothing where it was on none.
    fn good_image(&self, pod: &Pod) -> Option<String> {
        let grace = self.spec.termination_grace_period_seconds;
        let timeout = self.provision_timeout();
        let runs = pod.agent.state == AgentState::Running;
        match &pod.told.moved {
            Some(moved) if moved.back.is_some() => pod.told.image.clone(),
            // It has not answered on what it was moved to.
            Some(moved) if !pod.answered && !moved.came_back(pod, grace, timeout) => {
                moved.from.clone()
            }
            _ => pod
                .told
                .image
                .clone()
                .filter(|_| runs && self.may_serve(pod)),
        }
    }

    /// The old Pod stops only when the API server would take the new one. That is asked last: what
    /// it would take before a long pull, it may not take after it. What is proved is wanted until the
    /// Pod stops, or it would be asked for anew.
    fn stop(
        &self,
        pod: &Pod,
        ask: Ask,
        settings: &Settings,
        wants: Option<Want>,
        why: Rollout,
        finding: Finding,
    ) -> Decision {
        if !self.may_serve(pod) || self.is_accepted(&ask) {
            let node = pod.node.clone();
            let moved_from = self.good_image(pod).filter(|_| why == Rollout::Moved);
            let left = Left {
                node,
                moved_to: moved_from.is_some().then_some(ask),
                moved_from,
                ..Left::default()
            };
            return Decision::act(delete(pod, why, left), finding);
        }
        let decision = Decision::act(self.trial(ask, settings, false), finding);
        Decision { wants, ..decision }
    }

    /// Whether the API server would take this Pod, as it said not long ago.
    fn is_accepted(&self, ask: &Ask) -> bool {
        let accepted = self.seen.memory.accepted.as_deref();
        accepted.is_some_and(|(it, at)| {
            it == ask && *at <= self.now && self.now < later(*at, ACCEPTED_FOR)
        })
    }

    /// The name of the Workspace is taken by the Pod that runs, and a name that is made of it may be
    /// somebody's. It is the same each time, for refusals repeat it.
    fn trial(&self, ask: Ask, settings: &Settings, ahead: bool) -> Step {
        let mut pod = pod::pod(self.seen.key, self.workspace, self.spec, &ask, settings, 0);
        let uid = short_hash(&self.workspace.version.uid);
        pod.metadata.name = Some(format!("{}-{uid}", self.seen.key.name));
        let pod = Box::new(pod);
        Step::TryPod { ask, pod, ahead }
    }

    /// It runs on, and is not stopped for what is not proved. What was told of that stays told while it
    /// is found out anew, as after a restart of the operator.
    fn blocked(&self, want: &Want, proof: &Proof) -> Option<Finding> {
        let Question { node, image, .. } = &want.question;
        let (reason, message) = match proof {
            Proof::Failed { why } => (
                Reason::RolloutBlocked,
                format!(
                    "the Pod runs on as it is, for it is not proved that the node {node} can pull \
                     {image}: {why}"
                ),
            ),
            Proof::Refused { why } => (
                Reason::PodRejected,
                format!(
                    "the Pod runs on as it is, for the API server refused the probe by which the \
                     node {node} was to pull {image}: {why}"
                ),
            ),
            Proof::Unknown | Proof::UnderWay => {
                let told = self.workspace.told_blocked()?;
                let parts = [format!(" {node} "), format!(" {image}: ")];
                let is_same = parts.iter().all(|it| told.message.contains(it));
                let reason = self.workspace.status.state.filter(|_| is_same)?;
                (reason, told.message.clone())
            }
            Proof::Proved => return None,
        };
        Some(Finding::new(Kind::Stalled, reason, message))
    }

    fn may_serve(&self, pod: &Pod) -> bool {
        pod.may_serve(self.deadline(pod).at, self.now)
    }

    /// What has to be proved before a Pod that serves stops for another: that its node has the image,
    /// or can pull it. What it runs already its node has, for those who show the same secrets.
    fn to_prove(&self, pod: &Pod, ask: &Ask, settings: &Settings) -> Option<Want> {
        let (key, spec, image) = (self.seen.key, self.spec, &ask.image);
        let want = Want::anew(key, spec, settings, pod, image)?;
        let is_other = pod.told.image.as_ref() != Some(image) || want.has_other_secrets(pod);
        (self.may_serve(pod) && is_other).then_some(want)
    }
}

fn move_pod(pod: &Pod, ask: Ask, moved: Moved) -> Step {
    Step::MovePod {
        version: pod.version.clone(),
        ask,
        moved: Box::new(moved),
    }
}

/// What was asked for last does not run yet, and nothing is down for it.
fn proving(want: &Want) -> Finding {
    let node = &want.question.node;
    let message = format!(
        "the Pod of before runs on, and is replaced once its new image is proved to be on the node \
         {node}"
    );
    Finding::new(Kind::Progress, Reason::Replacing, message)
}
