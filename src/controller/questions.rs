//! What the loop answers about itself.

use tokio::time::Instant;

use super::Controller;
use crate::metrics::{Format, Moment};
use crate::overview::Overview;
use crate::server::Question;

impl Controller {
    pub(super) fn answer(&mut self, question: Question) {
        // Whoever has gone meanwhile does not hear it.
        match question {
            Question::Alive(asker) => drop(asker.send(())),
            Question::Ready(asker) => drop(asker.send(self.readiness())),
            Question::Metrics(format, asker) => drop(asker.send(self.exposition(format))),
        }
    }

    /// What it does, or what it would need to do it. One that stands by is ready: it sees all that
    /// it needs to take over. One that can neither lead nor see who leads is not: a rollout must not
    /// go on to replace the one that does by more of these.
    fn readiness(&self) -> Result<String, String> {
        let mut missing: Vec<String> = self.waits_for.iter().map(ToString::to_string).collect();
        if !self.governor.is_ready() {
            missing.push("the settings and their record".into());
        }
        if !missing.is_empty() {
            return Err(format!("not listed yet: {}", missing.join(", ")));
        }
        let lost = self.traffic.lost();
        if !lost.is_empty() {
            return Err(format!("not watched now: {}", lost.join(", ")));
        }
        if let Some(why) = self.leader.blind(Instant::now()) {
            return Err(why);
        }
        let leads = self.leader.leads();
        Ok(if leads { "leading" } else { "standing by" }.into())
    }

    fn exposition(&mut self, format: Format) -> String {
        let leads = self.leader.leads();
        // Since when something fails is in no metric.
        let overview = || self.overview(&Overview::default());
        let moment = Moment {
            workspaces: leads.then(|| self.index.totals()),
            overview: leads.then(overview),
            queued: self.queue.len(),
            oldest: self.queue.oldest(Instant::now()),
            in_force: self.governor.in_force(),
        };
        self.metrics.expose(&moment, format)
    }
}
