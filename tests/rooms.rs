//! The house: every file belongs to a room of the table in `src/lib.rs`, and imports go down that
//! table only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rooms, from the top to the bottom.
fn rooms() -> Vec<String> {
    let lib = read(&source().join("lib.rs"));
    let row = |line: &str| Some(line.strip_prefix("//! | [`")?.split_once('`')?.0.to_owned());
    lib.lines().filter_map(row).collect()
}

/// Every source file but tests, with the room that it belongs to.
fn files() -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_stem()
                .and_then(|it| it.to_str())
                .expect("a name")
                .to_owned();
            if name == "tests" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(source()).expect("below src");
            let top = inside
                .iter()
                .next()
                .and_then(|it| it.to_str())
                .expect("a name");
            files.push((top.trim_end_matches(".rs").to_owned(), path));
        }
    }
    files
}

/// The rooms that a file names, tests at its end aside.
fn imports(path: &Path) -> BTreeSet<String> {
    let text = read(path);
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let without_docs = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    named(&without_docs.collect::<Vec<_>>().join("\n"), "crate::")
}

/// What code names of a crate, a module or a type: `a` in `crate::a::b`, `a` and `b` in
/// `crate::{a, b::{c, d}}`.
fn named(code: &str, of: &str) -> BTreeSet<String> {
    let items = code.split(of).skip(1);
    let items = items.flat_map(|rest| match rest.strip_prefix('{') {
        Some(group) => members(group),
        None => vec![rest.to_owned()],
    });
    let first = |item: String| {
        let end = |c: char| !c.is_alphanumeric() && c != '_';
        item.trim().split(end).next().unwrap_or_default().to_owned()
    };
    let names = items.map(first);
    names.filter(|it| !it.is_empty() && *it != "self").collect()
}

/// What stands between the commas of a group, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut members = vec![String::new()];
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => members.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                members.last_mut().expect("one at least").push(c);
            }
        }
    }
    members
}

#[test]
fn what_is_named_in_groups_is_seen() {
    let code = "use crate::{self, a, b::{c, d},\n    e::f};\nuse crate::g::{h};\ncrate::i::j();";
    let all: Vec<_> = named(code, "crate::").into_iter().collect();
    assert_eq!(all, ["a", "b", "e", "g", "i"]);
}

#[test]
fn imports_go_down_the_table_only() {
    let rooms = rooms();
    assert!(rooms.len() > 10, "the table was not found: {rooms:?}");
    let floor = |room: &str| rooms.iter().position(|it| it == room);
    for (room, path) in files() {
        if ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        let here = floor(&room).unwrap_or_else(|| panic!("{room} is not in the table of lib.rs"));
        for import in imports(&path) {
            let there = floor(&import).unwrap_or_else(|| panic!("{import} is no room"));
            assert!(
                there >= here,
                "{} imports {import}, which is above it",
                path.display()
            );
        }
    }
}

#[test]
fn the_core_knows_no_client_no_clock_and_no_log() {
    let pure = [
        "digests",
        "overview",
        "moves",
        "plan",
        "proof",
        "credentials",
        "volume",
        "pod",
        "seen",
        "revision",
        "pull",
        "resolver",
        "fleet",
        "settings",
        "names",
    ];
    let words = [
        "kube::Client",
        "kube::Api",
        "tokio",
        "tracing",
        "Timestamp::now",
        "std::fs",
        "std::env",
        "Instant::now",
        "SystemTime",
    ];
    // The plugin's judgements, and what a step asks for and an answer means, in rooms that do else.
    let judgements = [
        ("kubectl", "forecast.rs"),
        ("kubectl", "gitops.rs"),
        ("kubectl", "pace.rs"),
        ("kubectl", "survey.rs"),
        ("apply", "answer.rs"),
        ("apply", "request.rs"),
    ];
    for (room, path) in files() {
        let is_judgement = |(of, name): &(&str, &str)| room == *of && path.ends_with(name);
        let is_judgement = judgements.iter().any(is_judgement);
        if pure.contains(&room.as_str()) || is_judgement {
            let text = read(&path);
            for word in words {
                let is_used = match word.split_once("::") {
                    Some((of, name)) => named(&text, &format!("{of}::")).contains(name),
                    None => text.contains(word),
                };
                assert!(!is_used, "{} uses {word}", path.display());
            }
        }
    }
}

/// What depends on the version of Kubernetes is tried on each of them.
#[test]
fn the_matrix_has_every_suite_that_starts_a_cluster() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let script = read(&tests.join("matrix.sh"));
    let suites = script.lines().find_map(|it| it.strip_prefix("suites=("));
    let suites = suites.expect("the suites").trim_end_matches(')');
    let starts_a_cluster = |suite: &Path| {
        let files = fs::read_dir(suite).expect("a folder");
        let mut files = files.map(|it| it.expect("an entry").path());
        let words = ["Cluster::start(", "e2e/fixture.rs"];
        files.any(|it| it.is_file() && words.iter().any(|word| read(&it).contains(word)))
    };
    let folders = fs::read_dir(&tests).expect("a folder");
    let folders = folders.map(|it| it.expect("an entry").path());
    let suite = folders.filter(|it| it.join("main.rs").exists() && starts_a_cluster(it));
    let name = |it: PathBuf| it.file_name().map(|it| it.to_string_lossy().into_owned());
    let expected: BTreeSet<_> = suite.filter_map(name).collect();
    let found = suites.split(' ').map(str::to_owned);
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn no_room_has_become_a_storey() {
    for (_, path) in files() {
        let lines = read(&path).lines().count();
        assert!(
            lines <= 500,
            "{} has {lines} lines: a room is missing",
            path.display()
        );
    }
}
