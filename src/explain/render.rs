//! Explanations for people: 80 columns, headings, numbered steps.

use super::{Explanation, Told};

/// Columns of a line.
const WIDTH: usize = 80;

/// How it is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// With colours, for a terminal.
    pub colour: bool,
}

/// The whole page.
pub fn text(told: &Told, style: Style) -> String {
    let mut page = Page {
        out: String::new(),
        style,
    };
    if !told.recognized {
        page.unrecognized(told);
        return page.out;
    }
    for (nth, explanation) in told.explanations.iter().enumerate() {
        if nth > 0 {
            page.out.push('\n');
            page.out.push_str(&"-".repeat(WIDTH));
            page.out.push_str("\n\n");
        }
        page.explanation(explanation);
    }
    if told.more > 0 {
        page.out.push('\n');
        let of_call = told.explanations.iter().any(|one| one.call.is_some());
        let more = match (told.more, of_call) {
            (1, true) => "The call met one more failure of the same kinds.".to_owned(),
            (more, true) => format!("The call met {more} more failures of the same kinds."),
            (1, false) => "One more error of the same kinds is in it.".to_owned(),
            (more, false) => format!("{more} more errors of the same kinds are in it."),
        };
        page.paragraph("", &more);
    }
    page.out
}

struct Page {
    out: String,
    style: Style,
}

// === impl Page ===

impl Page {
    fn unrecognized(&mut self, told: &Told) {
        self.heading("NOT RECOGNIZED");
        self.paragraph("  ", "No failure of an LLM API could be found in this, and a guess would not help you. What would help:");
        for need in &told.needed {
            self.item("  - ", need);
        }
        if let Some(id) = &told.request_id {
            self.paragraph(
                "  ",
                &format!("It names a call of a weir. While that gateway runs: weir explain {id}"),
            );
        }
    }

    fn explanation(&mut self, told: &Explanation) {
        self.title(told);
        self.heading("WHAT IT IS");
        self.paragraph("  ", &told.is);
        if !told.is_not.is_empty() {
            self.heading("WHAT IT IS NOT");
            told.is_not.iter().for_each(|text| self.item("  - ", text));
        }
        self.heading("WHAT HELPS");
        for (name, answer) in [
            ("waiting    ", &told.waiting),
            ("repeating  ", &told.repeating),
            ("elsewhere  ", &told.elsewhere),
        ] {
            self.item(&format!("  {name}"), &answer.text);
        }
        self.heading("WHAT TO DO, IN THIS ORDER");
        for (nth, step) in told.steps.iter().enumerate() {
            self.item(&format!("  {}. ", nth + 1), &step.what);
            if let Some(place) = &step.place {
                self.item("     -> ", place);
            }
        }
        self.heading("WHO ELSE IS AFFECTED");
        self.paragraph("  ", &told.affected);
        self.evidence(told);
        self.heading("WHAT WEIR DOES WITH IT");
        told.weir.iter().for_each(|text| self.item("  - ", text));
    }

    fn title(&mut self, told: &Explanation) {
        let whose = match &*told.provider.known_by {
            "assumed" => format!("{}, assumed", told.provider.title),
            _ => told.provider.title.clone(),
        };
        let line = format!("{} ({whose})", told.title);
        if self.style.colour {
            self.out.push_str(&format!("\u{1b}[1;31m{line}\u{1b}[0m\n"));
        } else {
            self.out.push_str(&line);
            self.out.push('\n');
        }
    }

    fn evidence(&mut self, told: &Explanation) {
        self.heading("EVIDENCE");
        let shown = &told.evidence;
        let field = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| (name.to_owned(), value.clone()))
        };
        let rule = format!(
            "{} ({}); class {}, scope {}",
            shown.rule, shown.confidence, told.class, told.scope
        );
        let wait = shown.wait_seconds.map(|seconds| {
            let by = shown.wait_told_by.as_deref().unwrap_or("the answer");
            ("told wait".to_owned(), format!("{seconds} s, by {by}"))
        });
        let network = shown.network.as_ref().map(|kind| kind.replace('_', " "));
        let mut fields: Vec<(String, String)> = Vec::new();
        fields.extend(field(
            "status",
            &shown.status.map(|status| status.to_string()),
        ));
        fields.extend(field("network", &network));
        fields.extend(field("code", &shown.code));
        fields.extend(field("type", &shown.kind));
        fields.extend(match (&shown.message, &told.call) {
            // The gateway keeps no words of the provider: these are its own, and no quotation.
            (Some(text), Some(_)) => field("what", &Some(text.clone())),
            (Some(text), None) => field("message", &Some(format!("\"{text}\""))),
            (None, _) => None,
        });
        fields.extend(wait);
        fields.extend(field("reset", &shown.reset_at));
        fields.extend(field("endpoint", &shown.endpoint));
        fields.extend(field("request id", &shown.provider_request_id));
        fields.extend(field("organization", &shown.organization));
        fields.extend(field("project", &shown.project));
        fields.push(("rule".to_owned(), rule));
        if let Some(call) = &told.call {
            let end = match (&call.outcome, call.status) {
                (Some(outcome), Some(status)) => format!("; ended {outcome}, status {status}"),
                _ => "; still under way".to_owned(),
            };
            let by = call
                .answered_by
                .as_ref()
                .map_or_else(String::new, |by| format!(", answered by {by}"));
            let how = if call.by_open_circuit {
                "refused by the circuit that this failure had opened".to_owned()
            } else {
                format!(
                    "failed attempt {} of {}",
                    call.attempt, call.failed_attempts
                )
            };
            fields.push((
                "call".to_owned(),
                format!(
                    "{} at {}, {} to {}: {how}{end}{by}",
                    call.id, call.at, call.path, call.upstream
                ),
            ));
        }
        for (name, value) in fields {
            self.item(&format!("  {name:<13}"), &value);
        }
        let said = [
            "x-request-id",
            "request-id",
            "openai-organization",
            "openai-project",
        ];
        for header in shown
            .headers
            .iter()
            .filter(|header| !said.contains(&header.name.as_str()))
        {
            self.item(
                &format!("  {:<13}", "header"),
                &format!("{}: {}", header.name, header.value),
            );
        }
    }

    fn heading(&mut self, name: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        if self.style.colour {
            self.out.push_str(&format!("\u{1b}[1m{name}\u{1b}[0m\n"));
        } else {
            self.out.push_str(name);
            self.out.push('\n');
        }
    }

    fn paragraph(&mut self, indent: &str, text: &str) {
        self.wrapped(indent, indent, text);
    }

    /// The first line begins with `mark`, the others are as deep.
    fn item(&mut self, mark: &str, text: &str) {
        let indent = " ".repeat(mark.chars().count());
        self.wrapped(mark, &indent, text);
    }

    fn wrapped(&mut self, first: &str, rest: &str, text: &str) {
        let mut line = first.to_owned();
        let mut empty = true;
        for word in text.split_whitespace() {
            if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.out.push_str(line.trim_end());
                self.out.push('\n');
                line = rest.to_owned();
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }
}
