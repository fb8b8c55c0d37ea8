//! What an operator serves over HTTP, and how to read it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The flags with which an operator serves on a free port, which its log names.
pub const SERVING: [&str; 2] = ["--metrics-address", "127.0.0.1:0"];

/// The address in its log.
pub fn address(line: &str) -> SocketAddr {
    let address = line
        .split("address=")
        .nth(1)
        .and_then(|it| it.split(' ').next());
    address.unwrap_or_default().parse().expect("an address")
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub text: String,
}

/// Asks for a path, and for this format.
pub fn get(address: SocketAddr, path: &str, accept: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).expect("it is not zero");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, text) = answer.split_once("\r\n\r\n").expect("there is a body");
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let kind = head
        .lines()
        .find_map(|it| it.strip_prefix("content-type: "));
    Answer {
        status: status.expect("a status"),
        kind: kind.unwrap_or_default().to_owned(),
        text: text.to_owned(),
    }
}

/// A scrape in the text format.
#[derive(Debug)]
pub struct Scrape(pub String);

impl Scrape {
    pub fn of(address: SocketAddr) -> Self {
        let answer = get(address, "/metrics", "*/*");
        assert_eq!(answer.status, 200, "{}", answer.text);
        Self(answer.text)
    }

    /// The value of one time series, written as in the exposition; 0 when there is none.
    pub fn value(&self, series: &str) -> f64 {
        let line = self
            .0
            .lines()
            .find_map(|it| it.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |it| it.parse().expect("a number"))
    }

    /// The sum over all time series of a metric that have these words in them.
    pub fn sum(&self, name: &str, words: &[&str]) -> f64 {
        let of = |line: &&str| {
            let named = line
                .strip_prefix(name)
                .is_some_and(|it| it.starts_with(['{', ' ']));
            named && words.iter().all(|it| line.contains(it))
        };
        let values = self
            .0
            .lines()
            .filter(of)
            .filter_map(|it| it.rsplit(' ').next());
        values.map(|it| it.parse::<f64>().expect("a number")).sum()
    }

    /// The kind of each metric, its help, and the names of its labels.
    pub fn families(&self) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
        let mut families = BTreeMap::<String, (String, String, BTreeSet<String>)>::new();
        let mut current = String::new();
        for line in self.0.lines() {
            if let Some((name, help)) = line
                .strip_prefix("# HELP ")
                .and_then(|it| it.split_once(' '))
            {
                current = name.to_owned();
                families.entry(current.clone()).or_default().1 = help.to_owned();
            } else if let Some(kind) = line.strip_prefix(&format!("# TYPE {current} ")) {
                families.entry(current.clone()).or_default().0 = kind.to_owned();
            } else if let Some((_, labels)) = line.split_once('{') {
                let labels = labels.rsplit_once('}').map_or("", |it| it.0);
                let names = labels
                    .split("\",")
                    .filter_map(|it| it.split_once('='))
                    .map(|it| it.0);
                let names = names.filter(|it| *it != "le").map(str::to_owned);
                families.entry(current.clone()).or_default().2.extend(names);
            }
        }
        families
    }
}
