//! The parts without a network; with one: `tests/it/alerts.rs`.

mod incidents;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    attempt::{Next, next, pause},
    event::{Event, Kind, clean},
    incidents::{Incidents, Moment},
    outbox::{self, Outbox},
    sign, slack, words,
};
use crate::{
    config::{AlertKey, AlertTopic},
    triage::{Class, Scope},
};

fn opened() -> Event {
    let mut all = Incidents::default();
    let change = incidents::change(true, Scope::Organization, "org-1");
    let now = Moment {
        at: tokio::time::Instant::now(),
        wall: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    };
    all.changed(now, change, true)
        .expect("the first opening is told")
}

#[test]
fn the_event_has_every_documented_field_and_no_other() {
    let event: Value = serde_json::from_slice(&opened().to_json()).expect("JSON");
    let mut names: Vec<_> = event.as_object().expect("an object").keys().collect();
    names.sort();
    let page = include_str!("../../docs/alerts.md");
    let (_, table) = page
        .split_once("| field |")
        .expect("the page lists the fields");
    let table = table.split("\n\n").next().unwrap_or_default();
    let mut documented: Vec<_> = table
        .lines()
        .skip(2)
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| {
            cell.split(',')
                .map(|name| name.trim().trim_matches('`').to_owned())
        })
        .collect();
    documented.sort();
    assert_eq!(names.into_iter().cloned().collect::<Vec<_>>(), documented);
    assert_eq!(event["type"], "circuit.opened");
    assert_eq!(event["time"], "2027-01-15T08:00:00.000Z");
    assert_eq!(event["scope"], "organization");
    assert_eq!(event["duration_seconds"], Value::Null);
}

#[test]
fn ids_differ_between_events() {
    assert_ne!(opened().id, opened().id);
}

#[test]
fn the_signature_is_that_of_the_standards_own_example() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let key = BASE64_STANDARD
        .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        .expect("Base64");
    let signed = sign::signature(
        &AlertKey::new(key),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn slack_gets_a_notification_and_blocks_within_its_bounds() {
    let mut event = opened();
    event.advice = Some("Use <b> & `more`".to_owned());
    event.missed_events = 3;
    let message: Value = serde_json::from_slice(&slack::body(&event)).expect("JSON");
    assert_eq!(
        message["text"],
        "Circuit opened: organization org-1 at openai (quota_exhausted)"
    );
    let blocks = message["blocks"].as_array().expect("blocks");
    let types: Vec<_> = blocks.iter().map(|block| &block["type"]).collect();
    assert_eq!(
        types,
        [&json!("section"), &json!("section"), &json!("context")]
    );
    let said = blocks[0]["text"]["text"].as_str().expect("text");
    assert!(said.contains("*Do:* Use &lt;b&gt; &amp; `more`"), "{said}");
    let fields = blocks[1]["fields"].as_array().expect("fields");
    assert!(fields.len() <= 10, "{fields:?}");
    let fields = fields.iter().map(|f| f["text"].as_str().expect("text"));
    let fields: Vec<_> = fields.collect();
    for field in [
        "*Class*\n`quota_exhausted`",
        "*Scope*\n`organization org-1`",
        "*Since*\n`2027-01-15T08:00:00Z`",
        "*First request*\n`req_1`",
        "*Last request*\n`req_2`",
    ] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
    let foot = blocks[2]["elements"][0]["text"].as_str().expect("text");
    assert!(foot.contains("3 earlier alerts did not arrive"), "{foot}");
}

#[test]
fn a_full_outbox_drops_the_oldest_and_the_next_says_so() {
    let mut outbox = Outbox::default();
    let event = |n: usize| Event::new(Kind::Test, AlertTopic::Trouble, &n.to_string());
    for n in 0..outbox::MAX {
        assert!(!outbox.push(event(n)));
    }
    assert!(outbox.push(event(outbox::MAX)) && outbox.push(event(outbox::MAX + 1)));
    let first = outbox.take().expect("it is full");
    assert_eq!((first.title.as_str(), first.missed_events), ("2", 2));
    outbox.lost(&first);
    let second = outbox.take().expect("there are more");
    assert_eq!((second.title.as_str(), second.missed_events), ("3", 3));
    assert_eq!(outbox.take().map(|event| event.missed_events), Some(0));
    assert_eq!(outbox.clear(), outbox::MAX as u64 - 3);
}

#[test]
fn what_can_get_better_is_tried_again_and_nothing_else() {
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        let told = Some(Duration::from_secs(3));
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(next(status, told), Next::Again(told));
    }
    for status in [200, 201, 202, 204] {
        assert_eq!(
            next(StatusCode::from_u16(status).expect("a status"), None),
            Next::Done
        );
    }
    for status in [301, 302, 307, 400, 401, 403, 404, 410, 413, 415, 422, 418] {
        let next = next(StatusCode::from_u16(status).expect("a status"), None);
        assert!(matches!(next, Next::Never(_)), "{status}");
    }
}

#[test]
fn texts_from_outside_are_one_line_bounded_and_no_links() {
    assert_eq!(clean("a\nb\tc\u{0}", 10), "a b c ");
    assert_eq!(
        clean("see https://evil.example/x", 99),
        "see https: //evil.example/x"
    );
    assert_eq!(clean(&"ö".repeat(1_000), 256).chars().count(), 256);
}

#[test]
fn every_class_that_opens_a_circuit_has_words_of_its_own() {
    use crate::triage::CircuitEffect;
    let dull = words::meaning(Class::Unknown);
    for class in Class::ALL {
        let opens = class.policy().circuit != CircuitEffect::Neutral;
        assert_eq!(words::meaning(*class) != dull, opens, "{class}");
    }
}

#[test]
fn causes_are_grouped_as_documented() {
    for (class, topic) in [
        (Class::QuotaExhausted, AlertTopic::Billing),
        (Class::AuthInvalid, AlertTopic::Credentials),
        (Class::Permission, AlertTopic::Credentials),
        (Class::RateLimitedDay, AlertTopic::Limits),
        (Class::ModelNotFound, AlertTopic::Models),
        (Class::Overloaded, AlertTopic::Trouble),
        (Class::Connection, AlertTopic::Trouble),
    ] {
        assert_eq!(words::topic(class), topic, "{class}");
    }
}

#[test]
fn durations_read_well() {
    for (seconds, expected) in [
        (0, "less than 1s"),
        (42, "42s"),
        (723, "12m 3s"),
        (7_261, "2h 1m"),
    ] {
        assert_eq!(words::duration(Duration::from_secs(seconds)), expected);
    }
}

proptest! {
    #[test]
    fn pauses_grow_to_a_bound_and_told_ones_are_kept(
        failed in 1_u32..100, told in proptest::option::of(0_u64..100_000), dice in 0.0..1.0_f64,
    ) {
        let told = told.map(Duration::from_secs);
        let pause = pause(failed, told, dice);
        prop_assert!(pause <= Duration::from_secs(300), "{pause:?}");
        prop_assert!(pause >= Duration::from_millis(375), "{pause:?}");
        if let Some(told) = told {
            prop_assert!(pause >= told.min(Duration::from_secs(300)));
        }
    }

    #[test]
    fn any_text_makes_a_sound_message(title in "\\PC{0,300}", key in ".{0,300}", advice in "[a-z&<>]{0,1500}") {
        let mut event = opened();
        event.title = clean(&title, 1_024);
        event.key = Some(clean(&key, 256));
        event.advice = Some(clean(&advice, 1_024));
        let message: Value = serde_json::from_slice(&slack::body(&event)).expect("JSON");
        let text = message["blocks"][0]["text"]["text"].as_str().expect("text");
        // Slack's bound of a section.
        prop_assert!(text.chars().count() <= 3_000);
        prop_assert!(serde_json::from_slice::<Value>(&event.to_json()).is_ok());
    }
}

#[test]
fn a_clock_before_1970_is_no_panic() {
    assert_eq!(sign::timestamp(UNIX_EPOCH - Duration::from_secs(1)), 0);
    assert!(sign::timestamp(SystemTime::now()) > 1_700_000_000);
}

#[test]
fn an_outage_that_goes_on_as_another_has_an_end_and_nobody_is_told_that_calls_are_served() {
    use crate::outage::{Certainty, Change, Ending, Outage, Verdict};
    let ended = Change {
        outage: Outage {
            what: Verdict::TheirModel,
            upstreams: vec!["openai".into()],
            model: Some("x".repeat(5_000).into()),
            since: SystemTime::now() - Duration::from_secs(90),
            certainty: Certainty::High,
            evidence: "30 of 30 failed".to_owned(),
            failing_share: 1.0,
            usual_first_token: None,
            first_token: None,
            last_attempt: SystemTime::now(),
        },
        ended: Some(Ending::Reattributed),
    };
    let event = Event::outage(&ended).expect("its beginning was told");
    assert_eq!(event.kind, Kind::OutageEnded);
    assert!(
        event.key.as_ref().is_some_and(|key| key.len() <= 256),
        "{event:?}"
    );
    let message = String::from_utf8(slack::body(&event)).expect("text");
    assert!(!message.contains("All calls are served again"), "{message}");
}
