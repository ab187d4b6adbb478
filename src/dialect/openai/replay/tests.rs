//! There and back again; and what must not be replayed.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn chat() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "gpt-4o-2024-08-06",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hé\n\"llo", "refusal": null,
                "reasoning_content": "hm", "annotations": [{"type": "url_citation"}]},
             "logprobs": {"content": [{"token": "H", "logprob": -0.5}], "refusal": null},
             "finish_reason": "stop", "content_filter_results": {"hate": {"filtered": false}}},
            {"index": 1, "message": {"role": "assistant", "content": null, "refusal": null,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                    {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
             "logprobs": null, "finish_reason": "tool_calls"},
            {"index": 2, "message": {"role": "assistant", "content": null, "refusal": "No."},
             "logprobs": null, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "service_tier": "default", "system_fingerprint": "fp_1", "vendor_field": [1]
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn joined(events: &[Bytes]) -> Bytes {
    events.concat().into()
}

#[test]
fn a_chat_survives_the_way_there_and_back() {
    let events = chat_to_stream(&bytes(&chat()), true).unwrap();
    let back = stream_to_chat([joined(&events)], None).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&back).unwrap(), chat());
}

#[test]
fn a_replayed_chat_has_the_official_order() {
    let mut whole = chat();
    whole["choices"].as_array_mut().unwrap().truncate(1);
    let events = chat_to_stream(&bytes(&whole), true).unwrap();
    let mut machine = Machine::new(Endpoint::ChatCompletions, 1);
    let meanings: Vec<_> = events
        .iter()
        .map(|event| machine.feed(&Event::parse(event.clone()).as_ref()))
        .collect();
    assert_eq!(
        meanings.first(),
        Some(&Meaning::Lifecycle),
        "the role comes alone"
    );
    assert_eq!(meanings.last(), Some(&Meaning::End));
    assert!(machine.saw_finish_reason() && machine.usage().is_some());
    let plain = chat_to_stream(&bytes(&whole), false).unwrap();
    assert_eq!(
        plain.len(),
        events.len() - 1,
        "no usage chunk unless asked for"
    );
    assert!(
        plain
            .iter()
            .all(|event| memchr::memmem::find(event, b"\"usage\"").is_none())
    );
}

#[test]
fn pieces_are_joined_by_choice_and_call() {
    let stream = [
        json!({"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":1,"delta":{"role":"assistant","content":""},"finish_reason":null}],"obfuscation":"zz"}),
        json!({"id":"c","choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}}]}),
        json!({"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}},{"index":0,"function":{"arguments":"{\"a\""}}]}}]}),
        json!({"id":"c","choices":[{"index":1,"delta":{"content":"one "}},{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}),
        json!({"id":"c","choices":[{"index":1,"delta":{"content":"two"},"finish_reason":"stop"},{"index":0,"delta":{},"finish_reason":"tool_calls"}]}),
    ];
    let mut text: Vec<u8> = stream
        .iter()
        .flat_map(|chunk| sse::data(&bytes(chunk)))
        .collect();
    text.extend_from_slice(&sse::DONE);
    let usage = Usage {
        input: 3,
        output: 4,
        ..Usage::default()
    };
    // In chunks of seven bytes: the wire cuts where it likes.
    let chunks: Vec<_> = text.chunks(7).map(Bytes::copy_from_slice).collect();
    assert_eq!(
        stream_to_chat(chunks.clone(), None),
        Err(ReplayError::Missing("usage"))
    );
    let whole: Value =
        serde_json::from_slice(&stream_to_chat(chunks, Some(usage)).unwrap()).unwrap();
    assert_eq!(
        whole["choices"][0]["message"]["tool_calls"],
        json!([
            {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
            {"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}},
        ])
    );
    assert_eq!(whole["choices"][0]["message"]["content"], Value::Null);
    assert_eq!(whole["choices"][1]["message"]["content"], "one two");
    assert_eq!(whole["usage"]["total_tokens"], 7);
    assert_eq!(whole["object"], "chat.completion");
    assert!(whole.get("obfuscation").is_none());
}

#[test]
fn what_is_not_whole_or_cannot_be_carried_is_refused() {
    let mut cut = chat();
    cut["choices"][0]["finish_reason"] = Value::Null;
    assert_eq!(
        chat_to_stream(&bytes(&cut), false),
        Err(ReplayError::NotWhole)
    );
    let mut sound = chat();
    sound["choices"][0]["message"]["audio"] = json!({"data": "AAAA"});
    assert_eq!(
        chat_to_stream(&bytes(&sound), false),
        Err(ReplayError::NotCarried("sound"))
    );
    let mut silent = chat();
    silent["usage"] = Value::Null;
    assert_eq!(
        chat_to_stream(&bytes(&silent), true),
        Err(ReplayError::Missing("usage"))
    );
    assert_eq!(
        chat_to_stream(br#"{"error":{"code":1},"choices":[]}"#, false),
        Err(ReplayError::NotWhole)
    );
    let events = chat_to_stream(&bytes(&chat()), true).unwrap();
    for end in 0..events.len() {
        assert_eq!(
            stream_to_chat([joined(&events[..end])], None),
            Err(ReplayError::NotWhole),
            "{end}"
        );
    }
}

#[test]
fn a_completion_survives_the_way_there_and_back() {
    let whole = json!({"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[
        {"text":"abc","index":0,"logprobs":{"tokens":["abc"],"token_logprobs":[-1.0]},"finish_reason":"stop"},
        {"text":"","index":1,"logprobs":null,"finish_reason":"length"}],
        "usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}});
    let events = completions_to_stream(&bytes(&whole), true).unwrap();
    let back = stream_to_completions([joined(&events)], None).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&back).unwrap(), whole);
}

fn response() -> Value {
    json!({"id":"resp_1","object":"response","status":"completed","error":null,"model":"gpt-5","output":[
        {"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"think"}],"encrypted_content":"e"},
        {"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search"}},
        {"id":"fc_1","type":"function_call","call_id":"call_1","name":"f","arguments":"{}","status":"completed"},
        {"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[
            {"type":"output_text","text":"Hi","annotations":[{"type":"url_citation"}],"logprobs":[]},
            {"type":"refusal","refusal":"no"}]}],
        "usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}})
}

#[test]
fn a_response_survives_the_way_there_and_back_byte_for_byte() {
    let events = responses_to_stream(&bytes(&response())).unwrap();
    let back = stream_to_responses([joined(&events)]).unwrap();
    assert_eq!(back, bytes(&response()));
}

#[test]
fn a_replayed_response_tells_every_step() {
    let events: Vec<Event> = responses_to_stream(&bytes(&response()))
        .unwrap()
        .into_iter()
        .map(Event::parse)
        .collect();
    let names: Vec<_> = events
        .iter()
        .map(|event| String::from_utf8(event.name.clone().unwrap().to_vec()).unwrap())
        .collect();
    insta::assert_snapshot!(names.join("\n"), @r"
    response.created
    response.in_progress
    response.output_item.added
    response.reasoning_summary_part.added
    response.reasoning_summary_text.delta
    response.reasoning_summary_text.done
    response.reasoning_summary_part.done
    response.output_item.done
    response.output_item.added
    response.web_search_call.in_progress
    response.web_search_call.searching
    response.web_search_call.completed
    response.output_item.done
    response.output_item.added
    response.function_call_arguments.delta
    response.function_call_arguments.done
    response.output_item.done
    response.output_item.added
    response.content_part.added
    response.output_text.delta
    response.output_text.annotation.added
    response.output_text.done
    response.content_part.done
    response.content_part.added
    response.refusal.delta
    response.refusal.done
    response.content_part.done
    response.output_item.done
    response.completed
    ");
    for (number, event) in events.iter().enumerate() {
        let data: Value = serde_json::from_slice(&event.data).unwrap();
        assert_eq!(data["sequence_number"], number);
        assert_eq!(data["type"], names[number].as_str());
    }
    let created: Value = serde_json::from_slice(&events[0].data).unwrap();
    assert_eq!(created["response"]["status"], "in_progress");
    assert_eq!(created["response"]["output"], json!([]));
}

#[test]
fn a_failed_or_unfinished_response_is_refused() {
    for status in ["failed", "in_progress", "queued", "cancelled"] {
        let mut response = response();
        response["status"] = status.into();
        assert_eq!(
            responses_to_stream(&bytes(&response)),
            Err(ReplayError::NotWhole)
        );
    }
    let events = responses_to_stream(&bytes(&response())).unwrap();
    let cut = joined(&events[..events.len() - 1]);
    assert_eq!(stream_to_responses([cut]), Err(ReplayError::NotWhole));
}

proptest! {
    #[test]
    fn any_text_survives_any_cut(content in "(a|é|\\n|\"|\\\\|data: |\\[DONE\\]|😀){1,12}", arguments in any::<String>(), size in 1..50usize) {
        let mut whole = chat();
        whole["choices"][0]["message"]["content"] = content.into();
        whole["choices"][1]["message"]["tool_calls"][0]["function"]["arguments"] = arguments.into();
        let events = chat_to_stream(&bytes(&whole), true).unwrap();
        let text = joined(&events);
        let back = stream_to_chat(text.chunks(size).map(Bytes::copy_from_slice), None).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&back).unwrap(), whole);
    }
}
