//! Request ids and credential fingerprints.

use std::fmt;

use http::HeaderValue;

/// weir's own id of a call: `wr_` and 24 hex digits, the first 8 of which are its Unix time in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 27]);

/// Stands for a key where the key must not be: the first 64 bits of its BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Fingerprint(pub u64);

// === impl RequestId ===

impl RequestId {
    /// A new one.
    pub fn new() -> Self {
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |t| t.as_secs());
        let random = fastrand::u64(..);
        let mut id = *b"wr_000000000000000000000000";
        hex(&mut id[3..11], seconds & 0xffff_ffff);
        hex(&mut id[11..27], random);
        Self(id)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is made of hex digits")
    }

    /// As a header value.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("an id is made of hex digits")
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

fn hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Of a key as it is sent.
    pub fn of(key: &[u8]) -> Self {
        let hash = blake3::hash(key);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_and_fit_a_header() {
        let (a, b) = (RequestId::new(), RequestId::new());
        assert_ne!(a, b);
        assert_eq!(a.header().to_str().unwrap(), a.as_str());
        assert_eq!(a.as_str().len(), 27);
    }

    #[test]
    fn a_fingerprint_is_stable_and_short() {
        assert_eq!(Fingerprint::of(b"sk-a"), Fingerprint::of(b"sk-a"));
        assert_ne!(Fingerprint::of(b"sk-a"), Fingerprint::of(b"sk-b"));
        assert_eq!(Fingerprint::of(b"sk-a").to_string().len(), 16);
    }
}
