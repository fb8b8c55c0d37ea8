//! A token server: it knows alice, signs what it grants, and the registry verifies that.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Request};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::front::{Fate, Front, status};
use crate::registries::Registry;

/// What the registry is called at the token server.
pub const SERVICE: &str = "the registry, of tests";
const ISSUER: &str = "the token server";
const KEY: &str = "key-1";
/// What stands for alice's password.
pub const IDENTITY: &str = "alice's identity";

/// Signs tokens.
struct Signer {
    key: EcdsaKeyPair,
    jwks: Value,
}

impl Signer {
    fn new() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let pkcs8 = pair.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &pkcs8,
            &SystemRandom::new(),
        );
        // One byte that says how it is written, and two numbers.
        let point = pair.public_key_raw();
        let number = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY,
            "x": number(&point[1..33]), "y": number(&point[33..65]),
        });
        Self {
            key: key.expect("the key is of that kind"),
            jwks: json!({"keys": [jwk]}),
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let head = json!({"typ": "JWT", "alg": "ES256", "kid": KEY});
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&head), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.expect("a signature"));
        format!("{text}.{signature}")
    }

    /// A token for what is asked for, or for nothing.
    fn grant(&self, user: &str, scope: &str, granted: bool) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time")
            .as_secs();
        let mut parts = scope.split(':');
        let (kind, name) = (parts.next(), parts.next());
        let access = json!({"type": kind, "name": name, "actions": ["pull"]});
        let access = if granted { vec![access] } else { Vec::new() };
        self.sign(&json!({
            "iss": ISSUER, "sub": user, "aud": SERVICE, "jti": "1",
            "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
        }))
    }
}

/// A registry that trusts a token server. Names that begin with `public` are for everybody, all
/// others for alice.
pub async fn with_tokens(registry: &Registry, folder: &Path) -> (Registry, Front) {
    let signer = Signer::new();
    let jwks = folder.join("jwks.json");
    std::fs::write(&jwks, signer.jwks.to_string()).expect("it is written");
    let server = Front::alone(move |request| serve(&signer, request)).await;
    let token = json!({
        "realm": format!("http://{}/token", server.host), "service": SERVICE, "issuer": ISSUER,
        "jwks": jwks, "signingalgorithms": ["ES256"],
    });
    let registry = registry.beside(json!({"auth": {"token": token}})).await;
    (registry, server)
}

fn serve(signer: &Signer, request: &Request<Bytes>) -> Fate {
    let shown = request.headers().get("authorization");
    let shown = shown.map(|it| it.to_str().expect("text"));
    let alices = format!("Basic {}", BASE64_STANDARD.encode("alice:secret"));
    let query = request.uri().query().unwrap_or_default();
    let asked = pairs(query);
    let scope = asked.get("scope").map_or("", String::as_str);
    if request.method() == Method::POST {
        let asked = pairs(&String::from_utf8_lossy(request.body()));
        let is = |key: &str, value: &str| asked.get(key).is_some_and(|it| it == value);
        if !is("grant_type", "refresh_token")
            || !is("refresh_token", IDENTITY)
            || !is("service", SERVICE)
        {
            return refused();
        }
        let token = signer.grant("alice", &asked["scope"], true);
        return status(200, &[], &json!({"access_token": token}).to_string());
    }
    let token = match shown {
        _ if asked.get("service").is_none_or(|it| it != SERVICE) => return refused(),
        None => signer.grant("", scope, scope.starts_with("repository:public")),
        Some(it) if it == alices => signer.grant("alice", scope, true),
        Some(_) => return refused(),
    };
    status(200, &[], &json!({"token": token}).to_string())
}

fn refused() -> Fate {
    let errors = r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}"#;
    status(401, &[], errors)
}

/// The pairs of a query or a form.
fn pairs(query: &str) -> BTreeMap<String, String> {
    let url: reqwest::Url = format!("http://x/?{query}").parse().expect("a query");
    url.query_pairs().into_owned().collect()
}
