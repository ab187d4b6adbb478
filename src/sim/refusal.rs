//! How the account refuses: OpenAI's words for money, limits and keys.

use http::StatusCode;

use super::{
    bucket::{Refused, duration_text},
    error::ApiError,
};

/// No money left.
pub(crate) fn insufficient_quota() -> ApiError {
    ApiError::invalid(
        "You exceeded your current quota, please check your plan and billing details. For more information on this \
         error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
    )
    .status(StatusCode::TOO_MANY_REQUESTS)
    .kind("insufficient_quota")
    .code("insufficient_quota")
}

/// A bucket is empty, or smaller than the request; `counter` names it and its unit.
pub(crate) fn rate_limited(
    refused: Refused,
    (kind, counter): (&'static str, &str),
    model: &str,
    organization: &str,
    limit: u32,
    amount: u64,
) -> ApiError {
    let learn = "Visit https://platform.openai.com/account/rate-limits to learn more.";
    let error = match refused {
        Refused::TooLarge => ApiError::invalid(format!(
            "Request too large for {model} in organization {organization} on {counter}: Limit {limit}, Requested \
             {amount}. The input or output tokens must be reduced in order to run successfully. {learn}"
        )),
        Refused::Wait { used, wait } => ApiError::invalid(format!(
            "Rate limit reached for {model} in organization {organization} on {counter}: Limit {limit}, Used {}, \
             Requested {amount}. Please try again in {}. {learn}",
            used.ceil(),
            duration_text(wait)
        ))
        .wait(wait),
    };
    error
        .status(StatusCode::TOO_MANY_REQUESTS)
        .kind(kind)
        .code("rate_limit_exceeded")
}

/// A key as OpenAI shows it: the first eight and the last four characters.
pub(crate) fn masked(secret: &str) -> String {
    let chars: Vec<char> = secret.chars().collect();
    if chars.len() <= 12 {
        return "*".repeat(chars.len());
    }
    let hidden = chars.len() - 12;
    let ends = (
        chars[..8].iter().collect::<String>(),
        chars[chars.len() - 4..].iter().collect::<String>(),
    );
    format!("{}{}{}", ends.0, "*".repeat(hidden), ends.1)
}
