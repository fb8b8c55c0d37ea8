//! What is in a pull secret.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};

use super::{Entry, Login, Pattern};

/// The two kinds of pull secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// `kubernetes.io/dockerconfigjson`
    Json,
    /// `kubernetes.io/dockercfg`, the older one
    Old,
}

impl SecretKind {
    /// By the `type` of the Secret; any other is no pull secret, and kubelets pass over it.
    #[must_use]
    pub fn of(type_: &str) -> Option<Self> {
        match type_ {
            "kubernetes.io/dockerconfigjson" => Some(SecretKind::Json),
            "kubernetes.io/dockercfg" => Some(SecretKind::Old),
            _ => None,
        }
    }

    /// The key of its data under which the credentials are.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            SecretKind::Json => ".dockerconfigjson",
            SecretKind::Old => ".dockercfg",
        }
    }
}

/// Why a pull secret cannot be read: a kubelet then pulls nothing for the Pod. Never says what is
/// in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

#[derive(Deserialize, Default)]
struct Json {
    #[serde(default, deserialize_with = "or_nothing")]
    auths: Auths,
}

/// An entry that is null is there, and empty.
type Auths = BTreeMap<String, Option<Stored>>;

/// Identity tokens are not read: kubelets do not know them.
#[derive(Deserialize, Default)]
struct Stored {
    #[serde(default, deserialize_with = "or_nothing")]
    username: String,
    #[serde(default, deserialize_with = "or_nothing")]
    password: String,
    #[serde(default, deserialize_with = "or_nothing")]
    auth: String,
}

/// As for kubelets, null is nothing.
fn or_nothing<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    let found = Option::deserialize(deserializer)?;
    Ok(found.unwrap_or_default())
}

/// The entries of a pull secret.
///
/// # Errors
/// It is not what its kind says.
pub fn entries(kind: SecretKind, data: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    let broken = |error: serde_json::Error| {
        let (key, line, column) = (kind.key(), error.line(), error.column());
        Unreadable(format!(
            "its {key} is no docker config (line {line}, column {column})"
        ))
    };
    let stored = match kind {
        SecretKind::Json => {
            let json = serde_json::from_slice::<Option<Json>>(data).map_err(broken)?;
            json.unwrap_or_default().auths
        }
        SecretKind::Old => {
            let auths = serde_json::from_slice::<Option<Auths>>(data).map_err(broken)?;
            auths.unwrap_or_default()
        }
    };
    stored.into_iter().map(entry).collect()
}

fn entry((key, stored): (String, Option<Stored>)) -> Result<Entry, Unreadable> {
    let stored = stored.unwrap_or_default();
    let (username, password) = if stored.auth.is_empty() {
        (stored.username, stored.password)
    } else {
        decode(stored.auth.trim()).ok_or_else(|| {
            Unreadable(format!(
                "the auth of {key:?} is not base64 of a name, a colon and a password"
            ))
        })?
    };
    Ok(Entry {
        pattern: Pattern::new(&key),
        login: Login::Password { username, password },
    })
}

fn decode(auth: &str) -> Option<(String, String)> {
    // As tools write it both with padding and without.
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let text = String::from_utf8(engine.decode(auth).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}
