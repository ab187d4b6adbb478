//! The table, for the terminal and for `docs/limits.md`.

use std::{fmt::Write as _, fs, path::Path};

use crate::{Result, contender::Contender, figures::Figures, scenario::{Goal, Scenario}};

const BEGIN: &str = "<!-- measured: begin; written by `cargo bench --bench limits -- --write` -->";
const END: &str = "<!-- measured: end -->";

const COLUMNS: [&str; 11] = [
    "scenario", "limiter", "used %", "met 429 %", "wait p50 s", "p95 s", "longest s", "held back %", "refused %", "foreign",
    "verdict",
];

/// What all runs came to, row by row.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    about: &'static str,
    contender: Contender,
    /// One of each seed.
    figures: Vec<Figures>,
    goal: Option<Goal>,
}

// === impl Report ===

impl Report {
    pub(crate) fn add(&mut self, scenario: &Scenario, contender: Contender, figures: Vec<Figures>) -> String {
        let row = Row {
            name: scenario.name,
            about: scenario.about,
            contender,
            figures,
            goal: scenario.goal.filter(|_| contender == Contender::Weir),
        };
        let line = plain(&row.cells());
        self.rows.push(row);
        line
    }

    pub(crate) fn heading() -> String {
        plain(&COLUMNS.map(str::to_owned))
    }

    /// Rows of weir's that miss their goal.
    pub(crate) fn short(&self) -> Vec<&'static str> {
        let short = self.rows.iter().filter(|row| row.verdict() == "short");
        short.map(|row| row.name).collect()
    }

    /// As Markdown.
    fn markdown(&self) -> String {
        let mut text = line(&COLUMNS.map(str::to_owned));
        text += &line(&COLUMNS.map(|_| "---".to_owned()));
        for row in &self.rows {
            text += &line(&row.cells());
        }
        text.push('\n');
        let mut last = "";
        for row in self.rows.iter().filter(|row| std::mem::replace(&mut last, row.name) != row.name) {
            let _ = writeln!(text, "- `{}`: {}", row.name, row.about);
        }
        text
    }

    /// Puts it between the markers of `page`, which must have them.
    pub(crate) fn write(&self, page: &Path) -> Result<()> {
        let old = fs::read_to_string(page)?;
        let parts = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = parts.ok_or_else(|| format!("{} has no markers: {BEGIN} … {END}", page.display()))?;
        fs::write(page, format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.markdown()))?;
        Ok(())
    }
}

// === impl Row ===

impl Row {
    fn cells(&self) -> [String; 11] {
        let percent = |share: f64, digits| format!("{:.digits$}", share * 100.0);
        let mean = |of: fn(&Figures) -> f64| self.figures.iter().map(of).sum::<f64>() / self.figures.len().max(1) as f64;
        [
            self.name.to_owned(),
            self.contender.as_str().to_owned(),
            percent(mean(|f| f.used), 1),
            percent(mean(|f| f.met), 2),
            format!("{:.2}", mean(|f| f.wait_50)),
            format!("{:.2}", mean(|f| f.wait_95)),
            format!("{:.1}", self.figures.iter().map(|f| f.longest).fold(0.0, f64::max)),
            percent(mean(|f| f.held_back), 1),
            percent(mean(|f| f.refused), 1),
            self.foreign(),
            self.verdict().to_owned(),
        ]
    }

    /// The slowest seed's notice, the mean share.
    fn foreign(&self) -> String {
        let noticed = self.figures.iter().filter_map(|f| f.noticed).max_by(f64::total_cmp);
        let shares: Vec<f64> = self.figures.iter().filter_map(|f| f.share).collect();
        let share = shares.iter().sum::<f64>() / shares.len() as f64 * 100.0;
        match noticed {
            Some(after) if self.contender == Contender::Weir && after.is_finite() => {
                format!("{share:.0} %, after {after:.0} s")
            }
            Some(_) if self.contender == Contender::Weir => "unnoticed".to_owned(),
            _ => String::new(),
        }
    }

    /// The worst seed decides.
    fn verdict(&self) -> &'static str {
        let Some(goal) = self.goal else { return "" };
        let noticed = |figures: &Figures| figures.noticed.is_none_or(|after| after <= 120.0);
        let good = |figures: &Figures| figures.used >= goal.used && figures.met <= goal.met && noticed(figures);
        if self.figures.iter().all(good) { "ok" } else { "short" }
    }
}

fn plain(cells: &[String; 11]) -> String {
    let widths = [19, 10, 7, 9, 10, 6, 9, 11, 9, 16, 7];
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = match text.len() < 31 {
            true => write!(text, "{cell:<width$} "),
            false => write!(text, "{cell:>width$} "),
        };
    }
    text.trim_end().to_owned()
}

fn line(cells: &[String; 11]) -> String {
    format!("| {} |\n", cells.join(" | "))
}
