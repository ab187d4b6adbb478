//! Providers that tell nothing of their limits but by refusing: no headers or nonsense in them, no numbers in the texts.

use weir::sim::{Algorithm, HeaderStyle, Limits, Words};

use crate::{
    demand::Swing,
    scenario::{Goal, Scenario, both, requests, tokens},
};

/// Callers of twenty seconds, who want three times the limit, then none for forty: as nobody waits longer than half a minute, five
/// sixths can be used.
const BURSTS: Swing = Swing {
    on: 20.0,
    off: 40.0,
};

/// All of them, in the order of the report.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = windows();
    all.extend(others());
    all.extend(swings());
    all.extend(places());
    all.extend(changes());
    all
}

fn silent(limits: Limits) -> Limits {
    Limits {
        headers: Some(HeaderStyle::None),
        words: Some(Words::Plain),
        retry_after: Some(false),
        ..limits
    }
}

fn fixed(limits: Limits) -> Limits {
    Limits {
        algorithm: Some(Algorithm::Fixed),
        ..limits
    }
}

fn in_any(window_ms: u64, limits: Limits) -> Limits {
    Limits {
        window_ms: Some(window_ms),
        ..limits
    }
}

fn at(load: f64, name: &'static str, about: &'static str, limits: Limits) -> Scenario {
    Scenario::new(name, about, limits).demand(|demand| demand.load = load)
}

fn windows() -> Vec<Scenario> {
    vec![
        at(
            1.5,
            "silent-refill",
            "600 requests a minute that refill",
            silent(requests(600)),
        ),
        at(
            1.5,
            "silent-minute",
            "600 requests in each minute of the clock",
            silent(fixed(requests(600))),
        ),
        at(
            2.0,
            "silent-second",
            "10 requests in any second",
            silent(in_any(1_000, requests(600))),
        ),
        at(
            2.0,
            "silent-ten",
            "100 requests in any ten seconds",
            silent(in_any(10_000, requests(600))),
        ),
        at(
            2.0,
            "silent-log",
            "600 requests in any minute",
            silent(Limits {
                algorithm: Some(Algorithm::Sliding),
                ..requests(600)
            }),
        ),
        at(
            1.5,
            "silent-tokens",
            "300,000 tokens a minute that refill",
            silent(tokens(300_000)),
        ),
    ]
}

fn others() -> Vec<Scenario> {
    let waits = |limits| Limits {
        retry_after: Some(true),
        ..silent(limits)
    };
    vec![
        at(
            2.0,
            "silent-wait",
            "600 requests in each minute of the clock; refusals tell the wait",
            waits(fixed(requests(600))),
        ),
        at(
            3.0,
            "silent-wait-ten",
            "100 requests in any ten seconds; refusals tell the wait",
            waits(in_any(10_000, requests(600))),
        ),
        at(
            2.0,
            "silent-beside",
            "headers tell requests of the day and tokens of the minute; what binds is 300 requests a minute",
            Limits {
                headers: Some(HeaderStyle::Groq),
                requests_per_day: Some(14_400),
                ..silent(both(300, 400_000))
            },
        )
        .provider("groq"),
    ]
}

fn swings() -> Vec<Scenario> {
    let goal = Some(Goal {
        used: 0.75,
        met: 0.005,
    });
    let bursts = |name, about, limits| {
        let scenario = at(3.0, name, about, limits).demand(|demand| demand.swing = Some(BURSTS));
        Scenario { goal, ..scenario }
    };
    let light = |name, about, limits| Scenario {
        goal: Some(Goal {
            used: 0.82,
            met: 0.005,
        }),
        ..at(0.85, name, about, limits)
    };
    let garbage = |headers, limits| Limits {
        headers: Some(headers),
        ..silent(limits)
    };
    vec![
        bursts(
            "silent-bursts",
            "-1 in all headers, 100 requests in any ten seconds; callers come and go",
            garbage(HeaderStyle::MinusOne, in_any(10_000, requests(600))),
        ),
        bursts(
            "silent-bursts-second",
            "0 in all headers, 10 requests in any second; callers come and go",
            garbage(HeaderStyle::Zero, in_any(1_000, requests(600))),
        ),
        light(
            "silent-light",
            "600 requests in each minute of the clock, and callers who want less",
            silent(fixed(requests(600))),
        ),
        light(
            "silent-light-second",
            "10 requests in any second, and callers who want less",
            silent(in_any(1_000, requests(600))),
        ),
    ]
}

fn places() -> Vec<Scenario> {
    let twenty = |limits| Limits {
        concurrency: Some(20),
        ..silent(limits)
    };
    vec![
        at(
            2.0,
            "silent-places",
            "20 calls under way at once",
            twenty(Limits::default()),
        ),
        at(
            2.0,
            "silent-places-rate",
            "20 calls under way at once, and 600 a minute that refill",
            twenty(requests(600)),
        ),
    ]
}

fn changes() -> Vec<Scenario> {
    vec![
        at(
            1.5,
            "silent-x2",
            "600 requests a minute that refill; 1,200 from 4:00 on",
            silent(requests(600)),
        )
        .tier(2.0),
        at(
            1.5,
            "silent-second-x2",
            "10 requests in any second; 20 from 4:00 on",
            silent(in_any(1_000, requests(600))),
        )
        .tier(2.0),
        at(
            1.5,
            "silent-half",
            "600 requests a minute that refill; 300 from 4:00 on",
            silent(requests(600)),
        )
        .tier(0.5),
    ]
}
