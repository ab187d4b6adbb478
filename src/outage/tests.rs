//! Whose outage it is, over whole pictures; and what must never be one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    Change, Ending, Outage, Outages, SHARED, SLOTS, Verdict, cause::Cause, lock, target::Health,
};
use crate::{
    call::{RequestId, Target, TargetId},
    config::{Limits, Secret, Upstream, UpstreamId, UpstreamKey},
    triage::{Class, preset},
};

/// An upstream with a key of weir's own.
fn upstream(id: u16, name: &str, url: &str) -> Upstream {
    Upstream {
        admin_key: None,
        id: UpstreamId(id),
        name: name.into(),
        provider: preset("openai").unwrap(),
        base_url: url.parse().unwrap(),
        key: UpstreamKey::Held(Secret::new("sk-held")),
        organization: None,
        project: None,
        headers: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        first_token_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        limits: Limits::default(),
    }
}

pub(super) fn target(id: u32, name: &str, model: &str, url: &str) -> Target {
    of(Arc::new(upstream(0, name, url)), id, model)
}

fn of(upstream: Arc<Upstream>, id: u32, model: &str) -> Target {
    Target::new(TargetId(id), upstream, model.into(), false, model.into())
}

const OPENAI: &str = "https://api.openai.com/v1";
const CLAUDE: &str = "https://api.anthropic.com/v1";
const HERE: &str = "http://127.0.0.1:11434/v1";

/// A gateway's afternoon, second by second.
struct Afternoon {
    outages: Outages,
    told: Arc<Mutex<Vec<Change>>>,
    now: Instant,
}

impl Afternoon {
    fn new() -> Self {
        let told: Arc<Mutex<Vec<Change>>> = Arc::default();
        let heard = Arc::clone(&told);
        let hook = Arc::new(move |change: &Change| heard.lock().unwrap().push(change.clone()));
        Self {
            outages: Outages::default().with_hook(hook),
            told,
            now: Instant::now(),
        }
    }

    /// So many seconds in which each target is asked once, with this outcome.
    fn seconds(&mut self, n: u32, outcomes: &[(&Target, Option<Class>)]) {
        for _ in 0..n {
            for (target, class) in outcomes {
                self.now += Duration::from_secs(1) / outcomes.len() as u32;
                match class {
                    None => {
                        self.outages
                            .answered_at(target, Some(Duration::from_millis(400)), self.now)
                    }
                    Some(class) => {
                        self.outages
                            .failed_at(target, *class, RequestId::new(), false, self.now)
                    }
                }
            }
        }
    }

    fn kinds(&self) -> Vec<(Verdict, String)> {
        self.outages.look(self.now);
        let clock = std::time::SystemTime::now();
        let ongoing = lock(&self.outages.ongoing);
        ongoing
            .iter()
            .map(|f| Outage::of(f, self.now, clock))
            .map(|o| (o.what, o.evidence))
            .collect()
    }

    #[track_caller]
    fn only(&self, kind: Verdict) -> String {
        let kinds = self.kinds();
        assert_eq!(kinds.len(), 1, "{kinds:?}");
        assert_eq!(kinds[0].0, kind, "{kinds:?}");
        kinds[0].1.clone()
    }

    fn told(&self) -> Vec<(Verdict, Option<Ending>)> {
        let told = self.told.lock().unwrap();
        told.iter().map(|c| (c.outage.what, c.ended)).collect()
    }
}

const DOWN: Option<Class> = Some(Class::ServerError);
const LOST: Option<Class> = Some(Class::Connection);
const FINE: Option<Class> = None;

#[test]
fn one_model_is_to_blame_when_another_works() {
    let (a, b) = (
        target(0, "openai", "gpt-4o", OPENAI),
        target(1, "openai", "gpt-4o-mini", OPENAI),
    );
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE), (&b, FINE)]);
    assert_eq!(day.kinds(), []);
    day.seconds(8, &[(&a, DOWN), (&b, FINE)]);
    let evidence = day.only(Verdict::TheirModel);
    assert_eq!(
        evidence,
        "8 of 8 attempts failed in the last 7s (server_error); gpt-4o-mini at the same upstream is fine: 68 of 68"
    );
    day.seconds(12, &[(&a, FINE), (&b, FINE)]);
    assert_eq!(day.kinds(), []);
    assert_eq!(
        day.told(),
        [
            (Verdict::TheirModel, None),
            (Verdict::TheirModel, Some(Ending::Recovered))
        ]
    );
}

#[test]
fn the_whole_api_is_to_blame_when_no_model_works() {
    let (a, b) = (
        target(0, "openai", "gpt-4o", OPENAI),
        target(1, "openai", "gpt-4o-mini", OPENAI),
    );
    let other = target(2, "claude", "sonnet", CLAUDE);
    let mut day = Afternoon::new();
    let all = |outcome| [(&a, outcome), (&b, outcome), (&other, FINE)];
    day.seconds(60, &all(FINE));
    day.seconds(8, &all(DOWN));
    let evidence = day.only(Verdict::TheirApi);
    assert!(
        evidence.ends_with("2 models fail there, and none is seen to work"),
        "{evidence}"
    );
    day.seconds(12, &all(FINE));
    assert_eq!(day.kinds(), []);
}

#[test]
fn hosts_that_are_lost_together_are_our_network() {
    let (a, b) = (
        target(0, "openai", "gpt-4o", OPENAI),
        target(1, "claude", "sonnet", CLAUDE),
    );
    let local = target(2, "ollama", "llama", HERE);
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE), (&b, FINE), (&local, FINE)]);
    // What runs on this machine answers all the time, which says nothing about the way out.
    day.seconds(8, &[(&a, LOST), (&b, LOST), (&local, FINE)]);
    let evidence = day.only(Verdict::OurNetwork);
    assert!(evidence.contains("2 independent hosts"), "{evidence}");
    day.seconds(12, &[(&a, FINE), (&b, FINE)]);
    assert_eq!(day.kinds(), []);
}

#[test]
fn two_accounts_at_one_host_are_not_two_hosts() {
    let (a, b) = (
        target(0, "team-a", "gpt-4o", OPENAI),
        target(1, "team-b", "gpt-4o", OPENAI),
    );
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE), (&b, FINE)]);
    day.seconds(8, &[(&a, LOST), (&b, LOST)]);
    let evidence = day.only(Verdict::Unclear);
    assert!(
        evidence.contains("their API or the network towards it"),
        "{evidence}"
    );
}

#[test]
fn a_host_that_is_lost_alone_is_theirs_when_others_answer() {
    let (a, b) = (
        target(0, "openai", "gpt-4o", OPENAI),
        target(1, "claude", "sonnet", CLAUDE),
    );
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE), (&b, FINE)]);
    day.seconds(8, &[(&a, LOST), (&b, FINE)]);
    let evidence = day.only(Verdict::TheirApi);
    assert!(
        evidence.contains("claude answers, so the network here works"),
        "{evidence}"
    );
}

#[test]
fn an_account_that_fails_alone_is_not_called_the_providers_outage() {
    let (a, b) = (
        target(0, "team-a", "gpt-4o", OPENAI),
        target(1, "team-b", "gpt-4o", OPENAI),
    );
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE), (&b, FINE)]);
    day.seconds(8, &[(&a, DOWN), (&b, FINE)]);
    let evidence = day.only(Verdict::Unclear);
    assert!(evidence.contains("answers through team-b"), "{evidence}");
}

#[test]
fn a_refused_key_is_known_by_the_second_refusal() {
    let (a, b) = (
        target(0, "openai", "gpt-4o", OPENAI),
        target(1, "openai", "gpt-4o-mini", OPENAI),
    );
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE), (&b, FINE)]);
    day.seconds(1, &[(&a, Some(Class::AuthInvalid))]);
    assert_eq!(day.kinds(), [], "once may be a slip");
    day.now += Duration::from_secs(30);
    day.seconds(1, &[(&b, Some(Class::AuthInvalid))]);
    let evidence = day.only(Verdict::OurKey);
    assert_eq!(
        evidence,
        "2 of 2 attempts were refused in the last 31s (auth_invalid)"
    );
    day.seconds(8, &[(&a, FINE), (&b, FINE)]);
    assert_eq!(day.kinds(), []);
}

#[test]
fn a_target_is_called_fine_only_when_it_was_seen_to_be() {
    let (a, b) = (
        target(0, "openai", "gpt-4o", OPENAI),
        target(1, "backup", "gpt-4o", CLAUDE),
    );
    let verdicts = |day: &Afternoon| -> Vec<Verdict> {
        let mut health = day.outages.health_at(day.now);
        health.sort_by(|a, b| b.upstream.cmp(&a.upstream));
        health.iter().map(|health| health.verdict).collect()
    };
    let mut day = Afternoon::new();
    day.seconds(2, &[(&a, FINE), (&b, FINE)]);
    assert_eq!(verdicts(&day), [Verdict::Fine, Verdict::Fine]);
    day.seconds(1, &[(&a, Some(Class::QuotaExhausted)), (&b, FINE)]);
    assert_eq!(day.kinds(), [], "no alarm yet");
    assert_eq!(
        verdicts(&day),
        [Verdict::Unclear, Verdict::Fine],
        "its key was refused last"
    );
    day.seconds(1, &[(&a, FINE), (&b, FINE)]);
    assert_eq!(verdicts(&day), [Verdict::Fine, Verdict::Fine]);

    day.now += Duration::from_secs(300);
    day.seconds(1, &[(&b, FINE)]);
    assert_eq!(
        verdicts(&day),
        [Verdict::Unknown, Verdict::Fine],
        "long ago"
    );
    let burst = [(&a, DOWN); 5];
    day.seconds(1, &burst);
    assert_eq!(day.kinds(), [], "one second is no outage");
    assert_eq!(verdicts(&day), [Verdict::Unclear, Verdict::Fine]);
}

#[test]
fn late_first_tokens_are_slow_and_no_failure() {
    let a = target(0, "openai", "gpt-4o", OPENAI);
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE)]);
    for _ in 0..12 {
        day.now += Duration::from_secs(1);
        day.outages
            .answered_at(&a, Some(Duration::from_secs(3)), day.now);
    }
    let evidence = day.only(Verdict::Slow);
    assert!(
        evidence.starts_with("12 of 12 first tokens were late"),
        "{evidence}"
    );
    assert!(evidence.ends_with("now 3.00s)"), "{evidence}");
    day.seconds(40, &[(&a, FINE)]);
    assert_eq!(day.kinds(), []);
}

#[test]
fn what_is_late_for_hours_is_the_new_usual_and_not_called_recovered() {
    let a = target(0, "openai", "gpt-4o", OPENAI);
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE)]);
    for _ in 0..400 {
        day.now += Duration::from_secs(60);
        day.outages
            .answered_at(&a, Some(Duration::from_secs(3)), day.now);
    }
    assert_eq!(
        day.told(),
        [
            (Verdict::Slow, None),
            (Verdict::Slow, Some(Ending::NewUsual))
        ]
    );
}

#[test]
fn without_traffic_an_outage_is_forgotten_and_not_called_recovered() {
    let a = target(0, "openai", "gpt-4o", OPENAI);
    let mut day = Afternoon::new();
    day.seconds(8, &[(&a, DOWN)]);
    day.only(Verdict::TheirApi);
    day.now += Duration::from_secs(5 * 60);
    day.only(Verdict::TheirApi);
    day.now += Duration::from_secs(10 * 60);
    assert_eq!(day.kinds(), []);
    assert_eq!(
        day.told().last(),
        Some(&(Verdict::TheirApi, Some(Ending::NoTraffic)))
    );
}

#[test]
fn a_model_that_was_not_asked_since_is_not_left_behind_when_the_api_is_back() {
    let (a, b) = (
        target(0, "openai", "gpt-4o", OPENAI),
        target(1, "openai", "gpt-4o-mini", OPENAI),
    );
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE), (&b, FINE)]);
    day.seconds(8, &[(&a, DOWN), (&b, DOWN)]);
    day.only(Verdict::TheirApi);
    day.seconds(20, &[(&a, FINE)]);
    assert_eq!(day.kinds(), []);
}

#[test]
fn a_second_of_a_thousand_failures_is_no_outage() {
    let a = target(0, "openai", "gpt-4o", OPENAI);
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE)]);
    let call = RequestId::new();
    for _ in 0..1_000 {
        day.now += Duration::from_millis(1);
        day.outages
            .failed_at(&a, Class::Connection, call, false, day.now);
    }
    assert_eq!(day.kinds(), []);
}

#[test]
fn the_first_probe_that_fails_confirms_what_opened_the_circuit() {
    let a = target(0, "openai", "gpt-4o", OPENAI);
    let mut day = Afternoon::new();
    day.seconds(60, &[(&a, FINE)]);
    for _ in 0..5 {
        day.now += Duration::from_millis(20);
        day.outages
            .failed_at(&a, Class::Overloaded, RequestId::new(), false, day.now);
    }
    assert_eq!(day.kinds(), []);
    day.now += Duration::from_secs(5);
    day.seconds(1, &[(&a, Some(Class::Overloaded))]);
    day.only(Verdict::TheirApi);
}

#[test]
fn one_call_that_makes_a_server_stumble_is_no_outage_however_often_it_is_repeated() {
    let a = target(0, "openai", "gpt-4o", OPENAI);
    let mut day = Afternoon::new();
    let call = RequestId::new();
    for _ in 0..5 {
        day.now += Duration::from_secs(4);
        day.outages
            .failed_at(&a, Class::ServerError, call, false, day.now);
    }
    assert_eq!(day.kinds(), []);
}

#[test]
fn a_callers_own_bad_key_is_nobodys_outage() {
    let passing = Upstream {
        key: UpstreamKey::Passthrough,
        ..upstream(0, "openai", OPENAI)
    };
    let a = of(Arc::new(passing), 0, "gpt-4o");
    let mut day = Afternoon::new();
    day.seconds(100, &[(&a, Some(Class::AuthInvalid))]);
    assert_eq!(day.kinds(), []);
    // Nobody's credit left is another matter.
    day.seconds(20, &[(&a, Some(Class::QuotaExhausted))]);
    day.only(Verdict::OurKey);
}

#[test]
fn more_targets_than_places_share_them() {
    let outages = Outages::default();
    let upstream = Arc::new(upstream(3, "openai", OPENAI));
    for id in 0..(SLOTS + SHARED) as u32 * 2 {
        outages.answered(&of(Arc::clone(&upstream), id, "gpt-4o"), None);
    }
    assert_eq!(outages.used().count(), SLOTS + 1);
    assert_eq!(outages.health().len(), super::TOLD);
}

fn harmless() -> impl Strategy<Value = Class> {
    let all = Class::ALL.iter().copied();
    let harmless: Vec<Class> = all
        .filter(|c| {
            c.is_callers_mistake()
                || c.is_rate_limit()
                || matches!(
                    c,
                    Class::Cancelled
                        | Class::ModelNotFound
                        | Class::RequestTooLargeForLimit
                        | Class::Unknown
                )
        })
        .collect();
    proptest::sample::select(harmless)
}

proptest! {
    #[test]
    fn callers_mistakes_and_limits_never_raise_an_alarm(
        outcomes in proptest::collection::vec((harmless(), 0_u64..5_000), 1..300),
    ) {
        let a = target(0, "openai", "gpt-4o", OPENAI);
        let mut day = Afternoon::new();
        for (class, after) in outcomes {
            day.now += Duration::from_millis(after);
            day.outages.failed_at(&a, class, RequestId::new(), false, day.now);
        }
        prop_assert_eq!(day.kinds(), []);
        prop_assert_eq!(day.outages.used().count(), 0);
    }

    /// Threads hand in what happened at the same moment in any order.
    #[test]
    fn the_order_within_a_second_does_not_matter(
        seconds in proptest::collection::vec((0_usize..6, 1_usize..12), 1..40),
    ) {
        let mut now = Instant::now();
        let mut orders = [Health::new(now), Health::new(now)];
        for (bad, all) in seconds {
            for (bad_first, health) in orders.iter_mut().enumerate() {
                for n in 0..all {
                    match if bad_first == 1 { n < bad } else { n + bad >= all } {
                        true => health.failed(Cause::Server, Class::ServerError, false, now),
                        false => health.answered(None, now),
                    };
                }
            }
            let [one, other] = [orders[0].view(now), orders[1].view(now)];
            // From an alarm on, they are at different points of the same story.
            if one.failing.is_some() || other.failing.is_some() {
                return Ok(());
            }
            prop_assert!((one.level - other.level).abs() < 1e-9);
            prop_assert_eq!(one.recent, other.recent);
            now += Duration::from_secs(1);
        }
    }
}
