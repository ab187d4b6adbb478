//! Numbers and times as people read them.

/// `12,000,000`
pub(super) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `9,999`, `30k`, `1.25M`, `12M`: three digits that are true, never rounded up to more than there is.
pub(super) fn short(number: u64) -> String {
    let (unit, sign) = match number {
        0..10_000 => return whole(number),
        10_000..1_000_000 => (1_000, 'k'),
        1_000_000..1_000_000_000 => (1_000_000, 'M'),
        _ => (1_000_000_000, 'G'),
    };
    let (front, hundredths) = (number / unit, number % unit * 100 / unit);
    match (front, hundredths) {
        (_, 0) | (100.., _) => format!("{}{sign}", whole(front)),
        (10.., _) if hundredths < 10 => format!("{front}{sign}"),
        (10.., _) => format!("{front}.{}{sign}", hundredths / 10),
        (_, _) if hundredths.is_multiple_of(10) => format!("{front}.{}{sign}", hundredths / 10),
        _ => format!("{front}.{hundredths:02}{sign}"),
    }
}

/// `0.4s`, `42s`, `2m 5s`, `3h 10m`, `2d 4h`; two units say enough.
pub(super) fn time(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    let seconds = seconds.max(0.0);
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    let two = |front, unit, rest, small| match rest {
        0 => format!("{front}{unit}"),
        rest => format!("{front}{unit} {rest}{small}"),
    };
    match whole {
        0..60 => format!("{whole}s"),
        60..3_600 => two(whole / 60, 'm', whole % 60, 's'),
        3_600..86_400 => two(whole / 3_600, 'h', whole % 3_600 / 60, 'm'),
        _ => two(whole / 86_400, 'd', whole % 86_400 / 3_600, 'h'),
    }
}

/// `12 %`, `< 1 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.995 {
        "< 1 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

/// A bar of this width: what is left. Anything left shows, and full is only what is full.
pub(super) fn bar(left: u64, of: u64, width: usize) -> String {
    let share = left.min(of) as f64 / of.max(1) as f64;
    let eighths = (share * width as f64 * 8.0).floor() as usize;
    let eighths = eighths.max(usize::from(left > 0));
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    let drawn = eighths.div_ceil(8);
    format!(
        "{}{part}{}",
        "█".repeat(eighths / 8),
        "·".repeat(width.saturating_sub(drawn))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_short_ones_promise_no_more_than_there_is() {
        let wholes = [0, 7, 999, 1_000, 12_000_000, u64::MAX].map(whole);
        assert_eq!(
            wholes,
            [
                "0",
                "7",
                "999",
                "1,000",
                "12,000,000",
                "18,446,744,073,709,551,615"
            ]
        );
        let shorts = [
            9_999,
            10_000,
            30_000,
            12_345,
            99_999,
            150_999,
            999_999,
            1_000_000,
            1_250_000,
            1_999_999,
            2_000_000_000,
        ];
        assert_eq!(
            shorts.map(short),
            [
                "9,999", "10k", "30k", "12.3k", "99.9k", "150k", "999k", "1M", "1.25M", "1.99M",
                "2G"
            ]
        );
    }

    #[test]
    fn times_have_two_units_at_most() {
        let times = [
            0.0,
            0.44,
            9.94,
            9.96,
            59.6,
            65.0,
            120.0,
            11_400.0,
            187_200.0,
            f64::INFINITY,
        ];
        assert_eq!(
            times.map(time),
            [
                "0.0s", "0.4s", "9.9s", "10s", "1m", "1m 5s", "2m", "3h 10m", "2d 4h", "–"
            ]
        );
    }

    #[test]
    fn a_bar_shows_the_last_drop_and_is_full_only_when_it_is() {
        let bars = [
            (0, 10),
            (1, 1_000_000),
            (5, 10),
            (999, 1_000),
            (10, 10),
            (20, 10),
            (0, 0),
        ];
        assert_eq!(
            bars.map(|(left, of)| bar(left, of, 4)),
            ["····", "▏···", "██··", "███▉", "████", "████", "····"]
        );
    }

    #[test]
    fn little_is_not_nothing() {
        assert_eq!(
            [0.0, 0.004, 0.2449, 1.0].map(percent),
            ["0 %", "< 1 %", "24 %", "100 %"]
        );
    }
}
