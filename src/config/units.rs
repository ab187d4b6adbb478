//! Durations and sizes as people write them.

use std::time::Duration;

/// Multiples of a millisecond. `d` is 24 hours.
const TIMES: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// `KB` is 1,000, `KiB` is 1,024 bytes.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// `250ms`, `5s`, `1.5m`, `1h30m`; `None` for anything else, a bare number included.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, TIMES, false).map(Duration::from_millis)
}

/// `128MiB`, `64KB`, `512 B`; units in any case. `None` for anything else, a bare number included.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    parse(text, SIZES, true)
}

/// The shortest exact way to write it, in one unit.
pub(crate) fn format_duration(duration: Duration) -> String {
    format_duration_ms(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// As [`format_duration`], from milliseconds.
pub(crate) fn format_duration_ms(ms: u64) -> String {
    if ms == 0 {
        "0s".to_owned()
    } else {
        format(ms, TIMES, &["ms", "s", "m", "h", "d"])
    }
}

/// The shortest exact way to write it, in one unit.
pub(crate) fn format_size(bytes: u64) -> String {
    format(bytes, SIZES, &["B", "KiB", "MiB", "GiB"])
}

/// A sum of `number unit` pairs; a number may have a fraction, the sum is rounded down.
fn parse(text: &str, units: &[(&str, u64)], any_case: bool) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, factor) = units
            .iter()
            .find(|(name, _)| *name == unit || (any_case && name.eq_ignore_ascii_case(unit)))?;
        sum = sum.checked_add(scaled(number, *factor)?)?;
        rest = after.trim_start();
    }
    Some(sum)
}

/// `number × factor` without the errors of floating point.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let parts = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor);
    let part = parts / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_add(u64::try_from(part).ok()?)
}

fn format(value: u64, units: &[(&str, u64)], preferred: &[&str]) -> String {
    let best = units
        .iter()
        .rfind(|(name, factor)| preferred.contains(name) && value.is_multiple_of(*factor));
    match best {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_take_units_fractions_and_sums() {
        for (text, ms) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1.5s", 1_500),
            ("1h30m", 5_400_000),
            ("1 d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(ms)),
                "{text}"
            );
        }
    }

    #[test]
    fn durations_without_a_unit_or_with_a_wrong_one_are_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 parsecs",
            "-1s",
            "1e3s",
            "5.s",
            ".5s",
            "1s2",
            "99999999999999999999s",
            "٣s",
            "5S",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_tell_decimal_from_binary_units() {
        assert_eq!(parse_size("64KB"), Some(64_000));
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("1.5 MiB"), Some(1_572_864));
        assert_eq!(parse_size("8mib"), Some(8 << 20));
        assert_eq!(parse_size("12"), None);
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_to_the_same(ms in 0..=u64::MAX / 2, bytes in 0..=u64::MAX / 2) {
            prop_assert_eq!(parse_duration(&format_duration_ms(ms)), Some(Duration::from_millis(ms)));
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
