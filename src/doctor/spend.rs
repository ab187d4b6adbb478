//! `--spend`: one smallest billed call. An empty balance, a spend limit or a model's permission shows on nothing less.

use std::sync::OnceLock;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::vendor::{AZURE, Vendor};

/// Tokens of the question, framing included; generous.
const INPUT: f64 = 12.0;

#[derive(Deserialize)]
struct File {
    models: Vec<Price>,
}

/// A row of the embedded prices, in USD per million tokens.
#[derive(Deserialize)]
struct Price {
    model: String,
    provider: String,
    mode: String,
    input: Option<f64>,
    output: Option<f64>,
}

/// What is asked, and what it costs at most.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) model: String,
    /// In USD; `None`: the price is not known.
    pub(super) cost: Option<f64>,
    output: u32,
    modern: bool,
}

fn prices() -> &'static [Price] {
    static PRICES: OnceLock<Vec<Price>> = OnceLock::new();
    PRICES.get_or_init(|| {
        serde_json::from_str(include_str!("../../config/prices.json"))
            .map_or_else(|_| Vec::new(), |file: File| file.models)
    })
}

/// Input and output of a chat model; a dated name has its family's.
fn price(vendor: Option<Vendor>, model: &str) -> Option<(f64, f64)> {
    let mut name = model;
    loop {
        let found = prices().iter().find(|price| {
            price.model == name && price.mode == "chat" && sells(vendor, &price.provider)
        });
        if let Some(found) = found {
            return Some((found.input?, found.output?));
        }
        name = name.rsplit_once('-')?.0;
    }
}

/// Whether the row is of that vendor's list.
fn sells(vendor: Option<Vendor>, provider: &str) -> bool {
    match vendor.map(|vendor| vendor.0) {
        Some("Google") => provider == "gemini",
        Some(vendor) => provider.eq_ignore_ascii_case(vendor),
        None => false,
    }
}

// === impl Plan ===

impl Plan {
    /// For the model that was named, else the cheapest of those that routes name here, else the vendor's cheapest that is
    /// on its list. `None`: there is nothing to choose by.
    pub(super) fn choose(
        named: Option<&str>,
        routed: &[String],
        listed: Option<&[String]>,
        vendor: Option<Vendor>,
    ) -> Option<Self> {
        let is_listed = |model: &str| listed.is_none_or(|list| list.iter().any(|id| id == model));
        let cheapest = |models: &mut dyn Iterator<Item = &str>| {
            models
                .filter(|model| is_listed(model))
                .filter_map(|model| Some((model.to_owned(), Self::cost_of(vendor, model)?)))
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(model, _)| model)
        };
        let model = named
            .map(str::to_owned)
            .or_else(|| cheapest(&mut routed.iter().map(String::as_str)))
            .or_else(|| {
                routed
                    .iter()
                    .find(|model| is_listed(model) && looks_like_chat(model))
                    .cloned()
            })
            .or_else(|| {
                // Azure's names are the customer's own: nothing can be chosen for him.
                let on_list = prices().iter().filter(|price| {
                    price.mode == "chat" && vendor != Some(AZURE) && sells(vendor, &price.provider)
                });
                cheapest(&mut on_list.map(|price| price.model.as_str()))
            })?;
        let (output, modern) = shape(&model, vendor);
        Some(Self {
            cost: Self::cost_of(vendor, &model),
            model,
            output,
            modern,
        })
    }

    fn cost_of(vendor: Option<Vendor>, model: &str) -> Option<f64> {
        let (input, output) = price(vendor, model)?;
        let (tokens, _) = shape(model, vendor);
        Some((INPUT * input + f64::from(tokens) * output) / 1e6)
    }

    pub(super) fn body(&self) -> Bytes {
        let bound = if self.modern {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        json!({
            "model": self.model,
            "messages": [{"role": "user", "content": "Hi"}],
            bound: self.output,
        })
        .to_string()
        .into()
    }

    /// In words.
    pub(super) fn price(&self) -> String {
        match self.cost {
            Some(0.0) => "free".to_owned(),
            Some(cost) => format!("at most about ${cost:.7}"),
            None => "price not known".to_owned(),
        }
    }
}

/// Tokens to ask for, and whether under the newer name. Reasoning models think before they answer and refuse a bound in which
/// they cannot.
fn shape(model: &str, vendor: Option<Vendor>) -> (u32, bool) {
    let name = model.rsplit('/').next().unwrap_or(model);
    let of_openai = matches!(vendor.map(|vendor| vendor.0), Some("OpenAI" | "Azure"));
    let reasons = ["o1", "o3", "o4", "gpt-5", "gpt-6"]
        .iter()
        .any(|family| name.starts_with(family));
    if of_openai && reasons {
        (16, true)
    } else {
        (1, of_openai)
    }
}

fn looks_like_chat(model: &str) -> bool {
    ![
        "embed",
        "whisper",
        "tts",
        "transcribe",
        "image",
        "dall-e",
        "moderation",
        "realtime",
        "rerank",
        "audio",
        "sora",
    ]
    .iter()
    .any(|word| model.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::vendor::{GROQ, OPENAI};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_cheapest_routed_model_is_taken() {
        let routed = names(&["gpt-4o", "gpt-4o-mini", "text-embedding-3-small"]);
        let plan = Plan::choose(None, &routed, None, Some(OPENAI)).unwrap();
        assert_eq!(plan.model, "gpt-4o-mini");
        assert!(plan.cost.unwrap() < 0.0001);
        let plan = Plan::choose(Some("gpt-4o"), &routed, None, Some(OPENAI)).unwrap();
        assert_eq!(plan.model, "gpt-4o");
    }

    #[test]
    fn without_routes_the_vendors_cheapest_on_its_list_is_taken() {
        let listed = names(&["gpt-4o", "gpt-4.1-nano"]);
        let plan = Plan::choose(None, &[], Some(&listed), Some(OPENAI)).unwrap();
        assert_eq!(plan.model, "gpt-4.1-nano");
        assert_eq!(Plan::choose(None, &[], Some(&listed), None), None);
        assert_eq!(Plan::choose(None, &[], Some(&listed), Some(AZURE)), None);
    }

    #[test]
    fn a_routed_model_without_a_price_will_do_when_it_is_for_chat() {
        let plan = Plan::choose(
            None,
            &names(&["whisper-large", "llama-9"]),
            None,
            Some(GROQ),
        )
        .unwrap();
        assert_eq!((plan.model.as_str(), plan.cost), ("llama-9", None));
    }

    #[test]
    fn a_reasoning_model_gets_room_and_the_newer_name() {
        let body = |model: &str, vendor| {
            String::from_utf8(
                Plan::choose(Some(model), &[], None, vendor)
                    .unwrap()
                    .body()
                    .to_vec(),
            )
            .unwrap()
        };
        assert!(body("gpt-5-nano", Some(OPENAI)).contains("\"max_completion_tokens\":16"));
        assert!(body("gpt-4o-mini", Some(OPENAI)).contains("\"max_completion_tokens\":1}"));
        assert!(body("llama-9", Some(GROQ)).contains("\"max_tokens\":1}"));
    }
}
