//! The time a report is about.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::failures::{Minute, REMEMBERED};

/// What is asked for when nothing is said.
const DEFAULT: Duration = Duration::from_secs(2 * 60 * 60);

/// The time asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: SystemTime,
    pub to: SystemTime,
}

/// The words for a window make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWindow {
    #[error(
        "`{name}` is `{value}`; it takes a time that has passed (`90m`, `2h`, `1day`) or a point in time (`2026-07-01T12:00:00Z`)"
    )]
    Unreadable { name: &'static str, value: String },
    #[error("the window is empty: `since` ({from}) is not before `until` ({to})")]
    Empty { from: String, to: String },
}

/// The time asked for, and the part of it that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// RFC 3339, UTC, as all times of a report.
    pub asked_from: String,
    pub asked_to: String,
    /// Counts begin here, at a whole minute.
    pub from: String,
    pub to: String,
    /// Why less is known than was asked for.
    pub note: Option<String>,
}

// === impl Window ===

impl Window {
    /// `since` and `until`: a duration back from `now`, or a point in time. Default: the last two hours.
    ///
    /// # Errors
    /// When one is neither, or nothing is between them.
    pub fn parse(
        since: Option<&str>,
        until: Option<&str>,
        now: SystemTime,
    ) -> Result<Self, BadWindow> {
        let point = |name, value: &str| {
            let ago = humantime::parse_duration(value).ok();
            // As far back as one likes; but times before 1970 cannot be written.
            ago.map(|ago| {
                now.checked_sub(ago).map_or(SystemTime::UNIX_EPOCH, |then| {
                    then.max(SystemTime::UNIX_EPOCH)
                })
            })
            .or_else(|| humantime::parse_rfc3339_weak(value).ok())
            .ok_or_else(|| BadWindow::Unreadable {
                name,
                value: crate::redact::name(value).chars().take(40).collect(),
            })
        };
        let to = until.map_or(Ok(now), |until| point("until", until))?;
        let from = match since {
            Some(since) => point("since", since)?,
            None => to.checked_sub(DEFAULT).unwrap_or(SystemTime::UNIX_EPOCH),
        };
        if from >= to {
            return Err(BadWindow::Empty {
                from: utc(from),
                to: utc(to),
            });
        }
        Ok(Self { from, to })
    }

    /// The minutes that are known of it; the book goes back to `started`, `whole_from`, and a day.
    pub(super) fn covered(
        &self,
        started: SystemTime,
        whole_from: Option<Minute>,
        now: SystemTime,
    ) -> (Minute, Minute, Covered) {
        let (asked, to) = (Minute::of(self.from), Minute::of(self.to.min(now)));
        let bounds = [
            (
                Some(Minute::of(started)),
                format!("this gateway started at {}", utc(started)),
            ),
            (
                Some(Minute::of(now).oldest_remembered()),
                format!("it remembers {} hours", REMEMBERED / 60),
            ),
            (
                whole_from,
                "there was not room for all failures before that".to_owned(),
            ),
        ];
        let latest = bounds
            .into_iter()
            .filter_map(|(at, why)| Some((at?, why)))
            .max_by_key(|(at, _)| *at);
        let (from, note) = match latest {
            Some((at, why)) if at > asked => (
                at,
                Some(format!("Less is known than was asked for: {why}.")),
            ),
            _ => (asked, None),
        };
        let covered = Covered {
            asked_from: utc(self.from),
            asked_to: utc(self.to),
            from: utc(from.start().max(started)),
            to: utc(self.to.min(now)),
            note,
        };
        (from, to, covered)
    }
}

/// RFC 3339, UTC, whole seconds.
pub(super) fn utc(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_all_times_is_the_beginning() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for since in ["99999999999d", "80years", "1960-01-01T00:00:00Z"] {
            let Ok(window) = Window::parse(Some(since), None, now) else {
                continue;
            };
            let (_, _, covered) = window.covered(now, None, now);
            assert_eq!(covered.asked_from, "1970-01-01T00:00:00Z", "{since}");
        }
        assert!(Window::parse(Some("1h"), Some("99999999999d"), now).is_err());
    }

    #[test]
    fn a_window_is_told_by_durations_or_points() {
        let now = humantime::parse_rfc3339("2026-07-01T12:00:00Z").unwrap();
        let ago = |minutes: u64| now - Duration::from_secs(60 * minutes);
        let window = |since, until| Window::parse(since, until, now);
        assert_eq!(window(None, None).unwrap().from, ago(120));
        assert_eq!(
            window(Some("30m"), Some("10m")).unwrap(),
            Window {
                from: ago(30),
                to: ago(10)
            }
        );
        assert_eq!(
            window(Some("2026-07-01T11:00:00Z"), None).unwrap().from,
            ago(60)
        );
        for bad in [
            "",
            "soon",
            "-2h",
            "2026-13-01T00:00:00Z",
            "99999999999999999y",
        ] {
            assert!(
                matches!(
                    window(Some(bad), None),
                    Err(BadWindow::Unreadable { name: "since", .. })
                ),
                "{bad}"
            );
        }
        assert!(matches!(
            window(Some("1h"), Some("2h")),
            Err(BadWindow::Empty { .. })
        ));
        assert!(matches!(
            window(Some("0s"), None),
            Err(BadWindow::Empty { .. })
        ));
    }

    #[test]
    fn what_is_not_known_is_said() {
        let now = humantime::parse_rfc3339("2026-07-01T12:00:30Z").unwrap();
        let started = now - Duration::from_secs(600);
        let window = Window::parse(Some("2h"), None, now).unwrap();
        let (_, _, covered) = window.covered(started, None, now);
        assert_eq!(covered.from, "2026-07-01T11:50:30Z");
        assert!(
            covered
                .note
                .unwrap()
                .contains("started at 2026-07-01T11:50:30Z")
        );
        let (_, _, covered) = window.covered(now - Duration::from_secs(86_400 * 3), None, now);
        assert_eq!(
            (covered.from.as_str(), covered.note),
            ("2026-07-01T10:00:00Z", None)
        );
    }
}
