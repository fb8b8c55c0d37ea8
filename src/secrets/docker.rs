//! The credentials of a docker config, its helpers included.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::credentials::Login;

/// A helper that asks somebody for a password waits for nobody here.
const DEADLINE: Duration = Duration::from_secs(20);

const DOCKER_HUB: &str = "docker.io";
/// What docker calls it in its config.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// A docker config.
#[derive(Debug)]
pub struct Docker {
    path: PathBuf,
    text: Vec<u8>,
    /// What it has, by registry: a helper may ask somebody, and takes its time.
    known: Mutex<HashMap<String, Result<Vec<Login>, String>>>,
}

impl Docker {
    /// Reads a `config.json`, or the one in a folder.
    ///
    /// # Errors
    /// It cannot be read, or is no JSON.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let path = if path.is_dir() {
            path.join("config.json")
        } else {
            path.to_owned()
        };
        let shown = path.display();
        let text = std::fs::read(&path).with_context(|| format!("{shown} cannot be read"))?;
        let Ok(mut config @ Value::Object(_)) = serde_json::from_slice(&text) else {
            bail!("{shown} is no docker config: it is no JSON object");
        };
        remove_nulls(&mut config);
        Ok(Self {
            path,
            text: config.to_string().into_bytes(),
            known: Mutex::default(),
        })
    }

    /// What it has for a registry; nothing = as anybody. Of each registry, a helper is asked once.
    ///
    /// # Errors
    /// A helper fails or takes too long, or the entry cannot be decoded.
    pub async fn logins(&self, host: &str) -> Result<Vec<Login>, String> {
        let mut known = self.known.lock().await;
        if let Some(logins) = known.get(host) {
            return logins.clone();
        }
        let logins = self.read_out(host).await;
        known.insert(host.to_owned(), logins.clone());
        logins
    }

    async fn read_out(&self, host: &str) -> Result<Vec<Login>, String> {
        let text = self.text.clone();
        let key = match host {
            DOCKER_HUB => DOCKER_HUB_KEY,
            host => host,
        };
        let key = key.to_owned();
        let found = spawn_blocking(move || {
            docker_credential::get_credential_from_reader(text.as_slice(), &key)
        });
        let shown = self.path.display();
        let Ok(Ok(found)) = timeout(DEADLINE, found).await else {
            return Err(format!(
                "the credential helper of {shown} for {host} does not answer"
            ));
        };
        match found {
            Ok(DockerCredential::UsernamePassword(username, password)) => {
                Ok(vec![Login::Password { username, password }])
            }
            Ok(DockerCredential::IdentityToken(token)) => Ok(vec![Login::Identity(token)]),
            Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(Vec::new()),
            // As they say that they have none; docker goes on as anybody, too.
            Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
                if format!("{stdout}{stderr}").contains("credentials not found") =>
            {
                Ok(Vec::new())
            }
            // What a helper printed may be secret.
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                Err(format!("{helper}, which {shown} names for {host}, fails"))
            }
            Err(CredentialRetrievalError::ConfigReadError) => Err(format!(
                "{shown} is no docker config: what it has under auths, credsStore or credHelpers is \
                 not what belongs there"
            )),
            Err(error) => Err(format!(
                "{shown} has no usable credentials for {host}: {error}"
            )),
        }
    }
}

/// As for docker, null is nothing.
fn remove_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, it| !it.is_null());
        fields.values_mut().for_each(remove_nulls);
    }
}
