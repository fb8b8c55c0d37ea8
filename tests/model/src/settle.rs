//! I7: from this state, with no more faults, a deterministic run of operators and environment
//! comes to its end within [`MOST_STEPS`], the end is the right one, and then nothing is written.
//!
//! stateright's own `eventually` is not used: it overlooks cycles and joins.

use std::fmt;

use jiff::SignedDuration;
use workspace_operator::workspace::Reason;

use crate::cluster::Cluster;
use crate::environment::{Event, alternate, answer};
use crate::explore::KINDS;
use crate::memo::fingerprint;
use crate::state::{
    Life, OPERATORS, Operator, Owner, Pod, Registry, Setting, Spent, State, Workspace,
};

/// More steps than any run takes.
pub const MOST_STEPS: u16 = 80;

/// Why a run does not come to the right end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// In one sentence.
    pub why: String,
    /// The last state of the run.
    pub last: Box<State>,
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Cluster {
    /// The number of steps to the end, or why there is none.
    ///
    /// # Errors
    /// The run goes on, or ends where it should not, or something is written after its end.
    pub fn settles(&self, state: &State) -> Result<u16, Unsettled> {
        let mut path = Vec::new();
        let mut state = self.without_faults(state);
        let mut steps = loop {
            let at = fingerprint(&state);
            if let Some(steps) = self.settled.get(at) {
                break steps;
            }
            let Some(next) = self.step(&state) else {
                self.silent(&state)?;
                self.right_end(&state)?;
                self.settled.set(at, 0);
                break 0;
            };
            path.push(at);
            if path.len() > usize::from(MOST_STEPS) {
                return Err(endless(next));
            }
            state = next;
        };
        // It may have joined an earlier run, which had that many steps to go.
        if path.len() + usize::from(steps) > usize::from(MOST_STEPS) {
            return Err(endless(state));
        }
        while let Some(at) = path.pop() {
            steps += 1;
            self.settled.set(at, steps);
        }
        Ok(steps)
    }

    /// Nodes come back, refusals end, caches catch up. Two operators at once are a fault too,
    /// where one knows what no watch will ever show the other: other settings in force, a Pod that it
    /// ran into, or what was refused to it. They would then tell different things in turn, so only the
    /// first goes on.
    fn without_faults(&self, state: &State) -> State {
        let mut calm = state.clone();
        for event in [
            Event::NodeReturns,
            Event::LabelReturns,
            Event::QuotaIsFull(false),
        ] {
            calm = self.happen(&calm, event).unwrap_or(calm);
        }
        let mut calm = self.caught_up(calm);
        calm.spent = Spent::default();
        let refused = |it: &Operator| {
            let memory = &it.memory;
            (memory.pod_refusal.clone(), memory.delete_refusal.clone())
        };
        let knows = |it: &Operator| (it.in_force, it.ran_into.is_some(), refused(it));
        let [first, second] = &calm.operators;
        if knows(first) != knows(second) || self.bounds.operators < OPERATORS {
            calm.operators[1].queued = false;
            calm.operators[1].wake = None;
            calm.operators[1].in_force = Setting::Invalid;
            calm.operators[1].wants = None;
        }
        calm
    }

    fn caught_up(&self, mut state: State) -> State {
        for operator in 0..OPERATORS {
            for kind in KINDS {
                while let Some(next) = self.see(&state, operator, kind) {
                    state = next;
                }
            }
            if !self.runs(&state, operator) {
                state.operators[operator].queued = false;
            }
        }
        state.forget_proof();
        state
    }

    /// Whether this operator goes on.
    fn runs(&self, state: &State, operator: usize) -> bool {
        let stopped = state.operators[operator].in_force == Setting::Invalid;
        operator < self.bounds.operators && !stopped
    }

    /// What happens next: an operator's pass, else what goes on by itself, else time passes until
    /// an operator wants to look again.
    fn step(&self, state: &State) -> Option<State> {
        let running = || (0..OPERATORS).filter(|it| self.runs(state, *it));
        if let Some(operator) = running().find(|it| Self::is_due(state, *it)) {
            return Some(self.caught_up(self.pass(state, operator)));
        }
        if let Some(event) = Self::natural(state) {
            return Some(self.caught_up(self.happen(state, event)?));
        }
        let wake = running().filter_map(|it| state.operators[it].wake).min()?;
        let mut next = state.clone();
        next.now = wake.max(state.now);
        Some(next)
    }

    /// After the end nothing is written: not when the kubelet gives the other reason of its two,
    /// and not a day later. A pass that would do something then was not woken for it.
    fn silent(&self, state: &State) -> Result<(), Unsettled> {
        let mut later = state.clone();
        later.now += SignedDuration::from_hours(24);
        let other = alternate(state).map(|it| self.caught_up(it));
        for state in [Some(later), other].into_iter().flatten() {
            for operator in (0..OPERATORS).filter(|it| self.runs(&state, *it)) {
                let plan = self.plan(&state, operator);
                if let Some(step) = plan.step {
                    let why =
                        format!("after the end operator {operator} still has to do: {step:?}");
                    return Err(unsettled(why, state));
                }
            }
        }
        Ok(())
    }

    fn right_end(&self, state: &State) -> Result<(), Unsettled> {
        let pod = state.pod.now().as_ref();
        let right = match state.workspace.now() {
            None => pod.is_none_or(|it| matches!(it.owner, Owner::Foreign { .. })),
            Some(workspace) => self.is_right(state, workspace, pod),
        };
        if right {
            return Ok(());
        }
        let is = state
            .workspace
            .now()
            .as_ref()
            .and_then(|it| it.status.value.state);
        let life = pod.map(|it| it.life);
        let why = format!("the steps end with the state {is:?} and the Pod {life:?}");
        Err(unsettled(why, state.clone()))
    }

    fn is_right(&self, state: &State, workspace: &Workspace, pod: Option<&Pod>) -> bool {
        let spec = &self.specs[usize::from(workspace.spec)];
        let status = &workspace.status.value;
        let told = status.state;
        let ours = pod.filter(|it| it.owner == Owner::Workspace(workspace.uid));
        if status.observed_generation != Some(i64::from(workspace.generation)) {
            return false;
        }
        if spec.decoded.is_err() {
            return told == Some(Reason::InvalidSpec);
        }
        if workspace.suspend {
            return ours.is_none() && told == Some(Reason::Suspended);
        }
        if spec.image.is_none() {
            return matches!(told, Some(Reason::UnknownRuntime | Reason::PodNotOwned));
        }
        let Some(pod) = ours else {
            return pod.is_some() && told == Some(Reason::PodNotOwned);
        };
        let in_force = state.operators[0].in_force;
        let wanted = self.image(workspace.spec, in_force);
        let is_new = Some(&*pod.image) != wanted.as_deref();
        let serves_on = pod.life == Life::Running
            && workspace.status.is("Ready")
            && status.image.as_deref() == Some(&*pod.image);
        if serves_on && told == Some(Reason::RolloutBlocked) {
            let pulls = |image: &String| answer(state, image) == Registry::Serves;
            return is_new && !wanted.as_ref().is_some_and(pulls);
        }
        let is_moved = !is_new || !self.is_paced(in_force) || spec.opted_out;
        let serves = is_moved
            && pod.life == Life::Running
            && told == Some(Reason::Ready)
            && workspace.status.is("Ready")
            && status.image.as_deref() == Some(&*pod.image);
        let waits = matches!(
            pod.life,
            Life::Pulling | Life::Failing { .. } | Life::Bereft
        ) && Some(&*pod.image) == wanted.as_deref()
            && !workspace.status.is("Ready");
        pod.asked == spec.pod && pod.going.is_none() && (serves || waits)
    }
}

fn endless(last: State) -> Unsettled {
    unsettled(format!("the steps do not end within {MOST_STEPS}"), last)
}

fn unsettled(why: String, last: State) -> Unsettled {
    let last = Box::new(last);
    Unsettled { why, last }
}
