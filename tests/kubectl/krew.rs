//! The Krew manifest: the real Krew installs what it describes, and kubectl finds it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::bed::{assert_says, plugins, run};
use crate::fixture::World;

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");
const MANIFEST: &str = include_str!("../../deploy/krew/workspace.yaml");

fn manifest(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("it is YAML")
}

fn platforms(manifest: &Value) -> Vec<Value> {
    manifest["spec"]["platforms"]
        .as_array()
        .cloned()
        .expect("it has platforms")
}

#[test]
fn the_manifest_is_of_this_version_and_of_the_platforms_that_kubectl_users_have() {
    let manifest = manifest(MANIFEST);
    assert_eq!(
        manifest["apiVersion"],
        "krew.googlecontainertools.github.com/v1alpha2"
    );
    assert_eq!(
        (&manifest["kind"], &manifest["metadata"]["name"]),
        (&"Plugin".into(), &"workspace".into())
    );
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(manifest["spec"]["version"], Value::from(version.clone()));
    let help = run(Command::new(plugins().join("kubectl-workspace")).arg("-h"));
    let about = help.stdout.lines().next().unwrap_or_default();
    let short = manifest["spec"]["shortDescription"]
        .as_str()
        .unwrap_or_default();
    assert_eq!(about, short, "it says of itself what the manifest says");
    let platforms = platforms(&manifest);
    let of = |it: &Value| {
        let labels = &it["selector"]["matchLabels"];
        format!(
            "{}-{}",
            labels["os"].as_str().unwrap_or(""),
            labels["arch"].as_str().unwrap_or("")
        )
    };
    let names: Vec<_> = platforms.iter().map(of).collect();
    assert_eq!(
        names,
        ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"]
    );
    for (platform, name) in platforms.iter().zip(names) {
        let uri = platform["uri"].as_str().unwrap_or_default();
        assert!(
            uri.ends_with(&format!("/{version}/workspace-operator-{name}.tar.gz")),
            "{uri}"
        );
        assert_eq!(platform["bin"], "workspace-operator");
    }
}

/// What `make krew` makes: the folder with the archive of this machine and a manifest for it.
fn built() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("krew");
    std::fs::remove_dir_all(&folder).ok();
    let made = run(Command::new(format!("{SOURCE}/deploy/krew/build.sh"))
        .env("BINARY", env!("CARGO_BIN_EXE_workspace-operator"))
        .env("OUT", &folder));
    assert_eq!(made.code, 0, "{made:?}");
    folder
}

#[tokio::test]
async fn krew_installs_it_and_kubectl_finds_it() {
    let world = World::new().await;
    let first = world.running(&["a"]).await;
    let krew = tokio::task::spawn_blocking(|| cluster::tool("krew")).await;
    let krew = krew.expect("it does not panic").expect("it is built");
    let folder = built();
    let root = folder.join("root");
    let archive = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .filter_map(|it| Some(it.ok()?.path()))
        .find(|it| it.to_string_lossy().ends_with(".tar.gz"))
        .expect("there is an archive");
    let installed = run(Command::new(&krew)
        .arg("install")
        .arg(format!(
            "--manifest={}",
            folder.join("workspace.yaml").display()
        ))
        .arg(format!("--archive={}", archive.display()))
        .env("KREW_ROOT", &root)
        .env("KREW_NO_UPGRADE_CHECK", "1"));
    assert_eq!(installed.code, 0, "{installed:?}");

    let kubectl = world.admin().with_plugins(&root.join("bin"));
    let mut status = kubectl.command(&["workspace", "status", "-n", &world.namespace]);
    let status = run(status.env("WORKSPACE_SETTINGS_NAMESPACE", &world.namespace));
    assert_eq!(status.code, 0, "{status:?}");
    assert_says(&status.stdout, &[&first]);
    let listed = run(&mut kubectl.command(&["plugin", "list"]));
    assert_says(&listed.stdout, &["kubectl-workspace"]);
}
