//! What registries are asked beside the loop: nobody waits for them, and one that hangs is given up at
//! its deadline.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use tokio::task::{JoinSet, spawn_blocking};

use crate::credentials::{Login, Source};
use crate::digests::{Build, Question, Uses, questions};
use crate::registry::{Client, Options, Platform, Reference, Refusal, in_turn};
use crate::requests::within;
use crate::secrets;

/// What came of something that was begun.
pub enum Told {
    /// What there is to ask for in a round.
    Round(Vec<Question>),
    /// Why that cannot be known now.
    NoRound(anyhow::Error),
    /// What a registry answered.
    Answer(Question, Result<Build, Refusal>),
}

/// Asks registries.
#[derive(Default)]
pub struct Lookout {
    client: Option<Arc<Client>>,
    under_way: JoinSet<(Option<Arc<Client>>, Told)>,
}

impl Lookout {
    /// Begins to find out as whom a round of questions is to be asked. Pull secrets are read where the
    /// operator may read those of the namespace that it looks after, or of all.
    pub fn prepare(&mut self, api: kube::Client, namespace: Option<String>, uses: Uses) {
        let known = self.client.clone();
        self.under_way.spawn(async move {
            match prepare(known, &api, namespace, &uses).await {
                Ok((client, questions)) => (Some(client), Told::Round(questions)),
                Err(why) => (None, Told::NoRound(why)),
            }
        });
    }

    /// Begins to ask a question.
    pub fn ask(&mut self, question: Question) {
        // There is one before there are questions.
        let Some(client) = self.client.clone() else {
            return;
        };
        self.under_way.spawn(async move {
            let answer = ask(&client, &question).await;
            (None, Told::Answer(question, answer))
        });
    }

    /// What has come to its end; never, where nothing is under way.
    pub async fn next(&mut self) -> Told {
        loop {
            match self.under_way.join_next().await {
                Some(Ok((client, told))) => {
                    self.client = client.or(self.client.take());
                    return told;
                }
                // It was given up.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

async fn prepare(
    known: Option<Arc<Client>>,
    api: &kube::Client,
    namespace: Option<String>,
    uses: &Uses,
) -> anyhow::Result<(Arc<Client>, Vec<Question>)> {
    let client = match known {
        Some(client) => client,
        // It reads the certificate authorities of the machine.
        None => Arc::new(spawn_blocking(|| Client::new(&Options::default())).await??),
    };
    client.forget();
    let keyrings = if may_read_secrets(api, namespace).await? {
        let sources: BTreeSet<Source> = uses.values().flatten().cloned().collect();
        Some(secrets::keyrings(api, &sources).await)
    } else {
        None
    };
    Ok((client, questions(uses, keyrings.as_ref())))
}

/// A right that is not there is asked for once a round, and not once for each secret.
async fn may_read_secrets(api: &kube::Client, namespace: Option<String>) -> anyhow::Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace,
                verb: Some("get".into()),
                resource: Some("secrets".into()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews = Api::<SelfSubjectAccessReview>::all(api.clone());
    let answer = within(reviews.create(&PostParams::default(), &review)).await;
    let answer = answer.context("whether pull secrets may be read is not known")?;
    Ok(answer.status.is_some_and(|it| it.allowed))
}

/// Asks as each of the logins in turn, until one is let in.
async fn ask(client: &Client, question: &Question) -> Result<Build, Refusal> {
    let reference = question.image.parse::<Reference>();
    let reference = reference.map_err(|_| Refusal::nobody())?;
    let logins = question.logins.iter().map(Option::as_ref);
    let ask = |login| ask_as(client, &reference, login, question);
    in_turn(logins, ask).await
}

/// What a registry says at little cost is believed as long as it is no news.
async fn ask_as(
    client: &Client,
    reference: &Reference,
    login: Option<&Login>,
    question: &Question,
) -> Result<Build, Refusal> {
    let known = question.known.as_deref();
    let digest = client.digest(reference, login, known).await?;
    let is_news = known.is_some_and(|known| known != digest);
    if !is_news && !question.whole {
        return Ok(Build {
            digest,
            names: BTreeSet::new(),
        });
    }
    let login = login.map(std::slice::from_ref).unwrap_or_default();
    let every = |_: &Platform| true;
    let found = client.look_up(reference, login, &every).await?;
    Ok(Build {
        names: found.digests().map(str::to_owned).collect(),
        digest: found.digest,
    })
}
