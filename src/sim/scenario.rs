//! Rehearsed incidents: faults on a timetable, from a file or built in.

use std::path::Path;

use serde::Deserialize;

use super::{Change, Fault, Limits};

/// A scenario. Times of its faults count from the moment it starts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// What happens, in a sentence.
    pub about: String,
    /// Balance it starts with, in USD.
    pub balance_usd: Option<f64>,
    /// Limits it starts with.
    pub limits: Option<Limits>,
    /// How the limits change in the middle of it.
    pub change: Vec<Change>,
    /// The faults.
    pub fault: Vec<Fault>,
}

/// A scenario that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// No file and no built-in scenario of that name.
    #[error("no scenario `{name}`: neither a file nor one of {}", Scenario::names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// As it was given.
        name: String,
    },
    /// The file cannot be read.
    #[error("the scenario cannot be read")]
    Io(#[from] std::io::Error),
    /// The file is no scenario.
    #[error("{0}")]
    Parse(#[from] toml::de::Error),
}

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../config/incidents/", $name, ".toml")))),+]
    };
}

const BUILT_IN: &[(&str, &str)] = built_in![
    "brownout",
    "edge-html",
    "flapping",
    "hard-limit-400",
    "hidden-limits",
    "lying-headers",
    "no-headers",
    "one-second-windows",
    "out-of-credit",
    "outage-503-20s",
    "ratelimit-storm",
    "shared-key",
    "slow-recovery",
    "streams-cut",
    "tier-upgrade",
];

// === impl Scenario ===

impl Scenario {
    /// The names of the built-in ones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The built-in one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name)?;
        Some(toml::from_str(text).expect("built-in scenarios are checked by a test"))
    }

    /// Reads a scenario from TOML.
    ///
    /// # Errors
    /// With the line of the first mistake.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        Ok(toml::from_str(text)?)
    }

    /// The built-in one of that name, or the file.
    ///
    /// # Errors
    /// When there is neither, or the file is no scenario.
    pub fn load(name: &str) -> Result<Self, ScenarioError> {
        if let Some(scenario) = Self::named(name) {
            return Ok(scenario);
        }
        if !Path::new(name).exists() {
            return Err(ScenarioError::Unknown {
                name: name.to_owned(),
            });
        }
        Self::parse(&std::fs::read_to_string(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::fault::Faults;

    #[test]
    fn every_built_in_scenario_reads_and_its_faults_can_be_injected() {
        for name in Scenario::names() {
            let scenario = Scenario::named(name).unwrap();
            assert!(
                !scenario.about.is_empty()
                    && (!scenario.fault.is_empty() || scenario.limits.is_some()),
                "{name}"
            );
            for fault in scenario.fault {
                Faults::new(1).inject(fault).unwrap();
            }
        }
    }

    #[test]
    fn every_scenario_in_the_documentation_reads() {
        let page = include_str!("../../docs/simulator.md");
        let blocks = page.split("```toml\n").skip(1);
        let scenarios = blocks.map(|block| block.split("```").next().unwrap());
        let read: Vec<_> = scenarios
            .map(|text| Scenario::parse(text).unwrap())
            .collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].change.len(), 1);
    }

    #[test]
    fn unknown_members_are_refused_with_their_line() {
        let error = Scenario::parse("about = \"x\"\n[[fault]]\nstatus = 503\nsttus = 1\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 4") && error.contains("sttus"),
            "{error}"
        );
    }
}
