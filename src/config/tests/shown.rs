//! What `config show` shows, and what it never does.

use std::num::NonZeroU32;

use insta::assert_snapshot;

use crate::config::{Effective, Env, resolve::resolve};

fn effective(text: &str, env: &[(&str, &str)]) -> Effective {
    let env = env.iter().copied().collect::<Env>();
    let cores = NonZeroU32::new(2).expect("two");
    match resolve(Some("weir.toml".as_ref()), text, &env, cores) {
        Ok(loaded) => loaded.effective,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

#[test]
fn every_value_says_where_it_came_from_and_secrets_are_masked() {
    let text = r#"
[[upstream]]
name = "openai"
api_key = "${KEY}"
headers = { "x-team" = "secret" }
[[upstream]]
name = "mistral"
base_url = "${BASE}/v1"
[[route]]
models = ["*"]
targets = ["openai", "mistral"]
[[app]]
name = "a"
key = "blake3:92dad9443e4dd6d70a7f11872101ebff87e21798e4fbb26fa4bf590eb440e71b"
"#;
    let env = [
        ("KEY", "sk-secret"),
        ("MISTRAL_API_KEY", "secret"),
        ("BASE", "https://mistral.example"),
        ("WEIR__CACHE__TTL", "5m"),
    ];
    let shown = effective(text, &env);
    assert!(!format!("{} {} {shown:?}", shown.to_toml(), shown.to_json()).contains("secret"));
    assert_eq!(shown.key_origin(0), Some("$KEY"));
    assert_eq!(shown.key_origin(1), Some("$MISTRAL_API_KEY"));
    assert_snapshot!(shown.to_toml());
}

#[test]
fn the_shown_configuration_is_a_file_that_means_the_same() {
    let text = "listen = 'unix:/tmp/w.sock'\n[retry]\nmax_attempts = 2\n[[route]]\nmodels = ['a-*', 'b']\ntargets = ['openai:c']\ntimeout = '3s'";
    let shown = effective(text, &[]).to_toml();
    let (mut first, mut second) = (super::sound(text, &[]), super::sound(&shown, &[]));
    (first.source, second.source) = (None, None);
    assert_eq!(format!("{first:#?}"), format!("{second:#?}"));
}
