//! Runs the checker, and says in a few lines what it did and in readable words what it found.

use std::fmt;
use std::fmt::Write as _;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::cluster::Cluster;
use crate::explore::Action;
use crate::invariants::{Invariant, NAMES, name};
use crate::settle::MOST_STEPS;
use crate::state::{Pod, State};

/// What a run did and found.
pub struct Report {
    /// How many distinct states were checked.
    pub states: usize,
    /// How many were generated, those met again included.
    pub generated: usize,
    /// The length of the longest path to a state.
    pub depth: usize,
    /// How many steps it takes at most, without more faults, from a state to its end.
    pub most_steps: u16,
    /// How long it took.
    pub took: Duration,
    /// Whether all states within the bounds were checked.
    pub complete: bool,
    /// The invariants that do not hold, each with its counterexample.
    pub broken: Vec<(&'static str, String)>,
    /// What the run came across.
    pub reached: Vec<&'static str>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = if self.complete { "all" } else { "some" };
        let (states, generated, depth) = (self.states, self.generated, self.depth);
        let steps = self.most_steps;
        let seconds = self.took.as_secs_f64();
        write!(
            f,
            "{states} distinct states ({extent} within the bounds), {generated} generated, \
             depth {depth}, settles within {steps} of {MOST_STEPS} steps, {seconds:.1} s"
        )?;
        for (name, counterexample) in &self.broken {
            write!(f, "\n\n{name}: BROKEN\n{counterexample}")?;
        }
        Ok(())
    }
}

/// Checks all states within the bounds, unless that takes too long or an invariant is broken.
#[must_use]
pub fn check(cluster: Cluster, at_most: Duration) -> Report {
    let threads = available_parallelism().map_or(2, Into::into);
    run(cluster, threads, HasDiscoveries::AnyFailures, at_most)
}

/// Looks for the shortest way to break this invariant, whatever else is broken on the way.
#[must_use]
pub fn refute(cluster: Cluster, invariant: Invariant, at_most: Duration) -> Report {
    let wanted = HasDiscoveries::AnyOf([name(invariant)].into());
    run(cluster, 1, wanted, at_most)
}

fn run(cluster: Cluster, threads: usize, until: HasDiscoveries, at_most: Duration) -> Report {
    let started = Instant::now();
    let checker = cluster
        .checker()
        .threads(threads)
        .finish_when(until)
        .timeout(at_most)
        .spawn_bfs()
        .join();
    let took = started.elapsed();
    let mut broken = Vec::new();
    let mut reached = Vec::new();
    for (name, path) in checker.discoveries() {
        match NAMES.iter().find(|(_, it)| *it == name) {
            Some((invariant, _)) => broken.push((name, tell(checker.model(), path, *invariant))),
            None => reached.push(name),
        }
    }
    Report {
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        most_steps: checker.model().settled.most(),
        took,
        complete: took < at_most && broken.is_empty(),
        broken,
        reached,
    }
}

/// A counterexample, one line for each thing that happens, with what it made of the cluster.
fn tell(cluster: &Cluster, path: Path<State, Action>, invariant: Invariant) -> String {
    let mut text = String::new();
    let steps = path.into_vec();
    let last = steps.last().map(|(state, _)| state.clone());
    let mut states = steps.iter().map(|(state, _)| state).skip(1);
    for (number, (state, action)) in steps.iter().enumerate() {
        let (Some(action), Some(next)) = (action, states.next()) else {
            break;
        };
        let step = step(cluster, state, *action);
        let _ = writeln!(
            text,
            "{:3}. {action}{step}{}",
            number + 1,
            difference(state, next)
        );
    }
    if let Some(state) = last {
        let why = match (&state.broken, cluster.settles(&state)) {
            (Some(broken), _) if broken.invariant == invariant => broken.how.clone(),
            (_, Err(unsettled)) if invariant == Invariant::I7 => unsettled.to_string(),
            _ => "two Pods of one Workspace exist".into(),
        };
        let _ = write!(text, "  => {invariant:?}: {why}");
    }
    text
}

/// The step that a pass takes.
fn step(cluster: &Cluster, state: &State, action: Action) -> String {
    let (Action::Pass(operator, sees) | Action::PassUnheard(operator, sees, _)) = action else {
        return String::new();
    };
    let looked = cluster.look_at(state, operator, sees);
    let Some(step) = cluster.plan(&looked, operator).step else {
        return ": nothing to do".into();
    };
    let step = format!("{step:?}");
    let kind = step.split(' ').next().unwrap_or_default();
    format!(": {kind}")
}

/// What changed in the cluster itself.
fn difference(before: &State, after: &State) -> String {
    let mut changes = String::new();
    let pods = [before, after].map(|it| pod(it.pod.now().as_ref()));
    if pods[0] != pods[1] {
        let _ = write!(changes, " | Pod: {}", pods[1]);
    }
    let told = [before, after].map(|it| {
        let workspace = it.workspace.now().as_ref();
        workspace.map(|it| (it.uid, it.status.value.state))
    });
    if told[0] != told[1] {
        let _ = write!(
            changes,
            " | Workspace: {}",
            match told[1] {
                Some((uid, Some(state))) => format!("ws-{uid} {state}"),
                Some((uid, None)) => format!("ws-{uid} new"),
                None => "gone".into(),
            }
        );
    }
    changes
}

fn pod(pod: Option<&Pod>) -> String {
    let Some(pod) = pod else {
        return "gone".into();
    };
    let going = if pod.going.is_some() { ", going" } else { "" };
    format!("{:?} of {:?}, {}{going}", pod.life, pod.owner, pod.image)
}
