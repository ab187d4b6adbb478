//! What all runs came to: tables for the terminal and for `docs/limits.md`.

mod alone;
mod shared;
mod table;

use std::{fmt::Write as _, fs, path::Path};

use crate::{
    Result,
    contender::Contender,
    crowd::{Crowd, Shares},
    figures::Figures,
    scenario::Scenario,
};

pub(crate) use self::table::Table;

const BEGIN: &str = "<!-- measured: begin; written by `cargo bench --bench limits -- --write` -->";
const END: &str = "<!-- measured: end -->";

/// Tables, and what their rows are about.
#[derive(Debug, Default)]
pub(crate) struct Report {
    tables: Vec<Table>,
    /// Name of a row, and what it tries, in the order of the tables.
    about: Vec<(&'static str, &'static str)>,
    /// Rows of weir's that miss their goal.
    pub(crate) short: Vec<&'static str>,
}

// === impl Report ===

impl Report {
    /// A scenario's row of a contender, as it is printed.
    pub(crate) fn alone(
        &mut self,
        scenario: &Scenario,
        contender: Contender,
        figures: &[Figures],
    ) -> String {
        let verdict = alone::verdict(scenario, contender, figures);
        self.judge(scenario.name, scenario.about, verdict);
        self.row(alone::COLUMNS, alone::cells(scenario, contender, figures))
    }

    /// A crowd's row of a contender, as it is printed.
    pub(crate) fn shared(
        &mut self,
        crowd: &Crowd,
        contender: Contender,
        shares: &[Shares],
    ) -> String {
        let verdict = shared::verdict(crowd, contender, shares);
        self.judge(crowd.name, crowd.about, verdict);
        self.row(shared::COLUMNS, shared::cells(crowd, contender, shares))
    }

    /// A row of the last table, or the first of a new one.
    pub(crate) fn row(
        &mut self,
        columns: &'static [(&'static str, usize)],
        cells: Vec<String>,
    ) -> String {
        let mut text = String::new();
        if self
            .tables
            .last()
            .is_none_or(|table| table.columns() != columns)
        {
            let table = Table::new(columns);
            text = format!("\n{}\n", table.heading());
            self.tables.push(table);
        }
        let table = self.tables.last_mut().expect("there is one now");
        text + &table.add(cells)
    }

    fn judge(&mut self, name: &'static str, about: &'static str, verdict: &str) {
        if self.about.last().is_none_or(|last| last.0 != name) {
            self.about.push((name, about));
        }
        if verdict == SHORT {
            self.short.push(name);
        }
    }

    /// Puts it between the markers of `page`, which must have them.
    pub(crate) fn write(&self, page: &Path) -> Result<()> {
        let old = fs::read_to_string(page)?;
        let parts = old
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) =
            parts.ok_or_else(|| format!("{} has no markers: {BEGIN} … {END}", page.display()))?;
        let mut text: String = self
            .tables
            .iter()
            .map(|table| format!("{}\n", table.markdown()))
            .collect();
        for (name, about) in &self.about {
            let _ = writeln!(text, "- `{name}`: {about}");
        }
        fs::write(page, format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))?;
        Ok(())
    }
}

const OK: &str = "ok";
const SHORT: &str = "short";

fn word(good: bool) -> &'static str {
    if good { OK } else { SHORT }
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values
        .into_iter()
        .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$}", share * 100.0)
}
