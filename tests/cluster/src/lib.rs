//! A real Kubernetes control plane on this machine, for tests, the demo and the benchmark.
//!
//! [`Cluster::start`] brings up etcd, kube-apiserver, kube-controller-manager,
//! kube-scheduler and kwok, which plays the nodes: Pods are scheduled and become Ready,
//! claims are bound, images fail to be pulled while [`Cluster::registry`] says so.
//! Nothing of it survives the [`Cluster`], or the process that holds it.
//!
//! A Pod's annotation `kwok/behaviour` makes its first container misbehave, and can be
//! set, changed and removed at any time:
//!
//! | value | what the node shows |
//! |---|---|
//! | `crash` | runs half a second, then `CrashLoopBackOff`, over and over |
//! | `missing-config` | waits with `CreateContainerConfigError` |
//! | `no-volume` | `ContainerCreating` with `PodReadyToStartContainers` False |
//! | `not-ready` | runs, but is not ready |
//! | `fail` | runs one second, then the Pod's phase is `Failed` |
//! | `evict` | the Pod's phase becomes `Failed` with reason `Evicted` |
//! | `stuck-terminating` | a deletion never ends |

mod audit;
mod binaries;
mod bootstrap;
mod cluster;
mod components;
mod controls;
mod kubectl;
mod nodes;
mod pki;
mod process;
mod restart;
mod stages;
mod terminal;
mod watchdog;

pub use audit::{Audit, Event, Events, Mark};
pub use binaries::{Binaries, ensure, mutating_admission, tool};
pub use cluster::{Cluster, Options, client_for};
pub use kubectl::{Kubectl, Output};
pub use process::{Process, Signal};
pub use restart::Server;
pub use stages::State;
pub use terminal::{Terminal, typed};

/// Says that a test cannot run on this machine, and why. Where nobody watches (`CI`) that is no pass:
/// there it has to be left out by its name.
///
/// # Panics
/// In CI.
pub fn cannot_run(why: &str) {
    let unwatched = std::env::var("CI").is_ok_and(|it| !["", "0", "false"].contains(&&*it));
    assert!(
        !unwatched,
        "{why}; to leave it out, name it: make test SKIP=…"
    );
    println!("SKIPPED: {why}");
}
