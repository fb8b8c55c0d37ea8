use super::*;
use crate::seen::Version;
use crate::workspace::WorkspaceStatus;

fn workspace(generation: i64, revision: &str) -> Box<Workspace> {
    Box::new(Workspace {
        version: Version::default(),
        generation,
        deleting: false,
        spec: Err(String::new()),
        revision: revision.into(),
        status: WorkspaceStatus::default(),
    })
}

#[test]
fn what_a_user_asks_for_is_urgent_and_what_a_list_brings_or_we_tell_is_not() {
    let key = || Key {
        namespace: "teams".into(),
        name: "alice".into(),
    };
    let mut index = Index::default();
    let mut urgent = |change| index.take_in::<Workspace>(change).urgent;
    assert!(!urgent(Change::Listing));
    assert!(!urgent(Change::Listed(key(), workspace(1, "a"), 1)));
    assert!(!urgent(Change::Complete));
    let mut told = workspace(1, "a");
    told.status.observed_generation = Some(1);
    assert!(!urgent(Change::Applied(key(), told, 2)), "our own status");
    assert!(urgent(Change::Applied(key(), workspace(2, "b"), 3)));
    let restarted = workspace(2, "c");
    assert!(
        urgent(Change::Applied(key(), restarted, 4)),
        "an annotation"
    );
    assert!(!urgent(Change::Gone(key(), 5)));
    assert!(urgent(Change::Applied(key(), workspace(1, "a"), 6)), "new");
}

#[test]
fn who_no_longer_leads_keeps_what_it_saw_and_forgets_what_it_did() {
    let key = Key::new("teams", "alice");
    let namespace = Arc::clone(&key.namespace);
    let mut index = Index::default();
    index.take_in::<Workspace>(Change::Applied(key.clone(), workspace(1, "a"), 1));
    index.set_service(&namespace, Service::Refused);
    let memory = index.memory(&key).expect("it is there");
    memory.failures = 3;
    memory.namespace_terminating = true;
    index.forget();
    assert_eq!(index.memory(&key), Some(&mut Memory::default()));
    assert_eq!(index.keys().collect::<Vec<_>>(), [&key]);
    assert_eq!(
        index.service(&namespace),
        Service::Missing,
        "it is tried again"
    );
    index.set_service(&namespace, Service::Foreign);
    index.forget();
    assert_eq!(index.service(&namespace), Service::Foreign);
}

#[test]
fn the_totals_count_each_workspace_once() {
    let mut index = Index::default();
    for number in 0..100 {
        let mut workspace = workspace(1, "a");
        if number % 10 > 0 {
            workspace.status.state = Some(Reason::Ready);
            workspace.status.image = Some("ghcr.io/molecule-ai/image:latest".into());
        }
        let key = Key::new("teams", &format!("agent-{number}"));
        index.take_in(Change::Applied(key, workspace, 1));
    }
    let new = Total {
        state: None,
        stalled: false,
        registry: None,
    };
    let ready = Total {
        state: Some(Reason::Ready),
        registry: Some("ghcr.io".to_owned()),
        ..new.clone()
    };
    let totals = Totals::from([(new, 10), (ready, 90)]);
    assert_eq!(index.totals(), totals);
}

#[test]
fn what_somebody_waits_for_goes_on_first_when_its_service_comes() {
    let mut index = Index::default();
    let [alice, bob] = ["alice", "bob"].map(|name| Key::new("teams", name));
    for key in [&alice, &bob] {
        index.take_in(Change::Applied(key.clone(), workspace(1, "a"), 1));
    }
    index.hurry(&bob);
    let both = || vec![alice.clone(), bob.clone()];
    let [first, rest] = index.by_hurry(both());
    assert_eq!((first.keys, first.urgent), (vec![bob.clone()], true));
    assert_eq!((rest.keys, rest.urgent), (vec![alice.clone()], false));
    let [first, _] = index.by_hurry(both());
    assert_eq!(first.keys, [], "it does not wait any more");
}
