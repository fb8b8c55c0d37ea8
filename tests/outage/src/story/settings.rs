//! The settings, as steps change them.

use anyhow::Result;
use serde_json::{Value, json};

use super::moving::AT_ONCE;
use crate::world::{SYSTEM, World};

/// What steps set besides the registry and whether what runs is moved.
const BESIDES: [&str; 6] = [
    "IMAGE_PULL_SECRETS",
    "NEXT_MOLECULE_IMAGE_REGISTRY",
    "PREPULL",
    "ROLLOUT_MAX_UNAVAILABLE",
    "ROLLOUT_MIN_READY_SECONDS",
    "ROLLOUT_ROLL_BACK",
];

/// Some of them; what is null is taken out.
pub async fn edit(world: &World, data: &Value) -> Result<()> {
    let data = json!({"data": data}).to_string();
    let object = ["patch", "configmap", "workspace-settings", "-n", SYSTEM];
    let args = [&object[..], &["--type=merge", "-p", &data]].concat();
    world.kubectl(&args).await.map(drop)
}

/// What runs is moved to this registry, a few at a time.
pub async fn pace(world: &World, prefix: &str) -> Result<()> {
    let data = json!({
        "MOLECULE_IMAGE_REGISTRY": prefix,
        "ROLLOUT": "Paced",
        "ROLLOUT_MAX_UNAVAILABLE": AT_ONCE.to_string(),
        "ROLLOUT_MIN_READY_SECONDS": "1",
    });
    edit(world, &data).await
}

/// This registry and nothing else, and what runs stays.
pub async fn plain(world: &World, prefix: &str) -> Result<()> {
    let mut data = json!({"MOLECULE_IMAGE_REGISTRY": prefix, "ROLLOUT": "OnRestart"});
    for key in BESIDES {
        data[key] = Value::Null;
    }
    edit(world, &data).await
}
