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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        alerts::slack,
        limits::{Ended, Kind as Limit},
    };

    fn foreign(pool: &str, ended: Option<Ended>) -> Foreign {
        Foreign {
            upstream: "openai".to_owned(),
            pool: pool.to_owned(),
            kind: Limit::Tokens,
            capacity: 2_000_000,
            share: 0.384,
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            ended,
        }
    }

    #[test]
    fn the_beginning_says_how_much_of_what_goes_elsewhere_and_what_to_do() {
        let event = Event::foreign(&foreign("gpt-4o", None));
        let json: serde_json::Value = serde_json::from_slice(&event.to_json()).unwrap();
        assert_eq!(json["type"], "foreign_use.began");
        assert_eq!(
            json["title"],
            "Foreign use: 38 % of the tokens per minute of gpt-4o at openai goes elsewhere"
        );
        assert_eq!(
            (&json["scope"], &json["key"], &json["since"]),
            (
                &"model".into(),
                &"gpt-4o".into(),
                &"2027-01-15T08:00:00.000Z".into()
            )
        );
        let text = json["text"].as_str().unwrap();
        assert!(
            text.contains("It is 38 % of tokens per minute (2,000,000)."),
            "{text}"
        );
        assert!(text.ends_with(json["advice"].as_str().unwrap()), "{text}");
        let slack = String::from_utf8(slack::body(&event)).unwrap();
        assert!(
            slack.contains("*Do:* Look at the provider's usage page"),
            "{slack}"
        );
    }

    #[test]
    fn the_end_says_how_long_it_was_and_whether_it_was_seen() {
        let lasted = Duration::from_secs(3_700);
        for (unseen, why) in [(false, "is there again"), (true, "cannot be seen")] {
            let event = Event::foreign(&foreign("gpt-4o", Some(Ended { lasted, unseen })));
            assert_eq!(event.kind, Kind::ForeignUseEnded);
            assert_eq!(
                event.title,
                "Foreign use over: gpt-4o at openai, after 1h 1m"
            );
            assert_eq!(event.duration_seconds, Some(3_700.0));
            assert!(event.text.contains(why), "{}", event.text);
            let slack = String::from_utf8(slack::body(&event)).unwrap();
            assert!(
                slack.contains("It was 38 % of tokens per minute"),
                "{slack}"
            );
        }
    }

    #[test]
    fn calls_without_a_model_concern_the_account() {
        let event = Event::foreign(&foreign("*", None));
        assert!(
            event
                .title
                .ends_with("of the account at openai goes elsewhere")
        );
        assert_eq!((event.scope, event.key), (None, None));
    }
}
