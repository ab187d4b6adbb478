use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

const NO_JITTER: f64 = 0.0;

fn rules() -> config::Breaker {
    config::Breaker {
        window: Duration::from_secs(30),
        failure_ratio: 0.5,
        min_calls: NonZeroU32::new(20).unwrap(),
        consecutive: NonZeroU32::new(5).unwrap(),
        open_for: Duration::from_secs(5),
        open_for_max: Duration::from_secs(60),
        billing_probe: Duration::from_secs(30),
        billing_probe_max: Duration::from_secs(300),
    }
}

/// A circuit and its clock.
struct Bench {
    circuit: Circuit,
    rules: config::Breaker,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let (rules, now) = (rules(), Instant::now());
        Self {
            circuit: Circuit::new(now, &rules),
            rules,
            now,
        }
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn admit(&mut self) -> Result<Ticket, Duration> {
        self.circuit.admit(self.now)
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        self.circuit
            .settle(self.now, ticket, outcome, &self.rules, NO_JITTER);
    }

    fn one(&mut self, outcome: Outcome) {
        let ticket = self.admit().expect("the circuit lets it through");
        self.settle(ticket, outcome);
    }

    fn open(&mut self) {
        for _ in 0..5 {
            self.one(Outcome::Failure);
        }
        assert_eq!(self.circuit.state(), State::Open);
    }

    fn billing(&self) -> Outcome {
        Outcome::Fatal {
            pace: Pace::human(&self.rules),
            told: None,
        }
    }
}

#[test]
fn failures_in_a_row_open_it_at_the_set_number_and_not_before() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.one(Outcome::Failure);
    }
    bench.one(Outcome::Success);
    for _ in 0..4 {
        bench.one(Outcome::Failure);
    }
    assert_eq!(bench.circuit.state(), State::Closed);
    bench.one(Outcome::Failure);
    assert_eq!(bench.circuit.state(), State::Open);
    assert_eq!(bench.admit(), Err(Duration::from_secs(5)));
}

#[test]
fn neutral_outcomes_do_not_end_a_row_of_failures() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.one(Outcome::Neutral);
        bench.one(Outcome::Failure);
    }
    assert_eq!(bench.circuit.state(), State::Open);
}

#[test]
fn the_ratio_opens_it_above_the_minimum_of_calls() {
    let mut bench = Bench::new();
    for _ in 0..9 {
        bench.one(Outcome::Success);
        bench.one(Outcome::Failure);
    }
    assert_eq!(
        bench.circuit.state(),
        State::Closed,
        "18 calls are below the minimum"
    );
    bench.one(Outcome::Success);
    bench.one(Outcome::Failure);
    assert_eq!(bench.circuit.state(), State::Open);
}

#[test]
fn failures_that_have_left_the_window_are_forgotten() {
    let mut bench = Bench::new();
    for _ in 0..9 {
        bench.one(Outcome::Failure);
        bench.one(Outcome::Success);
    }
    bench.wait(31.0);
    bench.one(Outcome::Failure);
    bench.one(Outcome::Failure);
    assert_eq!(bench.circuit.state(), State::Closed);
}

#[test]
fn half_open_admits_one_probe() {
    let mut bench = Bench::new();
    bench.open();
    bench.wait(5.0);
    let probe = bench.admit().unwrap();
    assert!(probe.is_probe());
    assert_eq!(bench.circuit.state(), State::HalfOpen);
    for _ in 0..10 {
        assert!(bench.admit().is_err());
    }
}

#[test]
fn a_neutral_probe_gives_its_place_back_but_not_the_interval() {
    let mut bench = Bench::new();
    bench.open();
    bench.wait(5.0);
    let probe = bench.admit().unwrap();
    bench.wait(2.0);
    bench.settle(probe, Outcome::Neutral);
    assert_eq!(bench.admit(), Err(Duration::from_secs(3)));
    bench.wait(3.0);
    assert!(bench.admit().unwrap().is_probe());
}

#[test]
fn a_probe_that_reached_nobody_is_replaced_at_once() {
    let mut bench = Bench::new();
    bench.open();
    bench.wait(5.0);
    bench.one(Outcome::Untouched);
    assert!(bench.admit().unwrap().is_probe());
}

#[test]
fn a_probe_that_hangs_is_replaced_after_the_longest_interval() {
    let mut bench = Bench::new();
    bench.open();
    bench.wait(5.0);
    let hanging = bench.admit().unwrap();
    bench.wait(59.0);
    assert!(bench.admit().is_err());
    bench.wait(1.0);
    let second = bench.admit().unwrap();
    bench.settle(hanging, Outcome::Neutral);
    assert_eq!(
        bench.circuit.state(),
        State::HalfOpen,
        "the replaced probe does not release the new one's place"
    );
    bench.settle(second, Outcome::Success);
    assert_eq!(bench.circuit.state(), State::Recovering);
}

#[test]
fn the_interval_grows_with_failed_probes_to_its_maximum() {
    let mut bench = Bench::new();
    bench.open();
    let mut waits = Vec::new();
    for _ in 0..15 {
        let wait = bench.admit().unwrap_err();
        waits.push(wait.as_millis());
        bench.now += wait;
        bench.one(Outcome::Failure);
    }
    // Steady at first: an outage of half a minute is over within one interval.
    assert_eq!(waits[..7], [5_000; 7]);
    assert_eq!(
        waits[7..],
        [
            7_500, 11_250, 16_875, 25_312, 37_968, 56_953, 60_000, 60_000
        ]
    );
}

#[test]
fn billing_opens_at_the_first_one_and_is_probed_at_its_own_pace() {
    let mut bench = Bench::new();
    let billing = bench.billing();
    bench.one(billing);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let wait = bench.admit().unwrap_err();
        waits.push(wait.as_secs());
        bench.now += wait;
        bench.one(billing);
    }
    assert_eq!(waits, [30, 60, 120, 240, 300]);
}

#[test]
fn a_told_reset_is_obeyed_to_the_millisecond() {
    let mut bench = Bench::new();
    let told = Duration::from_secs(3 * 3600);
    bench.one(Outcome::Fatal {
        pace: Pace::trouble(&bench.rules),
        told: Some(told),
    });
    assert_eq!(bench.admit(), Err(told));
    bench.now += told;
    assert!(bench.admit().unwrap().is_probe());
}

#[test]
fn recovery_ramps_up_and_ends_in_closed() {
    let mut bench = Bench::new();
    bench.open();
    bench.wait(5.0);
    bench.one(Outcome::Success);
    let mut passed = Vec::new();
    for _ in 0..4 {
        let let_through = (0..100).filter(|_| bench.admit().is_ok()).count();
        passed.push(let_through);
        bench.wait(1.0);
    }
    // Three in any case, and then the share.
    assert!(passed[0] <= 13 && passed[0] >= 11, "{passed:?}");
    assert!(
        passed.windows(2).all(|pair| pair[0] < pair[1]),
        "{passed:?}"
    );
    assert!(passed[3] < 80, "{passed:?}");
    assert_eq!((0..100).filter(|_| bench.admit().is_ok()).count(), 100);
    assert_eq!(bench.circuit.state(), State::Closed);
}

#[test]
fn a_failure_at_the_start_of_a_recovery_reopens_and_one_among_many_does_not() {
    let mut bench = Bench::new();
    bench.open();
    bench.wait(5.0);
    bench.one(Outcome::Success);
    bench.one(Outcome::Failure);
    assert_eq!(bench.circuit.state(), State::Open);
    assert_eq!(
        bench.admit(),
        Err(Duration::from_secs(5)),
        "by the same interval at first"
    );

    bench.wait(7.5);
    bench.one(Outcome::Success);
    for _ in 0..2 {
        bench.one(Outcome::Success);
    }
    bench.one(Outcome::Failure);
    assert_eq!(bench.circuit.state(), State::Recovering);
}

#[test]
fn a_streams_good_head_begins_the_recovery_and_its_broken_end_undoes_it() {
    let mut bench = Bench::new();
    bench.open();
    bench.wait(5.0);
    let probe = bench.admit().unwrap();
    bench.settle(probe, Outcome::Begun);
    assert_eq!(bench.circuit.state(), State::Recovering);
    bench.settle(probe, Outcome::Failure);
    assert_eq!(bench.circuit.state(), State::Open);
}

#[test]
fn what_began_before_the_opening_has_no_say_after_it() {
    let mut bench = Bench::new();
    let early: Vec<_> = (0..8).map(|_| bench.admit().unwrap()).collect();
    bench.open();
    bench.settle(early[0], Outcome::Success);
    assert_eq!(
        bench.circuit.state(),
        State::Open,
        "a late success does not reset it"
    );
    bench.wait(5.0);
    bench.one(Outcome::Success);
    for ticket in &early[1..] {
        bench.settle(*ticket, Outcome::Failure);
    }
    assert_eq!(
        bench.circuit.state(),
        State::Recovering,
        "late time-outs do not undo a recovery"
    );
}

#[test]
fn topping_up_lets_the_next_call_probe() {
    let mut bench = Bench::new();
    let billing = bench.billing();
    bench.one(billing);
    assert!(bench.circuit.probe_now(bench.now));
    assert!(bench.admit().unwrap().is_probe());
    assert!(bench.admit().is_err());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Admit,
    /// The nth attempt under way ends so.
    End(usize, Outcome),
}

fn steps(outcomes: &'static [Outcome]) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u64..8_000).prop_map(Step::Wait),
        5 => Just(Step::Admit),
        5 => (any::<usize>(), prop::sample::select(outcomes)).prop_map(|(n, outcome)| Step::End(n, outcome)),
    ];
    prop::collection::vec(step, 1..300)
}

const TROUBLE: Pace = Pace {
    first: Duration::from_secs(5),
    max: Duration::from_secs(60),
    growth: 1.5,
    steady: 6,
    human: false,
};

const EVERY: &[Outcome] = &[
    Outcome::Begun,
    Outcome::Success,
    Outcome::Failure,
    Outcome::Failure,
    Outcome::Neutral,
    Outcome::Untouched,
    Outcome::Fatal {
        pace: TROUBLE,
        told: None,
    },
    Outcome::Fatal {
        pace: TROUBLE,
        told: Some(Duration::from_secs(20)),
    },
];
const HARMLESS: &[Outcome] = &[
    Outcome::Begun,
    Outcome::Success,
    Outcome::Neutral,
    Outcome::Untouched,
];

proptest! {
    /// Against what must hold of any breaker, whatever happens in whatever order: one probe at a time, none before its
    /// time, none lost, and `peek` tells the truth.
    #[test]
    fn one_probe_at_a_time_and_none_is_lost(steps in steps(EVERY)) {
        let mut bench = Bench::new();
        let mut running: Vec<(Ticket, Instant)> = Vec::new();
        let mut asked_last: Option<Instant> = None;
        for step in steps {
            match step {
                Step::Wait(ms) => bench.now += Duration::from_millis(ms),
                Step::Admit => {
                    let peeked = bench.circuit.peek(bench.now).is_ok();
                    let admitted = bench.admit();
                    prop_assert_eq!(peeked, admitted.is_ok());
                    let Ok(ticket) = admitted else { continue };
                    if ticket.is_probe() {
                        let others = running.iter().filter(|(other, began)| {
                            other.is_probe() && bench.circuit.is_current(*other) && bench.now - *began < TROUBLE.max
                        });
                        prop_assert_eq!(others.count(), 0, "two probes at once");
                        if let Some(last) = asked_last {
                            prop_assert!(bench.now - last >= TROUBLE.first, "two probes in one interval");
                        }
                        asked_last = Some(bench.now);
                    }
                    running.push((ticket, bench.now));
                }
                Step::End(n, outcome) => {
                    if running.is_empty() { continue }
                    let (ticket, _) = running.swap_remove(n % running.len());
                    let from = bench.circuit.state();
                    bench.settle(ticket, outcome);
                    if ticket.is_probe() && outcome == Outcome::Untouched {
                        asked_last = None;
                    }
                    if bench.circuit.state() == State::Open && from != State::Open && outcome != Outcome::Untouched {
                        prop_assert!(bench.admit().is_err() || bench.circuit.state() != State::Open);
                    }
                }
            }
        }
        // Whatever was left behind: after the longest wait a probe goes out, and its success brings all back.
        bench.wait(61.0);
        if matches!(bench.circuit.state(), State::Open | State::HalfOpen) {
            let probe = bench.admit();
            prop_assert!(probe.is_ok(), "the probe is lost");
            bench.settle(probe.unwrap(), Outcome::Success);
        }
        bench.wait(10.0);
        prop_assert!(bench.admit().is_ok());
        prop_assert_eq!(bench.circuit.state(), State::Closed);
    }

    /// Rate limits and bad requests are neutral: no number and order of them opens anything, nor with successes between.
    #[test]
    fn nothing_harmless_opens_it(steps in steps(HARMLESS)) {
        let mut bench = Bench::new();
        let mut running = Vec::new();
        for step in steps {
            match step {
                Step::Wait(ms) => bench.now += Duration::from_millis(ms),
                Step::Admit => running.push(bench.admit().expect("it never opened")),
                Step::End(n, outcome) if !running.is_empty() => {
                    let ticket = running.swap_remove(n % running.len());
                    bench.settle(ticket, outcome);
                }
                Step::End(..) => {}
            }
            prop_assert_eq!(bench.circuit.state(), State::Closed);
        }
    }
}
