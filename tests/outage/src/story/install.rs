//! The operator is installed as on any cluster, and nine Workspaces become Ready.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use workspace_operator::settings::RUNTIMES;

use super::list::list;
use super::{LOST, PRIMARY, image, key, yaml};
use crate::bed::{Bed, show_on_node};
use crate::eye::text;
use crate::world::{SYSTEM, World, seconds};

/// Volumes of the node: a class that binds them when a Pod comes, and one of them.
const VOLUMES: &str = "\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: local
  annotations: {storageclass.kubernetes.io/is-default-class: \"true\"}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk-1}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  hostPath: {path: /var/lib/disks/1, type: DirectoryOrCreate}
";
/// What is written into the storage of a Workspace.
const NOTE: &str = "written before the outage";
/// Where the node keeps it.
const ON_DISK: &str = "/var/lib/disks/1/workspace/notes.txt";
const FILE: &str = "/workspace/notes.txt";

/// With the manifests that it ships with, its own image, and its own ServiceAccount.
pub async fn install(bed: Bed, start: Instant) -> Result<World> {
    let (overlay, digest) = overlay(&bed)?;
    let mut world = World::around(bed, start).await?;
    world.step("The operator is installed: from its own image, by its own manifests.");
    world.apply(VOLUMES, &[]).await?;
    show_on_node("cat overlay/kustomization.yaml");
    world
        .terminal
        .output(&fs::read_to_string(overlay.join("kustomization.yaml"))?);
    world
        .kubectl(&[
            "apply",
            "--server-side",
            "-k",
            &overlay.display().to_string(),
        ])
        .await?;
    let registry = format!("--from-literal=MOLECULE_IMAGE_REGISTRY={PRIMARY}");
    let create = [
        "create",
        "configmap",
        "workspace-settings",
        "-n",
        SYSTEM,
        &registry,
    ];
    world.kubectl(&create).await?;
    await_operator(&world).await?;
    let asked = world.bed.registries.platform.requests();
    ensure!(asked > 0, "the node asked registry.example.com for nothing");
    let images: Vec<_> = world.eye.now(|seen| {
        let id = |(_, pod)| text(pod, "/status/containerStatuses/0/imageID").to_owned();
        seen.pods(SYSTEM).map(id).collect()
    });
    let image = format!("registry.example.com/platform/workspace-operator@{digest}");
    ensure!(
        images == [image.clone(), image],
        "the replicas run {images:?}"
    );
    world.holds("Both replicas run, from registry.example.com, by that digest.");
    Ok(world)
}

/// Waits until as many replicas as there should be are Ready.
pub async fn await_operator(world: &World) -> Result<()> {
    let status = [
        "rollout",
        "status",
        "deployment/workspace-operator",
        "-n",
        SYSTEM,
        "--timeout=60s",
    ];
    world.kubectl(&status).await.map(drop)
}

/// A kustomization around `deploy/` that names the image by its digest.
fn overlay(bed: &Bed) -> Result<(PathBuf, String)> {
    let overlay = bed.folder().join("overlay");
    fs::create_dir_all(&overlay)?;
    // kustomize takes no absolute paths.
    let up = "../".repeat(overlay.components().count() - 1);
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .canonicalize()?;
    let deploy = deploy.display().to_string();
    let digest = bed.crane.run(&format!(
        "digest {}/{}",
        crate::bed::platform(),
        crate::bed::OPERATOR
    ))?;
    let text = format!(
        "resources: [{up}{}]\n\
         images:\n\
         - name: registry.example.com/platform/workspace-operator\n  digest: {digest}\n",
        deploy.trim_start_matches('/')
    );
    fs::write(overlay.join("kustomization.yaml"), text)?;
    Ok((overlay, digest))
}

/// Step 1.
pub async fn nine(world: &mut World) -> Result<()> {
    world.step("1. Nine Workspaces, one a runtime; one of them has storage.");
    let spec = |runtime: &str| match runtime {
        LOST => format!("runtime: {runtime}, storage: {{size: 1Gi}}"),
        _ => format!("runtime: {runtime}"),
    };
    let all = RUNTIMES.map(|it| yaml(it, &spec(it)));
    let (with_storage, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|it| it.contains("storage"));
    let before = jiff::Timestamp::now();
    world.apply(&with_storage.concat(), &others).await?;
    let keys = super::nine();
    let ready = world
        .until("nine Ready Workspaces", |seen| {
            keys.iter()
                .all(|it| seen.state(it) == "Ready" && seen.life(it).ready)
        })
        .await?;
    list(world, &[]).await?;
    let write = ["exec", LOST, "--", "/agent", "write", FILE, NOTE];
    world.kubectl(&write).await?;
    read_note(world).await?;
    let lives = world.lives(keys.iter().map(String::as_str));
    for runtime in RUNTIMES {
        let asked = image(PRIMARY, runtime, "latest");
        let found = &lives[&key(runtime)].image;
        anyhow::ensure!(*found == asked, "{runtime} has {found}, not {asked}");
    }
    let took = seconds(before, ready);
    world.holds(&format!(
        "All nine are Ready on the primary, {took:.1} s after they were typed."
    ));
    Ok(())
}

/// The file that was written before the outage is there.
pub async fn read_note(world: &World) -> Result<()> {
    let read = ["exec", LOST, "--", "/agent", "read", FILE];
    let found = world.kubectl(&read).await?;
    anyhow::ensure!(found.trim() == NOTE, "the file says {found:?}");
    Ok(())
}

/// The file is on the disk, whoever mounts that.
pub fn check_disk() -> Result<()> {
    let found = fs::read_to_string(ON_DISK).with_context(|| format!("reading {ON_DISK}"))?;
    anyhow::ensure!(found.trim() == NOTE, "on the disk the file says {found:?}");
    Ok(())
}
