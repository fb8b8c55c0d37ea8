//! A registry on this machine, and a client of ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cluster::{Process, tool};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use tempfile::TempDir;
use workspace_operator::credentials::Login;
use workspace_operator::registry::{Client, Found, Options, Reference, Refusal};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What alice's password is, as `htpasswd -B` writes it.
const ALICE: &str = "alice:$2a$04$i7jRcB.w5JOcP7ZMK4d6LulA/9312ldNuXyu5l/FU2pV/bGP1UoQq\n";

/// A running registry.
pub struct Registry {
    /// Where it listens.
    pub host: String,
    /// What it stores, and its files.
    folder: PathBuf,
    process: Process,
    /// Of the one that made the folder.
    _owned: Option<TempDir>,
}

impl Registry {
    /// One that lets everybody do everything.
    pub async fn open() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = folder.path().to_owned();
        let mut registry = Self::start("127.0.0.1", &path, json!({})).await;
        registry._owned = Some(folder);
        registry
    }

    /// Another one over the same store, with more configuration.
    pub async fn beside(&self, config: Value) -> Self {
        Self::start("127.0.0.1", &self.folder, config).await
    }

    /// Another one over the same store, at another address of this machine.
    pub async fn at(&self, address: &str) -> Self {
        Self::start(address, &self.folder, json!({})).await
    }

    /// Another one over the same store that asks for alice's password, `secret`.
    pub async fn with_password(&self) -> Self {
        let file = self.folder.join("htpasswd");
        std::fs::write(&file, ALICE).expect("it is written");
        let htpasswd = json!({"realm": "the test", "path": file});
        self.beside(json!({"auth": {"htpasswd": htpasswd}})).await
    }

    /// Another one over the same store that speaks TLS, by an authority in the file returned.
    pub async fn with_tls(&self) -> (Self, PathBuf) {
        let (certificate, key, authority) = certificates(&self.folder);
        let tls = json!({"certificate": certificate, "key": key});
        let registry = self.beside(json!({"http": {"tls": tls}})).await;
        (registry, authority)
    }

    async fn start(address: &str, folder: &Path, config: Value) -> Self {
        let mut whole = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": folder.join("store")},
                "delete": {"enabled": true},
            },
            "http": {"addr": format!("{address}:0")},
        });
        merge(&mut whole, config);
        let file = tempfile::Builder::new()
            .suffix(".yaml")
            .tempfile_in(folder)
            .expect("a file")
            .keep()
            .expect("it is kept")
            .1;
        std::fs::write(&file, whole.to_string()).expect("it is written");
        let program = tokio::task::spawn_blocking(|| tool("registry")).await;
        let program = program.expect("it ends").expect("the registry is built");
        let mut command = Command::new(program);
        let process = Process::spawn(command.arg("serve").arg(&file)).expect("it starts");
        let sign = format!("listening on {address}:");
        let line = process.wait_for_line(&sign, PATIENCE).await;
        let line = line.expect("it listens");
        let port = line.split(&sign).nth(1).expect("a port");
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        Self {
            host: format!("{address}:{port}"),
            folder: folder.to_owned(),
            process,
            _owned: None,
        }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.lines().join("\n")
    }

    /// A reference there.
    pub fn reference(&self, rest: &str) -> Reference {
        reference(&self.host, rest)
    }
}

/// Adds objects into objects.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// A reference at a host.
pub fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().expect("a reference")
}

/// A certificate and its key for this machine, and the authority that made it.
pub fn certificates(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("an authority").pem();
    let issuer = Issuer::new(params, key);
    let names = ["127.0.0.1", "127.0.0.2"].map(str::to_owned).to_vec();
    let params = CertificateParams::new(names).expect("parameters");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("it is written");
        path
    };
    (
        write("server.crt", &certificate.pem()),
        write("server.key", &key.serialize_pem()),
        write("ca.crt", &authority),
    )
}

/// Options with a short deadline.
pub fn options() -> Options {
    Options {
        deadline: Duration::from_secs(20),
        ..Options::default()
    }
}

/// A client that trusts nobody in particular.
pub fn client() -> Client {
    Client::new(&options()).expect("a client")
}

/// A name and a password.
pub fn login(username: &str, password: &str) -> Login {
    Login::Password {
        username: username.into(),
        password: password.into(),
    }
}

/// Looks an image up for every platform.
pub async fn look_up(
    client: &Client,
    reference: &Reference,
    logins: &[Login],
) -> Result<Found, Refusal> {
    client.look_up(reference, logins, &|_| true).await
}
