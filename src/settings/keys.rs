//! The names of the settings, and which one a misspelt name was meant to be.

/// The registry prefix of every image.
pub const REGISTRY_KEY: &str = "MOLECULE_IMAGE_REGISTRY";
/// Runtimes beyond the nine, comma-separated.
pub const EXTRA_RUNTIMES_KEY: &str = "EXTRA_RUNTIMES";
/// What the key of a pin begins with; the runtime follows, as in `PIN_claude-code`.
pub const PIN_KEY_PREFIX: &str = "PIN_";
/// Names of pull secrets, comma-separated.
pub const IMAGE_PULL_SECRETS_KEY: &str = "IMAGE_PULL_SECRETS";
/// The URL that agents call home to.
pub const PLATFORM_URL_KEY: &str = "PLATFORM_URL";
/// Seconds until a Pod that is not Ready makes its Workspace Stalled.
pub const PROVISION_TIMEOUT_SECONDS_KEY: &str = "PROVISION_TIMEOUT_SECONDS";
/// How a fleet moves to other settings.
pub const ROLLOUT_KEY: &str = "ROLLOUT";
/// How many Workspaces may be down at once while a fleet moves.
pub const ROLLOUT_MAX_UNAVAILABLE_KEY: &str = "ROLLOUT_MAX_UNAVAILABLE";
/// How many Workspaces may fail while a fleet moves without its move halting.
pub const ROLLOUT_MAX_FAILED_KEY: &str = "ROLLOUT_MAX_FAILED";
/// For how many seconds one that was moved is Ready before its place goes to the next.
pub const ROLLOUT_MIN_READY_SECONDS_KEY: &str = "ROLLOUT_MIN_READY_SECONDS";
/// Whether a fleet's move is paused.
pub const ROLLOUT_PAUSED_KEY: &str = "ROLLOUT_PAUSED";
/// Whether what a fleet's move breaks is put back on the image that it ran.
pub const ROLLOUT_ROLL_BACK_KEY: &str = "ROLLOUT_ROLL_BACK";

/// Every how many seconds registries are asked whether tags have moved.
pub const WATCH_DIGESTS_SECONDS_KEY: &str = "WATCH_DIGESTS_SECONDS";

/// The registry prefix that is to come into force next.
pub const NEXT_REGISTRY_KEY: &str = "NEXT_MOLECULE_IMAGE_REGISTRY";
/// Whether the images under that one are pulled before.
pub const PREPULL_KEY: &str = "PREPULL";

/// Every key but the pins.
pub(super) const FIXED: [&str; 14] = [
    EXTRA_RUNTIMES_KEY,
    IMAGE_PULL_SECRETS_KEY,
    REGISTRY_KEY,
    NEXT_REGISTRY_KEY,
    PLATFORM_URL_KEY,
    PREPULL_KEY,
    PROVISION_TIMEOUT_SECONDS_KEY,
    ROLLOUT_KEY,
    ROLLOUT_MAX_FAILED_KEY,
    ROLLOUT_MAX_UNAVAILABLE_KEY,
    ROLLOUT_MIN_READY_SECONDS_KEY,
    ROLLOUT_PAUSED_KEY,
    ROLLOUT_ROLL_BACK_KEY,
    WATCH_DIGESTS_SECONDS_KEY,
];

/// A setting as it is documented.
#[derive(Clone, Copy, Debug)]
pub struct Documented {
    /// Its key in the ConfigMap.
    pub key: &'static str,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What holds where it is unset or empty.
    pub default: &'static str,
}

/// Every setting, in the order of the documentation.
pub const DOCUMENTED: [Documented; 15] = [
    Documented {
        key: REGISTRY_KEY,
        meaning: "The registry prefix: host[:port] and a lower-case path. Every image is \
                  `<prefix>/workspace-template-<runtime>:<tag>`.",
        default: "the operator's environment variable of that name, else `ghcr.io/molecule-ai`",
    },
    Documented {
        key: EXTRA_RUNTIMES_KEY,
        meaning: "Runtimes beyond the nine, comma-separated; each a DNS label of at most 40 \
                  characters.",
        default: "none",
    },
    Documented {
        key: "PIN_<runtime>",
        meaning: "A digest (`sha256:` and 64 lower-case hexadecimal digits) in place of the tag \
                  `latest` of that runtime. It survives a switch, for a mirror keeps digests.",
        default: "the tag `latest`",
    },
    Documented {
        key: IMAGE_PULL_SECRETS_KEY,
        meaning: "Names of pull secrets, comma-separated, which must exist in each Workspace's \
                  own namespace. They come after the Workspace's; a list that is not empty \
                  replaces that of the ServiceAccount.",
        default: "none",
    },
    Documented {
        key: PLATFORM_URL_KEY,
        meaning: "What the agents see as `PLATFORM_URL` and `MOLECULE_URL`; an http or https URL.",
        default: "the two are not set",
    },
    Documented {
        key: PROVISION_TIMEOUT_SECONDS_KEY,
        meaning: "Seconds until a Pod that is not Ready makes its Workspace Stalled; it goes on \
                  trying. From 1 to 86400.",
        default: "`600`",
    },
    Documented {
        key: ROLLOUT_KEY,
        meaning: "How a fleet moves to other settings. `OnRestart`: an edit touches nothing that \
                  runs. `Paced`: those that run are moved too, a few at a time, and none before its \
                  new image is proved to be on its node.",
        default: "`OnRestart`",
    },
    Documented {
        key: ROLLOUT_MAX_UNAVAILABLE_KEY,
        meaning: "How many Workspaces may be not Ready while a fleet moves, those counted that are \
                  not Ready for other reasons: a number from 1 to 999999, or a part of all that are \
                  not suspended, as in `5%`, which is one at least.",
        default: "`1`",
    },
    Documented {
        key: ROLLOUT_MIN_READY_SECONDS_KEY,
        meaning: "For how many seconds a Workspace that was moved has to be Ready before its place goes \
                  to the next: an image that answers at first, and then fails, gets no further. From 0 to \
                  86400.",
        default: "`10`",
    },
    Documented {
        key: ROLLOUT_MAX_FAILED_KEY,
        meaning: "How many of those that were moved may fail, which is not to be Ready again within \
                  their provision timeout or to crash again and again, without a halt of the move of the \
                  others: a number from 0 to 999999, or a part of all that are not suspended, as in \
                  `1%`, rounded down.",
        default: "`0`, so that the first one halts it",
    },
    Documented {
        key: ROLLOUT_PAUSED_KEY,
        meaning: "`true` holds a moving fleet where it is; nothing else waits for it.",
        default: "`false`",
    },
    Documented {
        key: ROLLOUT_ROLL_BACK_KEY,
        meaning: "`true` puts a Workspace that was moved, and failed, back on the image that it ran. It \
                  counts as failed either way.",
        default: "`false`",
    },
    Documented {
        key: NEXT_REGISTRY_KEY,
        meaning: "The registry prefix that a switch is prepared for. By itself it does nothing; one \
                  that cannot be right is warned of, and invalidates nothing.",
        default: "none",
    },
    Documented {
        key: PREPULL_KEY,
        meaning: "`true` has each node pull, one by one, the images that its Workspaces will need \
                  under `NEXT_MOLECULE_IMAGE_REGISTRY`, and keep them for as long as this is set. \
                  Nothing that runs is touched.",
        default: "`false`",
    },
    Documented {
        key: WATCH_DIGESTS_SECONDS_KEY,
        meaning: "Every how many seconds the registry is asked whether the tags in use stand for \
                  another build than before. From 10 to 86400; 300 is usual.",
        default: "it is not asked",
    },
];

/// From 0 (nothing in common) to 1 (equal). Low enough for a forgotten word (`IMAGE_REGISTRY`),
/// high enough not to answer a key that belongs to something else.
const LOOKS_ALIKE: f64 = 0.6;

/// Kubernetes' own bound on the length of a ConfigMap's key; what is longer resembles nothing.
const LONGEST_KEY: usize = 253;

/// The key that pins a runtime.
pub(super) fn pin_key(runtime: &str) -> String {
    format!("{PIN_KEY_PREFIX}{runtime}")
}

/// The right key that looks most like a wrong one, whatever the case and the kind of dash.
pub(super) fn closest<'a>(
    wrong: &str,
    runtimes: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    if wrong.len() > LONGEST_KEY {
        return None;
    }
    let folded = fold(wrong);
    let pins = runtimes.into_iter().map(pin_key);
    FIXED
        .into_iter()
        .map(str::to_owned)
        .chain(pins)
        .map(|right| {
            let likeness = strsim::normalized_damerau_levenshtein(&folded, &fold(&right));
            (likeness, right)
        })
        .filter(|(likeness, _)| *likeness >= LOOKS_ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, right)| right)
}

fn fold(key: &str) -> String {
    key.to_ascii_uppercase().replace(['-', '.', ' '], "_")
}
