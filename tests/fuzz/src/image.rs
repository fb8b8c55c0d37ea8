//! Which image a step may write, by a reading of what is typed and stored in which nothing of the
//! operator has a part: neither its settings, nor its resolver, nor its parser of references.

use std::collections::BTreeMap;

use oci_spec::distribution::Reference;
use serde_json::Value;
use workspace_operator::plan::Step;

/// The runtimes that every installation knows.
const RUNTIMES: [&str; 9] = [
    "autogen",
    "claude-code",
    "codex",
    "crewai",
    "deepagents",
    "gemini-cli",
    "hermes",
    "langgraph",
    "openclaw",
];

/// What is typed into a ConfigMap of settings.
pub type Data = BTreeMap<String, String>;

/// What the image of a Workspace follows from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// What was typed for the settings in force; nothing where none are.
    pub settings: Option<&'a Data>,
    /// The Workspace, as stored.
    pub workspace: &'a Value,
    /// Its Pod, as stored; null where there is none.
    pub pod: &'a Value,
}

/// Why this step may not be taken: it writes another image than the one that follows from these.
///
/// # Errors
/// One sentence.
pub fn check(basis: &Basis<'_>, step: &Step) -> Result<(), String> {
    let images = images(step);
    if images.is_empty() {
        return Ok(());
    }
    let settings = basis
        .settings
        .ok_or_else(|| format!("{images:?} with no settings in force"))?;
    let meant = meant(settings, &basis.workspace["spec"])
        .ok_or_else(|| format!("{images:?} for a runtime that is not known"))?;
    let wanted = match step {
        Step::MovePod { moved, .. } if moved.back.is_some() => {
            let back = moved.back.as_deref() == Some(&*meant);
            let before = before(basis, settings, &meant).filter(|_| back);
            before.ok_or_else(|| format!("{images:?} for a Pod that is not to be put back"))?
        }
        _ => meant,
    };
    for image in images {
        if image != wanted {
            return Err(format!("{image:?} where {wanted:?} is meant"));
        }
        reads(image)?;
    }
    Ok(())
}

/// The image that these settings give to this spec: `<prefix>/workspace-template-<runtime>:<tag>`,
/// or `…@<digest>`. An unknown runtime has none.
#[must_use]
pub fn meant(settings: &Data, spec: &Value) -> Option<String> {
    let runtime = runtime(spec);
    let extra = get(settings, "EXTRA_RUNTIMES").unwrap_or_default();
    let is_extra = extra.split(',').any(|it| it.trim_matches(' ') == runtime);
    if runtime.is_empty() || !(RUNTIMES.contains(&runtime) || is_extra) {
        return None;
    }
    let prefix = get(settings, "MOLECULE_IMAGE_REGISTRY").unwrap_or("ghcr.io/molecule-ai");
    let pin = get(settings, &format!("PIN_{runtime}"));
    let (digest, tag) = (spec["digest"].as_str(), spec["tag"].as_str());
    let version = match (digest, tag, pin) {
        (Some(digest), _, _) => format!("@{digest}"),
        (None, Some(tag), _) => format!(":{tag}"),
        (None, None, Some(pin)) => format!("@{pin}"),
        (None, None, None) => ":latest".to_owned(),
    };
    Some(format!("{prefix}/workspace-template-{runtime}{version}"))
}

/// Whether an image is read as what it says, with nothing filled in or put in its place.
///
/// # Errors
/// One sentence that says what is read instead.
pub fn reads(image: &str) -> Result<(), String> {
    let read = Reference::try_from(image).map_err(|error| format!("{image:?}: {error}"))?;
    let read = read.whole();
    if read == image {
        Ok(())
    } else {
        Err(format!("{image:?} is read as {read:?}"))
    }
}

/// The one image that a step may write besides the one that is meant: where the settings say so, a
/// Pod that was moved to that one gets the one that it ran before, of the same runtime.
fn before(basis: &Basis<'_>, settings: &Data, meant: &str) -> Option<String> {
    let is = |key: &str, value: &str| get(settings, key) == Some(value);
    let annotations = &basis.pod["metadata"]["annotations"];
    let from = annotations["molecule.ai/movedFrom"].as_str()?;
    let read = Reference::try_from(from).ok()?;
    let runtime = runtime(&basis.workspace["spec"]);
    let name = format!("workspace-template-{runtime}");
    let may = is("ROLLOUT", "Paced")
        && is("ROLLOUT_ROLL_BACK", "true")
        && !is("ROLLOUT_PAUSED", "true")
        && annotations["molecule.ai/image"] == meant
        && from != meant
        && read.repository().rsplit('/').next() == Some(&*name);
    may.then(|| from.to_owned())
}

fn runtime(spec: &Value) -> &str {
    spec["runtime"].as_str().unwrap_or("langgraph")
}

/// Absent and empty are the same.
fn get<'a>(settings: &'a Data, key: &str) -> Option<&'a str> {
    let value = settings.get(key).map(String::as_str);
    value.filter(|it| !it.is_empty())
}

/// Every place in which it names one.
fn images(step: &Step) -> Vec<&str> {
    match step {
        Step::CreatePod { ask, pod, .. } | Step::TryPod { ask, pod, .. } => {
            let containers = pod.spec.iter().flat_map(|it| &it.containers);
            let images = containers.map(|it| it.image.as_deref().unwrap_or_default());
            let annotations = pod.metadata.annotations.iter();
            let told = annotations.map(|it| it.get("molecule.ai/image").map_or("", String::as_str));
            images.chain(told).chain([&*ask.image]).collect()
        }
        Step::SetImage { ask, .. } | Step::MovePod { ask, .. } => vec![&ask.image],
        _ => Vec::new(),
    }
}
