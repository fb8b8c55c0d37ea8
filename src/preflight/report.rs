//! What was found out, as values: for the table, for scripts, and for the switch.

use std::fmt;

use serde::Serialize;

/// Whether all is there.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Every image is there.
    Yes,
    /// It could not be told of every image, and none is known to be missing.
    Unknown,
    /// At least one image cannot be pulled.
    No,
}

/// What became of the question for one image.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum Finding {
    /// It is there.
    Present,
    /// It is there, but under this tag is other content than what runs now.
    Different,
    /// It is there, but in part, or for no node that one of those who need it can be on.
    Unusable,
    /// The registry does not have it.
    Missing,
    /// The registry refuses the credentials that the Pods would use.
    Denied,
    /// The registry did not answer, or not to the question.
    Unreachable,
    /// What the nodes would be told cannot be told from here: they have credentials of their own, or
    /// the Pods' cannot be read.
    CannotTell,
}

impl Finding {
    /// What it means for the whole.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Finding::Present | Finding::Different => Verdict::Yes,
            Finding::Unusable | Finding::Missing | Finding::Denied => Verdict::No,
            Finding::Unreachable | Finding::CannotTell => Verdict::Unknown,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Finding::Present => "present",
            Finding::Different => "different",
            Finding::Unusable => "unusable",
            Finding::Missing => "missing",
            Finding::Denied => "denied",
            Finding::Unreachable => "unreachable",
            Finding::CannotTell => "cannot tell",
        })
    }
}

/// How the content under a tag compares with what runs now.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// The bytes are the same.
    Same,
    /// What runs is known by a digest that neither registry explains.
    CannotTell,
    /// They are not.
    Different,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Content::Same => "same",
            Content::Different => "different",
            Content::CannotTell => "cannot tell",
        })
    }
}

/// One image, asked for with the credentials of those that need it.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The runtime.
    pub runtime: String,
    /// The reference that a Pod would be told.
    pub image: String,
    /// What was found.
    pub finding: Finding,
    /// Why, or what to know about it; empty where there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// How long the registry asks not to be asked, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// The digest of what is there: of the index, where there are several platforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What a node has to download, in bytes; of several platforms the largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What it is built for, as in `linux/amd64`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// What the nodes are that those who need it can be on, and for which it is not built.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
    /// How it compares with what runs now; absent where nothing of it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The Workspaces that need it, as `namespace/name`.
    pub workspaces: Vec<String>,
}

/// All that was found out.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether every image is there.
    pub verdict: Verdict,
    /// The prefix that was looked under.
    pub registry: String,
    /// The prefix in force, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force: Option<String>,
    /// Every image that is needed.
    pub images: Vec<Row>,
    /// How far a switch to this prefix is prepared, where the settings say that one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepared: Option<String>,
    /// What else to know before a switch, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Report {
    /// Whether every image is there.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}
