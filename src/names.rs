//! The names that users, tools and older versions rely on: labels, annotations, ports.

/// Whose Pods ours are: the value of `app.kubernetes.io/managed-by`, and our field manager.
pub const MANAGER: &str = "workspace-operator";

/// Our field manager where we tell about all Workspaces together: the managed fields of the record
/// then show what is only told, and what the next operator goes by.
pub const STATUS_MANAGER: &str = "workspace-operator-status";

/// `app.kubernetes.io/name` of every Pod of ours; the Pods' watch selects by it.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// The value of [`LABEL_NAME`].
pub const NAME: &str = "workspace";
/// `app.kubernetes.io/instance`: the name of the Workspace.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// `app.kubernetes.io/managed-by`
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The runtime of a Pod.
pub const LABEL_RUNTIME: &str = "molecule.ai/runtime";
/// The Workspace whose claim this is. A claim without it is never adopted.
pub const LABEL_WORKSPACE: &str = "molecule.ai/workspace";

/// The image that a Pod was told to run.
pub const TOLD_IMAGE: &str = "molecule.ai/image";
/// The hash of the other fields that came from the settings.
pub const TOLD_SETTINGS: &str = "molecule.ai/settings";
/// The hash of what the user asked for.
pub const TOLD_REVISION: &str = "molecule.ai/revision";
/// How many Pods before this one failed in a row; absent = none.
pub const TOLD_FAILURES: &str = "molecule.ai/failures";
/// When the image was healed in place; absent = never.
pub const TOLD_HEALED: &str = "molecule.ai/healedAt";

/// The image that a Pod ran when it was moved to another; absent = it was not.
pub const MOVED_FROM: &str = "molecule.ai/movedFrom";
/// When it was moved.
pub const MOVED_AT: &str = "molecule.ai/movedAt";
/// How often its container had been restarted then: what was to be stopped. Absent where it is a
/// Pod that was created in place of another.
pub const MOVED_OVER: &str = "molecule.ai/movedOver";
/// The image from which a Pod was put back, for it was not Ready on it in its time; absent = it was
/// not.
pub const MOVED_BACK: &str = "molecule.ai/movedBack";

/// What the annotation begins with that says, on the settings, who pinned a runtime, when and why;
/// the runtime follows.
pub const PINNED: &str = "molecule.ai/pin-";

/// The port on which an agent answers, called `http`.
pub const PORT: i32 = 8000;
/// The headless Service of each namespace, and so the subdomain of each Pod.
pub const SERVICE: &str = "workspaces";

/// A name that a namespace or a Workspace can have, or nothing.
///
/// # Errors
/// Anything else.
pub fn namespace(name: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = name.len() <= 63
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if is_label {
        return Ok(name.to_owned());
    }
    Err("such a name has at most 63 lower-case letters, digits and '-'".to_owned())
}

/// The name of a Workspace's claim.
#[must_use]
pub fn claim(workspace: &str) -> String {
    format!("workspace-{workspace}")
}

/// The name of the Workspace whose claim would be called so.
#[must_use]
pub fn workspace_of_claim(claim: &str) -> Option<&str> {
    claim.strip_prefix("workspace-")
}

/// The stable name of a Workspace in the cluster's DNS.
#[must_use]
pub fn address(namespace: &str, workspace: &str) -> String {
    format!("{workspace}.{SERVICE}.{namespace}.svc")
}
