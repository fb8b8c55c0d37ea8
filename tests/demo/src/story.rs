//! The story, a function for each step.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, ensure};
use cluster::{Mark, State};
use jiff::Timestamp;

use crate::edit::{self, Write};
use crate::fleet::{self, FLEET, LOST, NEWCOMER, RESTARTED, RESUMED, STUCK, UNMIRRORED};
use crate::scene::{Scene, Version};
use crate::world::{SYSTEM, World};

const SUSPENDED: &str = "ghcr.io/molecule-ai";
const VERSIONS: &str = "custom-columns=POD:.metadata.name,UID:.metadata.uid,\
     VERSION:.metadata.resourceVersion,IMAGE:.spec.containers[0].image";

/// What the name of a Pod begins with that proves an image on its node.
const PROBE: &str = "workspace-probe-";
/// How many writes the edit may cost: one for the record, and two for each stuck Workspace.
const COST: usize = 1 + 2 * STUCK.len();

type Versions = BTreeMap<&'static str, Version>;

/// The edit that the story is about.
struct Edit {
    /// The audit log's end before it.
    mark: Mark,
    at: Timestamp,
    /// The operator's log lines before it.
    logged: usize,
    /// What the operator wrote for it.
    writes: Vec<Write>,
}

/// Tells it all; an error is a step that did not hold.
pub async fn tell(world: &mut World) -> Result<()> {
    let start = Instant::now();
    install(world).await?;
    let nine = apply_nine(world).await?;
    suspend_registry(world, &nine).await?;
    let before = get_stuck(world, &nine).await?;
    mistype(world, &before).await?;
    look_there(world, &before).await?;
    let edit = switch(world, &before).await?;
    roll_out_one(world, &before).await?;
    suspend_and_resume_one(world, &before).await?;
    leave_the_rest_alone(world, &before, &edit).await?;
    sum_up(world, &edit, start);
    Ok(())
}

async fn install(world: &mut World) -> Result<()> {
    world
        .terminal
        .heading("The operator is installed, and runs with the rights it ships with.");
    let crd = ["apply", "--server-side", "-f", "crds/workspace.yaml"];
    world.kubectl(&crd).await?;
    world
        .kubectl(&["apply", "-f", "deploy/base/rbac.yaml"])
        .await?;
    world.start_operator().await
}

async fn apply_nine(world: &mut World) -> Result<Versions> {
    let heading = "1. Nine Workspaces, one for each runtime. None of them names an image.";
    world.terminal.heading(heading);
    let start = Instant::now();
    let yaml: Vec<String> = fleet::names().map(fleet::yaml).collect();
    if let [first, more @ ..] = yaml.as_slice() {
        world.apply(first, more).await?;
    }
    let is_up = |scene: &Scene| fleet::names().all(|it| scene.runs(it, SUSPENDED));
    let scene = world.until("all nine are Ready", is_up).await?;
    let seconds = start.elapsed().as_secs_f32();
    world.kubectl(&["get", "ws"]).await?;
    world.terminal.holds(&format!(
        "all nine are Ready after {seconds:.1} s, each on its runtime's image under {SUSPENDED}."
    ));
    Ok(scene.versions(FLEET.iter().map(|it| it.0)))
}

async fn suspend_registry(world: &mut World, nine: &Versions) -> Result<()> {
    world.terminal.heading(&format!(
        "2. {SUSPENDED} is suspended: from now on every pull is answered 401."
    ));
    world
        .terminal
        .say("(Nobody types anything for that. It happens to you.)");
    let registry = world.cluster.registry(SUSPENDED, State::Unauthorized);
    registry.await?;
    world.kubectl(&["get", "pods"]).await?;
    check_untouched(&world.look().await?, nine)?;
    world
        .terminal
        .holds("what runs goes on: the same nine Pods, none of them written to.");
    Ok(())
}

/// Returns the Pods that run on.
async fn get_stuck(world: &mut World, nine: &Versions) -> Result<Versions> {
    let heading = "3. One Pod is lost, as with a rebooted node, and one new Workspace is created.";
    world.terminal.heading(heading);
    world.kubectl(&["delete", "pod", LOST]).await?;
    world.apply(&fleet::yaml(NEWCOMER.0), &[]).await?;
    let says_why = |scene: &Scene, name| {
        let message = scene.message(name);
        scene.state(name) == "ImagePullFailed" && message.contains("ghcr.io answered 401")
    };
    let is_stuck = |scene: &Scene| STUCK.iter().all(|it| says_why(scene, it));
    let what = "both are stuck, and say which registry refused with which code";
    let scene = world.until(what, is_stuck).await?;
    world.kubectl(&["get", "ws"]).await?;
    for name in STUCK {
        let message = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}{\"\\n\"}";
        world.kubectl(&["get", "ws", name, "-o", message]).await?;
    }
    let status = world
        .kubectl_ends(&["workspace", "status", "-A"], 1)
        .await?;
    let eight_run_and_two_do_not = "Workspaces: 10; Ready: 8, stuck: 2";
    ensure!(
        status.contains(eight_run_and_two_do_not) && status.contains("answered 401"),
        "the status does not say {eight_run_and_two_do_not:?}"
    );
    let mut unharmed = nine.clone();
    unharmed.remove(LOST);
    check_untouched(&scene, &unharmed)?;
    let holds = [
        "the two are ImagePullFailed, and say which registry refused with which code.",
        "the status counts two as stuck and eight that would not survive a restart, and exits 1.",
    ];
    holds.iter().for_each(|it| world.terminal.holds(it));
    Ok(unharmed)
}

async fn mistype(world: &mut World, before: &Versions) -> Result<()> {
    let heading = "4. The settings are to name the mirror. It is late, and the edit is wrong.";
    world.terminal.heading(heading);
    let mistyped = format!("https://{}", world.mirror.prefix());
    let literal = format!("--from-literal=MOLECULE_IMAGE_REGISTRY={mistyped}");
    let name = "workspace-settings";
    let create = ["create", "configmap", name, "-n", SYSTEM, &literal];
    world.kubectl(&create).await?;
    let is_refused = |scene: &Scene| {
        let error = scene.record("error");
        error.contains("MOLECULE_IMAGE_REGISTRY") && error.contains(&mistyped)
    };
    let scene = world
        .until("the record shows the error", is_refused)
        .await?;
    let fleet = ["get", "configmap", "workspace-fleet", "-n", SYSTEM, "-o"];
    let data = r#"jsonpath=in force: {.data.registry}{"\n"}error: {.data.error}{"\n"}"#;
    world.kubectl(&[&fleet[..], &[data]].concat()).await?;
    let in_force = scene.record("registry");
    ensure!(
        in_force == SUSPENDED,
        "{in_force} is in force, not {SUSPENDED}"
    );
    world.kubectl(&["get", "pods", "-o", VERSIONS]).await?;
    let scene = world.look().await?;
    check_untouched(&scene, before)?;
    check_images(&scene, fleet::names().chain([NEWCOMER.0]), SUSPENDED)?;
    world
        .terminal
        .holds("nothing changed, and the record says what is wrong and what to write instead.");
    Ok(())
}

async fn look_there(world: &mut World, before: &Versions) -> Result<()> {
    let heading = "5. Is every image at the mirror? kubectl's plugin asks it, and one is not.";
    world.terminal.heading(heading);
    let mirror = world.mirror.prefix();
    let lacking = fleet::runtime(UNMIRRORED);
    let mirrored = FLEET.iter().map(|it| it.1).filter(|it| *it != lacking);
    world.mirror.add(mirrored).await?;
    let preflight = ["workspace", "preflight", "--to", &mirror];
    let found = world.kubectl_ends(&preflight, 1).await?;
    let image = fleet::image(&mirror, UNMIRRORED);
    ensure!(
        found.contains(&format!("{image}: ")) && found.contains("No: of 9 images, 1 cannot be"),
        "it does not name {image}"
    );
    world
        .terminal
        .say("(It is mirrored now, with whatever you mirror images with.)");
    world.mirror.add([lacking].into_iter()).await?;
    check_untouched(&world.look().await?, before)?;
    world
        .terminal
        .holds("what the mirror lacks is named, before anybody depends on it.");
    Ok(())
}

async fn switch(world: &mut World, before: &Versions) -> Result<Edit> {
    let heading = "6. One edit: the settings name the mirror. kubectl's plugin looks again, makes it, and follows.";
    world.terminal.heading(heading);
    let mirror = world.mirror.prefix();
    let earlier = world.look().await?;
    let (mark, logged) = (world.mark()?, world.log().len());
    world
        .kubectl(&["workspace", "switch", &mirror, "--yes"])
        .await?;
    let are_free = |scene: &Scene| STUCK.iter().all(|it| scene.runs(it, &mirror));
    let scene = world.until("the stuck ones are Ready", are_free).await?;
    world.kubectl(&["get", "ws"]).await?;
    world.kubectl(&["get", "pods", "-o", VERSIONS]).await?;

    let at = edit::edited_at(world.cluster.audit().events_since(mark)?)?;
    let writes = world.written(mark, COST).await?;
    let heading = "\n  The operator's writes since the edit, from the API server's audit log:\n";
    world.terminal.say(heading);
    world.terminal.output(&edit::table(&writes, at));
    for name in STUCK {
        let same = earlier.has_pod(name) && earlier.uid(name) == scene.uid(name);
        ensure!(same, "{name} has another Pod than before the edit");
    }
    check_untouched(&scene, before)?;
    check_cost(&writes)?;
    let holds = [
        "both stuck Workspaces are Ready, healed in place: the same Pods, by their UIDs.",
        "the eight that ran run on: the same Pods in the same versions.",
        "it cost five writes: one for the record, two for each stuck Workspace, none for the rest.",
    ];
    holds.iter().for_each(|it| world.terminal.holds(it));
    Ok(Edit {
        mark,
        at,
        logged,
        writes,
    })
}

async fn roll_out_one(world: &mut World, before: &Versions) -> Result<()> {
    world.terminal.heading(&format!(
        "7. A new rollout takes the mirror: {RESTARTED} is restarted."
    ));
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let annotation = format!("molecule.ai/restartedAt={now}");
    let annotate = ["annotate", "ws", RESTARTED, &annotation];
    world.kubectl(&annotate).await?;
    let mirror = world.mirror.prefix();
    let runs = |scene: &Scene| has_moved(scene, before, RESTARTED, &mirror);
    world.until("it is Ready on the mirror", runs).await?;
    world.kubectl(&["get", "ws", RESTARTED]).await?;
    world
        .terminal
        .holds(&format!("{RESTARTED} has a new Pod, Ready on the mirror."));
    Ok(())
}

async fn suspend_and_resume_one(world: &mut World, before: &Versions) -> Result<()> {
    world.terminal.heading(&format!(
        "8. So does whoever resumes: {RESUMED} is suspended, and resumed."
    ));
    let patch = ["patch", "ws", RESUMED, "--type", "merge", "-p"];
    let suspend = r#"{"spec":{"suspend":true}}"#;
    world.kubectl(&[&patch[..], &[suspend]].concat()).await?;
    let rests = |scene: &Scene| scene.state(RESUMED) == "Suspended" && !scene.has_pod(RESUMED);
    world.until("it is Suspended, without a Pod", rests).await?;
    world.kubectl(&["get", "ws", RESUMED]).await?;
    let resume = r#"{"spec":{"suspend":false}}"#;
    world.kubectl(&[&patch[..], &[resume]].concat()).await?;
    let mirror = world.mirror.prefix();
    let runs = |scene: &Scene| has_moved(scene, before, RESUMED, &mirror);
    world.until("it is Ready on the mirror", runs).await?;
    world.kubectl(&["get", "ws", RESUMED]).await?;
    world.terminal.holds(&format!(
        "{RESUMED} had no Pod, and now runs on the mirror."
    ));
    Ok(())
}

async fn leave_the_rest_alone(world: &mut World, before: &Versions, edit: &Edit) -> Result<()> {
    world
        .terminal
        .heading("Everyone else still runs as before the outage.");
    world.kubectl(&["get", "ws"]).await?;
    let mut rest = before.clone();
    for name in [RESTARTED, RESUMED] {
        rest.remove(name);
    }
    check_untouched(&world.look().await?, &rest)?;
    let mut writes = world.writes_since(edit.mark)?;
    // The restart had its new image proved first.
    let is_theirs = |name: &str| [RESTARTED, RESUMED].contains(&name) || name.starts_with(PROBE);
    writes.retain(|it| !is_theirs(&it.name));
    check_cost(&writes)?;
    let status = ["workspace", "status", "-A", "--outdated"];
    let status = world.kubectl(&status).await?;
    let outdated = format!("outdated: {}\n", rest.len());
    ensure!(
        status.contains(&outdated),
        "the status does not say {outdated:?}"
    );
    world.terminal.holds(&format!(
        "{} Workspaces run on since before the outage, at no write since the edit.",
        rest.len()
    ));
    Ok(())
}

fn sum_up(world: &World, edit: &Edit, start: Instant) {
    let terminal = world.terminal;
    terminal.heading("What you saw");
    let last = |resource| {
        let last = edit.writes.iter().rfind(|it| it.resource == resource);
        last.map_or(0, |it| edit::milliseconds(edit.at, it.at))
    };
    terminal.say(&format!(
        "\n\
         - A suspended registry stopped no Workspace that ran, and two that had to start.\n\
         - Their status said so: ghcr.io answered 401.\n\
         - A mistyped edit changed nothing, and the record said what to write instead.\n\
         - Which image the mirror lacked was known before anybody depended on it.\n\
         - One edit freed both: on record after {} ms, both Pods told the mirror's image after\n  \
           {} ms, both Workspaces Ready after {} ms.\n\
         - It cost {COST} writes, and none to what ran.\n\
         - Whatever was rolled out afterwards took the mirror.",
        last("configmaps"),
        last("pods"),
        last("workspaces/status")
    ));
    terminal.say("\nThe operator's log since the edit:\n");
    terminal.output(&world.log()[edit.logged..].join("\n"));
    let seconds = start.elapsed().as_secs_f32();
    terminal.say(&format!(
        "\nEvery step held. The story took {seconds:.0} s."
    ));
}

/// Whether it is Ready on the mirror, in another Pod than before.
fn has_moved(scene: &Scene, before: &Versions, name: &'static str, mirror: &str) -> bool {
    let uids_differ = scene.versions([name])[name].differs_in_uid(&before[name]);
    uids_differ && scene.runs(name, mirror)
}

fn check_untouched(scene: &Scene, before: &Versions) -> Result<()> {
    let now = scene.versions(before.keys().copied());
    for (name, version) in before {
        let (now, image) = (&now[name], scene.image(name));
        ensure!(
            now == version,
            "the Pod {name} was touched: {version:?} became {now:?} on {image:?}"
        );
        let runs = scene.runs(name, SUSPENDED);
        ensure!(runs, "{name} does not run any more");
    }
    Ok(())
}

fn check_images<'a>(
    scene: &Scene,
    names: impl Iterator<Item = &'a str>,
    prefix: &str,
) -> Result<()> {
    for name in names {
        let (image, asked) = (scene.image(name), fleet::image(prefix, name));
        ensure!(image == asked, "the Pod {name} has {image}, not {asked}");
    }
    Ok(())
}

/// For each stuck Workspace, the two are the patch of its Pod and that of its status.
fn check_cost(writes: &[Write]) -> Result<()> {
    let count = |verb, resource, name| {
        let same = writes.iter().filter(|it| it.is(verb, resource, name));
        same.count()
    };
    let mut expected = count("patch", "configmaps", "workspace-fleet") == 1;
    for name in STUCK {
        expected &= count("patch", "pods", name) == 1;
        expected &= count("patch", "workspaces/status", name) == 1;
    }
    ensure!(
        expected && writes.iter().filter(|it| it.succeeded()).count() == COST,
        "the edit should have cost one write for the record and two for each stuck Workspace, \
         not {writes:#?}"
    );
    Ok(())
}
