//! Crontab expressions as pure functions of a moment and a time zone: the next match, the last one, windows.
//!
//! A match is a local time. One that daylight saving skips happens as much later as the clock jumps; one that it
//! repeats happens once, the first time. Where every hour is meant (`*/30 * * * *`), it is the clock that is followed:
//! a repeated hour counts twice and a skipped one not at all. So it is in Vixie's cron. Zones come from the database
//! in the program: every machine agrees.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::domain::time::{Span, Timestamp};

/// Days that a search looks at: `0 0 29 2 *` may wait eight years, around 2100.
const MAX_DAYS: i64 = 8 * 366 + 1;
/// The short words and what they stand for.
const WORDS: [(&str, &str); 8] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@quarterly", "0 0 1 */3 *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
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
    /// Whether the last day of the month is one of the days.
    last_day: bool,
    months: u64,
    weekdays: u64,
    /// For each weekday from Sunday: bit n for the nth of a month, bit 0 for the last.
    nth: [u8; 7],
    /// As in crontab: when both days are restricted, either suffices.
    either_day: bool,
    /// Whether every hour is meant: then a repeated hour repeats, and a skipped one is left out.
    every_hour: bool,
}

impl Cron {
    /// Reads `*`, `?`, numbers, names of months and weekdays, `a-b`, `a,b` and `/step`; `L` for the last day of a
    /// month, `5#2` for the second Friday and `5L` (or `L5`) for the last; or `@hourly`, `@daily`, `@midnight`,
    /// `@weekly`, `@monthly`, `@quarterly`, `@yearly`, `@annually`. The error is the end of a sentence about the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written = match text.trim() {
            word if word.starts_with('@') => {
                let known = WORDS.iter().find(|(name, _)| *name == word);
                known.map(|(_, line)| *line).ok_or_else(|| {
                    let names: Vec<&str> = WORDS.iter().map(|(name, _)| *name).collect();
                    format!("the short words are {}", names.join(", "))
                })?
            }
            other => other,
        };
        let fields: Vec<&str> = written.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("it has {} fields instead of 5", fields.len()));
        };
        let is_open = |field: &str| field.starts_with(['*', '?']);
        let (mut last_day, mut nth) = (false, [0u8; 7]);
        let days = set(day, "day of month", 1, 31, &[], &mut |part| {
            last_day |= part.eq_ignore_ascii_case("l");
            Ok(part.eq_ignore_ascii_case("l"))
        })?;
        let weekdays = set(weekday, "day of week", 0, 7, &WEEKDAYS, &mut |part| nth_weekday(part, &mut nth))?;
        Ok(Self {
            minutes: set(minute, "minute", 0, 59, &[], &mut |_| Ok(false))?,
            hours: set(hour, "hour", 0, 23, &[], &mut |_| Ok(false))?,
            days,
            last_day,
            months: set(month, "month", 1, 12, &MONTHS, &mut |_| Ok(false))?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            nth,
            either_day: !is_open(day) && !is_open(weekday),
            every_hour: is_open(hour),
        })
    }

    /// The first match after a moment; `None` when there is none within eight years (`0 0 31 2 *`).
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = local(after, zone)?;
        let from = local.checked_sub(jiff::Span::new().hours(MAX_JUMP_HOURS)).ok()?;
        let mut date = from.date();
        let mut best: Option<Timestamp> = None;
        for _ in 0..MAX_DAYS {
            if self.on(date) {
                for at in self.times(date).filter(|at| *at >= from) {
                    let matches = self.moments(at, zone);
                    best = matches.into_iter().flatten().filter(|at| *at > after).chain(best).min();
                    // A clock jumps back by less than this: no later local time is an earlier moment.
                    if let Some(found) = best
                        && self::local(found, zone)?.checked_add(jiff::Span::new().hours(MAX_JUMP_HOURS)).ok()? < at
                    {
                        return Some(found);
                    }
                }
                if best.is_some() {
                    return best;
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The last match at or before a moment and not before another one.
    pub fn last_between(&self, earliest: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // A time that is skipped happens on the same day or, at midnight, the next.
        let first = local(earliest, zone)?.date().yesterday().ok()?;
        let mut date = local(until, zone)?.date();
        while date >= first {
            if self.on(date) {
                let matches = self.times(date).flat_map(|at| self.moments(at, zone)).flatten();
                if let Some(found) = matches.filter(|at| (earliest..=until).contains(at)).max() {
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
        let length = date.days_in_month();
        let day = self.days >> date.day() & 1 == 1 || (self.last_day && date.day() == length);
        let offset = date.weekday().to_sunday_zero_offset();
        let nth = self.nth[usize::from(offset.unsigned_abs())];
        let which = (date.day() - 1) / 7 + 1;
        let weekday =
            self.weekdays >> offset & 1 == 1 || nth >> which & 1 == 1 || (nth & 1 == 1 && date.day() + 7 > length);
        self.months >> date.month() & 1 == 1 && if self.either_day { day || weekday } else { day && weekday }
    }

    /// The local times of a day, in order.
    fn times(&self, date: Date) -> impl Iterator<Item = DateTime> {
        let minutes = self.minutes;
        bits(self.hours).flat_map(move |hour| bits(minutes).map(move |minute| date.at(hour, minute, 0, 0)))
    }

    /// The moments of a local time: one, except where the clock is changed.
    fn moments(&self, at: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
        let moment = |at: jiff::Timestamp| Some(Timestamp(at.as_millisecond()));
        let ambiguous = zone.to_ambiguous_timestamp(at);
        match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } if self.every_hour => [None, None],
            AmbiguousOffset::Fold { before, after } if self.every_hour => {
                [before, after].map(|offset| offset.to_timestamp(at).ok().and_then(moment))
            }
            _ => [ambiguous.compatible().ok().and_then(moment), None],
        }
    }
}

/// The time zone of a name such as `Europe/Paris`; UTC for `None`.
pub fn zone(name: Option<&str>) -> Result<TimeZone, String> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| format!("`{name}` is no time zone: write for example `Europe/Paris`"))
}

/// The names of all time zones.
pub fn zones() -> impl Iterator<Item = String> {
    TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect::<Vec<_>>().into_iter()
}

/// Whether a window written as crontab expression, duration and time zone is open.
pub fn active(cron: &str, duration: Span, time_zone: Option<&str>, now: Timestamp) -> Result<bool, String> {
    Ok(Cron::parse(cron)?.open(duration, now, &zone(time_zone)?))
}

fn local(at: Timestamp, zone: &TimeZone) -> Option<DateTime> {
    jiff::Timestamp::from_millisecond(at.0).ok().map(|at| zone.to_datetime(at))
}

fn bits(set: u64) -> impl Iterator<Item = i8> + Clone {
    (0..60).filter(move |bit| set >> bit & 1 == 1)
}

/// The set of one field; what `special` takes is not in it.
fn set(
    text: &str,
    field: &str,
    least: u32,
    most: u32,
    names: &[&str],
    special: &mut dyn FnMut(&str) -> Result<bool, String>,
) -> Result<u64, String> {
    let value = |part: &str| -> Result<u32, String> {
        if let Some(at) = names.iter().position(|name| part.eq_ignore_ascii_case(name)) {
            return Ok(at as u32 + least);
        }
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = part.parse().ok().filter(|n| plain && (least..=most).contains(n));
        number.ok_or_else(|| format!("{field}: `{}` is not in {least}–{most}", part.escape_debug()))
    };
    let mut all = 0u64;
    for part in text.split(',') {
        if special(part).map_err(|why| format!("{field}: {why}"))? {
            continue;
        }
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let read = step.parse::<u32>().ok().filter(|n| (1..=most).contains(n) && !step.starts_with('+'));
                let step = read.ok_or_else(|| format!("{field}: `{}` is not a step", step.escape_debug()))?;
                (range, Some(step))
            }
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (least, most),
            (_, Some((from, to))) => match (value(from)?, value(to)?) {
                // `sat-sun`: a week that is read from Monday ends on Sunday.
                (from, 0) if most == 7 && from > 0 => (from, 7),
                ends => ends,
            },
            // `5/15` means from 5 to the end.
            _ => (value(range)?, if step.is_some() { most } else { value(range)? }),
        };
        if from > to {
            return Err(format!("{field}: `{}` runs backwards", range.escape_debug()));
        }
        all |= (from..=to).step_by(step.unwrap_or(1) as usize).fold(0, |set, bit| set | 1 << bit);
    }
    Ok(all)
}

/// Takes `5#2`, `fri#2`, `5L` and `L5`; whether it was one of these.
fn nth_weekday(part: &str, nth: &mut [u8; 7]) -> Result<bool, String> {
    let lower = part.to_ascii_lowercase();
    let (day, which) = match lower.split_once('#') {
        Some((day, which)) => (day, which.parse::<u8>().ok().filter(|n| (1..=5).contains(n))),
        None => match lower.strip_prefix('l').or(lower.strip_suffix('l')) {
            Some(day) if !day.is_empty() => (day, Some(0)),
            _ => return Ok(false),
        },
    };
    let number = WEEKDAYS.iter().position(|name| *name == day).or_else(|| day.parse().ok()).map(|day| day % 7);
    match (number.filter(|_| day.len() == 3 || matches!(day, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7")), which) {
        (Some(number), Some(which)) => {
            nth[number] |= 1 << which;
            Ok(true)
        }
        _ => Err(format!("`{}` is no weekday of a month, such as `fri#2` or `5L`", part.escape_debug())),
    }
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
            ("@quarterly", "2025-11-22T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("*/15 * * * *", "2025-11-22T12:07:00Z", "2025-11-22T12:15:00Z"),
            ("0 0 1 jan,JUL ?", "2025-11-22T00:00:00Z", "2026-01-01T00:00:00Z"),
            // Ends of months, leap days, weekdays of a month.
            ("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("0 0 L * *", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
            ("0 0 L * *", "2028-02-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 * * fri#2", "2025-11-22T00:00:00Z", "2025-12-12T00:00:00Z"),
            ("0 0 * * 5L", "2025-11-22T00:00:00Z", "2025-11-28T00:00:00Z"),
            ("0 0 * * L1", "2025-11-25T00:00:00Z", "2025-12-29T00:00:00Z"),
            ("0 0 * * sat-sun", "2025-11-17T00:00:00Z", "2025-11-22T00:00:00Z"),
            ("5,10-20/5 0-23/2 ? * 7", "2025-11-22T00:00:00Z", "2025-11-23T00:05:00Z"),
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

    /// All matches of a night in which the clock is changed, as UTC.
    #[test]
    fn clocks_are_followed_in_both_directions() {
        let fold = "2025-10-26T00:30:00Z 2025-10-26T01:00:00Z 2025-10-26T01:30:00Z 2025-10-26T02:00:00Z";
        for (cron, zone_name, after, expected) in [
            // Paris: 02:00 → 03:00 on 2025-03-30, 03:00 → 02:00 on 2025-10-26.
            ("*/30 * * * *", "Europe/Paris", "2025-03-30T00:30:00Z", "2025-03-30T01:00:00Z 2025-03-30T01:30:00Z"),
            ("*/30 * * * *", "Europe/Paris", "2025-10-26T00:00:00Z", fold),
            ("0 2 * * *", "Europe/Paris", "2025-10-26T00:00:00Z", "2025-10-27T01:00:00Z"),
            ("*/30 2 * * *", "Europe/Paris", "2025-03-29T12:00:00Z", "2025-03-30T01:00:00Z 2025-03-30T01:30:00Z"),
            // New York: 02:00 → 03:00 on 2025-03-09, 02:00 → 01:00 on 2025-11-02.
            ("30 2 * * *", "America/New_York", "2025-03-08T12:00:00Z", "2025-03-09T07:30:00Z 2025-03-10T06:30:00Z"),
            ("30 1 * * *", "America/New_York", "2025-11-01T12:00:00Z", "2025-11-02T05:30:00Z 2025-11-03T06:30:00Z"),
            ("30 * * * *", "America/New_York", "2025-11-02T05:00:00Z", "2025-11-02T05:30:00Z 2025-11-02T06:30:00Z"),
            ("0 0 * * *", "America/New_York", "2025-11-01T12:00:00Z", "2025-11-02T04:00:00Z 2025-11-03T05:00:00Z"),
            // Lord Howe jumps by half an hour: 02:00 → 02:30 on 2025-10-05, 02:00 → 01:30 on 2025-04-06.
            ("15 2 * * *", "Australia/Lord_Howe", "2025-10-04T00:00:00Z", "2025-10-04T15:45:00Z 2025-10-05T15:15:00Z"),
            ("45 1 * * *", "Australia/Lord_Howe", "2025-04-05T00:00:00Z", "2025-04-05T14:45:00Z 2025-04-06T15:15:00Z"),
            ("45 * * * *", "Australia/Lord_Howe", "2025-04-05T14:00:00Z", "2025-04-05T14:45:00Z 2025-04-05T15:15:00Z"),
            // Midnight itself is skipped in Beirut on 2025-03-30.
            ("0 0 * * *", "Asia/Beirut", "2025-03-29T12:00:00Z", "2025-03-29T22:00:00Z 2025-03-30T21:00:00Z"),
        ] {
            let mut found = Vec::new();
            let mut last = at(after);
            for _ in expected.split(' ') {
                last = next(cron, zone_name, &last.to_string()).unwrap();
                found.push(last);
            }
            let expected: Vec<Timestamp> = expected.split(' ').map(at).collect();
            assert_eq!(found, expected, "{cron} in {zone_name}");
            // Backwards it is the same.
            let (cron, zone) = (Cron::parse(cron).unwrap(), zone(Some(zone_name)).unwrap());
            for pair in expected.windows(2) {
                let before = Timestamp(pair[1].0 - 1);
                assert_eq!(cron.last_between(at(after), before, &zone), Some(pair[0]), "before {}", pair[1]);
            }
        }
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
            "* * * 13 *",
            "* * * * 8",
            "1, * * * *",
            "* * * * * *",
            "@never",
            "* * * * fri#6",
            "* * * * xl",
            "*/60 * * * *",
        ] {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
        assert!(zone(Some("Mars/Olympus")).is_err());
    }
}
