//! `weir incident`: a report for a provider's support ticket, out of the book of failures.
//!
//! [`Facts`] are gathered from the running gateway; [`Report::of`] is a pure function of them. It claims what the data
//! shows and nothing else: what could not be ruled out stands beside what could. It holds names, counts, times and the
//! provider's own request ids; no key, no prompt, and no app's name unless that is asked for.

mod facts;
mod findings;
mod group;
mod markdown;
mod report;
mod timeline;
mod window;

#[cfg(test)]
mod tests;

pub use self::{
    facts::{Circuit, Facts, KeySource, UpstreamFacts},
    findings::Finding,
    report::{AppCount, ClassReport, Report, RequestRef, UpstreamReport},
    timeline::{Row, Timeline},
    window::{BadWindow, Covered, Window},
};
