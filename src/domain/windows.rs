//! Whether a queue may dispatch now, and until when that stays so: windows of crontab line, duration and time zone.

use serde::{Deserialize, Serialize};

use crate::domain::cron::{Cron, zone};
use crate::domain::spec::Window;
use crate::domain::time::{Span, Timestamp};

/// Windows that follow one another without a gap for longer than this count as open for ever: ten years.
const FOR_EVER: Span = Span::seconds(10 * 366 * 86_400);
/// Windows that are joined into one opening, at most.
const MAX_JOINED: usize = 10_000;

/// Whether some windows are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Opening {
    /// Open until this moment; `None`: for ever.
    Open(Option<Timestamp>),
    /// Closed until this moment; `None`: for ever.
    Closed(Option<Timestamp>),
}

impl Opening {
    /// Whether it is open.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// When that changes.
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Self::Open(until) | Self::Closed(until) => until,
        }
    }
}

/// Whether some windows are open now. No windows at all are always open; one that cannot be read never is.
pub fn open_at(windows: &[Window], now: Timestamp) -> Opening {
    if windows.is_empty() {
        return Opening::Open(None);
    }
    let read: Vec<_> = windows
        .iter()
        .filter_map(|window| {
            let length = window.duration.0;
            Some((Cron::parse(&window.cron).ok()?, zone(window.time_zone.as_deref()).ok()?, length))
        })
        .collect();
    // The end of the windows that are open at a moment.
    let end_at = |at: Timestamp| {
        let end = |(cron, zone, length): &(Cron, jiff::tz::TimeZone, Span)| {
            let earliest =
                Timestamp(at.0.saturating_sub(i64::try_from(length.0).unwrap_or(i64::MAX)).saturating_add(1));
            cron.last_between(earliest, at, zone).filter(|_| length.0 > 0).map(|begin| begin.after(*length))
        };
        read.iter().filter_map(end).max()
    };
    let Some(mut end) = end_at(now) else {
        let next = |(cron, zone, length): &(Cron, jiff::tz::TimeZone, Span)| {
            cron.next_after(now, zone).filter(|_| length.0 > 0)
        };
        return Opening::Closed(read.iter().filter_map(next).min());
    };
    for _ in 0..MAX_JOINED {
        match end_at(end) {
            Some(_) if end.since(now) > FOR_EVER => return Opening::Open(None),
            Some(later) => end = later,
            None => return Opening::Open(Some(end)),
        }
    }
    // Long enough for whoever waits; it is looked at again then.
    Opening::Open(Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Duration;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn window(cron: &str, duration: &str, zone: Option<&str>) -> Window {
        let duration = Duration::parse(duration).unwrap();
        Window { cron: cron.into(), duration, time_zone: zone.map(str::to_owned) }
    }

    #[test]
    fn a_queue_opens_and_closes_with_its_windows() {
        let night = [window("0 20 * * *", "8h", Some("Europe/Paris"))];
        let open = |text: &str| Opening::Open(Some(at(text)));
        let closed = |text: &str| Opening::Closed(Some(at(text)));
        for (now, expected) in [
            ("2025-06-02T17:59:59.999Z", closed("2025-06-02T18:00:00Z")),
            ("2025-06-02T18:00:00Z", open("2025-06-03T02:00:00Z")),
            ("2025-06-03T01:59:59Z", open("2025-06-03T02:00:00Z")),
            ("2025-06-03T02:00:00Z", closed("2025-06-03T18:00:00Z")),
            // In the night in which the clock goes back it lasts eight hours too.
            ("2025-10-25T18:00:00Z", open("2025-10-26T02:00:00Z")),
        ] {
            assert_eq!(open_at(&night, at(now)), expected, "{now}");
        }
    }

    #[test]
    fn windows_that_touch_are_one() {
        let shifts =
            [window("0 8 * * *", "4h", None), window("0 12 * * *", "4h", None), window("0 18 * * *", "1h", None)];
        assert_eq!(open_at(&shifts, at("2025-06-02T09:00:00Z")), Opening::Open(Some(at("2025-06-02T16:00:00Z"))));
        let always = [window("0 0 * * *", "1d", None)];
        assert_eq!(open_at(&always, at("2025-06-02T09:00:00Z")), Opening::Open(None));
        let never = [window("0 0 31 2 *", "1d", None)];
        assert_eq!(open_at(&never, at("2025-06-02T09:00:00Z")), Opening::Closed(None));
        assert_eq!(open_at(&[], at("2025-06-02T09:00:00Z")), Opening::Open(None));
    }
}
