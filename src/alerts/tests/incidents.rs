//! Once per change, whatever the circuits do.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use tokio::time::Instant;

use crate::{
    alerts::{
        event::{Event, Kind},
        incidents::{Change, Incidents, Moment},
    },
    triage::{Class, Scope},
};

const HOLD: Duration = Duration::from_secs(10);

pub(super) fn change(opened: bool, scope: Scope, key: &str) -> Change {
    Change {
        refused: 0,
        opened,
        scope,
        key: key.to_owned(),
        upstream: "openai".to_owned(),
        provider: "openai".to_owned(),
        class: Class::QuotaExhausted,
        advice: "Add credit.".to_owned(),
        first: Some("req_1".to_owned()),
        last: Some("req_2".to_owned()),
    }
}

/// A book and a clock.
struct Bench {
    all: Incidents,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        Self {
            all: Incidents::default(),
            start: Instant::now(),
        }
    }

    fn at(&self, seconds: u64) -> Moment {
        let time = Duration::from_secs(seconds);
        Moment {
            at: self.start + time,
            wall: UNIX_EPOCH + time,
        }
    }

    fn open(&mut self, seconds: u64, key: &str) -> Option<Event> {
        let change = change(true, Scope::Organization, key);
        self.all.changed(self.at(seconds), change, true)
    }

    fn close(&mut self, seconds: u64, key: &str) {
        let change = change(false, Scope::Organization, key);
        let told = self.all.changed(self.at(seconds), change, false);
        assert!(told.is_none(), "an end is never told at once: {told:?}");
    }

    fn settle(&mut self, seconds: u64) -> Vec<Event> {
        self.all.settle(self.at(seconds), HOLD)
    }
}

#[test]
fn an_opening_is_told_at_once_and_its_end_after_the_hold() {
    let mut bench = Bench::new();
    let opened = bench.open(0, "org-1").expect("told");
    assert_eq!(opened.kind, Kind::CircuitOpened);
    bench.close(100, "org-1");
    assert_eq!(bench.all.next(HOLD), Some(bench.at(110).at));
    assert!(bench.settle(109).is_empty());
    let ended = bench.settle(110);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].kind, Kind::CircuitClosed);
    assert_eq!(
        (ended[0].duration_seconds, ended[0].flaps),
        (Some(100.0), 0)
    );
    assert_eq!(
        ended[0].time,
        bench.at(100).wall,
        "when it closed, not when it is told"
    );
    assert!(bench.settle(1_000).is_empty(), "once");
}

#[test]
fn flapping_is_counted_and_told_once() {
    let mut bench = Bench::new();
    assert!(bench.open(0, "org-1").is_some());
    for turn in 1..=5 {
        bench.close(turn * 10, "org-1");
        assert!(bench.settle(turn * 10 + 4).is_empty());
        assert!(bench.open(turn * 10 + 5, "org-1").is_none());
    }
    bench.close(100, "org-1");
    let ended = bench.settle(110);
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (ended[0].duration_seconds, ended[0].flaps),
        (Some(100.0), 5)
    );
    assert!(
        ended[0].text.contains("flapped 5 times"),
        "{}",
        ended[0].text
    );
}

#[test]
fn slow_flapping_pages_a_few_times_and_not_all_night() {
    let mut bench = Bench::new();
    let mut told = 0;
    for minute in 0..600 {
        told += bench.settle(minute * 60).len();
        told += usize::from(bench.open(minute * 60, "org-1").is_some());
        told += bench.settle(minute * 60 + 20).len();
        bench.close(minute * 60 + 20, "org-1");
    }
    assert!((2..=12).contains(&told), "{told} messages in ten hours");
    let ended = bench.settle(600 * 60 + 600);
    assert!(ended[0].flaps > 500, "{}", ended[0].flaps);
}

#[test]
fn one_organisation_seen_at_two_addresses_is_one_incident() {
    let mut bench = Bench::new();
    assert!(bench.open(0, "org-1").is_some());
    let mut other = change(true, Scope::Organization, "org-1");
    other.upstream = "openai-eu".to_owned();
    assert!(bench.all.changed(bench.at(1), other, true).is_none());
    bench.close(5, "org-1");
    assert!(bench.settle(100).is_empty(), "it is open at the other");
    bench.close(200, "org-1");
    assert_eq!(bench.settle(210).len(), 1);
}

#[test]
fn the_same_model_at_two_upstreams_is_two() {
    let mut bench = Bench::new();
    for upstream in ["a", "b"] {
        let mut change = change(true, Scope::Model, "gpt-4o");
        change.upstream = upstream.to_owned();
        assert!(bench.all.changed(bench.at(0), change, true).is_some());
    }
}

#[test]
fn whose_beginning_nobody_wanted_to_know_its_end_is_not_told() {
    let mut bench = Bench::new();
    let unwanted = change(true, Scope::Organization, "org-1");
    assert!(bench.all.changed(bench.at(0), unwanted, false).is_none());
    bench.close(5, "org-1");
    assert!(bench.settle(1_000).is_empty());
    assert_eq!(bench.all.len(), 0);
}

#[test]
fn the_end_of_the_process_holds_nothing_back() {
    let mut bench = Bench::new();
    bench.open(0, "org-1");
    bench.open(0, "org-2");
    bench.close(1, "org-1");
    assert_eq!(bench.all.flush().len(), 1);
    assert!(bench.all.flush().is_empty());
    assert!(bench.all.any_open(), "the other is open still");
}

#[test]
fn incidents_are_bounded() {
    let mut bench = Bench::new();
    for n in 0..3_000 {
        assert!(bench.open(n, &format!("org-{n}")).is_some());
    }
    assert_eq!(bench.all.len(), 1_024);
}

#[test]
fn what_is_long_over_is_forgotten() {
    let mut bench = Bench::new();
    bench.open(0, "org-1");
    bench.close(1, "org-1");
    bench.settle(11);
    assert_eq!(bench.all.len(), 1, "it may come back");
    bench.settle(102);
    assert_eq!(bench.all.len(), 0);
    assert_eq!(bench.all.next(HOLD), None);
}

proptest! {
    /// For each name openings and ends take turns, and at last all that was told to be open is told to be closed.
    #[test]
    fn openings_and_ends_take_turns(steps in prop::collection::vec((0_usize..3, any::<bool>(), 0_u64..40), 0..120)) {
        let mut bench = Bench::new();
        let (mut open, mut told, mut time) = ([0_u32; 3], [false; 3], 0);
        let names = ["org-0", "org-1", "org-2"];
        let mut hear = |event: Event| {
            let which = names.iter().position(|name| event.key.as_deref() == Some(*name)).expect("one of them");
            let opens = event.kind == Kind::CircuitOpened;
            let turned = told[which] != opens;
            told[which] = opens;
            turned
        };
        for (which, opens, pause) in steps {
            time += pause;
            for event in bench.settle(time) {
                prop_assert!(hear(event));
            }
            if opens {
                open[which] += 1;
                if let Some(event) = bench.open(time, names[which]) {
                    prop_assert!(hear(event));
                }
            } else if open[which] > 0 {
                open[which] -= 1;
                bench.close(time, names[which]);
            }
        }
        for (which, open) in open.into_iter().enumerate() {
            for _ in 0..open {
                bench.close(time, names[which]);
            }
        }
        for event in bench.settle(time + 3_600) {
            prop_assert!(hear(event));
        }
        prop_assert_eq!(told, [false; 3]);
    }
}
