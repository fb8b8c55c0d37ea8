//! A small world of nodes, registries and an API server, in which what is planned is done at once; it
//! moves on when a scenario says so.

mod lost;
mod others;
mod random;
mod scenarios;
mod stock;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::seen::{Credentials, Known, Proof, Version};

/// Where there is an image of each of these names.
const REGISTRY: &str = "a.example.com";

/// What the watch is about to show.
enum Event {
    Seen(Key, Box<Probe>),
    Gone(Key),
}

struct World {
    proofs: Proofs,
    now: Timestamp,
    /// The probes as they are stored.
    pods: BTreeMap<Key, Probe>,
    events: VecDeque<Event>,
    /// Whether the watch shows nothing for now.
    lags: bool,
    /// What each registry shows; it answers where nothing is said.
    signs: BTreeMap<String, Sign>,
    /// When each registry last answered.
    answered: BTreeMap<String, Timestamp>,
    /// The API server's words to whoever creates a probe here.
    refuses: BTreeMap<String, String>,
    refuses_deletes: bool,
    /// When a probe that had pulled was last taken away, by whomever.
    had: BTreeMap<Question, Timestamp>,
    /// The pull secrets of every ServiceAccount, which admission gives to whoever names none.
    of_accounts: Vec<String>,
    wake: Option<Timestamp>,
    steps: Vec<Step>,
    counter: u32,
}

impl World {
    fn new() -> Self {
        Self {
            proofs: Proofs::default(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            pods: BTreeMap::new(),
            events: VecDeque::new(),
            lags: false,
            signs: BTreeMap::new(),
            answered: BTreeMap::new(),
            refuses: BTreeMap::new(),
            refuses_deletes: false,
            had: BTreeMap::new(),
            of_accounts: Vec::new(),
            wake: None,
            steps: Vec::new(),
            counter: 0,
        }
    }

    fn version(&mut self, uid: Option<String>) -> Version {
        self.counter += 1;
        let count = self.counter.to_string();
        Version {
            uid: uid.unwrap_or_else(|| format!("uid-{count}")),
            resource_version: count,
        }
    }

    /// A Workspace wants this.
    fn want(&mut self, key: &Key, question: &Question) {
        let want = Want {
            question: question.clone(),
            service_account: None,
        };
        self.proofs.want(key, Some(want), self.now);
    }

    /// A Workspace may want this later.
    fn stock(&mut self, key: &Key, question: &Question) {
        let want = Want {
            question: question.clone(),
            service_account: None,
        };
        self.proofs.stock(key, Some(want));
    }

    /// A Workspace wants nothing any more.
    fn drop(&mut self, key: &Key) {
        self.proofs.want(key, None, self.now);
    }

    /// One look, and all that follows from it at once.
    fn pass(&mut self) -> usize {
        let (steps, wake) = self.proofs.plan(self.now);
        self.wake = wake;
        for step in &steps {
            self.apply(step);
        }
        let count = steps.len();
        self.steps.extend(steps);
        count
    }

    /// Looks until there is nothing to do.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.deliver();
            if self.pass() == 0 {
                let later = self.wake.is_none_or(|at| at > self.now);
                assert!(later, "it would be looked at again and again");
                return;
            }
        }
        panic!("no end of steps: {:#?}", self.steps);
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Ask { registry, .. } => {
                let sign = self.signs.get(registry).cloned().unwrap_or(Sign::Answers);
                if !matches!(sign, Sign::Silent(_)) {
                    self.answered.insert(registry.clone(), self.now);
                }
                self.proofs.answered(registry, sign, self.now);
            }
            Step::Create { question, pod } => self.create(step, question, pod),
            Step::Delete { key, version } => {
                let is_current = self.pods.get(key).is_some_and(|it| it.version == *version);
                let done = if self.refuses_deletes {
                    Done::Refused("you may not".into())
                } else if is_current {
                    self.remove(key);
                    Done::Done(String::new())
                } else {
                    Done::Open
                };
                self.proofs.done(step, done, self.now);
            }
        }
    }

    fn create(&mut self, step: &Step, question: &Question, pod: &k8s_openapi::api::core::v1::Pod) {
        let namespace = pod.metadata.namespace.as_deref().expect("a namespace");
        let key = Key::new(namespace, pod.metadata.name.as_deref().expect("a name"));
        let done = match self.refuses.get(namespace) {
            Some(message) => Done::Refused(message.clone()),
            None if self.pods.contains_key(&key) => Done::Refused("already exists".into()),
            None => {
                let version = self.version(None);
                let uid = version.uid.clone();
                let spec = pod.spec.as_ref().expect("a spec");
                let named = spec.image_pull_secrets.iter().flatten();
                let mut names: Vec<_> = named.map(|it| it.name.clone()).collect();
                if names.is_empty() {
                    names.clone_from(&self.of_accounts);
                }
                let probe = Probe {
                    version,
                    created: self.now,
                    is_deleted: false,
                    question: Question {
                        credentials: credentials(namespace, names),
                        ..question.clone()
                    },
                    service_account: Some(account(spec.service_account_name.as_deref()).into()),
                    answer: None,
                    pulled: None,
                };
                self.pods.insert(key.clone(), probe.clone());
                self.events.push_back(Event::Seen(key, probe.into()));
                Done::Done(uid)
            }
        };
        self.proofs.done(step, done, self.now);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(probe) = self.pods.remove(key) {
            if matches!(probe.answer, Some(Answer::Pulled(_))) {
                self.had.insert(probe.question, self.now);
            }
            self.events.push_back(Event::Gone(key.clone()));
        }
    }

    /// The watch shows all that happened.
    fn deliver(&mut self) {
        while !self.lags
            && let Some(event) = self.events.pop_front()
        {
            match event {
                Event::Seen(key, probe) => self.proofs.see(key, *probe, self.now),
                Event::Gone(key) => self.proofs.gone(&key, self.now),
            }
        }
    }

    /// The node of a probe says this.
    fn answer(&mut self, key: &Key, answer: Answer) {
        let Some(uid) = self.pods.get(key).map(|it| it.version.uid.clone()) else {
            return;
        };
        let version = self.version(Some(uid));
        let probe = self.pods.get_mut(key).expect("it is there");
        probe.version = version;
        probe.pulled = matches!(answer, Answer::Pulled(_)).then_some(self.now);
        probe.answer = Some(answer);
        self.events
            .push_back(Event::Seen(key.clone(), probe.clone().into()));
    }

    /// The probes whose nodes have not said anything.
    fn on_their_way(&self) -> Vec<Key> {
        let pods = self.pods.iter().filter(|(_, it)| it.answer.is_none());
        pods.map(|(key, _)| key.clone()).collect()
    }

    /// Every node pulls what it was told.
    fn pull(&mut self) {
        for key in self.on_their_way() {
            self.answer(&key, Answer::Pulled(None));
        }
        self.settle();
    }

    /// Every node fails to pull what it was told.
    fn fail(&mut self, reason: &str) {
        let cause = crate::pull::cause("ErrImagePull", reason).expect("a cause");
        for key in self.on_their_way() {
            self.answer(&key, Answer::Failed(cause));
        }
        self.settle();
    }

    /// The nodes of all probes on their way are short of disk.
    fn runs_short_of_disk(&mut self) {
        for key in self.on_their_way() {
            let told = Told {
                reason: "Evicted",
                message: "The node had condition: [DiskPressure]. ",
                is_dead: true,
                ..Told::default()
            };
            self.answer(&key, judge(&told).expect("an answer"));
        }
    }

    /// Time passes, and nothing is looked at before it was to be.
    fn pass_time(&mut self, seconds: i64) {
        self.settle();
        for _ in 0..seconds {
            self.now += SignedDuration::from_secs(1);
            if self.wake.is_some_and(|at| at <= self.now) {
                self.settle();
            }
        }
    }

    /// The operator is killed and started: it lists what there is.
    fn restart(&mut self) {
        self.proofs = Proofs::default();
        self.relist();
    }

    fn relist(&mut self) {
        self.events.clear();
        self.proofs.list_begins();
        for (key, probe) in &self.pods {
            self.proofs.see(key.clone(), probe.clone(), self.now);
        }
        self.proofs.list_ends(self.now);
    }

    fn proof(&self, question: &Question) -> Proof {
        self.proofs.proof(question, self.now)
    }

    fn why(&self, question: &Question) -> String {
        match self.proof(question) {
            Proof::Failed { why } => why,
            other => panic!("{other:?}"),
        }
    }

    /// What was created so far.
    fn created(&self) -> Vec<&Question> {
        let created = self.steps.iter().filter_map(|step| match step {
            Step::Create { question, .. } => Some(question),
            _ => None,
        });
        created.collect()
    }

    /// How often a registry was asked.
    fn asked(&self) -> usize {
        let is = |step: &&Step| matches!(step, Step::Ask { .. });
        self.steps.iter().filter(is).count()
    }
}

fn workspace(name: &str) -> Key {
    Key::new("team", name)
}

fn question(node: &str, image: &str) -> Question {
    Question {
        node: node.into(),
        image: format!("{REGISTRY}/agents/{image}:v1"),
        credentials: Credentials::None,
    }
}
