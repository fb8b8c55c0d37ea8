//! Whom the registries are asked as, how often, and what becomes of one that fails.

use std::collections::BTreeMap;

use super::*;
use crate::credentials::{Entry, Pattern};

#[test]
fn a_registry_that_fails_is_left_alone_for_longer_each_time_and_told_from_the_second() {
    let mut watch = Watch::new(&[]);
    watch.begin(&[CODEX, HERMES, OTHER]);
    let failing = watch.ask().expect("a question");
    let other = watch.ask().expect("of another registry");
    assert_eq!((&*failing.image, &*other.image), (CODEX, OTHER));
    assert_eq!(watch.ask(), None, "one at a time of each");
    watch.hear(other, is('1'));
    assert!(!watch.hear(failing, refused(503, None)), "once is no news");
    assert_eq!(watch.ask(), None);
    let mut pauses = Vec::new();
    for times in 2..=4 {
        let due = watch.digests.hosts.due().expect("it is asked again");
        pauses.push(due.duration_since(watch.now).as_secs());
        watch.pass(due.duration_since(watch.now).as_secs() + 1);
        let again = watch.ask().expect("its pause is over");
        assert_eq!(again.image, CODEX, "the same");
        assert_eq!(watch.hear(again, refused(503, None)), times == 2);
    }
    assert!((27..=33).contains(&pauses[0]), "{pauses:?}");
    assert!((54..=66).contains(&pauses[1]), "{pauses:?}");
    assert!((108..=132).contains(&pauses[2]), "{pauses:?}");
    let told = UnwatchedImages {
        registry: "a.example.com".into(),
        because: "answered 503".into(),
        images: 2,
        among_them: vec![CODEX.into(), HERMES.into()],
    };
    assert_eq!(watch.digests.unwatched_images(), [told]);
    watch.pass(3600);
    let again = watch.ask().expect("its pause is over");
    assert!(watch.hear(again, is('1')));
    assert_eq!(watch.digests.unwatched_images(), []);
    assert_eq!(watch.ask().map(|it| it.image).as_deref(), Some(HERMES));
}

#[test]
fn a_pause_that_is_asked_for_is_kept_over_the_rounds() {
    let mut watch = Watch::new(&[]);
    watch.begin(&[CODEX]);
    watch.told(CODEX, refused(429, Some(2000)));
    for _ in 0..5 {
        watch.next_round(&[CODEX]);
        assert_eq!(watch.ask(), None, "{:?}", watch.clock);
    }
    // Five rounds are 1650 s.
    watch.pass(349);
    assert_eq!(watch.ask(), None);
    watch.pass(202);
    assert!(watch.ask().is_some());
}

#[test]
fn a_pause_without_an_end_ends_after_a_day() {
    let mut watch = Watch::new(&[]);
    watch.begin(&[CODEX]);
    watch.told(CODEX, refused(429, Some(u64::MAX)));
    let due = watch.digests.hosts.due().expect("it is asked again");
    let pause = due.duration_since(watch.now).as_secs();
    assert!((86_400..=95_040).contains(&pause), "{pause}");
    let mut watch = Watch::new(&[]);
    watch.begin(&[CODEX]);
    watch.told(CODEX, refused(403, Some(u64::MAX)));
    watch.pass(86_400);
    watch.begin(&[CODEX]);
    assert!(watch.ask().is_some());
}

#[test]
fn an_image_that_is_refused_is_told_at_once_and_asked_for_less_often() {
    let mut watch = Watch::new(&[]);
    watch.begin(&[CODEX]);
    assert!(watch.told(CODEX, refused(401, None)));
    let told = watch.digests.unwatched_images();
    assert_eq!(told[0].because, "answered 401", "in words that stay");
    let mut asked = Vec::new();
    for round in 1..=12 {
        watch.next_round(&[CODEX]);
        if let Some(question) = watch.ask() {
            asked.push(round);
            assert!(!watch.hear(question, refused(401, None)), "no news");
        }
    }
    assert_eq!(asked, [1, 3, 7]);
    // Another password is tried at once.
    watch.pass(400);
    assert!(watch.digests.round_is_due(watch.now));
    let login = Login::Password {
        username: "alice".into(),
        password: "secret".into(),
    };
    let with = question(CODEX, vec![Some(login)]);
    watch.digests.begin(vec![with], watch.now);
    assert!(watch.told(CODEX, is('1')));
    assert_eq!(watch.digests.unwatched_images(), []);
}

#[test]
fn no_more_than_four_registries_are_asked_at_once() {
    let mut watch = Watch::new(&[]);
    let images: Vec<_> = (0..6)
        .map(|it| format!("r{it}.example.com/a/b:v1"))
        .collect();
    let images: Vec<_> = images.iter().map(String::as_str).collect();
    watch.begin(&images);
    let mut asked: Vec<_> = std::iter::from_fn(|| watch.ask()).collect();
    assert_eq!(asked.len(), 4);
    assert_eq!(watch.digests.hosts.due(), None, "not before an answer");
    watch.hear(asked.remove(0), is('1'));
    assert_eq!(watch.digests.hosts.due(), Some(watch.now));
    assert!(watch.ask().is_some());
}

fn keyring(names: &[&str]) -> Keyring {
    let entry = |name: &&str| Entry {
        pattern: Pattern::new("a.example.com"),
        login: login(name),
    };
    Keyring::new(names.iter().map(entry).collect())
}

fn login(name: &str) -> Login {
    Login::Password {
        username: name.into(),
        password: "secret".into(),
    }
}

#[test]
fn an_image_is_asked_for_as_each_of_those_who_use_it_and_as_each_once() {
    let uses = Uses::from([(
        CODEX.to_owned(),
        ["a", "b", "c"].map(source).into_iter().collect(),
    )]);
    let keyrings = BTreeMap::from([
        (source("a"), Ok(keyring(&["alice"]))),
        (source("b"), Ok(keyring(&["bob", "alice"]))),
        (source("c"), Ok(keyring(&[]))),
    ]);
    let asked = questions(&uses, Some(&keyrings));
    let logins = vec![Some(login("alice")), Some(login("bob")), None];
    assert_eq!(asked, [question(CODEX, logins)]);

    let many: Vec<_> = (0..9).map(|it| format!("user{it}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let keyrings = BTreeMap::from([(source("a"), Ok(keyring(&many)))]);
    assert_eq!(questions(&uses, Some(&keyrings))[0].logins.len(), LOGINS);
}

#[test]
fn who_may_not_read_secrets_asks_as_anybody_and_says_so_when_refused() {
    let uses = Uses::from([(CODEX.to_owned(), BTreeSet::from([source("a")]))]);
    let mut watch = Watch::new(&[]);
    watch.digests.begin(questions(&uses, None), watch.now);
    let asked = watch.ask().expect("a question");
    assert_eq!(asked.logins, [None]);
    watch.hear(asked, refused(401, None));
    assert_eq!(
        watch.digests.unwatched_images()[0].because,
        "answered 401; asked as anybody, as the operator may not read pull secrets"
    );
}

#[test]
fn nothing_is_asked_where_the_credentials_cannot_be_read() {
    let uses = Uses::from([(CODEX.to_owned(), BTreeSet::from([source("a")]))]);
    let why = "the pull secret a/x cannot be used: it is broken";
    let keyrings = BTreeMap::from([(source("a"), Err(why.to_owned()))]);
    let mut watch = Watch::new(&[]);
    assert!(
        watch
            .digests
            .begin(questions(&uses, Some(&keyrings)), watch.now)
    );
    assert_eq!(watch.ask(), None);
    let told = &watch.digests.unwatched_images()[0];
    assert_eq!(told.because, format!("is not asked: {why}"));
    watch.next_round(&[CODEX]);
    assert!(watch.told(CODEX, is('1')), "it is over");
}
