use super::*;
use crate::settings::samples::{DIGEST, data, environment, settings};

const A: &str = "a.example/x";
const B: &str = "b.example/x";

/// A process with what it has in force, and the fleet ConfigMap that outlives it.
struct World {
    fleet: Source,
    current: Option<Settings>,
    minute: i64,
    writes: usize,
}

impl World {
    fn new() -> Self {
        World {
            fleet: Source::Absent,
            current: None,
            minute: 0,
            writes: 0,
        }
    }

    /// The process looks at the settings, and again when its own write comes back: the second look
    /// must find nothing to do.
    fn see(&mut self, settings: &Source) -> InForce {
        let seen = self.pass(settings);
        let writes = self.writes;
        assert_eq!(self.pass(settings), seen);
        assert_eq!(self.writes, writes, "a second look wrote");
        seen
    }

    fn pass(&mut self, settings: &Source) -> InForce {
        let environment = Environment::default();
        let seen = in_force(settings, &self.fleet, self.current.as_ref(), &environment);
        self.minute += 1;
        let now = Timestamp::from_second(self.minute * 60).expect("in range");
        if let Some(changes) = record(&seen, &self.fleet, now) {
            assert!(!changes.is_empty());
            self.writes += 1;
            self.merge(changes);
        }
        self.current.clone_from(&seen.settings);
        seen
    }

    fn merge(&mut self, changes: Changes) {
        let mut stored = self.stored();
        for (key, value) in changes {
            match value {
                Some(value) => stored.insert(key, value),
                None => stored.remove(&key),
            };
        }
        self.fleet = Source::Present(stored);
    }

    fn stored(&self) -> BTreeMap<String, String> {
        match &self.fleet {
            Source::Present(stored) => stored.clone(),
            _ => BTreeMap::new(),
        }
    }

    fn restart(&mut self) {
        self.current = None;
    }

    fn get(&self, key: &str) -> Option<String> {
        self.stored().get(key).cloned()
    }
}

fn registry(prefix: &str) -> Source {
    Source::Present(data(&[(REGISTRY_KEY, prefix)]))
}

fn prefix(seen: &InForce) -> Option<&str> {
    seen.settings.as_ref().map(|s| s.registry().as_str())
}

#[test]
fn valid_settings_are_in_force_and_on_record() {
    let mut world = World::new();
    let seen = world.see(&registry(A));
    assert_eq!((prefix(&seen), seen.origin), (Some(A), Origin::ConfigMap));
    assert_eq!((seen.error, seen.warnings), (None, vec![]));
    let expected = data(&[
        ("registry", A),
        ("since", "1970-01-01T00:01:00Z"),
        (
            "lastGood",
            r#"{"MOLECULE_IMAGE_REGISTRY":"a.example/x","PROVISION_TIMEOUT_SECONDS":"600"}"#,
        ),
    ]);
    assert_eq!(world.stored(), expected);
    assert_eq!(world.writes, 1);

    world.restart();
    world.see(&registry(A));
    assert_eq!(world.writes, 1, "a restart changes nothing");
}

#[test]
fn a_switch_and_back_is_one_write_each_and_a_new_date() {
    let mut world = World::new();
    let mut dates = Vec::new();
    for (edit, prefix) in [A, B, A].into_iter().enumerate() {
        world.see(&registry(prefix));
        assert_eq!(world.writes, edit + 1);
        assert_eq!(world.get(FLEET_REGISTRY).as_deref(), Some(prefix));
        dates.push(world.get(FLEET_SINCE));
    }
    assert!(dates.is_sorted_by(|a, b| a < b), "{dates:?}");
}

#[test]
fn the_way_back_is_recorded_with_the_switch_and_only_then() {
    let mut world = World::new();
    let previous = |world: &World| previous_registry(&world.fleet).map(str::to_owned);
    world.see(&registry(A));
    assert_eq!(previous(&world), None, "there was no other");
    world.see(&registry(B));
    assert_eq!((previous(&world).as_deref(), world.writes), (Some(A), 2));

    // Neither another setting nor what is not taken is a switch, nor is a restart.
    let other = data(&[(REGISTRY_KEY, B), ("PLATFORM_URL", "http://p")]);
    world.see(&Source::Present(other));
    world.see(&registry("myorg"));
    world.restart();
    world.see(&registry(B));
    assert_eq!(previous(&world).as_deref(), Some(A));

    world.see(&registry(A));
    assert_eq!(previous(&world).as_deref(), Some(B), "and back again");
}

#[test]
fn what_a_hand_wrote_for_the_registry_is_no_way_back() {
    let mut world = World::new();
    world.see(&registry(A));
    let mut stored = world.stored();
    stored.insert(FLEET_REGISTRY.to_owned(), "nonsense".to_owned());
    world.fleet = Source::Present(stored);
    world.see(&registry(A));
    assert_eq!(previous_registry(&world.fleet), None);
    world.see(&registry(B));
    assert_eq!(previous_registry(&world.fleet), Some(A));
}

#[test]
fn another_setting_does_not_change_since_when_the_registry_is_in_force() {
    let mut world = World::new();
    world.see(&registry(A));
    let since = world.get(FLEET_SINCE);
    let url = ("PLATFORM_URL", "https://a.example");
    world.see(&Source::Present(data(&[(REGISTRY_KEY, A), url])));
    assert_eq!((world.get(FLEET_SINCE), world.writes), (since, 2));
}

#[test]
fn an_edit_that_changes_no_setting_is_no_write() {
    let mut world = World::new();
    world.see(&registry(A));
    let odd = [
        (REGISTRY_KEY, A),
        ("IMAGE_REGISTRY", B),
        ("EXTRA_RUNTIMES", "codex"),
    ];
    let seen = world.see(&Source::Present(data(&odd)));
    assert_eq!(seen.warnings.len(), 2);
    assert_eq!(world.writes, 1);
}

#[test]
fn absent_settings_are_the_defaults_and_the_environment() {
    let own = environment(B);
    let seen = in_force(&Source::Absent, &Source::Absent, Some(&settings(&[])), &own);
    assert_eq!((prefix(&seen), seen.origin), (Some(B), Origin::Defaults));

    let emptied = Source::Present(BTreeMap::new());
    let seen = in_force(&emptied, &Source::Absent, None, &own);
    assert_eq!((prefix(&seen), seen.origin), (Some(B), Origin::ConfigMap));
}

#[test]
fn invalid_settings_change_nothing_but_the_error() {
    let mut world = World::new();
    world.see(&registry(A));
    let before = world.stored();

    let seen = world.see(&registry("myorg"));
    assert_eq!((prefix(&seen), seen.origin), (Some(A), Origin::LastGood));
    let error = seen.error.expect("invalid");
    assert!(error.contains("\"myorg\""), "{error}");
    let mut expected = before.clone();
    expected.insert(FLEET_ERROR.to_owned(), error.clone());
    assert_eq!((world.stored(), world.writes), (expected.clone(), 2));

    world.restart();
    let seen = world.see(&registry("myorg"));
    assert_eq!((prefix(&seen), seen.origin), (Some(A), Origin::LastGood));
    assert_eq!(seen.error, Some(error));
    assert_eq!(
        (world.stored(), world.writes),
        (expected, 2),
        "a restart changes nothing"
    );

    world.see(&registry("myorg2"));
    assert_eq!(world.writes, 3, "another error is written");

    world.see(&registry(A));
    assert_eq!(
        (world.stored(), world.writes),
        (before, 4),
        "the error goes, the date stays"
    );
}

#[test]
fn every_setting_survives_a_restart_with_invalid_settings() {
    let full = [
        (REGISTRY_KEY, A),
        ("EXTRA_RUNTIMES", "zed"),
        ("PIN_zed", DIGEST),
        ("IMAGE_PULL_SECRETS", "b,a"),
        ("PLATFORM_URL", "http://p"),
        ("PROVISION_TIMEOUT_SECONDS", "7"),
        ("WATCH_DIGESTS_SECONDS", "300"),
    ];
    let mut world = World::new();
    world.see(&Source::Present(data(&full)));
    world.restart();
    assert_eq!(
        world.see(&registry("myorg")).settings,
        Some(settings(&full))
    );
}

#[test]
fn a_bad_environment_changes_nothing_either() {
    let own = environment("myorg");
    let current = settings(&[(REGISTRY_KEY, A)]);
    let seen = in_force(&Source::Absent, &Source::Absent, Some(&current), &own);
    assert_eq!((prefix(&seen), seen.origin), (Some(A), Origin::LastGood));
    assert!(
        seen.error
            .expect("invalid")
            .starts_with("The flag --registry or the environment")
    );

    // The record is explicit about its registry and therefore stands on its own.
    let mut world = World::new();
    world.see(&registry(A));
    let seen = in_force(&Source::Absent, &world.fleet, None, &own);
    assert_eq!((prefix(&seen), seen.origin), (Some(A), Origin::LastGood));
}

#[test]
fn with_nothing_to_go_back_to_new_rollouts_wait() {
    let mut world = World::new();
    let seen = world.see(&registry("myorg"));
    assert_eq!((prefix(&seen), seen.origin), (None, Origin::Nothing));
    let error = seen.error.expect("invalid");
    assert_eq!(world.stored(), data(&[(FLEET_ERROR, &error)]));

    let seen = world.see(&registry(A));
    assert_eq!((prefix(&seen), world.get(FLEET_ERROR)), (Some(A), None));
    assert_eq!(world.writes, 2);
}

#[test]
fn the_manifests_ship_an_empty_record() {
    let empty = [FLEET_LAST_GOOD, FLEET_ERROR, FLEET_REGISTRY, FLEET_SINCE].map(|key| (key, ""));
    let mut world = World::new();
    world.fleet = Source::Present(data(&empty));
    let seen = world.see(&registry("myorg"));
    assert_eq!((prefix(&seen), seen.origin), (None, Origin::Nothing));
    world.see(&registry(A));
    assert_eq!(world.get(FLEET_REGISTRY).as_deref(), Some(A));
}

#[test]
fn unreadable_is_never_absent() {
    let unreadable = Source::Unreadable("403 Forbidden".to_owned());
    let mut world = World::new();
    world.see(&registry(A));
    let seen = world.see(&unreadable);
    assert_eq!((prefix(&seen), seen.origin), (Some(A), Origin::LastGood));
    let error = seen.error.expect("unreadable");
    assert_eq!(error, "The settings cannot be read: 403 Forbidden.");

    world.restart();
    let seen = world.see(&unreadable);
    assert_eq!((prefix(&seen), seen.origin), (Some(A), Origin::LastGood));

    let seen = in_force(&unreadable, &unreadable, None, &Environment::default());
    assert_eq!((prefix(&seen), seen.origin), (None, Origin::Nothing));
    let both = "The settings cannot be read: 403 Forbidden. \
                The last good settings cannot be read: 403 Forbidden.";
    assert_eq!(seen.error.as_deref(), Some(both));
}

#[test]
fn before_the_first_look_nothing_is_known_and_nothing_is_written() {
    let mut world = World::new();
    world.see(&registry(A));
    world.see(&registry("myorg"));
    let writes = world.writes;

    world.restart();
    let seen = world.see(&Source::Unread);
    assert_eq!((seen.settings, seen.error), (None, None));
    world.current = Some(settings(&[(REGISTRY_KEY, B)]));
    let seen = world.see(&Source::Unread);
    assert_eq!((prefix(&seen), seen.origin), (Some(B), Origin::Unread));
    assert_eq!(
        world.writes, writes,
        "the error on record stands until the settings are read"
    );
}

#[test]
fn from_outside_the_record_counts_first_and_the_settings_where_it_says_nothing() {
    let mut world = World::new();
    let outside = seen_from_outside(&registry(B), &world.fleet);
    assert_eq!(
        (prefix(&outside), outside.origin),
        (Some(B), Origin::ConfigMap)
    );
    world.see(&registry(A));
    // The operator's own environment says A, which nobody else sees.
    let outside = seen_from_outside(&Source::Absent, &world.fleet);
    assert_eq!(
        (prefix(&outside), outside.origin),
        (Some(A), Origin::Defaults)
    );
    let invalid = seen_from_outside(&registry("myorg"), &world.fleet);
    assert_eq!(prefix(&invalid), Some(A));
    assert!(invalid.error.is_some());
    let spoilt = Source::Present(data(&[(FLEET_LAST_GOOD, "{")]));
    assert_eq!(prefix(&seen_from_outside(&registry(B), &spoilt)), Some(B));
}

#[test]
fn nothing_is_written_over_a_record_that_was_not_read() {
    let mut world = World::new();
    for unknown in [Source::Unread, Source::Unreadable("timeout".to_owned())] {
        world.fleet = unknown;
        world.see(&registry(A));
        world.see(&registry("myorg"));
    }
    assert_eq!(world.writes, 0);
}

#[test]
fn an_invalid_record_is_ignored_said_and_mended() {
    for (bad, why) in [
        ("{", "not a JSON object of strings."),
        ("[]", "not a JSON object of strings."),
        (
            r#"{"MOLECULE_IMAGE_REGISTRY":1}"#,
            "not a JSON object of strings.",
        ),
        ("{}", "MOLECULE_IMAGE_REGISTRY is missing."),
        (
            r#"{"MOLECULE_IMAGE_REGISTRY":"https://x.example"}"#,
            "MOLECULE_IMAGE_REGISTRY is \"https://x.example\", which has a scheme: \
             write \"x.example\".",
        ),
    ] {
        let mut world = World::new();
        world.fleet = Source::Present(data(&[(FLEET_LAST_GOOD, bad)]));
        let seen = world.see(&registry("myorg"));
        assert_eq!((prefix(&seen), seen.origin), (None, Origin::Nothing));
        let error = seen.error.expect("invalid");
        let said = format!(" The last good settings are ignored, as they are invalid: {why}");
        assert!(error.ends_with(&said), "{error}");
        assert_eq!(world.get(FLEET_LAST_GOOD).as_deref(), Some(bad));

        world.see(&registry(A));
        world.restart();
        assert_eq!(prefix(&world.see(&registry("myorg"))), Some(A));
    }
}

#[test]
fn a_record_that_is_lost_while_the_settings_are_invalid_is_written_again() {
    let mut world = World::new();
    world.see(&registry(A));
    world.see(&registry("myorg"));
    world.fleet = Source::Absent;
    world.see(&registry("myorg"));
    world.restart();
    assert_eq!(prefix(&world.see(&registry("myorg"))), Some(A));
}

#[test]
fn what_others_keep_in_the_record_stays() {
    let mut world = World::new();
    world.fleet = Source::Present(data(&[("stuck", "7")]));
    world.see(&registry(A));
    world.see(&registry("myorg"));
    world.see(&registry(B));
    assert_eq!(world.get("stuck").as_deref(), Some("7"));
}

#[test]
fn a_record_that_says_the_same_in_other_words_is_not_written_again() {
    let later = r#"{ "MOLECULE_IMAGE_REGISTRY": "a.example/x", "FUTURE": "1" }"#;
    let since = "2026-01-01T00:00:00.5+01:00";
    let stored = [
        (FLEET_REGISTRY, A),
        (FLEET_SINCE, since),
        (FLEET_LAST_GOOD, later),
    ];
    let mut world = World::new();
    world.fleet = Source::Present(data(&stored));
    world.see(&registry(A));
    assert_eq!(world.writes, 0);
}

#[test]
fn a_record_that_someone_spoilt_is_mended() {
    for (key, spoilt) in [
        (FLEET_SINCE, "yesterday"),
        (FLEET_REGISTRY, B),
        (FLEET_ERROR, "old"),
    ] {
        let mut world = World::new();
        world.see(&registry(A));
        let mut stored = world.stored();
        stored.insert(key.to_owned(), spoilt.to_owned());
        world.fleet = Source::Present(stored);
        world.see(&registry(A));
        assert_eq!(world.writes, 2);
        assert_ne!(world.get(key).as_deref(), Some(spoilt));
    }
}
