//! Seeded randomness: every byte of an answer is drawn from one of these.
//!
//! A [`Dice`] is made from the simulator's seed and the hash of the request, never from a counter or the
//! clock, so that the same request gives the same answer whatever else runs at the same time.

/// A SplitMix64 stream. Small, fast, and good enough for filler text and shares; not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

// === impl Dice ===

impl Dice {
    /// A stream fixed by `seed` and whatever else tells this use from others.
    pub(crate) fn new(seed: u64, salt: u64) -> Self {
        let mut dice = Self(seed ^ salt.rotate_left(32));
        // The first output of nearby seeds is nearby; one round parts them.
        dice.0 = dice.next();
        dice
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..below`; 0 when `below` is 0.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        if below == 0 {
            return 0;
        }
        usize::try_from(self.next() % below as u64).unwrap_or(0)
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A standard normal deviate (Box and Muller's method).
    pub(crate) fn normal(&mut self) -> f64 {
        let u = self.unit().max(f64::MIN_POSITIVE);
        let v = self.unit();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Appends an id such as the ones OpenAI makes: `prefix` and `len` letters and digits.
    pub(crate) fn id(&mut self, prefix: &str, len: usize) -> String {
        const ALPHABET: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut id = String::with_capacity(prefix.len() + len);
        id.push_str(prefix);
        let mut word = 0;
        for place in 0..len {
            if place % 10 == 0 {
                word = self.next();
            }
            id.push(char::from(ALPHABET[(word % 62) as usize]));
            word /= 62;
        }
        id
    }

    /// Appends an id of hexadecimal digits.
    pub(crate) fn hex_id(&mut self, prefix: &str, len: usize) -> String {
        let mut id = String::with_capacity(prefix.len() + len + 16);
        id.push_str(prefix);
        while id.len() < prefix.len() + len {
            let word = self.next();
            for shift in (0..16).rev() {
                id.push(char::from(
                    b"0123456789abcdef"[(word >> (shift * 4) & 15) as usize],
                ));
            }
        }
        id.truncate(prefix.len() + len);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seed_and_salt_draw_equal_ids_and_others_do_not() {
        let id = |seed, salt| Dice::new(seed, salt).id("chatcmpl-", 29);
        assert_eq!(id(1, 2), id(1, 2));
        assert_ne!(id(1, 2), id(1, 3));
        assert_ne!(id(1, 2), id(2, 2));
        assert_eq!(id(1, 2).len(), 9 + 29);
    }

    #[test]
    fn unit_draws_fill_the_interval_evenly() {
        let mut dice = Dice::new(7, 7);
        let mean = (0..10_000).map(|_| dice.unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
