//! What has to change about a claim that exists.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::pod;
use crate::seen::{Claim, Key};
use crate::workspace::{Storage, WhenDeleted};

/// The change of a claim. What is absent stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The larger size, where it grows.
    pub size: Option<Quantity>,
    /// All its owners, where they change.
    pub owners: Option<Vec<OwnerReference>>,
}

/// The change, if there is one: a larger size, or other owners. A claim is never shrunk: the
/// API server refuses that, and someone may have grown it by hand.
#[must_use]
pub fn change(key: &Key, uid: &str, storage: &Storage, claim: &Claim) -> Option<Change> {
    let has = claim.size.as_deref().and_then(amount);
    let grows = has
        .zip(amount(&storage.size.0))
        .is_some_and(|(has, asked)| has < asked);
    let owners = owners(key, uid, storage.when_deleted, claim);
    (grows || owners.is_some()).then(|| Change {
        size: grows.then(|| storage.size.clone()),
        owners,
    })
}

fn owners(
    key: &Key,
    uid: &str,
    when_deleted: WhenDeleted,
    claim: &Claim,
) -> Option<Vec<OwnerReference>> {
    let owned = claim.owners.iter().any(|owner| owner.uid == uid);
    let others = claim
        .owners
        .iter()
        .filter(|owner| owner.uid != uid)
        .cloned();
    match (when_deleted, owned) {
        (WhenDeleted::Retain, true) => Some(others.collect()),
        (WhenDeleted::Delete, false) => Some(others.chain([pod::owner(&key.name, uid)]).collect()),
        (WhenDeleted::Retain, false) | (WhenDeleted::Delete, true) => None,
    }
}

/// 2^63 - 1 as the API server keeps it, rounded to a float.
const LARGEST: f64 = 9_223_372_036_854_775_807.0;

/// A quantity as a number. The API server rewrites quantities (`1024Mi` is read back as `1Gi`),
/// so their texts cannot be compared. Exact for whole numbers up to 2^53, that is 8 Pi.
fn amount(quantity: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    // The API server keeps no more than this, whatever was asked for.
    let stored = |number: f64| Some(number.min(LARGEST));
    // A number first: `1E3` is an exponent, `1E` a suffix.
    if let Ok(number) = quantity.parse() {
        return stored(number);
    }
    SUFFIXES.iter().find_map(|(suffix, factor)| {
        let number: f64 = quantity.strip_suffix(suffix)?.parse().ok()?;
        stored(number * factor)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "uid-1";

    fn storage(size: &str, when_deleted: WhenDeleted) -> Storage {
        Storage {
            size: Quantity(size.into()),
            when_deleted,
            ..Storage::default()
        }
    }

    fn claim(size: &str, owners: &[&str]) -> Claim {
        Claim {
            version: crate::seen::Version::default(),
            workspace: Some("a".into()),
            owners: owners.iter().map(|uid| pod::owner("a", uid)).collect(),
            deleting: false,
            pending: false,
            size: Some(size.into()),
        }
    }

    fn changed(storage: &Storage, claim: &Claim) -> Option<Change> {
        change(&Key::new("ns", "a"), UID, storage, claim)
    }

    #[test]
    fn equal_sizes_in_other_words_change_nothing() {
        for (asked, has) in [
            ("1024Mi", "1Gi"),
            ("1Gi", "1Gi"),
            ("1000M", "1G"),
            ("1e3", "1k"),
            ("0.5Gi", "512Mi"),
        ] {
            assert_eq!(
                changed(&storage(asked, WhenDeleted::Retain), &claim(has, &[])),
                None
            );
        }
    }

    #[test]
    fn a_size_that_no_number_holds_is_not_asked_for_again_and_again() {
        let kept = claim("9223372036854775807", &[]);
        assert_eq!(
            changed(&storage("9999999999999Ei", WhenDeleted::Retain), &kept),
            None
        );
    }

    #[test]
    fn a_larger_size_is_asked_for_and_a_smaller_one_never() {
        let grown = changed(&storage("2Gi", WhenDeleted::Retain), &claim("1Gi", &[]));
        assert_eq!(grown.and_then(|it| it.size), Some(Quantity("2Gi".into())));
        assert_eq!(
            changed(&storage("1Gi", WhenDeleted::Retain), &claim("2Gi", &[])),
            None
        );
    }

    #[test]
    fn the_owner_follows_when_deleted_and_other_owners_stay() {
        let uids = |change: Option<Change>| -> Option<Vec<String>> {
            Some(change?.owners?.into_iter().map(|owner| owner.uid).collect())
        };
        let delete = storage("1Gi", WhenDeleted::Delete);
        let retain = storage("1Gi", WhenDeleted::Retain);
        assert_eq!(
            uids(changed(&delete, &claim("1Gi", &["x"]))),
            Some(vec!["x".into(), UID.into()])
        );
        assert_eq!(
            uids(changed(&retain, &claim("1Gi", &["x", UID]))),
            Some(vec!["x".into()])
        );
        assert_eq!(uids(changed(&delete, &claim("1Gi", &[UID]))), None);
        assert_eq!(uids(changed(&retain, &claim("1Gi", &["x"]))), None);
    }
}
