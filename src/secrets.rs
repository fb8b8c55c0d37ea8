//! The pull credentials, read: from the Secrets that Pods name, or from a docker config.

mod docker;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{Api, Client, Error};

use crate::credentials::{Keyring, SecretKind, Source, entries};
use crate::requests;

pub use docker::Docker;

/// So many objects are asked for at once.
const AT_ONCE: usize = 8;

/// The namespace and the name of something.
type Place = (String, String);

/// The keyrings of several Pods, or in a few words why one cannot be known. Every object is read
/// once, whoever names it.
pub async fn keyrings(
    client: &Client,
    sources: &BTreeSet<Source>,
) -> BTreeMap<Source, Result<Keyring, String>> {
    let nameless = sources.iter().filter(|it| it.secrets.is_empty());
    let accounts = nameless.map(|it| (it.namespace.clone(), it.service_account.clone()));
    let accounts = read(accounts.collect(), |place| account(client, place)).await;
    let named: BTreeMap<&Source, Result<Vec<String>, String>> = sources
        .iter()
        .map(|source| {
            let place = (source.namespace.clone(), source.service_account.clone());
            let names = match accounts.get(&place) {
                Some(of_account) if source.secrets.is_empty() => of_account.clone(),
                _ => Ok(source.secrets.clone()),
            };
            (source, names)
        })
        .collect();
    let places = named.iter().flat_map(|(source, names)| {
        let names = names.iter().flatten();
        names.map(|name| (source.namespace.clone(), name.clone()))
    });
    let secrets = read(places.collect(), |place| secret(client, place)).await;
    let keyring = |(source, names): (&Source, Result<Vec<String>, String>)| {
        let keyring = names.and_then(|names| join(&source.namespace, &names, &secrets));
        (source.clone(), keyring)
    };
    named.into_iter().map(keyring).collect()
}

type Read<T> = BTreeMap<Place, Result<T, String>>;

async fn read<T, F: Future<Output = Result<T, String>>>(
    places: BTreeSet<Place>,
    one: impl Fn(Place) -> F,
) -> Read<T> {
    stream::iter(places)
        .map(|place| {
            let read = one(place.clone());
            async move { (place, read.await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// The entries of all secrets together.
fn join(
    namespace: &str,
    names: &[String],
    secrets: &Read<Option<Secret>>,
) -> Result<Keyring, String> {
    let mut all = Vec::new();
    for name in names {
        let place = (namespace.to_owned(), name.clone());
        // Kubelets go on without a secret that is not there.
        let Some(secret) = secrets.get(&place).cloned().transpose()?.flatten() else {
            continue;
        };
        let kind = SecretKind::of(secret.type_.as_deref().unwrap_or_default());
        let data = kind.and_then(|kind| Some((kind, secret.data?.remove(kind.key())?)));
        let Some((kind, data)) = data.filter(|(_, data)| !data.0.is_empty()) else {
            continue;
        };
        let read = entries(kind, &data.0);
        all.extend(
            read.map_err(|why| {
                format!("the pull secret {namespace}/{name} cannot be used: {why}")
            })?,
        );
    }
    Ok(Keyring::new(all))
}

async fn account(client: &Client, (namespace, name): Place) -> Result<Vec<String>, String> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
    let account = within(accounts.get_opt(&name)).await;
    let account = account.map_err(|why| unread("ServiceAccount", &namespace, &name, &why))?;
    let secrets = account.and_then(|it| it.image_pull_secrets);
    let names = secrets.unwrap_or_default().into_iter().map(|it| it.name);
    Ok(names.filter(|name| !name.is_empty()).collect())
}

async fn secret(client: &Client, (namespace, name): Place) -> Result<Option<Secret>, String> {
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    let secret = within(secrets.get_opt(&name)).await;
    secret.map_err(|why| unread("pull secret", &namespace, &name, &why))
}

/// What a request brings before its deadline, or in a few words why it brings nothing.
async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match requests::within(request).await {
        Ok(found) => Ok(found),
        Err(Error::Api(status)) if status.is_forbidden() => Err("you may not".to_owned()),
        Err(Error::Api(status)) => Err(format!("the API server answers {}", status.code)),
        Err(_) => Err("the API server does not answer".to_owned()),
    }
}

fn unread(what: &str, namespace: &str, name: &str, why: &str) -> String {
    format!("the {what} {namespace}/{name} cannot be read: {why}")
}
