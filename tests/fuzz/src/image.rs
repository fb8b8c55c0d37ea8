//! Whether an image is what the settings meant, by a parser that the operator does not use.

use oci_spec::distribution::Reference;
use workspace_operator::settings::Settings;

/// Why this is not an image of these settings.
///
/// # Errors
/// One sentence.
pub fn check(settings: &Settings, image: &str) -> Result<(), String> {
    let parsed = Reference::try_from(image).map_err(|error| format!("{image:?}: {error}"))?;
    let prefix = settings.registry();
    let name = image
        .strip_prefix(prefix.as_str())
        .and_then(|rest| rest.strip_prefix("/workspace-template-"))
        .ok_or_else(|| format!("{image:?} is not under {prefix}"))?;
    let runtime = name.split([':', '@']).next().unwrap_or_default();
    if !settings.knows(runtime) {
        return Err(format!("{image:?} has a runtime that is not known"));
    }
    let host = parsed.registry();
    if host != prefix.host() {
        return Err(format!("{image:?} is read as one of {host:?}"));
    }
    let version = &name[runtime.len()..];
    let read = match (parsed.tag(), parsed.digest()) {
        (Some(tag), None) => format!(":{tag}"),
        (None, Some(digest)) => format!("@{digest}"),
        (None, None) | (Some(_), Some(_)) => String::new(),
    };
    if read != version {
        return Err(format!("{image:?} is read with the version {read:?}"));
    }
    Ok(())
}
