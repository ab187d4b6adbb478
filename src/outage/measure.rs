//! How often an alarm is false, and how late a true one comes: measured on simulated traffic, seeded.
//!
//! Prints the tables of `docs/outages.md`:
//! `WEIR_MEASURE_TIMES=10 cargo test --lib outage::measure -- --nocapture --test-threads 1`

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{cause::Cause, target::Health};
use crate::triage::Class;

/// What a day is like.
#[derive(Clone, Copy, Debug)]
struct Day {
    /// Attempts per second at noon; a fifth of it at night when `diurnal`.
    rate: f64,
    /// Share of failures.
    base: f64,
    shape: Shape,
    /// Spread of first tokens: the logarithm's standard deviation.
    sigma: f64,
    diurnal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// Each failure by itself.
    Independent,
    /// Hiccups of 0.1 to 1.5 s in which everything fails.
    Hiccups,
    /// Calls that fail and are repeated, five attempts within half a minute.
    Repeated,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    name: &'static str,
    failing: f64,
    slower: f64,
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Traffic to one target, and what the tests make of it.
struct Traffic {
    day: Day,
    dice: Dice,
    began: Instant,
    /// Seconds since then.
    time: f64,
    /// When the next call comes.
    next: f64,
    hiccup: (f64, f64),
    repeats: VecDeque<f64>,
    health: Health,
    alarms: Alarms,
}

/// What one attempt has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Alarms {
    failing: bool,
    late: bool,
}

impl Traffic {
    fn new(day: Day, seed: u64) -> Self {
        let began = Instant::now();
        Self {
            day,
            dice: Dice(seed),
            began,
            time: 0.0,
            next: 0.0,
            hiccup: (-1.0, -1.0),
            repeats: VecDeque::new(),
            health: Health::new(began),
            alarms: Alarms::default(),
        }
    }

    fn attempt(&mut self, trouble: Option<Trouble>) -> Alarms {
        let noon = match self.day.diurnal {
            true => 0.6 + 0.4 * (std::f64::consts::TAU * self.time / 86_400.0).sin(),
            false => 1.0,
        };
        let repeat = self.repeats.front().is_some_and(|at| *at <= self.next);
        self.time = match repeat {
            true => self.repeats.pop_front().unwrap(),
            false => self.next,
        };
        if !repeat {
            self.next += self.dice.exponential() / (self.day.rate * noon);
        }
        let now = self.began + Duration::from_secs_f64(self.time);
        let bad = repeat || self.fails() || trouble.is_some_and(|t| self.dice.unit() < t.failing);
        let turned = if bad {
            self.health
                .failed(Cause::Server, Class::ServerError, repeat, now)
        } else {
            // Twice as slow at noon as at night, and never the same for long.
            let median = 0.4 * (1.0 + noon);
            let slower = trouble.map_or(1.0, |t| t.slower);
            let seconds = slower * median * (self.day.sigma * self.dice.normal()).exp();
            let first = Duration::from_secs_f64(seconds.min(600.0));
            self.health.answered(Some(first), now)
        };
        if turned {
            let view = self.health.view(now);
            self.alarms = Alarms {
                failing: view.failing.is_some(),
                late: view.late.is_some(),
            };
        }
        self.alarms
    }

    /// Whether this attempt fails on a usual day.
    fn fails(&mut self) -> bool {
        match self.day.shape {
            Shape::Independent => self.dice.unit() < self.day.base,
            Shape::Hiccups => {
                if self.time > self.hiccup.1 {
                    // 0.8 s on average, so often that the share comes out.
                    let pause = 0.8 / self.day.base * self.dice.exponential();
                    let from = self.time + pause;
                    self.hiccup = (from, from + 0.1 + 1.4 * self.dice.unit());
                }
                self.hiccup.0 <= self.time && self.time <= self.hiccup.1
            }
            Shape::Repeated => {
                let begins = self.dice.unit() < self.day.base / 5.0;
                if begins && self.repeats.is_empty() {
                    // The backoff's times.
                    self.repeats = [1.2, 3.5, 7.7, 16.0].map(|s| self.time + s).into();
                }
                begins
            }
        }
    }
}

/// Attempts on each kind of day.
const ATTEMPTS: u32 = 200_000;
/// The environment variable with how many times as many: ten of them take minutes.
const TIMES: &str = "WEIR_MEASURE_TIMES";

#[test]
fn healthy_traffic_raises_hardly_any_alarm() {
    let times = std::env::var(TIMES).map_or(1, |times| times.parse().expect("a whole number"));
    let attempts = ATTEMPTS * times;
    println!(
        "| calls | usual failures | | spread | attempts | simulated | alarms: failures | first token |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let (mut usual, mut usual_alarms) = (0_u32, 0_u32);
    for (index, day) in days().into_iter().enumerate() {
        let mut traffic = Traffic::new(day, 7 + index as u64);
        let mut alarms = [0_u32; 2];
        let mut before = Alarms::default();
        for _ in 0..attempts {
            let now = traffic.attempt(None);
            alarms[0] += u32::from(now.failing && !before.failing);
            alarms[1] += u32::from(now.late && !before.late);
            before = now;
        }
        let hours = traffic.time / 3_600.0;
        println!(
            "| {} | {:.1} % | {} | {} | {attempts} | {} | {} | {} |",
            rate(day.rate),
            day.base * 100.0,
            match day.shape {
                Shape::Independent => "single",
                Shape::Hiccups => "hiccups",
                Shape::Repeated => "repeated",
            },
            day.sigma,
            match hours {
                ..48.0 => format!("{hours:.1} h"),
                _ => format!("{:.0} days", hours / 24.0),
            },
            alarms[0],
            alarms[1]
        );
        if day.base <= 0.01 {
            usual += attempts;
            usual_alarms += alarms[0] + alarms[1];
        }
        // One in twenty thousand attempts, even where everything is against it.
        assert!(alarms[0] <= attempts / 20_000, "{day:?}: {alarms:?}");
        assert!(alarms[1] <= attempts / 50_000, "{day:?}: {alarms:?}");
    }
    println!("\n{usual_alarms} in {usual} attempts with up to 1 % usual failures");
    // Somebody with ten thousand calls a day is told something false less than once in ten days.
    assert!(
        usual_alarms <= usual / 100_000,
        "{usual_alarms} false alarms in {usual} attempts"
    );
}

fn days() -> Vec<Day> {
    let mut days = Vec::new();
    for rate in [0.05, 1.0, 50.0, 1_000.0] {
        for (base, shape, sigma) in [
            (0.0, Shape::Independent, 0.3),
            (0.005, Shape::Independent, 0.5),
            (0.005, Shape::Hiccups, 1.0),
            (0.01, Shape::Independent, 0.8),
            (0.01, Shape::Repeated, 0.8),
            (0.02, Shape::Independent, 1.0),
            (0.02, Shape::Hiccups, 0.5),
        ] {
            days.push(Day {
                rate,
                base,
                shape,
                sigma,
                diurnal: rate < 10.0,
            });
        }
    }
    days
}

const TRIALS: u64 = 60;
const TROUBLES: [(&str, f64, f64); 4] = [
    ("all fail", 1.0, 1.0),
    ("50 % fail", 0.5, 1.0),
    ("30 % fail", 0.3, 1.0),
    ("first token × 5", 0.0, 5.0),
];
const RATES: [f64; 4] = [0.05, 1.0, 50.0, 1_000.0];

#[test]
fn an_outage_is_seen_in_seconds_when_calls_are_many_and_in_few_calls_when_not() {
    println!("| outage | calls | seen | attempts: median | 95 % | seconds: median | 95 % |");
    println!("|---|---|---|---|---|---|---|");
    for (name, failing, slower) in TROUBLES {
        for rate in RATES {
            let trouble = Trouble {
                name,
                failing,
                slower,
            };
            delays(trouble, rate);
        }
    }
}

#[test]
fn an_alarm_lasts_as_long_as_the_outage_and_ends_soon_after() {
    println!("| outage | calls | cleared while it lasted | cleared after it: attempts | seconds |");
    println!("|---|---|---|---|---|");
    for (name, failing, slower) in TROUBLES {
        for rate in RATES {
            let trouble = Trouble {
                name,
                failing,
                slower,
            };
            stays(trouble, rate);
        }
    }
}

/// Outages of five minutes (or two hundred attempts, if that is longer).
fn stays(trouble: Trouble, per_second: f64) {
    let trials = 20;
    let lasting = (200.0_f64).max(300.0 * per_second).min(20_000.0) as u32;
    let (mut early, mut attempts, mut seconds) = (0, Vec::new(), Vec::new());
    for trial in 0..trials {
        let mut traffic = Traffic::new(plain(per_second), 5_000 + trial);
        let mut on = false;
        for _ in 0..800 {
            traffic.attempt(None);
        }
        let mut is_on = |traffic: &mut Traffic, trouble: Option<Trouble>| {
            let alarms = traffic.attempt(trouble);
            let now = alarms.failing || (alarms.late && slower(trouble));
            early += u32::from(on && !now && trouble.is_some());
            on = now;
            alarms.failing || alarms.late
        };
        for _ in 0..lasting {
            is_on(&mut traffic, Some(trouble));
        }
        let (ended, mut n) = (traffic.time, 1);
        while is_on(&mut traffic, None) {
            n += 1;
            assert!(n < 100_000, "{trouble:?} at {per_second}/s never clears");
        }
        attempts.push(f64::from(n));
        seconds.push(traffic.time - ended);
    }
    println!(
        "| {} | {} | {early} of {trials} | {} | {:.1} |",
        trouble.name,
        rate(per_second),
        quantile(&mut attempts, 0.5),
        quantile(&mut seconds, 0.5)
    );
    // A third of calls that fail may look well for a while; more may not.
    let most = if trouble.failing == 0.3 {
        trials / 2
    } else {
        1
    };
    assert!(u64::from(early) <= most, "{trouble:?} at {per_second}/s");
}

fn slower(trouble: Option<Trouble>) -> bool {
    trouble.is_some_and(|t| t.slower > 1.0)
}

fn plain(rate: f64) -> Day {
    Day {
        rate,
        base: 0.005,
        shape: Shape::Independent,
        sigma: 0.5,
        diurnal: false,
    }
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}

fn delays(trouble: Trouble, per_second: f64) {
    let day = plain(per_second);
    let mut delays: Vec<(u32, f64)> = Vec::new();
    for trial in 0..TRIALS {
        let mut traffic = Traffic::new(day, 1_000 + trial);
        for _ in 0..800 {
            traffic.attempt(None);
        }
        let (from, most) = (traffic.time, (200.0 * per_second).max(300.0) as u32);
        for n in 1..=most {
            let alarms = traffic.attempt(Some(trouble));
            if alarms.failing || (alarms.late && slower(Some(trouble))) {
                delays.push((n, traffic.time - from));
                break;
            }
        }
    }
    let mut attempts: Vec<f64> = delays.iter().map(|d| f64::from(d.0)).collect();
    let mut seconds: Vec<f64> = delays.iter().map(|d| d.1).collect();
    assert_eq!(delays.len() as u64, TRIALS, "{trouble:?} at {per_second}/s");
    println!(
        "| {} | {} | {} of {TRIALS} | {} | {} | {:.1} | {:.1} |",
        trouble.name,
        rate(per_second),
        delays.len(),
        quantile(&mut attempts, 0.5),
        quantile(&mut attempts, 0.95),
        quantile(&mut seconds, 0.5),
        quantile(&mut seconds, 0.95)
    );
    // Half a minute when there is traffic; two dozen calls, or three, when there is hardly any.
    let few = if trouble.failing >= 0.5 { 30.0 } else { 80.0 };
    let long = (few / per_second).max(30.0);
    assert!(
        quantile(&mut seconds, 0.95) <= long,
        "{trouble:?} at {per_second}/s"
    );
}

fn rate(per_second: f64) -> String {
    match per_second {
        ..1.0 => format!("{:.0}/min", per_second * 60.0),
        _ => format!("{per_second:.0}/s"),
    }
}

/// Not a benchmark, but enough to see a lock that is held for long: every worker's calls go through here.
#[test]
fn two_threads_on_one_target_do_not_stand_in_line() {
    use super::{Outages, tests::target};
    let outages = Outages::default();
    let target = target(0, "one", "gpt-4o", "https://api.openai.com/v1");
    let each = 100_000_u32;
    let run = |threads: u32| {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..each {
                        outages.answered(&target, Some(Duration::from_millis(400)));
                    }
                });
            }
        });
        began.elapsed()
    };
    let (one, two) = (run(1), run(2));
    println!(
        "per answer: {:?} on one thread, {:?} on two",
        one / each,
        two / each
    );
    let counts = outages.health();
    assert_eq!(counts[0].attempts, u64::from(3 * each));
}
