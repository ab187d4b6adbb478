//! Late first tokens: of one model, or of all that were asked at an upstream.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::{
    attribute::{Finding, Seen, is_fine},
    evidence as words,
    report::{Certainty, Kind},
    target::Counts,
};

/// Late first tokens, of one model or of all that were seen at an upstream.
pub(super) fn slow(targets: &[Seen], now: Instant) -> Vec<Finding> {
    let mut by_upstream: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in targets {
        if seen.view.late.is_some() && seen.view.failing.is_none() {
            by_upstream
                .entry(&seen.place.upstream)
                .or_default()
                .push(seen);
        }
    }
    let mut findings = Vec::new();
    for late in by_upstream.values() {
        let finding = |seen: &Seen| late_one(seen, in_time(targets, seen), now);
        match late.as_slice() {
            [first, _, ..] if late.iter().all(|seen| in_time(targets, seen).is_none()) => {
                let one = late_one(first, None, now);
                findings.push(Finding {
                    model: None,
                    onset: late
                        .iter()
                        .filter_map(|s| Some(s.view.late?.onset))
                        .min()
                        .unwrap_or(one.onset),
                    evidence: format!(
                        "{}: {}; {} models are late there, and none is seen in time",
                        words::model(&first.model),
                        one.evidence,
                        late.len()
                    ),
                    ..one
                });
            }
            late => findings.extend(late.iter().map(|seen| finding(seen))),
        }
    }
    findings
}

/// Another model of the upstream whose first tokens come in time.
fn in_time<'a>(targets: &'a [Seen], late: &Seen) -> Option<&'a Seen> {
    let onset = late.view.late?.onset;
    targets.iter().find(|seen| {
        seen.place.upstream == late.place.upstream
            && seen.view.late.is_none()
            && seen.view.first_token.is_some()
            && is_fine(seen, onset)
    })
}

fn late_one(seen: &Seen, in_time: Option<&Seen>, now: Instant) -> Finding {
    let (onset, share, counts) = seen
        .view
        .late
        .map_or((now, 0.0, Counts::default()), |late| {
            (late.onset, late.share, late.counts)
        });
    let more = in_time.map_or_else(String::new, |other| {
        format!("; {} is in time", words::model(&other.model))
    });
    Finding {
        kind: Kind::Slow,
        upstreams: vec![Arc::clone(&seen.place.upstream)],
        model: Some(Arc::clone(&seen.model)),
        about: Arc::clone(&seen.place.upstream),
        onset,
        certainty: Certainty::High,
        evidence: format!(
            "{}{more}",
            words::late(counts, onset, seen.view.first_token, now)
        ),
        share,
        first_token: seen.view.first_token,
        last: seen.view.last,
    }
}
