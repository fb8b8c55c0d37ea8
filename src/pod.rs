//! The objects that a Workspace asks for: its Pod, its claim, and its namespace's Service.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    LocalObjectReference, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Pod, PodSecurityContext, PodSpec,
    PreferredSchedulingTerm, Probe, SeccompProfile, SecurityContext, Service, ServicePort,
    ServiceSpec, TCPSocketAction, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;

use crate::names;
use crate::resolver::{self, UnknownRuntime};
use crate::revision::short_hash;
use crate::seen::{Ask, Key, Left, Workspace as Seen};
use crate::settings::Settings;
use crate::workspace::{AGENT, Storage, WhenDeleted, Workspace, WorkspaceSpec};

const SESSIONS: &str = "/root/.claude/sessions";
pub(crate) const PULL_IF_NOT_PRESENT: &str = "IfNotPresent";

/// The identity of the Pod that these settings make of this Workspace.
///
/// # Errors
/// A runtime that the settings do not know has no image.
pub fn ask(seen: &Seen, spec: &WorkspaceSpec, settings: &Settings) -> Result<Ask, UnknownRuntime> {
    Ok(Ask {
        revision: seen.revision.clone(),
        image: resolver::image(settings, &spec.runtime, version(spec))?,
        settings: settings_hash(settings),
    })
}

/// Which image of its runtime a Workspace asks for.
#[must_use]
pub fn version(spec: &WorkspaceSpec) -> resolver::Version<'_> {
    resolver::Version::of(spec.digest.as_deref(), spec.tag.as_deref())
}

/// The hash of all that a Pod takes from the settings besides its image.
#[must_use]
pub fn settings_hash(settings: &Settings) -> String {
    let mut text = String::from("v1");
    for secret in settings.image_pull_secrets() {
        text.push_str("\nsecret=");
        text.push_str(secret);
    }
    if let Some(url) = settings.platform_url() {
        text.push_str("\nurl=");
        text.push_str(url);
    }
    short_hash(&text)
}

/// The Pod of a Workspace.
#[must_use]
pub fn pod(
    key: &Key,
    seen: &Seen,
    spec: &WorkspaceSpec,
    ask: &Ask,
    settings: &Settings,
    failures: u32,
) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(key.name.to_string()),
            labels: Some(labels(&key.name, spec)),
            annotations: Some(annotations(spec, ask, failures)),
            owner_references: Some(vec![controller(key, &seen.version.uid)]),
            ..ObjectMeta::default()
        },
        spec: Some(pod_spec(key, seen, spec, ask, settings)),
        status: None,
    }
}

/// Has a Pod take the place of another: on the same node if it can, which has its image, and in the
/// knowledge of what it is moved from.
pub fn take_the_place(pod: &mut Pod, left: &Left, now: Timestamp) {
    let told = [
        (names::MOVED_FROM, &left.moved_from),
        (names::MOVED_BACK, &left.moved_back),
    ];
    for (name, image) in told {
        if let Some(image) = image {
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(name.into(), image.clone());
            let at = left.moved_at.unwrap_or(now);
            annotations.insert(names::MOVED_AT.into(), at.to_string());
        }
    }
    if let (Some(node), Some(spec)) = (&left.node, &mut pod.spec) {
        let affinity = spec.affinity.get_or_insert_default();
        let affinity = affinity.node_affinity.get_or_insert_default();
        let preferred = &mut affinity.preferred_during_scheduling_ignored_during_execution;
        preferred.get_or_insert_default().push(this_node(node));
    }
}

/// By its name: the label of a node's host may have another value.
fn this_node(node: &str) -> PreferredSchedulingTerm {
    PreferredSchedulingTerm {
        preference: NodeSelectorTerm {
            match_expressions: None,
            match_fields: Some(vec![NodeSelectorRequirement {
                key: "metadata.name".into(),
                operator: "In".into(),
                values: Some(vec![node.into()]),
            }]),
        },
        weight: 100,
    }
}

fn labels(name: &str, spec: &WorkspaceSpec) -> BTreeMap<String, String> {
    let mut labels = spec.pod_labels.clone();
    labels.extend(ours());
    labels.insert(names::LABEL_INSTANCE.into(), name.into());
    labels.insert(names::LABEL_RUNTIME.into(), spec.runtime.clone());
    labels
}

/// The labels by which the Service finds every Pod of ours in its namespace.
fn ours() -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::LABEL_NAME.into(), names::NAME.into()),
        (names::LABEL_MANAGED_BY.into(), names::MANAGER.into()),
    ])
}

fn annotations(spec: &WorkspaceSpec, ask: &Ask, failures: u32) -> BTreeMap<String, String> {
    let mut annotations = spec.pod_annotations.clone();
    annotations.insert(names::TOLD_IMAGE.into(), ask.image.clone());
    annotations.insert(names::TOLD_SETTINGS.into(), ask.settings.clone());
    annotations.insert(names::TOLD_REVISION.into(), ask.revision.clone());
    if failures > 0 {
        annotations.insert(names::TOLD_FAILURES.into(), failures.to_string());
    }
    annotations
}

/// Without `blockOwnerDeletion`, which would need rights on `workspaces/finalizers`.
fn controller(key: &Key, uid: &str) -> OwnerReference {
    OwnerReference {
        controller: Some(true),
        ..owner(&key.name, uid)
    }
}

/// The owner reference by which a claim goes with its Workspace.
#[must_use]
pub fn owner(workspace: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: Workspace::api_version(&()).into_owned(),
        kind: Workspace::kind(&()).into_owned(),
        name: workspace.into(),
        uid: uid.into(),
        controller: None,
        block_owner_deletion: None,
    }
}

fn pod_spec(
    key: &Key,
    seen: &Seen,
    spec: &WorkspaceSpec,
    ask: &Ask,
    settings: &Settings,
) -> PodSpec {
    PodSpec {
        affinity: spec.affinity.clone(),
        automount_service_account_token: Some(false),
        containers: vec![agent(seen, spec, ask, settings)],
        enable_service_links: Some(false),
        hostname: Some(key.name.to_string()),
        image_pull_secrets: filled(pull_secrets(spec, settings)),
        node_selector: Some(spec.node_selector.clone()).filter(|map| !map.is_empty()),
        priority_class_name: spec.priority_class_name.clone(),
        restart_policy: Some("Always".into()),
        runtime_class_name: spec.runtime_class_name.clone(),
        security_context: Some(pod_security(spec)),
        service_account_name: spec.service_account_name.clone(),
        subdomain: Some(names::SERVICE.into()),
        termination_grace_period_seconds: spec.termination_grace_period_seconds,
        tolerations: filled(spec.tolerations.clone()),
        topology_spread_constraints: filled(spec.topology_spread_constraints.clone()),
        volumes: Some(volumes(&key.name, spec)),
        ..PodSpec::default()
    }
}

fn filled<T>(items: Vec<T>) -> Option<Vec<T>> {
    Some(items).filter(|items| !items.is_empty())
}

/// The pull secrets that a Pod names: the Workspace's own first, then the settings', each once.
#[must_use]
pub fn pull_secrets(spec: &WorkspaceSpec, settings: &Settings) -> Vec<LocalObjectReference> {
    let mut secrets = spec.image_pull_secrets.clone();
    for name in settings.image_pull_secrets() {
        if !secrets.iter().any(|secret| secret.name == *name) {
            secrets.push(LocalObjectReference { name: name.clone() });
        }
    }
    secrets
}

fn pod_security(spec: &WorkspaceSpec) -> PodSecurityContext {
    let mut security = spec.pod_security_context.clone().unwrap_or_default();
    security
        .seccomp_profile
        .get_or_insert_with(|| SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        });
    security
}

fn agent(seen: &Seen, spec: &WorkspaceSpec, ask: &Ask, settings: &Settings) -> Container {
    Container {
        name: AGENT.into(),
        image: Some(ask.image.clone()),
        // Kubernetes' default for `:latest` is Always, and then a mere restart of the
        // container would need the registry.
        image_pull_policy: Some(PULL_IF_NOT_PRESENT.into()),
        env: Some(env(seen, spec, settings)),
        env_from: filled(spec.env_from.clone()),
        ports: Some(vec![ContainerPort {
            name: Some("http".into()),
            container_port: names::PORT,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        readiness_probe: Some(Probe {
            tcp_socket: Some(TCPSocketAction {
                port: IntOrString::String("http".into()),
                host: None,
            }),
            period_seconds: Some(2),
            ..Probe::default()
        }),
        resources: spec.resources.clone(),
        security_context: Some(container_security(spec)),
        volume_mounts: Some(mounts(spec)),
        ..Container::default()
    }
}

fn container_security(spec: &WorkspaceSpec) -> SecurityContext {
    let mut security = spec.security_context.clone().unwrap_or_default();
    security.allow_privilege_escalation.get_or_insert(false);
    security
}

/// Ours first, so that the user's may refer to them; the user's override all but the first two,
/// which the CRD's validation reserves.
fn env(seen: &Seen, spec: &WorkspaceSpec, settings: &Settings) -> Vec<EnvVar> {
    let id = spec.id.as_deref().unwrap_or(&seen.version.uid);
    let platform = settings.platform_url();
    let ours = [
        ("WORKSPACE_ID", Some(id)),
        ("WORKSPACE_CONFIG_PATH", Some("/configs")),
        ("PLATFORM_URL", platform),
        ("MOLECULE_URL", platform),
        ("PLUGINS_DIR", Some("/plugins")),
        ("PYTHONPATH", Some("/app")),
    ];
    let reserved = &ours[..2];
    let of_users = |name: &str| spec.env.iter().any(|var| var.name == name);
    let is_reserved = |name: &str| reserved.iter().any(|(ours, _)| *ours == name);
    ours.iter()
        .filter(|(name, _)| is_reserved(name) || !of_users(name))
        .filter_map(|(name, value)| Some((*name, (*value)?)))
        .map(|(name, value)| EnvVar {
            name: name.into(),
            value: Some(value.into()),
            value_from: None,
        })
        .chain(
            spec.env
                .iter()
                .filter(|var| !is_reserved(&var.name))
                .cloned(),
        )
        .collect()
}

/// Where our container keeps something: the name of the volume or subpath, and the folder.
fn folders(spec: &WorkspaceSpec) -> Vec<(&'static str, &'static str)> {
    let mut folders = vec![("workspace", "/workspace"), ("configs", "/configs")];
    if spec.runtime == "claude-code" {
        folders.push(("sessions", SESSIONS));
    }
    folders
}

const STORAGE: &str = "storage";

/// Whether this folder is a part of the claim: all are, except one that a ConfigMap fills.
fn is_kept(folder: &str, spec: &WorkspaceSpec) -> bool {
    spec.storage.is_some() && !(folder == "configs" && spec.config.is_some())
}

fn mounts(spec: &WorkspaceSpec) -> Vec<VolumeMount> {
    let mount = |(folder, path): (&str, &str)| {
        let kept = is_kept(folder, spec);
        VolumeMount {
            name: if kept { STORAGE } else { folder }.into(),
            mount_path: path.into(),
            sub_path: kept.then(|| folder.into()),
            ..VolumeMount::default()
        }
    };
    folders(spec).into_iter().map(mount).collect()
}

fn volumes(name: &str, spec: &WorkspaceSpec) -> Vec<Volume> {
    let mut volumes: Vec<_> = folders(spec)
        .into_iter()
        .filter(|(folder, _)| !is_kept(folder, spec))
        .map(|(folder, _)| match &spec.config {
            Some(config) if folder == "configs" => Volume {
                name: folder.into(),
                config_map: Some(ConfigMapVolumeSource {
                    name: config.clone(),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            },
            _ => Volume {
                name: folder.into(),
                empty_dir: Some(EmptyDirVolumeSource::default()),
                ..Volume::default()
            },
        })
        .collect();
    if spec.storage.is_some() {
        volumes.push(Volume {
            name: STORAGE.into(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: names::claim(name),
                read_only: None,
            }),
            ..Volume::default()
        });
    }
    volumes
}

/// The claim of a Workspace. It is kept when the Workspace goes, unless the user said otherwise.
#[must_use]
pub fn claim(key: &Key, uid: &str, storage: &Storage) -> PersistentVolumeClaim {
    let mut labels = ours();
    labels.insert(names::LABEL_WORKSPACE.into(), key.name.to_string());
    let modes = if storage.access_modes.is_empty() {
        vec!["ReadWriteOnce".into()]
    } else {
        storage.access_modes.clone()
    };
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::claim(&key.name)),
            labels: Some(labels),
            owner_references: (storage.when_deleted == WhenDeleted::Delete)
                .then(|| vec![owner(&key.name, uid)]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(modes),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".into(), storage.size.clone())])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// The headless Service of a namespace, which gives each Pod its stable address. It has no
/// owner and is never deleted: other Workspaces of the namespace use it too.
#[must_use]
pub fn service() -> Service {
    Service {
        metadata: ObjectMeta {
            name: Some(names::SERVICE.into()),
            labels: Some(ours()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            selector: Some(ours()),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: names::PORT,
                target_port: Some(IntOrString::String("http".into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests;
