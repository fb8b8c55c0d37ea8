//! The questions: each image with the credentials of those who need it, several at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, stream};
use kube::Client;

use super::cluster::Cluster;
use super::compare::{compare, names};
use super::judge::{self, Asked};
use super::needs::{Need, Running, User, sources};
use super::report::{Content, Finding, Row};
use super::{Access, Progress};
use crate::credentials::{Keyring, Login, Source};
use crate::probe::Prober;
use crate::registry::{self, Found, Platform, Reference, Refusal};
use crate::secrets::{Docker, keyrings};
use crate::settings::Settings;

/// So many images are asked for at once.
const AT_ONCE: usize = 8;
/// So many different builds that run under one tag are compared.
const MOST_BUILDS: usize = 4;

/// Asks registries on behalf of the Pods.
pub struct Asker<'a> {
    registry: registry::Client,
    docker: Option<Docker>,
    keyrings: BTreeMap<Source, Result<Keyring, String>>,
    cluster: &'a Cluster,
    access: &'a Access,
    /// Asks nodes what cannot be told from here.
    prober: Option<&'a Prober>,
    /// What is known to fail, whatever it is asked for.
    failing: Mutex<HashMap<String, Refusal>>,
}

/// One image, and those that have the same to show for it.
struct Question<'a> {
    need: &'a Need,
    logins: Result<Vec<Login>, String>,
    users: Vec<&'a User>,
}

impl Question<'_> {
    /// What runs of a tag, with the credentials of one that runs it; of a digest there is nothing to
    /// compare.
    fn running(&self) -> BTreeMap<&Running, &Source> {
        if self.need.image.contains('@') {
            return BTreeMap::new();
        }
        let users = self.users.iter();
        let running = users.filter_map(|it| Some((it.running.as_ref()?, &it.source)));
        running.collect()
    }
}

impl<'a> Asker<'a> {
    /// Reads the credentials that the Pods of all Workspaces would have under these settings.
    ///
    /// # Errors
    /// The certificate authorities or the docker config cannot be read.
    pub async fn new(
        client: &Client,
        cluster: &'a Cluster,
        settings: &Settings,
        access: &'a Access,
        prober: Option<&'a Prober>,
    ) -> anyhow::Result<Self> {
        let docker = access
            .docker_config
            .as_deref()
            .map(Docker::read)
            .transpose()?;
        let keyrings = match docker {
            Some(_) => BTreeMap::new(),
            None => keyrings(client, &sources(&cluster.workspaces, settings)).await,
        };
        Ok(Self {
            registry: registry::Client::new(&access.options)?,
            docker,
            keyrings,
            cluster,
            access,
            prober,
            failing: Mutex::default(),
        })
    }

    /// Asks for every image. `told` hears of each answer as it comes.
    ///
    /// The rows are in the order of the needs; an image has several where those who need it have
    /// different credentials for it.
    pub async fn rows(&self, needs: &[Need], told: &dyn Fn(Progress<'_>)) -> Vec<Row> {
        let mut questions = Vec::new();
        for need in needs {
            questions.extend(self.questions(need).await);
        }
        let of = questions.len();
        let answers = stream::iter(questions.iter().enumerate());
        let answers = answers.map(async |(place, question)| (place, self.answer(question).await));
        let mut answers = answers.buffer_unordered(AT_ONCE);
        let mut rows = BTreeMap::new();
        while let Some((place, row)) = answers.next().await {
            let done = rows.len() + 1;
            told(Progress {
                done,
                of,
                row: &row,
            });
            rows.insert(place, row);
        }
        rows.into_values().collect()
    }

    async fn questions<'n>(&self, need: &'n Need) -> Vec<Question<'n>> {
        let name = name(&need.image);
        if let Some(docker) = &self.docker {
            let host = crate::resolver::registry_host(&need.image);
            return vec![Question {
                need,
                logins: docker.logins(host).await,
                users: need.users.iter().collect(),
            }];
        }
        if need.users.is_empty() {
            return vec![Question {
                need,
                logins: Ok(self.anyones(name)),
                users: Vec::new(),
            }];
        }
        let mut by_logins: Vec<Question<'n>> = Vec::new();
        for user in &need.users {
            let logins = self.logins(&user.source, name);
            match by_logins.iter_mut().find(|it| it.logins == logins) {
                Some(question) => question.users.push(user),
                None => by_logins.push(Question {
                    need,
                    logins,
                    users: vec![user],
                }),
            }
        }
        by_logins
    }

    fn logins(&self, source: &Source, name: &str) -> Result<Vec<Login>, String> {
        let keyring = self.keyrings.get(source);
        match keyring {
            Some(Ok(keyring)) => Ok(keyring.logins(name)),
            Some(Err(why)) => Err(why.clone()),
            None => Ok(Vec::new()),
        }
    }

    /// What somebody has for an image that nobody runs yet.
    fn anyones(&self, name: &str) -> Vec<Login> {
        let keyrings = self.keyrings.values().flatten();
        let mut seen = BTreeSet::new();
        let mut logins: Vec<_> = keyrings.flat_map(|it| it.logins(name)).collect();
        logins.retain(|it| seen.insert(it.clone()));
        logins
    }

    /// What the nodes are that those who need an image can be on; all, where that is not known of one.
    fn platforms(&self, question: &Question<'_>) -> BTreeSet<String> {
        let all = question.users.iter().map(|it| &it.platforms);
        if question.users.is_empty() {
            return self.cluster.platforms_for_anyone();
        }
        match all.clone().any(BTreeSet::is_empty) {
            true => self.cluster.platforms(),
            false => all.flatten().cloned().collect(),
        }
    }

    async fn answer(&self, question: &Question<'_>) -> Row {
        let nodes = &self.platforms(question);
        let asked = Asked {
            need: question.need,
            users: &question.users,
            nodes,
            logins: question.logins.as_ref().map_or(0, Vec::len),
            credentials_on_nodes: self.access.credentials_on_nodes,
        };
        let reference = match question.need.image.parse::<Reference>() {
            Ok(reference) => reference,
            Err(why) => return judge::unasked(&asked, &why.to_string()),
        };
        let logins = match &question.logins {
            Ok(logins) => logins,
            Err(why) => {
                let row = judge::unasked(&asked, why);
                if self.prober.is_none() {
                    return row;
                }
                let as_anybody = self.look_up(&reference, &[], nodes).await.err();
                return self.by_node(question, row, as_anybody.as_ref()).await;
            }
        };
        match self.look_up(&reference, logins, nodes).await {
            Ok(found) => {
                let beside = (&found, nodes);
                let content = self.content(question, &reference, logins, beside).await;
                judge::found(&asked, &found, content)
            }
            Err(refusal) => {
                let row = judge::refused(&asked, &refusal);
                self.by_node(question, row, Some(&refusal)).await
            }
        }
    }

    /// Lets a node answer what depends on its credentials. A registry that was not heard of is not
    /// asked for by a node: it would block all that the node pulls.
    async fn by_node(&self, question: &Question<'_>, row: Row, refusal: Option<&Refusal>) -> Row {
        let heard = refusal.is_none_or(|it| it.status.is_some());
        let depends = matches!(row.finding, Finding::Denied | Finding::CannotTell);
        let user = question.users.first();
        let known = user.and_then(|user| {
            let mut all = self.cluster.workspaces.iter();
            let known = all.find(|it| it.key == user.key)?;
            Some((&user.source, known.spec.as_ref().ok()?))
        });
        match (self.prober, known) {
            (Some(prober), Some((source, spec))) if heard && depends => {
                let answer = prober.ask(&question.need.image, source, spec).await;
                let running = question.running().into_keys();
                let running: Vec<_> = running.map(|it| it.digest.as_str()).collect();
                judge::by_node(row, answer, &running)
            }
            _ => row,
        }
    }

    /// Looks an image up for these platforms, unless its registry is known to fail.
    async fn look_up(
        &self,
        reference: &Reference,
        logins: &[Login],
        nodes: &BTreeSet<String>,
    ) -> Result<Found, Refusal> {
        let host = reference.host();
        if let Some(refusal) = self.failing(|it| it.get(host).cloned()) {
            return Err(refusal);
        }
        let wanted = |it: &Platform| nodes.is_empty() || nodes.contains(&it.short());
        let mut found = self.registry.look_up(reference, logins, &wanted).await;
        // One connection that breaks off says little, and what is said of the registry is said of all.
        if let Err(refusal) = &found
            && refusal.is_of_connection()
        {
            found = self.registry.look_up(reference, logins, &wanted).await;
        }
        if let Err(refusal) = &found
            && refusal.is_of_registry()
        {
            self.failing(|it| it.insert(host.to_owned(), refusal.clone()));
        }
        found
    }

    fn failing<T>(&self, look: impl FnOnce(&mut HashMap<String, Refusal>) -> T) -> T {
        look(&mut self.failing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How what was found compares with what runs, for these platforms. A digest needs no comparison.
    async fn content(
        &self,
        question: &Question<'_>,
        reference: &Reference,
        logins: &[Login],
        found: (&Found, &BTreeSet<String>),
    ) -> Option<Content> {
        if reference.is_digest() {
            return None;
        }
        let running = question.running();
        let mut compared = Vec::new();
        for (running, source) in running.iter().take(MOST_BUILDS) {
            let one = self
                .compare(running, source, reference, logins, found)
                .await;
            compared.push(one);
        }
        together(&compared, running.len())
    }

    async fn compare(
        &self,
        running: &Running,
        source: &Source,
        reference: &Reference,
        logins: &[Login],
        (found, nodes): (&Found, &BTreeSet<String>),
    ) -> Content {
        if names(found, &running.digest) {
            return Content::Same;
        }
        let then = reference.at(&running.digest);
        // Where the tag has moved, its registry may still know what it stood for.
        if let Ok(build) = self.look_up(&then, logins, nodes).await {
            return compare(&build, found, nodes);
        }
        let Ok(told) = running.image.parse::<Reference>() else {
            return Content::CannotTell;
        };
        let logins = match &self.docker {
            Some(docker) => docker.logins(told.host()).await,
            None => self.logins(source, &told.name()),
        };
        let (told, logins) = (told.at(&running.digest), logins.unwrap_or_default());
        match self.look_up(&told, &logins, nodes).await {
            Ok(build) => compare(&build, found, nodes),
            Err(_) => Content::CannotTell,
        }
    }
}

/// What was found out of several builds, of which not all may have been compared.
fn together(compared: &[Content], builds: usize) -> Option<Content> {
    let left_out = (builds > compared.len()).then_some(Content::CannotTell);
    compared.iter().copied().chain(left_out).max()
}

/// Without tag and digest.
fn name(image: &str) -> &str {
    let named = image.split('@').next().unwrap_or(image);
    match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_that_were_not_compared_are_a_doubt() {
        use Content::{CannotTell, Different, Same};
        for (compared, builds, expected) in [
            (vec![], 0, None),
            (vec![Same; 4], 4, Some(Same)),
            (vec![Same; 4], 5, Some(CannotTell)),
            (vec![Same, Different], 5, Some(Different)),
        ] {
            assert_eq!(together(&compared, builds), expected, "{compared:?}");
        }
    }
}
