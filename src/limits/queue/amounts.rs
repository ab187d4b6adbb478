//! Sums of what calls take.

use crate::limits::Cost;

impl Cost {
    /// Each amount.
    fn each(&mut self, other: &Self, f: impl Fn(u64, u64) -> u64) {
        self.requests = f(self.requests, other.requests);
        self.tokens = f(self.tokens, other.tokens);
        self.input = f(self.input, other.input);
        self.output = f(self.output, other.output);
        self.images = f(self.images, other.images);
    }

    pub(in crate::limits) fn add(&mut self, other: &Self) {
        self.each(other, u64::saturating_add);
    }

    pub(in crate::limits) fn sub(&mut self, other: &Self) {
        self.each(other, u64::saturating_sub);
    }

    /// A part of it, 0 to 1.
    pub(in crate::limits) fn part(mut self, part: f64) -> Self {
        let whole = self;
        self.each(&whole, |amount, _| (amount as f64 * part) as u64);
        self
    }
}
