//! Times and distributions of times, as they are written in scenarios.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::sim::dice::Dice;

/// A duration: `"250ms"`, `"20s"`, or a number of milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Time(pub Duration);

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// Always the same. A bare time means this too.
    Fixed(Time),
    /// Anything between two times.
    Uniform(Time, Time),
    /// Log-normal: many near the median, few very long.
    LogNormal {
        /// Half of the values are below.
        median: Time,
        /// Standard deviation of the logarithm; 0.5 is mild, 1.0 has a heavy tail.
        sigma: f64,
    },
}

// === impl Spread ===

impl Spread {
    /// Draws one value. Log-normal values stop at a hundred times the median.
    pub(crate) fn draw(&self, dice: &mut Dice) -> Duration {
        match *self {
            Self::Fixed(Time(time)) => time,
            Self::Uniform(Time(low), Time(high)) => {
                low + high.saturating_sub(low).mul_f64(dice.unit())
            }
            Self::LogNormal {
                median: Time(median),
                sigma,
            } => {
                let factor = (sigma * dice.normal()).exp();
                median.mul_f64(if factor.is_finite() {
                    factor.min(100.0)
                } else {
                    100.0
                })
            }
        }
    }
}

/// A fixed time.
impl From<Duration> for Spread {
    fn from(time: Duration) -> Self {
        Self::Fixed(Time(time))
    }
}

/// Reads a [`Spread`] where a bare time is allowed too.
pub(crate) fn spread_or_time<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Spread>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Time(Time),
        Spread(Spread),
    }
    Ok(
        Option::<Either>::deserialize(input)?.map(|either| match either {
            Either::Time(time) => Spread::Fixed(time),
            Either::Spread(spread) => spread,
        }),
    )
}

// === impl Time ===

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Reader;
        impl de::Visitor<'_> for Reader {
            type Value = Time;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a time such as \"250ms\" or a number of milliseconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                humantime::parse_duration(text).map(Time).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Time, E> {
                Ok(Time(Duration::from_millis(ms)))
            }

            fn visit_i64<E: de::Error>(self, ms: i64) -> Result<Time, E> {
                u64::try_from(ms)
                    .map_err(E::custom)
                    .and_then(|ms| self.visit_u64(ms))
            }

            fn visit_f64<E: de::Error>(self, ms: f64) -> Result<Time, E> {
                Duration::try_from_secs_f64(ms / 1e3)
                    .map(Time)
                    .map_err(E::custom)
            }
        }
        input.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        #[serde(deserialize_with = "spread_or_time")]
        delay: Option<Spread>,
    }

    fn read(text: &str) -> Spread {
        toml::from_str::<File>(text).unwrap().delay.unwrap()
    }

    #[test]
    fn a_bare_time_and_every_distribution_can_be_written() {
        let ms = |ms| Time(Duration::from_millis(ms));
        assert_eq!(read("delay = \"50ms\""), Spread::Fixed(ms(50)));
        assert_eq!(read("delay = 50"), Spread::Fixed(ms(50)));
        assert_eq!(
            read("delay = { uniform = [\"10ms\", \"90ms\"] }"),
            Spread::Uniform(ms(10), ms(90))
        );
        let log = read("delay = { lognormal = { median = \"40ms\", sigma = 0.8 } }");
        assert_eq!(
            log,
            Spread::LogNormal {
                median: ms(40),
                sigma: 0.8
            }
        );
    }

    #[test]
    fn half_of_a_log_normal_lies_below_its_median() {
        let spread = Spread::LogNormal {
            median: Time(Duration::from_millis(100)),
            sigma: 1.0,
        };
        let mut dice = Dice::new(3, 3);
        let below = (0..10_000)
            .filter(|_| spread.draw(&mut dice) < Duration::from_millis(100))
            .count();
        assert!((4_800..5_200).contains(&below), "{below}");
    }
}
