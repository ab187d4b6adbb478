//! The table for people.

use std::fmt::Write as _;

use super::{Metric, Report};

/// Medians, each with its multiple of the bare proxy's.
pub(crate) fn table(report: &Report) -> String {
    let shown = |metric: &Metric| report.values.contains_key(metric);
    let rows: Vec<Vec<String>> = Metric::ALL
        .into_iter()
        .filter(shown)
        .map(|metric| {
            let cells = report.names.iter().map(|name| cell(report, metric, name));
            std::iter::once(metric.label().to_owned())
                .chain(cells)
                .collect()
        })
        .collect();
    let header = std::iter::once(String::new())
        .chain(report.names.iter().cloned())
        .collect();
    layout(std::iter::once(header).chain(rows).collect())
}

fn cell(report: &Report, metric: Metric, gateway: &str) -> String {
    let Some(value) = report.value(metric, gateway) else {
        return "-".to_owned();
    };
    let value = format!("{value:.*}", metric.decimals());
    match report.ratio(metric, gateway) {
        // Direct calls are no gateway, and have no multiple.
        Some(ratio) if gateway != crate::measure::DIRECT => format!("{value} ({ratio:.2}x)"),
        _ => value,
    }
}

/// The first column to the left, the others to the right.
fn layout(rows: Vec<Vec<String>>) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}
