//! What the nodes do with a Pod, as kwok's Stage objects.
//!
//! The Stages are in `stages/`. They share a few programs, which stand in files of their
//! own and take the place of a `$NAME` in the YAML; the registries that are down enter
//! them as `$OUTAGES`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

const NODE: &str = include_str!("../stages/node.yaml");
const VOLUME: &str = include_str!("../stages/volume.yaml");
const POD: &str = include_str!("../stages/pod.yaml");
/// In place of [`POD`] where [`crate::Options::quick_pods`] asks for it.
const QUICK_POD: &str = include_str!("../stages/pod-quick.yaml");

const PROGRAMS: [(&str, &str); 6] = [
    ("$NEXT_LOOK", include_str!("../stages/next-look.jq")),
    ("$POD_STATUS", include_str!("../stages/pod-status.tpl")),
    ("$POD_QUICK", include_str!("../stages/pod-quick.tpl")),
    ("$POD_ENDED", include_str!("../stages/pod-ended.tpl")),
    ("$NODE_STATUS", include_str!("../stages/node-status.tpl")),
    ("$VOLUME", include_str!("../stages/volume.tpl")),
];

/// The definition that the API server needs before it takes a Stage.
pub(crate) const CRD: &str = include_str!("../stages/crd.yaml");

/// How a registry answers to a node that pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves every image.
    Up,
    /// 401: the organisation is suspended, or the credentials are gone.
    Unauthorized,
    /// The same, and the nodes have all its images: who always asks is refused, and others start.
    UnauthorizedButCached,
    /// 403.
    Forbidden,
    /// 404: no such image.
    NotFound,
    /// 429: the rate limit.
    TooManyRequests,
    /// 503.
    Unavailable,
    /// It accepts the connection and never answers.
    Hangs,
}

/// The registries that do not serve, by prefix. Ordered, for the longest match is last.
pub(crate) type Outages = BTreeMap<String, State>;

impl State {
    fn outage(self, prefix: &str) -> Value {
        let answer = match self {
            Self::Up | Self::Hangs => "",
            Self::Unauthorized | Self::UnauthorizedButCached => "401 Unauthorized",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::TooManyRequests => "429 Too Many Requests",
            Self::Unavailable => "503 Service Unavailable",
        };
        let hangs = self == Self::Hangs;
        let cached = self == Self::UnauthorizedButCached;
        // What ends in a colon is one image, of whatever tag.
        let prefix = if prefix.ends_with(':') {
            prefix.to_owned()
        } else {
            format!("{prefix}/")
        };
        json!({"prefix": prefix, "answer": answer, "hangs": hangs, "cached": cached})
    }
}

/// Creates the Stages; every registry is up.
pub(crate) async fn create(client: &Client, quick_pods: bool) -> Result<()> {
    for stage in render(&Outages::new(), quick_pods)? {
        apply(client, &stage).await?;
    }
    Ok(())
}

/// Tells the one Stage that pulls images which registries are down. As it is one, there
/// is no moment at which the Stages contradict each other.
pub(crate) async fn update(client: &Client, outages: &Outages, quick_pods: bool) -> Result<()> {
    for stage in render(outages, quick_pods)? {
        if stage["metadata"]["name"] == "pod-look" {
            apply(client, &stage).await?;
        }
    }
    Ok(())
}

async fn apply(client: &Client, stage: &Value) -> Result<()> {
    let kind = GroupVersionKind::gvk("kwok.x-k8s.io", "v1alpha1", "Stage");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let name = stage["metadata"]["name"].as_str().unwrap_or_default();
    api.patch(
        name,
        &PatchParams::apply("cluster").force(),
        &Patch::Apply(stage),
    )
    .await
    .with_context(|| format!("applying the Stage {name}"))?;
    Ok(())
}

fn render(outages: &Outages, quick_pods: bool) -> Result<Vec<Value>> {
    let outages: Vec<Value> = outages
        .iter()
        .map(|(prefix, state)| state.outage(prefix))
        .collect();
    let outages = Value::from(outages).to_string();
    let programs = PROGRAMS.map(|(name, text)| (name, text.trim().replace("$OUTAGES", &outages)));
    let mut stages = Vec::new();
    let pod = if quick_pods { QUICK_POD } else { POD };
    for text in [NODE, pod, VOLUME] {
        stages.extend(serde_saphyr::from_multiple::<Value>(text).context("reading the Stages")?);
    }
    for stage in &mut stages {
        substitute(stage, &programs);
    }
    Ok(stages)
}

fn substitute(value: &mut Value, programs: &[(&str, String)]) {
    match value {
        Value::String(text) if text.contains('$') => {
            for (name, program) in programs {
                *text = text.replace(name, program);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, programs)),
        Value::Object(fields) => {
            fields
                .values_mut()
                .for_each(|field| substitute(field, programs));
        }
        _ => {}
    }
}
