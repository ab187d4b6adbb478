//! `POST /v1/embeddings`: unit vectors drawn from the text, as floats or base64.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Call,
    check::{self, Raw},
};
use crate::sim::{
    dice::Dice,
    error::ApiError,
    limits::Ask,
    text::estimate,
    wire::{Reply, push_json_str},
};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(default)]
    input: Option<Value>,
    #[serde(borrow, default)]
    encoding_format: Raw<'a>,
    #[serde(borrow, default)]
    dimensions: Raw<'a>,
}

pub(crate) fn create(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let body: Body<'_> = call.json()?;
    let model = check::model(body.model)?;
    let format = check::string(body.encoding_format, "encoding_format")?.unwrap_or("float".into());
    if !matches!(&*format, "float" | "base64") {
        return Err(ApiError::invalid(format!(
            "Invalid value: '{format}'. Supported values are: 'float' and 'base64'."
        ))
        .param("encoding_format")
        .code("invalid_value"));
    }
    let natural = if model.contains("3-large") {
        3072
    } else {
        1536
    };
    let dimensions = check::integer(body.dimensions, "dimensions", 1, natural)?.unwrap_or(natural);
    let inputs = inputs(body.input.ok_or_else(|| ApiError::missing("input"))?)?;
    let tokens: u64 = inputs.iter().map(|(_, tokens)| tokens).sum();
    call.admit(&model, Ask::text(tokens, 0))?;
    call.charge(&model, tokens, 0);

    let mut out = String::with_capacity(256 + inputs.len() * dimensions as usize * 12);
    out.push_str("{\n  \"object\": \"list\",\n  \"data\": [");
    for (index, (text, _)) in inputs.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(
            out,
            "{comma}\n    {{\n      \"object\": \"embedding\",\n      \"index\": {index},\n      \"embedding\": "
        );
        let vector = vector(call.world.seed, &model, text, dimensions as usize);
        if format == "base64" {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            push_json_str(&mut out, &STANDARD.encode(bytes));
        } else {
            for (at, x) in vector.iter().enumerate() {
                let _ = write!(out, "{}{x:.8}", if at > 0 { ", " } else { "[" });
            }
            out.push(']');
        }
        out.push_str("\n    }");
    }
    out.push_str("\n  ],\n  \"model\": ");
    push_json_str(&mut out, &model);
    let _ = write!(
        out,
        ",\n  \"usage\": {{\n    \"prompt_tokens\": {tokens},\n    \"total_tokens\": {tokens}\n  }}\n}}\n"
    );
    Ok(Reply::json(out))
}

/// The texts and their tokens; arrays of token numbers count one each.
fn inputs(input: Value) -> Result<Vec<(String, u64)>, ApiError> {
    let empty = || {
        ApiError::invalid(
            "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
        )
    };
    let tokens = |all: &[Value]| (format!("{all:?}"), all.len() as u64);
    match input {
        Value::String(text) if text.is_empty() => Err(empty()),
        Value::String(text) => Ok(vec![(text.clone(), estimate(text.len()))]),
        Value::Array(all) if all.is_empty() => Err(empty()),
        Value::Array(all) if all.len() > 2048 && !all[0].is_number() => Err(ApiError::invalid(format!(
            "Invalid 'input': array too long. Expected an array with maximum length 2048, but got an array with length \
             {} instead.",
            all.len()
        ))
        .param("input")
        .code("array_above_max_length")),
        Value::Array(all) if all[0].is_number() => Ok(vec![tokens(&all)]),
        Value::Array(all) => all
            .into_iter()
            .map(|one| match one {
                Value::String(text) if !text.is_empty() => Ok((text.clone(), estimate(text.len()))),
                Value::Array(numbers) if !numbers.is_empty() => Ok(tokens(&numbers)),
                _ => Err(empty()),
            })
            .collect(),
        _ => Err(empty()),
    }
}

/// Equal texts have equal vectors, whichever request asks.
fn vector(seed: u64, model: &str, text: &str, dimensions: usize) -> Vec<f32> {
    let hash = blake3::Hasher::new()
        .update(model.as_bytes())
        .update(b"\0")
        .update(text.as_bytes())
        .finalize();
    let mut dice = Dice::new(
        seed,
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default()),
    );
    let raw: Vec<f64> = (0..dimensions).map(|_| dice.unit() * 2.0 - 1.0).collect();
    let length = raw
        .iter()
        .map(|x| x * x)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    raw.iter().map(|x| (x / length) as f32).collect()
}
