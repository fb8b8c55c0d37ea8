//! A fleet that moves while the operator sees late what it did.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use proxy::{Ask, Fault};
use serde_json::json;
use workspace_operator::overview::{self, Overview};

use crate::bed::{Bed, names};

const FLEET: usize = 6;
const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";

fn is_move(ask: &Ask) -> bool {
    ask.method == Method::PATCH && ask.about("pods")
}

impl Bed {
    /// Which Pods were told another image, in the order of the requests.
    fn moved(&self) -> Vec<String> {
        let mut asked = self.asked();
        asked.retain(|it| is_move(&it.ask));
        asked.into_iter().map(|it| it.ask.path).collect()
    }

    fn on(&self, prefix: &str) -> usize {
        self.world.on(prefix)
    }

    /// Whether every image of the switch that is prepared is pulled.
    fn is_prepared(&self) -> bool {
        let key = overview::key(Some(&self.world.namespace));
        let told = Overview::from_text(&self.world.fleet(&key)).unwrap_or_default();
        told.prepull
            .is_some_and(|it| it.images > 0 && it.pulled == it.images)
    }
}

#[tokio::test]
async fn an_edit_stops_nobody_else_while_a_move_is_not_seen_yet() {
    edited_in_the_dark(None).await;
}

#[tokio::test]
async fn an_edit_stops_nobody_else_where_the_answer_to_a_move_was_lost() {
    edited_in_the_dark(Some(Fault::CutAfter)).await;
}

/// The patch is done, and nobody has heard of it: the Pod seems to serve, and is about to stop.
async fn edited_in_the_dark(answer: Option<Fault>) {
    let mut bed = Bed::started().await;
    let [a, b, c] = ["a", "b", "c"].map(|it| bed.world.prefix(it));
    bed.world.paced(&a, "1");
    bed.world.in_force(&a).await;
    bed.create(&names(FLEET), json!({})).await;
    bed.all(FLEET, "Ready").await;
    // The images of the edit to come are there already, so that nothing but the pace is waited for.
    let move_to = |bed: &Bed, prefix: &str, paused: &str| {
        bed.world.settings(&[
            (REGISTRY, prefix),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MIN_READY_SECONDS", "0"),
            ("ROLLOUT_PAUSED", paused),
            ("NEXT_MOLECULE_IMAGE_REGISTRY", &c),
            ("PREPULL", "true"),
        ]);
    };
    move_to(&bed, &b, "false");
    bed.until("some moves", |bed| bed.on(&b) > 1).await;
    move_to(&bed, &b, "true");
    bed.until("all is pulled", Bed::is_prepared).await;
    bed.all(FLEET, "Ready").await;
    let moved = bed.on(&b);
    assert!(moved < FLEET, "it was too late to pause");

    let is_held = |ask: &Ask| ask.is_watch() && ask.path.ends_with("/pods");
    let rule = bed.proxy.fault(Fault::Hold, is_held);
    let lost = answer.map(|it| bed.proxy.fault(it, is_move));
    let before = bed.moved().len();
    move_to(&bed, &b, "false");
    bed.until("one more", |bed| bed.on(&b) > moved).await;
    // Those that have been moved come first now, and this one does not.
    move_to(&bed, &c, "false");
    bed.world.in_force(&c).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // One whose answer is lost may be told again; its version is no more, so that changes nothing.
    let told: BTreeSet<_> = bed.moved().split_off(before).into_iter().collect();
    assert_eq!(told.len(), 1, "{told:?}\n{}", bed.world.log());
    drop(lost);
    rule.lift();
    bed.until("the move of all", |bed| bed.on(&c) == FLEET)
        .await;
    bed.world.paced(&c, "1");
    bed.settled(FLEET).await;
}
