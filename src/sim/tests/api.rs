//! Endpoints, account and control, as a client sees them.

use serde_json::{Value, json};

use super::raw::{chat, chat_body, get, plain, post, send, start};
use crate::sim::{Fault, Key, Limits, Settings};

#[tokio::test]
async fn the_same_request_has_the_same_bytes_whatever_runs_beside_it() {
    let (one, other) = (plain().await, plain().await);
    let alone = chat(&one, "hello", false).await;
    let beside = async {
        let all = (0..20).map(|at| {
            let text = if at % 2 == 0 {
                "hello".to_owned()
            } else {
                format!("other {at}")
            };
            let other = &other;
            async move { chat(other, &text, false).await.body }
        });
        futures_util::future::join_all(all).await
    }
    .await;
    for (at, body) in beside.iter().enumerate() {
        assert_eq!(*body == alone.body, at % 2 == 0);
    }
    let reseeded = start(Settings {
        seed: 2,
        ..Settings::default()
    })
    .await;
    assert_ne!(chat(&reseeded, "hello", false).await.body, alone.body);
}

#[tokio::test]
async fn the_same_form_has_the_same_answer_under_another_boundary() {
    let sim = plain().await;
    let ask = async |boundary: &str| {
        let headers = format!(
            "authorization: Bearer sk-one\r\ncontent-type: multipart/form-data; boundary={boundary}\r\n"
        );
        let body = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--{boundary}\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFFdata\r\n--{boundary}--\r\n"
        );
        send(
            &sim,
            "POST",
            "/v1/audio/transcriptions",
            &headers,
            body.as_bytes(),
        )
        .await
    };
    let first = ask("aaa").await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.body, ask("bbbbbb").await.body);
}

#[tokio::test]
async fn every_answer_carries_openai_s_headers() {
    let sim = plain().await;
    for answer in [
        chat(&sim, "hello", false).await,
        chat(&sim, "hello", true).await,
    ] {
        for name in [
            "x-request-id",
            "openai-organization",
            "openai-processing-ms",
            "x-ratelimit-limit-requests",
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-requests",
            "x-ratelimit-reset-tokens",
        ] {
            assert!(answer.headers.contains_key(name), "{name}");
        }
        assert_eq!(answer.headers["openai-version"], "2020-10-01");
    }
    let refused = send(&sim, "GET", "/v1/models", "", b"").await;
    assert_eq!(refused.status, 401);
    assert!(refused.headers["x-request-id"].starts_with("req_"));
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("You didn't provide an API key.")
    );
}

#[tokio::test]
async fn mistakes_are_answered_in_openai_s_words() {
    let sim = plain().await;
    let cases = [
        (
            "{",
            400,
            "We could not parse the JSON body of your request. (HINT:",
            Value::Null,
        ),
        (
            "{\"messages\":[]}",
            400,
            "you must provide a model parameter",
            Value::Null,
        ),
        (
            "{\"model\":\"gpt-9\",\"messages\":[]}",
            404,
            "The model `gpt-9` does not exist or you do not have access to it.",
            json!("model_not_found"),
        ),
        (
            "{\"model\":\"gpt-4o\"}",
            400,
            "Missing required parameter: 'messages'.",
            json!("missing_required_parameter"),
        ),
        (
            "{\"model\":\"gpt-4o\",\"messages\":[1]}",
            400,
            "Invalid type for 'messages[0]': expected an object, but got an integer instead.",
            json!("invalid_type"),
        ),
        (
            "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"temperature\":2.5}",
            400,
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 2.5 instead.",
            json!("decimal_above_max_value"),
        ),
    ];
    for (body, status, message, code) in cases {
        let answer = post(&sim, "/v1/chat/completions", body).await;
        let error = &answer.json()["error"];
        assert_eq!(answer.status, status, "{body}");
        assert!(
            error["message"].as_str().unwrap().starts_with(message),
            "{error}"
        );
        assert_eq!(error["code"], code, "{body}");
    }
    let lost = post(&sim, "/v1/chat/completion", "{}").await;
    assert_eq!(
        (lost.status, &lost.json()["error"]["message"]),
        (404, &json!("Invalid URL (POST /v1/chat/completion)"))
    );
    assert_eq!(get(&sim, "/v1/embeddings").await.status, 405);
}

#[tokio::test]
async fn an_echo_tells_the_hash_of_the_body_as_it_came() {
    let sim = plain().await;
    let body = format!(
        "{{ \"model\" : \"gpt-4o\",\n\t\"x\": 1e2, \"messages\":[{{\"role\":\"user\",\"content\":\"[sim:echo] {}\"}}]}}",
        "ä\\u00e9\\n".repeat(200_000)
    );
    let answer = post(&sim, "/v1/chat/completions", &body).await.json();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.contains(&format!(
        "blake3={} bytes={}",
        blake3::hash(body.as_bytes()).to_hex(),
        body.len()
    )));
    let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(content.starts_with(&format!("sha256={hex} ")), "{content}");
}

#[tokio::test]
async fn tools_are_called_until_their_result_is_there() {
    let sim = plain().await;
    let tools = json!([{"type": "function", "function": {"name": "look_up", "parameters": {
        "type": "object", "properties": {"n": {"type": "integer", "minimum": 5, "maximum": 6}}, "required": ["n"],
    }}}]);
    let user = json!({"role": "user", "content": "go"});
    let ask = json!({"model": "gpt-4o", "messages": [user], "tools": tools}).to_string();
    let choice = &post(&sim, "/v1/chat/completions", &ask).await.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = &choice["message"]["tool_calls"][0];
    let args: Value =
        serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert!((5..=6).contains(&args["n"].as_i64().unwrap()));
    let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "42"});
    let ask =
        json!({"model": "gpt-4o", "messages": [user, choice["message"], result], "tools": tools})
            .to_string();
    let choice = &post(&sim, "/v1/chat/completions", &ask).await.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert!(choice["message"]["content"].is_string());
}

#[tokio::test]
async fn the_balance_runs_out_at_list_prices_and_then_no_call_is_served() {
    // One answer of 1000 tokens of gpt-4o costs one cent and a little.
    let sim = start(Settings {
        balance_usd: Some(0.02),
        ..Settings::default()
    })
    .await;
    let mut served = 0;
    let refused = loop {
        let answer = chat(&sim, "[sim:tokens=1000]", false).await;
        if answer.status != 200 {
            break answer;
        }
        served += 1;
    };
    assert_eq!(served, 2);
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (429, &json!("insufficient_quota"))
    );
    assert!(sim.control().balance().unwrap() <= 0.0);
    sim.control().set_balance(Some(1.0));
    assert_eq!(chat(&sim, "hello", false).await.status, 200);
}

#[tokio::test]
async fn limits_refuse_with_numbers_that_fit_and_spare_refused_mistakes() {
    let limits = Limits {
        requests_per_minute: Some(2),
        ..Limits::default()
    };
    let sim = start(Settings {
        limits,
        ..Settings::default()
    })
    .await;
    assert_eq!(post(&sim, "/v1/chat/completions", "{").await.status, 400);
    let first = chat(&sim, "a", false).await;
    assert_eq!(first.headers["x-ratelimit-remaining-requests"], "1");
    assert_eq!(chat(&sim, "a", false).await.status, 200);
    let refused = chat(&sim, "a", false).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error"]["type"], "requests");
    let told: u64 = refused.headers["retry-after-ms"].parse().unwrap();
    assert!((29_000..=30_000).contains(&told), "{told}");
}

#[tokio::test]
async fn limits_are_set_changed_and_told_over_http() {
    let sim = start(Settings::default()).await;
    let limits =
        r#"{"requests_per_minute": 2, "headers": "none", "words": "plain", "retry_after": false}"#;
    assert_eq!(post(&sim, "/_sim/limits", limits).await.status, 204);
    assert_eq!(chat(&sim, "a", false).await.status, 200);
    assert_eq!(chat(&sim, "a", false).await.status, 200);
    let refused = chat(&sim, "a", false).await;
    assert_eq!(refused.status, 429);
    assert!(!refused.headers.contains_key("x-ratelimit-limit-requests"));
    assert!(!refused.headers.contains_key("retry-after"));
    sim.control().change_limits(Limits {
        requests_per_minute: Some(3),
        ..Limits::default()
    });
    assert_eq!(chat(&sim, "a", false).await.status, 200);
    assert_eq!(chat(&sim, "a", false).await.status, 429);
    let stats = sim.control().stats();
    let (pool, tally) = stats.limits.iter().next().unwrap();
    assert!(pool.ends_with(" gpt-4o"), "{pool}");
    assert_eq!((tally.admitted, tally.refusals()), (3, 2));
    assert_eq!(get(&sim, "/_sim/limits").await.json()["words"], "plain");
}

#[tokio::test]
async fn a_stream_is_under_way_until_its_end() {
    let limits = Limits {
        concurrency: Some(1),
        ..Limits::default()
    };
    let sim = start(Settings {
        limits,
        ..Settings::default()
    })
    .await;
    assert_eq!(chat(&sim, "a", true).await.status, 200);
    assert_eq!(chat(&sim, "b", true).await.status, 200);
    let tally = sim.control().stats().limits.into_values().next().unwrap();
    assert_eq!(
        (tally.admitted, tally.under_way, tally.most_under_way),
        (2, 0, 1)
    );
}

#[tokio::test]
async fn configured_keys_are_the_only_good_ones() {
    let key = Key {
        secret: "sk-one".into(),
        organization: "org-A".into(),
        project: Some("proj_a".into()),
    };
    let sim = start(Settings {
        keys: vec![key],
        ..Settings::default()
    })
    .await;
    let good = get(&sim, "/v1/models").await;
    assert_eq!(
        (
            &*good.headers["openai-organization"],
            &*good.headers["openai-project"]
        ),
        ("org-A", "proj_a")
    );
    let bad = send(
        &sim,
        "GET",
        "/v1/models",
        "authorization: Bearer sk-two-0123456789\r\n",
        b"",
    )
    .await;
    assert_eq!(bad.json()["error"]["code"], "invalid_api_key");
}

#[tokio::test]
async fn the_control_endpoint_injects_counts_and_logs() {
    let sim = plain().await;
    let injected = post(
        &sim,
        "/_sim/faults",
        "{\"error\":\"openai-insufficient-quota\",\"first\":1}",
    )
    .await;
    assert_eq!(injected.status, 200, "{}", injected.text());
    assert_eq!(chat(&sim, "a", false).await.status, 429);
    assert_eq!(chat(&sim, "a", false).await.status, 200);
    let faults = get(&sim, "/_sim/faults").await.json();
    assert_eq!(
        (&faults[0]["matched"], &faults[0]["fired"]),
        (&json!(2), &json!(1))
    );
    let log = get(&sim, "/_sim/log").await.json();
    assert_eq!(
        log.as_array().unwrap().len(),
        2,
        "calls of the control endpoint are not logged"
    );
    assert_eq!(log[0]["outcome"], "fault:openai-insufficient-quota");
    assert_eq!(log[1]["body"], chat_body("a", false));
    assert!(!log.to_string().contains("sk-one"), "keys never show");
    assert_eq!(
        get(&sim, "/_sim/stats").await.json()["by_status"],
        json!({"200": 1, "429": 1})
    );
    let wrong = post(&sim, "/_sim/faults", "{\"error\":\"nope\"}").await;
    assert_eq!(wrong.status, 400);
    assert_eq!(post(&sim, "/_sim/reset", "").await.status, 204);
    assert!(sim.control().faults().is_empty() && sim.control().log().is_empty());
}

#[tokio::test]
async fn a_recorded_failure_is_sent_as_it_was_recorded() {
    let sim = plain().await;
    for row in crate::sim::rows()
        .iter()
        .filter(|row| row.provider == "openai" && row.transport.is_none())
    {
        sim.control()
            .inject(Fault::error(&row.id).times(1))
            .unwrap();
        let answer = chat(&sim, "a", false).await;
        assert_eq!(answer.status, row.status, "{}", row.id);
        assert!(answer.whole, "{}", row.id);
        if row.body.is_object() {
            assert_eq!(answer.json(), row.body, "{}", row.id);
        }
        for (name, value) in &row.headers {
            assert_eq!(
                answer.headers.get(&name.to_ascii_lowercase()),
                Some(value),
                "{}",
                row.id
            );
        }
    }
}

#[tokio::test]
async fn a_stored_response_can_be_read_and_deleted() {
    let sim = plain().await;
    let made = post(
        &sim,
        "/v1/responses",
        "{\"model\":\"gpt-4o\",\"input\":\"hi\"}",
    )
    .await
    .json();
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    assert_eq!(get(&sim, &path).await.json(), made);
    assert_eq!(
        send(
            &sim,
            "DELETE",
            &path,
            "authorization: Bearer sk-one\r\n",
            b""
        )
        .await
        .json()["deleted"],
        true
    );
    assert_eq!(get(&sim, &path).await.status, 404);
}

#[tokio::test]
async fn the_log_keeps_the_newest_requests_and_lets_the_old_ones_go() {
    let sim = start(Settings {
        log_capacity: 3,
        ..Settings::default()
    })
    .await;
    for at in 0..5 {
        chat(&sim, &format!("number {at}"), false).await;
    }
    let log = sim.control().log();
    assert_eq!(log.iter().map(|one| one.id).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(log[2].body.as_deref(), Some(&*chat_body("number 4", false)));
    assert_eq!(sim.control().stats().requests, 5);
}

#[tokio::test]
async fn h2_by_prior_knowledge_is_served_too() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let sim = plain().await;
    let socket = tokio::net::TcpStream::connect(sim.addr()).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://sim/v1/chat/completions")
        .header("authorization", "Bearer sk-one")
        .body(Full::new(bytes::Bytes::from(chat_body("a", true))))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(
        (response.version(), response.status().as_u16()),
        (http::Version::HTTP_2, 200)
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"));
}
