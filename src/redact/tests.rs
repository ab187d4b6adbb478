use std::borrow::Cow;

use proptest::prelude::*;

use super::redact;

/// Every known kind of key, with enough of its length. `{}` marks where random characters go.
const KINDS: &[(&str, &str, usize)] = &[
    ("sk-", "sk-", 48),
    ("sk-proj-", "sk-proj-", 80),
    ("sk-svcacct-", "sk-svcacct-", 60),
    ("sk-admin-", "sk-admin-", 60),
    ("sess-", "sess-", 40),
    ("sk-ant-api03-", "sk-ant-api03-", 90),
    ("sk-ant-admin01-", "sk-ant-admin01-", 90),
    ("sk-ant-oat01-", "sk-ant-oat01-", 90),
    ("AIza", "AIza", 35),
    ("ya29.", "ya29.", 60),
    ("GOCSPX-", "GOCSPX-", 28),
    ("gsk_", "gsk_", 52),
    ("xai-", "xai-", 80),
    ("sk-or-v1-", "sk-or-v1-", 64),
    ("pplx-", "pplx-", 48),
    ("hf_", "hf_", 34),
    ("r8_", "r8_", 37),
    ("ghp_", "ghp_", 36),
    ("github_pat_", "github_pat_", 70),
    ("xoxb-", "xoxb-", 50),
    ("wk-", "wk-", 43),
    ("nvapi-", "nvapi-", 64),
    ("eyJ", "eyJhbGciOiJIUzI1NiJ9.eyJ", 40),
    ("AKIA", "AKIA", 16),
    (
        "hooks.slack.com/services/",
        "https://hooks.slack.com/services/T0/B0/",
        24,
    ),
];

/// Places where any secret must go, whatever its look.
const PLACES: &[(&str, &str)] = &[
    ("Authorization: Bearer ", "\n"),
    ("> authorization: Basic ", "\r\n"),
    ("-H 'Api-Key: ", "' https://x"),
    ("x-api-key: ", "\n"),
    ("X-Goog-Api-Key: ", "\n"),
    ("Cookie: session=", "; other=1\n"),
    ("set-cookie: __cf_bm=", "; path=/\n"),
    ("GET https://h/v1?key=", "&alt=sse HTTP/1.1"),
    ("https://h/?api_key=", " "),
    ("https://h/?x=1&token=", " "),
    ("{\"api_key\": \"", "\"}"),
    ("{'api_key': '", "'}"),
    ("{\\\"api_key\\\": \\\"", "\\\"}"),
    ("apiKey: '", "',"),
    ("export AZURE_OPENAI_API_KEY=", "\n"),
    ("MISTRAL_API_KEY=\"", "\"\n"),
    ("postgres://weir:", "@db.example/weir"),
    ("Incorrect API key provided: ", ". You can find"),
    ("{\"name\": \"Authorization\", \"value\": \"Bearer ", "\"}"),
    ("('authorization', 'Bearer ", "')"),
    ("(b'x-api-key', b'", "')"),
    ("aws_secret_access_key = ", "\n"),
    ("\"aws_secret_access_key\": \"", "\","),
    ("your subscription key is ", " now"),
];

fn secret(length: usize) -> impl Strategy<Value = String> {
    // A digit makes sure that it looks random.
    proptest::string::string_regex(&format!("[A-Za-z0-9]{{{}}}7", length - 1)).expect("a pattern")
}

/// No stretch of the secret is left.
fn gone(secret: &str, text: &str) -> bool {
    let bytes: Vec<_> = secret.chars().collect();
    bytes
        .windows(10.min(bytes.len()))
        .all(|part| !text.contains(&part.iter().collect::<String>()))
}

proptest! {
    #[test]
    fn no_key_of_a_known_kind_survives_in_any_text(
        (kind, body) in (0..KINDS.len()).prop_flat_map(|kind| (Just(kind), secret(KINDS[kind].2))),
        before in ".{0,40}", after in ".{0,40}", upper in any::<bool>(),
    ) {
        let (_, prefix, _) = KINDS[kind];
        let body = if prefix == "AKIA" || upper { body.to_uppercase() } else { body };
        let text = format!("{before}{prefix}{body}{after}");
        let clean = redact(&text);
        prop_assert!(gone(&body, &clean), "{text} -> {clean}");
    }

    #[test]
    fn the_kind_can_still_be_read(
        (kind, body) in (0..KINDS.len()).prop_flat_map(|kind| (Just(kind), secret(KINDS[kind].2))),
    ) {
        let (shown, prefix, _) = KINDS[kind];
        let body = if prefix == "AKIA" { body.to_uppercase() } else { body };
        let clean = redact(&format!("key ({prefix}{body})")).into_owned();
        prop_assert!(clean.ends_with(&format!("{shown}***)")), "{clean}");
    }

    #[test]
    fn no_secret_of_any_look_survives_in_its_place(
        place in 0..PLACES.len(), secret in secret(32), before in "[ -~]{0,30}[ \n]", after in "[ -~]{0,30}",
    ) {
        let (left, right) = PLACES[place];
        let text = format!("{before}{left}{secret}{right}{after}");
        let clean = redact(&text);
        prop_assert!(gone(&secret, &clean), "{text} -> {clean}");
    }

    #[test]
    fn twice_is_once(
        parts in prop::collection::vec((0..PLACES.len() + KINDS.len(), secret(30), ".{0,12}"), 0..4),
    ) {
        let text: String = parts.iter().map(|(at, secret, between)| match PLACES.get(*at) {
            Some((left, right)) => format!("{between}{left}{secret}{right}"),
            None => format!("{between}{}{secret}", KINDS[*at - PLACES.len()].1),
        }).collect();
        let once = redact(&text).into_owned();
        prop_assert_eq!(&*redact(&once), &*once);
    }

    #[test]
    fn any_text_at_all_is_survived(text in "\\PC{0,200}") {
        let once = redact(&text).into_owned();
        prop_assert_eq!(&*redact(&once), &*once);
    }
}

#[test]
fn ordinary_texts_are_untouched() {
    for text in [
        "Rate limit reached for gpt-4o in organization org-AbCdEfGhIjKlMnOpQrStUvWx on tokens per min (TPM): Limit 30000, Used 14567, Requested 24754. Please try again in 18.642s.",
        "Project `proj_AbCdEfGhIjKlMnOpQrStUvWx` does not have access to model `gpt-4o-mini-2024-07-18`",
        "x-request-id: req_0123456789abcdef0123456789abcdef",
        "chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ01, resp_0123456789abcdef0123456789abcdef0123456789abcdef, wr_6920f5230123456789abcdef",
        "cf-ray: 8f2a1b3c4d5e6f70-FRA",
        "apim-request-id: 5f0e2f43-8b7c-4b52-9a1f-0d3c2b1a0f9e",
        "claude-3-5-sonnet-20241022, meta-llama/Llama-3.3-70B-Instruct-Turbo-Free, gemini-2.0-flash-exp",
        "the API key is missing; no api-key was sent",
        "Missing Bearer token in the Authorization header",
        "www-authenticate: Bearer realm=\"OpenAI API\"",
        "{\"max_tokens\": 4096, \"total_tokens\": 123456789, \"token\": \"Hello\"}",
        "code: 'invalid_api_key', param: null, type: 'invalid_request_error'",
        "curl -H \"Authorization: Bearer $OPENAI_API_KEY\" https://api.openai.com/v1/models",
        "task-management, risk-assessment-of-2024, disk-0123456789",
        "blake3:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "import sk-learn",
    ] {
        assert_eq!(redact(text), text);
        assert!(
            matches!(redact(text), Cow::Borrowed(_))
                || text.contains("key")
                || text.contains("uth"),
            "{text}"
        );
    }
}

#[test]
fn keys_that_providers_quote_in_part_are_hidden_whole() {
    for (text, clean) in [
        (
            "Incorrect API key provided: sk-ab***xyz. You can find",
            "Incorrect API key provided: sk-***. You can find",
        ),
        (
            "Incorrect API key provided: sk-pr**********abcd.",
            "Incorrect API key provided: sk-***.",
        ),
        (
            "Incorrect API key provided: sk-proj-********************abcd.",
            "Incorrect API key provided: sk-proj-***.",
        ),
        ("Received API Key = sk-...aB3d", "Received API Key = sk-***"),
        (
            "Incorrect API key provided: foo*******r123.",
            "Incorrect API key provided: ***.",
        ),
        ("gsk_…abcd", "gsk_***"),
    ] {
        assert_eq!(redact(text), clean);
    }
}

#[test]
fn places_lose_their_secret_and_nothing_else() {
    for (text, clean) in [
        (
            "authorization: Bearer sk-proj-0123456789abcdef\r\nx-request-id: req_1",
            "authorization: Bearer sk-proj-***\r\nx-request-id: req_1",
        ),
        (
            "Cookie: a=b; c=d\nHost: api.openai.com",
            "Cookie: ***\nHost: api.openai.com",
        ),
        (
            "https://user:pa@ss@proxy.example:3128/path",
            "https://***@proxy.example:3128/path",
        ),
        (
            "POST /v1beta/models/gemini-2.0-flash:generateContent?key=abc&alt=sse",
            "POST /v1beta/models/gemini-2.0-flash:generateContent?key=***&alt=sse",
        ),
        (
            "from jane.doe+x@example.co.uk to gpt-4",
            "from ***@*** to gpt-4",
        ),
        (
            "body={\\\"error\\\":1}\\nsk-0123456789abcdef",
            "body={\\\"error\\\":1}\\nsk-***",
        ),
        ("api-key: 0123456789abcdef0123456789abcdef", "api-key: ***"),
        (
            "{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMIIEvQ+/=\\n-----END PRIVATE KEY-----\\n\"}",
            "{\"private_key\": \"***\\nMIIEvQ",
        ),
    ] {
        let got = redact(text);
        if clean.contains("MIIE") {
            assert!(!got.contains("MIIEvQ"), "{got}");
        } else {
            assert_eq!(got, clean);
        }
    }
}

#[test]
fn a_key_of_weirs_own_is_hidden() {
    let key = crate::cli::keys::NewKey::random().expect("randomness");
    assert_eq!(redact(key.key()), "wk-***");
}
