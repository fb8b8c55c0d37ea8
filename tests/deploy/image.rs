//! The image: built, pushed to a registry, pulled back, and run with nothing around it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cluster::{Cluster, Process};
use serde_json::{Value, json};

use crate::bed::{PATIENCE, SYSTEM, folder, get, installed, run, tool, until};
use crate::objects::{args, environment, kustomize};

/// Where the Workspaces of the shipped overlay are.
const NAMESPACE: &str = "agents";

/// A registry on this machine, and where it listens.
async fn registry(folder: &Path) -> (Process, String) {
    let config = json!({
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": folder.join("registry")}},
        "http": {"addr": "127.0.0.1:0"},
    });
    let file = folder.join("registry.yaml");
    std::fs::write(&file, config.to_string()).expect("it is written");
    let mut command = Command::new(tool("registry").await);
    let process = Process::spawn(command.arg("serve").arg(&file)).expect("the registry starts");
    let line = process
        .wait_for_line("listening on 127.0.0.1:", PATIENCE)
        .await;
    let line = line.expect("the registry listens");
    let port: String = line
        .split("listening on 127.0.0.1:")
        .nth(1)
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect())
        .expect("a port");
    (process, format!("127.0.0.1:{port}"))
}

/// `make image`, with the cluster's certificate authority as the only one that the image trusts.
/// Returns what is pushed, by its digest.
fn make(cluster: &Cluster, image: &str, out: &Path) -> String {
    let mut command = Command::new("make");
    command
        .args(["--silent", "image", &format!("IMAGE={image}")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // What a release does besides takes minutes.
        .env("PROFILE", "dev")
        .env("OUT", out)
        .env("CA_BUNDLE", cluster.folder().join("ca.crt"));
    let said = run(&mut command);
    assert!(said.contains(" MB to pull"), "{said}");
    let last = said.lines().last().expect("the reference");
    assert!(last.contains("@sha256:"), "{said}");
    last.to_owned()
}

/// The operator's own kubeconfig without a certificate authority, for the image has to bring it.
async fn kubeconfig(cluster: &Cluster, root: &Path) {
    let file = cluster
        .service_account_kubeconfig(SYSTEM, "workspace-operator")
        .await;
    let text = std::fs::read_to_string(file.expect("a token")).expect("the kubeconfig");
    let trusts = |line: &&str| line.contains("certificate-authority-data");
    assert!(text.lines().any(|line| trusts(&line)));
    let text: Vec<_> = text.lines().filter(|line| !trusts(line)).collect();
    std::fs::write(root.join("kubeconfig"), text.join("\n")).expect("it is written");
}

/// The container of the shipped Deployment, of an operator for one namespace.
fn shipped() -> Value {
    let mut objects = kustomize(&folder("overlays/namespaced"));
    let deployment = objects.get_mut("Deployment molecule-system/workspace-operator");
    deployment.expect("the Deployment")["spec"]["template"]["spec"]["containers"][0].take()
}

/// Runs what is in a folder as a container would: nothing else is there, nothing can be written, the
/// user is the image's, and args and environment are those of the Deployment.
fn contained(root: &Path, config: &Value, container: &Value) -> Process {
    let text = |field: &str| config["config"][field].as_str().expect(field).to_owned();
    let list = |field: &str| {
        let all = config["config"][field].as_array().expect(field);
        all.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let root = root.display().to_string();
    let is_root = run(Command::new("id").arg("-u")).trim() == "0";
    // Who is nobody special here is nobody special in there.
    let (unshare, user) = if is_root {
        ("--mount", format!("--userspec={}", text("User")))
    } else {
        ("--mount --map-root-user", String::new())
    };
    let script = format!(
        "mount --bind {root} {root} && mount -o remount,bind,ro {root} && \
         exec chroot {user} {root} \"$@\""
    );
    let mut command = Command::new("unshare");
    command
        .args(unshare.split(' '))
        .args(["sh", "-c", &script, "sh"]);
    command.args(list("Entrypoint")).args(args(container));
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    for variable in list("Env") {
        let (name, value) = variable.split_once('=').expect("a variable");
        if name != "PATH" {
            command.env(name, value);
        }
    }
    command
        .envs(environment(container, SYSTEM))
        .env("KUBECONFIG", "/kubeconfig");
    Process::spawn(&mut command).expect("unshare starts")
}

fn assert_described(config: &Value) {
    assert_eq!(config["os"], "linux");
    let architecture = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    assert_eq!(config["architecture"], architecture);
    let labels = &config["config"]["Labels"];
    let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("title"), "workspace-operator");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert!(label("revision").is_string());
    let user = config["config"]["User"].as_str().expect("a user");
    assert_eq!(user, "65532:65532");
}

/// The Dockerfile is for those who have an engine, which a test has not: it has to say the same.
fn assert_dockerfile_agrees(config: &Value) {
    let dockerfile = std::fs::read_to_string(folder("image/Dockerfile")).expect("the Dockerfile");
    let (build, image) = dockerfile.split_once("FROM scratch\n").expect("nothing");
    let image = image.replace(" \\\n      ", " ");
    let config = &config["config"];
    let label = |name: &str| {
        let value = &config["Labels"][format!("org.opencontainers.image.{name}")];
        format!("org.opencontainers.image.{name}={}", text(value))
    };
    let args = ["version=$VERSION", "revision=$REVISION"];
    let [version, revision] = args.map(|it| format!("org.opencontainers.image.{it}"));
    assert_eq!(config["Labels"].as_object().map(|it| it.len()), Some(4));
    let mut lines = vec![
        format!("ARG VERSION={}", env!("CARGO_PKG_VERSION")),
        "ARG REVISION=unknown".to_owned(),
        format!(
            "LABEL {} {version} {revision} {}",
            label("title"),
            label("licenses")
        ),
        format!("USER {}", text(&config["User"])),
        format!("ENTRYPOINT {}", config["Entrypoint"]),
        format!("CMD {}", config["Cmd"]),
    ];
    let all = config["Env"].as_array().expect("variables").iter();
    let own = all.map(text).filter(|it| !it.starts_with("PATH="));
    lines.extend(own.map(|it| format!("ENV {it}")));
    let ports = config["ExposedPorts"].as_object().expect("ports").keys();
    lines.extend(ports.map(|it| format!("EXPOSE {}", it.trim_end_matches("/tcp"))));
    for line in lines {
        assert!(image.lines().any(|it| it == line), "{line} in {dockerfile}");
    }
    let makefile = std::fs::read_to_string(folder("../Makefile")).expect("the Makefile");
    for (tool, variable) in [
        ("cargo-auditable", "AUDITABLE_VERSION"),
        ("auditable2cdx", "AUDITABLE2CDX_VERSION"),
    ] {
        let pinned = format!("{variable} := ");
        let pinned = makefile.lines().find_map(|it| it.strip_prefix(&pinned));
        let pinned = format!("{tool}@{}", pinned.expect("it is pinned"));
        assert!(build.contains(&pinned), "{pinned} in {dockerfile}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The list of what is in it, for those who scan.
fn assert_has_its_parts(sbom: &Path) {
    let text = std::fs::read_to_string(sbom).expect("the SBOM");
    let sbom: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    let parts = sbom["components"].as_array().expect("the components");
    for name in ["kube-client", "rustls", "tokio"] {
        assert!(parts.iter().any(|it| it["name"] == name), "{name}");
    }
    assert!(!parts.iter().any(|it| it["name"] == "proptest"));
}

/// Where the cluster assigns users, nothing in the image is theirs.
fn assert_open_to_anybody(root: &Path) {
    for (file, rights) in [
        ("workspace-operator", 0o5),
        ("etc/ssl/certs/ca-certificates.crt", 0o4),
    ] {
        let metadata = std::fs::metadata(root.join(file)).expect("it is there");
        let mode = metadata.permissions().mode();
        assert_eq!(mode & rights, rights, "{file}: {mode:o}");
    }
}

#[tokio::test]
async fn it_runs_with_nothing_around_it() {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    // Another test creates it as well.
    let created = kubectl.run(&["create", "namespace", NAMESPACE]);
    created.expect("kubectl runs");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    std::fs::remove_dir_all(&folder).ok();
    let root: PathBuf = folder.join("root");
    std::fs::create_dir_all(&root).expect("a folder");

    let (_registry, host) = registry(&folder).await;
    let image = format!("{host}/platform/workspace-operator:test");
    let reference = make(&cluster, &image, &folder.join("out"));
    assert_eq!(
        make(&cluster, &image, &folder.join("again")),
        reference,
        "not reproducible"
    );

    let crane = tool("crane").await;
    run(Command::new(&crane).args(["validate", "--remote", &reference]));
    let config = run(Command::new(&crane).args(["config", &reference]));
    let config: Value = serde_json::from_str(&config).expect("it is JSON");
    assert_described(&config);
    assert_dockerfile_agrees(&config);
    let tar = folder.join("root.tar");
    run(Command::new(&crane).args(["export", &reference]).arg(&tar));
    run(Command::new("tar")
        .arg("-xf")
        .arg(&tar)
        .arg("-C")
        .arg(&root));
    assert_has_its_parts(&root.join("sbom.cdx.json"));
    assert_open_to_anybody(&root);

    kubeconfig(&cluster, &root).await;
    let container = shipped();
    let operator = contained(&root, &config, &container);
    let workspace = "apiVersion: molecule.ai/v1alpha1\nkind: Workspace\n\
                     metadata: {name: image, namespace: agents}\nspec: {}\n";
    kubectl.apply(workspace).expect("the Workspace is applied");
    until("a Ready Workspace", || {
        let workspace = get(&kubectl, &["workspace", "image", "-n", NAMESPACE]);
        workspace["status"]["state"] == "Ready" || {
            let lines = operator.lines();
            assert!(
                !lines.iter().any(|it| it.contains("No such file")),
                "{lines:?}"
            );
            false
        }
    })
    .await;
    let began = said(&operator, "looking after Workspaces").await;
    assert_eq!(began["namespace"], NAMESPACE);
    assert_eq!(began["settings"], format!("{SYSTEM}/workspace-settings"));
    let serves = said(&operator, "serving metrics and health").await;
    let address = serves["address"].as_str().expect("an address");
    let address: SocketAddr = address.parse().expect("an address");
    for probe in ["livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str();
        let path = path.expect("a path");
        assert_eq!(status(address.port(), path), 200, "{path}");
    }
}

/// A line of its log.
async fn said(operator: &Process, words: &str) -> Value {
    let line = operator.wait_for_line(words, PATIENCE).await;
    serde_json::from_str(&line.expect("it says so")).expect("a line of JSON")
}

/// The status of what a probe asks for.
fn status(port: u16, path: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: probe\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.expect("a status")
}
