//! What is asked of the Lease, and what becomes of one that somebody else touches.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cluster::Signal;
use jiff::Timestamp;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::pair::Pair;
use crate::scrape::{Scrape, get};

#[tokio::test]
async fn idle_operators_only_watch_and_renew() {
    const SECONDS: u64 = 10;
    let pair = Pair::started().await;
    let names = pair.create_all("idle", 10).await;
    pair.ready(&names).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (leader, standby) = pair.roles().await;
    let mark = pair.mark();
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let busy = [leader, standby].map(|it| pair.deeds(it, mark));
    let renewals = busy[0].claims().len();
    let of_lease = |it: &&cluster::Event| it.resource == "leases" && it.verb == "patch";
    let others = |it: &crate::member::Deeds| {
        let all = it.all().iter();
        let others = all.filter(|it| !of_lease(it) && it.verb != "watch");
        others.map(|it| it.request_uri.clone()).collect::<Vec<_>>()
    };
    assert_eq!(busy.each_ref().map(others), [Vec::<String>::new(), vec![]]);
    assert!((6..=10).contains(&renewals), "{renewals} in {SECONDS} s");
    let claims = busy[1].all().iter().filter(of_lease).count();
    assert_eq!(claims, 0, "the one that stands by claims nothing");
}

#[tokio::test]
async fn the_lease_says_who_leads_and_since_when() {
    let mut pair = Pair::new().await;
    let empty = pair.lease().await;
    assert!(empty["spec"]["holderIdentity"].is_null(), "shipped empty");
    pair.start(0).await;
    pair.start(1).await;
    let first = pair.lease().await["spec"].clone();
    let identity = pair.members[0].identity().expect("it is told");
    assert_eq!(first["holderIdentity"], identity);
    assert_ne!(pair.members[1].identity(), Some(identity), "each its own");
    assert_eq!(first["leaseTransitions"], 1);
    assert!(first["leaseDurationSeconds"].as_u64() < Some(6));
    assert_eq!(pair.holder().await, Some(0), "the first one keeps it");

    pair.members[0].signal(Signal::SIGTERM);
    pair.members[0].ended().await;
    pair.leads(1).await;
    let second = pair.lease().await["spec"].clone();
    assert_eq!(second["leaseTransitions"], 2);
    assert!(second["acquireTime"].as_str() > first["acquireTime"].as_str());

    pair.members[1].signal(Signal::SIGTERM);
    pair.members[1].ended().await;
    let released = pair.lease().await["spec"].clone();
    assert_eq!(released["holderIdentity"], "");
    assert_eq!(released["leaseDurationSeconds"], 1);
}

#[tokio::test]
async fn without_a_lease_nobody_writes_and_one_sentence_says_so() {
    let mut pair = Pair::new().await;
    let name = "workspace-operator";
    let deleted = pair
        .lease_api()
        .delete(name, &DeleteParams::default())
        .await;
    deleted.expect("it is deleted");
    let mark = pair.mark();
    let names = pair.create_all("waits", 2).await;
    let command = pair.world.command();
    pair.members[0].start(command);
    pair.members[0].logged("there is no Lease").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        pair.members[0].says("there is no Lease"),
        1,
        "{}",
        pair.logs()
    );
    let writes = pair.deeds(0, mark).writes();
    assert!(writes.is_empty(), "{writes:?}");
    pair.says_of_itself(0, 503, "there is no Lease").await;

    let lease = serde_json::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
    }));
    let created = pair
        .lease_api()
        .create(&PostParams::default(), &lease.expect("a Lease"))
        .await;
    created.expect("it is created");
    pair.ready(&names).await;
    pair.says_of_itself(0, 200, "ok: leading").await;
}

/// As an admin may who wants neither of them to write for a while.
#[tokio::test]
async fn a_lease_given_to_another_ends_the_term_at_once_and_runs_out() {
    let mut pair = Pair::started().await;
    let (leader, _) = pair.roles().await;
    let mark = pair.mark();
    pair.patch_lease(json!({"spec": {
        "holderIdentity": "admin", "leaseDurationSeconds": 5, "renewTime": "2020-01-01T00:00:00.000000Z",
    }}))
    .await;
    pair.members[leader].logged("no longer leading").await;
    // What was under way when the Lease was given away is no write of after that. It is given up, which
    // a busy server may note as 504 when it reads it at last.
    let over = Timestamp::now();
    let names = pair.create_all("later", 3).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for member in 0..2 {
        let mut writes = pair.deeds(member, mark).writes();
        writes.retain(|(begun, words)| *begun >= over && !words.ends_with(" 504"));
        assert!(writes.is_empty(), "{writes:?}\n{}", pair.logs());
    }
    for member in 0..2 {
        nothing_waits(pair.members[member].serves(), &pair).await;
    }
    pair.ready(&names).await;
    pair.assert_one_pod_each(&names).await;
}

/// Found by review: the API server stores times that are later than any that the operator can hold.
#[tokio::test]
async fn a_lease_with_a_time_that_nobody_can_hold_is_led_by_all_the_same() {
    const BEYOND: &str = "9999-12-31T23:59:59.999999Z";
    let mut pair = Pair::started().await;
    let (leader, standby) = pair.roles().await;
    pair.patch_lease(json!({"spec": {"acquireTime": BEYOND, "renewTime": BEYOND}}))
        .await;
    let names = pair.create_all("beyond", 3).await;
    pair.ready(&names).await;
    pair.members[leader].signal(Signal::SIGTERM);
    pair.members[leader].ended().await;
    pair.leads(standby).await;
    let names = pair.create_all("after", 3).await;
    pair.ready(&names).await;
}

/// An API server that is away for longer than a lease lasts costs no restart.
#[tokio::test]
async fn when_nobody_could_renew_one_of_them_goes_on() {
    let mut pair = Pair::started().await;
    let (leader, _) = pair.roles().await;
    let rules = pair.members.each_ref().map(|it| it.cut_off());
    pair.members[leader].logged("no longer leading").await;
    let names = pair.create_all("after", 5).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    drop(rules);
    pair.ready(&names).await;
    pair.assert_one_pod_each(&names).await;
    for member in &mut pair.members {
        let exited = member.process().exited().expect("the system says");
        assert_eq!(exited, None, "it is the same process");
    }
}

#[tokio::test]
async fn one_that_stands_by_is_ready_and_counts_no_workspace_twice() {
    let mut pair = Pair::started().await;
    let names = pair.create_all("counted", 3).await;
    pair.ready(&names).await;
    let (leader, standby) = pair.roles().await;
    let says = |pair: &Pair, member: usize| {
        let at = pair.members[member].serves();
        let scrape = Scrape::of(at);
        let workspaces = scrape.sum("workspace_operator_workspaces", &[]);
        let leads = scrape.value("workspace_operator_leader");
        (get(at, "/readyz", "*/*").text, leads, workspaces)
    };
    let leading = ("ok: leading\n".to_owned(), 1.0, 3.0);
    assert_eq!(says(&pair, leader), leading);
    let standing_by = ("ok: standing by\n".to_owned(), 0.0, 0.0);
    assert_eq!(says(&pair, standby), standing_by);
    // It is not behind with what is the other's to do.
    let registry = pair.world.prefix("next");
    pair.world.registry(&registry);
    pair.world.in_force(&registry).await;
    for member in [standby, leader] {
        let at = pair.members[member].serves();
        nothing_waits(at, &pair).await;
    }
    pair.members[leader].signal(Signal::SIGTERM);
    pair.members[leader].ended().await;
    pair.leads(standby).await;
    pair.members[standby].logged("leading").await;
    assert_eq!(says(&pair, standby), leading);
}

/// Nothing is in its queue, after a moment for what came last, nor comes to be there.
async fn nothing_waits(at: SocketAddr, pair: &Pair) {
    let waits = || {
        let scrape = Scrape::of(at);
        let value = |name: &str| scrape.value(&format!("workspace_operator_queue_{name}"));
        (value("items"), value("oldest_seconds"))
    };
    let start = Instant::now();
    while waits() != (0.0, 0.0) {
        let patient = start.elapsed() < Duration::from_secs(5);
        assert!(patient, "{:?}\n{}", waits(), pair.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One that stands by is ready, as otherwise no rollout could go on to it.
#[tokio::test]
async fn one_that_can_neither_lead_nor_see_who_leads_is_not_ready() {
    let pair = Pair::started().await;
    let (leader, standby) = pair.roles().await;
    pair.says_of_itself(standby, 200, "ok: standing by").await;
    let rules = pair.members[standby].cut_off_from_lease();
    let mute = "cannot be renewed: the API server does not answer";
    pair.says_of_itself(standby, 503, mute).await;
    pair.says_of_itself(leader, 200, "ok: leading").await;
    drop(rules);
    pair.says_of_itself(standby, 200, "ok: standing by").await;
    let rules = pair.members[standby].unknown_to_lease();
    let unknown = "does not accept the operator's credentials";
    pair.says_of_itself(standby, 503, unknown).await;
    drop(rules);
    pair.says_of_itself(standby, 200, "ok: standing by").await;

    // Now neither may renew it.
    grant(&pair, &["list", "watch"]);
    for member in [leader, standby] {
        let refused = "grant its ServiceAccount list, watch and patch";
        pair.says_of_itself(member, 503, refused).await;
    }
    grant(&pair, &["list", "watch", "patch"]);
    for member in [leader, standby] {
        pair.says_of_itself(member, 200, "ok: ").await;
    }
}

/// Lets both do no more than this with the Lease.
fn grant(pair: &Pair, verbs: &[&str]) {
    let role = pair.world.get("role", "workspace-operator");
    let rules = role["rules"].as_array().expect("rules");
    let of_leases = |it: &serde_json::Value| it["resources"] == json!(["leases"]);
    let at = rules.iter().position(of_leases).expect("the rule");
    let path = format!("/rules/{at}/verbs");
    let patch = json!([{"op": "replace", "path": path, "value": verbs}]).to_string();
    let role = ["role", "workspace-operator", "--type=json", "-p", &patch];
    pair.world.kubectl(&[&["patch"], &role[..]].concat());
}
