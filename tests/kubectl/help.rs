//! What the plugin says of itself: by kubectl, to a shell that completes, and under its other name.

use std::process::Command;

use cluster::Output;

use crate::bed::{assert_says, plugins, run};

const COMMANDS: [&str; 9] = [
    "status",
    "preflight",
    "switch",
    "restart",
    "suspend",
    "resume",
    "pin",
    "unpin",
    "pins",
];

fn plugin(args: &[&str]) -> Output {
    run(Command::new(plugins().join("kubectl-workspace")).args(args))
}

#[test]
fn every_command_has_an_example_and_says_its_exit_codes() {
    let help = plugin(&["--help"]);
    assert_eq!(help.code, 0, "{help:?}");
    assert_says(&help.stdout, &COMMANDS);
    assert_says(
        &help.stdout,
        &["Usage: kubectl workspace", "Examples:", "Exit codes:"],
    );
    for command in COMMANDS {
        let help = plugin(&[command, "--help"]);
        assert_eq!(help.code, 0, "{help:?}");
        let usage = format!("Usage: kubectl workspace {command}");
        let example = format!("kubectl workspace {command} ");
        let flags = [
            "--kubeconfig",
            "--context",
            "--namespace",
            "--output",
            "- json:",
        ];
        assert_says(
            &help.stdout,
            &[&usage, &example, "Examples:", "Exit codes:"],
        );
        assert_says(&help.stdout, &flags);
        // Those that are about the settings look at all who go by them.
        let words: Vec<_> = help.stdout.split_whitespace().collect();
        let namespace = "The namespace of the Workspaces [default: that of the context; for preflight, \
                         switch, pin and pins: all]";
        assert_says(&words.join(" "), &[namespace]);
        let short = plugin(&[command, "-h"]);
        assert_says(&short.stdout, &["Examples:"]);
    }
    let none = plugin(&[]);
    assert_eq!(none.code, 2, "{none:?}");
}

#[test]
fn the_operator_is_the_plugin_under_a_command_too() {
    let help = run(Command::new(env!("CARGO_BIN_EXE_workspace-operator"))
        .args(["kubectl", "status", "--help"]));
    assert_eq!(help.code, 0, "{help:?}");
    assert_says(&help.stdout, &["--outdated", "Examples:"]);
}

/// The candidates for the last of these words, as kubectl gets them.
fn candidates(words: &[&str]) -> Vec<String> {
    let output = run(Command::new(plugins().join("kubectl_complete-workspace")).args(words));
    assert_eq!(output.code, 0, "{output:?}");
    let (candidates, sign) = output
        .stdout
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or_default();
    assert_eq!(sign, ":4", "{output:?}");
    let word = |it: &str| it.split('\t').next().unwrap_or_default().to_owned();
    candidates.lines().map(word).collect()
}

#[test]
fn a_shell_completes_commands_flags_and_values() {
    let commands = candidates(&[""]);
    for command in COMMANDS {
        assert!(commands.contains(&command.to_owned()), "{commands:?}");
    }
    assert_eq!(candidates(&["sw"]), ["switch"]);
    assert_eq!(candidates(&["status", "--outd"]), ["--outdated"]);
    assert_eq!(candidates(&["status", "-o", ""]), ["table", "json", "yaml"]);
    assert_eq!(candidates(&["status", "--output", "j"]), ["json"]);
}
