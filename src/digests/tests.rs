mod asking;

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::registry::Kind;
use crate::seen::{Agent, AgentState, Key, Memory, Packed, Pod, Service, Turn, Workspace};
use crate::settings::samples::settings;
use crate::wire::{self, Wire};
use crate::workspace::WorkspaceSpec;

const EVERY: Duration = Duration::from_secs(300);
const CODEX: &str = "a.example.com/agents/workspace-template-codex:latest";
const HERMES: &str = "a.example.com/agents/workspace-template-hermes:v2";
const OTHER: &str = "b.example.com/agents/workspace-template-codex:latest";

fn digest(c: char) -> String {
    format!("sha256:{}", c.to_string().repeat(64))
}

/// The watch, and a clock that a test moves.
struct Watch {
    digests: Digests,
    now: Instant,
    clock: Timestamp,
}

impl Watch {
    fn new(recorded: &[OutdatedImage]) -> Self {
        let now = Instant::now();
        let mut watch = Self {
            digests: Digests::new(EVERY, recorded, 7, now),
            now,
            clock: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(watch.digests.due(), Some(now));
        assert!(watch.digests.round_is_due(now));
        assert!(!watch.digests.round_is_due(now), "once");
        watch
    }

    fn begin(&mut self, images: &[&str]) -> bool {
        let questions = images.iter().map(|it| question(it, vec![None])).collect();
        self.digests.begin(questions, self.now)
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.clock += Duration::from_secs(seconds);
    }

    /// Lets the time of the next round come, and begins it.
    fn next_round(&mut self, images: &[&str]) -> bool {
        self.pass(EVERY.as_secs() * 11 / 10);
        assert!(self.digests.round_is_due(self.now));
        self.begin(images)
    }

    fn ask(&mut self) -> Option<Question> {
        self.digests.next(self.now)
    }

    fn hear(&mut self, question: Question, answer: Result<Build, Refusal>) -> bool {
        let (now, clock) = (self.now, self.clock);
        self.digests.answered(question, answer, now, clock)
    }

    /// The only question of a round is answered so.
    fn told(&mut self, image: &str, answer: Result<Build, Refusal>) -> bool {
        let question = self.ask().expect("a question");
        assert_eq!(question.image, image);
        self.hear(question, answer)
    }

    fn outdated(&self, fleet: &Fleet) -> Vec<OutdatedImage> {
        self.digests.outdated_images(fleet.seen())
    }
}

fn question(image: &str, logins: Vec<Option<Login>>) -> Question {
    Question {
        image: image.to_owned(),
        logins,
        known: None,
        whole: false,
        doubt: None,
    }
}

fn is(c: char) -> Result<Build, Refusal> {
    Ok(Build {
        digest: digest(c),
        names: BTreeSet::new(),
    })
}

fn whole(c: char, names: &[char]) -> Result<Build, Refusal> {
    Ok(Build {
        digest: digest(c),
        names: names.iter().map(|it| digest(*it)).collect(),
    })
}

fn refused(status: u16, pause: Option<u64>) -> Result<Build, Refusal> {
    let kind = match status {
        401 | 403 => Kind::Denied,
        404 => Kind::Missing,
        _ => Kind::Unreachable,
    };
    Err(Refusal {
        kind,
        words: format!("answered {status} (in words of its own)"),
        status: (status > 0).then(|| StatusCode::from_u16(status).expect("a status")),
        retry_after: pause.map(Duration::from_secs),
    })
}

/// Workspaces, each with a Pod that was told an image and runs a digest.
#[derive(Default)]
struct Fleet {
    members: Vec<(Key, Workspace, Pod)>,
    memory: Memory,
}

impl Fleet {
    fn add(&mut self, namespace: &str, image: &str, digest: Option<String>) {
        let name = format!("w{}", self.members.len());
        let meta =
            json!({"name": name, "namespace": namespace, "uid": name, "resourceVersion": "1"});
        let workspace = json!({"metadata": meta, "spec": {}});
        let workspace: wire::Workspace = serde_json::from_value(workspace).expect("a Workspace");
        let pod = json!({
            "metadata": {
                "name": name, "namespace": namespace, "uid": "pod", "resourceVersion": "1",
                "annotations": {"molecule.ai/image": image},
            },
        });
        let pod: wire::Pod = serde_json::from_value(pod).expect("a Pod");
        let mut pod = pod.seen();
        pod.agent = Agent {
            state: AgentState::Running,
            digest,
            ..Agent::default()
        };
        let key = Key::new(namespace, &name);
        self.members.push((key, workspace.seen(), pod));
    }

    fn last(&mut self) -> &mut (Key, Workspace, Pod) {
        self.members.last_mut().expect("there is one")
    }

    fn seen(&self) -> impl Iterator<Item = Seen<'_>> {
        self.members.iter().map(|(key, workspace, pod)| Seen {
            key,
            workspace: Some(workspace),
            pod: Some(pod),
            claim: None,
            service: Service::Ours,
            memory: &self.memory,
            proof: None,
            turn: Turn::default(),
        })
    }
}

fn fleet(running: &[(&str, char)]) -> Fleet {
    let mut fleet = Fleet::default();
    for (image, runs) in running {
        fleet.add("team", image, Some(digest(*runs)));
    }
    fleet
}

#[test]
fn the_first_sight_only_seeds_and_a_move_is_told_of_those_who_run_what_it_was() {
    let mut watch = Watch::new(&[]);
    let fleet = fleet(&[
        (CODEX, '1'),
        (CODEX, '9'),
        (CODEX, '2'),
        (CODEX, '3'),
        (HERMES, '1'),
    ]);
    watch.begin(&[CODEX]);
    let first = watch.ask().expect("a question");
    assert_eq!((first.known.clone(), first.whole), (None, false));
    assert!(!watch.hear(first, is('1')), "there is nothing to tell");
    assert_eq!(watch.outdated(&fleet), []);
    assert_eq!(watch.ask(), None, "once a round");

    watch.next_round(&[CODEX]);
    let second = watch.ask().expect("a question");
    assert_eq!(second.known, Some(digest('1')));
    assert!(!watch.hear(second, is('1')), "it stays");
    assert_eq!(watch.outdated(&fleet), []);

    watch.next_round(&[CODEX]);
    let since = fleet::stamp(watch.clock);
    assert!(watch.told(CODEX, whole('2', &['2', '3'])));
    let expected = OutdatedImage {
        image: CODEX.into(),
        was: digest('1'),
        is: digest('2'),
        since,
        workspaces: 2,
    };
    assert_eq!(watch.outdated(&fleet), std::slice::from_ref(&expected));

    watch.next_round(&[CODEX]);
    let last = watch.ask().expect("a question");
    assert_eq!((&last.known, last.whole), (&Some(digest('2')), false));
    assert!(!watch.hear(last, is('2')), "no news");
    assert_eq!(watch.outdated(&fleet), [expected]);
}

#[test]
fn who_runs_the_new_build_by_any_of_its_digests_is_not_outdated() {
    let mut watch = Watch::new(&[]);
    watch.begin(&[CODEX]);
    watch.told(CODEX, is('1'));
    watch.next_round(&[CODEX]);
    watch.told(CODEX, whole('2', &['2', '3', '4']));
    for (runs, outdated) in [('1', 1), ('2', 0), ('3', 0), ('4', 0), ('5', 1)] {
        let fleet = fleet(&[(CODEX, runs)]);
        let told = watch.outdated(&fleet);
        assert_eq!(told.len(), outdated, "{runs}");
        let any = fleet.seen().any(|it| watch.digests.is_outdated(&it));
        assert_eq!(any, outdated > 0, "{runs}");
    }
    // What has never run is not outdated, whatever it is told.
    let mut fleet = fleet(&[(CODEX, '1')]);
    fleet.last().2.agent = Agent::default();
    assert_eq!(watch.outdated(&fleet), []);
}

#[test]
fn a_tag_that_moves_on_and_back_is_told_as_it_is() {
    let mut watch = Watch::new(&[]);
    let fleet = fleet(&[(CODEX, '1')]);
    watch.begin(&[CODEX]);
    watch.told(CODEX, is('1'));
    watch.next_round(&[CODEX]);
    watch.told(CODEX, whole('2', &['2']));
    let since = watch.outdated(&fleet)[0].since.clone();
    watch.next_round(&[CODEX]);
    assert!(watch.told(CODEX, whole('3', &['3'])));
    let told = watch.outdated(&fleet);
    assert_eq!((&told[0].is, &told[0].since), (&digest('3'), &since));
    watch.next_round(&[CODEX]);
    assert!(watch.told(CODEX, whole('1', &['1'])));
    assert_eq!(watch.outdated(&fleet), []);
}

#[test]
fn a_failure_keeps_what_was_known() {
    let mut watch = Watch::new(&[]);
    let fleet = fleet(&[(CODEX, '1')]);
    watch.begin(&[CODEX]);
    watch.told(CODEX, is('1'));
    for status in [503, 401] {
        watch.next_round(&[CODEX]);
        watch.told(CODEX, refused(status, None));
        assert_eq!(watch.outdated(&fleet), []);
    }
    watch.pass(3600);
    watch.next_round(&[CODEX]);
    let question = watch.ask().expect("it is asked again");
    assert_eq!(question.known, Some(digest('1')));
    watch.hear(question, whole('2', &['2']));
    assert_eq!(watch.outdated(&fleet).len(), 1);
}

#[test]
fn what_is_recorded_as_moved_is_known_after_a_restart_and_its_digests_are_asked_for() {
    let recorded = OutdatedImage {
        image: CODEX.into(),
        was: digest('1'),
        is: digest('2'),
        since: "2026-11-27T03:00:00Z".into(),
        workspaces: 1,
    };
    let fleet = fleet(&[(CODEX, '1')]);
    let mut watch = Watch::new(std::slice::from_ref(&recorded));
    assert_eq!(watch.outdated(&fleet), std::slice::from_ref(&recorded));
    watch.begin(&[CODEX]);
    let question = watch.ask().expect("a question");
    assert_eq!(
        (&question.known, question.whole),
        (&Some(digest('2')), true)
    );
    assert!(!watch.hear(question, whole('2', &['2', '3'])), "no news");
    assert_eq!(watch.outdated(&fleet), [recorded]);
    watch.next_round(&[CODEX]);
    assert!(!watch.ask().expect("a question").whole);
    let of_child = fleet_of(CODEX, '3');
    assert_eq!(watch.outdated(&of_child), []);
}

fn fleet_of(image: &str, runs: char) -> Fleet {
    fleet(&[(image, runs)])
}

#[test]
fn rounds_come_as_often_as_the_settings_say_and_not_all_at_one_moment() {
    let mut watch = Watch::new(&[]);
    let mut pauses = BTreeSet::new();
    for _ in 0..20 {
        watch.begin(&[]);
        let due = watch.digests.due().expect("there is another one");
        pauses.insert(due.duration_since(watch.now));
        watch.now = due;
        assert!(watch.digests.round_is_due(watch.now));
    }
    assert!(pauses.len() > 10, "{pauses:?}");
    let bounds = Duration::from_secs(270)..=Duration::from_secs(330);
    assert!(pauses.iter().all(|it| bounds.contains(it)), "{pauses:?}");
    watch.begin(&[]);
    watch.digests.set_pace(EVERY, watch.now);
    assert!(!watch.digests.round_is_due(watch.now));
    watch.digests.set_pace(EVERY * 2, watch.now);
    assert!(watch.digests.round_is_due(watch.now));
}

#[test]
fn what_is_not_in_use_for_three_rounds_is_forgotten() {
    let mut watch = Watch::new(&[]);
    watch.begin(&[CODEX]);
    watch.told(CODEX, is('1'));
    let known = |watch: &mut Watch| watch.ask().expect("a question").known;
    watch.next_round(&[]);
    watch.next_round(&[]);
    watch.next_round(&[CODEX]);
    let question = watch.ask().expect("a question");
    assert_eq!(question.known, Some(digest('1')));
    watch.hear(question, is('1'));
    for _ in 0..3 {
        watch.next_round(&[]);
    }
    watch.next_round(&[CODEX]);
    assert_eq!(known(&mut watch), None);
}

#[test]
fn tags_that_the_settings_give_are_in_use_and_nothing_else_is() {
    let settings = settings(&[
        ("MOLECULE_IMAGE_REGISTRY", "a.example.com/agents"),
        ("IMAGE_PULL_SECRETS", "mirror"),
    ]);
    let mut fleet = fleet(&[(CODEX, '1'), (CODEX, '1'), (OTHER, '1')]);
    fleet.add("other", CODEX, None);
    fleet.last().1.spec = Ok(Packed::new(&WorkspaceSpec {
        service_account_name: Some("robot".into()),
        ..WorkspaceSpec::default()
    }));
    let pinned = format!("{}@{}", CODEX.trim_end_matches(":latest"), digest('1'));
    fleet.add("team", &pinned, Some(digest('1')));
    fleet.add("team", "a.example.com/agents-2/x:v1", None);
    fleet.add("team", HERMES, None);
    fleet.last().2.phase = Phase::Dead;
    let source = |namespace: &str, account: &str| Source {
        namespace: namespace.into(),
        secrets: vec!["mirror".into()],
        service_account: account.into(),
    };
    let expected = BTreeSet::from([source("other", "robot"), source("team", "default")]);
    let uses = in_use(fleet.seen(), &settings);
    assert_eq!(uses, Uses::from([(CODEX.into(), expected)]));
}

fn source(namespace: &str) -> Source {
    Source {
        namespace: namespace.into(),
        secrets: Vec::new(),
        service_account: "default".into(),
    }
}
