//! The quick look: most texts hold nothing that the patterns would begin to look at, and most calls have no others. It
//! also keeps the patterns from being compiled before they are needed.

use std::sync::OnceLock;

/// Nothing in it is of interest: no beginning of a key, no sign and no word that says where one stands.
pub(super) fn is_plain(text: &str) -> bool {
    static BEGINNINGS: OnceLock<Beginnings> = OnceLock::new();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-:, ".contains(&b);
    text.bytes().all(plain) && !BEGINNINGS.get_or_init(Beginnings::new).may_be_in(text)
}

/// Three characters of all that the patterns begin with, folded and hashed: a few more texts than those hit.
struct Beginnings([u64; 256]);

/// Of the beginning of every kind of key, of `://`, and of the words near which values are taken for secrets.
const BEGINNINGS: &[&str] = &[
    "sk-", "ss-", "aiz", "aq.", "ya2", "goc", "1//", "gsk", "xai", "ppl", "hf_", "r8_", "ghp",
    "gho", "ghu", "ghs", "ghr", "git", "glp", "nva", "tgp", "fw_", "csk", "vck", "lsv", "pk-",
    "npm", "dap", "sk_", "rk_", "pk_", "whs", "xox", "xap", "aki", "asi", "abi", "acc", "abs",
    "eyj", "jqq", "hoo", "dis", "wk-", "://", "key", "sec", "tok", "pas", "aut", "coo", "bea",
    "sig", "cre", "ws4", "beg",
];

// === impl Beginnings ===

impl Beginnings {
    fn new() -> Self {
        let mut bits = [0; 256];
        for beginning in BEGINNINGS {
            for three in beginning.as_bytes().windows(3) {
                let (word, bit) = Self::place(three);
                bits[word] |= 1 << bit;
            }
        }
        Self(bits)
    }

    fn may_be_in(&self, text: &str) -> bool {
        text.as_bytes().windows(3).any(|three| {
            let (word, bit) = Self::place(three);
            self.0[word] >> bit & 1 == 1
        })
    }

    /// Letters count the same in either case.
    fn place(three: &[u8]) -> (usize, usize) {
        let folded = |at: usize| u32::from(three[at] | 0x20);
        let all = folded(0) << 16 | folded(1) << 8 | folded(2);
        let hash = (all.wrapping_mul(0x1656_67b1) >> 18) as usize;
        (hash / 64, hash % 64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::thoroughly, *};

    #[test]
    fn no_kind_of_key_passes_the_quick_look() {
        // A kind that is added to the table has to be added to the beginnings, too.
        let beginnings = [
            "sk-",
            "sk-proj-",
            "sess-",
            "AIza",
            "AQ.Ab",
            "ya29.",
            "GOCSPX-",
            "1//0",
            "gsk_",
            "xai-",
            "pplx-",
            "hf_",
            "r8_",
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "nvapi-",
            "tgp_v1_",
            "fw_",
            "csk-",
            "vck_",
            "lsv2_pt_",
            "pk-lf-",
            "npm_",
            "dapi",
            "sk_live_",
            "rk_live_",
            "pk_test_",
            "whsec_",
            "xoxb-",
            "xapp-",
            "AKIA",
            "ASIA",
            "ABIA",
            "ACCA",
            "ABSK",
            "bedrock-api-key-",
            "eyJ",
            "JQQJ9",
            "hooks.slack.com/services/",
            "discord.com/api/webhooks/",
            "wk-",
        ];
        let mut seen = std::collections::HashSet::new();
        for beginning in beginnings {
            // Dashes keep its words short, so that only its beginning tells.
            let key = format!("{beginning}{}", "abcd-1234-".repeat(5));
            let kind = super::super::KINDS.iter().position(|(kind, ..)| {
                let kind = kind.replace("[A-Za-z0-9]{20,80}", "");
                regex::Regex::new(&format!("^(?:{kind})"))
                    .unwrap()
                    .is_match(beginning)
            });
            seen.insert(kind.unwrap_or_else(|| panic!("{beginning} is no kind")));
            assert!(!is_plain(&key), "{key}");
        }
        assert_eq!(seen.len(), super::super::KINDS.len(), "each kind is tried");
    }

    proptest! {
        /// The quick look may be wrong in one direction only.
        #[test]
        fn what_looks_plain_is_what_the_patterns_leave_alone(
            parts in prop::collection::vec(prop_oneof![
                "[A-Za-z0-9/._:, -]{0,40}",
                prop::sample::select(vec!["key", "sk-", "eyJ", "AIza", "/token/", "Bearer:", "secret.", "JQQJ9", "1//0", "x:", "Bearer ", "api key ", "-----BEGIN PRIVATE KEY-----", "AWS4-HMAC-SHA256 ", "Cookie, ", "authorization: "]).prop_map(str::to_owned),
            ], 0..5),
        ) {
            let text = parts.concat();
            if is_plain(&text) {
                prop_assert_eq!(&*thoroughly(&text), &*text);
            }
        }
    }
}
