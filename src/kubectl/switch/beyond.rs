//! Whom an edit repoints though only one namespace is looked at.

use kube::Client;
use kube::api::ListParams;

use crate::fleet::Source;
use crate::overview::FLEET_STATUS;
use crate::requests::within;
use crate::watch::Scope;
use crate::workspace::Workspace;

/// A namespace beyond the one that is looked at, of which a Workspace goes by the same settings, as
/// far as that may be seen.
pub(super) async fn beyond(client: &Client, scope: &Scope, fleet: &Source) -> Option<String> {
    let own = scope.namespace.as_ref()?;
    let others = format!("metadata.namespace!={own}");
    let params = ListParams::default().fields(&others).limit(1);
    for namespace in looked_after(fleet, own) {
        let scope = Scope {
            namespace,
            ..scope.clone()
        };
        let api = scope.objects::<Workspace>(client);
        let found = within(api.list_metadata(&params)).await.ok();
        let found = found.and_then(|it| it.items.into_iter().next()?.metadata.namespace);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Where operators go by these settings, by the overviews in their record: in all namespaces, or in
/// single ones besides this one.
fn looked_after(fleet: &Source, own: &str) -> Vec<Option<String>> {
    let Source::Present(record) = fleet else {
        return Vec::new();
    };
    let kept = record.iter().filter(|(_, text)| !text.is_empty());
    let kept = kept.filter_map(|(key, _)| key.strip_prefix(FLEET_STATUS));
    let namespace = |rest: &str| match rest.strip_prefix('.') {
        Some(name) => (name != own).then(|| Some(name.to_owned())),
        None => rest.is_empty().then_some(None),
    };
    kept.filter_map(namespace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_of_one_namespace_repoints_no_other() {
        for (keys, expected) in [
            (vec![], vec![]),
            (vec!["registry", "status.own"], vec![]),
            (vec!["status", "statusquo"], vec![None]),
            (vec!["status.a", "status.own"], vec![Some("a".to_owned())]),
        ] {
            let record = keys.iter().map(|it| ((*it).to_owned(), "x".to_owned()));
            let record = Source::Present(record.collect());
            assert_eq!(looked_after(&record, "own"), expected, "{keys:?}");
        }
        assert_eq!(looked_after(&Source::Absent, "own"), []);
    }
}
