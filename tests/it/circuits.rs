//! Everything is down: what the provider receives, and when the apps have their error.
//!
//! Apps call as the official SDKs do: up to three requests for one call, as `x-should-retry`, `retry-after-ms` and
//! `retry-after` say. The measure is what each provider receives for each call that an app made.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weir::sim::{Fault, Kind};

use crate::support::{
    Answer, Step, Upstream, Weir, chat, eventually, in_time, sim, upstream::json,
};

/// Never more, in a total outage of at least [`ENOUGH`] calls.
const MOST: f64 = 1.2;
const ENOUGH: usize = 50;
/// Intervals between probes that a test can wait for: every call of those in a row waits for two of them.
const QUICK: &str = "[retry]\nbase = \"50ms\"\nmax = \"200ms\"\nmax_wait = \"2s\"\n[breaker]\n";
const ROW: &str = "open_for = \"100ms\"\nopen_for_max = \"100ms\"\n";
const CROWD: &str = "open_for = \"300ms\"\nopen_for_max = \"1s\"\n";

/// A way to be down.
#[derive(Clone, Copy, Debug)]
struct Outage {
    name: &'static str,
    does: Does,
    /// The app's own time-out.
    patience: Duration,
    /// Calls in a row that end within a test's time.
    row: usize,
    /// More lines of each upstream.
    upstream: &'static str,
    passthrough: bool,
}

#[derive(Clone, Copy, Debug)]
enum Does {
    Say(u16, &'static str, &'static str),
    Html,
    Hang,
    Reset,
    /// Nobody listens.
    Gone,
}

/// How apps call.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    /// So many calls, one after the other.
    InARow(usize),
    /// So many calls, 50 of them each second.
    Crowd(usize),
}

/// What came of it.
struct Figures {
    calls: usize,
    /// By each provider.
    received: Vec<usize>,
    /// HTTP requests of the apps.
    requests: usize,
    slowest: Duration,
}

const BASE: Outage = Outage {
    name: "",
    does: Does::Hang,
    patience: Duration::from_secs(8),
    row: ENOUGH,
    upstream: "",
    passthrough: false,
};

const fn says(
    name: &'static str,
    status: u16,
    headers: &'static str,
    body: &'static str,
) -> Outage {
    Outage {
        name,
        does: Does::Say(status, headers, body),
        ..BASE
    }
}

const OVERLOADED: &str = r#"{"error":{"message":"The engine is currently overloaded","type":"server_error","param":null,"code":null}}"#;
const FAILED: &str = r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#;
const QUOTA: &str = r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
/// Without numbers: a limit that is known is waited for, and nothing is sent in vain.
const RATE: &str = r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-a on requests per min (RPM).","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
const BAD_KEY: &str = r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;

// === impl Outage ===

impl Outage {
    async fn provider(self) -> Option<Upstream> {
        let steps = match self.does {
            Does::Say(status, headers, body) => vec![Step::Send(json(status, headers, body))],
            Does::Html => vec![Step::Send(page())],
            Does::Hang => vec![Step::Hang],
            Does::Reset => vec![Step::Reset],
            Does::Gone => return None,
        };
        Some(Upstream::start(move |_, _| steps.clone()).await)
    }

    /// Lets `traffic` meet `targets` providers that are all down.
    async fn meets(self, traffic: Traffic, targets: usize) -> Figures {
        let mut providers = Vec::new();
        for _ in 0..targets {
            providers.push(self.provider().await);
        }
        let url = |n: usize| match &providers[n] {
            Some(provider) => provider.base_url(),
            // Nobody listens on discard's port of this machine, and it is none that is given away.
            None => "http://127.0.0.1:9/v1".to_owned(),
        };
        let rules = match traffic {
            Traffic::InARow(_) => format!("{QUICK}{ROW}"),
            Traffic::Crowd(_) => format!("{QUICK}{CROWD}"),
        };
        let weir = match (targets, self.passthrough) {
            (2, false) => Weir::over_two_with(&url(0), &url(1), self.upstream, &rules),
            (1, true) => Weir::passing(&url(0), &rules),
            (1, false) => Weir::start(&format!(
                "{}[[route]]\nmodels = [\"*\"]\ntargets = [\"first\"]\n{rules}",
                crate::support::gateway::upstream("first", &url(0), self.upstream)
            )),
            _ => unreachable!("a caller's key goes to one provider only"),
        };
        let mut ends = Vec::new();
        match traffic {
            Traffic::InARow(calls) => {
                for n in 0..calls {
                    ends.push(call(weir.addr, self.patience, n).await);
                }
            }
            Traffic::Crowd(calls) => {
                let started = Instant::now();
                let mut running = Vec::new();
                for n in 0..calls {
                    tokio::time::sleep_until(started + Duration::from_millis(20) * n as u32).await;
                    running.push(tokio::spawn(call(weir.addr, self.patience, n)));
                }
                for one in running {
                    ends.push(one.await.unwrap());
                }
            }
        }
        let received = ["first", "second"][..targets]
            .iter()
            .map(|name| {
                let name = if self.passthrough { "openai" } else { name };
                weir.metric("weir_attempts_total", &[&format!("upstream=\"{name}\"")]) as usize
            })
            .collect();
        Figures {
            calls: ends.len(),
            received,
            requests: ends.iter().map(|(requests, _)| requests).sum(),
            slowest: ends.iter().map(|(_, slowest)| *slowest).max().unwrap(),
        }
    }

    /// All kinds of traffic at once, each with providers and a gateway of its own.
    async fn holds(self) {
        in_time(async {
            let kinds = [
                (Traffic::InARow(self.row.min(3)), 1),
                (Traffic::InARow(self.row), 1),
                (Traffic::Crowd(200), 1),
                (Traffic::Crowd(200), 2),
            ];
            let kinds = &kinds[..if self.passthrough { 3 } else { 4 }];
            let all = futures_util::future::join_all(
                kinds.iter().map(|(traffic, targets)| self.meets(*traffic, *targets)),
            );
            for ((traffic, targets), figures) in kinds.iter().zip(all.await) {
                let ratios: Vec<f64> = figures
                    .received
                    .iter()
                    .map(|received| *received as f64 / figures.calls as f64)
                    .collect();
                let said = format!(
                    "{}, {traffic:?}, {targets} targets: {:?} received ({ratios:.2?} a call), {} requests of apps, slowest error {:?}",
                    self.name, figures.received, figures.requests, figures.slowest
                );
                eprintln!("{said}");
                assert!(figures.slowest < self.patience, "an app ran out of time: {said}");
                if figures.calls >= ENOUGH {
                    assert!(ratios.iter().all(|ratio| *ratio <= MOST), "{said}");
                }
            }
        })
        .await;
    }
}

/// One call of an app, through its SDK: how many requests, and the slowest of them.
async fn call(addr: std::net::SocketAddr, patience: Duration, n: usize) -> (usize, Duration) {
    let mut slowest = Duration::ZERO;
    for repeat in 0_u32..3 {
        let ask = chat(&format!("call {n}"), n.is_multiple_of(3))
            .header("x-stainless-retry-count", &repeat.to_string())
            .header(
                "x-stainless-read-timeout",
                &patience.as_secs_f64().to_string(),
            );
        let started = Instant::now();
        let answer = tokio::time::timeout(patience, ask.send(addr)).await.ok();
        slowest = slowest.max(started.elapsed());
        let Some(wait) = sdk_wait(answer.as_ref(), repeat) else {
            return (repeat as usize + 1, slowest);
        };
        if repeat < 2 {
            tokio::time::sleep(wait).await;
        }
    }
    (3, slowest)
}

/// As the official SDKs decide: after what time they send a request again. `None`: they do not.
fn sdk_wait(answer: Option<&Answer>, repeat: u32) -> Option<Duration> {
    let backoff = Duration::from_millis(500 << repeat);
    let Some(answer) = answer else {
        return Some(backoff);
    };
    assert!(answer.status >= 400, "nobody can have answered");
    match answer.header("x-should-retry") {
        "false" => return None,
        "true" => {}
        _ if matches!(answer.status, 408 | 409 | 429 | 500..) => {}
        _ => return None,
    }
    let told = |name, unit: f64| {
        let told: f64 = answer.header(name).parse().ok()?;
        Some(Duration::from_secs_f64(told * unit))
    };
    let told = told("retry-after-ms", 0.001).or_else(|| told("retry-after", 1.0));
    Some(
        told.filter(|told| *told <= Duration::from_secs(60))
            .unwrap_or(backoff),
    )
}

fn page() -> Bytes {
    let body = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center><hr><center>cloudflare</center></body></html>";
    format!(
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

/// A test for each way to be down.
macro_rules! outages {
    ($($test:ident: $outage:expr;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $outage.holds().await;
        })+
    };
}

outages! {
    an_overloaded_provider_receives_no_more_than_the_calls: says("503", 503, "", OVERLOADED);
    a_failing_provider_receives_no_more_than_the_calls: says("500", 500, "", FAILED);
    a_provider_that_is_gone_is_tried_no_more_than_the_calls: Outage { name: "refused", does: Does::Gone, ..BASE };
    a_provider_that_resets_receives_no_more_than_the_calls: Outage { name: "reset", does: Does::Reset, ..BASE };
    an_edge_with_a_page_receives_no_more_than_the_calls: Outage { name: "html 502", does: Does::Html, ..BASE };
    a_provider_that_hangs_receives_no_more_than_the_calls: Outage {
        name: "hangs",
        upstream: "first_token_timeout = \"200ms\"",
        patience: Duration::from_secs(5),
        ..BASE
    };
    a_provider_that_hangs_longer_than_apps_wait_receives_no_more_than_the_calls: Outage {
        name: "hangs, short time-out",
        patience: Duration::from_secs(5),
        row: 1,
        ..BASE
    };
    an_empty_account_receives_no_more_than_the_calls: says("insufficient_quota", 429, "", QUOTA);
    // Nobody goes before a told time is over, so that calls in a row take that long each.
    a_limit_that_does_not_lift_receives_no_more_than_the_calls: Outage { row: 3, patience: Duration::from_secs(5), ..says("429, long wait", 429, "retry-after-ms: 2500\r\n", RATE) };
    a_limit_that_lifts_in_words_only_receives_no_more_than_the_calls: says("429, short wait", 429, "retry-after-ms: 100\r\n", RATE);
    a_bad_key_of_ours_receives_no_more_than_the_calls: says("401", 401, "", BAD_KEY);
    a_bad_key_of_the_callers_receives_no_more_than_the_calls: Outage { passthrough: true, ..says("401, caller's", 401, "", BAD_KEY) };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_status_tell_since_when_and_why_and_nothing_when_all_is_well() {
    in_time(async {
        let provider = sim().await;
        let quota = Fault {
            body: Some(QUOTA.to_owned()),
            ..Fault::status(429)
        };
        provider.control().inject(quota).unwrap();
        let weir = Weir::over(&provider.base_url(), "");
        let names = [
            "weir_breaker_open_since_timestamp_seconds",
            "weir_breaker_next_probe_timestamp_seconds",
        ];
        assert!(names.iter().all(|name| !weir.metrics().contains(name)));
        for _ in 0..4 {
            assert_eq!(chat("hi", false).send(weir.addr).await.status, 429);
        }
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let labels = ["upstream=\"first\"", "class=\"quota_exhausted\""];
        let [since, next] = names.map(|name| weir.metric(name, &labels));
        assert!((now - 30.0..=now).contains(&since), "{since} at {now}");
        assert!(
            (since + 29.0..since + 34.0).contains(&next),
            "{next} after {since}"
        );

        let circuits = &weir.gateway().state.circuits;
        let status = serde_json::to_value(circuits.snapshot(Instant::now())).unwrap();
        let circuit = &status[0];
        assert_eq!(circuit["refused"], 3, "{status}");
        assert!(circuit["rule"].as_str().unwrap().contains('/'), "{status}");
        let told = circuit["since"].as_str().unwrap();
        assert!(told.starts_with("20") && told.ends_with('Z'), "{status}");

        provider.control().clear();
        circuits.probe_now(None);
        assert_eq!(chat("hi", false).send(weir.addr).await.status, 200);
        eventually("it is closed", || {
            names.iter().all(|name| !weir.metrics().contains(name))
        })
        .await;
    })
    .await;
}

/// An outage ends while fifty callers ask: those that meet the probe or the ramp are not sent home.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_meet_a_recovery_wait_for_their_turn() {
    in_time(async {
        let provider = sim().await;
        provider.control().inject(Fault::status(503)).unwrap();
        let weir = Weir::over(
            &provider.base_url(),
            "[breaker]\nconsecutive = 2\nopen_for = \"1s\"\nopen_for_max = \"1s\"\n[retry]\nmax_attempts = 1\n",
        );
        for _ in 0..2 {
            assert_eq!(chat("hi", false).send(weir.addr).await.status, 503);
        }
        provider.control().clear();
        provider.control().reset();
        let slow = Fault {
            delay: Some(Duration::from_millis(300).into()),
            ..Fault::of(Kind::Delay)
        };
        provider.control().inject(slow).unwrap();
        let addr = weir.addr;
        let probe = tokio::spawn(async move {
            while chat("probe", false).send(addr).await.status != 200 {}
        });
        eventually("it probes", || provider.control().stats().in_flight == 1).await;
        let calls: Vec<_> = (0..50)
            .map(|n| {
                tokio::spawn(async move { chat(&format!("call {n}"), false).send(addr).await })
            })
            .collect();
        probe.await.unwrap();
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let arrivals: Vec<u64> = provider.control().log().iter().map(|r| r.arrival_ms).collect();
        assert_eq!(arrivals.len(), 51, "one upstream call each");
        // Four steps of a fifth of a second: an eighth or so in the first.
        let early = arrivals.iter().filter(|at| **at < arrivals[0] + 400).count();
        assert!(early <= 25, "a slam: {arrivals:?}");
    })
    .await;
}
