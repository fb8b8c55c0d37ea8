//! Which cluster and which namespace, as kubectl users say it.

use std::path::PathBuf;

use cluster::{Process, Signal};
use serde_json::json;
use tokio::net::TcpListener;

use crate::bed::{assert_says, command, run};
use crate::fixture::{PATIENCE, World};

/// The cluster's kubeconfig in a file of its own, with a context more that has this namespace.
fn kubeconfig(world: &World) -> PathBuf {
    let file = world
        .cluster
        .folder()
        .join(format!("{}.kubeconfig", world.namespace));
    std::fs::copy(world.cluster.kubeconfig(), &file).expect("it is copied");
    let path = file.display().to_string();
    let view = world.kubectl(&["config", "view", "-o", "json"]);
    let view: serde_json::Value = serde_json::from_str(&view).expect("it is JSON");
    let context = &view["contexts"][0]["context"];
    let part = |name: &str| format!("--{name}={}", context[name].as_str().unwrap_or_default());
    let namespace = format!("--namespace={}", world.namespace);
    // Not with the namespace of the world: kubectl 1.34 does not know -n here.
    let set = world.admin().must(&[
        "--kubeconfig",
        &path,
        "config",
        "set-context",
        "here",
        &part("cluster"),
        &part("user"),
        &namespace,
    ]);
    set.expect("the context is set");
    file
}

#[tokio::test]
async fn the_flags_and_the_environment_say_which_cluster_and_namespace() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let file = kubeconfig(&world).display().to_string();
    let status = |args: &[&str], kubeconfig: &str| {
        let args = [&["status", "-o", "json"], args].concat();
        let mut command = command(&world.admin(), &world.namespace, &args);
        let output = run(command.env("KUBECONFIG", kubeconfig));
        let told: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        (told["workspaces"].clone(), output)
    };
    let admin = world.cluster.kubeconfig().display().to_string();
    let missing = "/nowhere/kubeconfig";
    let one = json!(1);
    assert_eq!(
        status(&[], &admin).0,
        json!(0),
        "the namespace default has none"
    );
    assert_eq!(status(&["--namespace", &world.namespace], &admin).0, one);
    assert_eq!(
        status(&["--kubeconfig", &file, "--context", "here"], missing).0,
        one
    );
    assert_eq!(status(&["--kubeconfig", &file], missing).0, json!(0));
    assert_eq!(status(&["--context", "here"], &file).0, one);
    let both = format!("{missing}:{admin}:{file}");
    assert_eq!(
        status(&["--context", "here"], &both).0,
        one,
        "files that are missing are left out"
    );

    for (args, kubeconfig, words) in [
        (&["--context", "nowhere"][..], file.as_str(), "nowhere"),
        (&["--kubeconfig", missing], file.as_str(), missing),
        (&[], missing, missing),
    ] {
        let (_, output) = status(args, kubeconfig);
        assert_eq!(output.code, 2, "{output:?}");
        assert_says(&output.stderr, &["error: ", words]);
    }
}

#[tokio::test]
async fn ctrl_c_ends_the_wait_for_an_api_server_that_does_not_answer() {
    let world = World::without_operator().await;
    let file = kubeconfig(&world);
    let text = std::fs::read_to_string(&file).expect("it is there");
    let server = world.server().to_string();
    for args in [&["unpin", "codex"][..], &["pin", "codex"], &["pins"]] {
        // One for each: some of them make several connections.
        let hole = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let silent = hole.local_addr().expect("an address").to_string();
        std::fs::write(&file, text.replace(&server, &silent)).expect("it is written");
        let file = file.display().to_string();
        let args = [args, &["--kubeconfig", &file]].concat();
        let mut command = command(&world.admin(), &world.namespace, &args);
        let mut waiting = Process::spawn(&mut command).expect("kubectl starts");
        let _asked = hole.accept().await.expect("it is asked");
        waiting.signal(Signal::SIGINT).expect("it runs");
        let ended = waiting.wait(PATIENCE).await.expect("it ends");
        assert_eq!(ended.code(), Some(130), "{args:?}: {:?}", waiting.lines());
    }
}

#[tokio::test]
async fn an_api_server_that_is_not_there_is_no_answer() {
    let world = World::without_operator().await;
    let file = kubeconfig(&world);
    let text = std::fs::read_to_string(&file).expect("it is there");
    let server = world.server().to_string();
    std::fs::write(&file, text.replace(&server, "127.0.0.1:1")).expect("it is written");
    let file = file.display().to_string();
    for args in [
        &["status", "-A"][..],
        &["switch", "mirror.example.com/x", "--yes"],
        &["restart", "--all"],
    ] {
        let args = [args, &["--kubeconfig", &file]].concat();
        let output = run(&mut command(&world.admin(), &world.namespace, &args));
        assert_eq!(output.code, 2, "{output:?}");
        assert_says(&output.stderr, &["error: cannot list workspaces"]);
        assert!(output.stderr.contains("onnect"), "it says why: {output:?}");
    }
}
