//! Crontab expressions as pure functions of a moment and a time zone: the next match, the last one, windows.
//!
//! A match is a local time. One that daylight saving skips happens as much later as the clock jumps; one that it
//! repeats happens once, the first time. Zones come from the database in the program: every machine agrees.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::domain::time::{Span, Timestamp};

/// Days that a search looks at: `0 0 29 2 *` may wait eight years, around 2100.
const MAX_DAYS: i64 = 8 * 366 + 1;
/// The largest jump of a clock in any zone, in hours, rounded up.
const MAX_JUMP_HOURS: i64 = 3;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Five fields: minute, hour, day of month, month, day of week. Each is a set, one bit for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// As in crontab: when both days are restricted, either suffices.
    either_day: bool,
}

impl Cron {
    /// Reads `*`, numbers, names of months and weekdays, `a-b`, `a,b` and `/step`, or `@hourly`, `@daily`, `@weekly`,
    /// `@monthly`, `@yearly`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = written.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("`{text}` is no crontab expression: it has {} fields instead of 5", fields.len()));
        };
        let weekdays = set(weekday, "day of week", 0, 7, &WEEKDAYS)?;
        let cron = Self {
            minutes: set(minute, "minute", 0, 59, &[])?,
            hours: set(hour, "hour", 0, 23, &[])?,
            days: set(day, "day of month", 1, 31, &[])?,
            months: set(month, "month", 1, 12, &MONTHS)?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        Ok(cron)
    }

    /// The first match after a moment; `None` when there is none within eight years (`0 0 31 2 *`).
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = local(after, zone)?;
        let from = local.checked_sub(jiff::Span::new().hours(MAX_JUMP_HOURS)).ok()?;
        let mut date = from.date();
        for _ in 0..MAX_DAYS {
            if self.on(date) {
                let times = bits(self.hours).flat_map(|hour| bits(self.minutes).map(move |minute| (hour, minute)));
                let later = |(hour, minute)| {
                    let at = date.at(hour, minute, 0, 0);
                    if at < from { None } else { moment(at, zone).filter(|at| *at > after) }
                };
                if let Some(found) = times.filter_map(later).min() {
                    return Some(found);
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The last match at or before a moment and not before another one.
    pub fn last_between(&self, earliest: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let first = local(earliest, zone)?.date();
        let mut date = local(until, zone)?.date();
        while date >= first {
            if self.on(date) {
                let times = bits(self.hours).flat_map(|hour| bits(self.minutes).map(move |minute| (hour, minute)));
                let within = |(hour, minute)| {
                    moment(date.at(hour, minute, 0, 0), zone).filter(|at| (earliest..=until).contains(at))
                };
                if let Some(found) = times.filter_map(within).max() {
                    return Some(found);
                }
            }
            date = date.yesterday().ok()?;
        }
        None
    }

    /// Whether a window that opens at each match and lasts `duration` is open.
    pub fn open(&self, duration: Span, now: Timestamp, zone: &TimeZone) -> bool {
        let length = i64::try_from(duration.0).unwrap_or(i64::MAX);
        let earliest = Timestamp(now.0.saturating_sub(length).saturating_add(1).max(0));
        length > 0 && self.last_between(earliest, now, zone).is_some()
    }

    fn on(&self, date: Date) -> bool {
        let day = self.days >> date.day() & 1 == 1;
        let weekday = self.weekdays >> date.weekday().to_sunday_zero_offset() & 1 == 1;
        self.months >> date.month() & 1 == 1 && if self.either_day { day || weekday } else { day && weekday }
    }
}

/// The time zone of a name such as `Europe/Paris`; UTC for `None`.
pub fn zone(name: Option<&str>) -> Result<TimeZone, String> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| format!("`{name}` is no time zone: write for example `Europe/Paris`"))
}

/// Whether a window written as crontab expression, duration and time zone is open.
pub fn active(cron: &str, duration: Span, time_zone: Option<&str>, now: Timestamp) -> Result<bool, String> {
    Ok(Cron::parse(cron)?.open(duration, now, &zone(time_zone)?))
}

fn local(at: Timestamp, zone: &TimeZone) -> Option<jiff::civil::DateTime> {
    jiff::Timestamp::from_millisecond(at.0).ok().map(|at| zone.to_datetime(at))
}

fn moment(at: jiff::civil::DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_timestamp(at).ok().map(|at| Timestamp(at.as_millisecond()))
}

fn bits(set: u64) -> impl Iterator<Item = i8> + Clone {
    (0..60).filter(move |bit| set >> bit & 1 == 1)
}

/// The set of one field.
fn set(text: &str, field: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let bad = |part: &str| format!("`{part}` is no {field}: {least} to {most}, `*`, `a-b`, `a,b` or `/step`");
    let value = |part: &str| -> Result<u32, String> {
        if let Some(at) = names.iter().position(|name| part.eq_ignore_ascii_case(name)) {
            return Ok(at as u32 + least);
        }
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = part.parse().ok().filter(|n| plain && (least..=most).contains(n));
        number.ok_or_else(|| bad(part))
    };
    let mut all = 0u64;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|s| *s > 0).ok_or_else(|| bad(part))?)),
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (least, most),
            (_, Some((from, to))) => (value(from)?, value(to)?),
            // `5/15` means from 5 to the end.
            _ => (value(range)?, if step.is_some() { most } else { value(range)? }),
        };
        if from > to {
            return Err(bad(part));
        }
        all |= (from..=to).step_by(step.unwrap_or(1) as usize).fold(0, |set, bit| set | 1 << bit);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn next(cron: &str, zone_name: &str, after: &str) -> Option<Timestamp> {
        Cron::parse(cron).unwrap().next_after(at(after), &zone(Some(zone_name)).unwrap())
    }

    #[test]
    fn the_next_match_is_strictly_later() {
        for (cron, after, expected) in [
            ("0 2 * * *", "2025-11-22T02:00:00Z", "2025-11-23T02:00:00Z"),
            ("*/15 * * * *", "2025-11-22T10:07:30Z", "2025-11-22T10:15:00Z"),
            ("0 9 * * mon-fri", "2025-11-21T09:00:00Z", "2025-11-24T09:00:00Z"),
            ("0 0 29 feb *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
            ("0 0 13 * 5", "2025-11-08T00:00:00Z", "2025-11-13T00:00:00Z"),
            ("0 0 * * 7", "2025-11-22T00:00:00Z", "2025-11-23T00:00:00Z"),
            ("@yearly", "2025-11-22T00:00:00Z", "2026-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(cron, "UTC", after), Some(at(expected)), "{cron}");
        }
        assert_eq!(next("0 0 31 2 *", "UTC", "2025-01-01T00:00:00Z"), None);
    }

    #[test]
    fn scenario_20_a_skipped_and_a_repeated_hour_match_once() {
        // 2025-03-30, 02:00 → 03:00 in Paris; 2025-10-26, 03:00 → 02:00.
        assert_eq!(next("30 2 * * *", "Europe/Paris", "2025-03-29T12:00:00Z"), Some(at("2025-03-30T01:30:00Z")));
        assert_eq!(next("30 2 * * *", "Europe/Paris", "2025-03-30T01:30:00Z"), Some(at("2025-03-31T00:30:00Z")));
        assert_eq!(next("30 2 * * *", "Europe/Paris", "2025-10-25T12:00:00Z"), Some(at("2025-10-26T00:30:00Z")));
        assert_eq!(next("30 2 * * *", "Europe/Paris", "2025-10-26T00:30:00Z"), Some(at("2025-10-27T01:30:00Z")));
    }

    #[test]
    fn a_window_is_open_from_its_match_until_its_end() {
        let weekend =
            |now: &str| active("0 18 * * 5", Span::seconds(62 * 3600), Some("Europe/Paris"), at(now)).unwrap();
        assert!(!weekend("2025-11-21T16:59:59Z"));
        assert!(weekend("2025-11-21T17:00:00Z"));
        assert!(weekend("2025-11-24T06:59:59Z"));
        assert!(!weekend("2025-11-24T07:00:00Z"));
    }

    #[test]
    fn what_is_no_crontab_expression_is_refused() {
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "+1 * * * *",
        ] {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
        assert!(zone(Some("Mars/Olympus")).is_err());
    }
}
