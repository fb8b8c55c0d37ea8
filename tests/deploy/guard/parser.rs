//! The samples of the parser's own tests, which see it from inside.

pub use workspace_operator::settings::*;

pub mod keys {
    use super::*;

    pub const FIXED: [&str; 14] = [
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

    pub fn pin_key(runtime: &str) -> String {
        format!("{PIN_KEY_PREFIX}{runtime}")
    }
}

#[path = "../../../src/settings/samples.rs"]
pub mod samples;
