//! The report as Markdown, to be pasted into a ticket.

use std::fmt::{self, Write};

use super::{ClassReport, Finding, Report, RequestRef, UpstreamReport, report::count};

/// Signs for a share, from none to all.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Changes of circuits shown; the JSON has all.
const CHANGES: usize = 30;

// === impl Report ===

impl Report {
    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "# {}\n", self.title)?;
        let window = &self.window;
        writeln!(
            out,
            "All times are UTC. Window: {} to {}, counted by whole minutes.",
            window.from, window.to
        )?;
        if let Some(note) = &window.note {
            writeln!(
                out,
                "Asked for: {} to {}. {note}",
                window.asked_from, window.asked_to
            )?;
        }
        writeln!(
            out,
            "Written at {} by weir {}, a gateway in front of the API.",
            self.written, self.weir
        )?;
        for upstream in &self.upstreams {
            self.upstream(out, upstream)?;
        }
        if self.empty {
            return Ok(());
        }
        findings(out, "Ruled out", &self.ruled_out)?;
        findings(out, "Not ruled out", &self.open)?;
        self.effects(out)?;
        self.circuits(out)?;
        self.timeline(out)?;
        if let Some(apps) = &self.apps {
            writeln!(
                out,
                "\n## Apps\n\n| app | calls that met failures |\n| --- | ---: |"
            )?;
            for app in apps {
                writeln!(out, "| {} | {} |", cell(&app.app), app.calls)?;
            }
        }
        Ok(())
    }

    fn upstream(&self, out: &mut String, upstream: &UpstreamReport) -> fmt::Result {
        writeln!(out, "\n## Upstream `{}`\n", upstream.name)?;
        writeln!(
            out,
            "- Provider: {}, host `{}`",
            upstream.provider, upstream.host
        )?;
        for (what, names) in [
            ("Organisation", &upstream.organizations),
            ("Project", &upstream.projects),
        ] {
            if !names.is_empty() {
                writeln!(out, "- {what}: `{}`", names.join("`, `"))?;
            }
        }
        let key = &upstream.key;
        let mut words = match key.source.as_str() {
            "held" => "the gateway's own".to_owned(),
            "passthrough" => "the callers' own".to_owned(),
            other => other.to_owned(),
        };
        if let Some(kind) = &key.kind {
            let _ = write!(words, ", {kind}");
        }
        if let Some(fingerprint) = &key.fingerprint {
            let _ = write!(words, ", fingerprint {fingerprint}");
        }
        writeln!(out, "- Key: {words}")?;
        let mistakes = match upstream.callers_mistakes {
            0 => String::new(),
            n => format!(", and {n} refused as callers' own mistakes"),
        };
        writeln!(
            out,
            "- Attempts: {}, of which {} failed ({:.1} %){mistakes}; {} answered in full",
            upstream.attempts,
            upstream.failures,
            upstream.failure_share * 100.0,
            upstream.answered
        )?;
        if upstream.classes.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n| failure | count | status | code / type | first | last | first request id | last request id |"
        )?;
        writeln!(out, "| --- | ---: | ---: | --- | --- | --- | --- | --- |")?;
        for class in &upstream.classes {
            row(out, class)?;
        }
        for class in upstream.classes.iter().filter(|c| !c.callers_mistake) {
            evidence(out, class)?;
        }
        Ok(())
    }

    fn effects(&self, out: &mut String) -> fmt::Result {
        let effects = &self.effects;
        writeln!(out, "\n## Effect on callers\n\nOver all upstreams:\n")?;
        writeln!(
            out,
            "- {} met a failure, an open circuit or a refusal",
            count(effects.calls, "call")
        )?;
        let parts = [
            (effects.answered_by_fallback, "answered by a fallback"),
            (
                effects.answered_by_repeat,
                "answered after a repeat at the same target",
            ),
            (effects.failed, "ended with the provider's error"),
            (effects.truncated, "ended as a broken stream"),
            (
                effects.refused,
                "held back by the gateway (open circuit, limit, quota, deadline)",
            ),
            (
                effects.callers_mistakes,
                "ended with the caller's own mistake",
            ),
            (effects.cancelled, "left by the caller"),
        ];
        for (n, what) in parts.iter().filter(|(n, _)| *n > 0) {
            writeln!(out, "  - {n} {what}")?;
        }
        if effects.sdk_repeats > 0 {
            writeln!(
                out,
                "- {} of them were repeats by an SDK",
                effects.sdk_repeats
            )?;
        }
        if !self.did.is_empty() {
            writeln!(out, "\n## What the gateway did\n")?;
            for did in &self.did {
                writeln!(out, "- {did}")?;
            }
        }
        Ok(())
    }

    fn circuits(&self, out: &mut String) -> fmt::Result {
        if !self.circuits.is_empty() {
            writeln!(
                out,
                "\n## Circuits not closed now\n\n| upstream | scope | state | failure | since |\n| --- | --- | --- | --- | --- |"
            )?;
            for circuit in &self.circuits {
                let (scope, key) = (&circuit.scope, cell(&circuit.key));
                writeln!(
                    out,
                    "| {} | {scope} {key} | {} | {} | {} |",
                    circuit.upstream, circuit.state, circuit.class, circuit.since
                )?;
            }
        }
        if self.changes.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Changes of circuits\n\n| at | upstream | scope | change | failure | last request id |\n| --- | --- | --- | --- | --- | --- |"
        )?;
        for change in self.changes.iter().take(CHANGES) {
            let id = change
                .last_request_id
                .as_deref()
                .map_or_else(String::new, |id| format!("`{}`", cell(id)));
            writeln!(
                out,
                "| {} | {} | {} {} | {} → {} | {} | {id} |",
                super::window::utc(change.at),
                change.upstream,
                change.scope,
                cell(&change.key),
                change.from,
                change.to,
                change.class
            )?;
        }
        match self.changes.len().saturating_sub(CHANGES) {
            0 => Ok(()),
            more => writeln!(out, "\nAnd {more} more."),
        }
    }

    fn timeline(&self, out: &mut String) -> fmt::Result {
        let timeline = &self.timeline;
        if timeline.rows.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Timeline\n\nSteps of {}; the bar is the share that failed.\n",
            count(timeline.minutes.into(), "minute")
        )?;
        writeln!(out, "```text\nbegin (UTC)       attempts  failed")?;
        let mut quiet = false;
        for row in &timeline.rows {
            if row.attempts + row.failures == 0 {
                if !std::mem::replace(&mut quiet, true) {
                    writeln!(out, "...")?;
                }
                continue;
            }
            quiet = false;
            // `2026-07-01T12:00:00Z` → `2026-07-01 12:00`
            let at = row.at.get(..16).unwrap_or(&row.at).replace('T', " ");
            let bar = bar(row.failures, row.attempts);
            let line = format!("{at}  {:>8} {:>7} {bar}", row.attempts, row.failures);
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out, "```")
    }
}

fn row(out: &mut String, class: &ClassReport) -> fmt::Result {
    let name = match (class.after_content, class.callers_mistake) {
        (true, _) => format!("{} (stream broke after its first content)", class.class),
        (_, true) => format!("{} (caller's mistake)", class.class),
        _ => class.class.clone(),
    };
    let status = class
        .status
        .map_or_else(|| "none".to_owned(), |status| status.to_string());
    let kinds: Vec<_> = [&class.code, &class.kind]
        .into_iter()
        .flatten()
        .map(|word| cell(word))
        .collect();
    let id = |id: &Option<RequestRef>| {
        id.as_ref()
            .map_or_else(|| "none".to_owned(), |id| format!("`{}`", cell(&id.id)))
    };
    writeln!(
        out,
        "| {name} | {} | {status} | {} | {} | {} | {} | {} |",
        class.count,
        kinds.join(" / "),
        class.first,
        class.last,
        id(&class.first_request_id),
        id(&class.last_request_id)
    )
}

/// The latest failure of a class.
fn evidence(out: &mut String, class: &ClassReport) -> fmt::Result {
    let models: Vec<_> = class
        .models
        .iter()
        .map(|(model, n)| format!("`{}` ({n})", cell(model)))
        .collect();
    writeln!(
        out,
        "\n**{}**, models: {}. The latest: {} (rule `{}`).",
        class.class,
        models.join(", "),
        class.what,
        class.rule
    )?;
    if class.headers.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n```http")?;
    for (name, value) in &class.headers {
        writeln!(out, "{name}: {}", plain(value))?;
    }
    writeln!(out, "```")
}

fn findings(out: &mut String, title: &str, all: &[Finding]) -> fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## {title}\n")?;
    for finding in all {
        writeln!(
            out,
            "- `{}`: **{}** {}",
            finding.upstream, finding.claim, finding.evidence
        )?;
    }
    Ok(())
}

fn bar(part: u64, whole: u64) -> char {
    let eighths = (part * 8).div_ceil(whole.max(1));
    BARS[usize::try_from(eighths).unwrap_or(8).min(8)]
}

/// A text that a table's cell can hold.
fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|").replace('`', "'")
}

/// A text of one line.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
