//! Answers under a 200 that are none: whoever gives one is not the one whose words the caller reads.

use crate::support::{
    Step, Upstream, Weir, chat, in_time, named,
    upstream::{json, sse_head},
};

const CALM: &str = "[breaker]\nconsecutive = 1000\nmin_calls = 100000\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_200_that_is_no_answer_goes_to_the_next_target() {
    in_time(async {
        let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}"#;
        let cut = format!(r#"{{"id":"c","choices":[{{"index":0,"message":{{"content":"x"}}}}],{usage}"#);
        for body in [
            "null",
            "[]",
            "{}",
            r#"{"detail":"Internal error while generating"}"#,
            r#"{"object":"error","message":"Rate limit exceeded","type":"rate_limited","code":"1300"}"#,
            r#"[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]"#,
            r#"{"id":"g","choices":[{"index":0,"finish_reason":"error","message":{"content":"par"},"error":{"code":502,"message":"m"}}]}"#,
            &cut,
        ] {
            let answer = json(200, "", body);
            let first = Upstream::start(move |_, _| vec![Step::Send(answer.clone())]).await;
            let second = named("second").await;
            let weir = Weir::over_two_with(&first.base_url(), &second.base_url(), "", CALM);
            let answer = chat("hi", false).send(weir.addr).await;
            assert_eq!((answer.status, answer.header("x-sim-name")), (200, "second"), "{body}: {}", answer.text());
            assert!(!first.seen().is_empty(), "{body}: the first was asked");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_without_an_envelope_in_a_stream_keeps_its_meaning() {
    in_time(async {
        let data = r#"{"object":"error","message":"You have no credits remaining.","type":"insufficient_quota","code":"credit_balance_exhausted"}"#;
        let event = format!("data: {data}\n\n");
        let first = Upstream::start(move |_, _| vec![Step::Send(sse_head()), Step::Send(event.clone().into()), Step::Close]).await;
        let weir = Weir::over(&first.base_url(), "");
        let answer = chat("hi", true).send(weir.addr).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(answer.code(), "credit_balance_exhausted");
        assert_eq!(answer.header("x-weir-class"), "quota_exhausted");
        let advice = answer.header("x-weir-advice");
        for word in ["payment record", "balance", "organization", "project", "auto recharge", "usage limit"] {
            assert!(advice.contains(word), "{word}: {advice}");
        }
    })
    .await;
}
