//! Errors in OpenAI's shape and OpenAI's words.

use std::{borrow::Cow, time::Duration};

use http::StatusCode;

use super::wire::push_json_str;

/// What the API answers instead of a result.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) param: Option<Cow<'static, str>>,
    pub(crate) code: Option<Cow<'static, str>>,
    /// Told in `retry-after-ms` and `retry-after`.
    pub(crate) wait: Option<Duration>,
}

// === impl ApiError ===

impl ApiError {
    /// A 400 `invalid_request_error`.
    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: Cow::Borrowed("invalid_request_error"),
            param: None,
            code: None,
            wait: None,
        }
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind.into();
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code.into());
        self
    }

    pub(crate) fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Beside the usual ones. Rounded up: who obeys must not be refused again.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let Some(wait) = self.wait else {
            return Vec::new();
        };
        let ms = wait.as_micros().div_ceil(1000);
        vec![
            ("retry-after-ms", ms.to_string()),
            ("retry-after", ms.div_ceil(1000).max(1).to_string()),
        ]
    }

    /// `Missing required parameter`, for `name` (dotted path).
    pub(crate) fn missing(name: &str) -> Self {
        Self::invalid(format!("Missing required parameter: '{name}'."))
            .param(name.to_owned())
            .code("missing_required_parameter")
    }

    /// `Invalid type`; `expected` and `got` with their articles: `a decimal`, `a string`.
    pub(crate) fn wrong_type(name: &str, expected: &str, got: &str) -> Self {
        Self::invalid(format!(
            "Invalid type for '{name}': expected {expected}, but got {got} instead."
        ))
        .param(name.to_owned())
        .code("invalid_type")
    }

    pub(crate) fn bad_json() -> Self {
        Self::invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP \
             library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you \
             have trouble figuring out how to fix this, please contact us through our help center at \
             help.openai.com.)",
        )
    }

    pub(crate) fn no_model_parameter() -> Self {
        Self::invalid("you must provide a model parameter")
    }

    pub(crate) fn model_not_found(model: &str) -> Self {
        Self::invalid(format!(
            "The model `{model}` does not exist or you do not have access to it."
        ))
        .status(StatusCode::NOT_FOUND)
        .code("model_not_found")
    }

    pub(crate) fn invalid_url(method: &http::Method, path: &str) -> Self {
        Self::invalid(format!("Invalid URL ({method} {path})")).status(StatusCode::NOT_FOUND)
    }

    pub(crate) fn method_not_allowed(accepted: &str) -> Self {
        Self::invalid(format!("Only {accepted} requests are accepted."))
            .status(StatusCode::METHOD_NOT_ALLOWED)
            .code("method_not_supported")
    }

    /// The body as it goes on the wire: pretty-printed, as the API does.
    pub(crate) fn body(&self) -> String {
        let mut out = String::with_capacity(160 + self.message.len());
        out.push_str("{\n  \"error\": {\n    \"message\": ");
        push_json_str(&mut out, &self.message);
        out.push_str(",\n    \"type\": ");
        push_json_str(&mut out, &self.kind);
        for (name, value) in [
            ("param", self.param.as_deref()),
            ("code", self.code.as_deref()),
        ] {
            out.push_str(",\n    \"");
            out.push_str(name);
            out.push_str("\": ");
            match value {
                Some(value) => push_json_str(&mut out, value),
                None => out.push_str("null"),
            }
        }
        out.push_str("\n  }\n}");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_json_with_the_four_members_in_order() {
        let body = ApiError::missing("messages").body();
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        let error = value["error"].as_object().unwrap();
        assert_eq!(
            error.keys().collect::<Vec<_>>(),
            ["message", "type", "param", "code"]
        );
        assert_eq!(error["message"], "Missing required parameter: 'messages'.");
        assert_eq!(error["param"], "messages");
    }
}
