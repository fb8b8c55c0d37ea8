//! Deliberately broken rules, at least one for each invariant. Each wraps the production rule and
//! spoils what goes into it or what comes out: a checker that does not find them proves nothing.

use jiff::Timestamp;
use workspace_operator::fleet::{self, InForce, Source};
use workspace_operator::plan::{Plan, Rollout, Step, plan};
use workspace_operator::revision::short_hash;
use workspace_operator::seen::{
    AgentState, Controller, Known, Packed, Pod, Proof, Seen, Workspace,
};
use workspace_operator::settings::{Environment, Settings};
use workspace_operator::workspace::WorkspaceSpec;
use workspace_operator::{pod, resolver};

use crate::cluster::{Rule, Scenario};
use crate::invariants::Invariant;
use crate::state::is_true;

/// A broken rule.
pub struct Mutant {
    /// What is wrong with it.
    pub name: &'static str,
    /// The invariant that it breaks.
    pub breaks: Invariant,
    /// The scenario that shows it.
    pub scenario: Scenario,
    /// How many edits of the settings it takes.
    pub settings: u8,
    /// The rule.
    pub rule: Rule,
}

const fn mutant(name: &'static str, breaks: Invariant, rule: Rule) -> Mutant {
    Mutant {
        name,
        breaks,
        scenario: Scenario::Images,
        settings: 1,
        rule,
    }
}

/// All of them.
pub const MUTANTS: [Mutant; 25] = [
    mutant(
        "gives each Pod a name of its own",
        Invariant::I1,
        names_anew,
    ),
    mutant(
        "puts the image into the revision",
        Invariant::I2,
        image_in_revision,
    ),
    mutant(
        "ignores that a container has run",
        Invariant::I2,
        forgets_runs,
    ),
    mutant(
        "takes a Pod that runs for a stuck one",
        Invariant::I2,
        runs_is_stuck,
    ),
    mutant("takes every image for proved", Invariant::I3, proves_unseen),
    Mutant {
        name: "moves what is not proved",
        breaks: Invariant::I3,
        scenario: Scenario::Moves,
        settings: 1,
        rule: proves_unseen,
    },
    mutant(
        "takes what its node has not looked at for down",
        Invariant::I3,
        down_when_unread,
    ),
    mutant(
        "takes what is restarted for down",
        Invariant::I3,
        crashed_is_down,
    ),
    Mutant {
        settings: 2,
        ..mutant(
            "moves what was healed back with the settings",
            Invariant::I2,
            moves_back,
        )
    },
    mutant("deletes Pods of others", Invariant::I4, takes_all_for_ours),
    mutant(
        "deletes without naming a version",
        Invariant::I4,
        deletes_unguarded,
    ),
    mutant(
        "heals without naming a version",
        Invariant::I4,
        heals_unguarded,
    ),
    mutant(
        "tells without naming a version",
        Invariant::I4,
        tells_unguarded,
    ),
    mutant(
        "creates Pods that no Workspace controls",
        Invariant::I4,
        creates_orphans,
    ),
    mutant("tells Ready before it is", Invariant::I5, ready_too_early),
    mutant(
        "tells Ready of another generation",
        Invariant::I5,
        next_generation,
    ),
    mutant("lets Ready stand", Invariant::I5, keeps_ready),
    Mutant {
        name: "has every claim go with its Workspace",
        breaks: Invariant::I6,
        scenario: Scenario::Storage,
        settings: 1,
        rule: owns_claims,
    },
    mutant("never stops to write", Invariant::I7, tells_again),
    mutant("never looks again", Invariant::I7, never_wakes),
    mutant("tries under a name", Invariant::I7, names_the_trial),
    mutant("gives up a Pod that failed", Invariant::I7, leaves_the_dead),
    mutant(
        "uses settings that are invalid",
        Invariant::I8,
        invalid_prefix,
    ),
    mutant(
        "uses settings that nobody has set",
        Invariant::I8,
        uses_defaults,
    ),
    mutant("forgets the tag", Invariant::I8, forgets_the_tag),
];

/// The production rule of a Workspace that is changed before.
fn with_workspace(
    seen: &Seen<'_>,
    in_force: &InForce,
    now: Timestamp,
    change: impl Fn(&mut Workspace),
) -> Plan {
    let mut workspace = seen.workspace.cloned();
    if let Some(workspace) = &mut workspace {
        change(workspace);
    }
    let seen = Seen {
        workspace: workspace.as_ref(),
        ..seen.clone()
    };
    plan(&seen, in_force, now)
}

/// The production rule of a Pod that is changed before.
fn with_pod(
    seen: &Seen<'_>,
    in_force: &InForce,
    now: Timestamp,
    change: impl Fn(&mut Pod),
) -> Plan {
    let mut pod = seen.pod.cloned();
    if let Some(pod) = &mut pod {
        change(pod);
    }
    let seen = Seen {
        pod: pod.as_ref(),
        ..seen.clone()
    };
    plan(&seen, in_force, now)
}

/// The production rule, its step changed or dropped after.
fn with_step(
    seen: &Seen<'_>,
    in_force: &InForce,
    now: Timestamp,
    change: impl Fn(Step) -> Option<Step>,
) -> Plan {
    let plan = plan(seen, in_force, now);
    let step = plan.step.and_then(change);
    Plan { step, ..plan }
}

fn names_anew(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_step(seen, in_force, now, |mut step| {
        if let Step::CreatePod { pod, .. } = &mut step {
            pod.metadata.name = Some(format!("w-{}", now.as_second()));
        }
        Some(step)
    })
}

/// The image of the runtime by default.
fn image(workspace: &Workspace, in_force: &InForce) -> Option<String> {
    let spec = workspace.spec.as_ref().ok()?.unpack();
    let settings = in_force.settings.as_ref()?;
    resolver::image(settings, &spec.runtime, resolver::Version::Default).ok()
}

fn image_in_revision(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_workspace(seen, in_force, now, |workspace| {
        let image = image(workspace, in_force).unwrap_or_default();
        workspace.revision = short_hash(&format!("{}{image}", workspace.revision));
    })
}

fn forgets_runs(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_pod(seen, in_force, now, |pod| {
        pod.agent.restarts = 0;
        pod.agent.last_exit = None;
    })
}

fn runs_is_stuck(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_pod(seen, in_force, now, |pod| {
        if pod.agent.state == AgentState::Running {
            pod.agent.state = AgentState::Waiting {
                reason: "ErrImagePull".into(),
                message: String::new(),
            };
        }
    })
}

/// Whatever it wants proved, it is.
fn proves_unseen(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    let blind = plan(seen, in_force, now);
    let Some(want) = &blind.wants else {
        return blind;
    };
    let known = Known {
        question: want.question.clone(),
        proof: Proof::Proved,
    };
    let seen = Seen {
        proof: Some(&known),
        ..seen.clone()
    };
    plan(&seen, in_force, now)
}

fn down_when_unread(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_pod(seen, in_force, now, |pod| {
        if !pod.ready {
            pod.answered = false;
            pod.agent.ready = false;
            pod.agent.state = AgentState::Unknown;
        }
    })
}

fn crashed_is_down(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_pod(seen, in_force, now, |pod| pod.was_ready = false)
}

/// What runs stays where it is: also when it was healed, and the settings go back to what they were.
fn moves_back(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    let plan = plan(seen, in_force, now);
    let idle = matches!(plan.step, None | Some(Step::PatchStatus { .. }));
    let healed = seen.pod.filter(|it| it.ready && it.told.healed.is_some());
    let Some((workspace, pod)) = seen.workspace.zip(healed).filter(|_| idle) else {
        return plan;
    };
    if workspace.deleting || pod.told.image == image(workspace, in_force) {
        return plan;
    }
    let step = Some(Step::DeletePod {
        version: pod.version.clone(),
        why: Rollout::SettingsChanged,
        failures: 0,
        left: Box::default(),
    });
    Plan { step, ..plan }
}

fn takes_all_for_ours(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    let uid = seen.workspace.map(|it| it.version.uid.clone());
    with_pod(seen, in_force, now, |pod| {
        pod.controller = Controller::Workspace(uid.clone().unwrap_or_default());
    })
}

fn deletes_unguarded(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_step(seen, in_force, now, |mut step| {
        if let Step::DeletePod { version, .. } = &mut step {
            version.uid.clear();
            version.resource_version.clear();
        }
        Some(step)
    })
}

fn heals_unguarded(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_step(seen, in_force, now, |mut step| {
        if let Step::SetImage { version, .. } = &mut step {
            version.resource_version.clear();
        }
        Some(step)
    })
}

fn tells_unguarded(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_step(seen, in_force, now, |mut step| {
        if let Step::PatchStatus { version, .. } = &mut step {
            version.resource_version.clear();
        }
        Some(step)
    })
}

fn creates_orphans(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_step(seen, in_force, now, |mut step| {
        if let Step::CreatePod { pod, .. } = &mut step {
            pod.metadata.owner_references = None;
        }
        Some(step)
    })
}

fn ready_too_early(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_pod(seen, in_force, now, |pod| pod.ready = true)
}

fn next_generation(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_workspace(seen, in_force, now, |workspace| workspace.generation += 1)
}

fn keeps_ready(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    let told = seen
        .workspace
        .is_some_and(|it| is_true(&it.status, "Ready"));
    with_step(seen, in_force, now, |step| match &step {
        Step::PatchStatus { status, .. } if told && !is_true(status, "Ready") => None,
        _ => Some(step),
    })
}

fn owns_claims(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    let uid = seen.workspace.map(|it| it.version.uid.clone());
    let uid = uid.unwrap_or_default();
    with_step(seen, in_force, now, |mut step| {
        if let Step::CreateClaim { claim, .. } = &mut step {
            claim.metadata.owner_references = Some(vec![pod::owner("w", &uid)]);
        }
        Some(step)
    })
}

/// Never sees what it told.
fn tells_again(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_workspace(seen, in_force, now, |workspace| {
        workspace.status.digest = Some(now.to_string());
    })
}

fn never_wakes(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    let wake = None;
    Plan {
        wake,
        ..plan(seen, in_force, now)
    }
}

fn names_the_trial(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_step(seen, in_force, now, |mut step| {
        if let Step::TryPod { pod, .. } = &mut step {
            pod.metadata.name = Some("w-trial".to_owned());
        }
        Some(step)
    })
}

fn leaves_the_dead(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_step(seen, in_force, now, |step| match step {
        Step::DeletePod {
            why: Rollout::PodFailed,
            ..
        } => None,
        step => Some(step),
    })
}

/// Takes the prefix as it was typed.
fn invalid_prefix(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    let invalid = in_force.error.is_some();
    let good = in_force.settings.as_ref().map(Settings::registry);
    let good = good.map(ToString::to_string).unwrap_or_default();
    with_step(seen, in_force, now, |mut step| {
        if let Step::CreatePod { pod, .. } = &mut step
            && invalid
            && let Some(spec) = &mut pod.spec
        {
            for container in &mut spec.containers {
                let image = container.image.get_or_insert_default();
                *image = image.replace(&good, "https://Not a prefix");
            }
        }
        Some(step)
    })
}

/// Whatever the settings say, it goes by the defaults.
fn uses_defaults(seen: &Seen<'_>, _: &InForce, now: Timestamp) -> Plan {
    let environment = Environment::default();
    let defaults = fleet::in_force(&Source::Absent, &Source::Absent, None, &environment);
    plan(seen, &defaults, now)
}

/// Whatever its user asks for, it goes by the tag that the runtime has by default.
fn forgets_the_tag(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    with_workspace(seen, in_force, now, |workspace| {
        if let Ok(spec) = &mut workspace.spec {
            let was = spec.unpack();
            *spec = Packed::new(&WorkspaceSpec { tag: None, ..was });
        }
    })
}
