//! When a schedule starts its next run: a function of the schedule, what it has done so far, and the time.
//!
//! Times count from the moment at which the schedule was armed: one that is new or has changed invents nothing before
//! it. What was missed while nobody could start it is made up for as `catchup` says.

use crate::domain::cron::{Cron, zone};
use crate::domain::dispatch::event::Armed;
use crate::domain::spec::{Catchup, Schedule, When};
use crate::domain::time::{Span, Timestamp};

/// How late a time may be noticed and still not count as missed.
const LATE: Span = Span::seconds(60);

/// What a schedule wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firing {
    /// A run now, for this time.
    Now(Timestamp),
    /// Nothing before then.
    At(Timestamp),
    /// Nothing any more.
    Never,
}

/// What a schedule wants now. Its last run must have ended first when it depends on the past; that is the caller's to
/// know.
pub fn next(schedule: &Schedule, armed: &Armed, now: Timestamp) -> Firing {
    if schedule.max_runs.is_some_and(|most| armed.fires >= most) {
        return Firing::Never;
    }
    let from = armed.last.unwrap_or(armed.since).max(armed.since);
    let Some(first) = after(schedule, armed.since, from) else { return Firing::Never };
    if first > now {
        return Firing::At(first);
    }
    // There is at least one; `from` is before it.
    let Some(last) = latest(schedule, armed.since, from, now) else { return Firing::At(first) };
    match schedule.catchup {
        Catchup::Last => Firing::Now(last),
        Catchup::None if now.since(last) <= LATE => Firing::Now(last),
        Catchup::None => after(schedule, armed.since, now).map_or(Firing::Never, Firing::At),
        Catchup::All(most) => {
            let mut oldest = last;
            for _ in 1..most {
                let until = Timestamp(oldest.0 - 1);
                let Some(before) = latest(schedule, armed.since, from, until) else { break };
                oldest = before;
            }
            Firing::Now(oldest)
        }
    }
}

/// The first time after a moment.
fn after(schedule: &Schedule, since: Timestamp, moment: Timestamp) -> Option<Timestamp> {
    let not_before = schedule.start_at.map_or(moment, |start| moment.max(Timestamp(start.0 - 1)));
    let time = match &schedule.when {
        When::Cron { line, time_zone } => {
            let (cron, zone) = (Cron::parse(line).ok()?, zone(time_zone.as_deref()).ok()?);
            cron.next_after(not_before, &zone)
        }
        When::Every(span) => {
            let origin = schedule.start_at.unwrap_or(since);
            let passed = not_before.0 - origin.0;
            let step = i64::try_from(span.0).ok()?;
            let n = if passed < 0 { 0 } else { passed / step + 1 };
            // Without a beginning of its own it begins one step after it was armed, not at once.
            let n = if schedule.start_at.is_none() { n.max(1) } else { n };
            Some(Timestamp(origin.0.checked_add(step.checked_mul(n)?)?))
        }
        When::Once => schedule.start_at.filter(|start| *start > moment),
    }?;
    schedule.end_at.is_none_or(|end| time < end).then_some(time)
}

/// The last time after `from`, up to and with `until`.
fn latest(schedule: &Schedule, since: Timestamp, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let until = schedule.end_at.map_or(until, |end| until.min(Timestamp(end.0 - 1)));
    let from = schedule.start_at.map_or(from, |start| from.max(Timestamp(start.0 - 1)));
    if until <= from {
        return None;
    }
    match &schedule.when {
        When::Cron { line, time_zone } => {
            let (cron, zone) = (Cron::parse(line).ok()?, zone(time_zone.as_deref()).ok()?);
            cron.last_between(Timestamp(from.0 + 1), until, &zone)
        }
        When::Every(span) => {
            let origin = schedule.start_at.unwrap_or(since);
            let step = i64::try_from(span.0).ok()?;
            let time = Timestamp(origin.0 + (until.0 - origin.0) / step * step);
            (time > from).then_some(time)
        }
        When::Once => schedule.start_at.filter(|start| *start > from && *start <= until),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn schedule(written: Value) -> Schedule {
        Schedule::read(&written).unwrap()
    }

    /// Every time that fires while the clock goes from one moment to another in steps, with when it fired.
    fn fires(written: Value, since: &str, gaps: &[(&str, &str)], until: &str) -> Vec<String> {
        let (schedule, mut armed) = (schedule(written), Armed { since: at(since), last: None, fires: 0, run: None });
        let (mut now, mut fired) = (at(since), Vec::new());
        while now <= at(until) {
            let down = gaps.iter().any(|(from, to)| now >= at(from) && now < at(to));
            if !down {
                while let Firing::Now(time) = next(&schedule, &armed, now) {
                    assert!(armed.last.is_none_or(|last| time > last), "no time fires twice");
                    assert!(time <= now && time > armed.since);
                    (armed.last, armed.fires) = (Some(time), armed.fires + 1);
                    fired.push(time.to_string().replace(".000Z", "Z"));
                }
            }
            now = now.after(Span::seconds(30));
        }
        fired
    }

    #[test]
    fn what_was_missed_is_made_up_for_as_catchup_says() {
        let down = [("2025-01-01T01:30:00Z", "2025-01-01T04:30:00Z")];
        let of = |catchup: &str| {
            let cron = json!({"cron": "0 2,3 * * *", "catchup": catchup});
            fires(cron, "2025-01-01T01:00:00Z", &down, "2025-01-02T02:30:00Z")
        };
        let next_day = "2025-01-02T02:00:00Z".to_owned();
        assert_eq!(of("none"), std::slice::from_ref(&next_day));
        assert_eq!(of("last"), ["2025-01-01T03:00:00Z".to_owned(), next_day.clone()]);
        assert_eq!(of("all"), ["2025-01-01T02:00:00Z".to_owned(), "2025-01-01T03:00:00Z".to_owned(), next_day.clone()]);
        assert_eq!(of("all(1)"), ["2025-01-01T03:00:00Z".to_owned(), next_day]);
    }

    #[test]
    fn the_hours_that_daylight_saving_takes_and_gives_fire_once() {
        let paris = json!({"cron": "30 2 * * *", "timeZone": "Europe/Paris"});
        // 2025-03-30 has no 02:30 in Paris, 2025-10-26 has it twice.
        let spring = fires(paris.clone(), "2025-03-29T12:00:00Z", &[], "2025-03-31T12:00:00Z");
        assert_eq!(spring.len(), 2, "{spring:?}");
        assert_eq!(spring[1], "2025-03-31T00:30:00Z");
        let autumn = fires(paris, "2025-10-25T12:00:00Z", &[], "2025-10-26T23:00:00Z");
        assert_eq!(autumn.len(), 1, "{autumn:?}");
        let leap = fires(json!({"cron": "0 0 29 2 *"}), "2028-02-28T00:00:00Z", &[], "2028-03-02T00:00:00Z");
        assert_eq!(leap, ["2028-02-29T00:00:00Z"]);
    }

    /// Skipped hours, repeated hours, half hours, leap days: every time, forwards by a clock that goes on, and the last of
    /// them looked for backwards, as after a pause.
    #[test]
    fn the_table_of_daylight_saving_and_leap_days() {
        let table: [(&str, &str, &str, &str, &str); 12] = [
            // The clock jumps: what it skips happens as much later.
            (
                "30 2 * * *",
                "Europe/Paris",
                "2025-03-29T12:00:00Z",
                "2025-03-31T12:00:00Z",
                "2025-03-30T01:30:00Z 2025-03-31T00:30:00Z",
            ),
            (
                "30 2 * * *",
                "America/New_York",
                "2025-03-08T12:00:00Z",
                "2025-03-10T12:00:00Z",
                "2025-03-09T07:30:00Z 2025-03-10T06:30:00Z",
            ),
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2025-10-04T00:00:00Z",
                "2025-10-05T23:00:00Z",
                "2025-10-04T15:45:00Z 2025-10-05T15:15:00Z",
            ),
            (
                "0 * * * *",
                "Europe/Paris",
                "2025-03-30T00:00:00Z",
                "2025-03-30T02:30:00Z",
                "2025-03-30T01:00:00Z 2025-03-30T02:00:00Z",
            ),
            // It falls back: what it repeats happens once, unless every hour is meant.
            (
                "30 2 * * *",
                "Europe/Paris",
                "2025-10-25T12:00:00Z",
                "2025-10-27T12:00:00Z",
                "2025-10-26T00:30:00Z 2025-10-27T01:30:00Z",
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2025-11-01T12:00:00Z",
                "2025-11-03T12:00:00Z",
                "2025-11-02T05:30:00Z 2025-11-03T06:30:00Z",
            ),
            (
                "45 1 * * *",
                "Australia/Lord_Howe",
                "2025-04-05T00:00:00Z",
                "2025-04-06T23:00:00Z",
                "2025-04-05T14:45:00Z 2025-04-06T15:15:00Z",
            ),
            (
                "0 * * * *",
                "Europe/Paris",
                "2025-10-25T23:30:00Z",
                "2025-10-26T02:30:00Z",
                "2025-10-26T00:00:00Z 2025-10-26T01:00:00Z 2025-10-26T02:00:00Z",
            ),
            // Without daylight saving nothing jumps.
            (
                "30 2 * * *",
                "UTC",
                "2025-03-29T12:00:00Z",
                "2025-03-31T12:00:00Z",
                "2025-03-30T02:30:00Z 2025-03-31T02:30:00Z",
            ),
            (
                "30 2 * * *",
                "Asia/Kolkata",
                "2025-10-25T12:00:00Z",
                "2025-10-26T23:00:00Z",
                "2025-10-25T21:00:00Z 2025-10-26T21:00:00Z",
            ),
            // Leap days, and years without one.
            (
                "0 12 28-31 2 *",
                "UTC",
                "2028-02-27T00:00:00Z",
                "2028-03-02T00:00:00Z",
                "2028-02-28T12:00:00Z 2028-02-29T12:00:00Z",
            ),
            ("0 12 28-31 2 *", "UTC", "2027-02-27T00:00:00Z", "2027-03-02T00:00:00Z", "2027-02-28T12:00:00Z"),
        ];
        for (line, zone, since, until, expected) in table {
            let expected: Vec<&str> = expected.split(' ').collect();
            let cron = |catchup: &str| json!({"cron": line, "timeZone": zone, "catchup": catchup});
            assert_eq!(fires(cron("last"), since, &[], until), expected, "{line} in {zone}");
            let armed = Armed { since: at(since), last: None, fires: 0, run: None };
            let last = Firing::Now(at(expected.last().unwrap()));
            assert_eq!(next(&schedule(cron("last")), &armed, at(until)), last, "{line} in {zone}, backwards");
            // Everything that was missed in a pause over the change is made up for, in order and once.
            assert_eq!(
                fires(cron("all"), since, &[(since, until)], until),
                expected,
                "{line} in {zone}, after a pause"
            );
        }
        let century = Armed { since: at("2096-03-01T00:00:00Z"), last: None, fires: 0, run: None };
        let leap = schedule(json!({"cron": "0 0 29 2 *"}));
        assert_eq!(
            next(&leap, &century, century.since),
            Firing::At(at("2104-02-29T00:00:00Z")),
            "2100 is no leap year"
        );
        // An interval knows no zones.
        let every = json!({"frequency": 3600, "startAt": "2025-03-30T00:00:00Z"});
        assert_eq!(fires(every, "2025-03-29T23:30:00Z", &[], "2025-03-30T03:10:00Z").len(), 4);
    }

    #[test]
    fn intervals_moments_limits_and_ends() {
        let day = ("2025-01-01T00:00:20Z", "2025-01-01T05:00:00Z");
        let of = |written: Value| fires(written, day.0, &[], day.1).len();
        assert_eq!(fires(json!({"frequency": 3600}), day.0, &[], day.1)[0], "2025-01-01T01:00:20Z");
        assert_eq!(of(json!({"frequency": 3600})), 4);
        assert_eq!(of(json!({"frequency": 3600, "startAt": "2024-12-31T23:30:00Z"})), 5);
        assert_eq!(of(json!({"frequency": 3600, "maxRuns": 2})), 2);
        assert_eq!(of(json!({"frequency": 3600, "endAt": "2025-01-01T02:00:20Z"})), 1);
        assert_eq!(of(json!({"startAt": "2025-01-01T03:00:00Z"})), 1);
        assert_eq!(of(json!({"startAt": "2024-01-01T03:00:00Z"})), 0, "what was over when it was armed stays over");
        assert_eq!(of(json!({"cron": "0 * * * *", "startAt": "2025-01-01T02:30:00Z"})), 2);
    }
}
