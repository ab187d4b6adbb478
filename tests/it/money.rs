//! Out of credit is known at the first failure; a caller's own mistake is nobody's outage.

use weir::sim::Fault;

use crate::support::{Weir, chat, in_time, named, post, sim};

/// Out of credit as providers say it: the old code, the new one, and the 400 that is a matter of money.
const OUT_OF_CREDIT: [(u16, &str, &str); 4] = [
    (429, "insufficient_quota", r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#),
    (429, "credits_exhausted", r#"{"error":{"message":"Your organization has run out of credits.","type":"insufficient_quota","param":null,"code":"credits_exhausted"}}"#),
    (400, "billing_hard_limit_reached", r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#),
    (400, "null", r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":null}}"#),
];

fn said(status: u16, body: &str) -> Fault {
    Fault { body: Some(body.to_owned()), ..Fault::status(status) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_credit_fails_over_at_the_first_one_and_is_not_asked_again() {
    in_time(async {
        for (status, code, body) in OUT_OF_CREDIT {
            let (first, second) = (named("first").await, named("second").await);
            first.control().inject(said(status, body)).unwrap();
            let weir = Weir::over_two(&first.base_url(), &second.base_url(), "");
            for turn in 0..5 {
                let answer = chat("hi", turn % 2 == 1).send(weir.addr).await;
                assert_eq!((answer.status, answer.header("x-sim-name")), (200, "second"), "{code}");
            }
            assert_eq!(first.control().stats().requests, 1, "{code}: once is enough to know");
            assert_eq!(second.control().stats().requests, 5);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_fallback_out_of_credit_costs_the_provider_one_call_and_reaches_the_caller_verbatim() {
    in_time(async {
        for (status, code, body) in OUT_OF_CREDIT {
            let first = sim().await;
            first.control().inject(said(status, body)).unwrap();
            let weir = Weir::over(&first.base_url(), "");
            for turn in 0..4 {
                // As the SDK repeats: it says so in a header.
                let answer = chat("hi", false).header("x-stainless-retry-count", &turn.to_string()).send(weir.addr).await;
                assert_eq!((answer.status, answer.text().as_str()), (status, body), "{code}");
                assert_eq!(answer.header("x-should-retry"), "false", "{code}");
                assert!(!answer.header("x-weir-advice").is_empty(), "{code} comes with advice");
            }
            assert_eq!(first.control().stats().requests, 1, "{code}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_own_account_out_of_credit_is_no_matter_of_other_callers() {
    in_time(async {
        let first = sim().await;
        first.control().inject(Fault { keys: vec!["sk-poor".to_owned()], ..said(429, OUT_OF_CREDIT[0].2) }).unwrap();
        let weir = Weir::passing(&first.base_url(), "");
        for _ in 0..3 {
            let answer = chat("hi", false).header("authorization", "Bearer sk-poor").send(weir.addr).await;
            assert_eq!(answer.status, 429);
        }
        let answer = chat("hi", false).header("authorization", "Bearer sk-rich").send(weir.addr).await;
        assert_eq!(answer.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_never_fails_over() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "");
        let cases = [
            post("/v1/chat/completions", r#"{"model":"gpt-4o"}"#),
            post("/v1/chat/completions", r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"temperature":9}"#),
            post("/v1/chat/completions", "{ this is no JSON"),
        ];
        for case in cases {
            let answer = case.send(weir.addr).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
            assert_eq!(answer.header("x-sim-name"), "first");
            assert_eq!(answer.header("x-should-retry"), "false");
            assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        }
        assert_eq!((first.control().stats().requests, second.control().stats().requests), (3, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_all_calls_being_bad_requests_opens_no_circuit() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "[breaker]\nconsecutive = 3\nmin_calls = 10\n");
        for turn in 0..60 {
            // Also ten in a row.
            let bad = turn % 2 == 0 || (20..30).contains(&turn);
            let case = if bad { post("/v1/chat/completions", r#"{"model":"gpt-4o"}"#) } else { chat("hi", turn % 3 == 0) };
            let answer = case.send(weir.addr).await;
            assert_eq!(answer.status, if bad { 400 } else { 200 });
            assert_eq!(answer.header("x-sim-name"), "first");
        }
        assert_eq!(weir.metric("weir_breaker_state", &[]), 0.0);
        assert_eq!(second.control().stats().requests, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_do_not_hide_an_outage() {
    in_time(async {
        let (first, second) = (named("first").await, named("second").await);
        let weir = Weir::over_two(&first.base_url(), &second.base_url(), "[breaker]\nconsecutive = 4\n");
        first.control().inject(Fault { every: Some(2), ..Fault::status(400) }).unwrap();
        first.control().inject(Fault::status(503)).unwrap();
        for _ in 0..24 {
            chat("hi", false).send(weir.addr).await;
        }
        assert!(weir.metric("weir_breaker_state", &["upstream=\"first\""]) >= 1.0, "503 after 503, only bad requests between");
    })
    .await;
}
