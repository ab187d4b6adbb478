//! How an outage ended, and the log's lines.

use super::{
    attribute::{Finding, Seen},
    latency,
    report::{Change, Ending, Verdict},
};

/// Why `ended` is not among the `findings` any more; `quiet`: stale alarms were dropped.
pub(super) fn ending(ended: &Finding, findings: &[Finding], seen: &[Seen], quiet: bool) -> Ending {
    let still_late = ended.first_token.is_some_and(|(usual, _)| {
        let here = |seen: &&Seen| {
            ended.upstreams.contains(&seen.place.upstream)
                && ended
                    .model
                    .as_ref()
                    .is_none_or(|model| *model == seen.model)
        };
        let times = seen.iter().filter(here).filter_map(|s| s.view.first_token);
        ended.kind == Verdict::Slow
            && times.map(|(_, now)| now).max() > Some(usual.mul_f64(latency::LATE))
    });
    let goes_on = findings.iter().any(|finding| {
        let shared = ended
            .upstreams
            .iter()
            .any(|u| finding.upstreams.contains(u));
        shared && (finding.model.is_none() || ended.model.is_none() || finding.model == ended.model)
    });
    match (goes_on, quiet) {
        (true, _) => Ending::Reattributed,
        (false, true) => Ending::NoTraffic,
        (false, false) if still_late => Ending::NewUsual,
        (false, false) => Ending::Recovered,
    }
}

/// One line in the log.
pub(super) fn say(change: &Change) {
    let outage = &change.outage;
    let what = outage.what.as_str();
    let upstreams = outage.upstreams.join(", ");
    let model = outage.model.as_deref();
    match change.ended {
        None => tracing::warn!(
            what,
            upstreams,
            model,
            evidence = outage.evidence,
            "An outage began."
        ),
        Some(why) => tracing::info!(
            what,
            upstreams,
            model,
            why = why.as_str(),
            "An outage ended."
        ),
    }
}
