//! `POST /v1/moderations`: flags texts that say `[sim:flag]`, and nothing else.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Call,
    check::{self, Raw},
};
use crate::sim::{error::ApiError, limits::Ask, text::estimate, wire::Reply};

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(default)]
    input: Option<Value>,
}

pub(crate) fn create(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let body: Body<'_> = call.json()?;
    let model = check::string(body.model, "model")?.unwrap_or("omni-moderation-latest".into());
    let texts: Vec<String> = match body.input {
        Some(Value::String(one)) => vec![one],
        // Parts of one multi-modal input are judged together, texts each by itself.
        Some(Value::Array(all)) if all.first().is_some_and(Value::is_object) => {
            vec![
                all.iter()
                    .filter_map(|part| part["text"].as_str())
                    .collect::<Vec<_>>()
                    .join("\n"),
            ]
        }
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
        _ => return Err(ApiError::missing("input")),
    };
    let tokens = texts.iter().map(|text| estimate(text.len())).sum();
    call.admit(&model, Ask::text(tokens, 0))?;
    let mut dice = call.dice(1);
    let id = dice.id("modr-", 29);
    let results: Vec<Value> = texts
        .iter()
        .map(|text| {
            let flagged = text.contains("[sim:flag]");
            let hit = |name: &str| flagged && name == "violence";
            let is = CATEGORIES.iter().map(|name| ((*name).to_owned(), json!(hit(name)))).collect::<Map<_, _>>();
            let mut score = |name: &str| if hit(name) { 0.97 } else { dice.unit() * 1e-4 };
            let scores = CATEGORIES.iter().map(|name| ((*name).to_owned(), json!(score(name)))).collect::<Map<_, _>>();
            let on = CATEGORIES.iter().map(|name| ((*name).to_owned(), json!(["text"]))).collect::<Map<_, _>>();
            json!({
                "flagged": flagged, "categories": is, "category_scores": scores, "category_applied_input_types": on,
            })
        })
        .collect();
    Ok(Reply::json(format!(
        "{:#}",
        json!({"id": id, "model": model, "results": results})
    )))
}
