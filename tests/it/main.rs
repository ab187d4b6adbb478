//! The gateway, end to end: real sockets, the simulated provider or a scripted one behind it, a raw client before it.
//!
//! A module per behaviour; every test is parallel, waits for conditions and ends in time.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, which is what is meant"
)]

mod alerts;
mod allowances;
mod broken_streams;
mod caching;
mod circuits;
mod doctor;
mod edges;
mod explain;
mod fidelity;
mod hangup;
mod in_band;
mod incident;
mod ingress;
mod judged;
mod keys;
mod limits;
mod money;
mod outage;
mod outages;
mod patience;
mod places;
mod prefer;
mod process;
mod quotas;
mod redaction;
mod reload;
mod sharing;
mod sight;
mod support;
mod tls;
mod unseen;
