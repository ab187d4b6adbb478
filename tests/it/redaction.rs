//! Keys of every known shape and prompts are thrown at the gateway from all sides, and then looked for in everything
//! that it lets out: whole or in part, plain or encoded.
//!
//! What may hold them: the request to the provider, and the provider's own answer to the caller who asked.

mod hostile;
mod running;
mod secrets;

use serde_json::{Value, json};
use weir::{
    config::hash_key,
    explain::{Style, explain, text},
};

use self::{
    hostile::{CASES, MONEY, hostile},
    running::{Running, weir},
    secrets::{Output, Thrown},
};
use crate::support::{
    Answer, Ask, Upstream, ask, eventually, get, in_time, post, process::Directory, upstream,
};

/// A receiver of alerts.
async fn receiver() -> Upstream {
    Upstream::saying(upstream::json(200, "", "{}")).await
}

#[track_caller]
fn assert_clean(thrown: &Thrown, outputs: &[Output]) {
    let found = thrown.found_in(outputs);
    assert!(
        found.is_empty(),
        "{} leaks:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// weir's own part of an answer: its headers, and the body when it is weir's own error.
fn own_part(what: &str, answer: &Answer) -> Output {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-weir-"));
    let mut text: String = headers
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    if answer.text().contains("weir_error") {
        text.push_str(&answer.text());
    }
    Output::new(format!("weir's part of the answer to {what}"), text)
}

/// A gateway with everything switched on, before a hostile provider.
fn everything(thrown: &Thrown, provider: &Upstream, alerts: &Upstream, more: &str) -> String {
    let secret = |kind: &str, place: &str| thrown.key(kind, place);
    let mut text = format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\n[cache]\npolicy = \"off\"\n[server]\nmax_body_bytes = \"64KiB\"\n\
         [retry]\nmax_attempts = 2\nbase = \"10ms\"\nmax = \"20ms\"\n[breaker]\nconsecutive = 2\n\
         [alerts]\nwebhook = \"http://{}/services/{}\"\nsecret = \"whsec_{}\"\nhold = \"10ms\"\n{more}\n",
        alerts.addr,
        secret("random", "the webhook's path"),
        secret("mistral", "the webhook's secret"),
    );
    for (index, kind) in ["openai project", "mistral", "azure new", "aws secret"]
        .iter()
        .enumerate()
    {
        text.push_str(&format!(
            "[[upstream]]\nname = \"held-{index}\"\nprovider = \"openai\"\nbase_url = \"{}\"\napi_key = \"{}\"\nadmin_key = \"{}\"\nheaders = {{ x-extra = \"{}\" }}\n\
             [[route]]\nmodels = [\"held-{index}-*\"]\ntargets = [\"held-{index}\"]\n",
            provider.base_url(),
            secret(kind, "a held key"),
            secret("openai admin", "an admin key"),
            secret("random", "a configured header"),
        ));
    }
    text.push_str(&format!(
        "[[upstream]]\nname = \"own\"\nprovider = \"openai\"\nbase_url = \"{}\"\napi_key = \"passthrough\"\n[[route]]\nmodels = [\"*\"]\ntargets = [\"own\"]\n",
        provider.base_url()
    ));
    text
}

/// Upstreams that cannot be reached: by their certificate, and because nobody is there.
fn unreachable(thrown: &Thrown, port: u16) -> String {
    let one = |name: &str, base_url: &str| {
        let key = thrown.key("openai service", "a held key");
        format!(
            "[[upstream]]\nname = \"{name}\"\nprovider = \"openai\"\nbase_url = \"{base_url}\"\napi_key = \"{key}\"\n\
             [[route]]\nmodels = [\"{name}-*\"]\ntargets = [\"{name}\"]\n"
        )
    };
    let tls = one("tls", &format!("https://localhost:{port}/v1"));
    tls + &one("dead", "http://127.0.0.1:9/v1")
}

/// A call that carries a key of this kind wherever a caller can put one.
fn laden(thrown: &Thrown, kind: &str, turn: usize, model: &str) -> Ask {
    let key = |place: &str| thrown.key(kind, place);
    let body = json!({
        "model": model, "stream": turn % 2 == 1,
        "messages": [{"role": "user", "content": thrown.prompt("a message")}],
        "user": key("user"), "metadata": {"k": key("metadata")}, "safety_identifier": key("safety_identifier"),
        "tools": [{"type": "function", "function": {"name": "f", "description": thrown.prompt("a tool")}}],
    });
    let caller = key("the caller's key");
    let path = format!(
        "/v1/chat/completions?case={}&key={}",
        turn % CASES,
        key("the query")
    );
    let call = post(&path, body.to_string())
        .header("x-request-id", &key("x-request-id"))
        .header("x-weir-tag-team", &key("a tag"))
        .header(
            &format!("x-weir-tag-{}", tag_name(&key("a tag's name"))),
            "1",
        )
        .header("x-weir-app", &key("the app's name"))
        .header("user-agent", &key("user-agent"))
        .header("cookie", &format!("session={}", key("a cookie")))
        .header("x-weir-timeout", "400ms");
    keyed(call, &caller, turn)
}

/// The key in one of the places where clients put it.
fn keyed(call: Ask, key: &str, turn: usize) -> Ask {
    use base64::{Engine, prelude::BASE64_STANDARD};
    match turn % 5 {
        0 => call.header("authorization", &format!("Bearer {key}")),
        1 => call.header("api-key", key),
        2 => call.header("x-api-key", key),
        3 => call.header("x-goog-api-key", key),
        _ => call.header(
            "authorization",
            &format!("Basic {}", BASE64_STANDARD.encode(format!("user:{key}"))),
        ),
    }
}

/// What of a key may stand in a header's name.
fn tag_name(key: &str) -> String {
    key.to_ascii_lowercase().replace(['/', '+'], "")
}

/// Calls that weir itself refuses or that have a key in their path, model or method.
fn odd(thrown: &Thrown, kind: &str) -> Vec<(String, Ask)> {
    let key = |place: &str| thrown.key(kind, place);
    let escaped = |text: String| {
        text.bytes()
            .map(|b| format!("%{b:02X}"))
            .collect::<String>()
    };
    let chat = "/v1/chat/completions";
    let hello = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let model = |model: Value| {
        let words = thrown.prompt("a message");
        post(
            chat,
            json!({"model": model, "messages": [{"role": "user", "content": words}]}).to_string(),
        )
    };
    let mut all = vec![
        ("a key as the model", model(json!(key("the model")))),
        ("a key in the model", model(json!(format!("openai/{}:free", key("a part of the model"))))),
        ("a key as a held model", model(json!(format!("held-1-{}", key("a held model"))))),
        ("a prompt as the model", model(json!(thrown.prompt("the model")))),
        ("a model that is no text", model(json!({"m": key("a model's object")}))),
        ("a path of a file", get(&format!("/v1/files/{}", key("a file's path")))),
        ("a path with codes", get(&format!("/v1/files/{}", escaped(key("a path with codes"))))),
        ("a path with a mail", get(&format!("/v1/models/{}@x.example", key("a path with @")))),
        ("no path of the API", get(&format!("/{}", key("no path of the API")))),
        ("cut JSON", post(chat, format!("{{\"model\": \"m\", \"messages\": [{{\"content\": \"{} {}", thrown.prompt("cut JSON"), key("cut JSON")))),
        ("no JSON", post(chat, format!("{} {}", thrown.prompt("no JSON"), key("no JSON")))),
        ("a body too large", post(chat, format!("{{\"model\":\"m\",\"input\":\"{} {}{}\"}}", thrown.prompt("a large body"), key("a large body"), "x".repeat(70_000)))),
        ("an encoding", post(chat, hello.clone()).header("content-encoding", &key("content-encoding"))),
        ("a broken encoding", post(chat, key("a broken encoding")).header("content-encoding", "gzip")),
        ("a foreign page", post(chat, hello.clone()).header("origin", &format!("https://{}.example", tag_name(&key("origin")).replace('_', "-")))),
        ("an image", post(chat, json!({"model": "gpt-4o", "messages": [{"role": "user", "content": [
            {"type": "text", "text": thrown.prompt("a part")},
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", key("an image"))}}]}]}).to_string())),
        ("embeddings", post("/v1/embeddings", json!({"model": "e", "input": thrown.prompt("an input")}).to_string())),
        ("an upload", upload(thrown, &key("a form's field"), &key("a form's model"))),
        ("a batch", get(&format!("/v1/batches/batch_1?after={}", key("a query")))),
    ];
    for name in ["timeout", "cache", "priority", "fallback"] {
        let call = post(chat, hello.clone()).header(&format!("x-weir-{name}"), &key("a directive"));
        all.push(("a bad directive", call));
    }
    if kind.contains("openai") {
        all.push(("a method", ask(&key("the method"), "/v1/models")));
    }
    all.into_iter()
        .map(|(what, call)| {
            (
                format!("{what} ({kind})"),
                call.header("x-weir-timeout-of", "1"),
            )
        })
        .collect()
}

fn upload(thrown: &Thrown, field: &str, model: &str) -> Ask {
    let (name, content) = (thrown.prompt("a file's name"), thrown.prompt("a file"));
    let body = format!(
        "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--x\r\ncontent-disposition: form-data; name=\"{field}\"\r\n\r\n1\r\n\
         --x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}.mp3\"\r\ncontent-type: audio/mpeg\r\n\r\n{content}\r\n--x--\r\n"
    );
    post("/v1/audio/transcriptions", body).header("content-type", "multipart/form-data; boundary=x")
}

/// All pages of the admin port, also those that are asked for with a key.
async fn pages(thrown: &Thrown, running: &Running, ids: &[String]) -> Vec<Output> {
    let admin = running.admin();
    let mut paths: Vec<String> = [
        "/metrics",
        "/status",
        "/readyz",
        "/",
        "/incident?apps=true",
        "/incident?format=json&apps=true",
    ]
    .map(str::to_owned)
    .into();
    for kind in ["openai project", "random", "google api"] {
        for page in [
            "/case?id=",
            "/explain?id=",
            "/incident?upstream=",
            "/incident?since=",
            "/incident?until=",
            "/incident?format=",
            "/incident?",
            "/status?key=",
            "/",
        ] {
            paths.push(format!(
                "{page}{}",
                thrown
                    .key(kind, "an operator's query")
                    .replace(['+', '/'], "x")
            ));
        }
    }
    for id in ids {
        paths.extend([
            format!("/case?id={id}"),
            format!("/explain?id={id}"),
            format!("/explain?format=text&id={id}"),
        ]);
    }
    let mut outputs = Vec::new();
    for path in paths {
        let answer = get(&path).send(admin).await;
        let name = path.split('=').next().unwrap_or_default().to_owned();
        outputs.push(Output::new(
            format!("{name} ({})", answer.status),
            format!("{:?}\n{}", answer.headers, answer.text()),
        ));
    }
    outputs
}

/// What a receiver of alerts got, but for the address that it was sent to.
fn told(receiver: &Upstream) -> Vec<Output> {
    let seen = receiver.seen();
    let text = |seen: &upstream::Seen| {
        format!(
            "{:?}\n{}",
            seen.headers,
            String::from_utf8_lossy(&seen.body)
        )
    };
    seen.iter()
        .map(|seen| Output::new("an alert", text(seen)))
        .collect()
}

/// `every`: only each so many kinds of key.
async fn throw_everything(name: &str, format: &str, every: usize) {
    let thrown = Thrown::new();
    let (provider, alerts) = (hostile().await, receiver().await);
    let certificates = Directory::new(&format!("{name}-ca"));
    let (port, ..) = crate::tls::https(&certificates).await;
    let more = format!("format = \"{format}\"\n{}", unreachable(&thrown, port));
    let text = everything(&thrown, &provider, &alerts, &more);
    let running = Running::start(name, &text).await;
    let apps = running.apps();
    let (mut outputs, mut ids) = (Vec::new(), Vec::new());
    let mut calls = Vec::new();
    for (turn, kind) in Thrown::kinds()
        .cycle()
        .take(2 * Thrown::kinds().count() / every.min(2))
        .enumerate()
    {
        calls.push((
            format!("case {} ({kind})", turn % CASES),
            laden(&thrown, kind, turn, &format!("own-{turn}")),
        ));
    }
    for kind in Thrown::kinds().step_by(every) {
        calls.extend(odd(&thrown, kind));
    }
    for model in ["tls-1", "dead-1"] {
        for turn in 0..6 {
            let call = laden(&thrown, "openai project", turn, model);
            calls.push((model.to_owned(), call));
        }
    }
    // What closes a whole key comes last.
    for case in (0..MONEY).chain(MONEY..CASES) {
        for held in 0..4 {
            let model = format!("held-{held}-{case}");
            calls.push((
                format!("case {case} with a held key"),
                laden(&thrown, "random", case, &model),
            ));
        }
    }
    for (what, call) in calls {
        let answer = match call.live(apps).await {
            Ok(live) => live.whole().await,
            Err(error) => panic!("{what}: {error}"),
        };
        outputs.push(own_part(&what, &answer));
        if let Some(id) = answer
            .headers
            .get("x-weir-request-id")
            .filter(|_| !(200..300).contains(&answer.status))
        {
            ids.push(id.to_str().unwrap().to_owned());
        }
    }
    eventually("alerts are told", || alerts.seen().len() >= 4).await;
    let (some, last) = (
        ids.len().div_ceil(60),
        ids.last().expect("calls failed").clone(),
    );
    let ids: Vec<_> = ids
        .into_iter()
        .step_by(some)
        .chain([last.clone()])
        .collect();
    outputs.extend(pages(&thrown, &running, &ids).await);
    let ask = running.directory.write(
        "ask.toml",
        &format!("admin = {{ listen = \"{}\" }}\n", running.admin()),
    );
    let ask = ask.to_str().unwrap();
    for arguments in [
        &["incident", "--with-apps", "--config", ask][..],
        &["incident", "--json", "--config", ask],
        &["explain", "--config", ask, "--id", &last],
        &["explain", "--config", ask, "--json", "--id", &last],
    ] {
        outputs.push(weir(arguments, &[]).await);
    }
    reload_with_mistakes(&thrown, &running).await;
    outputs.extend(told(&alerts));
    let logs = running.end().await;
    assert!(
        logs[0].text.lines().count() > 600 / every,
        "calls are logged: {}",
        logs[0].text
    );
    assert!(
        logs[1].text.contains("A circuit opened") && logs[1].text.contains("stays in force"),
        "{}",
        logs[1].text
    );
    outputs.extend(logs);
    assert!(thrown.len() > 2_500 / every, "{}", thrown.len());
    assert_clean(&thrown, &outputs);
}

/// Bad configurations that hold keys at places where they belong and where they do not.
fn bad(thrown: &Thrown, kind: &str) -> Vec<String> {
    let key = |place: &str| thrown.key(kind, place);
    let upstream = "[[upstream]]\nname = \"u\"\nprovider = \"openai\"\n";
    vec![
        format!("{upstream}api_kee = \"{}\"\n", key("an unknown setting")),
        format!(
            "{upstream}base_url = \"https://user:{}@api.example/v1\"\n",
            key("a URL's user")
        ),
        format!(
            "{upstream}base_url = \"https://api.example/v1?key={}\"\n",
            key("a URL's query")
        ),
        format!("{upstream}base_url = \"{}\"\n", key("a base_url")),
        format!("{upstream}api_key = \"{}\n", key("a text without its end")),
        format!("{upstream}api_key = {}\n", key("no text")),
        format!("{upstream}api_key = [\"{}\"]\n", key("a list")),
        format!("{upstream}connect_timeout = \"{}\"\n", key("a duration")),
        format!(
            "{upstream}headers = {{ authorization = \"{}\\n\" }}\n",
            key("a header with a line end")
        ),
        format!(
            "{upstream}headers = {{ \"x {}\" = \"1\" }}\n",
            key("a header's name")
        ),
        format!(
            "[[upstream]]\nname = \"{} !\"\nprovider = \"{}\"\n",
            key("a name"),
            key("a provider")
        ),
        format!(
            "[[app]]\nname = \"a\"\nkey = \"{}\"\n",
            key("an app's key in plain")
        ),
        format!("[alerts]\nwebhook = \"{}\"\n", key("a webhook")),
        format!(
            "[alerts]\nwebhook = \"ftp://x.example/{}\"\nsecret = \"{}\"\n",
            key("a webhook's path"),
            key("a webhook's secret")
        ),
        format!(
            "[{}]\nx = 1\n",
            key("a section").replace(['+', '/', '.'], "-")
        ),
        format!(
            "# {}\nlisten = \"{}\"\n",
            key("a comment"),
            key("an address")
        ),
        format!(
            "[log]\nlevel = \"{}\"\naccess = \"{}\"\n[x\n",
            key("a level"),
            key("an access log")
        ),
        format!(
            "[[route]]\nmodels = [\"*\"]\ntargets = [\"{}\"]\n",
            key("a target")
        ),
    ]
}

async fn reload_with_mistakes(thrown: &Thrown, running: &Running) {
    for (turn, text) in bad(thrown, "openai project").into_iter().enumerate() {
        let before = running.said().matches("stays in force").count();
        std::fs::write(&running.config, format!("{text}nonsense_{turn} = 1\n")).unwrap();
        running.signal("HUP").await;
        eventually("it is refused", || {
            running.said().matches("stays in force").count() > before
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_and_no_prompt_comes_out_of_a_running_gateway() {
    in_time(throw_everything("redaction-json", "json", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_in_slacks_shape() {
    in_time(throw_everything("redaction-slack", "slack", 9)).await;
}

fn app(name: &str, key: &str) -> String {
    let hash: String = hash_key(key).iter().map(|b| format!("{b:02x}")).collect();
    format!("[[app]]\nname = \"{name}\"\nkey = \"blake3:{hash}\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_for_apps_quote_no_key() {
    in_time(async {
        let thrown = Thrown::new();
        let provider = hostile().await;
        let own = thrown.key("app of weir", "an app's key");
        let free = thrown.key("app of weir", "the key of an app without a quota");
        let held = thrown.key("openai service", "a held key");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\n[cache]\npolicy = \"off\"\n\
             [[upstream]]\nname = \"first\"\nprovider = \"openai\"\nbase_url = \"{}\"\napi_key = \"{held}\"\n\
             [[route]]\nmodels = [\"gpt-*\"]\ntargets = [\"first\"]\n{}requests_per_minute = 2\non_limit = \"reject\"\n{}",
            provider.base_url(),
            app("shop", &own),
            app("free", &free),
        );
        let running = Running::start("redaction-apps", &text).await;
        let (apps, mut outputs, mut statuses) = (running.apps(), Vec::new(), Vec::new());
        let mut calls = Vec::new();
        for turn in 0..12 {
            calls.push(keyed(laden(&thrown, "random", turn * CASES, "gpt-4o"), &own, turn % 4));
        }
        for (turn, kind) in Thrown::kinds().enumerate() {
            // Strangers, and models that no route takes.
            calls.push(laden(&thrown, kind, turn, "gpt-4o"));
            let body = json!({"model": thrown.key(kind, "a model of no route"), "messages": []});
            let call = post("/v1/chat/completions", body.to_string());
            calls.push(keyed(call, &free, 0));
        }
        for call in calls {
            let answer = call.send(apps).await;
            statuses.push(answer.status);
            outputs.push(own_part("an app", &answer));
        }
        for status in [200, 401, 404, 429] {
            assert!(statuses.contains(&status), "{status} in {statuses:?}");
        }
        outputs.extend(pages(&thrown, &running, &[]).await);
        outputs.extend(running.end().await);
        assert_clean(&thrown, &outputs);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_to_the_provider_is_traced_without_its_headers() {
    in_time(async {
        let thrown = Thrown::new();
        let certificates = Directory::new("redaction-h2");
        let (port, authority, _) = crate::tls::https(&certificates).await;
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\n{}",
            unreachable(&thrown, port)
        );
        let running = Running::trusting("redaction-h2", &text, Some(&authority)).await;
        let apps = running.apps();
        let mut outputs = Vec::new();
        for turn in 0..4 {
            let call = laden(&thrown, "openai project", turn, "tls-1");
            let answer = call.header("x-weir-timeout", "10s").send(apps).await;
            assert_eq!(answer.header("x-spoken"), "HTTP/2.0", "{}", answer.text());
            outputs.push(own_part("a call", &answer));
        }
        let logs = running.end().await;
        assert!(
            logs[1].text.contains("Headers"),
            "frames are traced: {}",
            logs[1].text
        );
        outputs.extend(logs);
        assert_clean(&thrown, &outputs);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_show_never_tell_a_secret() {
    in_time(async {
        let thrown = Thrown::new();
        let directory = Directory::new("redaction-check");
        let mut outputs = Vec::new();
        let mut files = vec![everything(&thrown, &hostile().await, &receiver().await, "")];
        for kind in [
            "openai project",
            "google api",
            "mistral",
            "azure old",
            "aws secret",
            "jwt",
        ] {
            files.extend(bad(&thrown, kind));
        }
        for text in files {
            let file = directory.write("weir.toml", &text);
            let file = file.to_str().unwrap();
            let kind = ["openai service", "random"][outputs.len() % 2];
            let (first, second) = (
                thrown.key(kind, "an override"),
                thrown
                    .key(kind, "an override's name")
                    .replace(['+', '/', '.'], "x"),
            );
            let wrong = format!("WEIR__UPSTREAM__{second}__API_KEY");
            let environment = [("WEIR__RETRY__BASE", &*first), (&*wrong, "x")];
            for arguments in [
                &["check", "--config", file][..],
                &["check", "--json", "--config", file],
                &["config", "show", "--config", file],
                &["config", "show", "--json", "--config", file],
            ] {
                outputs.push(weir(arguments, &[]).await);
                outputs.push(weir(arguments, &environment).await);
            }
        }
        assert_clean(&thrown, &outputs);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_and_a_test_of_alerts_never_tell_a_secret() {
    in_time(async {
        let thrown = Thrown::new();
        let directory = Directory::new("redaction-doctor");
        let (port, ..) = crate::tls::https(&directory).await;
        let mut outputs = Vec::new();
        for case in [0, 2, 4, 5, 9, 16, 19, 21, 23] {
            let provider = hostile().await;
            let refusing = Upstream::start(|seen, _| {
                vec![crate::support::Step::Send(upstream::json(
                    403,
                    &format!("x-request-id: {}\r\n", seen.path()),
                    &format!("{seen:?}"),
                ))]
            })
            .await;
            let more = match case {
                0 => unreachable(&thrown, port),
                _ => String::new(),
            };
            let text = everything(&thrown, &provider, &refusing, &more)
                .replace("/v1\"", &format!("/v1/case={case}\""));
            let file = directory.write("weir.toml", &text);
            let file = file.to_str().unwrap();
            let stray = thrown.key("openai project", "a stray variable");
            let environment = [
                ("OPENAI_API_KEY", &*stray),
                ("OPENAI_BASE_URL", &*stray),
                ("OPENAI_ORG_ID", &*stray),
                ("HTTPS_PROXY", &*stray),
            ];
            outputs.push(weir(&["doctor", "--config", file], &environment).await);
            outputs.push(weir(&["doctor", "--json", "--config", file], &[]).await);
            if case == 0 || case == 2 {
                outputs.push(weir(&["doctor", "--spend", "--config", file], &[]).await);
                outputs.push(weir(&["alerts", "test", "--config", file], &[]).await);
                outputs.push(weir(&["alerts", "test", "--json", "--config", file], &[]).await);
            }
        }
        assert_clean(&thrown, &outputs);
    })
    .await;
}

/// Ways in which a key stands in what people paste.
fn pastes(thrown: &Thrown, kind: &str) -> Vec<String> {
    let key = |place: &str| thrown.key(kind, place);
    vec![
        format!(
            "authorization: Bearer {}\nError code: 401",
            key("a pasted header")
        ),
        format!(
            "curl https://api.openai.com/v1/models -H 'api-key: {}'\nHTTP/2 401",
            key("a pasted command")
        ),
        format!("POST https://x.example/v1?key={} 429", key("a pasted URL")),
        format!(
            "openai.AuthenticationError: Error code: 401 - {{'error': {{'message': 'Incorrect API key provided: {}. You can find', 'code': 'invalid_api_key'}}}}",
            key("a pasted exception")
        ),
        format!(
            "{{\"error\":{{\"message\":\"bad key {}\",\"type\":\"x\",\"code\":\"invalid_api_key\"}}}}",
            key("a pasted object")
        ),
        format!(
            "OPENAI_API_KEY={} python app.py\n429 insufficient_quota",
            key("a pasted variable")
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pasted_into_explain_loses_its_keys() {
    in_time(async {
        let thrown = Thrown::new();
        let mut outputs = Vec::new();
        for (turn, kind) in Thrown::kinds().enumerate() {
            for (at, paste) in pastes(&thrown, kind).into_iter().enumerate() {
                let told = explain(paste.as_bytes(), None);
                outputs.push(Output::new(
                    format!("explain of {paste}"),
                    text(&told, Style::default()),
                ));
                outputs.push(Output::new(
                    format!("explain of {paste}"),
                    serde_json::to_string(&told).unwrap(),
                ));
                if (turn + at) % 12 == 0 {
                    outputs.push(weir(&["explain", &paste], &[]).await);
                    outputs.push(weir(&["explain", "--json", &paste], &[]).await);
                }
            }
        }
        assert_clean(&thrown, &outputs);
    })
    .await;
}

#[tokio::test]
async fn what_is_printed_for_a_developer_holds_no_key() {
    let thrown = Thrown::new();
    let text = everything(&thrown, &hostile().await, &receiver().await, "");
    let config = crate::support::gateway::config(&text);
    assert_clean(
        &thrown,
        &[Output::new(
            "the configuration's Debug",
            format!("{config:?}"),
        )],
    );
}
