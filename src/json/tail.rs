//! A member near the end of a large object, without walking what lies before it.

use memchr::memmem;

use super::{
    scan::{skip_space, skip_string, skip_value},
    value::Raw,
};

/// The value of the last member of `body` that `quoted_key` (with its quotes) names, when everything from there to the
/// end is sound and closes the outermost object. So a cut body has none. `None` says only that it was not found this
/// way: the member may stand deeper, or early, or nowhere.
///
/// Text that holds the key has its quotes escaped and is not taken for it.
pub fn last_member<'a>(body: &'a [u8], quoted_key: &str) -> Option<Raw<'a>> {
    let at = memmem::rfind(body, quoted_key.as_bytes())? + quoted_key.len();
    let start = value_after_colon(body, at)?;
    let end = skip_value(body, start).ok()?;
    let mut at = skip_space(body, end);
    while body.get(at) == Some(&b',') {
        at = skip_space(body, at + 1);
        if body.get(at) != Some(&b'"') {
            return None;
        }
        at = value_after_colon(body, skip_string(body, at).ok()?)?;
        at = skip_space(body, skip_value(body, at).ok()?);
    }
    let closes = body.get(at) == Some(&b'}') && skip_space(body, at + 1) == body.len();
    closes.then(|| Raw::new(&body[start..end], start))
}

fn value_after_colon(body: &[u8], at: usize) -> Option<usize> {
    let at = skip_space(body, at);
    (body.get(at) == Some(&b':')).then(|| skip_space(body, at + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(body: &str) -> Option<String> {
        last_member(body.as_bytes(), "\"usage\"")
            .map(|raw| String::from_utf8_lossy(raw.text()).into_owned())
    }

    #[test]
    fn a_member_is_found_wherever_it_stands_at_the_top() {
        assert_eq!(
            usage(r#"{"a":[1,{"b":"}"}],"usage":{"x":1}}"#).as_deref(),
            Some(r#"{"x":1}"#)
        );
        assert_eq!(
            usage("{\"usage\" : {\"x\":1} , \"z\": [ 1 ] } \n").as_deref(),
            Some(r#"{"x":1}"#)
        );
    }

    #[test]
    fn a_nested_member_or_one_in_a_text_is_not_taken() {
        assert_eq!(usage(r#"{"a":{"usage":{"x":1}}}"#), None);
        assert_eq!(usage(r#"{"a":"\"usage\":{}"}"#), None);
    }

    proptest! {
        #[test]
        fn a_cut_body_has_none(cut in 1_usize..60) {
            let whole = r#"{"id":"x","choices":[{"a":"b}"}],"usage":{"n":{"m":1}},"z":"}"}"#;
            let cut = whole.len().saturating_sub(cut);
            prop_assert_eq!(usage(&whole[..cut]), None);
        }
    }
}
