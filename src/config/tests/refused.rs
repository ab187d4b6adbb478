//! What is said to a text that is wrong.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::{brief, read, wrong};

/// Mistakes of every kind: name, variable, preset, key, target, range, word, unit, later version.
const MANY: &str = r#"listen = "localhost:8484"

[[upstream]]
name = "openai"
provider = "opnai"
api_key = "${OPENAI_API_KY}"

[[upstream]]
name = "claude"
provider = "anthropic-openai"
api_key = "sk-ant-verysecret"

[[route]]
models = ["gpt-*"]
targets = ["openai", "cluade:claude-sonnet-4-5"]

[retry]
max_atempts = 3
base = 5

[cache]
policy = "deterministc"
max_bytes = "1KiB"

[[app]]
name = "search"
key = "wk-plainsecret"

[ledger]
url = "sqlite:weir.db"
"#;

#[test]
fn all_mistakes_are_listed_with_line_and_suggestion() {
    let mistakes = wrong(MANY, &[("OPENAI_API_KEY", "sk-envsecret")]);
    assert_eq!(
        brief(&mistakes),
        [
            "1: listen: `listen` is no address",
            "5: upstream.openai.provider: there is no such preset (openai?)",
            "6: upstream.openai.api_key: environment variable `OPENAI_API_KY` is not set (OPENAI_API_KEY?)",
            "15: route[0].targets[1]: the target names no upstream (claude:claude-sonnet-4-5?)",
            "18: retry.max_atempts: unknown key `max_atempts` (max_attempts?)",
            "19: retry.base: `base` is not a duration",
            "22: cache.policy: `policy` is none of its words (deterministic?)",
            "23: cache.max_bytes: `max_bytes` is out of range",
            "27: app.search.key: `key` must be the hash of a key, not the key",
            "29: ledger: `ledger` is not in this version yet",
        ]
    );
}

#[test]
fn messages_read_like_a_compilers() {
    assert_snapshot!(wrong(MANY, &[("OPENAI_API_KEY", "sk-envsecret")]));
}

#[test]
fn a_syntax_error_hides_no_other_mistake() {
    let text =
        "listen = \n[retry]\nmax_atempts = 3\n[cache\nttl = \"1h\"\n[breaker]\nconsecutive = 0\n";
    assert_snapshot!(wrong(text, &[]));
}

#[test]
fn json_has_the_same_facts() {
    let mistakes = wrong("[retry]\nmax_atempts = 3\n", &[("WEIR__RETRY__BASE", "5")]);
    assert_snapshot!(format!("{:#}", mistakes.to_json()));
}

/// Each text has exactly one mistake, told in these words.
#[test]
fn one_mistake_is_one_mistake() {
    const OPENAI: &str = "[[upstream]]\nname = 'openai'\n";
    const HASH: &str = "blake3:92dad9443e4dd6d70a7f11872101ebff87e21798e4fbb26fa4bf590eb440e71b";
    let app = |name: &str, key: &str| format!("[[app]]\nname = '{name}'\nkey = '{key}'\n");
    let route = |models: &str, targets: &str| {
        format!("{OPENAI}[[route]]\nmodels = {models}\ntargets = {targets}\n")
    };
    let other = HASH.replace("92", "93");
    let told: Vec<String> = [
        "upstream = []".to_owned(),
        "route = []".to_owned(),
        "retry = 5".to_owned(),
        "[upstream]\nname = 'openai'".to_owned(),
        "[[upstream]]\nprovider = 'openai'".to_owned(),
        "[[upstream]]\nname = 'my box'\nprovider = 'openai'".to_owned(),
        "[[upstream]]\nname = 'box'".to_owned(),
        "[[upstream]]\nname = 'box'\nprovider = 'openai-compatible'\napi_key = 'none'".to_owned(),
        "[[upstream]]\nname = 'box'\nprovider = 'openai-compatible'\nbase_url = 'http://a/v1'".to_owned(),
        "[[upstream]]\nname = 'mistral'".to_owned(),
        "[[upstream]]\nname = 'claude'\nprovider = 'anthropic'\napi_key = 'k'".to_owned(),
        format!("{OPENAI}{OPENAI}"),
        format!("{OPENAI}base_url = 'https://a/v1/v1'"),
        format!("{OPENAI}base_url = 'https://a/v1?x=secret'"),
        format!("{OPENAI}base_url = 'https://me:secret@a/v1'"),
        format!("{OPENAI}base_url = 'http://localhost:8484/v1'"),
        format!("{OPENAI}base_url = 'http://[::1]:8485'"),
        format!("{OPENAI}api_key = ''"),
        format!("{OPENAI}api_key = \"sec\\nret\""),
        format!("{OPENAI}api_key = 5"),
        format!("{OPENAI}headers = {{ host = 'a' }}"),
        format!("{OPENAI}headers = {{ 'a b' = 'secret' }}"),
        format!("{OPENAI}limits = {{ requests_per_minute = 0 }}"),
        format!("{OPENAI}limits = {{ requests_per_minute = 'many' }}"),
        format!("{OPENAI}[[upstream.rule]]\nclass = 'overlooded'\n"),
        route("['[']", "['openai']"),
        route("[]", "['openai']"),
        route("'*'", "['openai']"),
        route("['*']", "['openai:']"),
        route("['*']", "['openai', 'openai']"),
        format!("{OPENAI}[[upstream]]\nname = 'groq'\napi_key = 'passthrough'\n[[route]]\nmodels = ['*']\ntargets = ['openai', 'groq']"),
        format!("{OPENAI}[[route]]\nmodels = ['*']"),
        format!("listen = '0.0.0.0:8484'\n{OPENAI}api_key = 'sk-secret'"),
        format!("listen = '0.0.0.0:8484'\n{OPENAI}headers = {{ Authorization = 'Bearer secret' }}"),
        "listen = '127.0.0.1:9000'\nadmin = { listen = '127.0.0.1:9000' }".to_owned(),
        "admin = { listen = '8485' }".to_owned(),
        format!("{}{}", app("a", HASH), app("a", &other)),
        format!("{}{}", app("a", HASH), app("b", HASH)),
        app("a", "blake3:12"),
        "[[app]]\nname = 'a'".to_owned(),
        format!("{}budget = 5", app("a", HASH)),
        format!("{}weight = 0", app("a", HASH)),
        format!("{}tokens_per_day = 2000000000000", app("a", HASH)),
        format!("{}on_limit = 'rejct'", app("a", HASH)),
        format!("{OPENAI}limits = {{ tokens_per_hour = 5 }}"),
        format!("{OPENAI}limits = {{ requests_per_day = 1.5 }}"),
        route("['*']", "['openai']\nprefer = 'sonest'"),
        "[limits]\nremember = 'atuo'".to_owned(),
        "[limits]\nforeign_alert = 20".to_owned(),
        "[limits]\nforeign_alert = 'off'".to_owned(),
        "[limits]\nrequests_per_minute = 5".to_owned(),
        "[retry]\nbase = '2m'\nmax = '1m'".to_owned(),
        "[retry]\nmax_attempts = '3'".to_owned(),
        "[retry]\nmax_attempts = 2.5".to_owned(),
        "[retry]\nmax_attempts = 99999999999999999999".to_owned(),
        "[retry]\nbudget = nan".to_owned(),
        "[breaker]\nconsecutive = -1".to_owned(),
        "[cache]\nmax_bytes = '1MiB'\nmax_entry_bytes = '2MiB'".to_owned(),
        "[cache]\nttl = true".to_owned(),
        "[cache]\nttl = '${TTL'".to_owned(),
        "[log]\nlevel = 'weir=loud'".to_owned(),
        "[log]\naccess = 'stdot'".to_owned(),
        "[retry]\nttl = '5s'".to_owned(),
        "upstreams = 5".to_owned(),
        "[ledger]\nurl = 'sqlite:a'".to_owned(),
        "[alerts]\nwebhook = 'hooks.example.com/secret'".to_owned(),
        "[alerts]\nwebhook = 'https://me:secret@a/'".to_owned(),
        "[alerts]\nwebhook = 'https://a'\non = ['biling']".to_owned(),
        "[alerts]\nwebhook = '${SLACK_URL}'".to_owned(),
        "[alerts]\nwebhook = 'https://a/secret'\nformat = 'slak'".to_owned(),
    ]
    .iter()
    .map(|text| {
        let mistakes = wrong(text, &[]);
        assert_eq!(mistakes.len(), 1, "{mistakes}");
        let told = brief(&mistakes).join("");
        let help = mistakes.iter().filter_map(|mistake| mistake.help.clone()).collect::<Vec<_>>().join("; ");
        assert!(!format!("{mistakes} {} {mistakes:?}", mistakes.to_json()).contains("secret"), "{mistakes}");
        format!("{told}{}{help}", if help.is_empty() { "" } else { " -> " })
    })
    .collect();
    assert_snapshot!(told.join("\n"));
}

#[test]
fn overrides_that_fit_nowhere_are_mistakes_of_their_variable() {
    let env = [
        ("WEIR__CACHE__TLL", "5m"),
        ("WEIR__RETRY", "5"),
        ("WEIR__RETRY__BASE", "soon"),
        ("WEIR__LISTEN__PORT", "1"),
        ("WEIR__UPSTREAM__OPENIA__API_KEY", "sk-secret"),
        ("WEIR__UPSTREAM__OPENAI__APIKEY", "sk-secret"),
        ("WEIR__APP__A__KEY", "secret"),
        ("WEIR__LEDGER__URL", "x"),
        ("WEIR__", "x"),
    ];
    let mistakes = wrong("", &env);
    assert!(
        !format!("{mistakes} {mistakes:?}").contains("secret"),
        "{mistakes}"
    );
    assert_snapshot!(brief(&mistakes).join("\n"));
}

#[test]
fn no_line_that_is_shown_holds_a_secret() {
    let texts = [
        // The key stands on the line of another mistake.
        "upstream = [{ name = \"openai\", api_key = \"sk-secret\", tim = 1 }]",
        // Under a name that is not known, in a place that is not meant for it, commented out.
        "[[upstream]]\nname = \"openai\"\napikey = \"secret\"",
        "[[upstream]]\nname = \"openai\"\nprovider = \"sk-secret-0123456789\"",
        "[[upstream]]\nname = \"openai\"\nbase_url = \"https://secret@host\"",
        "[retry]\n\"sk-secret-0123456789\" = 1",
        // Broken TOML around it.
        "[[upstream]]\nname = \"openai\"\napi_key = \"sk-secret\n",
        "[[upstream]]\nname = \"openai\"\napi_key = sk-secret\n",
        "[[upstream]]\nname = \"openai\"\nheaders = { a = \"secret }\n",
        "[upstream.headers]\nx-key = \"secret\n",
        "[[upstream]]\napi_key = \"\"\"\nsecret = \n\"\"\" x\n",
        "api_key \"secret\"\n",
        "[[app]]\nname = 'a'\nkey = 'blake3:secret'\n",
    ];
    for text in texts {
        let mistakes = wrong(text, &[]);
        let shown = format!("{mistakes}\n{mistakes:?}\n{}", mistakes.to_json());
        assert!(!shown.contains("secret"), "{text}\n{shown}");
    }
}

#[test]
fn a_value_from_the_environment_is_shown_as_it_was_written() {
    let mistakes = wrong("[cache]\npolicy = \"${WORD}\"", &[("WORD", "hidden")]);
    assert!(!mistakes.to_string().contains("hidden"), "{mistakes}");
    assert!(mistakes.to_string().contains("${WORD}"), "{mistakes}");
}

#[test]
fn what_is_likely_not_meant_is_warned_of() {
    let text = "admin = { listen = \"0.0.0.0:8485\" }
[[upstream]]
name = \"openai\"
[[upstream]]
name = \"spare\"
provider = \"openai\"
[[route]]
models = [\"*\"]
targets = [\"openai\"]
[[route]]
models = [\"gpt-4o\"]
targets = [\"openai\"]
";
    let (_, warnings) = read(text, &[]).expect("sound");
    let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(told.join("\n\n"));
}

#[test]
fn one_account_under_two_names_is_warned_of() {
    let text = |more: &str| {
        format!(
            "[[upstream]]\nname = \"quick\"\nprovider = \"openai\"\napi_key = \"${{KEY}}\"\nfirst_token_timeout = \"5s\"\n\
             [[upstream]]\nname = \"slow\"\nprovider = \"openai\"\napi_key = \"${{KEY}}\"\n{more}\
             [[route]]\nmodels = [\"*\"]\ntargets = [\"quick\", \"slow\"]\n"
        )
    };
    let warned = |more: &str| {
        let (_, warnings) = read(&text(more), &[("KEY", "sk-verysecret")]).expect("sound");
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        told.join("\n")
    };
    let told = warned("");
    assert!(
        told.contains("`quick` and `slow` are the same account"),
        "{told}"
    );
    assert!(!told.contains("verysecret"), "{told}");
    assert_eq!(
        warned("project = \"proj_2\"\n"),
        "",
        "a project has limits of its own"
    );
    assert_eq!(warned("base_url = \"https://eu.api.openai.com/v1\"\n"), "");
}

fn word() -> impl Strategy<Value = String> {
    let words = [
        "upstream",
        "route",
        "retry",
        "cache",
        "app",
        "admin",
        "listen",
        "name",
        "models",
        "targets",
        "headers",
        "limits",
        "rule",
        "ttl",
        "api_key",
        "= ",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "\"",
        "'",
        "\"\"\"",
        ",",
        "\n",
        "\n",
        ".",
        "5",
        "-1",
        "1.5",
        "true",
        "\"5s\"",
        "\"openai\"",
        "\"*\"",
        "\"${A}\"",
        "\"${\"",
        "1979-05-27",
        "é",
        "#",
        "\t",
        "\r\n",
        "\\u00",
        "0x",
        "inf",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,4}",
    ]
}

proptest! {
    #[test]
    fn no_text_panics(words in proptest::collection::vec(word(), 0..60), value in "\\PC{0,12}") {
        let text = words.concat();
        let env = [("A", "a"), ("WEIR__UPSTREAM__OPENAI__API_KEY", value.as_str()), ("WEIR__ROUTE__0__MODELS", value.as_str())];
        if let Err(mistakes) = read(&text, &env) {
            prop_assert!(mistakes.len() > 0);
            let _ = (mistakes.to_string(), mistakes.to_json());
        }
    }

    #[test]
    fn a_cut_file_never_panics_and_never_shows_its_keys(at in 0..MANY.len()) {
        if let Err(mistakes) = read(&MANY[..at], &[]) {
            let shown = mistakes.to_string();
            prop_assert!(!shown.contains("secret"), "{}", shown);
        }
    }
}

#[test]
fn neither_a_webhook_nor_its_signing_key_is_ever_shown() {
    for text in [
        "[alerts]\nwebhook = 'hooks.example.com/hidden'",
        "[alerts]\nwebhook = 'https://a:0/hidden?hidden=hidden'",
        "[alerts]\nwebhook = 'https://a/hidden'\nsecret = 'whsec_hidden!'",
        "[alerts]\nwebhook = 'https://a/hidden' 'hidden'\nsecret = 'hidden'",
    ] {
        let mistakes = wrong(text, &[]);
        let told = format!("{mistakes} {} {mistakes:?}", mistakes.to_json());
        assert!(!told.contains("hidden"), "{told}");
    }
    let (config, warnings) = read(
        "[alerts]\nwebhook = 'http://example.com/hidden'\nsecret = 'hidden'",
        &[],
    )
    .expect("it is sound");
    let told = format!("{config:?} {warnings:?} {}", warnings[0]);
    assert!(!told.contains("hidden"), "{told}");
    assert!(
        warnings[0].to_string().contains("without TLS"),
        "{}",
        warnings[0]
    );
}

#[test]
fn alerts_that_go_nowhere_are_warned_of() {
    let warned = |text| read(text, &[]).expect("it is sound").1.len();
    assert_eq!(warned("[alerts]\nsecret = 'a'"), 1);
    assert_eq!(warned("[alerts]\nhold = '5s'"), 0);
    assert_eq!(warned("[alerts]\nwebhook = 'http://receiver:9000/'"), 0);
}
