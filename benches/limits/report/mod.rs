//! What all runs came to: tables for the terminal and for `docs/limits.md`.

mod alone;
mod shared;
mod table;

use std::{fmt::Write as _, fs, path::Path};

use crate::{
    Result,
    contender::Contender,
    cost::{self, Costs},
    crowd::{Crowd, Shares},
    figures::Figures,
    memory,
    scenario::Scenario,
};

pub(crate) use self::table::Table;

const BEGIN: &str = "<!-- measured: begin; written by `cargo bench --bench limits -- --write` -->";
const END: &str = "<!-- measured: end -->";

/// What stands before the tables.
const SECTION: &str = include_str!("measured.md");

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

    /// The row of what a call costs, as it is printed.
    pub(crate) fn costs(&mut self, costs: &Costs) -> String {
        // Without optimisation it says nothing.
        let verdict = match cfg!(debug_assertions) {
            true => "",
            false => word(costs.admit < cost::MOST),
        };
        self.judge(cost::NAME, cost::ABOUT, verdict);
        let cells = [costs.admit, costs.layer, costs.heard].map(|ns| format!("{ns:.0}"));
        let [admit, layer, heard] = cells;
        self.row(
            COSTS,
            vec![
                cost::NAME.to_owned(),
                admit,
                layer,
                heard,
                verdict.to_owned(),
            ],
        )
    }

    /// The row of what is kept in memory, as it is printed.
    pub(crate) fn memory(&mut self, mib: f64) -> String {
        let verdict = word(mib < memory::MOST);
        self.judge(memory::NAME, memory::ABOUT, verdict);
        let cells = [
            memory::NAME.to_owned(),
            format!("{mib:.1}"),
            verdict.to_owned(),
        ];
        self.row(MEMORY, cells.into())
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

    /// Puts it between the markers of `page`, with what explains it; where there are none yet, at its end.
    pub(crate) fn write(&self, page: &Path) -> Result<()> {
        let old =
            fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
        fs::write(page, self.renewed(&old))?;
        Ok(())
    }

    fn renewed(&self, page: &str) -> String {
        let tables = self.tables.iter().map(|table| table.markdown() + "\n");
        let mut text: String = tables.collect();
        for (name, about) in &self.about {
            let _ = writeln!(text, "- `{name}`: {about}");
        }
        let section = format!("{BEGIN}\n\n{SECTION}\n{text}\n{END}");
        let marked = page
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        match marked {
            Some((before, after)) => format!("{before}{section}{after}"),
            None => format!("{}\n\n{section}\n", page.trim_end()),
        }
    }
}

const COSTS: &[(&str, usize)] = &[
    ("CPU", 18),
    ("admit ns", 8),
    ("whole stage ns", 14),
    ("learning from a head ns", 24),
    ("verdict", 7),
];

const MEMORY: &[(&str, usize)] = &[("memory", 18), ("limit stage MiB", 19), ("verdict", 7)];

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
