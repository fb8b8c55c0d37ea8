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
/// Whether a fleet's move is paused.
pub const ROLLOUT_PAUSED_KEY: &str = "ROLLOUT_PAUSED";

/// Every key but the pins.
pub(super) const FIXED: [&str; 8] = [
    EXTRA_RUNTIMES_KEY,
    IMAGE_PULL_SECRETS_KEY,
    REGISTRY_KEY,
    PLATFORM_URL_KEY,
    PROVISION_TIMEOUT_SECONDS_KEY,
    ROLLOUT_KEY,
    ROLLOUT_MAX_UNAVAILABLE_KEY,
    ROLLOUT_PAUSED_KEY,
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
