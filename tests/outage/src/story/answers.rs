//! Each way in which a registry can fail, all at the same time, in its own words.

use anyhow::{Result, ensure};

use super::{PRIMARY, image, yaml_in};
use crate::bed::{Answer, NEXT};
use crate::world::World;

const NAMESPACE: &str = "answers";
/// How the registry answers for the image of a runtime, and what the Workspace may say then.
const ANSWERS: [(&str, Answer, &[&str]); 7] = [
    ("autogen", Answer::Status(403), &["answered 403 Forbidden"]),
    (
        "claude-code",
        Answer::Status(404),
        &["answered 404 Not Found", "does not have it"],
    ),
    (
        "deepagents",
        Answer::Status(429),
        &["answered 429 Too Many Requests"],
    ),
    (
        "gemini-cli",
        Answer::Status(500),
        &["answered 500 Internal Server Error"],
    ),
    (
        "hermes",
        Answer::Status(503),
        &["answered 503 Service Unavailable"],
    ),
    (
        "langgraph",
        Answer::NoToken,
        &["answered 403 Forbidden", "denies access to it"],
    ),
    ("openclaw", Answer::Gone, &["breaks connections off"]),
];

/// Between the steps: as nodes word it, with this version of containerd.
pub async fn answer_in_every_way(world: &mut World) -> Result<()> {
    world.step("   And every other answer, in its own words:");
    for (runtime, answer, _) in ANSWERS {
        world.bed.registries.primary.answers_for(runtime, answer);
    }
    world.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let told = each_is_told(world).await;
    world.bed.registries.primary.answers(Answer::Itself);
    // The steps after this one count what is written.
    let deleted = world.kubectl(&["delete", "namespace", NAMESPACE]).await;
    let deleted = deleted.map(drop);
    told.and(deleted)?;
    world.holds(
        "403, 404, 429, 500, 503, a token that is refused and a connection that is closed: each \
         Workspace says which.",
    );
    Ok(())
}

async fn each_is_told(world: &World) -> Result<()> {
    let spec = |runtime: &str| format!("runtime: {runtime}, tag: {NEXT}");
    let all = ANSWERS.map(|(it, ..)| yaml_in(NAMESPACE, it, &spec(it)));
    world.apply(&all[0], &all[1..]).await?;
    let all_told = world
        .until("seven that say what is wrong", |seen| {
            let key = |runtime: &str| format!("{NAMESPACE}/{runtime}");
            let mut keys = ANSWERS.iter().map(|(runtime, ..)| key(runtime));
            keys.all(|it| seen.state(&it) == "ImagePullFailed")
        })
        .await;
    world
        .kubectl(&["get", "ws", "-n", NAMESPACE, "-o", "wide"])
        .await?;
    all_told?;
    for (runtime, answer, words) in ANSWERS {
        let key = format!("{NAMESPACE}/{runtime}");
        let message = world.eye.now(|seen| seen.message(&key).to_owned());
        let start = format!(
            "{} cannot be pulled: ghcr.io ",
            image(PRIMARY, runtime, NEXT)
        );
        let said = message.strip_prefix(start.as_str());
        ensure!(
            said.is_some_and(|it| words.contains(&it)),
            "{answer:?} is told as {message:?}"
        );
    }
    Ok(())
}
