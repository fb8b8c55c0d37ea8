//! Whether the tags in use have moved: asked beside the loop, only by the operator that leads, and only
//! where the settings say so.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{info, warn};

use super::Controller;
use crate::digests::{Digests, in_use};
use crate::lookout::{Lookout, Told};
use crate::overview::Overview;
use crate::resolver::registry_host;

/// What is known of the tags, and what is being asked.
#[derive(Default)]
pub(super) struct Tags {
    pub(super) lookout: Lookout,
    /// Nothing where nothing is to be asked.
    digests: Option<Digests>,
}

impl Tags {
    /// When there is something to ask for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.digests.as_ref()?.due()
    }
}

impl Controller {
    /// Begins what there is to ask for now.
    pub(super) fn look_out(&mut self) {
        let now = Instant::now();
        let Some(every) = self.watches_tags() else {
            if self.tags.digests.is_some() {
                self.tags = Tags::default();
                self.overview_may_change();
            }
            return;
        };
        if self.tags.digests.is_none() {
            let random = RandomState::new().build_hasher().finish();
            let recorded = self.recorded_overview().unwrap_or_default();
            let recorded = recorded.outdated_images;
            self.tags.digests = Some(Digests::new(every, &recorded, random, now));
        }
        let settings = self.governor.in_force().settings.as_ref();
        let (Some(digests), Some(settings)) = (&mut self.tags.digests, settings) else {
            return;
        };
        digests.set_pace(every, now);
        if digests.round_is_due(now) {
            let uses = in_use(self.index.all(), settings);
            let namespace = self.options.scope.namespace.clone();
            let api = self.client.clone();
            self.tags.lookout.prepare(api, namespace, uses);
        }
        while let Some(question) = digests.next(now) {
            self.tags.lookout.ask(question);
        }
    }

    /// How often registries are to be asked by this operator, if at all.
    fn watches_tags(&self) -> Option<Duration> {
        let settings = self.governor.in_force().settings.as_ref()?;
        let seconds = settings.watch_digests_seconds()?;
        let leads = self.leader.leads();
        leads.then(|| Duration::from_secs(seconds.into()))
    }

    pub(super) fn heard(&mut self, told: Told) {
        let now = Instant::now();
        let Some(digests) = &mut self.tags.digests else {
            return;
        };
        let is_news = match told {
            Told::Round(questions) => digests.begin(questions, now),
            Told::NoRound(why) => {
                warn!("registries are not asked whether tags have moved: {why:#}");
                digests.put_off(now);
                false
            }
            Told::Answer(question, answer) => {
                let image = question.image.clone();
                let refusal = answer.as_ref().err().map(|it| it.words.clone());
                let is_news = digests.answered(question, answer, now, Timestamp::now());
                match refusal {
                    _ if !is_news => {}
                    Some(words) => {
                        let registry = registry_host(&image);
                        warn!(
                            image,
                            "whether its tag has moved is not told: {registry} {words}"
                        );
                    }
                    None => info!(image, "what its tag stands for changed, or is told again"),
                }
                is_news
            }
        };
        if is_news {
            self.overview_may_change();
        }
    }

    pub(super) fn tell_of_tags(&self, overview: &mut Overview) {
        if let Some(digests) = &self.tags.digests {
            overview.outdated_images = digests.outdated_images(self.index.all());
            overview.unwatched_images = digests.unwatched_images();
        }
    }
}
