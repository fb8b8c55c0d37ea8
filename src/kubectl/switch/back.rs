//! Where the way back leads; pure.

use std::collections::BTreeSet;

use anyhow::bail;

use crate::kubectl::Refused;
use crate::kubectl::edit::{BACK, SWITCH};

/// What is known of the registry prefixes.
pub(super) struct Registries<'a> {
    /// The one in force, if one is.
    pub(super) in_force: Option<&'a str>,
    /// The one that was in force before.
    pub(super) previous: Option<&'a str>,
    /// The one that the settings name.
    pub(super) named: Option<&'a str>,
    /// Who wrote it there.
    pub(super) writers: BTreeSet<&'a str>,
}

/// The prefix to go back to: the one before; but where the settings name another than the one in force,
/// which no operator has taken yet, that is undone. If it was the way back itself, it is followed.
///
/// # Errors
/// [`Refused`] where there is no such prefix; any other where it cannot be told which one it is.
pub(super) fn back(known: &Registries<'_>) -> anyhow::Result<String> {
    let awaited = match (known.named, known.in_force) {
        (Some(named), Some(in_force)) if named != in_force => Some((named, in_force)),
        _ => None,
    };
    match (awaited, known.previous) {
        (Some((named, in_force)), Some(previous)) if named == previous => follow(known, in_force),
        (Some((_, in_force)), _) => Ok(in_force.to_owned()),
        (None, Some(previous)) => Ok(previous.to_owned()),
        (None, None) => Err(Refused(
            "no registry was in force before this one: name the one to switch to, as in kubectl \
             workspace switch ghcr.io/molecule-ai"
                .to_owned(),
        )
        .into()),
    }
}

/// The settings name the registry before, and who wrote that there says whether it was the way back.
fn follow(known: &Registries<'_>, in_force: &str) -> anyhow::Result<String> {
    let named = known.named.unwrap_or_default();
    if known.writers.contains(BACK) {
        return Ok(named.to_owned());
    }
    if known.writers.contains(SWITCH) {
        return Ok(in_force.to_owned());
    }
    bail!(
        "whether back is {in_force}, which is in force, or {named}, which was so before and which the \
         settings name, though no operator has taken that yet, cannot be told: say which, as in \
         kubectl workspace switch {in_force}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(letter: &str) -> Option<&'static str> {
        match letter {
            "a" => Some("a.example.com"),
            "b" => Some("b.example.com"),
            "c" => Some("c.example.com"),
            _ => None,
        }
    }

    /// The way back from there, by the first letters of the prefixes; `?` where it cannot be told.
    fn way(in_force: &str, previous: &str, named: &str, by: &str) -> String {
        let way = back(&Registries {
            in_force: prefix(in_force),
            previous: prefix(previous),
            named: prefix(named),
            writers: BTreeSet::from([by]),
        });
        match way {
            Ok(prefix) => prefix[..1].to_owned(),
            Err(error) if error.is::<Refused>() => "no".to_owned(),
            Err(_) => "?".to_owned(),
        }
    }

    #[test]
    fn back_is_never_to_a_place_that_was_not_meant() {
        for (in_force, previous, named, by, expected) in [
            ("a", "", "a", SWITCH, "no"),
            ("a", "", "", "", "no"),
            ("b", "a", "b", SWITCH, "a"),
            ("b", "a", "b", "kubectl-edit", "a"),
            ("b", "a", "", "", "a"),
            // An edit that no operator has taken is undone.
            ("a", "", "c", SWITCH, "a"),
            ("b", "a", "c", SWITCH, "b"),
            ("b", "a", "c", "kubectl-edit", "b"),
            // The way back is followed, and the way there is undone, also where it leads to the one
            // before, as after a, b and a again.
            ("b", "a", "a", BACK, "a"),
            ("a", "b", "b", SWITCH, "a"),
            ("a", "b", "b", "kubectl-edit", "?"),
            ("a", "b", "c", BACK, "a"),
        ] {
            let way = way(in_force, previous, named, by);
            assert_eq!(way, expected, "{in_force} {previous} {named} {by}");
        }
    }
}
