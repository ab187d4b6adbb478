//! The report for people: what is worst comes first, then every upstream with every check, at most 80 columns wide.

use super::{Finding, Report, Severity};

const WIDTH: usize = 80;
/// Blank, severity, blank, check, blank.
const INDENT: usize = 2 + 8 + 13;

/// As text. `colour`: for a terminal.
pub fn to_text(report: &Report, colour: bool) -> String {
    let mut out = String::new();
    headline(&mut out, report, colour);
    if !report.findings.is_empty() {
        section(
            &mut out,
            "this machine",
            report.config.as_deref().unwrap_or("built-in defaults"),
        );
        for finding in &report.findings {
            row(&mut out, finding, colour);
        }
    }
    for upstream in &report.upstreams {
        section(
            &mut out,
            &upstream.name,
            &format!("{}, {}", upstream.title, upstream.base_url),
        );
        for finding in &upstream.findings {
            row(&mut out, finding, colour);
        }
    }
    out
}

/// The count, and every error in one line each, so that nobody has to look for it.
fn headline(out: &mut String, report: &Report, colour: bool) {
    let many =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (errors, warnings) = (
        report.count(Severity::Error),
        report.count(Severity::Warning),
    );
    let line = match (errors, warnings) {
        (0, 0) => "nothing is wrong".to_owned(),
        _ => format!("{}, {}", many(errors, "error"), many(warnings, "warning")),
    };
    out.push_str(&format!(
        "weir doctor: {}\n",
        painted(&line, report.worst(), colour)
    ));
    for (upstream, finding) in report
        .all()
        .filter(|(_, finding)| finding.severity == Severity::Error)
    {
        let name = upstream.unwrap_or("this machine");
        wrapped(out, &format!("  {name}: "), &finding.what, 4);
    }
}

fn section(out: &mut String, name: &str, about: &str) {
    out.push('\n');
    wrapped(out, &format!("{name}  "), &format!("({about})"), 2);
}

fn row(out: &mut String, finding: &Finding, colour: bool) {
    let word = format!("{:<8}", finding.severity.as_str());
    let head = format!(
        "  {}{:<13}",
        painted(&word, finding.severity, colour),
        finding.check.as_str()
    );
    wrapped_after(out, &head, INDENT, &finding.what, INDENT);
    if let Some(todo) = &finding.todo {
        wrapped_after(
            out,
            &format!("{:INDENT$}-> ", ""),
            INDENT + 3,
            todo,
            INDENT + 3,
        );
    }
}

fn painted(text: &str, severity: Severity, colour: bool) -> String {
    if !colour {
        return text.to_owned();
    }
    let code = match severity {
        Severity::Ok => "32",
        Severity::Note => "36",
        Severity::Warning => "33",
        Severity::Error => "31;1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

fn wrapped(out: &mut String, head: &str, text: &str, indent: usize) {
    wrapped_after(out, head, head.chars().count(), text, indent);
}

/// `text` behind `head`, which is `taken` columns wide, in lines of at most [`WIDTH`]; later lines are indented.
fn wrapped_after(out: &mut String, head: &str, taken: usize, text: &str, indent: usize) {
    out.push_str(head);
    let mut column = taken;
    let mut fresh = true;
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        if !fresh && column + 1 + rest.len() > WIDTH {
            out.push_str(&format!("\n{:indent$}", ""));
            (column, fresh) = (indent, true);
        }
        if !fresh {
            out.push(' ');
            column += 1;
        }
        // A word wider than the line is cut into lines.
        while column + rest.len() > WIDTH && WIDTH > column {
            let tail = rest.split_off(WIDTH - column);
            out.extend(rest);
            out.push_str(&format!("\n{:indent$}", ""));
            (column, rest) = (indent, tail);
        }
        column += rest.len();
        out.extend(rest);
        fresh = false;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::doctor::{
        Check,
        report::{Facts, KeyReport, UpstreamReport},
    };

    fn report(what: &str) -> Report {
        Report {
            config: None,
            findings: vec![Finding::note(
                Check::Environment,
                "env-proxy",
                "HTTPS_PROXY is set.",
            )],
            upstreams: vec![UpstreamReport {
                name: "openai".to_owned(),
                provider: "openai".to_owned(),
                title: "OpenAI".to_owned(),
                base_url: "https://api.openai.com/v1".to_owned(),
                key: KeyReport::of(&crate::doctor::Source::None, None),
                organization: None,
                project: None,
                facts: Facts::default(),
                findings: vec![
                    Finding::ok(Check::Key, "key-source", "From $OPENAI_API_KEY."),
                    Finding::error(Check::Organization, "wrong-organization", what)
                        .todo("Remove `organization`."),
                ],
            }],
        }
    }

    #[test]
    fn an_error_stands_in_the_first_lines_and_in_its_place() {
        let text = to_text(
            &report("The key belongs to org-b, but the configuration says org-a."),
            false,
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "weir doctor: 1 error, 0 warnings");
        assert_eq!(
            lines[1],
            "  openai: The key belongs to org-b, but the configuration says org-a."
        );
        assert!(
            text.contains("\n  error   organization The key belongs"),
            "{text}"
        );
        assert!(
            text.contains("\n                       -> Remove `organization`."),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
        assert!(to_text(&report("x"), true).contains("\u{1b}[31;1m"));
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_page(what in "(\\PC{0,130} ?){0,6}") {
            for line in to_text(&report(&what), false).lines() {
                prop_assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }
}
