//! Draws. One generator per purpose, so that a change of one does not shift all others.

/// A seeded generator.
#[derive(Debug)]
pub(crate) struct Dice(fastrand::Rng);

/// A log-normal quantity within bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// Of the logarithm; 0: always the median.
    pub(crate) sigma: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

// === impl Dice ===

impl Dice {
    /// Of a run's seed and a word for what it is for.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let salt = purpose
            .bytes()
            .fold(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), |sum, byte| {
                (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self(fastrand::Rng::with_seed(salt))
    }

    /// Even in 0..1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0.f64()
    }

    /// Time to the next arrival, at `rate` a second.
    pub(crate) fn gap(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).ln() / rate
    }

    /// Which of `weights`.
    pub(crate) fn pick(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (index, weight) in weights.enumerate() {
            last = index;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    pub(crate) fn draw(&mut self, spread: Spread) -> f64 {
        // Box and Muller's way to a normal quantity.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        (spread.median * (spread.sigma * normal).exp()).clamp(spread.least, spread.most)
    }
}

// === impl Spread ===

impl Spread {
    /// Mostly between a quarter and four times the median.
    pub(crate) const fn around(median: f64) -> Self {
        Self {
            median,
            sigma: 0.7,
            least: median / 8.0,
            most: median * 8.0,
        }
    }
}
