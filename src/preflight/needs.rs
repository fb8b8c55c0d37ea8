//! Which images are needed, by whom, and with whose credentials; pure.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Known;
use crate::credentials::Source;
use crate::pod;
use crate::resolver;
use crate::seen::Key;
use crate::settings::Settings;
use crate::workspace::WorkspaceSpec;

/// What is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The images, in alphabetical order.
    pub images: Vec<Need>,
    /// Those that need none that is known, with why, as one sentence each.
    pub without: Vec<String>,
}

/// An image that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its reference.
    pub image: String,
    /// The runtime that it is of.
    pub runtime: String,
    /// Who needs it; nobody now, where it was asked for all the same.
    pub users: Vec<User>,
}

/// A Workspace that needs an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Where it is.
    pub key: Key,
    /// Where its Pod takes its pull credentials from.
    pub source: Source,
    /// What runs of it now.
    pub running: Option<Running>,
    /// What the nodes are that its Pod can be on; nothing where that is not known.
    pub platforms: BTreeSet<String>,
}

/// What runs now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Running {
    /// The reference that its Pod was told.
    pub image: String,
    /// The digest that its node tells.
    pub digest: String,
}

/// What is needed under these settings; with `all`, the default image of every runtime too.
#[must_use]
pub fn needs(workspaces: &[Known], settings: &Settings, all: bool) -> Needs {
    let mut images: BTreeMap<(String, String), Vec<User>> = BTreeMap::new();
    let mut without = Vec::new();
    for known in workspaces {
        let key = &known.key;
        let spec = match &known.spec {
            Ok(spec) => spec,
            Err(why) => {
                without.push(format!("{key} does not decode: {why}"));
                continue;
            }
        };
        match resolver::image(settings, &spec.runtime, pod::version(spec)) {
            Ok(image) => {
                let users = images.entry((image, spec.runtime.clone())).or_default();
                users.push(user(known, settings));
            }
            Err(unknown) => without.push(format!("{key} has no image: {unknown}")),
        }
    }
    if all {
        for (runtime, image) in resolver::images(settings) {
            images.entry((image, runtime)).or_default();
        }
    }
    let need = |((image, runtime), users)| Need {
        image,
        runtime,
        users,
    };
    Needs {
        images: images.into_iter().map(need).collect(),
        without,
    }
}

/// What the default tag of this runtime stands for, pinned or not, with those who run the runtime as
/// users.
///
/// # Errors
/// The settings do not know the runtime.
pub fn tag_of(
    workspaces: &[Known],
    settings: &Settings,
    runtime: &str,
) -> Result<Need, resolver::UnknownRuntime> {
    let tag = resolver::Version::Tag(resolver::DEFAULT_TAG);
    let of_runtime = |it: &&Known| it.spec.as_ref().is_ok_and(|spec| spec.runtime == runtime);
    let users = workspaces.iter().filter(of_runtime);
    Ok(Need {
        image: resolver::image(settings, runtime, tag)?,
        runtime: runtime.to_owned(),
        users: users.map(|it| user(it, settings)).collect(),
    })
}

/// Where every Workspace takes its credentials from.
#[must_use]
pub fn sources(workspaces: &[Known], settings: &Settings) -> BTreeSet<Source> {
    let users = workspaces.iter().map(|it| user(it, settings));
    users.map(|it| it.source).collect()
}

fn user(known: &Known, settings: &Settings) -> User {
    let nothing = WorkspaceSpec::default();
    let spec = known.spec.as_ref().unwrap_or(&nothing);
    let status = &known.status;
    let running = status.image.clone().zip(status.digest.clone());
    User {
        key: known.key.clone(),
        source: Source::of(&known.key.namespace, spec, settings),
        running: running.map(|(image, digest)| Running { image, digest }),
        platforms: known.platforms.clone(),
    }
}
