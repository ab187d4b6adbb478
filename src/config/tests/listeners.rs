//! Where a gateway listens can be known where its keys are not.

use super::super::{Env, Listeners, resolve};

fn listeners(text: &str, env: &[(&str, &str)]) -> Result<Listeners, String> {
    resolve::listeners(None, text, &env.iter().copied().collect::<Env>())
        .map_err(|mistakes| mistakes.to_string())
}

fn told(text: &str, env: &[(&str, &str)]) -> (String, Option<String>) {
    let Listeners { listen, admin } = listeners(text, env).expect("known");
    (listen.to_string(), admin.map(|admin| admin.to_string()))
}

#[test]
fn keys_that_are_not_set_here_do_not_matter() {
    let text = "listen = '127.0.0.1:9000'\nadmin = { listen = '127.0.0.1:9001' }\n\
                [[upstream]]\nname = 'openai'\napi_key = '${OPENAI_API_KEY}'\n\
                [alerts]\nwebhook = '${ALERT_WEBHOOK_URL}'\n";
    let known = (
        "127.0.0.1:9000".to_owned(),
        Some("127.0.0.1:9001".to_owned()),
    );
    assert_eq!(told(text, &[]), known);
    let broken_elsewhere = format!("{text}[retry]\nmax_atempts = 3\n");
    assert_eq!(told(&broken_elsewhere, &[]), known);
}

#[test]
fn defaults_and_the_environment_count_as_they_do_for_the_gateway() {
    let known = (
        "127.0.0.1:8484".to_owned(),
        Some("127.0.0.1:8485".to_owned()),
    );
    assert_eq!(told("", &[]), known);
    let (listen, admin) = told(
        "listen = '127.0.0.1:${PORT}'",
        &[("PORT", "9000"), ("WEIR__ADMIN__LISTEN", "127.0.0.1:9001")],
    );
    assert_eq!(listen, "127.0.0.1:9000");
    assert_eq!(admin.as_deref(), Some("127.0.0.1:9001"));
    let off = told("admin = { listen = 'off' }", &[]);
    assert_eq!(off.1, None);
}

#[test]
fn an_address_that_cannot_be_known_is_a_mistake() {
    for text in [
        "listen = 'nowhere'",
        "listen = '127.0.0.1:${PORT}'",
        "admin = { listen = 5 }",
        "listen = \n",
    ] {
        assert!(listeners(text, &[]).is_err(), "{text}");
    }
}
