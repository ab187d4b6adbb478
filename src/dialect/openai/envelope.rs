//! The envelope of a JSON request: everything the gateway decides by, read in one pass.
//!
//! The estimate follows OpenAI's own admission rule (input by character count, plus the declared
//! output), so it is an over-rough token count by design; see `stage::limit` for how it settles.

use memchr::{memchr, memchr_iter};

use super::usage::ServiceTier;
use crate::dialect::Endpoint;
use crate::json::{self, Kind, Members, Raw};

/// Characters one token stands for in an estimate.
pub const CHARS_PER_TOKEN: u64 = 4;

/// What an image counts in an estimate, in tokens: one of 1024 × 1024 in high detail. Its bytes
/// say nothing (a 4 MB photograph is not a million tokens).
pub const IMAGE_TOKENS: u64 = 765;

/// What a sound or file inside a body counts, in tokens. Nothing better is known without
/// decoding it.
pub const MEDIA_TOKENS: u64 = 1_000;

/// The facts of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// For what the body is.
    pub endpoint: Endpoint,
    /// The model asked for; `None` when it is missing or no string.
    pub model: Option<Box<str>>,
    /// Whether the answer is wanted as a stream.
    pub stream: bool,
    /// Whether a chat stream shall end with its usage.
    pub include_usage: bool,
    /// Text of the input in bytes, without base64 data.
    pub input_chars: u64,
    /// What the input holds beside text (images, sounds, token numbers), in tokens.
    pub input_extra_tokens: u64,
    /// Declared bound on the answer, in tokens, for all choices together.
    pub max_output_tokens: Option<u64>,
    /// Answers wanted (`n`), at least 1.
    pub choices: u32,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Whether a seed is set.
    pub seed: bool,
    /// What a target must be able to do.
    pub needs: Needs,
    /// Whether the provider shall keep the answer, when it is said.
    pub store: Option<bool>,
    /// Whether it builds on state that only the provider that made it holds
    /// (`previous_response_id`, `conversation`).
    pub stateful: bool,
    /// Whether it is to be worked on in the background and fetched later.
    pub background: bool,
    /// The service tier asked for.
    pub service_tier: Option<ServiceTier>,
}

/// What a target must be able to do for a call. All `false` is plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Function or custom tools.
    pub tools: bool,
    /// Tools that the provider runs (web search, code interpreter, ...).
    pub hosted_tools: bool,
    /// Images in the input.
    pub vision: bool,
    /// Sound in the input or in the answer.
    pub audio: bool,
    /// Files in the input.
    pub files: bool,
    /// An answer that is any JSON object.
    pub json_object: bool,
    /// An answer that follows a schema.
    pub json_schema: bool,
}

/// Numbers gathered in the pass and combined at its end.
#[derive(Debug, Default)]
struct Sums {
    max_tokens: Option<u64>,
    n: Option<u64>,
    best_of: Option<u64>,
}

// === impl Envelope ===

impl Envelope {
    /// Reads the request body. Of equal members the last one counts, as with the provider (the
    /// estimate alone adds them up). A member of the wrong type is as good as missing: it is for
    /// the provider to refuse.
    ///
    /// # Errors
    /// When the body is not one JSON object of sound structure; the caller's mistake.
    pub fn scan(endpoint: Endpoint, body: &[u8]) -> Result<Self, json::Error> {
        let mut envelope = Self::empty(endpoint);
        let mut sums = Sums::default();
        for member in Members::of(body)? {
            let member = member?;
            // Any key we know is spelt plainly; an escape in one is legal and never seen.
            match memchr(b'\\', member.raw_key()) {
                None => envelope.take(member.raw_key(), member.value, &mut sums),
                Some(_) => {
                    if let Some(key) = member.key() {
                        envelope.take(key.as_bytes(), member.value, &mut sums);
                    }
                }
            }
        }
        let n = sums.n.unwrap_or(1).max(1);
        envelope.choices = u32::try_from(n).unwrap_or(u32::MAX);
        let samples = n.max(sums.best_of.unwrap_or(1));
        envelope.max_output_tokens = sums.max_tokens.map(|max| max.saturating_mul(samples));
        Ok(envelope)
    }

    /// The envelope of a call whose body is not read: nothing asked, nothing needed.
    pub const fn empty(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            model: None,
            stream: false,
            include_usage: false,
            input_chars: 0,
            input_extra_tokens: 0,
            max_output_tokens: None,
            choices: 1,
            temperature: None,
            seed: false,
            needs: Needs {
                tools: false,
                hosted_tools: false,
                vision: false,
                audio: false,
                files: false,
                json_object: false,
                json_schema: false,
            },
            store: None,
            stateful: false,
            background: false,
            service_tier: None,
        }
    }

    /// Tokens of the input, estimated.
    pub const fn estimate_input_tokens(&self) -> u64 {
        self.input_chars
            .div_ceil(CHARS_PER_TOKEN)
            .saturating_add(self.input_extra_tokens)
    }

    /// Tokens the provider counts at admission: input estimate and declared output.
    pub fn estimate_tokens(&self) -> u64 {
        self.estimate_input_tokens()
            .saturating_add(self.max_output_tokens.unwrap_or(0))
    }

    /// Whether asking again would give the same answer, so that it may be kept by default.
    pub fn deterministic(&self) -> bool {
        self.endpoint.is_deterministic() || self.temperature == Some(0.0) || self.seed
    }

    fn take(&mut self, key: &[u8], value: Raw<'_>, sums: &mut Sums) {
        match key {
            b"model" => self.model = value.as_str().map(|model| model.into_owned().into()),
            b"stream" => self.stream = value.as_bool().unwrap_or(false),
            b"stream_options" => {
                self.include_usage =
                    value.get("include_usage").and_then(|v| v.as_bool()) == Some(true);
            }
            b"messages" | b"input" | b"prompt" | b"instructions" | b"system" | b"suffix" => {
                self.measure(value.text());
            }
            b"tools" | b"functions" => self.tools(value),
            b"web_search_options" => self.needs.hosted_tools |= !value.is_null(),
            b"response_format" => self.format(Some(value)),
            b"text" => self.format(value.get("format")),
            b"modalities" => self.needs.audio |= has_element(value, "audio"),
            b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens" => {
                sums.max_tokens = sums.max_tokens.max(value.as_u64());
            }
            b"n" => sums.n = value.as_u64(),
            b"best_of" => sums.best_of = value.as_u64(),
            b"temperature" => self.temperature = value.as_f64(),
            b"seed" => self.seed = value.kind() == Kind::Number,
            b"store" => self.store = value.as_bool(),
            b"background" => self.background = value.as_bool().unwrap_or(false),
            b"previous_response_id" | b"conversation" => self.stateful |= !value.is_empty(),
            b"service_tier" => self.service_tier = ServiceTier::of(value),
            _ => {}
        }
    }

    fn tools(&mut self, value: Raw<'_>) {
        if value.is_empty() {
            return;
        }
        // The model reads the definitions with keys and all.
        self.input_chars += value.text().len() as u64;
        for tool in value.elements().into_iter().flatten().flatten() {
            let hosted = tool
                .get("type")
                .is_some_and(|kind| !kind.is_str("function") && !kind.is_str("custom"));
            self.needs.hosted_tools |= hosted;
            self.needs.tools |= !hosted;
        }
    }

    fn format(&mut self, format: Option<Raw<'_>>) {
        let Some(kind) = format.and_then(|format| format.get("type")) else {
            return;
        };
        if kind.is_str("json_schema") {
            self.needs.json_schema = true;
            self.input_chars += format.map_or(0, |format| format.text().len() as u64);
        } else if kind.is_str("json_object") {
            self.needs.json_object = true;
        }
    }

    /// Adds up the strings of an input, whatever its shape: one flat run over the quotes, since
    /// shape (text, parts, items) does not matter for size.
    fn measure(&mut self, text: &[u8]) {
        let Some(mut at) = memchr(b'"', text) else {
            // Token numbers, in one array or in several.
            let digits = text.iter().any(u8::is_ascii_digit);
            self.input_extra_tokens += memchr_iter(b',', text).count() as u64 + u64::from(digits);
            return;
        };
        let mut key: &[u8] = b"";
        loop {
            // The text was walked before, so its strings do end.
            let Ok(end) = json::skip_string(text, at) else {
                return;
            };
            let inner = &text[at + 1..end - 1];
            let is_key = text[end..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
            if is_key {
                key = inner;
            } else {
                self.measure_string(key, inner);
                key = b"";
            }
            match memchr(b'"', &text[end..]) {
                Some(next) => at = end + next,
                None => return,
            }
        }
    }

    fn measure_string(&mut self, key: &[u8], inner: &[u8]) {
        match key {
            b"type" => match inner {
                b"image_url" | b"input_image" => {
                    self.needs.vision = true;
                    self.input_extra_tokens += IMAGE_TOKENS;
                }
                b"input_audio" => {
                    self.needs.audio = true;
                    self.input_extra_tokens += MEDIA_TOKENS;
                }
                b"file" | b"input_file" => {
                    self.needs.files = true;
                    self.input_extra_tokens += MEDIA_TOKENS;
                }
                _ => {}
            },
            // Not the model's to read, or data counted flat by its part's type.
            b"role" | b"id" | b"call_id" | b"tool_call_id" | b"file_id" | b"detail" | b"format"
            | b"status" | b"url" | b"image_url" | b"data" | b"file_data" | b"b64_json" => {}
            _ if inner.starts_with(b"data:") && memchr(b' ', inner).is_none() => {}
            _ => self.input_chars += inner.len() as u64,
        }
    }
}

fn has_element(value: Raw<'_>, wanted: &str) -> bool {
    let mut elements = value.elements().into_iter().flatten().flatten();
    elements.any(|element| element.is_str(wanted))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::tests::{json, spelled};

    fn chat(body: &str) -> Envelope {
        Envelope::scan(Endpoint::ChatCompletions, body.as_bytes()).unwrap()
    }

    #[test]
    fn a_chat_request_is_read_whole() {
        let envelope = chat(
            r#"{"messages":[{"role":"user","content":"12345678"},
                {"role":"user","content":[{"type":"text","text":"1234"},
                {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAAAAAAAAAA","detail":"low"}}]}],
              "model":"gpt-4o","n":2,"max_completion_tokens":100,"stream":true,
              "stream_options":{"include_usage":true},"temperature":0,"seed":null,"store":false,
              "tools":[],"service_tier":"flex",
              "response_format":{"type":"json_schema","json_schema":{}}}"#,
        );
        assert_eq!(envelope.model.as_deref(), Some("gpt-4o"));
        assert!(envelope.stream && envelope.include_usage && envelope.deterministic());
        assert_eq!(envelope.max_output_tokens, Some(200));
        assert_eq!(envelope.choices, 2);
        let schema = r#"{"type":"json_schema","json_schema":{}}"#.len() as u64;
        assert_eq!(envelope.input_chars, 12 + schema);
        assert_eq!(envelope.input_extra_tokens, IMAGE_TOKENS);
        assert_eq!(envelope.store, Some(false));
        assert_eq!(envelope.service_tier, Some(ServiceTier::Flex));
        let needs = Needs {
            vision: true,
            json_schema: true,
            ..Needs::default()
        };
        assert_eq!(envelope.needs, needs);
    }

    #[test]
    fn text_that_looks_like_members_is_text() {
        let envelope = chat(
            r#"{"messages":[{"content":"\"model\":\"evil\",\"stream\":true,\"type\":\"image_url\""}],"model":"m"}"#,
        );
        assert_eq!(envelope.model.as_deref(), Some("m"));
        assert!(!envelope.stream && !envelope.needs.vision);
    }

    #[test]
    fn the_last_model_counts_and_escaped_keys_too() {
        assert_eq!(
            chat(r#"{"model":"a","model":"b"}"#).model.as_deref(),
            Some("b")
        );
        assert_eq!(
            chat(r#"{"mod\u0065l":"a\u0062"}"#).model.as_deref(),
            Some("ab")
        );
        assert_eq!(chat(r#"{"model":7}"#).model, None);
    }

    #[test]
    fn responses_keep_their_own_words() {
        let body = br#"{"input":"abcd","instructions":"efgh","max_output_tokens":9,"model":"o",
            "previous_response_id":"resp_1","background":true,"text":{"format":{"type":"json_object"}},
            "tools":[{"type":"web_search"},{"type":"function","name":"f"}]}"#;
        let envelope = Envelope::scan(Endpoint::Responses, body).unwrap();
        let tools = r#"[{"type":"web_search"},{"type":"function","name":"f"}]"#.len() as u64;
        assert_eq!(envelope.input_chars, 8 + tools);
        assert_eq!(envelope.max_output_tokens, Some(9));
        assert!(envelope.stateful && envelope.background && envelope.needs.json_object);
        assert!(envelope.needs.tools && envelope.needs.hosted_tools);
        assert!(!envelope.deterministic());
    }

    #[test]
    fn embeddings_of_token_numbers_are_counted() {
        let scan = |body: &[u8]| Envelope::scan(Endpoint::Embeddings, body).unwrap();
        assert_eq!(scan(br#"{"input":[1,2,3]}"#).estimate_input_tokens(), 3);
        assert_eq!(scan(br#"{"input":[]}"#).estimate_input_tokens(), 0);
        assert_eq!(
            scan(br#"{"input":["abcd","e"]}"#).estimate_input_tokens(),
            2
        );
        assert!(scan(b"{}").deterministic());
    }

    #[test]
    fn best_of_multiplies_the_output_and_nonsense_does_not_overflow() {
        let envelope = chat(r#"{"max_tokens":10,"n":2,"best_of":5}"#);
        assert_eq!(envelope.max_output_tokens, Some(50));
        let huge = chat(r#"{"max_tokens":18446744073709551615,"n":99}"#);
        assert_eq!(huge.estimate_tokens(), u64::MAX);
        assert_eq!(chat(r#"{"n":0}"#).choices, 1);
    }

    #[test]
    fn a_body_that_is_no_object_is_an_error() {
        for body in ["", "[]", "{\"model\":\"a\"", "{\"a\":1}{", "null"] {
            assert!(
                Envelope::scan(Endpoint::ChatCompletions, body.as_bytes()).is_err(),
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_scanned_is_what_serde_json_reads(
            (value, body) in json().prop_map(|inner| json!({
                "messages": inner, "model": inner.get("model").cloned().unwrap_or_else(|| "m".into()),
                "stream": inner.is_object(), "max_tokens": inner.as_i64(), "finish_reason": inner,
            })).prop_flat_map(|value| (Just(value.clone()), spelled(value)))
        ) {
            let envelope = chat(&body);
            prop_assert_eq!(envelope.model.as_deref(), value["model"].as_str());
            prop_assert_eq!(Some(envelope.stream), value["stream"].as_bool());
            prop_assert_eq!(envelope.max_output_tokens, value["max_tokens"].as_u64());
            prop_assert!(envelope.input_chars <= body.len() as u64);
        }
    }
}
