//! What is wrong with a value, as sentences that stay the same for as long as the value does.

use std::fmt::{self, Write as _};

/// How much of a value is quoted, in characters.
const QUOTED: usize = 80;

/// How many errors are told in full; a broken file need not fill a log or a ConfigMap.
const TOLD: usize = 10;

/// What is wrong with one value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Follows "which", as in "has a scheme".
    pub(super) wrong: String,
    /// An instruction, as in "write ghcr.io/molecule-ai".
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(wrong: impl Into<String>, remedy: impl Into<String>) -> Self {
        Fault {
            wrong: wrong.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.wrong, self.remedy)
    }
}

impl std::error::Error for Fault {}

/// One setting that is wrong: one sentence that names the key, the value, the fault and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct SettingsError {
    key: String,
    sentence: String,
}

impl SettingsError {
    /// `place` introduces the value and names the key, as in "PLATFORM_URL is".
    pub(super) fn new(key: &str, place: &str, value: &str, fault: &Fault) -> Self {
        SettingsError {
            key: key.to_owned(),
            sentence: format!("{place} {}, which {fault}.", quote(value)),
        }
    }

    /// The key of the setting.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Settings that are not in force because something in them is wrong. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(Vec<SettingsError>);

impl Invalid {
    /// `None` when there is no error.
    pub(super) fn new(errors: Vec<SettingsError>) -> Option<Self> {
        (!errors.is_empty()).then_some(Invalid(errors))
    }

    /// Every error, in a stable order.
    pub fn errors(&self) -> &[SettingsError] {
        &self.0
    }
}

impl fmt::Display for Invalid {
    /// The sentences of the errors, of the first ten where there are more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().take(TOLD).enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{error}")?;
        }
        match self.0.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, " There are {more} more errors."),
        }
    }
}

impl std::error::Error for Invalid {}

/// A value in quotes, on one line, with everything escaped that a reader could not see or could
/// mistake for something else (a Cyrillic `о` in `ghcr.io`), and cut where it is long.
pub(super) fn quote(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.chars().take(QUOTED) {
        match character {
            '"' | '\\' | '\'' => quoted.push(character),
            _ => quoted.extend(character.escape_default()),
        }
    }
    let length = value.chars().count();
    if length > QUOTED {
        // Writing to a String cannot fail.
        let _ = write!(quoted, "…\" ({length} characters)");
    } else {
        quoted.push('"');
    }
    quoted
}
