//! What callers say to weir in headers: `x-weir-*`, `Cache-Control`, and what the SDKs tell.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Refused;
use crate::{
    call::{CacheDirectives, Directives, Sdk},
    config::Priority,
    redact,
};

const TAG: &str = "x-weir-tag-";
/// Tags of a call and bytes of each: they go into logs.
const MAX_TAGS: usize = 16;
const MAX_TAG_BYTES: usize = 128;

/// A call's `x-weir-timeout` is at most this.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Takes the `x-weir-*` headers out of `headers` and reads them, with `Cache-Control` (which stays).
pub(super) fn take(
    headers: &mut HeaderMap,
) -> Result<(Directives, Option<Duration>, Option<String>), Refused> {
    let mut directives = Directives {
        cache: cache_control(headers),
        ..Directives::default()
    };
    let (mut timeout, mut app) = (None, None);
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-weir-"))
        .cloned()
        .collect();
    for name in ours {
        let Some(value) = headers.remove(&name) else {
            continue;
        };
        let text = value.to_str().unwrap_or_default().trim();
        match name.as_str() {
            "x-weir-app" => app = Some(text.chars().take(64).collect()),
            "x-weir-priority" => {
                let words = [
                    ("interactive", Priority::Interactive),
                    ("batch", Priority::Batch),
                ];
                directives.priority = Some(one_of("x-weir-priority", text, &words)?)
            }
            "x-weir-fallback" => {
                directives.no_fallback =
                    one_of("x-weir-fallback", text, &[("on", false), ("off", true)])?
            }
            "x-weir-timeout" => timeout = Some(duration(text)?),
            "x-weir-cache" => cache_word(text, &mut directives.cache)?,
            tag if tag.starts_with(TAG) && directives.tags.len() < MAX_TAGS => {
                let value = redact::name(text).chars().take(MAX_TAG_BYTES).collect();
                let tag = redact::header_name(&tag[TAG.len()..]).into_owned();
                directives.tags.push((tag, value));
            }
            // A header of a later version, or of ours come back: not for the provider either.
            _ => {}
        }
    }
    Ok((directives, timeout, app))
}

fn one_of<T: Copy>(
    header: &'static str,
    found: &str,
    words: &[(&'static str, T)],
) -> Result<T, Refused> {
    words
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(found))
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let expected = match header {
                "x-weir-priority" => "`interactive` or `batch` is meant",
                _ => "`on` or `off` is meant",
            };
            Refused::BadDirective {
                header,
                found: redact::name(found).into_owned(),
                expected,
            }
        })
}

fn cache_word(text: &str, cache: &mut CacheDirectives) -> Result<(), Refused> {
    match text.to_ascii_lowercase().as_str() {
        "on" => cache.force = true,
        "off" => cache.no_store = true,
        "refresh" => cache.no_cache = true,
        _ => {
            return Err(Refused::BadDirective {
                header: "x-weir-cache",
                found: redact::name(text).into_owned(),
                expected: "`on`, `off` or `refresh` is meant",
            });
        }
    }
    // `off` means neither store nor answer from the store.
    cache.no_cache |= cache.no_store;
    Ok(())
}

/// `30s`, `1500ms`, `2m`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, Refused> {
    let seconds = text
        .parse::<f64>()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    let parsed = seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|d| !d.is_zero());
    parsed
        .map(|d| d.min(LONGEST_TIMEOUT))
        .ok_or_else(|| Refused::BadDirective {
            header: "x-weir-timeout",
            found: redact::name(text).into_owned(),
            expected: "a duration such as `30s` or `1500ms` is meant",
        })
}

/// RFC 9111 §5.2.1; unknown directives are ignored, as it asks.
fn cache_control(headers: &HeaderMap) -> CacheDirectives {
    let mut cache = CacheDirectives::default();
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = argument
                .trim()
                .trim_matches('"')
                .parse()
                .ok()
                .map(Duration::from_secs);
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => {
                    cache.no_store = true;
                    cache.no_cache = true;
                }
                "no-cache" => cache.no_cache = true,
                "only-if-cached" => cache.only_if_cached = true,
                "max-age" => cache.max_age = seconds,
                "min-fresh" => cache.min_fresh = seconds,
                "max-stale" => cache.max_stale = Some(seconds.unwrap_or(Duration::MAX)),
                _ => {}
            }
        }
    }
    cache.no_cache |= cache.max_age == Some(Duration::ZERO);
    cache
}

/// What the official SDKs tell of themselves.
pub(super) fn sdk(headers: &HeaderMap) -> (Sdk, Option<Duration>) {
    let number = |name: &str| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok()?.trim().parse::<f64>().ok())
    };
    let retry_count = number("x-stainless-retry-count").map_or(0, |n| n as u32);
    let timeout = number("x-stainless-read-timeout")
        .or_else(|| number("x-stainless-timeout"))
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .filter(|t| !t.is_zero() && *t <= LONGEST_TIMEOUT);
    (Sdk { retry_count }, timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn directives_are_read_and_stripped() {
        let mut map = headers(&[
            ("x-weir-timeout", "1500ms"),
            ("x-weir-fallback", "off"),
            ("x-weir-priority", "batch"),
            ("x-weir-cache", "refresh"),
            ("x-weir-tag-team", "blue"),
            ("x-weir-of-tomorrow", "1"),
            ("openai-beta", "x"),
        ]);
        let (directives, timeout, _) = take(&mut map).unwrap();
        assert_eq!(timeout, Some(Duration::from_millis(1500)));
        assert!(
            directives.no_fallback
                && directives.priority == Some(Priority::Batch)
                && directives.cache.no_cache
                && !directives.cache.no_store
        );
        assert_eq!(directives.tags, [("team".to_owned(), "blue".to_owned())]);
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn a_directive_that_makes_no_sense_is_refused_by_name() {
        for (name, value) in [
            ("x-weir-timeout", "soon"),
            ("x-weir-cache", "maybe"),
            ("x-weir-fallback", "no"),
        ] {
            let error = take(&mut headers(&[(name, value)])).unwrap_err();
            assert!(
                error.to_string().contains(name) && error.to_string().contains(value),
                "{error}"
            );
        }
    }

    #[test]
    fn cache_control_is_obeyed() {
        let (d, ..) = take(&mut headers(&[(
            "cache-control",
            "max-age=0, max-stale, min-fresh=5, only-if-cached",
        )]))
        .unwrap();
        assert!(d.cache.no_cache && d.cache.only_if_cached && !d.cache.no_store);
        assert_eq!(d.cache.min_fresh, Some(Duration::from_secs(5)));
        assert_eq!(d.cache.max_stale, Some(Duration::MAX));
    }

    #[test]
    fn the_sdks_timeout_and_retry_count_are_read() {
        let (sdk_, timeout) = sdk(&headers(&[
            ("x-stainless-retry-count", "2"),
            ("x-stainless-read-timeout", "12.5"),
        ]));
        assert_eq!(
            (sdk_.retry_count, timeout),
            (2, Some(Duration::from_millis(12_500)))
        );
        assert_eq!(sdk(&headers(&[("x-stainless-timeout", "-1")])).1, None);
    }
}
