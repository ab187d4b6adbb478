//! The bench's command line.

use clap::Parser;

use crate::contender::Contender;

/// Tries limiters against a simulated provider, in simulated time.
#[derive(Debug, Parser)]
#[command(name = "limits", max_term_width = 100)]
pub(crate) struct Args {
    /// Only scenarios whose name contains one of these
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) only: Vec<String>,

    /// Only these contenders
    #[arg(long, value_delimiter = ',', value_name = "WHO")]
    pub(crate) who: Vec<Contender>,

    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// How many seeds, one after another
    #[arg(long, default_value_t = 3)]
    pub(crate) seeds: u64,

    /// Calls timed for `cost`
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) calls: u32,

    /// Tell every so many seconds what weir thought of the limits
    #[arg(long, value_name = "SECS")]
    pub(crate) diary: Option<f64>,

    /// Renew the section of docs/limits.md
    #[arg(long)]
    pub(crate) write: bool,

    /// Exit code 1 when weir falls short of a goal
    #[arg(long)]
    pub(crate) check: bool,

    /// Name the scenarios, and run none
    #[arg(long)]
    pub(crate) names: bool,

    /// Tell how memory grows in this process, and nothing else
    #[arg(long, hide = true)]
    pub(crate) memory_child: bool,

    /// Set by cargo
    #[arg(long, hide = true)]
    pub(crate) bench: bool,

    /// Set by test runners that look for tests here: there are none
    #[arg(long, hide = true)]
    pub(crate) list: bool,

    /// As `--list`
    #[arg(long, hide = true)]
    pub(crate) format: Option<String>,

    /// As `--list`
    #[arg(long, hide = true)]
    pub(crate) ignored: bool,
}

// === impl Args ===

impl Args {
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let all = Contender::ALL.into_iter();
        all.filter(|who| self.who.is_empty() || self.who.contains(who))
            .collect()
    }
}
