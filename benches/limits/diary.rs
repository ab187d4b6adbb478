//! What a run was like, step by step: what the provider did, and what weir thought of its limits then. For those who tune it.

use std::fmt::Write as _;

use crate::{
    driver::{Look, Trial},
    world::Arrived,
};

/// A line for every `step` seconds.
pub(crate) fn diary(trial: &Trial, step: f64) -> String {
    let mut text = String::new();
    let mut from = 0.0;
    for look in &trial.looks {
        if look.at < from + step {
            continue;
        }
        let met = trial.record.log.iter();
        let met = met.filter(|arrived| (from..look.at).contains(&arrived.at));
        let (admitted, refused): (Vec<&Arrived>, Vec<_>) =
            met.partition(|arrived| arrived.admitted);
        let _ = writeln!(
            text,
            "{:>7.1} +{:<5} -{:<4} {}",
            look.at,
            admitted.len(),
            refused.len(),
            thoughts(look)
        );
        for (at, (kind, used)) in refused
            .iter()
            .filter_map(|one| Some((one.at, one.refused?)))
        {
            let _ = writeln!(text, "{at:>9.3} refused: {used} used of {kind:?}");
        }
        from = look.at;
    }
    text
}

fn thoughts(look: &Look) -> String {
    let mut text = String::new();
    for pool in &look.pools {
        let (calls, queue) = (pool.concurrency, pool.queue);
        let bound = calls
            .limit
            .map_or("-".to_owned(), |limit| limit.to_string());
        let waiting = queue.interactive + queue.batch;
        let _ = write!(text, "{}/{bound} under way, {waiting} wait", calls.inflight);
        for bucket in &pool.buckets {
            let share = bucket.foreign_share.map_or(String::new(), |share| {
                format!(", {:.0} % foreign", share * 100.0)
            });
            let _ = write!(
                text,
                "; {} {} of {} ({}), burst {}, reserved {}{share}",
                bucket.kind,
                bucket.remaining,
                bucket.capacity,
                bucket.source.as_str(),
                bucket.burst,
                bucket.reserved,
            );
        }
    }
    text
}
