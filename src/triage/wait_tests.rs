use super::*;
use proptest::prelude::*;

fn ms(n: u64) -> Option<Duration> {
    Some(Duration::from_millis(n))
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn every_notation_of_a_duration_is_read() {
    for (text, want) in [
        ("6m0s", ms(360_000)),
        ("120ms", ms(120)),
        ("1m26.4s", ms(86_400)),
        ("7h12m", ms(25_920_000)),
        ("0s", ms(0)),
        ("0", ms(0)),
        ("0.598", ms(598)),
        ("19", ms(19_000)),
        ("6m 11.52s", ms(371_520)),
        ("40m19.2s", ms(2_419_200)),
        ("57.6S", ms(57_600)),
        ("60 seconds", ms(60_000)),
        ("1 minute and 3 seconds", ms(63_000)),
        ("1 hr, 5 min", ms(3_900_000)),
        ("30,000ms", ms(30_000)),
        ("1,5 s", ms(1_500)),
        ("PT1M30S", ms(90_000)),
        ("38s", ms(38_000)),
        ("6 days", Some(LONGEST)),
        ("99999999999999999999", Some(LONGEST)),
        ("-1", None),
        ("NaN", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("5 attempts", None),
        ("1e3", None),
    ] {
        assert_eq!(duration(text), want, "{text}");
    }
}

#[test]
fn points_in_time_count_from_now() {
    let now = at(1_788_183_000);
    for (text, want) in [
        ("1788183060000", ms(60_000)),
        ("1788183060", ms(60_000)),
        ("2026-08-31T13:31:00Z", ms(60_000)),
        ("2026-08-31T15:31:00+02:00", ms(60_000)),
        ("2026-08-31 13:31:00.5Z", ms(60_500)),
        ("Mon, 31 Aug 2026 13:31:00 GMT", ms(60_000)),
        ("2026-08-31T12:00:00Z", ms(0)),
        ("2036-08-31T12:00:00Z", Some(LONGEST)),
        ("30", ms(30_000)),
        ("17", ms(17_000)),
        ("30;w=60", ms(30_000)),
        ("30, 60", ms(60_000)),
        ("00:00:45", ms(45_000)),
        ("1.00:00:00", Some(LONGEST)),
        ("-1", None),
        ("30, soon", None),
    ] {
        assert_eq!(header(text, now), want, "{text}");
    }
}

#[test]
fn dates_agree_with_the_calendar() {
    assert_eq!(rfc3339("1970-01-01T00:00:00Z"), Some(at(0)));
    assert_eq!(rfc3339("2000-02-29T00:00:00Z"), Some(at(951_782_400)));
    assert_eq!(rfc3339("2024-12-31T23:59:59Z"), Some(at(1_735_689_599)));
    assert_eq!(
        http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
        Some(at(784_111_777))
    );
    assert_eq!(rfc3339("2026-13-01T00:00:00Z"), None);
}

#[test]
fn texts_tell_their_wait_and_their_date() {
    for (text, want) in [
        (
            "Limit 30000, Used 14567, Requested 24754. Please try again in 18.642s. Visit https://x",
            ms(18_642),
        ),
        ("Please try again in 644ms.", ms(644)),
        (
            "please slow down and try again after 51.84 seconds.",
            ms(51_840),
        ),
        ("Please retry after 60 seconds. Please go here", ms(60_000)),
        ("Please retry in 38.209s.", ms(38_209)),
        (
            "Token quota is exceeded. Try again in 6 days.",
            Some(LONGEST),
        ),
        ("Please try again in 7h12m. Visit", ms(25_920_000)),
        ("Try again in 1 minute.", ms(60_000)),
        ("please wait 5 seconds", ms(5_000)),
        ("Please try again in 20s. Also retry after 30s.", ms(30_000)),
        ("try again in 6m0s", ms(360_000)),
        ("available again in 1h12m", ms(4_320_000)),
        ("Quota will be replenished in 6.11:35:10.", Some(LONGEST)),
        ("Quota will be replenished in 00:04:10.", ms(250_000)),
        ("Retry after 2026-08-31T13:31:00Z", ms(60_000)),
        ("retry after 2026-08-31 15:31:00+02:00.", ms(60_000)),
        ("resets at 2026-08-31T13:30:30Z (2056)", ms(30_000)),
        ("Please retry at 1788183060.", ms(60_000)),
        ("Retry-After: 12", ms(12_000)),
        ("retry your request after 20 seconds", ms(20_000)),
        ("wait 20-30 seconds and repeat", ms(30_000)),
        ("Try again in a minute.", ms(60_000)),
        ("Please wait one hour.", ms(3_600_000)),
        ("limit resets in 4h59m", ms(17_940_000)),
        ("retry after 2020-01-01T00:00:00Z", None),
        ("Please retry in -5 seconds", None),
        ("retry 3 times", None),
        ("try again in 50% of the cases", None),
        ("Please try again later.", None),
        ("You can retry your request", None),
        (
            "wait a few minutes for the action to propagate and retry.",
            None,
        ),
    ] {
        assert_eq!(in_text(text, at(1_788_183_000)), want, "{text}");
    }
    let text = "You will regain access on 2026-09-01 at 00:00 UTC.";
    assert_eq!(
        date_in_text(text, at(1_788_183_000)),
        Some(at(1_788_220_800))
    );
    assert_eq!(
        date_in_text("until 2026-09-01T06:30:00Z", at(0)),
        Some(at(1_788_220_800 + 6 * 3600 + 1800))
    );
    assert_eq!(
        date_in_text("gpt-4o-2024-08-06 is back on 2026-09-01", at(1_788_183_000)),
        Some(at(1_788_220_800))
    );
    assert_eq!(date_in_text("claude-3-opus-20240229", at(0)), None);
}

#[test]
fn counts_skip_commas_and_signs() {
    assert_eq!(count("30,000"), Some(30_000));
    assert_eq!(count("1,000,000"), Some(1_000_000));
    assert_eq!(count("-1"), None);
    assert_eq!(count("150000.000000"), Some(150_000));
}

proptest! {
    #[test]
    fn nothing_makes_the_parsers_panic_or_exceed_the_bound(text in "\\PC{0,60}") {
        for wait in [duration(&text), header(&text, at(1_788_183_000)), in_text(&text, at(1_788_183_000)), milliseconds(&text)] {
            prop_assert!(wait.is_none_or(|wait| wait <= LONGEST));
        }
        let _ = date_in_text(&text, at(0));
        let _ = count(&text);
    }

    #[test]
    fn what_is_written_is_read_back(h in 0_u64..24, m in 0_u64..60, s in 0_u64..60, milli in 0_u64..1000, blank in any::<bool>()) {
        let gap = if blank { " " } else { "" };
        let want = Duration::from_millis(((h * 60 + m) * 60 + s) * 1000 + milli);
        let text = format!("{h}h{gap}{m}m{gap}{s}.{milli:03}s");
        let read = duration(&text).expect("a duration");
        prop_assert!(read.abs_diff(want) < Duration::from_micros(1), "{} {:?}", text, read);
        let read = in_text(&format!("Please try again in {text}. Visit https://example.com/2026"), at(0)).expect("a wait");
        prop_assert!(read.abs_diff(want) < Duration::from_micros(1));
    }
}
