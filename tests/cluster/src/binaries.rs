//! The control plane's programs, and the tools that deploy to it: found, or built from the Go
//! modules pinned beside this crate.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Where each program of the control plane is.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The store.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The controllers.
    pub kube_controller_manager: PathBuf,
    /// The scheduler.
    pub kube_scheduler: PathBuf,
    /// The command-line client.
    pub kubectl: PathBuf,
    /// Plays the nodes.
    pub kwok: PathBuf,
}

struct Program {
    name: &'static str,
    /// The folder under `binaries/` whose go.mod pins it.
    module: &'static str,
    package: &'static str,
}

/// Which minor version of Kubernetes is built, as in `1.35`; without it the newest that is pinned.
const MINOR: &str = "KUBERNETES";
const KUBERNETES: &str = "kubernetes";
const PROMETHEUS: &str = "prometheus";

const PROGRAMS: [Program; 6] = [
    Program {
        name: "etcd",
        module: "etcd",
        package: "go.etcd.io/etcd/server/v3",
    },
    Program {
        name: "kwok",
        module: "kwok",
        package: "sigs.k8s.io/kwok/cmd/kwok",
    },
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// What deploys, what it deploys to, what looks at it, and what a real node is made of. Built when it
/// is asked for, as few tests need one.
const TOOLS: [Program; 14] = [
    Program {
        name: "helm",
        module: "helm",
        package: "helm.sh/helm/v4/cmd/helm",
    },
    Program {
        name: "crane",
        module: "crane",
        package: "github.com/google/go-containerregistry/cmd/crane",
    },
    Program {
        name: "registry",
        module: "registry",
        package: "github.com/distribution/distribution/v3/cmd/registry",
    },
    Program {
        name: "prometheus",
        module: PROMETHEUS,
        package: "github.com/prometheus/prometheus/cmd/prometheus",
    },
    Program {
        name: "promtool",
        module: PROMETHEUS,
        package: "github.com/prometheus/prometheus/cmd/promtool",
    },
    Program {
        name: "krew",
        module: "krew",
        package: "sigs.k8s.io/krew/cmd/krew",
    },
    Program {
        name: "health",
        module: "health",
        package: ".",
    },
    Program {
        name: "agent",
        module: "agent",
        package: ".",
    },
    Program {
        name: "containerd",
        module: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/containerd",
    },
    Program {
        name: "containerd-shim-runc-v2",
        module: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    },
    Program {
        name: "ctr",
        module: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/ctr",
    },
    Program {
        name: "coredns",
        module: "coredns",
        package: ".",
    },
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
];

const fn kubernetes(name: &'static str, package: &'static str) -> Program {
    Program {
        name,
        module: KUBERNETES,
        package,
    }
}

/// The programs, built first where they are missing or of another version.
///
/// A folder named by `KUBEBUILDER_ASSETS` is used for what it holds. `KUBERNETES=1.35` asks for that
/// minor version in place of the newest one that is pinned. The first build takes minutes and tells
/// its progress on stderr; later calls take milliseconds.
///
/// # Errors
/// When a program is missing and cannot be built.
pub fn ensure() -> Result<Binaries> {
    let found = locate(&PROGRAMS.each_ref())?;
    let [
        etcd,
        kwok,
        kube_apiserver,
        kube_controller_manager,
        kube_scheduler,
        kubectl,
    ] = <[PathBuf; 6]>::try_from(found).map_err(|_| anyhow::anyhow!("six programs expected"))?;
    Ok(Binaries {
        etcd,
        kube_apiserver,
        kube_controller_manager,
        kube_scheduler,
        kubectl,
        kwok,
    })
}

/// One of the tools, built first where it is missing or of another version: `helm`, `crane`,
/// `registry`, `prometheus`, `promtool` or `health`; or of the programs of a real node: `containerd`,
/// `containerd-shim-runc-v2`, `ctr`, `kubelet`, `kube-proxy` or `coredns`; and `agent`, which goes into
/// images.
///
/// # Errors
/// When there is no such tool, or it cannot be built.
pub fn tool(name: &str) -> Result<PathBuf> {
    let tool = TOOLS.iter().find(|tool| tool.name == name);
    let found = locate(&[tool.with_context(|| format!("{name} is none of the tools"))?])?;
    found.into_iter().next().context("one program expected")
}

/// Where the programs are, once they are there.
fn locate(programs: &[&Program]) -> Result<Vec<PathBuf>> {
    let folder = target_dir().join("control-plane");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    // Test processes start side by side; the first one builds, the others wait here.
    let lock = File::create(folder.join(".lock"))?;
    lock.lock()
        .context("waiting for another build of the control plane")?;

    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for program in programs {
        let given = assets.as_ref().map(|assets| assets.join(program.name));
        match given.filter(|path| path.is_file()) {
            Some(path) => found.push(path),
            None => {
                let path = folder.join(version_of(program)).join(program.name);
                if !is_current(program, &path)? {
                    missing.push((program, path.clone()));
                }
                found.push(path);
            }
        }
    }
    for (index, (program, path)) in missing.iter().enumerate() {
        // Not by eprintln, which a test keeps to itself: this takes minutes.
        let (name, count) = (program.name, missing.len());
        writeln!(io::stderr(), "building {name} ({} of {count}) …", index + 1).ok();
        build(program, path)?;
    }
    Ok(found)
}

/// The version of Kubernetes that is pinned, for example `v1.37.2`.
///
/// # Errors
/// When the pinning go.mod cannot be read.
pub fn kubernetes_version() -> Result<String> {
    let path = module_dir(KUBERNETES).join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| {
        let path = path.display();
        format!("{path} pins no version of Kubernetes; without {MINOR} in the environment the newest is taken")
    })?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .find_map(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .context("no version of k8s.io/kubernetes in binaries/kubernetes/go.mod")
}

/// The API version of MutatingAdmissionPolicies: they are stable from Kubernetes 1.36 on. Before, they
/// are a feature that [`crate::Cluster`] enables.
///
/// # Errors
/// When the pinning go.mod cannot be read.
pub fn mutating_admission() -> Result<&'static str> {
    let version = kubernetes_version()?;
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|it| it.parse::<u32>().ok());
    let is_stable = minor.is_none_or(|it| it >= 36);
    Ok(if is_stable { STABLE } else { BETA })
}

const STABLE: &str = "admissionregistration.k8s.io/v1";
const BETA: &str = "admissionregistration.k8s.io/v1beta1";

fn is_current(program: &Program, path: &Path) -> Result<bool> {
    let stamp = fs::read_to_string(stamp_path(path)).unwrap_or_default();
    Ok(path.is_file() && stamp == fingerprint(program)?)
}

fn build(program: &Program, path: &Path) -> Result<()> {
    // Built beside its place and moved there, so that a build cut short leaves no half.
    let unfinished = path.with_extension("unfinished");
    fs::create_dir_all(path.with_file_name(""))?;
    let output = Command::new("go")
        .args([
            "build",
            "-trimpath",
            "-ldflags",
            &linker_flags(program)?,
            "-tags",
            tags(program),
            "-o",
        ])
        .arg(&unfinished)
        .arg(program.package)
        .current_dir(module_dir(program.module))
        .env("CGO_ENABLED", "0")
        .output()
        .context("running go: the control plane's programs are built with Go 1.26 or newer")?;
    if !output.status.success() {
        bail!(
            "building {}: {}",
            program.name,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::rename(&unfinished, path)?;
    fs::write(stamp_path(path), fingerprint(program)?)?;
    Ok(())
}

/// What discovers targets in every cloud is most of Prometheus's build, and here its targets are named.
fn tags(program: &Program) -> &'static str {
    if program.module == PROMETHEUS {
        "remove_all_sd"
    } else {
        ""
    }
}

/// Clients refuse a server without a version, and only the linker can give it one.
fn linker_flags(program: &Program) -> Result<String> {
    let mut flags = "-s -w".to_owned();
    if program.module == KUBERNETES {
        let version = kubernetes_version()?;
        let mut parts = version.trim_start_matches('v').split('.');
        let (major, minor) = (parts.next(), parts.next());
        ensure!(minor.is_some(), "{version} is no version of Kubernetes");
        for (name, value) in [
            ("Version", Some(version.as_str())),
            ("Major", major),
            ("Minor", minor),
        ] {
            let value = value.unwrap_or_default();
            flags.push_str(&format!(
                " -X k8s.io/component-base/version.git{name}={value}"
            ));
        }
    }
    Ok(flags)
}

/// Changes with everything a build depends on.
fn fingerprint(program: &Program) -> Result<String> {
    let module = module_dir(program.module);
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        let path = module.join(file);
        // Most programs are a dependency of their module, and not its source.
        if file != "main.go" || path.is_file() {
            hash.update(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
        }
    }
    hash.update(program.package);
    hash.update(linker_flags(program)?);
    hash.update(tags(program));
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn stamp_path(path: &Path) -> PathBuf {
    path.with_extension("stamp")
}

fn module_dir(module: &str) -> PathBuf {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("binaries");
    match minor() {
        Some(minor) if module == KUBERNETES => modules.join(format!("{module}-{minor}")),
        _ => modules.join(module),
    }
}

/// The folder of a program, so that two versions have room beside each other.
fn version_of(program: &Program) -> String {
    let minor = minor().filter(|_| program.module == KUBERNETES);
    minor.unwrap_or_default()
}

fn minor() -> Option<String> {
    std::env::var(MINOR).ok()
}

fn target_dir() -> PathBuf {
    // The workspace's root is two folders up.
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_dir.ancestors().nth(2).unwrap_or(crate_dir);
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("target"),
    }
}
