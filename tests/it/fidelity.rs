//! Bytes in are bytes out.

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    Step, Upstream, Weir, ask, chat, eventually, in_time, post, sim,
    upstream::{CHAT, chunk, content, finish, json, role, sse_chunked},
};

/// Bodies that a parser would not give back as they are.
fn odd_bodies() -> Vec<String> {
    vec![
        "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}".to_owned(),
        "  {\r\n\t\"model\" :\"gpt-4o\" ,\n \"unknown\": {\"deep\":[1.0,1e5,-0,1.10,12345678901234567890123]},\n\"messages\": [ {\"content\":\"\\u00e9\\n\\/ \\ud83d\\ude00 é 😀\", \"role\":\"user\"} ] }\n\n ".to_owned(),
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"metadata\":{\"model\":\"decoy\"},\"model\":\"gpt-4o\",\"stop\":\"\\u0000\",\"stream\":false,\"x\":null,\"x\":1}".to_owned(),
        "{\"model\":\"gpt-3.5\",\"seed\":1,\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"twice\"}]}".to_owned(),
        format!("{{\"model\":\"gpt-4o\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}", "wörd \\\"quoted\\\" ".repeat(8 * 1024 * 1024 / 19)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_reach_the_provider_byte_for_byte() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::passing(&upstream.base_url(), "");
        for (index, body) in odd_bodies().into_iter().enumerate() {
            let answer = post("/v1/chat/completions?api-version=1&x=%20y", body.clone())
                .header("openai-beta", "x=1")
                .send(weir.addr)
                .await;
            assert_eq!(answer.status, 200, "body {index}: {}", answer.text());
            let seen = upstream.seen().pop().unwrap();
            assert!(seen.body == body.as_bytes(), "body {index} came changed");
            assert_eq!(seen.path(), "/v1/chat/completions?api-version=1&x=%20y");
            assert_eq!(seen.header("openai-beta"), Some("x=1"));
            assert_eq!(
                seen.header("content-length"),
                Some(&*body.len().to_string())
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_reach_the_caller_byte_for_byte_with_the_providers_own_headers() {
    in_time(async {
        let body = "\n {\"id\" : \"x\",\"choices\":[ {\"message\":{\"content\":\"\\u00e9 😀 é \\/\"}} ],\"new\":{\"b\":1,\"a\":1.50},\"usage\":null}\r\n\r\n";
        let headers = "x-request-id: req_1\r\nopenai-organization: acme\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 5000\r\nx-ratelimit-reset-tokens: 6ms\r\nset-cookie: a=1; Path=/\r\nset-cookie: b=2\r\ncf-ray: 1-FRA\r\nserver: cloudflare\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nconnection: keep-alive, x-hop\r\nx-hop: gone\r\nkeep-alive: timeout=5\r\nx-odd-header: \"q;=,\"\r\n";
        for status in [200, 201, 400, 404, 422] {
            let upstream = Upstream::saying(json(status, headers, body)).await;
            let weir = Weir::passing(&upstream.base_url(), "");
            let answer = chat("hi", false).send(weir.addr).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.body, body.as_bytes());
            for line in headers.lines() {
                let (name, value) = line.split_once(": ").unwrap();
                let hop = matches!(name, "connection" | "x-hop" | "keep-alive");
                let came = answer.headers.get_all(name).iter().any(|v| v == value);
                assert_eq!(came, !hop, "{status}: {line}");
            }
            for (name, value) in &answer.headers {
                let known = headers.contains(name.as_str()) || name.as_str().starts_with("x-weir-");
                let ours = matches!(name.as_str(), "content-type" | "content-length" | "x-should-retry" | "cache-status");
                assert!(known || ours, "{status}: {name}: {value:?} was added");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_the_same_bytes_however_they_are_cut_into_chunks() {
    in_time(async {
        let body = format!(
            ": comment\r\n\r\nretry: 3000\nid: 7\n\n{}event: odd\ndata:no space\ndata: two lines\nunknown: field\n\n{}{}: trailing\n\n",
            role(),
            content("é 😀 \\u00e9"),
            finish()
        );
        for size in [1, 2, 3, 7, 64, 100_000] {
            let bytes = Bytes::from(body.clone());
            let upstream = Upstream::start(move |_, _| {
                let mut steps = vec![Step::Send(sse_chunked())];
                for part in bytes.chunks(size) {
                    let mut framed = format!("{:x}\r\n", part.len()).into_bytes();
                    framed.extend_from_slice(part);
                    framed.extend_from_slice(b"\r\n");
                    steps.push(Step::Send(framed.into()));
                }
                steps.push(Step::Send("0\r\n\r\n".into()));
                steps
            })
            .await;
            let weir = Weir::over(&upstream.base_url(), "");
            let answer = chat("hi", true).send(weir.addr).await;
            assert_eq!(answer.text(), body, "chunks of {size}");
            assert_eq!(answer.header("content-type"), "text/event-stream");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulators_answers_are_the_same_with_and_without_weir() {
    in_time(async {
        let first = sim().await;
        let weir = Weir::passing(&first.base_url(), "");
        let asks = [
            chat("plain [sim:tokens=50]", false),
            chat("stream [sim:tokens=50]", true),
            post("/v1/chat/completions", r#"{"model":"gpt-4o","stream":true,"n":2,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"[sim:tool=f][sim:args={\"a\":[1,2]}]"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}"#),
            post("/v1/responses", r#"{"model":"gpt-4o","input":"hi"}"#),
            post("/v1/responses", r#"{"model":"gpt-4o","input":"hi","stream":true}"#),
            post("/v1/completions", r#"{"model":"gpt-3.5-turbo-instruct","prompt":"hi","stream":true}"#),
            post("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":["a","b"]}"#),
            post("/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"a","encoding_format":"base64"}"#),
            post("/v1/moderations", r#"{"input":"hi"}"#),
            post("/v1/images/generations", r#"{"model":"gpt-image-1","prompt":"a weir"}"#),
            post("/v1/audio/speech", r#"{"model":"tts-1","input":"hi","voice":"alloy"}"#),
            ask("GET", "/v1/models").header("authorization", "Bearer sk-caller-own"),
            ask("GET", "/v1/models/gpt-4o").header("authorization", "Bearer sk-caller-own"),
            ask("GET", "/v1/files/none").header("authorization", "Bearer sk-caller-own"),
            ask("GET", "/v1/nothing/of/this").header("authorization", "Bearer sk-caller-own"),
            post("/v1/chat/completions", "{}"),
            post("/v1/embeddings", r#"{"model":"no"#),
        ];
        for case in asks {
            let direct = case.send(first.addr()).await;
            let through = case.send(weir.addr).await;
            assert_eq!(through.status, direct.status, "{case:?}: {}", through.text());
            assert_eq!(through.body, direct.body, "{case:?}");
            for (name, value) in &direct.headers {
                let varies = matches!(name.as_str(), "date" | "x-request-id" | "openai-processing-ms" | "cf-ray" | "transfer-encoding" | "connection" | "content-length" | "x-envoy-upstream-service-time");
                assert!(varies || through.headers.get_all(name).iter().any(|v| v == value), "{case:?}: {name}: {value:?} is not in {:?}", through.headers);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fallbacks_model_is_spliced_in_and_nothing_else_changes() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::start(&format!(
            "{}[[route]]\nmodels = [\"gpt-4o\"]\ntargets = [\"first:other/model-\u{e9}\"]\n",
            crate::support::gateway::upstream("first", &upstream.base_url(), "")
        ));
        for body in odd_bodies() {
            let answer = post("/v1/chat/completions", body.clone())
                .send(weir.addr)
                .await;
            assert_eq!(answer.status, 200);
            // Of equal keys all are replaced: which one a provider reads is not for us to know.
            let first = if body.contains("gpt-3.5") {
                "\"gpt-3.5\""
            } else {
                "\"gpt-4o\""
            };
            let mut expected = body.clone();
            for old in [first, "\"gpt-4o\""] {
                let Some(at) = expected.rfind(old) else {
                    continue;
                };
                expected.replace_range(at..at + old.len(), "\"other/model-\u{e9}\"");
            }
            let seen = upstream.seen().pop().unwrap();
            let start =
                |text: &[u8]| String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned();
            assert!(
                seen.body == expected.as_bytes(),
                "{}\n{}",
                start(&seen.body),
                start(expected.as_bytes())
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_streams_through_byte_for_byte() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", "{\"text\":\"hi\"}")).await;
        let weir = Weir::passing(&upstream.base_url(), "");
        let mut form = b"--b0undary\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n".to_vec();
        form.extend((0..3_000_000_u32).map(|i| (i * 7 % 256) as u8));
        form.extend_from_slice(b"\r\n--b0undary--\r\n");
        let answer = ask("POST", "/v1/audio/transcriptions")
            .header("authorization", "Bearer sk-caller-own")
            .header("content-type", "multipart/form-data; boundary=b0undary")
            .body(form.clone())
            .send(weir.addr)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = upstream.seen().pop().unwrap();
        assert!(seen.body == form);
        assert_eq!(seen.header("content-type"), Some("multipart/form-data; boundary=b0undary"));
        assert_eq!(seen.header("content-length"), Some(&*form.len().to_string()));
        assert_eq!(answer.header("x-weir-model"), "whisper-1");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_arrives_while_it_is_being_sent() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", "{}")).await;
        let weir = Weir::passing(&upstream.base_url(), "");
        let mut stream = tokio::net::TcpStream::connect(weir.addr).await.unwrap();
        let head = "POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-a\r\ncontent-type: application/octet-stream\r\ncontent-length: 400000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b'x'; 200_000]).await.unwrap();
        eventually("the provider is called", || upstream.connections() == 1).await;
        stream.write_all(&[b'x'; 200_000]).await.unwrap();
        eventually("the whole has arrived", || upstream.seen().len() == 1).await;
        assert_eq!(upstream.seen()[0].body.len(), 400_000);
    })
    .await;
}

async fn packed(mut encoder: impl AsyncRead + Unpin) -> Bytes {
    let mut out = Vec::new();
    encoder.read_to_end(&mut out).await.unwrap();
    out.into()
}

async fn gzip(text: &str) -> Bytes {
    packed(GzipEncoder::new(text.as_bytes())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_answer_stays_compressed_and_is_understood() {
    in_time(async {
        let packed = gzip(CHAT).await;
        let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len()).into_bytes();
        bytes.extend_from_slice(&packed);
        let upstream = Upstream::saying(bytes).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let answer = chat("hi", false).header("accept-encoding", "gzip, br").send(weir.addr).await;
        assert_eq!(answer.body, packed);
        assert_eq!(answer.header("content-encoding"), "gzip");
        assert_eq!(upstream.seen()[0].header("accept-encoding"), Some("gzip, br"));
        assert_eq!(weir.metric("weir_tokens_total", &["kind=\"input\""]), 5.0, "its usage is read all the same");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_error_is_judged_by_what_it_says() {
    in_time(async {
        let packed = gzip(r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#).await;
        let mut bytes = format!("HTTP/1.1 429 Too Many\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len()).into_bytes();
        bytes.extend_from_slice(&packed);
        let upstream = Upstream::saying(bytes).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let answer = chat("hi", false).header("accept-encoding", "gzip").send(weir.addr).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (429, "gzip"));
        assert_eq!(answer.body, packed);
        assert_eq!(answer.header("x-should-retry"), "false");
        assert_eq!(upstream.seen().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_request_is_decoded_and_one_of_an_unknown_kind_refused() {
    in_time(async {
        let upstream = Upstream::saying(json(200, "", CHAT)).await;
        let weir = Weir::over(&upstream.base_url(), "");
        let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"packed"}]}"#;
        let kinds = [
            ("gzip", gzip(body).await),
            ("br", packed(BrotliEncoder::new(body.as_bytes())).await),
            ("zstd", packed(ZstdEncoder::new(body.as_bytes())).await),
        ];
        for (encoding, bytes) in kinds {
            let answer = post("/v1/chat/completions", bytes)
                .header("content-encoding", encoding)
                .send(weir.addr)
                .await;
            assert_eq!(answer.status, 200, "{encoding}: {}", answer.text());
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(
                (
                    seen.body,
                    seen.headers.iter().any(|(n, _)| n == "content-encoding")
                ),
                (body.into(), false),
                "{encoding}"
            );
        }
        let asked = upstream.seen().len();
        let answer = post("/v1/chat/completions", body)
            .header("content-encoding", "lzma")
            .send(weir.addr)
            .await;
        assert_eq!(
            (answer.status, answer.json()["error"]["type"].as_str()),
            (415, Some("weir_error"))
        );
        let answer = post("/v1/chat/completions", "no gzip")
            .header("content-encoding", "gzip")
            .send(weir.addr)
            .await;
        assert!(matches!(answer.status, 400 | 415), "{}", answer.status);
        assert_eq!(upstream.seen().len(), asked);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_the_caller_when_it_is_sent_and_not_later() {
    in_time(async {
        let upstream = Upstream::start(|_, _| {
            vec![
                Step::Send(sse_chunked()),
                Step::Send(chunk(&content("now"))),
                Step::Hang,
            ]
        })
        .await;
        let weir = Weir::over(&upstream.base_url(), "");
        let mut live = chat("hi", true).live(weir.addr).await.unwrap();
        assert_eq!(live.next().await.unwrap().unwrap(), content("now"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_in_an_encoding_that_weir_does_not_know_passes_untouched() {
    in_time(async {
        let odd = Upstream::saying(
            &b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: x-odd\r\ncontent-length: 4\r\n\r\n\x01\x02\x03\x04"[..],
        )
        .await;
        let weir = Weir::over(&odd.base_url(), "");
        let answer = chat("hi", false).send(weir.addr).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"\x01\x02\x03\x04"[..]));
        assert_eq!(answer.header("content-encoding"), "x-odd");
    })
    .await;
}
