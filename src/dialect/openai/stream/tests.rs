//! Streams as the providers send them, whole, cut and broken.
//!
//! What it costs, for whoever changes it (optimised build, one busy core, best of 60 runs): finding
//! and understanding a chat chunk of 320 bytes 345 ns, of which 50 ns for the inspector; a
//! Responses delta 255 ns; a chunk that is cut in two every 100 bytes 500 ns.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sse::{Inspector, data, named};

fn run(endpoint: Endpoint, text: &str) -> (Vec<Meaning>, Machine) {
    let mut machine = Machine::new(endpoint, 1);
    let mut meanings = Vec::new();
    let mut inspector = Inspector::default();
    inspector
        .feed(text.as_bytes(), |event| meanings.push(machine.feed(&event)))
        .unwrap();
    inspector.finish(|event| meanings.push(machine.feed(&event)));
    (meanings, machine)
}

fn chat(events: &[&str]) -> (Vec<Meaning>, Machine) {
    let text: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    run(Endpoint::ChatCompletions, &text)
}

const ROLE: &str = r#"{"id":"c","model":"gpt-4o-x","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}"#;
const TEXT: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str =
    r#"{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

#[test]
fn a_whole_chat_is_followed_to_its_end() {
    use Meaning::{Comment, End, Lifecycle, Semantic};
    let text = format!(
        ": hi\n\ndata: {ROLE}\n\ndata: {TEXT}\n\ndata: {STOP}\n\ndata: {USAGE}\n\ndata: [DONE]\n\n"
    );
    let (meanings, machine) = run(Endpoint::ChatCompletions, &text);
    assert_eq!(
        meanings,
        [Comment, Lifecycle, Semantic, Semantic, Semantic, End]
    );
    assert!(machine.complete_at_eof() && machine.saw_done() && machine.saw_finish_reason());
    assert_eq!(machine.output_chars(), 5);
    assert_eq!(
        machine.usage().map(|u| (u.input, u.output, u.exact)),
        Some((3, 2, true))
    );
    assert_eq!(machine.model(), Some("gpt-4o-x"));
    assert_eq!(machine.service_tier(), Some(ServiceTier::Default));
}

#[test]
fn a_cut_chat_is_not_whole_and_its_output_is_estimated() {
    for cut in [
        &[ROLE][..],
        &[ROLE, TEXT],
        &[ROLE, TEXT, r#"{"choices":[{"index":0,"delta":{"con"#],
    ] {
        assert!(!chat(cut).1.complete_at_eof());
    }
    let usage = chat(&[ROLE, TEXT]).1.usage_or_estimate(9);
    assert_eq!((usage.input, usage.output, usage.exact), (9, 2, false));
    assert!(chat(&[ROLE, TEXT, STOP]).1.complete_at_eof());
    assert!(chat(&[ROLE, TEXT, "[DONE]"]).1.complete_at_eof());
    assert!(!chat(&["[DONE]"]).1.complete_at_eof());
    assert!(!chat(&[]).1.complete_at_eof());
}

#[test]
fn text_that_looks_like_an_end_is_text() {
    let fake = r#"{"choices":[{"index":0,"delta":{"content":"\"finish_reason\":\"stop\"}]} [DONE] data: [DONE]\n\n"},"finish_reason":null}]}"#;
    let exact =
        r#"{"choices":[{"index":0,"delta":{"content":"finish_reason"},"finish_reason":null}]}"#;
    let error = r#"{"choices":[{"index":0,"delta":{"content":"{\"error\":{\"code\":1}}"},"finish_reason":null}]}"#;
    let done = r#"{"choices":[{"index":0,"delta":{"content":"[DONE]"},"finish_reason":null}]}"#;
    let (meanings, machine) = chat(&[ROLE, fake, exact, error, done]);
    assert!(
        meanings[1..]
            .iter()
            .all(|meaning| *meaning == Meaning::Semantic)
    );
    assert!(!machine.complete_at_eof() && !machine.saw_finish_reason() && !machine.saw_done());
}

#[test]
fn every_choice_must_finish() {
    let mut machine = Machine::new(Endpoint::ChatCompletions, 2);
    let mut feed = |text: &str| {
        let event = sse::Event::parse(data(text.as_bytes()));
        machine.feed(&event.as_ref());
        machine.complete_at_eof()
    };
    assert!(!feed(STOP), "the second choice has not begun");
    assert!(!feed(
        r#"{"choices":[{"index":1,"delta":{"content":"x"},"finish_reason":null}]}"#
    ));
    assert!(feed(
        r#"{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#
    ));
}

#[test]
fn tool_calls_reasoning_and_refusals_are_progress() {
    for delta in [
        r#"{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":""}}]}"#,
        r#"{"reasoning_content":"hm"}"#,
        r#"{"refusal":"no"}"#,
        r#"{"function_call":{"name":"f","arguments":"{}"}}"#,
        r#"{"role":"assistant","content":[{"type":"text","text":"x"}]}"#,
    ] {
        let event =
            format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        assert_eq!(chat(&[&event]).0, [Meaning::Semantic], "{delta}");
    }
    for delta in [
        r#"{"tool_calls":[]}"#,
        r#"{"content":null,"reasoning":""}"#,
        "{}",
    ] {
        let event =
            format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        assert_eq!(chat(&[&event]).0, [Meaning::Lifecycle], "{delta}");
    }
}

#[test]
fn errors_without_an_envelope_are_errors_and_messages_within_chunks_are_not() {
    for data in [
        r#"{"object":"error","message":"Rate limit exceeded","type":"rate_limited","code":"1300"}"#,
        r#"{"detail":"Internal error"}"#,
        r#"[{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]"#,
    ] {
        let (meanings, machine) = chat(&[data]);
        assert_eq!(meanings, [Meaning::Error(0..data.len())], "{data}");
        assert!(machine.failed());
    }
    for data in [
        r#"{"id":"c","choices":[],"message":"note"}"#,
        r#"{"message":""}"#,
        r#"{"message":{"role":"assistant","content":"x"}}"#,
    ] {
        assert_eq!(chat(&[data]).0, [Meaning::Lifecycle], "{data}");
    }
}

#[test]
fn errors_in_a_chat_stream_are_found_where_they_stand() {
    let ranged = |event: &str| {
        let (meanings, machine) = chat(&[ROLE, event, "[DONE]"]);
        assert!(!machine.complete_at_eof(), "{event}");
        let Meaning::Error(range) = meanings[1].clone() else {
            panic!("{event}")
        };
        event[range].to_owned()
    };
    assert_eq!(
        ranged(r#"{"error":{"message":"m","code":500}}"#),
        r#"{"message":"m","code":500}"#
    );
    assert_eq!(
        ranged(
            r#"{"id":"g","error":{"code":429},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#
        ),
        r#"{"code":429}"#
    );
    assert!(
        ranged(
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"insufficient_system_resource"}]}"#
        )
        .starts_with("{\"index\"")
    );
    assert_eq!(
        chat(&[r#"{"error":null,"choices":[]}"#]).0,
        [Meaning::Lifecycle]
    );
}

#[test]
fn data_that_is_not_json_is_malformed() {
    for bad in [
        "",
        "hello",
        "{\"choices\":[",
        "[1,2]",
        "{\"choices\":[{\"index\" 0}]}",
        "<html>",
    ] {
        let (meanings, machine) = chat(&[bad]);
        assert_eq!(
            (meanings, machine.malformed()),
            (vec![Meaning::Malformed], 1),
            "{bad}"
        );
    }
}

#[test]
fn legacy_completions_are_followed() {
    let text = "data: {\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":null}]}\n\n\
        data: {\"choices\":[{\"text\":\"abc\",\"index\":0,\"finish_reason\":null}]}\n\n\
        data: {\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}]}\n\n";
    let (meanings, machine) = run(Endpoint::Completions, text);
    assert_eq!(
        meanings,
        [Meaning::Lifecycle, Meaning::Semantic, Meaning::Semantic]
    );
    assert!(machine.complete_at_eof());
    assert_eq!(machine.output_chars(), 3);
}

fn responses(events: &[(&str, &str)]) -> (Vec<Meaning>, Machine) {
    let text: Vec<u8> = events
        .iter()
        .flat_map(|(name, rest)| {
            let body = format!("{{\"type\":\"{name}\"{rest}}}");
            named(name, body.as_bytes())
        })
        .collect();
    run(Endpoint::Responses, std::str::from_utf8(&text).unwrap())
}

#[test]
fn a_whole_response_is_followed_to_its_end() {
    use Meaning::{End, Lifecycle, Semantic};
    let (meanings, machine) = responses(&[
        (
            "response.created",
            r#","sequence_number":0,"response":{"model":"gpt-5","error":null,"service_tier":"auto"}"#,
        ),
        ("response.in_progress", r#","response":{}"#),
        (
            "response.output_item.added",
            r#","item":{"type":"message"}"#,
        ),
        ("response.content_part.added", ""),
        (
            "response.output_text.delta",
            r#","sequence_number":4,"delta":"abcd""#,
        ),
        ("response.output_text.done", r#","text":"abcd""#),
        (
            "response.completed",
            r#","sequence_number":6,"response":{"service_tier":"flex","usage":{"input_tokens":1,"output_tokens":2}}"#,
        ),
    ]);
    assert_eq!(
        meanings,
        [
            Lifecycle, Lifecycle, Lifecycle, Lifecycle, Semantic, Semantic, End
        ]
    );
    assert!(machine.complete_at_eof());
    assert_eq!((machine.output_chars(), machine.sequence()), (4, Some(6)));
    assert_eq!(machine.usage().map(|usage| usage.total()), Some(3));
    assert_eq!(machine.service_tier(), Some(ServiceTier::Flex));
    assert_eq!(machine.model(), Some("gpt-5"));
}

#[test]
fn a_response_that_fails_or_ends_early_is_not_whole() {
    let (meanings, machine) = responses(&[(
        "response.failed",
        r#","response":{"status":"failed","error":{"code":"server_error"}}"#,
    )]);
    let Meaning::Error(range) = meanings[0].clone() else {
        panic!()
    };
    let body = r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}}"#;
    assert_eq!(&body[range], r#"{"code":"server_error"}"#);
    assert!(!machine.complete_at_eof());
    let (meanings, _) = responses(&[("error", r#","code":"server_error","message":"m""#)]);
    assert!(matches!(&meanings[0], Meaning::Error(range) if range.start == 0));
    let (_, machine) = responses(&[("response.output_text.delta", r#","delta":"x""#)]);
    assert!(!machine.complete_at_eof());
    assert!(
        responses(&[("response.incomplete", r#","response":{}"#)])
            .1
            .complete_at_eof()
    );
}

#[test]
fn other_streams_end_with_their_last_event_or_unknown() {
    let delta = r#"data: {"type":"transcript.text.delta","delta":"x"}"#;
    let last = r#"data: {"type":"transcript.text.done","text":"x","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let run = |text: &str| run(Endpoint::AudioTranscriptions, text);
    assert!(!run(&format!("{delta}\n\n")).1.complete_at_eof());
    let (meanings, machine) = run(&format!("{delta}\n\n{last}\n\n"));
    assert_eq!(meanings, [Meaning::Semantic, Meaning::End]);
    assert!(machine.complete_at_eof() && machine.usage().is_some());
    assert!(run("data: {\"x\":1}\n\n").1.complete_at_eof());
    assert!(!run("event: error\ndata: oh\n\n").1.complete_at_eof());
}

proptest! {
    /// Whatever a model says, in text or in arguments, ends no stream and fails none.
    #[test]
    fn no_text_passes_for_an_end(text in prop_oneof![any::<String>(), "(\"finish_reason\"|\"error\"|:|\"stop\"|[{}\\[\\],\\\\]|\\[DONE\\]|\n\n|data: ){1,8}"]) {
        for delta in [json!({ "content": text }), json!({ "tool_calls": [{ "index": 0, "function": { "arguments": text } }] })] {
            let event = json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }).to_string();
            let (meanings, machine) = chat(&[&event]);
            prop_assert!(matches!(meanings[..], [Meaning::Semantic | Meaning::Lifecycle]), "{:?}", meanings);
            prop_assert!(!machine.complete_at_eof());
        }
        let event = json!({ "type": "response.output_text.delta", "delta": text }).to_string();
        let (meanings, machine) = run(Endpoint::Responses, &format!("data: {event}\n\n"));
        prop_assert_eq!(meanings, vec![if text.is_empty() { Meaning::Lifecycle } else { Meaning::Semantic }]);
        prop_assert!(!machine.complete_at_eof());
    }

    #[test]
    fn any_bytes_have_a_meaning(text in prop::collection::vec(any::<u8>(), 0..80)) {
        for endpoint in Endpoint::ALL {
            let mut machine = Machine::new(endpoint, 1);
            let event = sse::Event::parse(data(&text));
            if let Meaning::Error(range) = machine.feed(&event.as_ref()) {
                prop_assert!(event.data.get(range).is_some());
            }
        }
    }
}
