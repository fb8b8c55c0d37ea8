//! The README against the code: its tables are those of the code.

use std::fs;
use std::path::Path;

use workspace_operator::metrics::{self, Kind};
use workspace_operator::settings::DOCUMENTED;
use workspace_operator::workspace;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between a mark and the next blank line but one: a mark, a blank line, a table.
fn table(mark: &str) -> String {
    let readme = file("README.md");
    let mark = format!("<!-- {mark} -->\n\n");
    let rest = readme
        .split_once(&mark)
        .unwrap_or_else(|| panic!("{mark:?} is missing"))
        .1;
    rest.split("\n\n").next().unwrap_or_default().to_owned()
}

fn assert_table(mark: &str, head: &str, rows: impl Iterator<Item = String>) {
    let columns = head.matches('|').count() - 1;
    let mut expected = format!("{head}\n|{}", "---|".repeat(columns));
    for row in rows {
        expected.push('\n');
        expected.push_str(&row);
    }
    let found = table(mark);
    assert!(
        found == expected,
        "after <!-- {mark} --> README.md must have this table:\n\n{expected}\n\nand not:\n\n{found}"
    );
}

#[test]
fn the_readme_has_every_setting() {
    let row = |it: &workspace_operator::settings::Documented| {
        format!("| `{}` | {} | {} |", it.key, it.meaning, it.default)
    };
    assert_table(
        "settings",
        "| key | meaning | default |",
        DOCUMENTED.iter().map(row),
    );
}

#[test]
fn the_readme_has_every_state() {
    let row = |(state, meaning): (String, String)| format!("| `{state}` | {meaning} |");
    let rows = workspace::reasons().into_iter().map(row);
    assert_table("reasons", "| state | meaning |", rows);
}

#[test]
fn the_readme_has_every_metric() {
    let row = |it: &metrics::Documented| {
        let kind = match it.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = it.labels.iter().map(|it| format!("`{it}`")).collect();
        let labels = labels.join(", ");
        format!("| `{}` | {kind} | {labels} | {}. |", it.name, it.meaning)
    };
    assert_table(
        "metrics",
        "| metric | kind | labels | meaning |",
        metrics::DOCUMENTED.iter().map(row),
    );
}

#[test]
fn the_readme_has_every_flag() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_workspace-operator"))
        .args(["run", "--help"])
        .output()
        .expect("the operator runs");
    let help = String::from_utf8(help.stdout).expect("help is text");
    let readme = file("README.md");
    let flags: Vec<_> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .collect();
    assert!(flags.len() > 5, "{help}");
    for flag in flags.iter().filter(|flag| **flag != "--help") {
        assert!(
            readme.contains(&format!("| `{flag}` |")),
            "{flag} is not in README.md"
        );
    }
    for variable in help.split("[env: ").skip(1) {
        let name = variable.split(['=', ']']).next().unwrap_or_default();
        assert!(
            readme.contains(&format!("`{name}`")),
            "{name} is not in README.md"
        );
    }
}

#[test]
fn the_readme_names_only_make_targets_that_exist() {
    let makefile = file("Makefile");
    for line in file("README.md").lines() {
        if let Some(target) = line
            .strip_prefix("make ")
            .and_then(|it| it.split(' ').next())
        {
            assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
        }
    }
}
