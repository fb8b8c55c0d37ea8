//! Who is in the story: nine Workspaces, one a runtime, and one that comes during the outage.

/// The name and the runtime of each.
pub const FLEET: [(&str, &str); 9] = [
    ("planner", "autogen"),
    ("reviewer", "claude-code"),
    ("coder", "codex"),
    ("scout", "crewai"),
    ("researcher", "deepagents"),
    ("writer", "gemini-cli"),
    ("courier", "hermes"),
    ("triage", "langgraph"),
    ("gardener", "openclaw"),
];

/// The one whose Pod is lost while the registry is suspended.
pub const LOST: &str = "coder";
/// The one that is created while the registry is suspended, and its runtime.
pub const NEWCOMER: (&str, &str) = ("newcomer", "claude-code");
/// The two that the outage stops.
pub const STUCK: [&str; 2] = [LOST, NEWCOMER.0];
/// The one whose image the mirror lacks at first.
pub const UNMIRRORED: &str = "courier";
/// The one that is restarted after the switch.
pub const RESTARTED: &str = "writer";
/// The one that is suspended and resumed after the switch.
pub const RESUMED: &str = "gardener";

pub fn names() -> impl Iterator<Item = &'static str> {
    FLEET.iter().map(|(name, _)| *name)
}

pub fn runtime(name: &str) -> &'static str {
    let found = FLEET.iter().chain([&NEWCOMER]).find(|it| it.0 == name);
    found.map_or("unknown", |(_, runtime)| runtime)
}

/// The image that a Workspace of the story has from a registry prefix.
pub fn image(prefix: &str, name: &str) -> String {
    format!("{prefix}/workspace-template-{}:latest", runtime(name))
}

/// A Workspace as it is written by hand.
pub fn yaml(name: &str) -> String {
    format!(
        "apiVersion: molecule.ai/v1alpha1\n\
         kind: Workspace\n\
         metadata: {{name: {name}}}\n\
         spec: {{runtime: {}}}\n",
        runtime(name)
    )
}
