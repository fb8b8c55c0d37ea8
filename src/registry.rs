//! A client of image registries, for questions only: is it there, which bytes, for which platforms.
//!
//! Nothing that a registry answers is taken on trust. Every request has a deadline and every body a
//! bound; what has a digest is hashed; credentials go to the registry that they are for, and to the
//! token server that it names over TLS, and follow no redirect to anywhere else; and plain http is
//! spoken only where that is allowed.

mod auth;
mod manifest;
mod reference;
mod refusal;
mod transport;

use std::path::PathBuf;
use std::time::Duration;

use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::credentials::Login;
use crate::settings::Digest;
use manifest::Manifest;
use transport::{Ask, Transport};

pub use manifest::Platform;
pub use reference::{NoReference, Reference};
pub use refusal::{Kind, Refusal};

/// A manifest larger than this, in bytes, is none: registries themselves refuse such.
const LARGEST_MANIFEST: usize = 4 << 20;
/// The description of an image, which has its history and labels, is at most so large, in bytes.
const LARGEST_CONFIG: usize = 8 << 20;
/// So many platforms of one image are looked into, and so many others are told.
const MOST_PLATFORMS: usize = 16;

/// How registries are asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// A file with certificate authorities (PEM) that are trusted besides the machine's.
    pub authorities: Option<PathBuf>,
    /// Registries, as `host[:port]`, that may be asked in plain http besides this machine's own.
    pub plain_http: Vec<String>,
    /// How long one request may take, its body included.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            authorities: None,
            plain_http: Vec::new(),
            deadline: Duration::from_secs(10),
        }
    }
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digest of what the reference names: of the index, where there is one.
    pub digest: String,
    /// The images in it, one for each platform.
    pub images: Vec<Image>,
}

impl Found {
    /// By what a node may call it: the digest of the index, of the manifest of its platform, or of
    /// its description, whichever its container runtime goes by.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        let images = self.images.iter().flat_map(|it| {
            let content = it.content.as_ref().and_then(|it| it.as_ref().ok());
            [
                Some(it.digest.as_str()),
                content.map(|it| it.config.as_str()),
            ]
        });
        std::iter::once(self.digest.as_str()).chain(images.flatten())
    }
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it is built for, if that is told.
    pub platform: Option<Platform>,
    /// The digest of its manifest.
    pub digest: String,
    /// What its manifest says; `None` = it was not asked for.
    pub content: Option<Result<Content, Refusal>>,
}

/// What a manifest says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The digest of its description, by which some nodes call it.
    pub config: String,
    /// What is to be downloaded of it, in bytes.
    pub size: u64,
}

/// Asks registries. Remembers the tokens that it was given.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// A client that knows nobody yet.
    ///
    /// # Errors
    /// The certificate authorities cannot be read.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let transport = Transport::new(options)?;
        Ok(Self { transport })
    }

    /// Whether the registry of an image answers at all: as nobody, for nothing, and whatever it
    /// answers.
    ///
    /// # Errors
    /// What it does in place of an answer.
    pub async fn knock(&self, reference: &Reference) -> Result<(), Refusal> {
        self.transport.knock(reference).await
    }

    /// Looks an image up, as each of the logins in turn until one is let in; with none, as anybody.
    /// Of several platforms, those that are `wanted` are looked into.
    ///
    /// # Errors
    /// Why not, as the first login was told.
    pub async fn look_up(
        &self,
        reference: &Reference,
        logins: &[Login],
        wanted: &(dyn Fn(&Platform) -> bool + Send + Sync),
    ) -> Result<Found, Refusal> {
        let ask = |login| self.look_up_as(reference, login, wanted);
        in_turn(each(logins), ask).await
    }

    async fn look_up_as(
        &self,
        reference: &Reference,
        login: Option<&Login>,
        wanted: &(dyn Fn(&Platform) -> bool + Send + Sync),
    ) -> Result<Found, Refusal> {
        // It costs a registry nothing, and some count what is fetched.
        self.head(reference, login, None).await?;
        let version = reference.version();
        let (digest, manifest) = self.manifest(reference, login, version).await?;
        let images = match manifest {
            Manifest::Image(content) => {
                let platform = self.platform(reference, login, &content).await?;
                let content = Some(Ok(content));
                let digest = digest.clone();
                vec![Image {
                    platform,
                    digest,
                    content,
                }]
            }
            Manifest::Index(entries) => {
                let mut images = Vec::new();
                for entry in bounded(entries, wanted) {
                    images.push(self.image(reference, login, entry, wanted).await);
                }
                images
            }
        };
        Ok(Found { digest, images })
    }

    /// One image of an index.
    async fn image(
        &self,
        reference: &Reference,
        login: Option<&Login>,
        entry: manifest::Entry,
        wanted: &(dyn Fn(&Platform) -> bool + Send + Sync),
    ) -> Image {
        let manifest::Entry { platform, digest } = entry;
        let mut image = Image {
            platform,
            digest,
            content: None,
        };
        if image.platform.as_ref().is_some_and(|it| !wanted(it)) {
            return image;
        }
        let content = match self.manifest(reference, login, &image.digest).await {
            Ok((_, Manifest::Image(content))) => Ok(content),
            Ok((_, Manifest::Index(_))) => Err(Refusal::unusable("has an index within an index")),
            Err(refusal) => Err(refusal),
        };
        if let (None, Ok(content)) = (&image.platform, &content) {
            image.platform = self
                .platform(reference, login, content)
                .await
                .unwrap_or_default();
        }
        image.content = Some(content);
        image
    }

    /// What a reference stands for, by the registry's word and at the least cost, as this login or
    /// as anybody; where that is the digest that is `known`, it need not send anything.
    ///
    /// # Errors
    /// Why that is not told.
    pub async fn digest(
        &self,
        reference: &Reference,
        login: Option<&Login>,
        known: Option<&str>,
    ) -> Result<String, Refusal> {
        let told = self.head(reference, login, known).await?;
        match told.filter(|it| it.parse::<Digest>().is_ok()) {
            Some(digest) => Ok(digest),
            None => {
                let version = reference.version();
                let manifest = self.manifest(reference, login, version).await;
                manifest.map(|(digest, _)| digest)
            }
        }
    }

    /// Forgets the tokens that it was given: who asks for days must not gather them.
    pub fn forget(&self) {
        self.transport.forget();
    }

    /// The digest that a registry names, where it does.
    async fn head(
        &self,
        reference: &Reference,
        login: Option<&Login>,
        known: Option<&str>,
    ) -> Result<Option<String>, Refusal> {
        let ask = Ask {
            method: Method::HEAD,
            path: format!("manifests/{}", reference.version()),
            accept: manifest::ACCEPT,
            unless: known.map(str::to_owned),
            most: 0,
        };
        match self.transport.ask(reference, login, &ask).await {
            // Not every registry knows the question.
            Err(refusal) if refusal.status == Some(StatusCode::METHOD_NOT_ALLOWED) => Ok(None),
            // Why, is only told to those who ask for the whole.
            Err(refusal) if refusal.kind == Kind::Denied => Ok(None),
            answer => answer.map(|it| it.digest),
        }
    }

    /// A manifest and its digest, which is that of its bytes.
    async fn manifest(
        &self,
        reference: &Reference,
        login: Option<&Login>,
        version: &str,
    ) -> Result<(String, Manifest), Refusal> {
        let ask = Ask {
            method: Method::GET,
            path: format!("manifests/{version}"),
            accept: manifest::ACCEPT,
            unless: None,
            most: LARGEST_MANIFEST,
        };
        let answer = self.transport.ask(reference, login, &ask).await?;
        let digest = sha256(&answer.body);
        let asked = version.contains(':').then_some(version);
        for claim in [asked, answer.digest.as_deref()].into_iter().flatten() {
            verify(claim, &digest)?;
        }
        let manifest = Manifest::read(&answer.body).map_err(Refusal::unusable)?;
        Ok((digest, manifest))
    }

    /// What an image is built for, by its description.
    async fn platform(
        &self,
        reference: &Reference,
        login: Option<&Login>,
        content: &Content,
    ) -> Result<Option<Platform>, Refusal> {
        let ask = Ask {
            method: Method::GET,
            path: format!("blobs/{}", content.config),
            accept: "*/*",
            unless: None,
            most: LARGEST_CONFIG,
        };
        let answer = match self.transport.ask(reference, login, &ask).await {
            Ok(answer) => answer,
            Err(refusal) if refusal.kind == Kind::Missing => {
                return Err(Refusal::unusable(
                    "has its manifest, but not what that refers to",
                ));
            }
            // That it is there is known all the same.
            Err(_) => return Ok(None),
        };
        verify(&content.config, &sha256(&answer.body))?;
        Platform::read(&answer.body).map_err(Refusal::unusable)
    }
}

/// So many of those that are wanted, and so many of the others, in their order.
fn bounded(
    entries: Vec<manifest::Entry>,
    wanted: &(dyn Fn(&Platform) -> bool + Send + Sync),
) -> Vec<manifest::Entry> {
    let mut left = [MOST_PLATFORMS; 2];
    let fits = |it: &manifest::Entry| {
        let left = &mut left[usize::from(it.platform.as_ref().is_none_or(wanted))];
        let fits = *left > 0;
        *left = left.saturating_sub(1);
        fits
    };
    entries.into_iter().filter(fits).collect()
}

/// Asks as each of the logins in turn, until one is let in; `None` is anybody.
///
/// # Errors
/// Why not, as the first of them was told.
pub async fn in_turn<'a, T, F>(
    logins: impl Iterator<Item = Option<&'a Login>>,
    ask: impl Fn(Option<&'a Login>) -> F,
) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, Refusal>>,
{
    let mut refusal = None;
    for login in logins {
        match ask(login).await {
            Err(it) if it.depends_on_login() => refusal = refusal.or(Some(it)),
            answer => return answer,
        }
    }
    Err(refusal.unwrap_or_else(Refusal::nobody))
}

/// Each login, or once nobody.
fn each(logins: &[Login]) -> impl Iterator<Item = Option<&Login>> {
    let anybody = logins.is_empty().then_some(None);
    logins.iter().map(Some).chain(anybody)
}

fn verify(claim: &str, digest: &str) -> Result<(), Refusal> {
    if claim == digest {
        return Ok(());
    }
    if !claim.starts_with("sha256:") {
        return Err(Refusal::unusable("uses digests other than sha256"));
    }
    Err(Refusal::unusable(format!(
        "names the digest {claim} and sends other bytes ({digest})"
    )))
}

fn sha256(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes);
    let hex: String = hex.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_wants_is_looked_into_wherever_in_an_index_it_stands() {
        let entry = |architecture: String| manifest::Entry {
            platform: Some(Platform {
                os: "linux".into(),
                architecture,
                variant: String::new(),
            }),
            digest: String::new(),
        };
        let others = (0..40).map(|it| entry(format!("other{it}")));
        let last = (0..40).map(|_| entry("amd64".into()));
        let amd64 = |it: &Platform| it.architecture == "amd64";
        let kept = bounded(others.chain(last).collect(), &amd64);
        let wanted = |it: &&manifest::Entry| it.platform.as_ref().is_some_and(amd64);
        assert_eq!(kept.iter().filter(wanted).count(), MOST_PLATFORMS);
        assert_eq!(kept.len(), 2 * MOST_PLATFORMS);
    }
}
