//! The models on offer, what they cost and how large they are.
//!
//! Prices are OpenAI's list of 2026-11-20 in USD per million tokens.

/// One model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    /// USD per million tokens: input, output.
    pub(crate) price: (f64, f64),
    /// Tokens of prompt and answer together; 0 = not stated.
    pub(crate) context: u32,
    /// Largest answer in tokens; 0 = not stated.
    pub(crate) max_output: u32,
    /// The dated name that answers carry; empty = the name itself.
    pub(crate) snapshot: &'static str,
}

/// What a model can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Chat,
    Completion,
    Embedding,
    Image,
    Transcription,
    Speech,
    Moderation,
    Realtime,
}

const fn chat(
    name: &'static str,
    price: (f64, f64),
    context: u32,
    max_output: u32,
    snapshot: &'static str,
) -> Model {
    Model {
        name,
        mode: Mode::Chat,
        price,
        context,
        max_output,
        snapshot,
    }
}

const fn other(name: &'static str, mode: Mode, price: (f64, f64)) -> Model {
    Model {
        name,
        mode,
        price,
        context: 0,
        max_output: 0,
        snapshot: "",
    }
}

/// Every model, in the order of `GET /v1/models`.
pub(crate) const MODELS: &[Model] = &[
    chat("gpt-6-astra", (10.0, 50.0), 1_050_000, 128_000, ""),
    chat("gpt-6-sol", (2.0, 10.0), 1_050_000, 128_000, ""),
    chat("gpt-6-luna", (0.1, 0.5), 1_050_000, 128_000, ""),
    chat("gpt-6.1-sol", (2.0, 10.0), 1_050_000, 128_000, ""),
    chat("gpt-6.1-terra", (1.0, 5.0), 1_050_000, 128_000, ""),
    chat("gpt-5.6", (4.0, 20.0), 1_050_000, 128_000, ""),
    chat("gpt-5.6-sol", (4.0, 20.0), 1_050_000, 128_000, ""),
    chat("gpt-5.6-terra", (2.0, 12.0), 1_050_000, 128_000, ""),
    chat("gpt-5.6-luna", (0.2, 1.2), 1_050_000, 128_000, ""),
    chat("gpt-5.5", (5.0, 30.0), 1_050_000, 128_000, ""),
    chat("gpt-5.4", (2.5, 15.0), 1_050_000, 128_000, ""),
    chat("gpt-5.4-mini", (0.75, 4.5), 400_000, 128_000, ""),
    chat("gpt-5.4-nano", (0.2, 1.25), 400_000, 128_000, ""),
    chat("gpt-5.2", (1.75, 14.0), 400_000, 128_000, ""),
    chat(
        "gpt-5.1",
        (1.25, 10.0),
        400_000,
        128_000,
        "gpt-5.1-2025-11-13",
    ),
    chat("gpt-5", (1.25, 10.0), 400_000, 128_000, "gpt-5-2025-08-07"),
    chat(
        "gpt-5-mini",
        (0.25, 2.0),
        400_000,
        128_000,
        "gpt-5-mini-2025-08-07",
    ),
    chat(
        "gpt-5-nano",
        (0.05, 0.4),
        400_000,
        128_000,
        "gpt-5-nano-2025-08-07",
    ),
    chat(
        "gpt-4.1",
        (2.0, 8.0),
        1_047_576,
        32_768,
        "gpt-4.1-2025-04-14",
    ),
    chat(
        "gpt-4.1-mini",
        (0.4, 1.6),
        1_047_576,
        32_768,
        "gpt-4.1-mini-2025-04-14",
    ),
    chat(
        "gpt-4.1-nano",
        (0.1, 0.4),
        1_047_576,
        32_768,
        "gpt-4.1-nano-2025-04-14",
    ),
    chat("gpt-4o", (2.5, 10.0), 128_000, 16_384, "gpt-4o-2024-08-06"),
    chat(
        "gpt-4o-mini",
        (0.15, 0.6),
        128_000,
        16_384,
        "gpt-4o-mini-2024-07-18",
    ),
    chat(
        "gpt-4-turbo",
        (10.0, 30.0),
        128_000,
        4_096,
        "gpt-4-turbo-2024-04-09",
    ),
    chat("gpt-4", (30.0, 60.0), 8_192, 8_192, "gpt-4-0613"),
    chat(
        "gpt-3.5-turbo",
        (0.5, 1.5),
        16_385,
        4_096,
        "gpt-3.5-turbo-0125",
    ),
    chat("o3", (2.0, 8.0), 200_000, 100_000, "o3-2025-04-16"),
    chat(
        "o4-mini",
        (1.1, 4.4),
        200_000,
        100_000,
        "o4-mini-2025-04-16",
    ),
    other("gpt-3.5-turbo-instruct", Mode::Completion, (1.5, 2.0)),
    other("davinci-002", Mode::Completion, (2.0, 2.0)),
    other("text-embedding-3-small", Mode::Embedding, (0.02, 0.0)),
    other("text-embedding-3-large", Mode::Embedding, (0.13, 0.0)),
    other("text-embedding-ada-002", Mode::Embedding, (0.1, 0.0)),
    other("gpt-image-2", Mode::Image, (5.0, 40.0)),
    other("gpt-image-1", Mode::Image, (5.0, 40.0)),
    other("dall-e-3", Mode::Image, (5.0, 40.0)),
    other("dall-e-2", Mode::Image, (5.0, 20.0)),
    other("gpt-4o-transcribe", Mode::Transcription, (2.5, 10.0)),
    other("gpt-4o-mini-transcribe", Mode::Transcription, (1.25, 5.0)),
    other("whisper-1", Mode::Transcription, (6.0, 0.0)),
    other("gpt-4o-mini-tts", Mode::Speech, (0.6, 12.0)),
    other("tts-1", Mode::Speech, (15.0, 0.0)),
    other("tts-1-hd", Mode::Speech, (30.0, 0.0)),
    other("omni-moderation-latest", Mode::Moderation, (0.0, 0.0)),
    other("text-moderation-latest", Mode::Moderation, (0.0, 0.0)),
    other("gpt-realtime", Mode::Realtime, (4.0, 16.0)),
    other("gpt-4o-realtime-preview", Mode::Realtime, (5.0, 20.0)),
];

/// The model of that name; a name with a date behind it (`gpt-4o-2024-08-06`, `gpt-4-0613`) is its family's.
pub(crate) fn find(name: &str) -> Option<&'static Model> {
    let by_name = |name: &str| MODELS.iter().find(|model| model.name == name);
    by_name(name)
        .or_else(|| {
            MODELS
                .iter()
                .find(|model| !model.snapshot.is_empty() && model.snapshot == name)
        })
        .or_else(|| {
            let (family, date) = name.split_at_checked(name.len().checked_sub(11)?)?;
            let dated = date.bytes().enumerate().all(|(at, byte)| match at {
                0 | 5 | 8 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
            dated.then(|| by_name(family)).flatten()
        })
}

/// The name an answer carries when `asked` was asked for.
pub(crate) fn answered_as(asked: &str) -> &str {
    match find(asked) {
        Some(model) if model.name == asked && !model.snapshot.is_empty() => model.snapshot,
        _ => asked,
    }
}

/// The cost of a call in 10⁻¹² USD; a model without a price is billed as `gpt-4o`.
pub(crate) fn cost(model: &str, input: u64, output: u64) -> i64 {
    let (per_input, per_output) = find(model).map_or((2.5, 10.0), |model| model.price);
    // USD per million tokens is 10⁶ times as many 10⁻¹² USD per token.
    let picos = input as f64 * per_input * 1e6 + output as f64 * per_output * 1e6;
    picos.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dated_names_belong_to_their_family_and_strangers_to_none() {
        assert_eq!(find("gpt-4o-2024-11-20").unwrap().name, "gpt-4o");
        assert_eq!(find("gpt-4-0613").unwrap().name, "gpt-4");
        assert!(find("gpt-4o-20241120").is_none());
        assert!(find("é").is_none());
        assert!(find("gpt-9").is_none());
    }

    #[test]
    fn a_million_tokens_cost_the_listed_price() {
        assert_eq!(cost("gpt-4o", 1_000_000, 1_000_000), 12_500_000_000_000);
        assert_eq!(cost("gpt-4o-mini-2024-07-18", 3, 0), 450_000);
    }
}
