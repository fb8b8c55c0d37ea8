//! What we told a Pod, as its annotations have it.

use std::collections::BTreeMap;

use crate::names;
use crate::seen::{Moved, Told};

pub(super) fn told(annotations: Option<&BTreeMap<String, String>>) -> Told {
    let get = |name: &str| annotations.and_then(|all| all.get(name));
    Told {
        image: get(names::TOLD_IMAGE).cloned(),
        settings: get(names::TOLD_SETTINGS).cloned(),
        revision: get(names::TOLD_REVISION).cloned(),
        failures: get(names::TOLD_FAILURES)
            .and_then(|it| it.parse().ok())
            .unwrap_or(0),
        healed: get(names::TOLD_HEALED).and_then(|it| it.parse().ok()),
        moved: get(names::MOVED_AT)
            .and_then(|it| it.parse().ok())
            .map(|at| {
                let from = get(names::MOVED_FROM).cloned();
                let over = get(names::MOVED_OVER).cloned();
                let back = get(names::MOVED_BACK).cloned();
                Box::new(Moved {
                    from,
                    at,
                    over,
                    back,
                })
            }),
    }
}
