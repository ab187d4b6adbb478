//! Validation in OpenAI's words.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::sim::error::ApiError;

/// A value as it stands in the body; `None` for absent and for `null`.
pub(crate) type Raw<'a> = Option<&'a RawValue>;

/// The type of a value with its article, as error texts name it.
pub(crate) fn type_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ if raw.get().contains(['.', 'e', 'E']) => "a decimal",
        _ => "an integer",
    }
}

/// A string, unescaped only where it must be.
pub(crate) fn string<'a>(raw: Raw<'a>, name: &str) -> Result<Option<Cow<'a, str>>, ApiError> {
    raw.map(|raw| text(raw).ok_or_else(|| ApiError::wrong_type(name, "a string", type_of(raw))))
        .transpose()
}

/// The text of a JSON string.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw.get()).ok().map(Cow::Owned)
}

/// The `model` every endpoint needs.
pub(crate) fn model<'a>(raw: Raw<'a>) -> Result<Cow<'a, str>, ApiError> {
    match string(raw, "model")? {
        Some(model) if !model.is_empty() => Ok(model),
        _ => Err(ApiError::no_model_parameter()),
    }
}

/// `true` or `false`; absent is `false`.
pub(crate) fn flag(raw: Raw<'_>, name: &str) -> Result<bool, ApiError> {
    match raw.map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ApiError::wrong_type(
            name,
            "a boolean",
            raw.map_or("null", type_of),
        )),
    }
}

/// A number between two bounds.
pub(crate) fn decimal(
    raw: Raw<'_>,
    name: &str,
    low: f64,
    high: f64,
) -> Result<Option<f64>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    let Ok(value) = serde_json::from_str::<f64>(raw.get()) else {
        return Err(ApiError::wrong_type(name, "a decimal", type_of(raw)));
    };
    bounded(raw, name, "decimal", value, low, high).map(Some)
}

/// A whole number between two bounds.
pub(crate) fn integer(
    raw: Raw<'_>,
    name: &str,
    low: u32,
    high: u32,
) -> Result<Option<u32>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    let Ok(value) = serde_json::from_str::<i64>(raw.get()) else {
        return Err(ApiError::wrong_type(name, "an integer", type_of(raw)));
    };
    bounded(raw, name, "integer", value as f64, low.into(), high.into())?;
    Ok(u32::try_from(value).ok())
}

fn bounded(
    raw: &RawValue,
    name: &str,
    kind: &str,
    value: f64,
    low: f64,
    high: f64,
) -> Result<f64, ApiError> {
    let refuse = |side: &str, sign: &str, bound: f64, code: &'static str| {
        let got = raw.get();
        Err(ApiError::invalid(format!(
            "Invalid '{name}': {kind} {side} value. Expected a value {sign} {bound}, but got {got} instead."
        ))
        .param(name.to_owned())
        .code(code))
    };
    let whole = kind == "integer";
    if value > high {
        refuse(
            "above maximum",
            "<=",
            high,
            if whole {
                "integer_above_max_value"
            } else {
                "decimal_above_max_value"
            },
        )
    } else if value < low {
        refuse(
            "below minimum",
            ">=",
            low,
            if whole {
                "integer_below_min_value"
            } else {
                "decimal_below_min_value"
            },
        )
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn out_of_range_and_wrong_types_are_told_as_openai_tells_them() {
        let error = decimal(Some(&raw("2.5")), "temperature", 0.0, 2.0).unwrap_err();
        assert_eq!(
            error.message,
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 2.5 instead."
        );
        assert_eq!(error.code.as_deref(), Some("decimal_above_max_value"));
        let error = decimal(Some(&raw("\"hot\"")), "temperature", 0.0, 2.0).unwrap_err();
        assert_eq!(
            error.message,
            "Invalid type for 'temperature': expected a decimal, but got a string instead."
        );
        let error = integer(Some(&raw("0")), "max_tokens", 1, 100).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("integer_below_min_value"));
        assert_eq!(
            integer(Some(&raw("1.5")), "n", 1, 2)
                .unwrap_err()
                .code
                .as_deref(),
            Some("invalid_type")
        );
    }

    #[test]
    fn text_is_unescaped() {
        assert_eq!(text(&raw(r#""a\n\u00e9""#)).unwrap(), "a\né");
        assert!(text(&raw("1")).is_none());
    }
}
