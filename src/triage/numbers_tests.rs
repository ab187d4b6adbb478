//! The numbers of refusals, against the corpus.

use super::*;
use super::super::tests::{corpus, rows_of};

#[test]
fn probe() {
    for (file, text) in [("errors", ""), ("vendors", include_str!("../../tests/fixtures/vendors.jsonl")), ("examined", include_str!("../../tests/fixtures/examined.jsonl")), ("unseen", include_str!("../../tests/fixtures/unseen.jsonl"))] {
        let rows = if text.is_empty() { corpus() } else { rows_of(text) };
        for row in rows {
            let provider = crate::triage::preset(row.text("provider")).unwrap_or_else(|| crate::triage::preset("openai-compatible").unwrap());
            let verdict = row.judged_by(&provider, &row.body(), &row.headers());
            if verdict.class.is_rate_limit() || verdict.class == Class::RequestTooLargeForLimit {
                let m = verdict.provider_message.clone().unwrap_or_default();
                if m.bytes().any(|b| b.is_ascii_digit()) || verdict.told_limit.is_some() {
                    let t = verdict.told_limit;
                    let t = t.map(|t| format!("{:?} L{:?} U{:?} R{:?} w={:?}", t.kind, t.limit, t.used, t.requested, t.wait()));
                    println!("@@ {file} {} | {} | {}", t.unwrap_or("-".into()), verdict.class.as_str(), m.replace('\n', " "));
                }
            }
        }
    }
}
