//! Every metric, as it is documented.

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows, while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// A metric as it is documented.
#[derive(Clone, Copy, Debug)]
pub struct Documented {
    /// Its name.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Documented {
    Documented {
        name,
        kind,
        labels,
        meaning,
    }
}

pub(super) const WORKSPACES: Documented = metric(
    "workspace_operator_workspaces",
    Kind::Gauge,
    &["state", "stalled", "registry"],
    "Workspaces by the state that their status shows (New: none yet), whether they are Stalled, and \
     the registry host of their Pod's image (none: no Pod); only from the operator that leads",
);
pub(super) const OUTAGE: Documented = metric(
    "workspace_operator_registry_outage",
    Kind::Gauge,
    &["registry"],
    "How many Workspaces are stuck on a registry host that fails as a whole, by the overview's \
     measure; 0 for the registry in force while it does not; only from the operator that leads",
);
pub(super) const AT_RISK: Documented = metric(
    "workspace_operator_workspaces_at_risk",
    Kind::Gauge,
    &[],
    "Workspaces that run and would not survive the loss of their Pod, as the overview counts them; \
     0 from an operator that stands by",
);
pub(super) const OUTDATED: Documented = metric(
    "workspace_operator_workspaces_outdated",
    Kind::Gauge,
    &["registry"],
    "Workspaces that run another build than the tag of their image stands for now, by registry host, \
     where tags are watched; 0 for the registry in force while there are none; only from the operator \
     that leads",
);
pub(super) const UNWATCHED: Documented = metric(
    "workspace_operator_images_unwatched",
    Kind::Gauge,
    &["registry"],
    "Images of which the registry host does not tell whether their tags have moved, where tags are \
     watched; 0 for the registry in force while there are none; only from the operator that leads",
);
pub(super) const ROLLOUT: Documented = metric(
    "workspace_operator_rollout_workspaces",
    Kind::Gauge,
    &["state"],
    "While the settings move what runs: the Workspaces that are moved, moving, to_move, and of these \
     blocked (it is not proved that their node can pull the image), deferred (by their user) and \
     waiting (as many are not Ready for other reasons as may be), and those that are opted_out, failed \
     (moved, and not Ready again in their time) or put_back (on what they ran, for the same reason); only \
     from the operator that leads",
);
pub(super) const HALTED: Documented = metric(
    "workspace_operator_rollout_halted",
    Kind::Gauge,
    &[],
    "1 while the move of what runs does not go on, because more Workspaces have failed than may; 0 \
     from an operator that stands by",
);
pub(super) const PREPULL: Documented = metric(
    "workspace_operator_prepull_images",
    Kind::Gauge,
    &["state"],
    "The images of a switch that is prepared, counted on each node: pulled and kept, failed when last \
     tried, or waiting; none while none is prepared; only from the operator that leads",
);
pub(super) const ROLLOUTS: Documented = metric(
    "workspace_rollouts_total",
    Kind::Counter,
    &["step", "reason", "result"],
    "Steps that start, stop, heal or move a Pod (create, delete, heal, move), by why they were taken \
     and whether they were done, undone, refused, stale or failed",
);
pub(super) const PULL_FAILURES: Documented = metric(
    "workspace_image_pull_failures_total",
    Kind::Counter,
    &["registry"],
    "How often a Workspace began to be unable to pull its image, by registry host",
);
pub(super) const PROBES: Documented = metric(
    "workspace_image_probes_total",
    Kind::Counter,
    &["registry", "result"],
    "Probes by which it was to be proved, before a Workspace was stopped for another image, that its \
     node can pull that, by registry host and whether the node pulled it or failed",
);
pub(super) const READY: Documented = metric(
    "workspace_ready_seconds",
    Kind::Histogram,
    &[],
    "Seconds from the creation, healing or moving of a Pod until its Workspace was told Ready",
);
pub(super) const PLANS: Documented = metric(
    "workspace_operator_plan_seconds",
    Kind::Histogram,
    &[],
    "Seconds that it took to decide about one Workspace",
);
pub(super) const APPLIES: Documented = metric(
    "workspace_operator_apply_seconds",
    Kind::Histogram,
    &["step"],
    "Seconds until the API server had answered a step",
);
pub(super) const QUEUE_ITEMS: Documented = metric(
    "workspace_operator_queue_items",
    Kind::Gauge,
    &[],
    "Workspaces, Services and records that wait to be looked at",
);
pub(super) const QUEUE_OLDEST: Documented = metric(
    "workspace_operator_queue_oldest_seconds",
    Kind::Gauge,
    &[],
    "For how long the oldest of them has waited",
);
pub(super) const REQUESTS: Documented = metric(
    "workspace_operator_api_requests_total",
    Kind::Counter,
    &["verb", "resource", "code"],
    "Requests to the API server by verb, resource and HTTP status (error: no answer)",
);
pub(super) const SETTINGS: Documented = metric(
    "workspace_operator_settings_info",
    Kind::Gauge,
    &["registry", "hash", "valid"],
    "The settings in force: registry prefix, a hash of all of them, and whether the settings \
     ConfigMap is valid",
);
pub(super) const LAST_GOOD: Documented = metric(
    "workspace_operator_settings_last_good",
    Kind::Gauge,
    &[],
    "1 while the last good settings are in force, because the ConfigMap is invalid or unreadable",
);
pub(super) const UNRECORDED: Documented = metric(
    "workspace_operator_settings_unrecorded",
    Kind::Gauge,
    &[],
    "1 while the ConfigMap that records the settings in force, for the next operator, cannot be \
     written",
);
pub(super) const LEADER: Documented = metric(
    "workspace_operator_leader",
    Kind::Gauge,
    &[],
    "1 while this operator leads and writes",
);
pub(super) const BUILD: Documented = metric(
    "workspace_operator_build_info",
    Kind::Gauge,
    &["version"],
    "The version of this operator",
);

/// Every metric, in the order of the documentation.
pub const DOCUMENTED: [Documented; 22] = [
    WORKSPACES,
    OUTAGE,
    AT_RISK,
    OUTDATED,
    UNWATCHED,
    ROLLOUT,
    HALTED,
    PREPULL,
    ROLLOUTS,
    PULL_FAILURES,
    PROBES,
    READY,
    PLANS,
    APPLIES,
    QUEUE_ITEMS,
    QUEUE_OLDEST,
    REQUESTS,
    SETTINGS,
    LAST_GOOD,
    UNRECORDED,
    LEADER,
    BUILD,
];
