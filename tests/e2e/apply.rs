//! Workspaces that are kept in files: what kubectl makes of them, and what the tools of GitOps do.

use std::path::{Path, PathBuf};

use crate::fixture::{World, uid};

const ALICE: &str = "\
apiVersion: molecule.ai/v1alpha1
kind: Workspace
metadata:
  name: alice
  labels: {team: files}
spec:
  runtime: codex
  env:
    - name: LOG_LEVEL
      value: info
    - name: TOKEN
      valueFrom: {secretKeyRef: {name: model, key: token}}
  resources:
    requests: {cpu: 100m, memory: 0.25Gi}
  tolerations:
    - key: agents
      operator: Exists
";

/// A file of the folder that belongs to this world.
fn file(world: &World, name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&world.namespace);
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

#[tokio::test]
async fn what_is_applied_again_or_by_another_tool_differs_in_nothing_and_moves_nothing() {
    let mut world = World::new().await;
    let path = file(&world, "alice.yaml", ALICE);
    let path = text(&path);
    world.kubectl(&["apply", "-f", path]);
    world.ready("alice").await;
    let before = world.versions(&["alice"]);
    world.forget();

    // They fail where there is a difference.
    world.kubectl(&["diff", "-f", path]);
    let server_side = ["--server-side", "--field-manager=a-gitops-tool"];
    let other = [&server_side[..], &["--force-conflicts", "-f", path]].concat();
    world.kubectl(&[&["diff"][..], &other].concat());
    let again = world.kubectl(&["apply", "-f", path]);
    assert!(again.contains("unchanged"), "{again}");
    assert_eq!(world.versions(&["alice"]), before);
    // It adopts what is there: from now on two tools own the same fields.
    world.kubectl(&[&["apply"][..], &other].concat());
    world.kubectl(&["diff", "-f", path]);
    world.silence(2).await;
    let pod = world.get("pod", "alice");
    let of = |it: &serde_json::Value| uid(it).to_owned();
    assert!(before.iter().any(|it| it.contains(&of(&pod))), "{before:?}");
}

#[tokio::test]
async fn what_is_no_longer_in_the_files_is_pruned_and_its_pod_goes() {
    let world = World::new().await;
    let alice = file(&world, "alice.yaml", ALICE);
    let bob = ALICE.replace("alice", "bob");
    let both = file(&world, "both.yaml", &format!("{ALICE}---\n{bob}"));
    world.kubectl(&["apply", "-f", text(&both)]);
    for name in ["alice", "bob"] {
        world.ready(name).await;
    }
    let prune = [
        "--prune",
        "-l",
        "team=files",
        "--prune-allowlist=molecule.ai/v1alpha1/Workspace",
    ];
    let apply = ["apply", "-f", text(&alice)];
    let pruned = world.kubectl(&[&apply[..], &prune].concat());
    assert!(
        pruned.contains("bob pruned") || pruned.contains("\"bob\" pruned"),
        "{pruned}"
    );
    world.gone("pod", "bob").await;
    world.ready("alice").await;
}

#[tokio::test]
async fn what_is_no_longer_in_a_set_of_files_is_pruned_by_the_set() {
    let world = World::new().await;
    let alice = file(&world, "alice.yaml", ALICE);
    let bob = ALICE.replace("alice", "bob");
    let both = file(&world, "both.yaml", &format!("{ALICE}---\n{bob}"));
    let apply = |path: &Path| {
        let of = ["-n", &world.namespace, "apply", "-f", text(path)];
        let set = ["--prune", "--applyset=agents"];
        let mut apply = world.admin().command(&[&of[..], &set].concat());
        let output = apply.env("KUBECTL_APPLYSET", "true").output();
        let output = output.expect("kubectl runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    apply(&both);
    let kept = world.ready("alice").await;
    world.ready("bob").await;
    let pruned = apply(&alice);
    assert!(
        pruned.contains("workspace.molecule.ai/bob pruned"),
        "{pruned}"
    );
    world.gone("pod", "bob").await;
    assert_eq!(uid(&world.ready("alice").await), uid(&kept));
}

#[tokio::test]
async fn what_was_made_by_hand_is_adopted_by_the_files_and_runs_on() {
    let mut world = World::new().await;
    let path = file(&world, "alice.yaml", ALICE);
    world.kubectl(&["create", "-f", text(&path)]);
    world.ready("alice").await;
    let pod = world.versions(&["alice"]).pop();
    world.forget();
    world.kubectl(&["apply", "-f", text(&path)]);
    world.kubectl(&["diff", "-f", text(&path)]);
    world.silence(2).await;
    assert_eq!(world.versions(&["alice"]).pop(), pod, "nothing touched it");
    // From now on what is taken out of the file is taken out of the Workspace.
    let less = ALICE.replace("    - name: LOG_LEVEL\n      value: info\n", "");
    assert_ne!(less, ALICE);
    let less = file(&world, "alice.yaml", &less);
    world.kubectl(&["apply", "-f", text(&less)]);
    let env = world.get("workspace", "alice")["spec"]["env"].take();
    let names: Vec<_> = env.as_array().into_iter().flatten().collect();
    assert_eq!(names.len(), 1, "{env}");
    assert_eq!(names[0]["name"], "TOKEN");
}
