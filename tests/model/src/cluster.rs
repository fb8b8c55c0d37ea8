//! What is the same in all states of a run: the bounds, the operator's rules, the specs and
//! settings that there are to choose from.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use workspace_operator::apply::{Outcome, Reply, Request};
use workspace_operator::fleet::{self, FLEET_LAST_GOOD, InForce, Source};
use workspace_operator::plan::{self, Plan, Step};
use workspace_operator::revision::revision;
use workspace_operator::seen::{Key, Packed, Seen};
use workspace_operator::settings::{Environment, REGISTRY_KEY, Settings};
use workspace_operator::workspace::WorkspaceSpec;

use crate::memo::Memo;
use crate::state::{Setting, start};

/// What may happen in a run, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Edits, suspensions and deletions by users.
    pub edits: u8,
    /// Edits of the settings.
    pub settings: u8,
    /// Changes of the registry's mind.
    pub registry: u8,
    /// Crashes, lost answers, evictions, lost nodes, refusals, foreign Pods, ...
    pub faults: u8,
    /// The points in time, in seconds after the beginning.
    pub times: &'static [i64],
    /// How many operators run.
    pub operators: usize,
    /// How many versions of an object a cache may be behind.
    pub lag: usize,
}

/// What users ask for in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// No storage; other tags, an unknown runtime, a spec that does not decode.
    Images,
    /// With storage that grows and is told to go with its Workspace.
    Storage,
    /// The settings move what runs, and it is always its turn; but not the defaults, which are in
    /// force where there are none.
    Moves,
}

/// The rule by which an operator decides: in production [`plan::plan`].
pub type Rule = fn(&Seen<'_>, &InForce, Timestamp) -> Plan;

/// The rule by which an operator applies what it decided: in production [`Request::of`] and
/// [`Outcome::of`].
#[derive(Clone, Copy)]
pub struct Applying {
    /// What it asks the API server for.
    pub request: fn(&Key, &Step) -> Request,
    /// What a reply means to it; `None` = look at what is there.
    pub outcome: fn(&Step, Reply) -> Option<Outcome>,
}

/// The production rule.
pub const APPLYING: Applying = Applying {
    request: Request::of,
    outcome: Outcome::of,
};

/// A spec, as wire would decode it.
pub struct Spec {
    /// Its fields, not suspended and suspended, or why it does not decode.
    pub decoded: Result<[Packed; 2], String>,
    /// The hash of what the user asked for.
    pub revision: String,
    /// The image's runtime and tag, where the runtime has one.
    pub image: Option<&'static str>,
    /// Whether it is not to be moved.
    pub opted_out: bool,
    /// Which Pod it asks for: specs of the same number need no other Pod.
    pub pod: u8,
}

/// The model that stateright explores.
pub struct Cluster {
    /// The bounds.
    pub bounds: Bounds,
    /// The rule by which they decide.
    pub rule: Rule,
    /// The rule by which they apply it.
    pub applying: Applying,
    /// What there is to ask for; the first is asked for at creation.
    pub specs: Vec<Spec>,
    /// The name that all is about.
    pub key: Key,
    /// Whether the settings move what runs.
    pub moves: bool,
    in_force: BTreeMap<(Setting, Setting), InForce>,
    pub(crate) settled: Memo,
}

/// All that the settings can say.
pub const SETTINGS: [Setting; 5] = [
    Setting::A,
    Setting::B,
    Setting::Secret,
    Setting::Absent,
    Setting::Invalid,
];

impl Cluster {
    /// The production rule within these bounds.
    #[must_use]
    pub fn new(scenario: Scenario, bounds: Bounds) -> Self {
        Self {
            bounds,
            rule: plan::plan,
            applying: APPLYING,
            specs: specs(scenario),
            key: Key::new("ns", "w"),
            moves: scenario == Scenario::Moves,
            in_force: table(scenario == Scenario::Moves),
            settled: Memo::default(),
        }
    }

    /// Another rule in its place: a mutant.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// Another rule of applying in its place: a mutant.
    #[must_use]
    pub fn with_applying(mut self, applying: Applying) -> Self {
        self.applying = applying;
        self
    }

    /// What is in force for an operator that sees this and had that in force.
    #[must_use]
    pub fn in_force(&self, seen: Setting, current: Setting) -> &InForce {
        &self.in_force[&(seen, current)]
    }

    /// The image that a spec has by these settings, written down a second time.
    #[must_use]
    pub fn image(&self, spec: u8, setting: Setting) -> Option<String> {
        let image = self.specs[usize::from(spec)].image?;
        Some(format!("{}/workspace-template-{image}", prefix(setting)?))
    }

    /// Whether these settings move what runs.
    #[must_use]
    pub fn is_paced(&self, setting: Setting) -> bool {
        self.moves && setting != Setting::Absent
    }
}

fn prefix(setting: Setting) -> Option<&'static str> {
    match setting {
        Setting::A => Some("a.example.com/agents"),
        Setting::B | Setting::Secret => Some("b.example.com/agents"),
        Setting::Absent => Some("ghcr.io/molecule-ai"),
        Setting::Invalid => None,
    }
}

/// The ConfigMap.
fn source(setting: Setting, moves: bool) -> Source {
    let data = |entries: &[(&str, &str)]| {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let paced = ("ROLLOUT", "Paced");
        let paced = moves.then_some(&paced);
        Source::Present(entries.iter().chain(paced).map(own).collect())
    };
    let registry = prefix(setting).unwrap_or("https://Not a prefix");
    match setting {
        Setting::A | Setting::B | Setting::Invalid => data(&[(REGISTRY_KEY, registry)]),
        Setting::Secret => data(&[(REGISTRY_KEY, registry), ("IMAGE_PULL_SECRETS", "mirror")]),
        Setting::Absent => Source::Absent,
    }
}

/// What is in force, by what is seen and what was in force: by the production rule, once with
/// what the process holds and once with what an earlier one recorded. Both must agree.
fn table(moves: bool) -> BTreeMap<(Setting, Setting), InForce> {
    let environment = Environment::default();
    let decide = |seen: Setting, fleet: &Source, current: Option<&Settings>| {
        fleet::in_force(&source(seen, moves), fleet, current, &environment)
    };
    let mut table = BTreeMap::new();
    for current in SETTINGS {
        let of_current = decide(current, &Source::Absent, None);
        let record = fleet::record(&of_current, &Source::Absent, start()).unwrap_or_default();
        let recorded = record
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let recorded =
            Source::Present(recorded.filter(|(key, _)| key == FLEET_LAST_GOOD).collect());
        for seen in SETTINGS {
            let held = decide(seen, &Source::Absent, of_current.settings.as_ref());
            let read = decide(seen, &recorded, None);
            assert_eq!(held, read, "a restart changes what is in force");
            table.insert((seen, current), held);
        }
    }
    table
}

fn specs(scenario: Scenario) -> Vec<Spec> {
    let spec = |pod, json: Value, image| Spec {
        pod,
        opted_out: json["rollout"]["policy"] == "OnRestart",
        revision: revision(&json, None),
        decoded: serde_json::from_value::<WorkspaceSpec>(json)
            .map(|spec| {
                [false, true].map(|suspend| {
                    let spec = spec.clone();
                    Packed::new(&WorkspaceSpec { suspend, ..spec })
                })
            })
            .map_err(|error| error.to_string()),
        image,
    };
    match scenario {
        Scenario::Images => vec![
            spec(0, json!({}), Some("langgraph:latest")),
            spec(1, json!({"tag": "v2"}), Some("langgraph:v2")),
            spec(2, json!({"runtime": "nonesuch"}), None),
            spec(3, json!({"env": "not a list"}), None),
        ],
        Scenario::Moves => vec![
            spec(0, json!({}), Some("langgraph:latest")),
            spec(1, json!({"tag": "v2"}), Some("langgraph:v2")),
            spec(
                0,
                json!({"rollout": {"policy": "OnRestart"}}),
                Some("langgraph:latest"),
            ),
        ],
        Scenario::Storage => {
            let latest = Some("langgraph:latest");
            let storage = |size: &str, when_deleted: &str| json!({"storage": {"size": size, "whenDeleted": when_deleted}});
            vec![
                spec(0, storage("1Gi", "Retain"), latest),
                spec(0, storage("2Gi", "Retain"), latest),
                spec(0, storage("1Gi", "Delete"), latest),
            ]
        }
    }
}
