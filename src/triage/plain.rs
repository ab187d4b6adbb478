//! What a failure says outside the words of any dialect: sentences under unknown names, waits in other languages, and
//! numbers that speak for themselves.

use std::sync::OnceLock;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::wait::LONGEST;

/// Sentences that are taken from one body.
const SENTENCES: usize = 8;
/// Nesting that is followed.
const DEPTH: u8 = 4;

/// Fields that hold what the caller sent, or no sentence.
const NOT_THE_PROVIDERS: &[&str] = &[
    "input",
    "prompt",
    "request",
    "messages",
    "content",
    "body",
    "flagged_input",
    "arguments",
    "instance",
];

/// Texts of a body whose fields nobody knows (`fehler`, `mensaje`): strings of several words, or in a script without
/// blanks.
pub(super) fn sentences(value: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    gather(value, DEPTH, &mut found);
    found
}

fn gather<'a>(value: &'a Value, depth: u8, found: &mut Vec<&'a str>) {
    if found.len() >= SENTENCES || depth == 0 {
        return;
    }
    match value {
        Value::String(text) if text.trim().contains(' ') || !text.is_ascii() => found.push(text),
        Value::Array(list) => list
            .iter()
            .take(SENTENCES)
            .for_each(|item| gather(item, depth - 1, found)),
        Value::Object(map) => map
            .iter()
            .filter(|(name, _)| !NOT_THE_PROVIDERS.contains(&name.as_str()))
            .for_each(|(_, below)| gather(below, depth - 1, found)),
        _ => {}
    }
}

fn compiled<'a>(cell: &'a OnceLock<Option<Regex>>, pattern: &str) -> Option<&'a Regex> {
    cell.get_or_init(|| Regex::new(pattern).ok()).as_ref()
}

/// "Limit 30000, Requested 45210": one request asks for more than the whole limit, which no wait cures.
pub(super) fn asks_more_than_the_limit(text: &str) -> bool {
    static LIMIT: OnceLock<Option<Regex>> = OnceLock::new();
    static ASKED: OnceLock<Option<Regex>> = OnceLock::new();
    let number = |cell, pattern| {
        let found = compiled(cell, pattern)?.captures(text)?;
        let digits: f64 = found[1].replace(',', "").parse().ok()?;
        let thousands = found.get(2).is_some_and(|unit| !unit.as_str().is_empty());
        Some(if thousands { digits * 1e3 } else { digits })
    };
    let limit = number(&LIMIT, r"(?i)\blimit[:=]? ?(\d[\d,]*(?:\.\d+)?)(k?)\b");
    let asked = number(
        &ASKED,
        r"(?i)\b(?:requested|asked(?: for)?)[:=]? ?(\d[\d,]*(?:\.\d+)?)(k?)\b",
    );
    matches!((limit, asked), (Some(limit), Some(asked)) if limit > 0.0 && asked > limit)
}

/// The wait told in another language than English: "dans 15 secondes", "20 秒后".
pub(super) fn wait_in_other_languages(text: &str) -> Option<Duration> {
    static EAST: OnceLock<Option<Regex>> = OnceLock::new();
    static WEST: OnceLock<Option<Regex>> = OnceLock::new();
    static AGAIN: OnceLock<Option<Regex>> = OnceLock::new();
    let east = compiled(
        &EAST,
        r"(\d+(?:\.\d+)?)\s*(毫秒|秒|分|小时|時間|초|분|시간)[钟鐘間]?\s*[之以]?[后後후]",
    );
    // Windows are told in the same words ("100 requests in 10 seconds"), so it has to speak of another try.
    let again = compiled(
        &AGAIN,
        r"(?i)erneut|wieder|nochmal|warten|nouveau|r[ée]essay|attend|nuev|intent|espere|novamente|tente|aguarde|riprova|повтор|снова|попробуйте|подожд|opnieuw|probeer|igen|igjen|försök|vent",
    );
    let west = compiled(
        &WEST,
        r"(?i)(\d+(?:[.,]\d+)?)\s*(seconde|segundo|sekunde|secondi|секунд|sekund|minut|минут|stunde|heure|hora|ore\b|uur|час)",
    );
    let mut longest = None;
    let mut hear = |regex: Option<&Regex>| {
        for found in regex
            .into_iter()
            .flat_map(|regex| regex.captures_iter(text))
        {
            let value = found[1].replace(',', ".").parse::<f64>().ok();
            let wait = value
                .map(|value| value * unit(&found[2]))
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            longest = longest.max(wait.map(|wait| wait.min(LONGEST)));
        }
    };
    hear(east);
    let english = text.is_ascii() && text.contains(" minute") && text.contains("again");
    if !english && again.is_some_and(|again| again.is_match(text)) {
        hear(west);
    }
    longest
}

/// Seconds of a unit, by how its name begins.
fn unit(name: &str) -> f64 {
    match name.to_lowercase().chars().next() {
        Some('毫') => 1e-3,
        Some('分' | '분' | 'm' | 'м') => 60.0,
        Some('小' | '時' | '시' | 'h' | 'o' | 'u' | 'ч') => 3600.0,
        _ if name.to_lowercase().starts_with("st") => 3600.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_heard_in_other_languages() {
        for (text, seconds) in [
            ("Veuillez réessayer dans 15 secondes.", Some(15)),
            ("Inténtelo de nuevo en 25 segundos.", Some(25)),
            ("Bitte versuchen Sie es in 2 Minuten erneut.", Some(120)),
            ("Riprova tra 3 minuti", Some(180)),
            ("Повторите через 40 секунд", Some(40)),
            ("请在 20 秒后重试", Some(20)),
            ("1 小时后再试", Some(3600)),
            ("10초 후에 다시 시도하세요.", Some(10)),
            ("2分後に再試行してください", Some(120)),
            ("Höchstens 100 Anfragen in 10 Sekunden", None),
            ("每 60 秒最多 3 次", None),
            ("at most 20 requests in 3 minutes; do not try again", None),
        ] {
            let want = seconds.map(Duration::from_secs);
            assert_eq!(wait_in_other_languages(text), want, "{text}");
        }
    }

    #[test]
    fn a_request_larger_than_the_limit_is_told_by_its_numbers() {
        assert!(asks_more_than_the_limit("Limit 30,000, Requested 45210"));
        assert!(asks_more_than_the_limit(
            "(limit 30k, used 0, asked for 45.2k)"
        ));
        assert!(!asks_more_than_the_limit(
            "Limit 30000, Used 29000, Requested 5000"
        ));
        assert!(!asks_more_than_the_limit("Limit 0, Requested 1"));
        assert!(!asks_more_than_the_limit("nothing of the kind"));
    }

    #[test]
    fn sentences_are_found_under_any_name_but_the_callers() {
        let body = serde_json::json!({"fehler": {"text": "Guthaben ist leer", "id": "x1"}, "prompt": "no credits left"});
        assert_eq!(sentences(&body), ["Guthaben ist leer"]);
    }
}
