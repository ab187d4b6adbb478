//! The provider's list of models, against what routes send there.

use serde_json::Value;

use super::{Check, Finding};

/// The ids of a list of models; `None`: it is no such list.
pub(super) fn models(body: &[u8]) -> Option<Vec<String>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let list = match &value {
        Value::Array(list) => list,
        object => object
            .get("data")
            .or_else(|| object.get("models"))?
            .as_array()?,
    };
    let id = |model: &Value| {
        let id = model.get("id").or_else(|| model.get("name"))?.as_str()?;
        Some(id.strip_prefix("models/").unwrap_or(id).to_owned())
    };
    Some(list.iter().filter_map(id).collect())
}

/// Models that routes send here, against the list.
pub(super) fn missing(
    routed: &[String],
    listed: &[String],
    names_are_deployments: bool,
) -> Vec<Finding> {
    if routed.is_empty() {
        return Vec::new();
    }
    if names_are_deployments {
        return vec![Finding::note(
            Check::Models,
            "models-are-deployments",
            "Azure's list names models, and routes name deployments: not compared.",
        )];
    }
    let known = |model: &str| {
        listed.iter().any(|id| {
            id == model
                || id.strip_suffix(":latest") == Some(model)
                || id.rsplit('/').next() == Some(model)
        })
    };
    let missing: Vec<_> = routed
        .iter()
        .filter(|model| !known(model))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return vec![Finding::ok(
            Check::Models,
            "models",
            format!(
                "Every model that routes name here is on the provider's list: {}.",
                routed.join(", ")
            ),
        )];
    }
    vec![
        Finding::warning(
            Check::Models,
            "models-missing",
            format!(
                "Routes send here what is not on the provider's list: {}.",
                missing.join(", ")
            ),
        )
        .todo("Check the names, and whether this key's project has access to them."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_read_in_every_vendors_form() {
        assert_eq!(
            models(br#"{"data":[{"id":"a"},{"id":"models/b"}]}"#).unwrap(),
            ["a", "b"]
        );
        assert_eq!(models(br#"{"models":[{"name":"c"}]}"#).unwrap(), ["c"]);
        assert_eq!(models(br#"[{"id":"d"}]"#).unwrap(), ["d"]);
        assert_eq!(models(b"{}"), None);
    }

    #[test]
    fn a_missing_model_is_named() {
        let listed = [
            "gpt-4o".to_owned(),
            "llama3:latest".to_owned(),
            "openai/gpt-oss".to_owned(),
        ];
        let routed = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            missing(&routed(&["gpt-4o", "llama3", "gpt-oss"]), &listed, false)[0].id,
            "models"
        );
        let found = missing(&routed(&["gpt-4o", "gpt-9"]), &listed, false);
        assert!(
            found[0].what.contains("gpt-9") && !found[0].what.contains("gpt-4o"),
            "{}",
            found[0].what
        );
        assert!(missing(&[], &listed, false).is_empty());
    }
}
