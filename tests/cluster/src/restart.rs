//! Servers that die and come back.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::bootstrap::{self, until};
use crate::cluster::Cluster;

/// A server that can be restarted while the cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    Apiserver,
}

impl Cluster {
    /// Kills a server without a warning, leaves it down for that long, and starts it again with
    /// the same flags on the same data. Returns when the API server is ready.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn restart(&self, server: Server, down: Duration) -> Result<()> {
        let name = match server {
            Server::Etcd => "etcd",
            Server::Apiserver => "kube-apiserver",
        };
        self.with_child(name, |child| {
            child.kill()?;
            child.wait()?;
            Ok(())
        })?;
        tokio::time::sleep(down).await;
        let (launcher, options) = (self.launcher(), &self.options);
        let started = match server {
            Server::Etcd => launcher.etcd(&self.binaries.etcd, self.ports, options.fsync)?,
            Server::Apiserver => {
                launcher.apiserver(&self.binaries.kube_apiserver, self.ports, options)?
            }
        };
        self.with_child(name, |child| {
            *child = started;
            Ok(())
        })?;
        let client = self.client().await?;
        let alive = || self.check_alive();
        until("the API server", alive, || bootstrap::is_serving(&client))
            .await
            .with_context(|| format!("after the restart of {name}"))
    }
}
