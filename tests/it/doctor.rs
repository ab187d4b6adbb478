//! `weir doctor`, the real binary, against simulated and scripted providers.

use std::{path::Path, process::Output};

use serde_json::Value;
use tokio::process::Command;
use weir::sim::{Key, Running, Settings, Spending};

use crate::support::{
    Upstream, in_time,
    process::{Directory, Process},
    simulator,
    upstream::{CHAT, Step, json},
};

/// As long as real ones.
const KEY: &str = "sk-proj-a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6";
const OTHER: &str = "sk-proj-zzzzz3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6";
const ADMIN: &str = "sk-admin-a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6";

/// What it said.
struct Said {
    code: i32,
    text: String,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The findings of the first upstream with this id.
    #[track_caller]
    fn finding(&self, id: &str) -> Value {
        let report = self.json();
        let of_upstream = report["upstreams"][0]["findings"]
            .as_array()
            .unwrap()
            .clone();
        let general = report["findings"].as_array().unwrap().clone();
        of_upstream
            .into_iter()
            .chain(general)
            .find(|finding| finding["id"] == id)
            .unwrap_or_else(|| panic!("no {id} in {report:#}"))
    }
}

/// Runs it; no key of any test may be in what it says.
async fn doctor(
    directory: &Directory,
    text: &str,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> Said {
    let config = directory.write("weir.toml", text);
    let output: Output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("doctor")
        .arg("--config")
        .arg(&config)
        .args(arguments)
        .env_clear()
        .env("MY_KEY", KEY)
        .envs(env.iter().copied())
        .current_dir(config.parent().unwrap_or(Path::new("/")))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (text, errors) = (said(&output.stdout), said(&output.stderr));
    for key in [KEY, OTHER, ADMIN] {
        // Not even its tail, which dashboards show.
        for part in [key, &key[key.len() - 12..]] {
            assert!(
                !text.contains(part) && !errors.contains(part),
                "a key in: {text}{errors}"
            );
        }
    }
    Said {
        code: output.status.code().unwrap(),
        text: format!("{text}{errors}"),
    }
}

fn config(base_url: &str, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"off\" }}\n[[upstream]]\nname = \"openai\"\nbase_url = \"{base_url}\"\napi_key = \"${{MY_KEY}}\"\n{more}\n"
    )
}

async fn provider(settings: Settings) -> Running {
    let key = |secret: &str, organization: &str, project: Option<&str>| Key {
        secret: secret.to_owned(),
        organization: organization.to_owned(),
        project: project.map(str::to_owned),
    };
    simulator(Settings {
        keys: vec![
            key(KEY, "org-mine", Some("proj_mine")),
            key(ADMIN, "org-mine", None),
        ],
        ..settings
    })
    .await
}

#[tokio::test]
async fn a_healthy_upstream_is_told_to_be_so() {
    in_time(async {
        let (sim, directory) = (provider(Settings::default()).await, Directory::new("doctor-healthy"));
        let text = config(&sim.base_url(), "organization = \"org-mine\"\n[[route]]\nmodels = [\"gpt-4o\"]\ntargets = [\"openai\"]\n");
        let said = doctor(&directory, &text, &[], &[]).await;
        assert_eq!(said.code, 0, "{}", said.text);
        assert!(said.text.starts_with("weir doctor: nothing is wrong\n"), "{}", said.text);
        for words in ["From $MY_KEY: OpenAI project key, fingerprint ", "organization org-mine, project proj_mine, as configured", "clock agrees", "gpt-4o"] {
            assert!(said.text.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "no {words} in {}", said.text);
        }
        assert!(said.text.lines().all(|line| line.chars().count() <= 80), "{}", said.text);
        // Free: nothing but lists was asked for.
        assert!(sim.control().log().iter().all(|call| call.method == "GET"));
    })
    .await;
}

#[tokio::test]
async fn the_json_has_its_documented_shape() {
    in_time(async {
        let (sim, directory) = (
            provider(Settings::default()).await,
            Directory::new("doctor-json"),
        );
        let said = doctor(
            &directory,
            &config(&sim.base_url(), ""),
            &["--json", "openai"],
            &[],
        )
        .await;
        let report = said.json();
        assert_eq!(
            (said.code, &report["exit_code"], &report["worst"]),
            (0, &0.into(), &"note".into())
        );
        let upstream = &report["upstreams"][0];
        assert_eq!(upstream["key"]["source"], "variable");
        assert_eq!(upstream["key"]["variable"], "MY_KEY");
        assert_eq!(upstream["key"]["kind"], "OpenAI project key");
        assert_eq!(upstream["key"]["fingerprint"].as_str().unwrap().len(), 16);
        assert_eq!(
            (&upstream["organization"], &upstream["project"]),
            (&"org-mine".into(), &"proj_mine".into())
        );
        assert_eq!(
            (
                &upstream["facts"]["status"],
                &upstream["facts"]["http_version"]
            ),
            (&200.into(), &"HTTP/1.1".into())
        );
        assert!(
            upstream["facts"]["request_id"]
                .as_str()
                .unwrap()
                .starts_with("req_")
        );
        assert!(upstream["facts"]["models"].as_u64().unwrap() > 5);
        for finding in upstream["findings"].as_array().unwrap() {
            for key in ["check", "id", "severity", "what"] {
                assert!(finding[key].is_string(), "{finding}");
            }
            assert!(finding["do"].is_string() || finding["do"].is_null());
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_is_an_error_and_is_not_quoted() {
    in_time(async {
        let (sim, directory) = (
            provider(Settings::default()).await,
            Directory::new("doctor-key"),
        );
        let said = doctor(
            &directory,
            &config(&sim.base_url(), ""),
            &["--json"],
            &[("MY_KEY", OTHER)],
        )
        .await;
        assert_eq!(said.code, 2);
        let finding = said.finding("auth_invalid");
        assert_eq!(
            (&finding["check"], &finding["severity"]),
            (&"call".into(), &"error".into())
        );
    })
    .await;
}

#[tokio::test]
async fn the_key_of_the_wrong_organization_is_in_the_first_lines() {
    in_time(async {
        let (sim, directory) = (provider(Settings::default()).await, Directory::new("doctor-organization"));
        let text = config(&sim.base_url(), "organization = \"org-other\"\n");
        let said = doctor(&directory, &text, &[], &[]).await;
        assert_eq!(said.code, 2, "{}", said.text);
        let first: String = said.text.lines().take(4).collect::<Vec<_>>().join(" ");
        let first = first.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            first.contains("openai: The key belongs to organization org-mine, project proj_mine, but the configuration says organization org-other"),
            "{}",
            said.text
        );
        // Nothing is spent on a key that is refused already.
        let said = doctor(&directory, &text, &["--json", "--spend"], &[]).await;
        assert_eq!(said.finding("spend-not-made")["severity"], "note");
        assert!(sim.control().log().iter().all(|call| call.method == "GET"));
    })
    .await;
}

#[tokio::test]
async fn an_organization_left_over_in_the_environment_is_found_for_callers_own_keys() {
    in_time(async {
        let (sim, directory) = (
            provider(Settings::default()).await,
            Directory::new("doctor-environment"),
        );
        let env = [("OPENAI_API_KEY", KEY), ("OPENAI_ORG_ID", "org-left-over")];
        let passing = config(&sim.base_url(), "").replace("${MY_KEY}", "passthrough");
        let said = doctor(&directory, &passing, &["--json"], &env).await;
        assert_eq!(said.code, 2, "{}", said.text);
        let finding = said.finding("wrong-organization-in-environment");
        let what = finding["what"].as_str().unwrap();
        assert!(
            what.contains("OPENAI_ORG_ID=org-left-over") && what.contains("org-mine"),
            "{what}"
        );
        // With a key of weir's own no caller's headers pass: worth a note.
        let said = doctor(&directory, &config(&sim.base_url(), ""), &["--json"], &env).await;
        assert_eq!(
            (
                said.code,
                &said.finding("organization-in-environment")["severity"]
            ),
            (0, &"note".into())
        );
    })
    .await;
}

#[tokio::test]
async fn a_callers_key_is_examined_out_of_a_named_variable() {
    in_time(async {
        let (sim, directory) = (
            provider(Settings::default()).await,
            Directory::new("doctor-from"),
        );
        let passing = config(&sim.base_url(), "").replace("${MY_KEY}", "passthrough");
        let said = doctor(&directory, &passing, &["--json"], &[]).await;
        assert_eq!(
            (said.code, &said.finding("key-of-callers")["severity"]),
            (0, &"note".into())
        );
        assert_eq!(said.finding("call-without-key")["severity"], "ok");
        let said = doctor(
            &directory,
            &passing,
            &["--json", "--key-from", "MY_KEY"],
            &[],
        )
        .await;
        assert_eq!(said.json()["upstreams"][0]["organization"], "org-mine");
        assert_eq!(
            doctor(&directory, &passing, &["--key-from", "NOT_SET"], &[])
                .await
                .code,
            64
        );
    })
    .await;
}

#[tokio::test]
async fn an_empty_account_shows_only_on_a_billed_call() {
    in_time(async {
        let sim = provider(Settings {
            balance_usd: Some(0.0),
            ..Settings::default()
        })
        .await;
        let directory = Directory::new("doctor-spend");
        let text = config(&sim.base_url(), "");
        assert_eq!(doctor(&directory, &text, &["--json"], &[]).await.code, 0);
        let said = doctor(&directory, &text, &["--json", "--spend"], &[]).await;
        assert_eq!(said.code, 2);
        assert_eq!(said.finding("quota_exhausted")["check"], "spend");
        sim.control().set_balance(Some(1.0));
        let said = doctor(
            &directory,
            &text,
            &["--json", "--spend", "--model", "gpt-4o-mini"],
            &[],
        )
        .await;
        assert_eq!(said.code, 0, "{}", said.text);
        assert!(
            said.finding("spend")["what"]
                .as_str()
                .unwrap()
                .contains("gpt-4o-mini works (at most about $0.0000")
        );
        assert_eq!(
            said.json()["upstreams"][0]["facts"]["limits"][0]["kind"],
            "requests"
        );
        let spent = 1.0 - sim.control().balance_of("org-mine").unwrap();
        assert!(spent > 0.0 && spent < 0.001, "{spent}");
    })
    .await;
}

#[tokio::test]
async fn an_address_that_lacks_or_doubles_the_version_is_found() {
    in_time(async {
        let (sim, directory) = (
            provider(Settings::default()).await,
            Directory::new("doctor-path"),
        );
        // What the configuration refuses, doctor refuses too; and the environment's address is read as well.
        let said = doctor(
            &directory,
            &config(&format!("{}/v1", sim.base_url()), ""),
            &[],
            &[],
        )
        .await;
        assert_eq!(said.code, 64, "{}", said.text);
        assert!(said.text.contains("/v1 twice"), "{}", said.text);
        let twice = format!("{}/v1", sim.base_url());
        let said = doctor(
            &directory,
            &config(&sim.base_url(), ""),
            &["--json"],
            &[("OPENAI_BASE_URL", &twice)],
        )
        .await;
        assert_eq!(
            (
                said.code,
                &said.finding("env-base-url-v1-twice")["severity"]
            ),
            (1, &"warning".into())
        );
        // A server that has its API under /v1 only.
        let strict = Upstream::start(|seen, _| match seen.path() {
            "/v1/models" => vec![Step::Send(json(
                200,
                "",
                r#"{"object":"list","data":[{"id":"m"}]}"#,
            ))],
            _ => vec![Step::Send(json(
                404,
                "",
                r#"{"error":{"message":"no such path"}}"#,
            ))],
        })
        .await;
        let base = strict.base_url();
        let text = config(
            base.trim_end_matches("/v1"),
            "provider = \"openai-compatible\"\n",
        );
        let said = doctor(&directory, &text, &["--json"], &[]).await;
        let finding = said.finding("base-url-no-version");
        assert_eq!((said.code, &finding["severity"]), (2, &"error".into()));
        assert!(finding["do"].as_str().unwrap().contains(&base), "{finding}");
    })
    .await;
}

#[tokio::test]
async fn a_dead_host_hides_no_other_one() {
    in_time(async {
        let (sim, directory) = (provider(Settings::default()).await, Directory::new("doctor-dead"));
        let silent = Upstream::start(|_, _| vec![Step::Hang]).await;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = free.local_addr().unwrap();
        drop(free);
        let more = |name: &str, url: &str| format!("[[upstream]]\nname = \"{name}\"\nprovider = \"openai-compatible\"\nbase_url = \"{url}\"\napi_key = \"none\"\n");
        let text = config(
            &sim.base_url(),
            &format!("{}{}{}", more("silent", &silent.base_url()), more("closed", &format!("http://{closed}/v1")), more("nameless", "http://no-such-host.invalid/v1")),
        );
        let said = doctor(&directory, &text, &["--json", "--timeout", "500ms"], &[]).await;
        assert_eq!(said.code, 2);
        let report = said.json();
        let ids = |at: usize| -> Vec<String> {
            let findings = report["upstreams"][at]["findings"].as_array().unwrap();
            findings.iter().map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
        };
        assert!(ids(0).contains(&"call".to_owned()), "{:?}", ids(0));
        assert!(ids(1).contains(&"too-late".to_owned()), "{:?}", ids(1));
        assert!(ids(2).contains(&"connection-refused".to_owned()), "{:?}", ids(2));
        assert!(ids(3).iter().any(|id| id == "name-unknown" || id == "too-late"), "{:?}", ids(3));
        // A name on the command line is a choice.
        let said = doctor(&directory, &text, &["--json", "openai"], &[]).await;
        assert_eq!((said.code, said.json()["upstreams"].as_array().unwrap().len()), (1, 1), "{}", said.text);
        assert_eq!(doctor(&directory, &text, &["nobody"], &[]).await.code, 64);
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_told_with_its_issuer() {
    in_time(async {
        let directory = Directory::new("doctor-tls");
        let (port, authority) = crate::tls::https_port(&directory).await;
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let stranger = directory.write("other.pem", &other.cert.pem());
        let text = config(&format!("https://localhost:{port}/v1"), "");
        let said = doctor(
            &directory,
            &text,
            &["--json"],
            &[("SSL_CERT_FILE", stranger.to_str().unwrap())],
        )
        .await;
        let finding = said.finding("tls-unknown-issuer");
        assert_eq!((said.code, &finding["severity"]), (2, &"error".into()));
        assert!(
            finding["what"].as_str().unwrap().contains("self-signed"),
            "{finding}"
        );
        let said = doctor(
            &directory,
            &text,
            &["--json"],
            &[("SSL_CERT_FILE", authority.to_str().unwrap())],
        )
        .await;
        let facts = &said.json()["upstreams"][0]["facts"];
        assert_eq!(
            (&facts["tls_version"], &facts["http_version"]),
            (&"TLS 1.3".into(), &"HTTP/2.0".into())
        );
        assert!(facts["certificate_until"].is_string());
        let said = doctor(
            &directory,
            &text,
            &["--json"],
            &[("SSL_CERT_FILE", "/nowhere.pem")],
        )
        .await;
        assert_eq!(said.finding("env-no-certificates")["severity"], "error");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_leads_back_to_weir_is_a_loop() {
    in_time(async {
        let (sim, directory) = (
            provider(Settings::default()).await,
            Directory::new("doctor-loop"),
        );
        // Any port that something listens on; `127.1` is a name for the resolver and no address for the configuration.
        let port = sim.addr().port();
        let text = config(&format!("http://127.1:{port}/v1"), "")
            .replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        let said = doctor(&directory, &text, &["--json"], &[]).await;
        assert_eq!(
            (said.code, &said.finding("base-url-loop")["severity"]),
            (2, &"error".into())
        );
    })
    .await;
}

#[tokio::test]
async fn an_admin_key_shows_a_limit_that_is_reached() {
    in_time(async {
        let spending = Spending {
            spent_usd: 120.0,
            limit_usd: Some(100.0),
            enforcing: true,
            archived: vec!["proj_mine".to_owned()],
        };
        let sim = provider(Settings {
            spending,
            ..Settings::default()
        })
        .await;
        let directory = Directory::new("doctor-admin");
        let text = config(
            &sim.base_url(),
            "admin_key = \"${ADMIN}\"\n[[route]]\nmodels = [\"gpt-4o\"]\ntargets = [\"openai\"]\n",
        );
        let said = doctor(&directory, &text, &["--json"], &[("ADMIN", ADMIN)]).await;
        assert_eq!(said.code, 2);
        let finding = said.finding("spend-limit-reached");
        assert!(
            finding["what"]
                .as_str()
                .unwrap()
                .contains("$120.00 this month of a limit of $100.00"),
            "{finding}"
        );
        assert_eq!(said.finding("project-archived")["severity"], "error");
        assert!(
            said.finding("project-limits")["what"]
                .as_str()
                .unwrap()
                .contains("gpt-4o: 500 requests/min")
        );
        // A project key in its place is not sent.
        let said = doctor(&directory, &text, &["--json"], &[("ADMIN", OTHER)]).await;
        assert_eq!(said.finding("admin-key-is-none")["severity"], "error");
        // One in the environment does not go to a host that is not the vendor's.
        let before = sim.control().log().len();
        doctor(
            &directory,
            &config(&sim.base_url(), ""),
            &["--json"],
            &[("OPENAI_ADMIN_KEY", ADMIN)],
        )
        .await;
        assert!(
            sim.control().log()[before..]
                .iter()
                .all(|call| !call.path.contains("organization"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_page_in_place_of_the_api_and_a_wrong_clock_are_told() {
    in_time(async {
        let directory = Directory::new("doctor-page");
        let page = "<html><head><title>Sign in to the network</title></head></html>";
        let portal = Upstream::saying(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-length: {}\r\n\r\n{page}",
            page.len()
        ))
        .await;
        let said = doctor(&directory, &config(&portal.base_url(), ""), &["--json"], &[]).await;
        assert_eq!(said.code, 2);
        assert_eq!(said.finding("clock-skew")["severity"], "error");
        let report = said.json();
        let call = report["upstreams"][0]["findings"].as_array().unwrap().iter().find(|f| f["check"] == "call").unwrap().clone();
        assert_eq!(call["severity"], "error", "{call}");
    })
    .await;
}

#[tokio::test]
async fn a_vendors_balance_is_read_with_the_ordinary_key() {
    in_time(async {
        let directory = Directory::new("doctor-balance");
        let vendor = Upstream::start(|seen, _| {
            vec![Step::Send(match seen.path() {
                "/user/balance" => json(200, "", r#"{"is_available":false,"balance_infos":[{"currency":"USD","total_balance":"0.00"}]}"#),
                "/v1/models" => json(200, "", r#"{"object":"list","data":[{"id":"deepseek-chat"}]}"#),
                _ => json(404, "", CHAT),
            })]
        })
        .await;
        let text = config(&vendor.base_url(), "provider = \"deepseek\"\n");
        let said = doctor(&directory, &text, &["--json"], &[("MY_KEY", "sk-0123456789abcdef0123456789abcdef")]).await;
        assert_eq!((said.code, &said.finding("balance-empty")["severity"]), (2, &"error".into()));
    })
    .await;
}

#[tokio::test]
async fn a_running_gateway_is_asked_for_its_circuits() {
    in_time(async {
        let sim = provider(Settings {
            balance_usd: Some(0.0),
            ..Settings::default()
        })
        .await;
        let directory = Directory::new("doctor-running");
        let text = config(&sim.base_url(), "").replace("\"off\"", "\"127.0.0.1:0\"");
        let process = Process::start("doctor-gateway", &text, &[("MY_KEY", Path::new(KEY))]).await;
        let text = text.replace(
            "admin = { listen = \"127.0.0.1:0\" }",
            &format!("admin = {{ listen = \"{}\" }}", process.admin()),
        );
        let said = doctor(&directory, &text, &["--json"], &[]).await;
        assert_eq!(said.finding("gateway")["severity"], "ok");
        let answer = crate::support::chat("hi", false).send(process.apps()).await;
        assert_eq!(answer.status, 429);
        let said = doctor(&directory, &text, &["--json"], &[]).await;
        let finding = said.finding("circuits-open");
        assert!(
            finding["what"]
                .as_str()
                .unwrap()
                .contains("quota_exhausted"),
            "{finding}"
        );
    })
    .await;
}
