//! An operator: what it sees, by the production types; what it decides, what it asks for, what a
//! reply means to it and what it remembers, by the production rules.
//!
//! Written anew is what joins them in production and needs a client or a clock: that a changed
//! view puts the Workspace into the queue, that a write does and a wait does at its time
//! (`controller`), and that another Workspace of the same name starts without a past (`index`).
//! Production also waits for a watch to show a write before it plans the next one; an operator
//! of the model may always plan from a view that is older than its own writes, which is worse.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use workspace_operator::apply::{Existing, Outcome, Reply};
use workspace_operator::plan::{Plan, Rollout, Step, awaits_settings, remember};
use workspace_operator::pod;
use workspace_operator::seen::{
    self, Agent, AgentState, Controller, Exit, Known, Memory, Phase, Proof, Seen, Service, Turn,
    Version,
};

use crate::api;
use crate::cluster::Cluster;
use crate::invariants::{judge, judge_request};
use crate::state::{
    Claim, History, Life, Operator, Owner, Pod, Setting, State, Workspace, pod_uid,
};

/// The UID of a Workspace, as text.
#[must_use]
pub fn workspace_uid(uid: u8) -> String {
    format!("ws-{uid}")
}

/// What an operator hears of a write that is done, in place of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instead {
    /// Nothing: the connection is cut.
    Nothing,
    /// An error: etcd has stored it, and said so too late.
    Error,
}

impl Instead {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nothing, Self::Error];

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "the answer is lost",
            Self::Error => "it is done and answered with an error",
        }
    }

    fn reply(self) -> Reply {
        match self {
            Self::Nothing => Reply::Unheard("the connection was reset".into()),
            Self::Error => api::timed_out(),
        }
    }
}

/// What an operator's plan was made from, as far as the cluster judges its writes by it.
pub struct Basis {
    /// The UID of the Workspace.
    pub workspace: u8,
    /// Which Pod it asked for.
    pub asks_for: u8,
    /// Whether it asked for no Pod.
    pub suspend: bool,
    /// The Pod.
    pub pod: Option<Pod>,
    /// The image that its Pod should have.
    pub image: Option<String>,
    /// Whether it is a move that the settings ask for.
    pub moves: bool,
}

impl Cluster {
    /// Whether this operator would look at the Workspace now.
    #[must_use]
    pub fn is_due(state: &State, operator: usize) -> bool {
        let it = &state.operators[operator];
        it.queued || it.wake.is_some_and(|at| at <= state.now)
    }

    /// What this operator would do now.
    #[must_use]
    pub fn plan(&self, state: &State, operator: usize) -> Plan {
        self.look(state, operator, |seen| {
            let it = &state.operators[operator];
            let in_force = self.in_force(*state.settings.seen(operator), it.in_force);
            (self.rule)(seen, in_force, state.now)
        })
    }

    /// One pass of an operator.
    #[must_use]
    pub fn pass(&self, state: &State, operator: usize) -> State {
        let plan = self.plan(state, operator);
        self.follow(state, operator, plan, None)
    }

    /// One pass of an operator, if it is due and writes: what it hears is not the answer.
    #[must_use]
    pub fn pass_unheard(&self, state: &State, operator: usize, instead: Instead) -> Option<State> {
        let plan = Self::is_due(state, operator).then(|| self.plan(state, operator))?;
        let writes = plan.step.is_some();
        writes.then(|| self.follow(state, operator, plan, Some(instead)))
    }

    fn follow(
        &self,
        state: &State,
        operator: usize,
        plan: Plan,
        instead: Option<Instead>,
    ) -> State {
        let mut next = state.clone();
        let workspace = state.workspace.seen(operator).as_ref();
        let in_force = state.operators[operator].in_force;
        let image = workspace.and_then(|it| self.image(it.spec, in_force));
        if next.broken.is_none() {
            let image = image.as_deref();
            next.broken = self.look(state, operator, |seen| judge(seen, &plan, image));
        }
        let it = &mut next.operators[operator];
        Arc::make_mut(&mut it.memory).showing = plan.showing;
        it.wake = plan.wake;
        let wants = plan.wants.map(Arc::new);
        let wants_anew = it.wants != wants;
        it.wants = wants;
        it.queued = plan.step.is_some();
        // As the loop does: whoever comes to want what is known already looks once more.
        let is_known = known(&next, operator).is_some_and(|it| it.proof != Proof::Unknown);
        next.operators[operator].queued |= wants_anew && is_known;
        let Some((step, workspace)) = plan.step.zip(workspace) else {
            return next;
        };
        let basis = Basis {
            workspace: workspace.uid,
            asks_for: self.specs[usize::from(workspace.spec)].pod,
            suspend: workspace.suspend,
            pod: state.pod.seen(operator).clone(),
            image,
            moves: is_move(&step) && self.is_paced(in_force),
        };
        let request = (self.applying.request)(&self.key, &step);
        if next.broken.is_none() {
            next.broken = judge_request(&request);
        }
        let reply = api::serve(&mut next, &basis, &request);
        let reply = instead.map_or(reply, Instead::reply);
        let outcome = (self.applying.outcome)(&step, reply);
        let outcome = outcome.unwrap_or_else(|| Outcome::Exists(api::look(&next, request.kind)));
        note(&mut next, operator, &step, &outcome);
        next
    }

    /// An operator's cache of Workspaces shows the next version.
    pub fn see_workspace(&self, state: &mut State, operator: usize) {
        let uid = |state: &State| state.workspace.seen(operator).as_ref().map(|it| it.uid);
        let before = uid(state);
        state.workspace.advance(operator);
        let after = uid(state);
        let it = &mut state.operators[operator];
        if before != after {
            it.memory = Arc::default();
        }
        it.queued = true;
    }

    /// An operator's cache of settings shows the next version.
    pub fn see_settings(&self, state: &mut State, operator: usize) {
        let in_force = |state: &State| {
            let current = state.operators[operator].in_force;
            self.in_force(*state.settings.seen(operator), current)
                .clone()
        };
        let before = in_force(state);
        state.settings.advance(operator);
        take_settings(state, operator);
        let changed = before != in_force(state);
        // Where they move what runs, whoever has a turn is woken by it.
        if changed && (self.moves || self.look(state, operator, awaits_settings)) {
            state.operators[operator].queued = true;
        }
    }

    /// An operator is killed and started: it forgets all but what its caches are filled with anew.
    pub fn restart(state: &mut State, operator: usize) {
        let last_good = state.last_good;
        state.operators[operator] = Operator {
            memory: Arc::new(Memory::default()),
            in_force: last_good,
            wants: None,
            ran_into: None,
            queued: true,
            wake: None,
        };
        take_settings(state, operator);
    }

    /// Shows an operator's view in the production types.
    fn look<T>(&self, state: &State, operator: usize, then: impl Fn(&Seen<'_>) -> T) -> T {
        let workspace = state.workspace.seen(operator).as_ref();
        let workspace = workspace.map(|it| {
            let version = version(&workspace_uid(it.uid), &state.workspace, operator);
            self.seen_workspace(it, version)
        });
        let of_watch = state.pod.seen(operator).as_ref();
        let of_watch = of_watch.filter(|it| it.is_watched());
        let pod = of_watch.or(state.operators[operator].ran_into.as_deref());
        let pod = pod.map(|it| {
            let version = version(&pod_uid(it.uid), &state.pod, operator);
            seen_pod(it, version, state.now)
        });
        let claim = state.claim.seen(operator).as_ref();
        let claim = claim.map(|it| seen_claim(*it, version("claim", &state.claim, operator)));
        let known = known(state, operator);
        then(&Seen {
            key: &self.key,
            workspace: workspace.as_ref(),
            pod: pod.as_ref(),
            claim: claim.as_ref(),
            service: Service::Ours,
            memory: &state.operators[operator].memory,
            proof: known.as_ref(),
            turn: if self.moves { Turn::Moves } else { Turn::Waits },
        })
    }

    fn seen_workspace(&self, it: &Workspace, version: Version) -> seen::Workspace {
        let spec = &self.specs[usize::from(it.spec)];
        let decoded = spec.decoded.as_ref();
        let decoded = decoded.map(|both| both[usize::from(it.suspend)].clone());
        seen::Workspace {
            version,
            generation: i64::from(it.generation),
            deleting: it.deleting,
            spec: decoded.map_err(Clone::clone),
            revision: spec.revision.clone(),
            status: (*it.status.value).clone(),
        }
    }
}

/// What is known of what this operator wants proved.
fn known(state: &State, operator: usize) -> Option<Known> {
    let want = state.operators[operator].wants.as_ref()?;
    let of_image = state.proof.as_ref();
    let of_image = of_image.filter(|it| *it.0 == *want.question.image);
    Some(Known {
        question: want.question.clone(),
        proof: match of_image {
            Some((_, true)) => Proof::Proved,
            Some((_, false)) => Proof::Failed {
                why: "a.example.com answered 401 Unauthorized".into(),
            },
            None => Proof::Unknown,
        },
    })
}

/// Whether what runs is stopped because the fleet moves.
fn is_move(step: &Step) -> bool {
    match step {
        Step::MovePod { .. } => true,
        Step::DeletePod { why, .. } => *why == Rollout::Moved,
        _ => false,
    }
}

/// What is remembered of a step, and of an object that no watch shows.
fn note(state: &mut State, operator: usize, step: &Step, outcome: &Outcome) {
    if let Outcome::Exists(Existing::Pod(_)) = outcome {
        state.operators[operator].ran_into = state.pod.now().clone().map(Box::new);
    }
    if let Some(answer) = outcome.remembered() {
        let memory = Arc::make_mut(&mut state.operators[operator].memory);
        remember(memory, step, answer, state.now);
    }
}

/// Valid settings come into force, and on record.
fn take_settings(state: &mut State, operator: usize) {
    let seen = *state.settings.seen(operator);
    if seen != Setting::Invalid {
        state.operators[operator].in_force = seen;
        state.last_good = seen;
    }
}

fn version<T: Clone + PartialEq>(uid: &str, of: &History<T>, operator: usize) -> Version {
    Version {
        uid: uid.into(),
        resource_version: resource_version(of.behind(operator)),
    }
}

/// The `resourceVersion` of the version that is so many behind the newest.
#[must_use]
pub fn resource_version(behind: usize) -> String {
    format!("newest-{behind}")
}

fn seen_claim(it: Claim, version: Version) -> seen::Claim {
    let owner = |uid| pod::owner("w", &workspace_uid(uid));
    seen::Claim {
        version,
        workspace: it.ours.then(|| "w".to_owned()),
        owners: it.owner.map(owner).into_iter().collect(),
        deleting: false,
        pending: false,
        size: Some(format!("{}Gi", it.size)),
    }
}

fn seen_pod(it: &Pod, version: Version, now: Timestamp) -> seen::Pod {
    let serves = matches!(it.life, Life::Running | Life::Leaving);
    let agent = seen_agent(it, serves, now);
    seen::Pod {
        version,
        controller: match it.owner {
            Owner::Workspace(_) if it.hidden => Controller::Hidden,
            Owner::Workspace(uid) => Controller::Workspace(workspace_uid(uid)),
            Owner::Foreign { .. } => Controller::Other,
        },
        created: it.created,
        deleting: it.going,
        told: (*it.told).clone(),
        node: (it.life != Life::Unscheduled).then(|| "node-1".to_owned()),
        phase: match it.life {
            Life::Dead => Phase::Dead,
            _ => Phase::Alive,
        },
        status_reason: (it.life == Life::Dead).then(|| "Evicted".to_owned()),
        unschedulable: (it.life == Life::Unscheduled).then(|| "0/1 nodes are available".into()),
        sandbox_ready: !matches!(it.life, Life::Unscheduled | Life::Dead),
        ready: serves && !it.unread && it.going.is_none() && !it.told.is_leaving(&agent, &it.image),
        answered: serves,
        ready_changed: it.changed,
        was_ready: it.changed.is_some(),
        spec_image: it.image.to_string(),
        pull_secrets: Vec::new(),
        agent,
    }
}

fn seen_agent(it: &Pod, ready: bool, now: Timestamp) -> Agent {
    let waiting = |reason: &str, message: String| AgentState::Waiting {
        reason: reason.into(),
        message,
    };
    let has_started = it.starts > 0 && matches!(it.life, Life::Pulling | Life::Failing { .. });
    let stopped = has_started || matches!(it.life, Life::Crashed | Life::Bereft);
    Agent {
        state: match it.life {
            Life::Unscheduled | Life::Dead => AgentState::Unknown,
            Life::Pulling => waiting("ContainerCreating", String::new()),
            Life::Failing { again, stale } => {
                let image = if stale {
                    "old.example.com/image:1"
                } else {
                    &*it.image
                };
                if again {
                    waiting(
                        "ImagePullBackOff",
                        format!("Back-off pulling image \"{image}\""),
                    )
                } else {
                    let message = format!("failed to pull \"{image}\": 401 Unauthorized");
                    waiting("ErrImagePull", message)
                }
            }
            Life::Running | Life::Leaving => AgentState::Running,
            Life::Crashed => waiting("CrashLoopBackOff", "back-off 10s".into()),
            Life::Bereft => {
                let image = &it.image;
                waiting(
                    "ImagePullBackOff",
                    format!("Back-off pulling image \"{image}\""),
                )
            }
        },
        ready,
        restarts: i32::from(it.starts.saturating_sub(1)),
        container: (it.starts > 0).then(|| format!("containerd://{}", it.starts).into()),
        last_exit: stopped.then(|| {
            Box::new(Exit {
                code: 1,
                reason: "Error".into(),
                started: it.changed.map(|at| at - SignedDuration::from_secs(5)),
                finished: Some(it.changed.unwrap_or(now)),
            })
        }),
        digest: None,
    }
}
