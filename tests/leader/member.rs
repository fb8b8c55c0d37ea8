//! One of the two operators.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use cluster::{Cluster, Events, Mark, Process, Signal};
use jiff::Timestamp;
use proxy::{Ask, Fault, Proxy, Rule};

use crate::clock::Clock;
use crate::fixture::PATIENCE;
use crate::scrape::{SERVING, address};

pub struct Member {
    pub account: &'static str,
    pub proxy: Proxy,
    pub clock: Option<Clock>,
    kubeconfig: PathBuf,
    process: Option<Process>,
}

impl Member {
    /// One that uses this ServiceAccount. It has not been started yet.
    pub async fn new(cluster: &Cluster, namespace: &str, account: &'static str) -> Self {
        let direct = cluster.service_account_kubeconfig(namespace, account).await;
        let direct = direct.expect("the ServiceAccount has a token");
        let text = fs::read_to_string(&direct).expect("the kubeconfig is there");
        let server = text
            .split("https://")
            .nth(1)
            .and_then(|it| it.lines().next());
        let server = server
            .unwrap_or_default()
            .trim_matches(['"', '\'', ' ', '/']);
        let address = server.parse().expect("an address and a port");
        let proxy = Proxy::start(address, cluster.folder()).expect("the proxy starts");
        let kubeconfig = direct.with_extension("proxied");
        let text = text.replace(server, &proxy.address().to_string());
        fs::write(&kubeconfig, text).expect("the kubeconfig is written");
        Self {
            account,
            proxy,
            clock: None,
            kubeconfig,
            process: None,
        }
    }

    /// Gives it a clock of its own, from its next start on. Returns whether there are such clocks.
    pub fn take_clock(&mut self) -> bool {
        self.clock = Clock::new(&self.kubeconfig.with_extension("clock"));
        self.clock.is_some()
    }

    /// Starts it.
    pub fn start(&mut self, mut command: Command) {
        command
            .arg("--leader-elect")
            .args(SERVING)
            .env("KUBECONFIG", &self.kubeconfig);
        if let Some(clock) = &self.clock {
            command.envs(clock.environment());
        }
        self.process = Some(Process::spawn(&mut command).expect("the operator starts"));
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the operator runs")
    }

    pub fn signal(&mut self, signal: Signal) {
        self.process().signal(signal).expect("the operator runs");
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) {
        let ended = self.process().wait(PATIENCE).await;
        ended.expect("the operator ends");
        self.process = None;
    }

    /// Its log so far.
    pub fn log(&self) -> Vec<String> {
        self.process
            .as_ref()
            .map(Process::lines)
            .unwrap_or_default()
    }

    /// How many lines of its log have this text.
    pub fn says(&self, text: &str) -> usize {
        self.log().iter().filter(|it| it.contains(text)).count()
    }

    /// Waits until its log has this text.
    pub async fn logged(&mut self, text: &str) {
        let line = self.process().wait_for_line(text, PATIENCE).await;
        line.unwrap_or_else(|error| panic!("{}: {error:#}", self.account));
    }

    /// What it calls itself as a candidate.
    pub fn identity(&self) -> Option<String> {
        let log = self.log();
        let line = log.iter().find(|it| it.contains("standing for election"))?;
        let identity = line.split("identity=\"").nth(1)?.split('"').next()?;
        Some(identity.to_owned())
    }

    /// Where it serves metrics and health.
    pub fn serves(&self) -> SocketAddr {
        let log = self.log();
        let line = log.iter().find(|it| it.contains("serving metrics"));
        address(line.expect("it serves"))
    }

    /// Cuts it off from the API server, in what is asked and in what is shown.
    pub fn cut_off(&self) -> [Rule; 2] {
        let all = |_: &Ask| true;
        let silence = self.proxy.fault(Fault::Silence, all);
        [silence, self.proxy.fault(Fault::Hold, Ask::is_watch)]
    }

    /// Nobody hears what it asks about the Lease. All else goes on.
    pub fn cut_off_from_lease(&self) -> [Rule; 2] {
        self.of_lease(Fault::Silence)
    }

    /// The API server does not know who asks about the Lease. All else goes on.
    pub fn unknown_to_lease(&self) -> [Rule; 2] {
        self.of_lease(Fault::Answer(401, None))
    }

    fn of_lease(&self, fault: Fault) -> [Rule; 2] {
        let about = |ask: &Ask| ask.path.contains("/leases");
        [fault, Fault::Hold].map(|it| self.proxy.fault(it, about))
    }
}

/// Requests of one operator, and what of them matters here.
pub struct Deeds(Events);

impl Deeds {
    pub fn of(cluster: &Cluster, namespace: &str, account: &str, since: Mark) -> Self {
        let audit = cluster.audit().events_since(since);
        let events = audit.expect("the audit log is there");
        Self(events.by_service_account(namespace, account))
    }

    pub fn all(&self) -> &Events {
        &self.0
    }

    /// When each write came that is not about the Lease, and what it was.
    pub fn writes(&self) -> Vec<(Timestamp, String)> {
        let writes = self
            .0
            .iter()
            .filter(|it| it.is_write() && it.resource != "leases");
        let words = |it: &cluster::Event| {
            format!(
                "{} {}/{} {} {}",
                it.verb, it.resource, it.subresource, it.name, it.code
            )
        };
        writes.map(|it| (it.timestamp, words(it))).collect()
    }

    /// When it took or renewed the Lease, and whether it released it then.
    pub fn claims(&self) -> Vec<(Timestamp, bool)> {
        let claims = self
            .0
            .iter()
            .filter(|it| it.resource == "leases" && it.is_write() && it.succeeded());
        let released = |it: &cluster::Event| {
            let body = it.request_object.as_ref();
            body.is_some_and(|it| it["spec"]["holderIdentity"] == "")
        };
        claims.map(|it| (it.timestamp, released(it))).collect()
    }
}
