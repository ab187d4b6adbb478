//! What headers and refusals tell.

use super::*;

#[test]
fn every_vendors_headers_have_their_own_names_and_forms() {
    let start = Instant::now();
    let told = |style| {
        let limits = Limits {
            requests_per_minute: Some(60),
            tokens_per_minute: Some(6_000),
            input_tokens_per_minute: Some(60_000),
            requests_per_day: Some(1_000),
            headers: Some(style),
            ..Limits::default()
        };
        let mut meter = Meter::new(limits, 1, start);
        let admitted = meter.admit(start, "m", Ask::text(200, 50)).unwrap();
        admitted.headers(SystemTime::UNIX_EPOCH)
    };
    let openai = told(HeaderStyle::Openai);
    assert_eq!(header(&openai, "x-ratelimit-remaining-tokens"), "5750");
    assert_eq!(header(&openai, "x-ratelimit-reset-tokens"), "2.5s");
    let azure = told(HeaderStyle::Azure);
    assert_eq!(header(&azure, "x-ratelimit-reset-tokens"), "3");
    assert_eq!(header(&azure, "x-ratelimit-renewalperiod-requests"), "60");
    let anthropic = told(HeaderStyle::Anthropic);
    assert_eq!(
        header(&anthropic, "anthropic-ratelimit-requests-reset"),
        "1970-01-01T00:00:01Z"
    );
    assert_eq!(
        header(&anthropic, "anthropic-ratelimit-input-tokens-remaining"),
        "60000"
    );
    let groq = told(HeaderStyle::Groq);
    assert_eq!(header(&groq, "x-ratelimit-limit-requests"), "1000");
    assert_eq!(header(&groq, "x-ratelimit-reset-requests"), "1m26.4s");
    let mistral = told(HeaderStyle::Mistral);
    assert_eq!(header(&mistral, "x-ratelimit-remaining-req-minute"), "59");
    assert_eq!(header(&mistral, "x-ratelimit-tokens-query-cost"), "250");
    let cerebras = told(HeaderStyle::Cerebras);
    assert_eq!(
        header(&cerebras, "x-ratelimit-reset-tokens-minute"),
        "2.500"
    );
    assert_eq!(
        header(&told(HeaderStyle::MinusOne), "x-ratelimit-limit-requests"),
        "-1"
    );
    assert_eq!(
        header(&told(HeaderStyle::Zero), "x-ratelimit-remaining-tokens"),
        "0"
    );
    assert!(told(HeaderStyle::None).is_empty());
}

#[test]
fn stale_headers_repeat_what_they_told_half_a_minute_ago() {
    let start = Instant::now();
    let limits = Limits {
        headers: Some(HeaderStyle::Stale),
        ..per_minute(100)
    };
    let mut meter = Meter::new(limits, 1, start);
    let mut remaining = |at| {
        let admitted = meter
            .admit(start + Duration::from_secs(at), "m", Ask::default())
            .unwrap();
        header(
            &admitted.headers(SystemTime::UNIX_EPOCH),
            "x-ratelimit-remaining-requests",
        )
    };
    assert_eq!(
        (remaining(0), remaining(0), remaining(0)),
        ("99".into(), "99".into(), "99".into())
    );
    assert_eq!(remaining(30), "99");
    assert_eq!(remaining(31), "99");
}

#[test]
fn a_plain_refusal_tells_no_number_and_may_tell_no_wait() {
    let now = Instant::now();
    let refused = |retry_after| {
        let limits = Limits {
            words: Some(Words::Plain),
            headers: Some(HeaderStyle::None),
            retry_after,
            ..per_minute(1)
        };
        let mut meter = Meter::new(limits, 1, now);
        call(&mut meter, now, "m", 1).unwrap();
        meter.admit(now, "m", Ask::default()).unwrap_err()
    };
    let silent = refused(Some(false));
    assert!(
        !silent.body().contains(|c: char| c.is_ascii_digit()),
        "{}",
        silent.body()
    );
    assert!(silent.headers(SystemTime::UNIX_EPOCH).is_empty());
    assert_eq!(silent.wait, Some(MINUTE));
    assert_eq!(
        header(
            &refused(None).headers(SystemTime::UNIX_EPOCH),
            "retry-after"
        ),
        "60"
    );
}
