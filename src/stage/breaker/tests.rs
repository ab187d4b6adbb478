//! The layer over a scripted provider, clock paused.

mod model;
mod reference;
pub(in crate::stage) mod support;
mod verdicts;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt};

use self::support::{
    Act, BAD_KEY, BAD_REQUEST, NO_MODEL, Provider, QUOTA, RATE, attempt, ends, rules, target,
    upstream,
};
use super::{Breaker, BreakerLayer, Circuits, State};
use crate::{
    call::{Facts, How, Reply, Target},
    config::Limits,
    error::Error,
    triage::{Class, Scope},
};

type Changes = Arc<Mutex<Vec<(Scope, State, State)>>>;

struct Bench {
    circuits: Arc<Circuits>,
    breaker: Breaker<Provider>,
    provider: Provider,
    changes: Changes,
}

impl Bench {
    fn new(act: Act) -> Self {
        let (provider, changes) = (Provider::new(act), Changes::default());
        let heard = Arc::clone(&changes);
        let hook = move |t: &super::Transition| heard.lock().unwrap().push((t.scope, t.from, t.to));
        let circuits = Arc::new(Circuits::new(rules()).with_hook(Arc::new(hook)));
        let breaker = BreakerLayer::new(Arc::clone(&circuits)).layer(provider.clone());
        Self {
            circuits,
            breaker,
            provider,
            changes,
        }
    }

    async fn ask(&mut self, target: &Arc<Target>, caller: u64) -> Result<Reply, Error> {
        self.breaker
            .ready()
            .await
            .unwrap()
            .call(attempt(target, caller, 0))
            .await
    }

    /// Whether the breaker refuses without asking.
    async fn refuses(&mut self, target: &Arc<Target>, caller: u64) -> bool {
        let available = self
            .circuits
            .is_available(target, &attempt(target, caller, 0).call);
        self.provider.asked();
        let answer = self.ask(target, caller).await;
        let refused = matches!(answer, Err(Error::CircuitOpen(_)));
        assert_eq!(refused, self.provider.asked() == 0);
        assert_eq!(refused, !available, "is_available tells the truth");
        refused
    }
}

fn own(name: &str, key: &str) -> Arc<crate::config::Upstream> {
    upstream(name, Some(key), Limits::default())
}

fn callers() -> Arc<crate::config::Upstream> {
    upstream("openai", None, Limits::default())
}

const DOWN: Act = Act::Fail(503, "{}", "");

#[tokio::test(start_paused = true)]
async fn an_outage_opens_the_target_and_one_probe_per_interval_finds_its_end() {
    let mut bench = Bench::new(DOWN);
    let (a, b) = (
        target(0, "gpt-4o", &own("openai", "k")),
        target(1, "gpt-4o-mini", &own("openai", "k")),
    );
    for _ in 0..5 {
        assert!(bench.ask(&a, 1).await.is_err());
    }
    let Err(Error::CircuitOpen(open)) = bench.ask(&a, 1).await else {
        panic!("it is open")
    };
    assert_eq!((open.class, open.scope), (Class::Overloaded, Scope::Model));
    assert!(open.last.is_some() && open.retry_after <= Duration::from_millis(5_500));
    assert!(
        !bench.refuses(&b, 1).await,
        "another target is not its business"
    );

    bench.provider.asked();
    for _ in 0..200 {
        advance(Duration::from_millis(100)).await;
        let _ = bench.ask(&a, 1).await;
    }
    // One every 5 s of 20 s, each give or take a tenth.
    let probes = bench.provider.asked();
    assert!((3..=4).contains(&probes), "{probes} probes");

    bench.provider.now_does(Act::Answer);
    advance(Duration::from_secs(20)).await;
    assert!(bench.ask(&a, 1).await.is_ok());
    assert_eq!(
        bench.circuits.snapshot(Instant::now())[0].state,
        State::Recovering
    );
    advance(Duration::from_secs(5)).await;
    assert!(bench.circuits.snapshot(Instant::now()).is_empty());
    assert_eq!(
        bench.changes.lock().unwrap().last(),
        Some(&(Scope::Model, State::Recovering, State::Closed))
    );
}

#[tokio::test(start_paused = true)]
async fn bad_requests_and_rate_limits_open_nothing() {
    let mut bench = Bench::new(Act::Answer);
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    for n in 0..300 {
        bench.provider.now_does(match n % 4 {
            0 | 2 => Act::Fail(400, BAD_REQUEST, "acme"),
            1 => Act::Fail(429, RATE, "acme"),
            _ => Act::Answer,
        });
        assert!(!matches!(
            bench.ask(&gpt, 1).await,
            Err(Error::CircuitOpen(_))
        ));
    }
    assert!(bench.changes.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_empty_account_closes_every_known_key_of_the_organisation_and_no_other() {
    let mut bench = Bench::new(Act::AnswerAs("acme"));
    let openai = callers();
    let (gpt, mini) = (
        target(0, "gpt-4o", &openai),
        target(1, "gpt-4o-mini", &openai),
    );
    for caller in [1, 2] {
        bench.ask(&gpt, caller).await.unwrap();
    }
    bench.provider.now_does(Act::AnswerAs("other"));
    bench.ask(&gpt, 3).await.unwrap();

    bench.provider.now_does(Act::Fail(429, QUOTA, "acme"));
    let first = bench.ask(&gpt, 1).await;
    assert!(matches!(first, Err(Error::Upstream(_))));
    bench.provider.now_does(Act::Answer);
    for model in [&gpt, &mini] {
        assert!(bench.refuses(model, 1).await);
        assert!(
            bench.refuses(model, 2).await,
            "the other key of the same organisation"
        );
        assert!(
            !bench.refuses(model, 3).await,
            "a key of another organisation"
        );
        assert!(
            !bench.refuses(model, 4).await,
            "a key of which nothing is known"
        );
    }
    let status = &bench.circuits.snapshot(Instant::now())[0];
    assert_eq!((status.scope, &*status.key), (Scope::Organization, "acme"));
    assert_eq!(status.last_request_id.as_deref(), Some("req_1"));
    assert!(
        serde_json::to_string(status)
            .unwrap()
            .contains(r#""state":"open""#)
    );
}

#[tokio::test(start_paused = true)]
async fn a_callers_key_in_two_organisations_is_closed_in_the_empty_one_only() {
    let mut bench = Bench::new(Act::AnswerAs("acme"));
    let gpt = target(0, "gpt-4o", &callers());
    let naming = |organization: Option<&'static str>| {
        let mut attempt = attempt(&gpt, 1, 0);
        let call = Arc::get_mut(&mut attempt.call).unwrap();
        if let Some(name) = organization {
            let name = http::HeaderValue::from_static(name);
            call.headers.insert("openai-organization", name);
        }
        attempt
    };
    bench.breaker.call(naming(None)).await.unwrap();
    bench
        .provider
        .now_does(Act::Fail(429, QUOTA, "empty-side-project"));
    let empty = bench.breaker.call(naming(Some("org-side"))).await;
    assert!(matches!(empty, Err(Error::Upstream(_))));

    bench.provider.now_does(Act::AnswerAs("acme"));
    let usual = bench.breaker.call(naming(None)).await;
    assert!(usual.is_ok(), "the key's own organisation has credit");
    let empty = bench.breaker.call(naming(Some("org-side"))).await;
    assert!(
        matches!(empty, Err(Error::CircuitOpen(_))),
        "that one has none"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_without_a_known_organisation_is_closed_alone() {
    let mut bench = Bench::new(Act::Fail(429, QUOTA, ""));
    let (ours, theirs) = (
        target(0, "gpt-4o", &own("a", "k1")),
        target(1, "gpt-4o", &own("b", "k2")),
    );
    let _ = bench.ask(&ours, 1).await;
    assert!(
        bench.refuses(&ours, 2).await,
        "whoever calls, the key is the same"
    );
    bench.provider.now_does(Act::Answer);
    assert!(!bench.refuses(&theirs, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_configured_organisation_counts_before_an_answer_names_one() {
    let mut bench = Bench::new(Act::Fail(429, QUOTA, ""));
    let of = |name, key, organization| {
        let mut upstream = (*own(name, key)).clone();
        upstream.organization = Some(http::HeaderValue::from_static(organization));
        Arc::new(upstream)
    };
    let (first, second, other) = (
        target(0, "gpt-4o", &of("a", "k1", "org-1")),
        target(1, "gpt-4o", &of("b", "k2", "org-1")),
        target(2, "gpt-4o", &of("c", "k3", "org-2")),
    );
    let _ = bench.ask(&first, 1).await;
    bench.provider.now_does(Act::Answer);
    assert!(bench.refuses(&second, 1).await, "the same organisation");
    assert!(!bench.refuses(&other, 1).await, "another one");
}

#[tokio::test(start_paused = true)]
async fn topping_up_probes_now_and_only_once() {
    let mut bench = Bench::new(Act::Fail(429, QUOTA, "acme"));
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    let _ = bench.ask(&gpt, 1).await;
    assert_eq!(bench.circuits.probe_now(Some("another")), 0);
    assert_eq!(bench.circuits.probe_now(Some("openai")), 1);
    assert!(!bench.refuses(&gpt, 1).await, "the probe");
    assert!(bench.refuses(&gpt, 1).await, "it failed");
    bench.provider.now_does(Act::Answer);
    assert_eq!(bench.circuits.probe_now(None), 1);
    assert!(!bench.refuses(&gpt, 1).await);
    assert!(!bench.refuses(&gpt, 1).await, "traffic is back");
    advance(Duration::from_secs(5)).await;
    assert!(!bench.refuses(&gpt, 1).await);
    assert!(bench.circuits.snapshot(Instant::now()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn credit_that_is_back_is_back_by_degrees_for_calls_that_can_wait_and_at_once_for_others() {
    let mut bench = Bench::new(Act::Fail(429, QUOTA, "acme"));
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    let _ = bench.ask(&gpt, 1).await;
    bench.provider.now_does(Act::Answer);
    assert_eq!(bench.circuits.probe_now(None), 1);
    assert!(bench.ask(&gpt, 1).await.is_ok(), "the probe");
    let mut passed = 0;
    for _ in 0..50 {
        match bench.ask(&gpt, 1).await {
            Ok(_) => passed += 1,
            Err(Error::CircuitOpen(open)) => {
                let turn = open.hold.expect("it is worth waiting for");
                assert!(turn <= Duration::from_secs(1));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!((3..=8).contains(&passed), "{passed} in the first step");
    for n in 0..20 {
        let mut hurried = attempt(&gpt, 1, 0);
        hurried.last = true;
        hurried.max_wait = Duration::from_millis(500);
        let answer = bench.breaker.ready().await.unwrap().call(hurried).await;
        assert!(
            answer.is_ok(),
            "call {n} has no time and nowhere else to go"
        );
    }
    let story = &bench.circuits.snapshot(Instant::now())[0];
    assert!(story.refused >= 42, "{}", story.refused);
    assert!(story.since.ends_with('Z') && story.rule.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_not_waited_for_and_a_young_probe_is() {
    let mut bench = Bench::new(DOWN);
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    for _ in 0..5 {
        let _ = bench.ask(&gpt, 1).await;
    }
    let hold = async |bench: &mut Bench| match bench.ask(&gpt, 1).await {
        Err(Error::CircuitOpen(open)) => open.hold,
        other => panic!("{other:?}"),
    };
    assert_eq!(hold(&mut bench).await, None);
    advance(Duration::from_secs(6)).await;
    let probe = bench.circuits.admit(&attempt(&gpt, 1, 0)).unwrap();
    advance(Duration::from_secs(1)).await;
    assert_eq!(hold(&mut bench).await, Some(Duration::from_millis(250)));
    advance(Duration::from_secs(4)).await;
    assert_eq!(hold(&mut bench).await, None, "it hangs");
    drop(probe);
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_wanted_back_when_a_provider_is_down_and_not_when_it_is_out_of_credit() {
    let mut bench = Bench::new(Act::Fail(503, "{}", ""));
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    for _ in 0..5 {
        let _ = bench.ask(&gpt, 1).await;
    }
    let refused = bench.ask(&gpt, 1).await.unwrap_err();
    assert!(matches!(refused, Error::CircuitOpen(_)), "{refused:?}");
    assert!(refused.wants_caller_back());
    assert!(refused.retry_after().is_some());

    let mut bench = Bench::new(Act::Fail(429, QUOTA, "acme"));
    let _ = bench.ask(&gpt, 1).await;
    let refused = bench.ask(&gpt, 1).await.unwrap_err();
    assert!(matches!(refused, Error::CircuitOpen(_)), "{refused:?}");
    assert!(!refused.wants_caller_back());
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_of_ours_closes_it_and_a_callers_closes_nothing() {
    let mut bench = Bench::new(Act::Fail(401, BAD_KEY, ""));
    let (ours, theirs) = (
        target(0, "gpt-4o", &own("ours", "k")),
        target(1, "gpt-4o", &callers()),
    );
    let _ = bench.ask(&ours, 1).await;
    assert!(bench.refuses(&ours, 1).await);
    for _ in 0..50 {
        assert!(!bench.refuses(&theirs, 1).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_model_closes_its_target_for_our_key_and_never_what_has_no_model() {
    let mut bench = Bench::new(Act::Fail(404, NO_MODEL, ""));
    let openai = own("openai", "k");
    let (gone, files) = (target(0, "gpt-9", &openai), target(1, "", &openai));
    let theirs = target(2, "gpt-9", &callers());
    for target in [&gone, &files, &theirs] {
        let _ = bench.ask(target, 1).await;
    }
    assert!(bench.refuses(&gone, 1).await);
    assert!(!bench.refuses(&files, 1).await);
    assert!(!bench.refuses(&theirs, 1).await);
}

#[tokio::test(start_paused = true)]
async fn streams_are_judged_at_their_end() {
    let mut bench = Bench::new(DOWN);
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    for how in [
        How::Complete,
        How::CallerLeft,
        How::Broken(Class::StreamError),
    ] {
        bench.provider.now_does(DOWN);
        for _ in 0..4 {
            let _ = bench.ask(&gpt, 1).await;
        }
        let facts = Arc::new(Facts::default());
        bench.provider.now_does(Act::Stream(Arc::clone(&facts)));
        let stream = bench.ask(&gpt, 1).await.unwrap();
        ends(&facts, how);
        drop(stream);
        bench.provider.now_does(Act::Answer);
        let broken = how == How::Broken(Class::StreamError);
        assert_eq!(bench.refuses(&gpt, 1).await, broken, "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_is_not_lost_and_a_refused_one_costs_no_interval() {
    let mut bench = Bench::new(DOWN);
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    for _ in 0..5 {
        let _ = bench.ask(&gpt, 1).await;
    }
    advance(Duration::from_secs(6)).await;
    bench.provider.now_does(Act::Hang);
    let gone = tokio::time::timeout(Duration::from_secs(1), bench.ask(&gpt, 1)).await;
    assert!(gone.is_err(), "the caller left the probe");
    assert!(
        bench.refuses(&gpt, 1).await,
        "the provider was asked in this interval"
    );
    advance(Duration::from_secs(5)).await;
    bench.provider.now_does(Act::Refuse);
    assert!(matches!(bench.ask(&gpt, 1).await, Err(Error::Limit(_))));
    bench.provider.now_does(Act::Answer);
    assert!(
        !bench.refuses(&gpt, 1).await,
        "our own limit kept the probe from the provider"
    );
}

/// A gate that recovers while a call that it let through is still under way; gone when it returns.
async fn a_gate_has_recovered_under(bench: &mut Bench, gpt: &Arc<Target>) -> super::Permit {
    let _ = bench.ask(gpt, 1).await;
    bench.provider.now_does(Act::Answer);
    bench.circuits.probe_now(None);
    assert!(bench.ask(gpt, 1).await.is_ok(), "the probe");
    let long = bench.circuits.admit(&attempt(gpt, 1, 0)).unwrap();
    advance(Duration::from_secs(5)).await;
    assert!(bench.circuits.snapshot(Instant::now()).is_empty());
    long
}

#[tokio::test(start_paused = true)]
async fn a_late_success_from_before_an_empty_account_does_not_open_its_gate() {
    let mut bench = Bench::new(Act::Fail(429, QUOTA, "acme"));
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    let long = a_gate_has_recovered_under(&mut bench, &gpt).await;
    bench.provider.now_does(Act::Fail(429, QUOTA, "acme"));
    let _ = bench.ask(&gpt, 1).await;
    long.answered(&mut support::answer());
    assert!(
        bench.refuses(&gpt, 1).await,
        "it told of the account as it was before"
    );
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_empty_again_is_heard_of_from_a_call_that_had_passed_its_gate() {
    let mut bench = Bench::new(Act::Fail(429, QUOTA, "acme"));
    let gpt = target(0, "gpt-4o", &own("openai", "k"));
    let long = a_gate_has_recovered_under(&mut bench, &gpt).await;
    long.failed(&support::failure(&gpt, 429, QUOTA, "acme"));
    assert!(bench.refuses(&gpt, 1).await);
}

#[tokio::test(start_paused = true)]
async fn circuits_are_bounded() {
    let mut bench = Bench::new(Act::Answer);
    let openai = own("openai", "k");
    for id in 0..12_000 {
        bench.ask(&target(id, "m", &openai), 1).await.unwrap();
    }
    let held: usize = bench.circuits.held();
    assert!(held <= 10_000, "{held}");
}
