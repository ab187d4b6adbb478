//! The cursor: skips white space, strings and whole values. Knows no keys and keeps nothing.

use memchr::memchr2;

use super::{Error, MAX_DEPTH, Problem};

/// First byte at or after `at` that is not JSON white space (or the length).
#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// `at` stands on an opening quote; gives the place just behind the closing one.
#[inline]
pub(crate) fn skip_string(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let mut at = at + 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match find_special(rest) {
            Some(hit) if rest[hit] == b'"' => return Ok(at + hit + 1),
            Some(hit) => at += hit + 2,
            None => return Err(Problem::Truncated.at(bytes.len())),
        }
    }
}

/// The first quote or backslash.
///
/// Keys and deltas are a few bytes long, where entering `memchr` costs more than it saves: so
/// the first bytes are looked at eight at a time.
#[inline]
pub(super) fn find_special(rest: &[u8]) -> Option<usize> {
    const SHORT: usize = 32;
    let mut at = 0;
    while at < SHORT
        && let Some(word) = rest[at..].first_chunk::<8>()
    {
        let word = u64::from_le_bytes(*word);
        let hits =
            zero_bytes(word ^ (ONES * b'"' as u64)) | zero_bytes(word ^ (ONES * b'\\' as u64));
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', &rest[at..]).map(|hit| at + hit)
}

/// Skips one value of any kind; `at` stands on its first byte.
#[inline]
pub(super) fn skip_value(bytes: &[u8], at: usize) -> Result<usize, Error> {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => skip_nested(bytes, at),
        _ => skip_scalar(bytes, at),
    }
}

/// Numbers and literals: runs up to the next delimiter. A literal must be spelt right; a number
/// must look like one at both ends, which keeps `nan` and `1}` apart without a grammar.
fn skip_scalar(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let rest = bytes.get(at..).unwrap_or_default();
    let len = rest
        .iter()
        .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')))
        .unwrap_or(rest.len());
    let word = &rest[..len];
    let known = match word.first() {
        Some(b't') => word == b"true",
        Some(b'f') => word == b"false",
        Some(b'n') => word == b"null",
        Some(b'-' | b'0'..=b'9') => word.last().is_some_and(u8::is_ascii_digit),
        _ => false,
    };
    if known {
        Ok(at + len)
    } else if at >= bytes.len() || at + len >= bytes.len() {
        Err(Problem::Truncated.at(bytes.len()))
    } else {
        Err(Problem::Unexpected.at(at))
    }
}

/// Brackets are matched on a bit stack (1 = object), so that skipping allocates nothing.
fn skip_nested(bytes: &[u8], mut at: usize) -> Result<usize, Error> {
    let mut kinds: u128 = 0;
    let mut depth = 0usize;
    loop {
        let Some(&byte) = bytes.get(at) else {
            return Err(Problem::Truncated.at(bytes.len()));
        };
        match byte {
            b'"' => {
                at = skip_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => {
                if depth == MAX_DEPTH {
                    return Err(Problem::TooDeep.at(at));
                }
                kinds = (kinds << 1) | u128::from(byte == b'{');
                depth += 1;
            }
            b'}' | b']' => {
                if (kinds & 1 == 1) != (byte == b'}') {
                    return Err(Problem::Unexpected.at(at));
                }
                kinds >>= 1;
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {
                at = next_structural(bytes, at + 1);
                continue;
            }
        }
        at += 1;
    }
}

/// The next quote or bracket at or after `at`, give or take: long runs of numbers (embeddings)
/// are stepped over eight bytes at a time, the last few bytes of a body are left to the caller.
#[inline]
fn next_structural(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        // Brackets and braces differ in one bit only.
        let bent = word | (ONES * 0x20);
        let hits = zero_bytes(word ^ (ONES * b'"' as u64))
            | zero_bytes(bent ^ (ONES * b'{' as u64))
            | zero_bytes(bent ^ (ONES * b'}' as u64));
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// A flag in the top bit of each byte that is zero. A false flag may stand above a true one,
/// never below, so the lowest flag is always right.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}
