//! All that happens around the operators: users, the registry, nodes, the garbage collector, and
//! what goes wrong.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use workspace_operator::seen::Told;
use workspace_operator::workspace::WorkspaceStatus;

use crate::api::GRACE;
use crate::cluster::{Cluster, SETTINGS};
use crate::state::{
    Life, Operator, Owner, Pod, Registry, Setting, State, Status, Workspace, after,
};

/// Something that happens outside of the operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time passes.
    TimePasses,
    /// The scheduler finds a node for the Pod.
    PodIsScheduled,
    /// The kubelet pulls, starts or restarts, as far as the registry lets it.
    KubeletTries,
    /// A probe for what an operator wants proved comes to its end.
    ProbeEnds,
    /// The kubelet ends a Pod that was told to go.
    PodIsGone,
    /// The garbage collector follows a deleted Workspace.
    GarbageIsCollected,
    /// A user creates the Workspace, again.
    UserCreates,
    /// A user asks for something else.
    UserEdits(u8),
    /// A user suspends or resumes.
    UserSuspends(bool),
    /// A user deletes the Workspace, in the foreground or in the background.
    UserDeletes {
        /// In the foreground it stays until its Pod is gone.
        foreground: bool,
    },
    /// Someone edits the settings.
    SettingsBecome(Setting),
    /// The suspended registry changes its mind.
    RegistryBecomes(Registry),
    /// The agent exits.
    AgentExits,
    /// The Pod is evicted.
    PodIsEvicted,
    /// The agent exits, and its image is no more on its node.
    ImageIsForgotten,
    /// The Pod's node is lost: the Pod is told to go and does not.
    NodeIsLost,
    /// The lost node comes back.
    NodeReturns,
    /// Someone debugs the Pod, or gives it a toleration: its generation is ahead of its node.
    PodIsChanged,
    /// Someone takes away the label by which the watches show the Pod.
    LabelIsTaken,
    /// The label is back.
    LabelReturns,
    /// A quota or a policy refuses new Pods, new images and the end of Pods, or no longer does.
    QuotaIsFull(bool),
    /// Someone creates a Pod `w`, with or without our label.
    StrangerTakesName {
        /// Whether the watches show it.
        watched: bool,
    },
    /// That Pod goes.
    StrangerLeaves,
}

impl Cluster {
    /// What goes on by itself, whoever is at fault: the first of these that can happen.
    #[must_use]
    pub fn natural(state: &State) -> Option<Event> {
        [
            Event::PodIsScheduled,
            Event::KubeletTries,
            Event::ProbeEnds,
            Event::PodIsGone,
            Event::GarbageIsCollected,
        ]
        .into_iter()
        .find(|event| Self::after(state, *event).is_some())
    }

    /// Everything that can happen now.
    pub fn events(&self, state: &State, events: &mut Vec<Event>) {
        let (spent, bounds) = (&state.spent, &self.bounds);
        events.extend([
            Event::TimePasses,
            Event::PodIsScheduled,
            Event::KubeletTries,
            Event::ProbeEnds,
            Event::PodIsGone,
            Event::GarbageIsCollected,
            Event::NodeReturns,
            Event::LabelReturns,
            Event::StrangerLeaves,
            Event::QuotaIsFull(false),
        ]);
        if state.workspace.now().is_none() {
            events.push(Event::UserCreates);
        } else if spent.edits < bounds.edits {
            let specs = 0..u8::try_from(self.specs.len()).unwrap_or(u8::MAX);
            events.extend(specs.map(Event::UserEdits));
            events.extend([true, false].map(Event::UserSuspends));
            events.extend([true, false].map(|foreground| Event::UserDeletes { foreground }));
        }
        if spent.settings < bounds.settings {
            events.extend(SETTINGS.map(Event::SettingsBecome));
        }
        if spent.registry < bounds.registry {
            let answers = [Registry::Serves, Registry::Denies, Registry::Hangs];
            events.extend(answers.map(Event::RegistryBecomes));
        }
        if spent.faults < bounds.faults {
            events.extend([
                Event::AgentExits,
                Event::PodIsEvicted,
                Event::ImageIsForgotten,
                Event::NodeIsLost,
                Event::PodIsChanged,
                Event::LabelIsTaken,
                Event::QuotaIsFull(true),
                Event::StrangerTakesName { watched: true },
                Event::StrangerTakesName { watched: false },
            ]);
        }
    }

    /// The state after an event, if it can happen and changes anything.
    #[must_use]
    pub fn happen(&self, state: &State, event: Event) -> Option<State> {
        if event == Event::TimePasses {
            let seconds = self.bounds.times.get(usize::from(state.spent.waits) + 1)?;
            let mut next = state.clone();
            next.spent.waits += 1;
            next.now = after(*seconds);
            return Some(next);
        }
        let mut next = Self::after(state, event)?;
        match event {
            Event::UserEdits(_) | Event::UserSuspends(_) | Event::UserDeletes { .. } => {
                next.spent.edits += 1;
            }
            Event::SettingsBecome(_) => next.spent.settings += 1,
            Event::RegistryBecomes(_) => next.spent.registry += 1,
            Event::AgentExits
            | Event::PodIsEvicted
            | Event::ImageIsForgotten
            | Event::NodeIsLost
            | Event::PodIsChanged
            | Event::LabelIsTaken
            | Event::QuotaIsFull(true)
            | Event::StrangerTakesName { .. } => next.spent.faults += 1,
            _ => {}
        }
        Some(next)
    }

    fn after(state: &State, event: Event) -> Option<State> {
        let mut next = state.clone();
        let changed = match event {
            Event::TimePasses => false,
            Event::PodIsScheduled | Event::KubeletTries | Event::PodIsGone => {
                of_node(&mut next, event)
            }
            Event::AgentExits
            | Event::PodIsEvicted
            | Event::ImageIsForgotten
            | Event::NodeIsLost
            | Event::NodeReturns
            | Event::PodIsChanged
            | Event::LabelIsTaken
            | Event::LabelReturns => fault_of_node(&mut next, event),
            Event::ProbeEnds => probe(&mut next),
            Event::GarbageIsCollected => collect(&mut next),
            Event::UserCreates
            | Event::UserEdits(_)
            | Event::UserSuspends(_)
            | Event::UserDeletes { .. } => of_user(&mut next, event),
            Event::SettingsBecome(setting) => {
                next.settings.write(setting);
                next.settings != state.settings
            }
            Event::RegistryBecomes(answer) => {
                next.registry = answer;
                answer != state.registry
            }
            Event::QuotaIsFull(full) => {
                next.refuses = full;
                full != state.refuses
            }
            Event::StrangerTakesName { .. } | Event::StrangerLeaves => stranger(&mut next, event),
        };
        changed.then_some(next)
    }
}

/// The node pulls, or does not, what an operator wants proved. Who wants it hears of it.
fn probe(state: &mut State) -> bool {
    let wanted = |it: &Operator| Some(it.wants.as_ref()?.question.image.clone());
    let images: Vec<_> = state.operators.iter().filter_map(wanted).collect();
    let ends = |image: &String| {
        let image: Arc<str> = image.as_str().into();
        let serves = answer(state, &image) == Registry::Serves;
        Some((image, serves))
    };
    let Some(end) = images.iter().map(ends).find(|end| *end != state.proof) else {
        return false;
    };
    state.proof = end;
    let proved = state.proof.as_ref().map(|it| it.0.to_string());
    for operator in &mut state.operators {
        operator.queued |= wanted(operator) == proved;
    }
    true
}

/// Whether the registry of this image serves, as far as the kubelet can tell.
#[must_use]
pub fn answer(state: &State, image: &str) -> Registry {
    if image.starts_with("a.example.com/") {
        state.registry
    } else {
        Registry::Serves
    }
}

/// The kubelet's next attempt, if there is anything to attempt.
fn attempt(state: &State, pod: &Pod) -> Option<Life> {
    let pulled = |instead: Option<Life>| match answer(state, &pod.image) {
        Registry::Serves => Some(Life::Running),
        Registry::Denies => instead,
        Registry::Hangs => None,
    };
    let failing = Life::Failing {
        again: false,
        stale: false,
    };
    match pod.life {
        Life::Pulling | Life::Failing { stale: true, .. } => pulled(Some(failing)),
        Life::Failing { .. } | Life::Bereft => pulled(None),
        Life::Crashed => Some(Life::Running),
        Life::Leaving => Some(Life::Pulling),
        Life::Unscheduled | Life::Running | Life::Dead => None,
    }
}

fn of_node(state: &mut State, event: Event) -> bool {
    let Some(mut pod) = state.pod.now().clone() else {
        return false;
    };
    if matches!(pod.owner, Owner::Foreign { .. }) {
        return false;
    }
    match event {
        Event::PodIsScheduled if pod.life == Life::Unscheduled => pod.life = Life::Pulling,
        Event::KubeletTries if pod.unread && pod.life == Life::Running => pod.unread = false,
        Event::KubeletTries if pod.going.is_none() => {
            pod.unread = false;
            let Some(life) = attempt(state, &pod) else {
                return false;
            };
            pod.starts = match life {
                // Unless it was moved, all that is ever asked is whether it was restarted at all.
                Life::Running if pod.told.moved.is_none() => (pod.starts + 1).min(2),
                Life::Running => pod.starts + 1,
                _ => pod.starts,
            };
            pod.live(life, state.now);
        }
        Event::PodIsGone if pod.going.is_some() && !pod.lost => {
            state.pod.write(None);
            return true;
        }
        _ => return false,
    }
    state.pod.write(Some(pod));
    true
}

impl Pod {
    fn live(&mut self, life: Life, now: Timestamp) {
        if (self.life == Life::Running) != (life == Life::Running) {
            self.changed = Some(now);
        }
        self.life = life;
    }
}

fn fault_of_node(state: &mut State, event: Event) -> bool {
    let Some(mut pod) = state.pod.now().clone() else {
        return false;
    };
    if matches!(pod.owner, Owner::Foreign { .. }) || pod.life == Life::Unscheduled {
        return false;
    }
    match event {
        Event::AgentExits if pod.life == Life::Running => pod.live(Life::Crashed, state.now),
        Event::ImageIsForgotten if matches!(pod.life, Life::Running | Life::Crashed) => {
            pod.live(Life::Bereft, state.now);
        }
        Event::PodIsEvicted if pod.life != Life::Dead => pod.live(Life::Dead, state.now),
        Event::NodeIsLost if !pod.lost => {
            pod.lost = true;
            pod.going = pod.going.or(Some(state.now + GRACE));
        }
        Event::NodeReturns if pod.lost => pod.lost = false,
        Event::PodIsChanged if pod.life == Life::Running && !pod.unread => pod.unread = true,
        Event::LabelIsTaken if !pod.hidden => pod.hidden = true,
        Event::LabelReturns if pod.hidden => pod.hidden = false,
        _ => return false,
    }
    state.pod.write(Some(pod));
    true
}

/// Objects whose owner is gone, or waits in the foreground for them to go, are deleted.
fn collect(state: &mut State) -> bool {
    let workspace = state.workspace.now().clone();
    let stays = |uid: u8| {
        let mut of_uid = workspace.iter().filter(|it| it.uid == uid);
        of_uid.any(|it| !it.deleting)
    };
    let exists = |uid: u8| workspace.as_ref().is_some_and(|it| it.uid == uid);
    if let Some(pod) = state.pod.now().clone()
        && let Owner::Workspace(uid) = pod.owner
    {
        if !stays(uid) && pod.going.is_none() {
            let gone = pod.life == Life::Unscheduled;
            let going = Some(state.now + GRACE);
            state.pod.write((!gone).then_some(Pod { going, ..pod }));
            return true;
        }
        if exists(uid) && !stays(uid) {
            return false;
        }
    }
    if let Some(uid) = state.claim.now().and_then(|it| it.owner)
        && !exists(uid)
    {
        state.claim.write(None);
        return true;
    }
    if workspace.is_some_and(|it| it.deleting) {
        state.workspace.write(None);
        return true;
    }
    false
}

fn of_user(state: &mut State, event: Event) -> bool {
    let now = state.workspace.now().clone();
    let next = match (event, now.clone()) {
        (Event::UserCreates, None) => {
            state.born += 1;
            Some(created(state.born))
        }
        (_, None) => return false,
        (Event::UserEdits(spec), Some(it)) if !it.deleting => Some(Workspace { spec, ..it }),
        (Event::UserSuspends(suspend), Some(it)) if !it.deleting => {
            Some(Workspace { suspend, ..it })
        }
        (Event::UserDeletes { foreground: true }, Some(it)) => Some(Workspace {
            deleting: true,
            ..it
        }),
        (Event::UserDeletes { foreground: false }, Some(_)) => None,
        (_, Some(_)) => return false,
    };
    if next == now {
        return false;
    }
    let next = next.map(|mut it| {
        it.generation += 1;
        it
    });
    state.workspace.write(next);
    true
}

/// A Workspace that no one has looked at yet.
fn created(uid: u8) -> Workspace {
    let status = WorkspaceStatus {
        observed_generation: Some(-1),
        ..WorkspaceStatus::default()
    };
    Workspace {
        uid,
        generation: 0,
        spec: 0,
        suspend: false,
        deleting: false,
        status: Status::new(status),
    }
}

fn stranger(state: &mut State, event: Event) -> bool {
    let taken = state.pod.now().as_ref().map(|pod| pod.owner);
    match (event, taken) {
        (Event::StrangerTakesName { watched }, None) => {
            let uid = state.fresh_pod_uid();
            state.pod.write(Some(Pod {
                uid,
                owner: Owner::Foreign { watched },
                asked: 0,
                created: state.now,
                going: None,
                told: Arc::new(Told::default()),
                image: "example.com/stranger:1".into(),
                life: Life::Running,
                starts: 1,
                unread: false,
                lost: false,
                changed: Some(state.now - SignedDuration::from_secs(1)),
                hidden: false,
            }));
            true
        }
        (Event::StrangerLeaves, Some(Owner::Foreign { .. })) => {
            state.pod.write(None);
            true
        }
        _ => false,
    }
}

/// Between two attempts the kubelet gives another reason. A plan must not write because of it.
#[must_use]
pub fn alternate(state: &State) -> Option<State> {
    let mut pod = state.pod.now().clone()?;
    let Life::Failing { again, .. } = &mut pod.life else {
        return None;
    };
    *again = !*again;
    let mut next = state.clone();
    next.pod.write(Some(pod));
    Some(next)
}
