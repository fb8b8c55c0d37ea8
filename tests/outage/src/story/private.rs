//! A mirror that asks for a password.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use super::settings::{edit, plain};
use super::{RETRY, ask, ensure_within, image, yaml_in};
use crate::bed::{PASSWORD, UNMIRRORED, USER};
use crate::story::{MIRROR, PRIVATE};
use crate::world::{World, seconds};

/// In each namespace its own secret: none, a wrong one, the right one.
const TENANTS: [&str; 3] = ["tenant-without", "tenant-wrong", "tenant-right"];
const SECRET: &str = "pull";

/// Step 9.
pub async fn ask_for_secrets(world: &mut World) -> Result<()> {
    world.step("9. A mirror that asks for a password: pull secrets missing, wrong and right.");
    let data = json!({"MOLECULE_IMAGE_REGISTRY": PRIVATE, "IMAGE_PULL_SECRETS": SECRET});
    edit(world, &data).await?;
    start(world).await?;
    let [without, wrong, right] = TENANTS;
    world
        .until("the one with the right secret", |seen| {
            seen.state(&key(right)) == "Ready"
        })
        .await?;
    let (of_none, of_wrong) = (refused(world, without).await?, refused(world, wrong).await?);
    let mine = ["--field-selector", "metadata.name=agent"];
    let get = [&["get", "ws", "-A", "-o", "wide"][..], &mine].concat();
    world.kubectl(&get).await?;
    world.holds(&format!(
        "Ready with the right one; with none the registry \"{of_none}\", with a wrong one it \
         \"{of_wrong}\"."
    ));
    ask::a_node(world, TENANTS).await?;
    mend(world, wrong).await?;
    plain(world, MIRROR).await?;
    world
        .until("the one without, on the open mirror", |seen| {
            seen.state(&key(without)) == "Ready"
        })
        .await?;
    world.holds("Back on the open mirror the third is Ready as well.");
    Ok(())
}

fn key(tenant: &str) -> String {
    format!("{tenant}/agent")
}

async fn start(world: &World) -> Result<()> {
    let [_, wrong, right] = TENANTS;
    for tenant in TENANTS {
        world.kubectl(&["create", "namespace", tenant]).await?;
    }
    create_secret(world, wrong, "guessed").await?;
    create_secret(world, right, PASSWORD).await?;
    for tenant in TENANTS {
        apply(world, tenant, "agent", "runtime: deepagents").await?;
    }
    // It needs an image that the mirror lacks, and has no Pod that would tell.
    let spec = format!("runtime: langgraph, tag: {UNMIRRORED}, suspend: true");
    apply(world, right, "resting", &spec).await
}

async fn apply(world: &World, tenant: &str, name: &str, spec: &str) -> Result<()> {
    world.apply(&yaml_in(tenant, name, spec), &[]).await
}

/// Waits until a Workspace says that it is refused, and returns what it says of the registry.
async fn refused(world: &World, tenant: &str) -> Result<String> {
    let image = image(PRIVATE, "deepagents", "latest");
    let start = format!("{image} cannot be pulled: private.example.com ");
    world
        .until("one that is refused", |seen| {
            seen.message(&key(tenant)).starts_with(&start)
        })
        .await?;
    let message = world.eye.now(|seen| seen.message(&key(tenant)).to_owned());
    let said = message.trim_start_matches(&start).to_owned();
    let clear = ["answered 401 Unauthorized", "denies access to it"];
    let is_clear = clear.contains(&said.as_str());
    ensure!(is_clear, "{said:?} does not say what is wrong");
    Ok(said)
}

/// The wrong secret becomes the right one; nothing is edited besides.
async fn mend(world: &mut World, tenant: &str) -> Result<()> {
    let mark = world.mark()?;
    let uid = || world.eye.now(|seen| seen.life(&key(tenant)).uid);
    let before = uid();
    world
        .kubectl(&["delete", "secret", SECRET, "-n", tenant])
        .await?;
    create_secret(world, tenant, PASSWORD).await?;
    let mended = Timestamp::now();
    let ready = world
        .until("the one whose secret was mended", |seen| {
            seen.state(&key(tenant)) == "Ready"
        })
        .await?;
    let writes = world.writes(mark)?;
    ensure!(writes.of("pods").is_empty(), "a Pod was written");
    ensure!(uid() == before, "{tenant} has another Pod");
    let took = seconds(mended, ready);
    ensure_within("from the right secret to Ready", took, RETRY.as_secs_f64())?;
    world.holds(&format!(
        "The wrong one is mended: Ready {took:.1} s later, at the node's next try, in the same Pod."
    ));
    Ok(())
}

async fn create_secret(world: &World, namespace: &str, password: &str) -> Result<()> {
    let (user, password) = (
        format!("--docker-username={USER}"),
        format!("--docker-password={password}"),
    );
    let server = "--docker-server=private.example.com";
    let args = [
        "create",
        "secret",
        "docker-registry",
        SECRET,
        "-n",
        namespace,
        server,
        &user,
        &password,
    ];
    world.kubectl(&args).await.map(drop)
}
