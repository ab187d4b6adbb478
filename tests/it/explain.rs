//! `weir explain` as a process: from arguments, a pipe and a file, offline; and of a call that the running gateway saw.

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};
use weir::sim::Fault;

use crate::support::{
    chat, get, in_time,
    process::{Directory, Process, toml},
    sim,
};

const OUT_OF_CREDIT: &str = r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
const KEY: &str = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz0123456789";

fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .arg("explain")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Exit code, stdout, stderr.
async fn said(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn argument_pipe_and_file_give_the_same_page() {
    in_time(async {
        let pasted = format!("authorization: Bearer {KEY}\nError code: 429 - {OUT_OF_CREDIT}");
        let (code, page, _) = said(weir().arg(&pasted)).await;
        assert_eq!(code, Some(0), "{page}");
        assert!(page.starts_with("Out of credit (OpenAI)"), "{page}");
        assert!(
            !page.contains("0123456789abcdef") && !page.contains('\u{1b}'),
            "{page}"
        );

        let directory = Directory::new("explain-file");
        let file = directory.write("error.txt", &pasted);
        let (code, of_file, _) = said(weir().arg("--file").arg(&file)).await;
        assert_eq!((code, &of_file), (Some(0), &page));

        let mut child = weir().stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(pasted.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), page);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_code_tells_explained_from_unknown_and_from_impossible() {
    in_time(async {
        let (code, page, _) = said(weir().arg("hello there")).await;
        assert_eq!(code, Some(2));
        assert!(
            page.contains("NOT RECOGNIZED") && page.contains("headers"),
            "{page}"
        );
        let (code, _, why) = said(weir().args(["--file", "/does/not/exist"])).await;
        assert_eq!(code, Some(1), "{why}");
        let (code, _, why) = said(weir().args(["--provider", "opnai", "429"])).await;
        assert_eq!(code, Some(2), "{why}");
        assert!(why.contains("openai-compatible"), "{why}");
        let (code, json, _) = said(weir().args(["--json", OUT_OF_CREDIT])).await;
        let told: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(code, Some(0));
        assert_eq!(told["explanations"][0]["class"], "quota_exhausted");
        assert_eq!(told["explanations"][0]["waiting"]["helps"], "no");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_alone_without_a_gateway_says_so() {
    in_time(async {
        let directory = Directory::new("explain-none");
        let config = directory.write("weir.toml", "admin = { listen = \"127.0.0.1:9\" }\n");
        let mut command = weir();
        command
            .arg("--config")
            .arg(&config)
            .arg("wr_69201f50aaaaaaaabbbbbbbb");
        let (code, _, why) = said(&mut command).await;
        assert_eq!(code, Some(1));
        assert!(why.contains("no gateway answers at 127.0.0.1:9"), "{why}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_the_running_gateway_is_explained_by_its_id_and_by_the_providers() {
    in_time(async {
        let first = sim().await;
        let fault = Fault {
            body: Some(OUT_OF_CREDIT.to_owned()),
            ..Fault::status(429)
        };
        first.control().inject(fault).unwrap();
        let process = Process::start("explain", &toml(&first.base_url(), ""), &[]).await;
        let answer = chat("a secret prompt", false).send(process.apps()).await;
        assert_eq!(answer.status, 429);
        let ours = answer.header("x-weir-request-id").to_owned();
        let theirs = answer.header("x-request-id").to_owned();

        let config = process.directory.write(
            "ask.toml",
            &format!("admin = {{ listen = \"{}\" }}\n", process.admin()),
        );
        for id in [&ours, &theirs] {
            let mut command = weir();
            command.arg("--config").arg(&config).args(["--id", id]);
            let (code, page, why) = said(&mut command).await;
            assert_eq!(code, Some(0), "{page}{why}");
            assert!(page.starts_with("Out of credit (OpenAI)"), "{page}");
            assert!(
                page.contains(&ours) && page.contains("Payment record"),
                "{page}"
            );
            assert!(!page.contains("secret prompt"), "{page}");
        }
        // The argument alone, and the line of the access log, lead to the same.
        for argument in [
            ours.clone(),
            format!("{{\"id\":\"{ours}\",\"status\":429,\"outcome\":\"upstream_error\"}}"),
        ] {
            let mut command = weir();
            command.arg("--config").arg(&config).arg(&argument);
            let (code, page, why) = said(&mut command).await;
            assert_eq!(code, Some(0), "{argument}: {page}{why}");
            assert!(page.contains(&ours), "{page}");
        }
        let text = get(&format!("/explain?id={ours}&format=text"))
            .send(process.admin())
            .await;
        assert!(text.text().starts_with("Out of credit (OpenAI)"));
        assert_eq!(
            get("/explain?id=wr_0").send(process.admin()).await.status,
            404
        );
        assert_eq!(get("/explain").send(process.admin()).await.status, 400);
    })
    .await;
}
