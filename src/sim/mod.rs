//! The simulated provider: an OpenAI-compatible server that fools the official SDKs, keeps an account, and fails the
//! way real providers fail.
//!
//! Used in process by tests ([`Simulator::start`]) and as `weir simulate`. Stands outside the gateway's chain: it is
//! what an upstream is, and shares no code with the stages, so that a mistake there cannot hide a mistake here.
//!
//! The same request with the same seed is answered with the same bytes, whatever runs at the same time; only
//! `x-request-id`, `date` and the timing headers differ. Faults come by [`Control::inject`], by `POST /_sim/faults`, or
//! from a [`Scenario`] file. See `docs/simulator.md`.

mod account;
mod api;
mod body;
mod conn;
mod control;
mod dice;
mod error;
mod fault;
mod form;
mod http_control;
mod journal;
mod limits;
mod models;
mod refusal;
mod rows;
mod scenario;
mod schema;
mod serve;
mod server;
mod shape;
mod spending;
mod substitute;
mod text;
mod wire;
mod world;

#[cfg(test)]
mod tests;

pub use self::{
    account::{DEFAULT_ORGANIZATION, Key, fingerprint},
    control::Control,
    fault::{Fault, FaultError, FaultView, Kind, Spread, Time},
    journal::{Received, Stats},
    limits::{
        Admitted, Algorithm, Ask, Change, Charge, Foreign, HeaderStyle, LimitKind, Limits, Meter,
        Pool, Refusal, Tally, Used, Words,
    },
    rows::{Row, row, rows},
    scenario::{Scenario, ScenarioError},
    server::{Running, Simulator},
    spending::Spending,
};

use std::net::{Ipv4Addr, SocketAddr};

/// How a simulator is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; default `127.0.0.1:0`, any free port.
    pub listen: SocketAddr,
    /// What answers are drawn from; default 1.
    pub seed: u64,
    /// A word for logs, where several run; default `sim`. Told in the header `x-sim-name`.
    pub name: String,
    /// Keys that are good; empty (default) = any, except `sk-invalid…`.
    pub keys: Vec<Key>,
    /// Enforced limits; default none.
    pub limits: Limits,
    /// Prepaid balance of each organization in USD; default: money is no matter.
    pub balance_usd: Option<f64>,
    /// What admin keys (`sk-admin-…`) are told; default: nothing spent, no limit.
    pub spending: Spending,
    /// Models beside OpenAI's.
    pub models: Vec<String>,
    /// Whether any model name is good; default false.
    pub any_model: bool,
    /// Whether prompts above the model's context are refused; default false, so that large bodies can be tested.
    pub enforce_context: bool,
    /// Requests the log keeps; 0 = none (counters stay). Default 10,000.
    pub log_capacity: usize,
    /// Faults and account of a rehearsed incident, in force from the start.
    pub scenario: Option<Scenario>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            name: "sim".to_owned(),
            keys: Vec::new(),
            limits: Limits::default(),
            balance_usd: None,
            spending: Spending::default(),
            models: Vec::new(),
            any_model: false,
            enforce_context: false,
            log_capacity: 10_000,
            scenario: None,
        }
    }
}
