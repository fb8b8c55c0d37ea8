//! What is pulled for a Workspace before a switch.

use serde_json::json;

use super::moving::REGISTRY;
use super::world::{A, B, World, settings};
use crate::seen::Credentials;

fn of_account() -> Credentials {
    Credentials::OfServiceAccount {
        namespace: "ns".into(),
        name: "default".into(),
    }
}

#[test]
fn it_is_asked_for_as_the_workspace_will_get_it() {
    let world = World::ready(&json!({}));
    let want = world
        .to_stock(&settings(&[(REGISTRY, B)]))
        .expect("an image");
    assert!(want.question.image.starts_with(B));
    assert_eq!(want.question.credentials, of_account(), "by another Pod");
    let paced = [(REGISTRY, B), ("ROLLOUT", "Paced")];
    let want = world.to_stock(&settings(&paced)).expect("an image");
    assert_eq!(want.question.credentials, Credentials::None, "in its Pod");
    let other = [&paced[..], &[("PLATFORM_URL", "https://p.example.com")]].concat();
    let want = world.to_stock(&settings(&other)).expect("an image");
    assert_eq!(want.question.credentials, of_account());
}

#[test]
fn what_it_runs_already_and_what_runs_nowhere_needs_none() {
    let world = World::ready(&json!({}));
    assert_eq!(world.to_stock(&settings(&[(REGISTRY, A)])), None);
    let world = World::new(&json!({}));
    assert_eq!(world.to_stock(&settings(&[(REGISTRY, B)])), None);
}
