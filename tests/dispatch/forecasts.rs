//! When a run may expect to start, beside what is worked out by hand and what then happens.

use std::collections::BTreeMap;

use tidegate::domain::catalog::QueuePolicy;
use tidegate::domain::ids::RunId;
use tidegate::domain::simulate::{Confidence, Durations, FORECAST_EVENTS, Forecast, forecast, forecast_within};
use tidegate::domain::spec::Window;
use tidegate::domain::time::{Duration, Span};

use crate::world::{World, policy, queue_name};

fn took(queue: &str, seconds: &[u64]) -> Durations {
    let mut durations = Durations::default();
    seconds.iter().for_each(|s| durations.add(queue_name(queue), Span::seconds(*s)));
    durations
}

fn ask(world: &World, durations: &Durations, run: RunId) -> Option<Forecast> {
    forecast(&world.state, world.now, durations, &BTreeMap::new(), run)
}

#[test]
fn the_fifth_of_a_queue_of_two_starts_after_two_rounds() {
    let mut world = World::new();
    world.agent("a", -1, "").queue("a/q", policy(1, 2));
    let runs = world.submit_all("a/q", 5);
    let before = crate::world::json(&world.state);
    let found = ask(&world, &took("a/q", &[10; 60]), runs[4]).unwrap();
    assert_eq!((found.p50, found.p90), (Some(Span::seconds(20)), Some(Span::seconds(20))));
    assert_eq!((found.samples, found.confidence), (60, Confidence::Good));
    assert_eq!(ask(&world, &took("a/q", &[10; 60]), runs[0]), None, "it has its slot");
    assert_eq!(ask(&world, &Durations::default(), runs[4]), None, "there is nothing to go by");
    assert_eq!(crate::world::json(&world.state), before, "looking changes nothing");
}

#[test]
fn a_run_that_has_run_for_a_while_has_less_to_go() {
    let mut world = World::new();
    world.agent("a", -1, "").queue("a/q", policy(1, 1));
    let runs = world.submit_all("a/q", 2);
    let elapsed = BTreeMap::from([(runs[0], Span::seconds(7))]);
    let found = forecast(&world.state, world.now, &took("a/q", &[10; 9]), &elapsed, runs[1]).unwrap();
    assert_eq!((found.p50, found.confidence), (Some(Span::seconds(3)), Confidence::Fair));
}

#[test]
fn durations_that_differ_spread_the_forecast_and_other_queues_lend_theirs() {
    let mut world = World::new();
    world.agent("a", 1, "").queue("a/q", policy(1, -1)).queue("a/new", policy(1, -1));
    let runs = world.submit_all("a/q", 4);
    let found = ask(&world, &took("a/q", &[1, 100]), runs[3]).unwrap();
    assert!(found.p50 < found.p90, "{found:?}");
    assert!(found.p50 >= Some(Span::seconds(3)) && found.p90 <= Some(Span::seconds(300)), "{found:?}");
    assert_eq!(found.confidence, Confidence::Low, "two durations are few");
    assert_eq!(ask(&world, &took("a/q", &[1, 100]), runs[3]), Some(found), "the same question has the same answer");
    let new = world.submit("a/new");
    assert_eq!(ask(&world, &took("a/q", &[10; 99]), new).unwrap().confidence, Confidence::Low, "none are its own");
}

#[test]
fn who_cannot_start_as_things_are_has_no_time() {
    let mut world = World::new();
    world.agent("a", -1, "").queue("a/q", QueuePolicy { hold: true, ..policy(1, 1) });
    let run = world.submit("a/q");
    let found = ask(&world, &took("a/q", &[10; 9]), run).unwrap();
    assert_eq!((found.p50, found.p90), (None, None));
}

#[test]
fn windows_that_turn_for_ever_do_not_keep_a_forecast_from_ending() {
    let mut world = World::new();
    let window = |minute: &str| Window {
        cron: format!("{minute} * * * *"),
        duration: Duration::parse("30s").unwrap(),
        time_zone: None,
    };
    world.agent("a", -1, "").queue("a/q", QueuePolicy { hold: true, ..policy(1, 1) });
    world.queue("a/turning", QueuePolicy { windows: vec![window("0")], ..policy(1, 1) });
    let run = world.submit("a/q");
    let found = ask(&world, &took("a/q", &[10; 60]), run).unwrap();
    // Each of twenty futures opens and closes it 720 times in thirty days, well within the events of a forecast.
    assert_eq!((found.p50, found.p90, found.too_much), (None, None, false));
    assert_eq!(found.confidence, Confidence::Good, "all futures were played");
}

#[test]
fn what_is_too_much_to_play_is_not_said_never_to_start() {
    let mut world = World::new();
    world.agent("a", -1, "").queue("a/q", policy(1, 1));
    let runs = world.submit_all("a/q", 40);
    let within = |events| {
        let durations = took("a/q", &[10; 60]);
        forecast_within(events, &world.state, world.now, &durations, &BTreeMap::new(), runs[39]).unwrap()
    };
    let all = within(FORECAST_EVENTS);
    assert_eq!((all.p50, all.too_much, all.confidence), (Some(Span::seconds(390)), false, Confidence::Good));
    let none = within(20);
    assert_eq!((none.p50, none.p90, none.too_much, none.confidence), (None, None, true, Confidence::Low));
    // Two futures of twenty: what they say is said, and how little it is.
    let some = within(200);
    assert_eq!((some.p50, some.too_much, some.confidence), (Some(Span::seconds(390)), false, Confidence::Low));
}
