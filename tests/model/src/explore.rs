//! The model as stateright sees it: what can happen next, and the state after it.

use std::fmt;

use stateright::{Model, Property};

use crate::cluster::Cluster;
use crate::environment::Event;
use crate::invariants;
use crate::operator::Instead;
use crate::state::{History, OPERATORS, Operator, Pod, Registry, Setting, Spent, State, start};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Around the operators.
    World(Event),
    /// An operator sees the next versions of some kinds, and makes one pass if it is due.
    Pass(usize, Sees),
    /// The same, its write is done, and it hears something else than the answer to it.
    PassUnheard(usize, Sees, Instead),
    /// An operator is killed and started.
    Restarts(usize),
}

/// A kind of object, for caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The Workspace.
    Workspace,
    /// The Pod.
    Pod,
    /// The claim.
    Claim,
    /// The settings.
    Settings,
    /// That a Pod which the watches do not show is another or gone.
    Unwatched,
}

/// Of which kinds an operator sees the next version, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sees(u8);

impl Sees {
    fn kinds(self) -> impl Iterator<Item = Kind> {
        let seen = move |at: usize| self.0 >> at & 1 == 1;
        let kinds = KINDS.into_iter().enumerate();
        kinds.filter_map(move |(at, kind)| seen(at).then_some(kind))
    }
}

/// All kinds. The settings come first: what they wake depends on the rest as it was seen before.
pub const KINDS: [Kind; 5] = [
    Kind::Settings,
    Kind::Workspace,
    Kind::Pod,
    Kind::Claim,
    Kind::Unwatched,
];

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, sees, unheard) = match self {
            Action::World(event) => return write!(f, "{event:?}"),
            Action::Restarts(operator) => {
                return write!(f, "operator {operator} is killed and started");
            }
            Action::Pass(operator, sees) => (operator, sees, None),
            Action::PassUnheard(operator, sees, instead) => (operator, sees, Some(instead)),
        };
        write!(f, "operator {operator}")?;
        for kind in sees.kinds() {
            write!(f, " sees the next {kind:?},")?;
        }
        f.write_str(" makes a pass")?;
        match unheard {
            Some(instead) => write!(f, ", {}", instead.words()),
            None => Ok(()),
        }
    }
}

impl Cluster {
    /// The next version of this kind is seen, if there is one.
    #[must_use]
    pub fn see(&self, state: &State, operator: usize, kind: Kind) -> Option<State> {
        let behind = match kind {
            Kind::Workspace => state.workspace.behind(operator) > 0,
            Kind::Pod => state.pod.behind(operator) > 0,
            Kind::Claim => state.claim.behind(operator) > 0,
            Kind::Settings => state.settings.behind(operator) > 0,
            Kind::Unwatched => {
                let ran_into = state.operators[operator].ran_into.is_some();
                let there = state.pod.now().as_ref();
                ran_into && there.is_none_or(Pod::is_watched)
            }
        };
        if !behind {
            return None;
        }
        let mut next = state.clone();
        match kind {
            Kind::Workspace => self.see_workspace(&mut next, operator),
            Kind::Settings => self.see_settings(&mut next, operator),
            Kind::Pod => next.pod.advance(operator),
            Kind::Claim => next.claim.advance(operator),
            Kind::Unwatched => next.operators[operator].ran_into = None,
        }
        if kind != Kind::Settings {
            next.operators[operator].queued = true;
        }
        next.rank_pods();
        Some(next)
    }

    /// An operator sees, and if that gives it something to do, it does it.
    fn look_and_pass(&self, state: &State, operator: usize, sees: Sees) -> State {
        let state = self.look_at(state, operator, sees);
        if Self::is_due(&state, operator) {
            self.pass(&state, operator)
        } else {
            state
        }
    }

    /// An operator sees the next versions.
    #[must_use]
    pub fn look_at(&self, state: &State, operator: usize, sees: Sees) -> State {
        let mut next = state.clone();
        for kind in sees.kinds() {
            next = self.see(&next, operator, kind).unwrap_or(next);
        }
        next
    }

    /// Caches that are further behind than the bound see the next versions at once.
    fn limit_lag(&self, mut state: State) -> State {
        for operator in 0..OPERATORS {
            for kind in KINDS {
                let lag = if operator < self.bounds.operators {
                    self.bounds.lag
                } else {
                    0
                };
                while behind(&state, operator, kind) > lag {
                    match self.see(&state, operator, kind) {
                        Some(next) => state = next,
                        None => break,
                    }
                }
            }
        }
        state
    }

    /// A Workspace that was just created, and operators that have just started.
    #[must_use]
    pub fn first(&self) -> State {
        let operator = Operator {
            memory: std::sync::Arc::default(),
            in_force: Setting::A,
            wants: None,
            ran_into: None,
            queued: true,
            wake: None,
        };
        let mut state = State {
            now: start(),
            workspace: History::new(None),
            pod: History::new(None),
            claim: History::new(None),
            settings: History::new(Setting::A),
            strays: Vec::new(),
            last_good: Setting::A,
            registry: Registry::Serves,
            proof: None,
            refuses: false,
            born: 0,
            operators: [operator.clone(), operator],
            spent: Spent::default(),
            broken: None,
        };
        if let Some(next) = self.happen(&state, Event::UserCreates) {
            state = next;
        }
        state
    }
}

fn behind(state: &State, operator: usize, kind: Kind) -> usize {
    match kind {
        Kind::Workspace => state.workspace.behind(operator),
        Kind::Pod => state.pod.behind(operator),
        Kind::Claim => state.claim.behind(operator),
        Kind::Settings => state.settings.behind(operator),
        Kind::Unwatched => 0,
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        let may_fail = state.spent.faults < self.bounds.faults;
        for operator in 0..self.bounds.operators {
            let next = |kind: &Kind| self.see(state, operator, *kind).is_some();
            let news = KINDS.iter().enumerate().filter(|(_, kind)| next(kind));
            let news = news.fold(0_u8, |news, (at, _)| news | 1 << at);
            let due = Self::is_due(state, operator);
            for sees in (0..=news).filter(|sees| sees & !news == 0 && (due || *sees > 0)) {
                actions.push(Action::Pass(operator, Sees(sees)));
                if may_fail {
                    let unheard = |it| Action::PassUnheard(operator, Sees(sees), it);
                    actions.extend(Instead::ALL.map(unheard));
                }
            }
            if may_fail {
                actions.push(Action::Restarts(operator));
            }
        }
        let mut events = Vec::new();
        self.events(state, &mut events);
        actions.extend(events.into_iter().map(Action::World));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let next = match action {
            Action::World(event) => self.happen(state, event)?,
            Action::Pass(operator, sees) => self.look_and_pass(state, operator, sees),
            Action::PassUnheard(operator, sees, instead) => {
                let looked = self.look_at(state, operator, sees);
                let mut next = self.pass_unheard(&looked, operator, instead)?;
                next.spent.faults += 1;
                next
            }
            Action::Restarts(operator) => {
                let mut next = state.clone();
                Self::restart(&mut next, operator);
                next.spent.faults += 1;
                next
            }
        };
        let mut next = self.limit_lag(next);
        next.forget_proof();
        next.wake_up();
        if self.bounds.operators == OPERATORS {
            next.order();
        }
        (next != *state).then_some(next)
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = invariants::properties();
        properties.extend(crate::reached::properties());
        properties
    }
}
