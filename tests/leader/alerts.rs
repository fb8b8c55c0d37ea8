//! What the shipped alerts say of two operators of which nothing is wrong.

use std::time::{Duration, Instant};

use cluster::Signal;
use serde_json::Value;

use crate::pair::Pair;
use crate::prometheus::{Prometheus, value};

const ALERTS: &str = include_str!("../../deploy/chart/files/alerts/alerts.yaml");

/// The groups of the shipped rules, in a hurry: nothing has to last, and nobody may wait for more than
/// a few seconds.
fn groups() -> Value {
    let rules: Value = serde_saphyr::from_str(ALERTS).expect("it is YAML");
    let mut groups = rules["spec"]["groups"].clone();
    let (mut hurried, all) = (0, groups.as_array_mut().expect("a list"));
    for rule in all.iter_mut().flat_map(|it| it["rules"].as_array_mut()) {
        for rule in rule {
            rule.as_object_mut().expect("a rule").remove("for");
            let expr = rule["expr"].as_str().expect("a query").to_owned();
            let shorter = expr.replace("queue_oldest_seconds) > 60", "queue_oldest_seconds) > 3");
            hurried += usize::from(shorter != expr);
            rule["expr"] = shorter.into();
        }
    }
    assert_eq!(hurried, 1, "WorkspaceOperatorBehind");
    groups
}

#[tokio::test]
async fn no_alert_speaks_of_a_pair_of_which_nothing_is_wrong() {
    let mut pair = Pair::started().await;
    let names = pair.create_all("quiet", 3).await;
    pair.ready(&names).await;
    let (leader, standby) = pair.roles().await;
    let targets = pair.members.each_ref().map(|it| it.serves());
    let mut prometheus = Prometheus::start(&pair.world.namespace, &targets, Some(&groups()));
    let both = |found: &[Value]| value(found) == Some("2");
    prometheus.until("sum(up)", both).await;
    // Its first look at the rules may be before its first scrape.
    prometheus.until("ALERTS", <[Value]>::is_empty).await;
    let registry = pair.world.prefix("next");
    pair.world.registry(&registry);
    pair.world.in_force(&registry).await;
    quiet(&prometheus).await;

    // The Lease goes to the other one, and the one that led stands by.
    pair.members[leader].signal(Signal::SIGSTOP);
    pair.leads(standby).await;
    pair.members[leader].signal(Signal::SIGCONT);
    pair.members[leader].logged("no longer leading").await;
    prometheus.until("sum(up)", both).await;
    prometheus.until("ALERTS", <[Value]>::is_empty).await;
    pair.world.registry(&pair.world.prefix("after"));
    pair.world.in_force(&pair.world.prefix("after")).await;
    quiet(&prometheus).await;

    // And they are looked at.
    for member in &mut pair.members {
        member.signal(Signal::SIGTERM);
        member.ended().await;
    }
    let down = "ALERTS{alertname=\"WorkspaceOperatorDown\"}";
    prometheus.until(down, |found| !found.is_empty()).await;
    prometheus.stop().await;
}

/// For longer than anybody may wait.
async fn quiet(prometheus: &Prometheus) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        assert_eq!(prometheus.query("ALERTS"), Vec::<Value>::new());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
