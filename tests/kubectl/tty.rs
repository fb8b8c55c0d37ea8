//! The plugin on a pseudo terminal.

use cluster::State;
use serde_json::json;

use crate::bed::{REGISTRY, assert_says};
use crate::fixture::World;
use crate::terminal::Terminal;

#[tokio::test]
async fn a_switch_asks_and_goes_by_the_answer() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    world.get_stuck(&first, &["b"]).await;
    let second = world.prefix("second");
    let question = "Switch? [y/N]";
    for answer in ["n\r", "\r", "what\r"] {
        let mut terminal = Terminal::start(&world.plugin_command(&["switch", &second]));
        terminal.shows(question).await;
        terminal.press(answer);
        assert_eq!(terminal.ends().await, 1, "{}", terminal.text());
        assert_says(
            &terminal.text(),
            &["stuck, and freed by it: 1", "not switched"],
        );
    }
    let mut terminal = Terminal::start(&world.plugin_command(&["switch", &second]));
    terminal.shows(question).await;
    terminal.interrupt();
    assert_eq!(terminal.ends().await, 130, "{}", terminal.text());
    assert_says(&terminal.text(), &["interrupted: nothing was edited"]);
    assert_eq!(world.named(), first);

    let mut terminal = Terminal::start(&world.plugin_command(&["switch", &second]));
    terminal.shows(question).await;
    terminal.press("y\r");
    assert_eq!(terminal.ends().await, 0, "{}", terminal.text());
    assert_says(
        &terminal.text(),
        &["Ready: 1 of 1", "All that were stuck are Ready: 1."],
    );
    assert_eq!(world.named(), second);
}

#[tokio::test]
async fn what_got_stuck_while_it_asked_is_followed_too() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    let second = world.prefix("second");
    let mut terminal = Terminal::start(&world.plugin_command(&["switch", &second]));
    terminal.shows("Switch? [y/N]").await;
    world.get_stuck(&first, &["b"]).await;
    terminal.press("y\r");
    assert_eq!(terminal.ends().await, 0, "{}", terminal.text());
    assert_says(
        &terminal.text(),
        &["freed by it: 0", "All that were stuck are Ready: 1."],
    );
}

/// One that is confirmed when somebody else has named another registry.
async fn a_late_switch_is_refused(world: &World) {
    let (second, third) = (world.prefix("second"), world.prefix("third"));
    let mut terminal = Terminal::start(&world.plugin_command(&["switch", &second]));
    terminal.shows("Switch? [y/N]").await;
    world.registry(&third);
    terminal.press("y\r");
    assert_eq!(terminal.ends().await, 1, "{}", terminal.text());
    assert_says(&terminal.text(), &["was edited meanwhile"]);
    assert_eq!(world.named(), third);
}

#[tokio::test]
async fn an_edit_that_came_in_between_is_not_overwritten() {
    let world = World::new().await;
    world.running(&["a"]).await;
    a_late_switch_is_refused(&world).await;

    // Nor are settings that were made in between.
    world.kubectl(&["delete", "configmap", "workspace-settings"]);
    a_late_switch_is_refused(&world).await;
}

#[tokio::test]
async fn ctrl_c_in_the_middle_of_a_switch_leaves_a_clean_terminal_and_a_way_on() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    world.get_stuck(&first, &["b"]).await;
    let second = world.prefix("second");
    world.turn(&second, State::Unauthorized).await;
    let mut terminal = Terminal::start(&world.plugin_command(&["switch", &second, "--yes"]));
    terminal.shows("Ready: 0 of 1").await;
    terminal.interrupt();
    assert_eq!(terminal.ends().await, 130, "{}", terminal.text());
    let text = terminal.text();
    assert_says(
        &text,
        &[
            "interrupted: the edit is made",
            "follow with kubectl workspace switch",
        ],
    );
    let last = text.trim_end().lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: interrupted"),
        "it has a line of its own: {last:?}"
    );
    assert_eq!(world.named(), second);

    world.turn(&second, State::Up).await;
    let mut terminal = Terminal::start(&world.plugin_command(&["switch", &second, "--yes"]));
    assert_eq!(terminal.ends().await, 0, "{}", terminal.text());
    world.ready("b").await;
}

#[tokio::test]
async fn colour_is_for_terminals_only_and_only_where_it_is_wanted() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    world.get_stuck(&first, &["b"]).await;
    const COLOUR: &str = "\x1b[3";
    let mut terminal = Terminal::start(&world.plugin_command(&["status"]));
    assert_eq!(terminal.ends().await, 1, "{}", terminal.text());
    assert!(terminal.text().contains(COLOUR), "{}", terminal.text());

    let mut plain = world.plugin_command(&["status"]);
    let mut terminal = Terminal::start(plain.env("NO_COLOR", "1"));
    assert_eq!(terminal.ends().await, 1, "{}", terminal.text());
    assert!(!terminal.text().contains(COLOUR), "{}", terminal.text());

    let piped = world.plugin(&["status"]);
    assert!(
        !piped.stdout.contains('\x1b') && !piped.stderr.contains('\x1b'),
        "{piped:?}"
    );
}

#[tokio::test]
async fn settings_that_somebody_makes_meanwhile_are_not_overwritten() {
    let world = World::new().await;
    world.in_force("ghcr.io/molecule-ai").await;
    let second = world.prefix("second");
    let settings = ["configmap", "workspace-settings"];
    for (key, value) in [
        (REGISTRY, world.prefix("first")),
        ("PLATFORM_URL", "http://p.example.com".to_owned()),
    ] {
        let mut terminal = Terminal::start(&world.plugin_command(&["switch", &second]));
        terminal.shows("Switch? [y/N]").await;
        let literal = format!("--from-literal={key}={value}");
        world.kubectl(&[&["create"][..], &settings, &[&literal]].concat());
        terminal.press("y\r");
        assert_eq!(terminal.ends().await, 1, "{}", terminal.text());
        assert_says(&terminal.text(), &["was edited meanwhile: look again"]);
        let data = world.get("configmap", "workspace-settings")["data"].clone();
        assert_eq!(data, json!({key: value}));
        world.kubectl(&[&["delete"][..], &settings].concat());
        world.in_force("ghcr.io/molecule-ai").await;
    }
}

#[tokio::test]
async fn a_terminal_has_a_bar_and_a_pipe_has_lines() {
    let world = World::new().await;
    world.running(&["a", "b"]).await;
    let mut terminal = Terminal::start(&world.plugin_command(&["restart", "--all"]));
    assert_eq!(terminal.ends().await, 0, "{}", terminal.text());
    assert!(terminal.text().contains('█'), "{}", terminal.text());
    let piped = world.plugin(&["restart", "--all"]);
    assert_eq!(piped.code, 0, "{piped:?}");
    assert!(
        !piped.stderr.contains('█') && !piped.stderr.contains('\r'),
        "{piped:?}"
    );
    assert_says(
        &piped.stderr,
        &[
            "restarted: 0 of 2",
            "restarted: 1 of 2",
            "restarted: 2 of 2",
        ],
    );
}

#[tokio::test]
async fn a_watch_paints_the_screen_anew() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let mut terminal = Terminal::start(&world.plugin_command(&["status", "--watch"]));
    terminal.shows("Workspaces: 1;").await;
    world.workspace("b", "{runtime: hermes}");
    terminal.shows("Workspaces: 2;").await;
    terminal.interrupt();
    assert_eq!(terminal.ends().await, 130);
    assert!(terminal.text().contains("\x1b[2J"), "{}", terminal.text());
}
