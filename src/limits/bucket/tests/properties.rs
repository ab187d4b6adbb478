//! What holds whatever comes.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, whatever is given back: a set limit holds in every window of any offset, for what calls really took.
    #[test]
    fn no_window_holds_more_than_a_set_limit(
        limit in 50_u64..5_000,
        steps in prop::collection::vec((0_u64..3_000, 1_u64..700, 0_u64..=100, 0_u64..5_000), 1..300),
    ) {
        let start = Instant::now();
        let (mut now, mut bucket) = (start, set(limit, start));
        let mut open: Vec<(Instant, Mark, u64)> = Vec::new();
        let mut taken: Vec<(Instant, u64)> = Vec::new();
        for (ms, amount, share, lasts) in steps {
            now += Duration::from_millis(ms);
            for (due, mark, actual) in std::mem::take(&mut open) {
                if due <= now {
                    bucket.settle(mark, actual, now);
                } else {
                    open.push((due, mark, actual));
                }
            }
            if amount <= limit && bucket.ask(amount, Standing::First, now) == Room::Now {
                let mark = bucket.take(amount, now);
                let actual = amount * share / 100;
                taken.push((now, actual));
                open.push((now + Duration::from_millis(lasts), mark, actual));
            }
            let within: u64 = taken.iter().filter(|(at, _)| *at + MINUTE > now).map(|(_, n)| n).sum();
            prop_assert!(within <= limit, "{within} > {limit}");
        }
        for (_, mark, actual) in open {
            bucket.settle(mark, actual, now);
        }
        prop_assert_eq!(bucket.reserved(), 0);
    }

    /// A told wait is long enough, and no longer than needed by much.
    #[test]
    fn what_is_waited_for_is_there(
        limit in 10_u64..5_000, takes in prop::collection::vec((0_u64..2_000, 1_u64..500), 1..60), amount in 1_u64..500,
    ) {
        let start = Instant::now();
        let (mut now, mut bucket) = (start, set(limit, start));
        for (ms, amount) in takes {
            now += Duration::from_millis(ms);
            let amount = amount.min(limit);
            if bucket.ask(amount, Standing::First, now) == Room::Now {
                let mark = bucket.take(amount, now);
                bucket.settle(mark, amount, now);
            }
        }
        let amount = amount.min(limit);
        if let Room::In(wait) = bucket.ask(amount, Standing::First, now) {
            prop_assert!(wait <= MINUTE + Duration::from_secs(2), "{wait:?}");
            prop_assert_eq!(bucket.ask(amount, Standing::First, now + wait), Room::Now);
        }
    }

    /// No words of a provider, however absurd, break it.
    #[test]
    fn absurd_words_do_no_harm(
        words in prop::collection::vec((any::<u64>(), any::<u64>(), 0.0..1e7_f64, any::<bool>(), 0_u64..100_000), 1..60),
    ) {
        let start = Instant::now();
        let (mut now, mut bucket) = (start, bucket(Kind::Tokens, start));
        for (limit, remaining, reset, refused, ms) in words {
            now += Duration::from_millis(ms);
            let mark = bucket.take(100, now);
            bucket.heard(mark, &told(Kind::Tokens, limit.max(1), remaining, reset), now);
            if refused {
                let refusal = Refusal { limit: Some(limit), used: Some(remaining), requested: Some(7), wait: Some(Duration::from_secs_f64(reset)) };
                bucket.refused(mark, &refusal, now);
            }
            bucket.settle(mark, remaining, now);
            if let Room::In(wait) = bucket.ask(1, Standing::Common, now) {
                prop_assert!(wait < Duration::from_secs(100_000_001));
            }
            if let Some(view) = bucket.view(now) {
                prop_assert!(view.remaining <= view.capacity && view.full_in_seconds.is_finite());
            }
        }
    }
}
