//! How the account refuses: OpenAI's words for money and keys.

use http::StatusCode;

use super::error::ApiError;

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
