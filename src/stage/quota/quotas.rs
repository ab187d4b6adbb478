//! The allowances of all apps.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    AllowanceView, Kind, QuotaView, SavedQuota, SavedQuotas, allowance::Allowance, clock::Clock,
    day::Day, pace,
};
use crate::config::{App, AppId, OnLimit, Priority};

/// Called after each wait, with its length. Must not block.
pub type WaitHook = Arc<dyn Fn(&App, Duration) + Send + Sync>;

/// The allowances of the apps of one configuration.
#[derive(Default)]
pub struct Quotas {
    apps: HashMap<AppId, Entry>,
    /// Longest wait inside weir, all waits of a call together.
    pub(super) max_wait: Duration,
    clock: Arc<Clock>,
    hook: Option<WaitHook>,
}

/// One app. Of ten thousand apps most are silent: the allowance is made at the first call.
struct Entry {
    app: Arc<App>,
    made: OnceLock<Arc<Allowance>>,
}

// === impl Quotas ===

impl Quotas {
    /// Full ones, for those `apps` that have a quota. Calls wait for `max_wait` in all.
    pub fn new(apps: &[Arc<App>], max_wait: Duration) -> Self {
        Self::default().renewed(apps, max_wait)
    }

    /// `hook` hears of every wait.
    #[must_use]
    pub fn with_hook(mut self, hook: WaitHook) -> Self {
        self.hook = Some(hook);
        self
    }

    #[cfg(test)]
    pub(super) fn with_wall(mut self, wall: super::clock::Wall) -> Self {
        self.clock = Arc::new(Clock::new(wall));
        self
    }

    /// Those of a new configuration. Apps go on where they are: what was used of an allowance stays used, whatever its new
    /// number is.
    #[must_use]
    pub fn renewed(&self, apps: &[Arc<App>], max_wait: Duration) -> Self {
        let before: HashMap<_, _> = self
            .apps
            .values()
            .filter_map(|entry| {
                let made = entry.made.get()?;
                Some(((entry.app.key_hash, &entry.app.name), made))
            })
            .collect();
        let entry = |app: &Arc<App>| {
            let made = OnceLock::new();
            if let Some(kept) = before.get(&(app.key_hash, &app.name)) {
                kept.configure(app);
                let _ = made.set(Arc::clone(kept));
            }
            let app = Arc::clone(app);
            (app.id, Entry { app, made })
        };
        Self {
            apps: apps
                .iter()
                .filter(|app| !kinds(app).is_empty())
                .map(entry)
                .collect(),
            max_wait,
            clock: Arc::clone(&self.clock),
            hook: self.hook.clone(),
        }
    }

    /// For people: every app with a quota, in the order of the configuration.
    pub fn views(&self) -> Vec<QuotaView> {
        let mut entries: Vec<_> = self.apps.values().collect();
        entries.sort_by_key(|entry| entry.app.id);
        entries.into_iter().map(Entry::view).collect()
    }

    /// What is worth keeping for the next run: the day's counts.
    pub fn saved(&self) -> SavedQuotas {
        let mut apps: Vec<_> = self
            .apps
            .values()
            .filter_map(|entry| {
                let tokens = entry.made.get()?.used_today();
                let app = entry.app.name.to_string();
                (tokens > 0).then_some(SavedQuota { app, tokens })
            })
            .collect();
        apps.sort_by(|a, b| a.app.cmp(&b.app));
        let day = Day::number(self.clock.now().unix);
        SavedQuotas { day, apps }
    }

    /// Counts what the last run kept, if it is of this day. Once, before the first call.
    pub fn restore(&self, saved: &SavedQuotas) {
        let tokens: HashMap<&str, u64> = saved
            .apps
            .iter()
            .map(|saved| (saved.app.as_str(), saved.tokens))
            .collect();
        for entry in self.apps.values() {
            if let Some(tokens) = tokens.get(&*entry.app.name) {
                entry.made(&self.clock).restore(saved.day, *tokens);
            }
        }
    }

    pub(super) fn of(&self, app: &App) -> Option<&Arc<Allowance>> {
        if self.apps.is_empty() {
            return None;
        }
        Some(self.apps.get(&app.id)?.made(&self.clock))
    }

    pub(super) fn waited(&self, app: &App, time: Duration) {
        if let Some(hook) = &self.hook {
            hook(app, time);
        }
    }
}

impl std::fmt::Debug for Quotas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quotas")
            .field("apps", &self.apps.len())
            .field("max_wait", &self.max_wait)
            .finish_non_exhaustive()
    }
}

// === impl Entry ===

impl Entry {
    fn made(&self, clock: &Arc<Clock>) -> &Arc<Allowance> {
        let make = || Arc::new(Allowance::new(&self.app, Arc::clone(clock)));
        self.made.get_or_init(make)
    }

    fn view(&self) -> QuotaView {
        let app = &self.app;
        let untouched = || {
            let view = |(kind, quota): (Kind, u64)| AllowanceView {
                kind: kind.as_str().to_owned(),
                quota,
                used: 0,
                remaining: quota,
                burst: match (kind, app.on_limit, app.requests_per_minute) {
                    (Kind::RequestsPerMinute, OnLimit::Wait, Some(limit)) => {
                        pace::burst(limit).get().into()
                    }
                    _ => quota,
                },
                next_in_seconds: Some(0.0),
            };
            kinds(app).into_iter().map(view).collect()
        };
        let made = self.made.get();
        let (waiting, oldest) = made.map(|made| made.waiting()).unwrap_or_default();
        QuotaView {
            app: app.name.to_string(),
            on_limit: match app.on_limit {
                OnLimit::Wait => "wait",
                OnLimit::Reject => "reject",
            }
            .to_owned(),
            priority: match app.priority {
                Priority::Interactive => "interactive",
                Priority::Batch => "batch",
            }
            .to_owned(),
            weight: app.weight.get(),
            allowances: made.map_or_else(untouched, |made| made.views()),
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
            oldest_wait_seconds: oldest.as_secs_f64(),
        }
    }
}

/// The numbers that are set.
fn kinds(app: &App) -> Vec<(Kind, u64)> {
    [
        (
            Kind::RequestsPerMinute,
            app.requests_per_minute.map(|n| n.get().into()),
        ),
        (
            Kind::TokensPerMinute,
            app.tokens_per_minute.map(|n| n.get().into()),
        ),
        (Kind::TokensPerDay, app.tokens_per_day.map(Into::into)),
        (Kind::Concurrency, app.concurrency.map(|n| n.get().into())),
    ]
    .into_iter()
    .filter_map(|(kind, quota)| Some((kind, quota?)))
    .collect()
}
