//! `weir explain`: a pasted error, or a call from the gateway's own book, told to people.
//!
//! [`paste`] makes evidence of whatever was pasted, [`crate::triage`] judges it, and what is said about the verdict
//! stands here: words for class and scope ([`words`]), what it is not ([`contrast`]), and what to do, in order
//! ([`steps`]). There are no rules about failures in this module; where triage has no word for it, neither has this.
//!
//! Everything that quotes the paste goes through [`crate::redact`]. Nothing is asked of anybody: it works offline.

mod case;
mod contrast;
mod evidence;
mod paste;
mod render;
mod steps;
#[cfg(test)]
mod tests;
mod waiting;
mod words;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use evidence::{Header, Shown};
pub use render::{Style, text};

use crate::{
    redact::redact,
    triage::{self, Class, Confidence, Verdict},
};
use paste::Paste;

/// Of a paste no more is read: its end, since of a log the end matters.
pub const MAX_PASTE: usize = 1 << 20;
/// Errors of one paste that are told, when they are of different classes.
const MOST: usize = 5;
/// In the place of a rule: the paste has the class that a weir gave to the failure.
const OWN_WORD: &str = "weir's own word";

/// What is said about one failure. Its JSON is a contract: fields are added, never changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// Class in a few words.
    pub title: String,
    pub class: Cow<'static, str>,
    pub scope: Cow<'static, str>,
    pub provider: Whose,
    /// What it is.
    pub is: String,
    /// What it could be taken for, and is not.
    pub is_not: Vec<String>,
    pub evidence: Shown,
    /// Does waiting help, does repeating, does another target?
    pub waiting: Answer,
    pub repeating: Answer,
    pub elsewhere: Answer,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Who else is affected.
    pub affected: String,
    /// What this gateway does about it.
    pub weir: Vec<String>,
    /// As in `x-weir-advice`.
    pub advice: String,
    /// What became of the call, when it was one of this gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<case::CallTold>,
}

/// The provider, and how it is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Whose {
    /// The preset's name.
    pub name: String,
    pub title: String,
    /// `told`, `host`, `headers`, `library`, `key`, `words` or `assumed`.
    pub known_by: Cow<'static, str>,
}

/// `yes`, `partly` or `no`, and in a sentence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    pub helps: Cow<'static, str>,
    pub text: String,
}

/// One thing to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    pub what: String,
    /// Where to look or what to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "where")]
    pub place: Option<String>,
}

/// What came of a paste.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    pub recognized: bool,
    /// Different failures in the order of the paste.
    pub explanations: Vec<Explanation>,
    /// Errors in the paste that are not told: repeats of these, or more than five.
    pub more: usize,
    /// What would help, when nothing was recognised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
    /// An id of a call of this gateway in the paste.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Explains what was pasted. `provider`: the preset to judge by, else it is guessed.
pub fn explain(pasted: &[u8], provider: Option<&str>) -> Told {
    let text = String::from_utf8_lossy(&pasted[pasted.len().saturating_sub(MAX_PASTE)..]);
    let text = paste::plain(&text);
    let mut told = Told {
        recognized: false,
        explanations: Vec::new(),
        more: 0,
        needed: Vec::new(),
        request_id: paste::own_id(&text),
    };
    for paste in paste::read(&text) {
        let Some((judged, seen)) = judge(&paste, provider) else {
            continue;
        };
        let known = |other: &Explanation| {
            other.class == judged.verdict.class.as_str() && other.provider.name == judged.whose.name
        };
        if told.explanations.iter().any(known) || told.explanations.len() >= MOST {
            told.more += usize::from(!paste.chained);
        } else {
            told.explanations.push(Explanation::of(judged, seen));
        }
    }
    told.drop_guesses();
    if told.request_id.is_some() && !told.has_words() {
        // A line of weir's own log has the status alone, and its call is known better elsewhere.
        told.explanations.clear();
    }
    if let (false, Some(class)) = (told.has_words(), paste::own_class(&text)) {
        told.explanations = vec![Explanation::of_own_class(class, &text)];
    }
    told.recognized = !told.explanations.is_empty();
    if !told.recognized {
        told.needed = words::NEEDED.iter().map(|&need| need.to_owned()).collect();
    }
    told
}

/// A verdict and whose it is.
struct Judged {
    verdict: Verdict,
    whose: Whose,
}

/// The verdict on one error of the paste; `None` when triage has no word for it.
fn judge(paste: &Paste, told: Option<&str>) -> Option<(Judged, Shown)> {
    let (name, known_by) = match told {
        Some(name) => (name, "told"),
        None => paste::provider(paste),
    };
    // Nothing says whose it is: what OpenAI's rules have no word for may be another vendor's.
    let elsewhere = (known_by == "assumed").then_some("openai-compatible");
    let (provider, verdict) = [Some(name), elsewhere]
        .into_iter()
        .flatten()
        .find_map(|name| {
            let provider = triage::preset(name)?;
            let verdict = triage::judge(&provider, &paste.evidence(paste.reading()));
            paste.is_about(&verdict).then_some((provider, verdict))
        })?;
    let shown = Shown::of_paste(paste, &verdict);
    let whose = Whose {
        name: provider.name.to_string(),
        title: provider.title.clone(),
        known_by: Cow::Borrowed(known_by),
    };
    Some((Judged { verdict, whose }, shown))
}

// === impl Told ===

impl Told {
    /// What only a status told is no other error than the one with the same status that words told.
    fn drop_guesses(&mut self) {
        let guess = confidence(Confidence::Guess);
        let told: Vec<_> = self
            .explanations
            .iter()
            .filter(|told| told.evidence.confidence != guess)
            .map(|told| told.evidence.status)
            .collect();
        self.explanations
            .retain(|one| one.evidence.confidence != guess || !told.contains(&one.evidence.status));
    }

    /// Did the provider's own words, or its headers, speak?
    pub fn has_words(&self) -> bool {
        self.explanations.iter().any(|told| {
            told.evidence.confidence != confidence(Confidence::Guess)
                && told.evidence.rule != OWN_WORD
        })
    }
}

// === impl Explanation ===

impl Explanation {
    /// The paste has a line of weir's log, or a header of its answer, and nothing of the provider's.
    fn of_own_class(class: Class, text: &str) -> Self {
        let verdict = triage::usual_of(class, OWN_WORD);
        let mut shown = Shown::of_verdict(&verdict);
        shown.status = paste::status_in(text);
        let whose = Whose {
            name: "openai-compatible".to_owned(),
            title: "behind weir".to_owned(),
            known_by: "words".into(),
        };
        Self::of(Judged { verdict, whose }, shown)
    }

    fn of(judged: Judged, evidence: Shown) -> Self {
        let Judged { verdict, whose } = judged;
        Self {
            title: words::title(verdict.class).to_owned(),
            class: Cow::Borrowed(verdict.class.as_str()),
            scope: Cow::Borrowed(verdict.scope.as_str()),
            is: words::is(&verdict, evidence.status),
            is_not: contrast::is_not(&verdict, &evidence, &whose),
            waiting: waiting::waiting(&verdict),
            repeating: waiting::repeating(&verdict),
            elsewhere: waiting::elsewhere(&verdict),
            steps: steps::steps(&verdict, &evidence, &whose),
            affected: words::affected(&verdict, &evidence),
            weir: words::weir(&verdict),
            advice: redact(&verdict.advice).into_owned(),
            provider: whose,
            evidence,
            call: None,
        }
    }
}

// === impl Step ===

impl Step {
    fn new(what: impl Into<String>, place: impl Into<String>) -> Self {
        let place = place.into();
        Self {
            what: what.into(),
            place: (!place.is_empty()).then_some(place),
        }
    }
}

/// The word for it.
fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Guess => "guess",
        Confidence::Likely => "likely",
        Confidence::Certain => "certain",
    }
}

/// Judged at home by the vendor's own preset?
fn is_openai(whose: &Whose) -> bool {
    whose.name == "openai"
}

/// Helps a reader who knows only the status.
fn is_bare(class: Class, evidence: &Shown) -> bool {
    class != Class::Unknown && evidence.confidence == confidence(Confidence::Guess)
}
