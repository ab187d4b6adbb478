//! The page as text: a block for each pool with a row for each limit, then the apps' quotas.

use std::time::SystemTime;

use super::{
    numbers::{bar, percent, short, time, whole},
    words::{cut, folded, in_flight, join, queue, quota_next, quota_waits, refused},
};
use crate::{
    admin::LimitsPage,
    limits::{BucketView, PoolView},
    stage::quota::{AllowanceView, QuotaView},
};

/// From this width on numbers are written out and all columns are there.
const WIDE: usize = 115;
/// Below it there is no room for bars.
const SLIM: usize = 70;
/// Below this share of what is left a bar is red; below three times it, yellow.
const LOW: f64 = 0.1;
/// Columns: what, left, of, bar, burst, elsewhere, full in, known from.
const COLUMNS: usize = 8;
const BAR: usize = 3;

/// How it is to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) width: usize,
    pub(super) colour: bool,
}

/// A piece of the page.
enum Line {
    /// The heading of a block, and what stands behind it.
    Head(String, String),
    Row(Row),
    /// Parts that stand side by side where they fit.
    Parts(Vec<(Paint, String)>),
    Blank,
}

struct Row {
    cells: [String; COLUMNS],
    /// Share that is left.
    left: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

/// The whole page; ends with a line break.
pub(super) fn table(page: &LimitsPage, look: Look) -> String {
    let mut lines = Vec::new();
    if page.pools.is_empty() {
        let nothing = "Nothing is known of limits yet: no call was answered.".to_owned();
        lines.push(Line::Parts(vec![(Paint::Plain, nothing)]));
    }
    let now = humantime::parse_rfc3339(&page.at).ok();
    for pool in &page.pools {
        if !lines.is_empty() {
            lines.push(Line::Blank);
        }
        look.pool(&mut lines, pool, has_siblings(page, pool), now);
    }
    lines.extend(left_out(page.pools_left_out, "pools that are not in use"));
    for quota in &page.quotas {
        lines.push(Line::Blank);
        look.quota(&mut lines, quota);
    }
    lines.extend(left_out(page.quotas_left_out, "apps"));
    look.drawn(&lines, page)
}

/// Whether there are several accounts to be told apart.
fn has_siblings(page: &LimitsPage, pool: &PoolView) -> bool {
    let mut same = page.pools.iter().filter(|p| p.upstream == pool.upstream);
    same.any(|other| other.account != pool.account)
}

fn left_out(count: usize, what: &str) -> impl Iterator<Item = Line> {
    let text = format!("and {} more {what}", whole(count as u64));
    let line = Line::Head(String::new(), text);
    [Line::Blank, line].into_iter().filter(move |_| count > 0)
}

// === impl Look ===

impl Look {
    fn is_wide(self) -> bool {
        self.width >= WIDE
    }

    fn number(self, number: u64) -> String {
        if self.is_wide() {
            whole(number)
        } else {
            short(number)
        }
    }

    /// `tokens_per_minute` as people say it.
    fn kind(self, kind: &str) -> String {
        if self.is_wide() {
            return kind.replace('_', " ");
        }
        let brief = kind
            .replace("_per_minute", "/min")
            .replace("_per_day", "/day")
            .replace("_per_month", "/month")
            .replace("requests", "req")
            .replace("tokens", "tok");
        brief.replace('_', " ")
    }

    fn bar(self, left: u64, of: u64) -> String {
        let width = match self.width {
            ..SLIM => return String::new(),
            SLIM..WIDE => 8,
            _ => 14,
        };
        bar(left, of, width)
    }

    fn pool(self, lines: &mut Vec<Line>, pool: &PoolView, siblings: bool, now: Option<SystemTime>) {
        let account = pool.account.as_ref().filter(|_| siblings);
        let account = account.map_or_else(String::new, |account| format!(" · account {account}"));
        let title = format!("{} · {}{account}", pool.upstream, pool.pool);
        let others: Vec<_> = pool.models.iter().filter(|m| **m != pool.pool).collect();
        let models = match others.as_slice() {
            _ if pool.pool == "*" => "  calls without a model".to_owned(),
            [] => String::new(),
            some if some.len() < pool.models.len() => format!("  also {}", join(some)),
            all => format!("  {}", join(all)),
        };
        lines.push(Line::Head(title, models));
        if pool.buckets.is_empty() {
            let nothing = "nothing is known of its limits yet".to_owned();
            lines.push(Line::Parts(vec![(Paint::Dim, nothing)]));
        }
        lines.extend(pool.buckets.iter().map(|b| Line::Row(self.bucket(b))));
        let mut parts = vec![in_flight(pool.concurrency)];
        parts.extend(queue(&pool.queue));
        parts.extend(pool.last_refusal.as_ref().map(|r| refused(r, now)));
        lines.push(Line::Parts(parts));
    }

    fn bucket(self, bucket: &BucketView) -> Row {
        let (left, of) = (bucket.remaining, bucket.capacity);
        let wide = |text: String| if self.is_wide() { text } else { String::new() };
        let elsewhere = bucket.foreign_share;
        Row {
            cells: [
                self.kind(bucket.kind.as_str()),
                self.number(left),
                self.number(of),
                self.bar(left, of),
                wide(self.number(bucket.burst)),
                elsewhere.map_or_else(|| "–".to_owned(), percent),
                wide(match left >= of {
                    true => "now".to_owned(),
                    false => time(bucket.full_in_seconds),
                }),
                bucket.source.as_str().to_owned(),
            ],
            left: share(left, of),
        }
    }

    fn quota(self, lines: &mut Vec<Line>, quota: &QuotaView) {
        let mut more = vec![quota.priority.clone()];
        if quota.weight != 1 {
            more.push(format!("weight {}", quota.weight));
        }
        let then = match &*quota.on_limit {
            "wait" => "calls beyond it wait",
            _ => "calls beyond it are refused",
        };
        more.push(then.to_owned());
        let title = format!("quota of {}", quota.app);
        lines.push(Line::Head(title, format!("  {}", more.join(" · "))));
        lines.extend(
            quota
                .allowances
                .iter()
                .map(|a| Line::Row(self.allowance(a))),
        );
        let parts: Vec<_> = [quota_waits(quota), quota_next(quota)]
            .into_iter()
            .flatten()
            .collect();
        if !parts.is_empty() {
            lines.push(Line::Parts(parts));
        }
    }

    fn allowance(self, allowance: &AllowanceView) -> Row {
        let (left, of) = (allowance.remaining, allowance.quota);
        let none = String::new;
        Row {
            cells: [
                self.kind(&allowance.kind),
                self.number(left),
                self.number(of),
                self.bar(left, of),
                if self.is_wide() {
                    self.number(allowance.burst)
                } else {
                    none()
                },
                none(),
                none(),
                none(),
            ],
            left: share(left, of),
        }
    }

    fn drawn(self, lines: &[Line], page: &LimitsPage) -> String {
        let heads = [
            "",
            "left",
            "of",
            "",
            "burst",
            "elsewhere",
            "full in",
            "known from",
        ];
        let rows = || {
            lines.iter().filter_map(|line| match line {
                Line::Row(row) => Some(row),
                _ => None,
            })
        };
        let mut widths = [0; COLUMNS];
        for row in rows() {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        // A column that holds nothing has no heading either.
        for (width, head) in widths.iter_mut().zip(heads) {
            if *width > 0 {
                *width = (*width).max(head.chars().count());
            }
        }
        let mut out = String::new();
        self.first(&mut out, page, &heads, &widths, rows().next().is_some());
        for line in lines {
            match line {
                Line::Blank => out.push('\n'),
                Line::Head(title, more) => {
                    let title = cut(title, self.width);
                    let room = self.width.saturating_sub(title.chars().count());
                    out.push_str(&self.painted(Paint::Bold, &title));
                    out.push_str(&self.painted(Paint::Dim, &cut(more, room)));
                    out.push('\n');
                }
                Line::Row(row) => {
                    let paint = match row.left {
                        left if left < LOW => Paint::Red,
                        left if left < 3.0 * LOW => Paint::Yellow,
                        _ => Paint::Green,
                    };
                    let cells = row.cells.each_ref().map(String::as_str);
                    self.row(&mut out, &cells, &widths, Paint::Plain, paint);
                }
                Line::Parts(parts) => self.parts(&mut out, parts),
            }
        }
        out
    }

    /// When it was, and the names of the columns.
    fn first(
        self,
        out: &mut String,
        page: &LimitsPage,
        heads: &[&str; COLUMNS],
        widths: &[usize; COLUMNS],
        any: bool,
    ) {
        let at = page.at.replace('T', " ");
        let at = at.split('.').next().unwrap_or(&at);
        let title = format!("weir {} · {at} UTC", page.version);
        out.push_str(&self.painted(Paint::Dim, &cut(&title, self.width)));
        out.push_str("\n\n");
        if any {
            self.row(out, heads, widths, Paint::Dim, Paint::Dim);
        }
    }

    fn row(
        self,
        out: &mut String,
        cells: &[&str; COLUMNS],
        widths: &[usize; COLUMNS],
        paint: Paint,
        of_bar: Paint,
    ) {
        let mut texts = Vec::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if *width == 0 {
                continue;
            }
            let room = " ".repeat(width.saturating_sub(cell.chars().count()));
            // Numbers to the right; names and bars to the left.
            let text = match at {
                0 | BAR | 7 => format!("{cell}{room}"),
                _ => format!("{room}{cell}"),
            };
            texts.push(self.painted(if at == BAR { of_bar } else { paint }, &text));
        }
        let line = format!("  {}", texts.join("  "));
        out.push_str(line.trim_end());
        out.push('\n');
    }

    fn parts(self, out: &mut String, parts: &[(Paint, String)]) {
        let mut used = 0;
        let room = self.width.saturating_sub(2);
        let pieces = parts
            .iter()
            .flat_map(|(paint, text)| folded(text, room).into_iter().map(move |t| (paint, t)));
        for (paint, text) in pieces {
            let length = text.chars().count();
            if used > 0 && used + 3 + length <= self.width {
                out.push_str(&self.painted(Paint::Dim, " · "));
                used += 3 + length;
            } else {
                out.push_str(if used > 0 { "\n  " } else { "  " });
                used = 2 + length;
            }
            out.push_str(&self.painted(*paint, &text));
        }
        out.push('\n');
    }

    fn painted(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => return text.to_owned(),
            _ if !self.colour || text.is_empty() => return text.to_owned(),
            Paint::Bold => 1,
            Paint::Dim => 2,
            Paint::Green => 32,
            Paint::Yellow => 33,
            Paint::Red => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn share(left: u64, of: u64) -> f64 {
    left as f64 / of.max(1) as f64
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
