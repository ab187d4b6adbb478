//! Outages as alerts.

use std::time::Duration;

use super::event::{Event, Kind, LONGEST_NAME, LONGEST_TEXT, clean};
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
            Verdict::Fine | Verdict::Unclear | Verdict::Unknown => return None,
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
            // Told, too: what it goes on as may be of the kind that is not.
            Some(ending) => (
                Kind::OutageEnded,
                format!("Outage over: {words} ({of}), {}", said(ending)),
            ),
        };
        let mut event = Self::new(kind, AlertTopic::Outages, &title);
        event.text = clean(&format!("{title}. {}", outage.evidence), LONGEST_TEXT);
        event.upstream = Some(clean(&upstreams, LONGEST_NAME));
        event.key = outage
            .model
            .as_ref()
            .map(|model| clean(model, LONGEST_NAME));
        event.class = Some(outage.what.as_str());
        event.since = Some(outage.since);
        if change.ended.is_some() {
            event.duration_seconds = lasted.ok().as_ref().map(Duration::as_secs_f64);
        }
        Some(event)
    }
}

/// Why it is over, as far as it is.
const fn said(ending: Ending) -> &'static str {
    match ending {
        Ending::Recovered => "calls succeed again",
        Ending::NewUsual => "late is the usual now",
        Ending::NoTraffic => "nobody asks any more",
        Ending::Reattributed => "it goes on as something else",
    }
}
