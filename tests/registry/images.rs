//! Images to push: as small as they can be, and yet what a registry takes for one.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::front::http;
use crate::registries::Registry;

/// The type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The type of an image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The types that docker gave them.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub digest: String,
    pub config: String,
    /// What a node downloads, in bytes.
    pub size: u64,
    manifest: Value,
}

/// The digest of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes);
    let hex: String = hex.iter().map(|it| format!("{it:02x}")).collect();
    format!("sha256:{hex}")
}

/// Pushes a blob, and returns how a manifest refers to it.
async fn blob(host: &str, name: &str, kind: &str, bytes: Vec<u8>) -> Value {
    let http = http();
    let (digest, size) = (digest(&bytes), bytes.len());
    let begun = http.post(format!("http://{host}/v2/{name}/blobs/uploads/"));
    let begun = begun.send().await.expect("an answer");
    let place = begun.headers()["location"]
        .to_str()
        .expect("a place")
        .to_owned();
    let request = http.put(format!("{place}&digest={digest}")).body(bytes);
    let done = request.send().await.expect("an answer");
    assert_eq!(done.status(), 201, "{:?}", done.text().await);
    json!({"mediaType": kind, "digest": digest, "size": size})
}

async fn manifest(host: &str, name: &str, version: &str, kind: &str, body: String) {
    let http = http();
    let request = http.put(format!("http://{host}/v2/{name}/manifests/{version}"));
    let request = request.header("content-type", kind).body(body);
    let done = request.send().await.expect("an answer");
    assert_eq!(done.status(), 201, "{:?}", done.text().await);
}

/// Pushes an image for one platform under a tag, or without one. `content` makes it another one.
pub async fn push(
    registry: &Registry,
    name: &str,
    tag: Option<&str>,
    architecture: &str,
    content: &str,
) -> Pushed {
    let host = &registry.host;
    let config = json!({
        "os": "linux", "architecture": architecture, "config": {},
        "rootfs": {"type": "layers", "diff_ids": []}, "author": content,
    });
    let config = blob(host, name, CONFIG, config.to_string().into_bytes()).await;
    let layer = blob(
        host,
        name,
        LAYER,
        format!("a layer: {content}").into_bytes(),
    )
    .await;
    let size = config["size"].as_u64().expect("a size") + layer["size"].as_u64().expect("a size");
    let body =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let body = body.to_string();
    let digest = digest(body.as_bytes());
    let length = body.len();
    manifest(host, name, tag.unwrap_or(&digest), MANIFEST, body).await;
    Pushed {
        manifest: json!({
            "mediaType": MANIFEST, "digest": digest, "size": length,
            "platform": {"os": "linux", "architecture": architecture},
        }),
        digest,
        config: config["digest"].as_str().expect("a digest").to_owned(),
        size,
    }
}

/// Pushes an index of images under a tag, with more entries, and returns its digest.
pub async fn push_index(
    registry: &Registry,
    name: &str,
    tag: &str,
    kind: &str,
    images: &[&Pushed],
    more: &[Value],
) -> String {
    let entries = images.iter().map(|it| it.manifest.clone());
    let entries: Vec<_> = entries.chain(more.iter().cloned()).collect();
    let body = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).to_string();
    let digest = digest(body.as_bytes());
    manifest(&registry.host, name, tag, kind, body).await;
    digest
}

/// Deletes a manifest.
pub async fn delete(registry: &Registry, name: &str, digest: &str) {
    let url = format!("http://{}/v2/{name}/manifests/{digest}", registry.host);
    let done = http().delete(url).send().await;
    assert_eq!(done.expect("an answer").status(), 202);
}
