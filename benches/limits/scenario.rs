//! What is tried: a provider that hides something, callers that want more than it gives.

use weir::sim::{Algorithm, Charge, Foreign, HeaderStyle, Limits, Words};

use crate::{
    demand::{Demand, Size},
    dice::Spread,
    hidden::{Hidden, MINUTE, Tier, seconds},
    rush, silent,
};

/// One row of the report.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// For the report.
    pub(crate) about: &'static str,
    /// A preset of weir's.
    pub(crate) provider: &'static str,
    pub(crate) hidden: Hidden,
    pub(crate) demand: Demand,
    pub(crate) minutes: f64,
    /// Seconds after the start at which another process takes over, with what this one has written down.
    pub(crate) restart: Option<f64>,
    /// Seconds.
    pub(crate) max_wait: f64,
    pub(crate) goal: Option<Goal>,
}

/// What weir is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// Share of the allowed throughput, at least.
    pub(crate) used: f64,
    /// Share of calls that met a refusal, at most.
    pub(crate) met: f64,
}

/// That of the first 20 replies on.
const GOAL: Option<Goal> = Some(Goal {
    used: 0.95,
    met: 0.005,
});

/// A chat of a few hundred tokens.
const SMALL: Size = Size {
    weight: 1.0,
    input: Spread::around(300.0),
    max_output: Some(300),
    output: Spread::around(150.0),
};
/// A document, twenty times as large.
const LARGE: Size = Size {
    weight: 0.1,
    input: Spread::around(8_000.0),
    max_output: Some(2_000),
    output: Spread::around(900.0),
};

// === impl Scenario ===

impl Scenario {
    pub(crate) fn seconds(&self) -> f64 {
        self.minutes * MINUTE
    }

    pub(crate) fn new(name: &'static str, about: &'static str, limits: Limits) -> Self {
        Self {
            name,
            about,
            provider: "openai",
            hidden: Hidden {
                limits,
                tiers: Vec::new(),
            },
            demand: Demand {
                load: 1.3,
                sizes: vec![SMALL],
                apps: 10,
                cold: 0,
                leaving: 0.0,
                swing: None,
                rush: None,
            },
            minutes: 10.0,
            restart: None,
            max_wait: 30.0,
            goal: GOAL,
        }
    }

    pub(crate) fn sizes(mut self, sizes: &[Size]) -> Self {
        self.demand.sizes = sizes.to_vec();
        self
    }

    pub(crate) fn demand(mut self, change: impl FnOnce(&mut Demand)) -> Self {
        change(&mut self.demand);
        self
    }

    pub(crate) fn provider(mut self, preset: &'static str) -> Self {
        self.provider = preset;
        self
    }

    pub(crate) fn tier(mut self, factor: f64) -> Self {
        self.hidden.tiers = vec![Tier { at: 240.0, factor }];
        self
    }

    fn restart(mut self, at: f64) -> Self {
        self.restart = Some(at);
        self
    }

    /// Nothing in the issue says how good is good enough.
    pub(crate) fn without_goal(mut self) -> Self {
        self.goal = None;
        self
    }
}

pub(crate) fn requests(limit: u32) -> Limits {
    Limits {
        requests_per_minute: Some(limit),
        ..Limits::default()
    }
}

pub(crate) fn tokens(limit: u32) -> Limits {
    Limits {
        tokens_per_minute: Some(limit),
        ..Limits::default()
    }
}

pub(crate) fn both(requests: u32, tokens: u32) -> Limits {
    Limits {
        requests_per_minute: Some(requests),
        tokens_per_minute: Some(tokens),
        ..Limits::default()
    }
}

/// All of them, in the order of the report.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = hidden_limits();
    all.extend(other_ways());
    all.extend(other_hands());
    all.extend(poor_words());
    all.extend(estimates());
    all.extend(days());
    all.extend(silent::all());
    all.extend(rush::all());
    all
}

fn hidden_limits() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new("rpm", "600 requests a minute", requests(600)),
        new("rpm-low", "60 requests a minute", requests(60)),
        new(
            "tpm",
            "300,000 tokens a minute, sizes from 100 to 60,000",
            tokens(300_000),
        )
        .sizes(&[SMALL, LARGE]),
        new("both", "requests bind, tokens nearly", both(600, 450_000)),
        new("cold", "200 calls at once at the very start", requests(600))
            .demand(|demand| demand.cold = 200),
        new(
            "leaving",
            "a tenth of the callers hang up",
            both(600, 450_000),
        )
        .demand(|demand| demand.leaving = 0.1),
        new(
            "restart",
            "another process takes over at 3:00 with what was learnt; all counts from then on",
            both(600, 450_000),
        )
        .restart(180.0),
    ]
}

fn other_ways() -> Vec<Scenario> {
    let new = Scenario::new;
    let short = |limits| Limits {
        window_ms: Some(1_000),
        ..limits
    };
    let counted = |algorithm, limits| Limits {
        algorithm: Some(algorithm),
        ..limits
    };
    vec![
        new(
            "window-rpm",
            "600 requests a minute, 10 in any second",
            short(requests(600)),
        ),
        new(
            "window-tpm",
            "600,000 tokens a minute in seconds",
            short(tokens(600_000)),
        ),
        new(
            "fixed-windows",
            "600 requests in each minute of the clock",
            counted(Algorithm::Fixed, requests(600)),
        ),
        new(
            "fixed-tokens",
            "300,000 tokens in each minute of the clock",
            counted(Algorithm::Fixed, tokens(300_000)),
        ),
        new(
            "sliding",
            "600 requests in any minute",
            counted(Algorithm::Sliding, requests(600)),
        ),
        new(
            "sliding-tokens",
            "300,000 tokens in any minute",
            counted(Algorithm::Sliding, tokens(300_000)),
        ),
        new(
            "in-and-out",
            "Anthropic's: 300,000 of input, 60,000 of output as it is produced, rounded to thousands",
            Limits {
                requests_per_minute: Some(2_000),
                input_tokens_per_minute: Some(300_000),
                output_tokens_per_minute: Some(60_000),
                charge: Some(Charge::Produced),
                headers: Some(HeaderStyle::Anthropic),
                ..Limits::default()
            },
        )
        .provider("anthropic-openai")
        .sizes(&[Size {
            input: Spread::around(600.0),
            ..SMALL
        }]),
        new(
            "concurrency",
            "20 calls under way at once; nothing tells of it",
            Limits {
                concurrency: Some(20),
                headers: Some(HeaderStyle::None),
                ..Limits::default()
            },
        )
        .without_goal(),
    ]
}

fn other_hands() -> Vec<Scenario> {
    let new = Scenario::new;
    let shared = |limits, from| Limits {
        foreign: Some(Foreign {
            share: Some(0.3),
            from: Some(seconds(from)),
            ..Foreign::default()
        }),
        ..limits
    };
    vec![
        new(
            "shared-rpm",
            "others take 30 % of the requests from 3:00 on",
            shared(requests(600), 180.0),
        ),
        new(
            "shared-tpm",
            "others take 30 % of the tokens from the start",
            shared(tokens(300_000), 0.0),
        ),
        new("tier-x2", "the limit doubles at 4:00", requests(300)).tier(2.0),
        new(
            "tier-x10",
            "ten times the limit from 4:00 on",
            requests(300),
        )
        .tier(10.0),
        new("tier-half", "half the limit from 4:00 on", requests(300)).tier(0.5),
    ]
}

fn poor_words() -> Vec<Scenario> {
    let new = Scenario::new;
    let heads = |heads, words| Limits {
        headers: Some(heads),
        words: Some(words),
        ..requests(600)
    };
    vec![
        new(
            "headless",
            "no headers; refusals tell numbers",
            heads(HeaderStyle::None, Words::Numbers),
        ),
        new(
            "mute",
            "no headers, no numbers",
            heads(HeaderStyle::None, Words::Plain),
        )
        .without_goal(),
        new(
            "minus-one",
            "-1 in all headers; refusals tell numbers",
            heads(HeaderStyle::MinusOne, Words::Numbers),
        ),
        new(
            "zero",
            "0 in all headers; refusals tell numbers",
            heads(HeaderStyle::Zero, Words::Numbers),
        ),
        new(
            "stale",
            "headers of up to half a minute ago",
            heads(HeaderStyle::Stale, Words::Numbers),
        ),
    ]
}

fn estimates() -> Vec<Scenario> {
    let new = Scenario::new;
    let cautious = Size {
        max_output: Some(4_000),
        output: Spread::around(200.0),
        ..SMALL
    };
    let open = Size {
        max_output: None,
        output: Spread::around(1_500.0),
        ..SMALL
    };
    let corrected = |limit| Limits {
        charge: Some(Charge::Usage),
        ..tokens(limit)
    };
    vec![
        new(
            "declared-kept",
            "max_tokens 4,000, 200 used; the estimate stays",
            tokens(1_000_000),
        )
        .sizes(&[cautious]),
        new(
            "declared-corrected",
            "max_tokens 4,000, 200 used; corrected at the end",
            corrected(300_000),
        )
        .sizes(&[cautious]),
        new(
            "undeclared",
            "no max_tokens, long answers, corrected at the end",
            corrected(300_000),
        )
        .sizes(&[open]),
    ]
}

fn days() -> Vec<Scenario> {
    let new = Scenario::new;
    let day = |limit, resets| Limits {
        requests_per_day: Some(limit),
        day_resets_in: resets,
        ..Limits::default()
    };
    vec![
        new(
            "day-refills",
            "1,000 requests a day that come back steadily, told by headers",
            Limits {
                headers: Some(HeaderStyle::Cerebras),
                ..day(1_000, None)
            },
        )
        .provider("cerebras"),
        new(
            "day-ends",
            "300 requests a day, told by headers; at 5:00 another day begins",
            Limits {
                headers: Some(HeaderStyle::Cerebras),
                ..day(300, Some(seconds(300.0)))
            },
        )
        .provider("cerebras"),
    ]
}
