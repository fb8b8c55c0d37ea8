//! The Pod that pulls an image, and can do nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, LocalObjectReference, Pod, PodSecurityContext, PodSpec,
    ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::held::PATIENCE;
use super::{Answer, account};
use crate::names;
use crate::pod::PULL_IF_NOT_PRESENT;
use crate::revision::short_hash;
use crate::seen::{Credentials, Key, Question, Version};

/// `app.kubernetes.io/name` of a probe. No Workspace's, so that nobody takes one for an agent.
pub const NAME: &str = "workspace-probe";
/// The only container that a probe begins with: others may be put beside it.
pub const CONTAINER: &str = "probe";
/// The labels of the operator's own probes.
pub const MANAGER_LABELS: [(&str, &str); 2] = [
    (names::LABEL_NAME, NAME),
    (names::LABEL_MANAGED_BY, names::MANAGER),
];
/// For people: which image a probe is about, and on which node.
const ABOUT: [&str; 2] = ["molecule.ai/probe-image", "molecule.ai/probe-node"];
/// What is not there, whatever the image.
const NO_PROGRAM: &str = "/this-probe-only-pulls";

/// A probe of the operator's, as it is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The object at this moment.
    pub version: Version,
    /// When it was created.
    pub created: Timestamp,
    /// Whether it was told to go.
    pub is_deleted: bool,
    /// What its live spec asks; admission may have changed it.
    pub question: Question,
    /// The ServiceAccount of its live spec.
    pub service_account: Option<String>,
    /// What its node has said so far.
    pub answer: Option<Answer>,
    /// When its node had pulled the image, as the node tells.
    pub pulled: Option<Timestamp>,
}

/// The name of the probe for a question: it is the same each time, so that there is never a second
/// one, and a refusal is repeated word for word.
pub(super) fn name(question: &Question) -> String {
    let mut text = format!("v1\n{}\n{}", question.node, question.image);
    let mut push = |part: &str| {
        text.push('\n');
        text.push_str(part);
    };
    match &question.credentials {
        Credentials::None => {}
        Credentials::Secrets { namespace, names } => {
            [namespace].into_iter().chain(names).for_each(|it| push(it));
        }
        Credentials::OfServiceAccount { namespace, name } => {
            // No namespace is called so.
            push("/");
            push(namespace);
            push(name);
        }
    }
    format!("{NAME}-{}", short_hash(&text))
}

impl Probe {
    /// The question that it asks, if it is called after that.
    pub(super) fn asks(&self, key: &Key) -> Option<Question> {
        let of_account = Question {
            credentials: Credentials::OfServiceAccount {
                namespace: key.namespace.to_string(),
                name: account(self.service_account.as_deref()).to_owned(),
            },
            ..self.question.clone()
        };
        let both = [self.question.clone(), of_account];
        both.into_iter().find(|it| name(it) == *key.name)
    }
}

/// Whether what a probe shows to the registry, by its live spec, is what the question asks about.
/// More than what a Pod names, a policy gives to all.
pub(super) fn shows(live: &Credentials, asked: &Credentials) -> bool {
    match (asked, live) {
        (Credentials::None, live) => *live == Credentials::None,
        (Credentials::OfServiceAccount { .. }, _) => true,
        (Credentials::Secrets { names, .. }, Credentials::Secrets { names: live, .. }) => {
            names.iter().all(|name| live.contains(name))
        }
        (Credentials::Secrets { .. }, _) => false,
    }
}

/// The probe for a question, in this namespace, as this ServiceAccount.
pub(super) fn pod(question: &Question, namespace: &str, service_account: Option<&str>) -> Pod {
    let secrets = match &question.credentials {
        Credentials::None | Credentials::OfServiceAccount { .. } => &[][..],
        Credentials::Secrets { names, .. } => names,
    };
    // As a Workspace does: what its node has for it, is there.
    let policy = PULL_IF_NOT_PRESENT;
    let mut spec = pull(&question.image, policy, secrets, service_account, PATIENCE);
    // Where the Workspace is, whatever the node is short of or kept for.
    spec.node_name = Some(question.node.clone());
    spec.tolerations = Some(vec![Toleration {
        operator: Some("Exists".into()),
        ..Toleration::default()
    }]);
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let about = ABOUT
        .into_iter()
        .zip([&*question.image, &*question.node])
        .map(owned);
    Pod {
        metadata: ObjectMeta {
            name: Some(name(question)),
            namespace: Some(namespace.to_owned()),
            labels: Some(MANAGER_LABELS.map(owned).into()),
            annotations: Some(about.collect()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// The probe to send in place of one that the API server refused in these words, if there is one: a
/// cluster that gives each namespace users of its own, as OpenShift does, refuses all others, and
/// assigns one to a Pod that names none.
///
/// Named it is at first, for elsewhere nobody assigns one: an image that runs as root could be pulled
/// then, but no container be made of it, and nothing would keep it on its node.
#[must_use]
pub fn without_user(probe: &Pod, refusal: &str) -> Option<Pod> {
    let mut other = probe.clone();
    let context = other.spec.as_mut()?.security_context.as_mut()?;
    context.run_as_user.take()?;
    refusal.contains("runAsUser").then_some(other)
}

/// What a probe for this image asks for, wherever it goes. It is ended after so long.
#[must_use]
pub fn pull(
    image: &str,
    policy: &str,
    secrets: &[String],
    service_account: Option<&str>,
    patience: Duration,
) -> PodSpec {
    let secrets = secrets.iter();
    let secrets = secrets.map(|name| LocalObjectReference { name: name.clone() });
    let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    PodSpec {
        active_deadline_seconds: Some(seconds),
        automount_service_account_token: Some(false),
        containers: vec![container(image, policy)],
        enable_service_links: Some(false),
        image_pull_secrets: Some(secrets.collect()),
        restart_policy: Some("Never".into()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(65532),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        service_account_name: service_account.map(str::to_owned),
        // With none at all it would be gone before its node has let go of it.
        termination_grace_period_seconds: Some(1),
        ..PodSpec::default()
    }
}

fn container(image: &str, policy: &str) -> Container {
    let amounts = |cpu: &str, memory: &str| {
        let both = [("cpu", cpu), ("memory", memory)];
        let both = both.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
        BTreeMap::from(both)
    };
    Container {
        name: CONTAINER.into(),
        image: Some(image.into()),
        image_pull_policy: Some(policy.into()),
        command: Some(vec![NO_PROGRAM.into()]),
        resources: Some(ResourceRequirements {
            requests: Some(amounts("10m", "16Mi")),
            // What sets up its sandbox is limited too: with as little as it asks for it took seconds.
            limits: Some(amounts("500m", "64Mi")),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec!["ALL".into()]),
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}
