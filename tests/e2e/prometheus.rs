//! A real Prometheus that scrapes operators.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Process, Signal};
use serde_json::{Value, json};

use crate::fixture::PATIENCE;

pub struct Prometheus {
    process: Process,
    url: String,
    promtool: PathBuf,
}

impl Prometheus {
    /// One with these targets, all in this namespace, and with the rules of these groups, if any.
    pub fn start(namespace: &str, targets: &[SocketAddr], groups: Option<&Value>) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(namespace);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let rules = json!({"groups": groups.unwrap_or(&json!([]))});
        let targets: Vec<_> = targets.iter().map(SocketAddr::to_string).collect();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{
                "job_name": "operator",
                "static_configs": [{"targets": targets, "labels": {"namespace": namespace}}],
            }],
        });
        let file = folder.join("prometheus.yml");
        fs::write(&file, config.to_string()).expect("it is written");
        fs::write(folder.join("rules.yml"), rules.to_string()).expect("it is written");
        let listen = free_address();
        let mut command = Command::new(cluster::tool("prometheus").expect("it is built"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={listen}"));
        Self {
            process: Process::spawn(&mut command).expect("it starts"),
            url: format!("http://{listen}"),
            promtool: cluster::tool("promtool").expect("it is built"),
        }
    }

    /// The result of a query at this moment; none while it does not serve yet.
    pub fn query(&self, query: &str) -> Vec<Value> {
        let output = Command::new(&self.promtool)
            .args(["query", "instant", "--format=json", &self.url, query])
            .output()
            .expect("promtool runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("bad_data"), "{query}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Waits until the result is so.
    pub async fn until(&self, query: &str, is: impl Fn(&[Value]) -> bool) {
        let start = Instant::now();
        loop {
            let found = self.query(query);
            if is(&found) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{query}: {found:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends it.
    pub async fn stop(&mut self) {
        self.process.signal(Signal::SIGTERM).expect("it runs");
        self.process.wait(PATIENCE).await.expect("it ends");
    }
}

/// The first value of a result.
pub fn value(found: &[Value]) -> Option<&str> {
    found.first()?["value"][1].as_str()
}

/// Prometheus cannot be told to take any port and say which.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has one").to_string()
}
