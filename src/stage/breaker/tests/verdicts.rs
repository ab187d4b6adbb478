//! Recorded failures of every provider, judged and fed to the circuits in any order: what passes by itself and what is the
//! caller's mistake closes nothing off.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::{prelude::*, sample::Index};
use regex::{Captures, Regex};
use serde_json::Value;
use tokio::time::advance;

use super::{
    super::{Circuits, Permit, State},
    Duration,
    support::{self, attempt, rules},
};
use crate::{
    call::Target,
    config::{Limits, UpstreamKey},
    error::{Error, Failure},
    triage::{Class, Evidence, NetworkKind, Provider, Scope, Transport, judge, preset},
};

const CORPUS: &str = include_str!("../../../../tests/fixtures/errors.jsonl");

/// Refills by itself.
const PASSING: &[&str] = &[
    "rate_limited_requests",
    "rate_limited_tokens",
    "rate_limited_images",
    "rate_limited_concurrency",
    "rate_limited_ramp",
    "request_too_large_for_limit",
];
/// Not the provider's doing, whoever's key it is.
const MISTAKES: &[&str] = &[
    "invalid_request",
    "context_length",
    "content_filter",
    "not_found",
    "conflict",
    "payload_too_large",
    "state_not_portable",
    "request_too_large_for_limit",
    "model_output_invalid",
    "routing_no_provider",
    "cancelled",
    "unknown",
];
/// The caller's mistake when the key is the caller's.
const MISTAKES_WITH_OWN_KEY: &[&str] = &[
    "auth_invalid",
    "auth_missing",
    "auth_wrong_org",
    "auth_project_archived",
    "permission",
    "verification_required",
    "ip_blocked",
    "region_unsupported",
    "model_not_found",
];

struct Row {
    id: String,
    class: String,
    status: u16,
    endpoint: String,
    headers: Vec<(String, String)>,
    body: String,
    transport: Transport,
    provider: Arc<Provider>,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| CORPUS.lines().map(row).collect());

fn row(line: &str) -> Row {
    let json: Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let name = match &*text("provider") {
        "cloudflare-edge" | "envoy-edge" | "network" => "openai".to_owned(),
        "vertex" => "gemini".to_owned(),
        name => name.to_owned(),
    };
    let provider = preset(&name).unwrap();
    let provider = match &*name {
        "azure" => Arc::new(provider.at("https://me.openai.azure.com/openai/v1")),
        _ => provider,
    };
    Row {
        id: text("id"),
        class: text("class"),
        status: u16::try_from(json["status"].as_u64().unwrap()).unwrap(),
        endpoint: text("endpoint"),
        headers: json["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        body: match &json["body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        },
        transport: match &*text("transport") {
            "sse" | "ndjson" | "websocket" => Transport::StreamEvent,
            "object-in-200" => Transport::ObjectIn200,
            "network" => Transport::Network(NetworkKind::Other),
            _ => Transport::Http,
        },
        provider,
    }
}

/// The rows of these classes.
fn of(classes: &[&str]) -> Vec<&'static Row> {
    let rows: Vec<_> = ROWS
        .iter()
        .filter(|row| classes.contains(&&*row.class))
        .collect();
    assert!(rows.len() > 20, "{} rows of {classes:?}", rows.len());
    rows
}

#[derive(Clone, Debug)]
enum Step {
    /// An attempt begins: at which row's provider, with which key, by whom, for which model.
    Begin {
        row: Index,
        own_key: bool,
        holder: u8,
        model: u8,
    },
    /// One that is under way fails as the row says, with other numbers; its organisation is named, or not.
    Fail {
        which: Index,
        number: u32,
        organization: u8,
    },
    Succeed(Index),
    Leave(Index),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<Index>(), any::<bool>(), 0_u8..3, 0_u8..3)
            .prop_map(|(row, own_key, holder, model)| Step::Begin { row, own_key, holder, model }),
        6 => (any::<Index>(), 1_u32..100, 0_u8..4)
            .prop_map(|(which, number, organization)| Step::Fail { which, number, organization }),
        1 => any::<Index>().prop_map(Step::Succeed),
        1 => any::<Index>().prop_map(Step::Leave),
        1 => (0_u64..20_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..150)
}

/// Other counts and other waits, none so long that a foreign provider's word of a quota would be believed.
fn other_numbers(text: &str, number: u32) -> Cow<'_, str> {
    static COUNTS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?P<what>Limit:? |Used:? |Requested:? |in )(?P<n>\d+)(?P<rest>(\.\d+)?(ms|s)?\b)",
        )
        .unwrap()
    });
    COUNTS.replace_all(text, |found: &Captures<'_>| {
        format!("{}{number}{}", &found["what"], &found["rest"])
    })
}

/// The targets of a case, each made once.
#[derive(Default)]
struct Targets(HashMap<(String, bool, u8, u8), Arc<Target>>);

impl Targets {
    fn get(&mut self, row: &Row, own_key: bool, holder: u8, model: u8) -> Arc<Target> {
        let id = u32::try_from(self.0.len()).unwrap();
        // A caller's key is told by the caller, not by the upstream.
        let key = if own_key { holder } else { 0 };
        let at = (row.provider.name.to_string(), own_key, key, model);
        let target = self.0.entry(at).or_insert_with(|| {
            let name = format!("{}-{key}", row.provider.name);
            let secret = format!("secret-{key}");
            let mut upstream =
                (*support::upstream(&name, own_key.then_some(&secret), Limits::default())).clone();
            upstream.provider = Arc::clone(&row.provider);
            upstream.base_url = format!("https://{}.test/v1", row.provider.name)
                .parse()
                .unwrap();
            support::target(id, &format!("model-{model}"), &Arc::new(upstream))
        });
        Arc::clone(target)
    }
}

fn failure(row: &Row, target: &Arc<Target>, number: u32, organization: u8) -> Error {
    let mut headers = HeaderMap::new();
    for (name, value) in &row.headers {
        headers.insert(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        );
    }
    if organization > 0 {
        let named = HeaderValue::try_from(format!("org-{organization}")).unwrap();
        headers.insert("openai-organization", named.clone());
        headers.insert("openai-project", named);
    }
    let body = other_numbers(&row.body, number);
    let verdict = judge(
        &target.upstream.provider,
        &Evidence {
            status: row.status,
            headers: &headers,
            body: body.as_bytes(),
            transport: row.transport,
            endpoint: &row.endpoint,
        },
    );
    assert_eq!(verdict.class.as_str(), row.class, "{}: {body}", row.id);
    Error::Upstream(Arc::new(Failure {
        seen: crate::failures::Seen::default(),
        after_content: false,
        verdict,
        target: Arc::clone(target),
        answer: None,
        what: "recorded".to_owned(),
        own_key: target.upstream.key != UpstreamKey::Passthrough,
        begun: false,
        unsent: false,
    }))
}

type Opened = (Scope, Class);

/// What opened, and whether every circuit ends as if nothing had ever happened.
fn play(rows: &[&Row], steps: &[Step], callers_keys_only: bool) -> (Vec<Opened>, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let heard: Arc<Mutex<Vec<Opened>>> = Arc::default();
        let hook = Arc::clone(&heard);
        let circuits = Arc::new(Circuits::new(rules()).with_hook(Arc::new(move |change| {
            if change.to != State::Closed {
                hook.lock().unwrap().push((change.scope, change.class));
            }
        })));
        let mut targets = Targets::default();
        let mut running: Vec<(Permit, &Row, Arc<Target>)> = Vec::new();
        let pick = |which: &Index, running: &Vec<_>| {
            (!running.is_empty()).then(|| which.index(running.len()))
        };
        for step in steps {
            match step {
                Step::Begin {
                    row,
                    own_key,
                    holder,
                    model,
                } => {
                    let row = rows[row.index(rows.len())];
                    let target = targets.get(row, *own_key && !callers_keys_only, *holder, *model);
                    if let Ok(permit) = circuits.admit(&attempt(&target, u64::from(*holder), 0)) {
                        running.push((permit, row, target));
                    }
                }
                Step::Fail {
                    which,
                    number,
                    organization,
                } => {
                    if let Some(n) = pick(which, &running) {
                        let (permit, row, target) = running.swap_remove(n);
                        permit.failed(&failure(row, &target, *number, *organization));
                    }
                }
                Step::Succeed(which) => {
                    if let Some(n) = pick(which, &running) {
                        let (permit, ..) = running.swap_remove(n);
                        permit.answered(&mut support::answer());
                    }
                }
                Step::Leave(which) => {
                    if let Some(n) = pick(which, &running) {
                        drop(running.swap_remove(n));
                    }
                }
                Step::Wait(ms) => advance(Duration::from_millis(*ms)).await,
            }
        }
        drop(running);
        let opened = heard.lock().unwrap().clone();
        (opened, circuits.is_spotless())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the numbers, whoever's keys, whatever organisation answers.
    #[test]
    fn no_sequence_of_passing_limits_opens_anything(steps in steps()) {
        let (opened, spotless) = play(&of(PASSING), &steps, false);
        prop_assert!(opened.is_empty() && spotless, "{opened:?}");
    }

    /// Every 429 and 402 that is no matter of money, the day's limits and overloads too: these may close a target, and
    /// for a caller's key a target to that key; never a key, a project or an organisation, and never for money.
    #[test]
    fn no_sequence_of_429s_opens_a_billing_circuit(steps in steps()) {
        let passing: Vec<_> = ROWS
            .iter()
            .filter(|row| matches!(row.status, 402 | 429))
            .filter(|row| !row.class.parse::<Class>().unwrap().is_billing())
            .collect();
        let (opened, _) = play(&passing, &steps, false);
        prop_assert!(opened.iter().all(|(scope, class)| *scope == Scope::Model && !class.is_billing()), "{opened:?}");
    }

    #[test]
    fn no_sequence_of_callers_mistakes_opens_anything(steps in steps()) {
        let (opened, spotless) = play(&of(MISTAKES), &steps, false);
        prop_assert!(opened.is_empty() && spotless, "{opened:?}");
    }

    /// A caller's own bad key, missing right or wrong model is the caller's mistake, too.
    #[test]
    fn no_sequence_of_mistakes_with_callers_keys_opens_anything(steps in steps()) {
        let all = [MISTAKES, MISTAKES_WITH_OWN_KEY].concat();
        let (opened, spotless) = play(&of(&all), &steps, true);
        prop_assert!(opened.is_empty() && spotless, "{opened:?}");
    }
}

/// So that the properties above are not true of everything.
#[test]
fn a_single_empty_account_opens_a_gate() {
    let rows: Vec<_> = of(&["quota_exhausted", "billing_hard_limit", "billing_inactive"]);
    let opening = rows.iter().filter(|row| {
        let steps = [
            Step::Begin {
                row: index(),
                own_key: true,
                holder: 0,
                model: 0,
            },
            Step::Fail {
                which: index(),
                number: 7,
                organization: 1,
            },
        ];
        let (opened, _) = play(&[row], &steps, false);
        !opened.is_empty()
    });
    let opening = opening.count();
    // Some are about one too dear request, and open nothing.
    assert!(
        opening * 10 >= rows.len() * 8,
        "{opening} of {}",
        rows.len()
    );
}

fn index() -> Index {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    any::<Index>()
        .new_tree(&mut TestRunner::deterministic())
        .unwrap()
        .current()
}
