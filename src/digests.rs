//! Which tags registries are asked about, and which have moved; pure.
//!
//! The first answer about an image says what its tag stands for, and a later one that differs is a
//! move. A failure changes nothing but when the next question comes. What is known is kept for as long
//! as an image is in use, and only in memory: the next process begins anew, but for the moves that
//! are on record.

mod hosts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::hosts::{Hosts, LONGEST_ASKED};
use crate::credentials::{Keyring, Login, Source};
use crate::fleet;
use crate::overview::{OutdatedImage, UnwatchedImages};
use crate::registry::{Reference, Refusal};
use crate::resolver::registry_host;
use crate::seen::{Phase, Seen};
use crate::settings::Settings;

/// So many images are told, those that most Workspaces run.
const TOLD: usize = 16;
/// So many images are named of those that are not told about.
const NAMES: usize = 10;
/// So many logins are tried for an image: a registry that refuses all of them is not to be bothered
/// with hundreds.
const LOGINS: usize = 4;
/// What is not in use for so many rounds is forgotten: a Pod that is replaced is gone for a moment.
const IDLE_ROUNDS: u32 = 3;
/// An image that a registry refuses is asked for no less often than this, or than the settings say.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The images in use by a tag that the settings give now, each with where its Pods take their pull
/// credentials from.
pub type Uses = BTreeMap<String, BTreeSet<Source>>;

/// What is to be asked of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The image.
    pub image: String,
    /// As whom, one after the other until one is let in; `None` is anybody.
    pub logins: Vec<Option<Login>>,
    /// What its tag is known to stand for.
    pub known: Option<String>,
    /// Whether all digests of that have to be told.
    pub whole: bool,
    /// Why that may not be as whom its Pods pull.
    pub doubt: Option<String>,
}

/// What a tag stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its digest.
    pub digest: String,
    /// By what nodes may call it, if it was asked for the whole.
    pub names: BTreeSet<String>,
}

/// What is known of a tag.
#[derive(Debug, Default)]
struct Tag {
    /// What it stood for at first.
    first: Option<String>,
    /// What it stands for since, if that is another.
    moved: Option<Moved>,
    trouble: Option<Trouble>,
    /// For how many rounds it has not been in use.
    idle: u32,
}

#[derive(Debug)]
struct Moved {
    to: Build,
    since: Timestamp,
}

/// A registry did not tell about one image.
#[derive(Debug)]
struct Trouble {
    because: String,
    /// How often in a row.
    times: u32,
    /// Not before this, unless there are other logins by then.
    not_before: Instant,
    logins: Vec<Option<Login>>,
}

impl Tag {
    fn known(&self) -> Option<&str> {
        let moved = self.moved.as_ref().map(|it| &it.to.digest);
        moved.or(self.first.as_ref()).map(String::as_str)
    }

    fn hear(&mut self, build: Build, clock: Timestamp) {
        self.trouble = None;
        let Some(first) = &self.first else {
            self.first = Some(build.digest);
            return;
        };
        self.moved = match self.moved.take() {
            _ if build.digest == *first => None,
            Some(moved) if moved.to.digest == build.digest && build.names.is_empty() => Some(moved),
            earlier => Some(Moved {
                to: build,
                since: earlier.map_or(clock, |it| it.since),
            }),
        };
    }
}

/// What is known of the tags in use, and what to ask for next.
#[derive(Debug)]
pub struct Digests {
    every: Duration,
    tags: BTreeMap<String, Tag>,
    hosts: Hosts,
    /// When the next round of questions begins; `None` = one is being prepared.
    next_round: Option<Instant>,
}

impl Digests {
    /// Begins to watch, by rounds of questions that come so often. What is on record as moved is known.
    /// `seed` lets the pauses of different processes differ.
    #[must_use]
    pub fn new(every: Duration, recorded: &[OutdatedImage], seed: u64, now: Instant) -> Self {
        let tag = |it: &OutdatedImage| {
            let to = Build {
                digest: it.is.clone(),
                names: BTreeSet::new(),
            };
            let since = it.since.parse::<Timestamp>().ok();
            let tag = Tag {
                first: Some(it.was.clone()),
                moved: since.map(|since| Moved { to, since }),
                ..Tag::default()
            };
            (it.image.clone(), tag)
        };
        Self {
            every,
            tags: recorded.iter().map(tag).collect(),
            hosts: Hosts::new(seed),
            next_round: Some(now),
        }
    }

    /// From now on the rounds come so often.
    pub fn set_pace(&mut self, every: Duration, now: Instant) {
        if self.every != every {
            self.every = every;
            self.next_round = self.next_round.map(|_| now);
        }
    }

    /// When there is something to ask for next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let questions = self.hosts.due();
        self.next_round.into_iter().chain(questions).min()
    }

    /// Whether a round is to be prepared. Says so once.
    pub fn round_is_due(&mut self, now: Instant) -> bool {
        let due = self.next_round.is_some_and(|it| it <= now);
        if due {
            self.next_round = None;
        }
        due
    }

    /// A round could not be prepared; another one is, after a pause.
    pub fn put_off(&mut self, now: Instant) {
        self.next_round = Some(now + self.hosts.spread(self.every));
    }

    /// A round begins. Returns whether there is something else to tell of now.
    pub fn begin(&mut self, questions: Vec<Question>, now: Instant) -> bool {
        let before = self.unwatched_images();
        self.tags.values_mut().for_each(|tag| tag.idle += 1);
        for question in &questions {
            let tag = self.tags.entry(question.image.clone()).or_default();
            tag.idle = 0;
            if question.logins.is_empty() {
                let doubt = question.doubt.as_deref().unwrap_or_default();
                tag.trouble = Some(Trouble {
                    because: format!("is not asked: {doubt}"),
                    times: 0,
                    not_before: now,
                    logins: Vec::new(),
                });
            }
        }
        self.tags.retain(|_, tag| tag.idle < IDLE_ROUNDS);
        let is_due = |it: &Question| {
            let trouble = self.tags.get(&it.image).and_then(|it| it.trouble.as_ref());
            let may = trouble.is_none_or(|tr| tr.not_before <= now || tr.logins != it.logins);
            may && !it.logins.is_empty()
        };
        self.hosts.ask(questions.into_iter().filter(is_due), now);
        self.put_off(now);
        self.unwatched_images() != before
    }

    /// What to ask for now, if anything.
    pub fn next(&mut self, now: Instant) -> Option<Question> {
        let question = self.hosts.next(now)?;
        let tag = self.tags.get(&question.image);
        let unnamed = |tag: &Tag| tag.moved.as_ref().is_some_and(|it| it.to.names.is_empty());
        Some(Question {
            known: tag.and_then(Tag::known).map(str::to_owned),
            whole: tag.is_some_and(unnamed),
            ..question
        })
    }

    /// A question was answered. Returns whether there is something else to tell of now.
    pub fn answered(
        &mut self,
        question: Question,
        answer: Result<Build, Refusal>,
        now: Instant,
        clock: Timestamp,
    ) -> bool {
        let image = question.image.clone();
        let before = self.told(&image);
        let refusal = match answer {
            Ok(build) => {
                self.hosts.answered(&image);
                if let Some(tag) = self.tags.get_mut(&image) {
                    tag.hear(build, clock);
                }
                return self.told(&image) != before;
            }
            Err(refusal) => refusal,
        };
        if hosts::is_of_host(&refusal) {
            self.hosts.failed(question, &refusal, now);
        } else {
            self.hosts.answered(&image);
            self.refused(question, &refusal, now);
        }
        self.told(&image) != before
    }

    /// The registry answers, but does not tell about this image.
    fn refused(&mut self, question: Question, refusal: &Refusal, now: Instant) {
        let Some(tag) = self.tags.get_mut(&question.image) else {
            return;
        };
        let times = tag.trouble.as_ref().map_or(0, |it| it.times);
        let longest = LONGEST_PAUSE.max(self.every);
        let pause = self.every.saturating_mul(1 << times.min(20)).min(longest);
        // A round may come a little early.
        let pause = pause - self.every / 2;
        let asked = refusal.retry_after.unwrap_or_default().min(LONGEST_ASKED);
        let because = match question.doubt {
            Some(doubt) => format!("{}; {doubt}", refusal.in_short()),
            None => refusal.in_short().to_owned(),
        };
        tag.trouble = Some(Trouble {
            because,
            times: times + 1,
            not_before: now + pause.max(asked),
            logins: question.logins,
        });
    }

    /// What of an image people see.
    fn told(&self, image: &str) -> (Option<String>, Option<String>) {
        let tag = self.tags.get(image);
        let moved = tag.and_then(|it| it.moved.as_ref());
        let trouble = self.trouble(image).map(str::to_owned);
        (moved.map(|it| it.to.digest.clone()), trouble)
    }

    fn trouble(&self, image: &str) -> Option<&str> {
        let own = self.tags.get(image).and_then(|it| it.trouble.as_ref());
        let own = own.map(|it| it.because.as_str());
        own.or_else(|| self.hosts.trouble(registry_host(image)))
    }

    /// Whether the agent of a Workspace runs a build that its tag does not stand for any more.
    #[must_use]
    pub fn is_outdated(&self, seen: &Seen<'_>) -> bool {
        self.outdated(seen).is_some()
    }

    /// The image of such a one.
    fn outdated<'a>(&self, seen: &Seen<'a>) -> Option<&'a str> {
        let pod = seen.pod.filter(|it| it.agent.has_run())?;
        let image = pod.told.image.as_deref()?;
        let moved = self.tags.get(image)?.moved.as_ref()?;
        let runs_it =
            |digest: &String| moved.to.digest == *digest || moved.to.names.contains(digest);
        (!pod.agent.digest.as_ref().is_some_and(runs_it)).then_some(image)
    }

    /// The images whose tags have moved, while somebody runs what they stood for.
    #[must_use]
    pub fn outdated_images<'a>(&self, all: impl Iterator<Item = Seen<'a>>) -> Vec<OutdatedImage> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        // Mostly none has moved, and then nobody need be looked at.
        let some = self.tags.values().any(|it| it.moved.is_some());
        for seen in all.take_while(|_| some) {
            if let Some(image) = self.outdated(&seen) {
                *counts.entry(image).or_default() += 1;
            }
        }
        let told = counts.into_iter().filter_map(|(image, workspaces)| {
            let tag = self.tags.get(image)?;
            let moved = tag.moved.as_ref()?;
            Some(OutdatedImage {
                image: image.to_owned(),
                was: tag.first.clone()?,
                is: moved.to.digest.clone(),
                since: fleet::stamp(moved.since),
                workspaces,
            })
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|it| std::cmp::Reverse(it.workspaces));
        told.truncate(TOLD);
        told
    }

    /// The images that are not told about, and why.
    #[must_use]
    pub fn unwatched_images(&self) -> Vec<UnwatchedImages> {
        let mut all: BTreeMap<(&str, &str), Vec<&String>> = BTreeMap::new();
        for image in self.tags.keys() {
            if let Some(because) = self.trouble(image) {
                let why = (registry_host(image), because);
                all.entry(why).or_default().push(image);
            }
        }
        let told = all.into_iter().map(|((registry, because), images)| {
            let named = images.iter().take(NAMES);
            UnwatchedImages {
                registry: registry.to_owned(),
                because: because.to_owned(),
                images: images.len(),
                among_them: named.map(|it| (*it).clone()).collect(),
            }
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|it| std::cmp::Reverse(it.images));
        told.truncate(TOLD);
        told
    }
}

/// Which images are in use. What the settings do not give any more is outdated whatever its tag
/// stands for, and what is named by its digest never changes.
#[must_use]
pub fn in_use<'a>(all: impl Iterator<Item = Seen<'a>>, settings: &Settings) -> Uses {
    let prefix = format!("{}/", settings.registry());
    let mut uses = Uses::new();
    for seen in all {
        let pod = seen.pod.filter(|it| it.phase == Phase::Alive);
        let image = pod.and_then(|it| it.told.image.as_deref());
        let image = image.filter(|it| it.starts_with(&prefix));
        let spec = seen.workspace.and_then(|it| it.spec.as_ref().ok());
        let (Some(image), Some(spec)) = (image, spec) else {
            continue;
        };
        if !uses.contains_key(image) && !is_by_tag(image) {
            continue;
        }
        let spec = spec.credentials();
        let source = Source::of(&seen.key.namespace, &spec, settings);
        uses.entry(image.to_owned()).or_default().insert(source);
    }
    uses
}

fn is_by_tag(image: &str) -> bool {
    let reference = image.parse::<Reference>();
    reference.is_ok_and(|it| !it.is_digest())
}

/// What to ask for, with the pull credentials as they were read; `None` = they may not be read.
#[must_use]
pub fn questions(
    uses: &Uses,
    keyrings: Option<&BTreeMap<Source, Result<Keyring, String>>>,
) -> Vec<Question> {
    let question = |(image, sources): (&String, &BTreeSet<Source>)| {
        let (logins, doubt) = match keyrings {
            Some(keyrings) => logins(image, sources, keyrings),
            None => (
                vec![None],
                Some("asked as anybody, as the operator may not read pull secrets".to_owned()),
            ),
        };
        Question {
            image: image.clone(),
            logins,
            known: None,
            whole: false,
            doubt,
        }
    };
    uses.iter().map(question).collect()
}

/// What those who use an image have for it, each once; and why that is not known of one.
fn logins(
    image: &str,
    sources: &BTreeSet<Source>,
    keyrings: &BTreeMap<Source, Result<Keyring, String>>,
) -> (Vec<Option<Login>>, Option<String>) {
    let name = image.parse::<Reference>().map(|it| it.name());
    let name = name.unwrap_or_default();
    let mut logins = Vec::new();
    let mut doubt = None;
    for keyring in sources.iter().filter_map(|it| keyrings.get(it)) {
        match keyring.as_ref().map(|it| it.logins(&name)) {
            Ok(found) if found.is_empty() => logins.push(None),
            Ok(found) => logins.extend(found.into_iter().map(Some)),
            Err(why) => doubt = Some(why.clone()),
        }
    }
    let mut seen = BTreeSet::new();
    logins.retain(|it| seen.insert(it.clone()));
    logins.truncate(LOGINS);
    (logins, doubt)
}
