//! Outages as alerts.

use std::time::Duration;

use super::{Event, Kind};
use crate::{
    config::AlertTopic,
    outage::{Change, Ending, Verdict},
};

impl Event {
    /// An outage began or ended; `None`: nothing that a human has to hear of.
    pub fn outage(change: &Change) -> Option<Self> {
        let outage = &change.outage;
        let upstreams = outage.upstreams.join(", ");
        let words = match outage.what {
            // Nobody could act on it.
            Verdict::Fine | Verdict::Unclear => return None,
            Verdict::Slow => "first tokens are late",
            Verdict::OurNetwork => "our network",
            Verdict::OurKey => "our key",
            Verdict::TheirModel => "their model",
            Verdict::TheirApi => "their whole API",
        };
        let of = match &outage.model {
            Some(model) => format!("{model} at {upstreams}"),
            None => upstreams.clone(),
        };
        let lasted = outage.last_attempt.duration_since(outage.since);
        let (kind, title) = match change.ended {
            None => (Kind::OutageBegan, format!("Outage: {words} ({of})")),
            // Told as another one.
            Some(Ending::Reattributed) => return None,
            Some(ending) => (
                Kind::OutageEnded,
                format!("Outage over: {words} ({of}), {}", ending.as_str()),
            ),
        };
        let mut event = Self::new(kind, AlertTopic::Outages, &title);
        event.text = crate::redact::redact(&format!("{title}. {}", outage.evidence)).into_owned();
        event.upstream = Some(upstreams);
        event.key = outage.model.as_ref().map(ToString::to_string);
        event.class = Some(outage.what.as_str());
        event.since = Some(outage.since);
        if change.ended.is_some() {
            event.duration_seconds = lasted.ok().as_ref().map(Duration::as_secs_f64);
        }
        Some(event)
    }
}
