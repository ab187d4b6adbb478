//! Foreign use of an account, as an alert.

use super::{
    event::{Event, Kind, LONGEST_NAME, LONGEST_TEXT, clean},
    words,
};
use crate::{config::AlertTopic, limits::Foreign};

/// What it means, in a sentence.
const MEANING: &str = "Another program uses the same account; weir leaves room for it, and its own calls get what is left.";
/// What to do.
const ADVICE: &str = "Look at the provider's usage page which key or project it is. Let that program call through weir, or give it a project with limits of its own; if it is meant to be so, raise [limits] foreign_alert.";

impl Event {
    /// Foreign use began, or is over.
    pub fn foreign(change: &Foreign) -> Self {
        let of = match &*change.pool {
            "*" => format!("the account at {}", change.upstream),
            pool => format!("{pool} at {}", change.upstream),
        };
        let percent = (change.share * 100.0).round();
        let kind = change.kind.as_str().replace('_', " ");
        let limit = format!("{kind} ({})", words::number(change.capacity));
        let (what, title, more) = match change.ended {
            None => (
                Kind::ForeignUseBegan,
                format!("Foreign use: {percent} % of the {kind} of {of} goes elsewhere"),
                format!("{MEANING} It is {percent} % of {limit}. {ADVICE}"),
            ),
            Some(ended) => {
                let lasted = words::duration(ended.lasted);
                let why = if ended.unseen {
                    "Nobody calls there any more, so that it cannot be seen."
                } else {
                    "The whole limit is there again."
                };
                (
                    Kind::ForeignUseEnded,
                    format!("Foreign use over: {of}, after {lasted}"),
                    format!("It was {percent} % of {limit} at most. {why}"),
                )
            }
        };
        let mut event = Self::new(what, AlertTopic::Limits, &title);
        event.text = clean(&format!("{title}. {more}"), LONGEST_TEXT);
        event.upstream = Some(clean(&change.upstream, LONGEST_NAME));
        if change.pool != "*" {
            event.scope = Some("model");
            event.key = Some(clean(&change.pool, LONGEST_NAME));
        }
        event.since = Some(change.since);
        match change.ended {
            None => {
                event.meaning = Some(MEANING);
                event.advice = Some(ADVICE.to_owned());
            }
            Some(ended) => event.duration_seconds = Some(ended.lasted.as_secs_f64()),
        }
        event
    }
}
