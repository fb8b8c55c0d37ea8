use std::collections::BTreeSet;

use super::*;
use crate::overview::{OutdatedImage, UnwatchedImages};
use crate::settings::{Environment, REGISTRY_KEY};

fn in_force(registry: &str) -> InForce {
    let data = [(REGISTRY_KEY.to_owned(), registry.to_owned())].into();
    let parsed = Settings::parse(&data, &Environment::default());
    InForce {
        settings: Some(parsed.expect("it is one").settings),
        error: None,
        warnings: Vec::new(),
        origin: Origin::ConfigMap,
    }
}

/// What names a registry is an annotation of a Pod, which anybody with Pods may write.
#[test]
fn a_registry_beyond_the_first_sixteen_is_counted_with_the_others() {
    const COUNT: usize = 40;
    let mut metrics = Metrics::new(&Traffic::default());
    let total = |number: usize| Total {
        state: Some(Reason::Ready),
        stalled: false,
        registry: Some(format!("r{number:02}.example.com")),
    };
    let totals: Totals = (0..COUNT).map(|it| (total(it), 1)).collect();
    let mut scrape = |in_force: &InForce| {
        let moment = Moment {
            workspaces: Some(totals.clone()),
            overview: None,
            queued: 0,
            oldest: Duration::ZERO,
            in_force,
        };
        metrics.expose(&moment, Format::Text)
    };
    let text = scrape(&in_force("r39.example.com/a"));
    let of = |line: &&str| line.starts_with("workspace_operator_workspaces{");
    let series: Vec<_> = text.lines().filter(of).collect();
    let names: BTreeSet<_> = (series.iter())
        .filter_map(|it| it.split("registry=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(names.len(), REGISTRIES + 1, "{names:?}");
    assert!(names.contains("r39.example.com"), "the one in force");
    let values = series.iter().filter_map(|it| it.rsplit(' ').next());
    let counted: usize = values
        .map(|it| it.parse::<usize>().expect("a number"))
        .sum();
    assert_eq!((names.contains(OTHER), counted), (true, COUNT));

    let switched = scrape(&in_force("late.example.com/a"));
    let late = "workspace_image_pull_failures_total{registry=\"late.example.com\"} 0";
    assert!(switched.contains(late), "{switched}");
}

#[test]
fn what_is_outdated_and_what_is_not_watched_are_counted_by_registry() {
    let outdated = |image: &str, workspaces| OutdatedImage {
        image: image.into(),
        workspaces,
        ..OutdatedImage::default()
    };
    let overview = Overview {
        outdated_images: vec![
            outdated("a.example.com/x/workspace-template-codex:latest", 2),
            outdated("a.example.com/x/workspace-template-hermes:latest", 3),
        ],
        unwatched_images: vec![UnwatchedImages {
            registry: "b.example.com".into(),
            images: 4,
            ..UnwatchedImages::default()
        }],
        ..Overview::default()
    };
    let in_force = in_force("a.example.com/x");
    let mut metrics = Metrics::new(&Traffic::default());
    let mut scrape = |overview| {
        let moment = Moment {
            workspaces: Some(Totals::default()),
            overview: Some(overview),
            queued: 0,
            oldest: Duration::ZERO,
            in_force: &in_force,
        };
        metrics.expose(&moment, Format::Text)
    };
    let outdated = "workspace_operator_workspaces_outdated{registry=\"a.example.com\"} 5";
    let unwatched = "workspace_operator_images_unwatched{registry=\"b.example.com\"} 4";
    let text = scrape(overview);
    assert!(
        text.contains(outdated) && text.contains(unwatched),
        "{text}"
    );
    let text = scrape(Overview::default());
    assert!(!text.contains("registry=\"b.example.com\""), "{text}");
}
