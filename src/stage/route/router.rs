//! The table: which route takes a model, and which targets that makes.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::NoTarget;
use crate::{
    call::{Target, TargetId},
    config::{CachePolicy, Config, Route, RouteTarget, UpstreamId},
    redact,
    stage::retry::Fruitless,
    triage::Dialect,
};

/// Model names remembered; beyond it a name is looked up anew each time.
const MAX_MODELS: usize = 4096;
/// Longer names are no model's. A caller could fill the memory with them, so nothing is remembered of them.
const LONGEST_NAME: usize = 256;
/// Models of one upstream that are told apart in metrics and circuits; further ones share `other`.
const MAX_TARGETS: usize = 2048;

/// Gives targets their numbers, and what is known of how they do. Lives as long as the process, so that circuits and buckets survive
/// a reload.
#[derive(Debug, Default)]
pub struct Targets(RwLock<HashMap<Name, Known>>);

/// Upstream and model.
type Name = (Arc<str>, Arc<str>);

#[derive(Clone, Debug)]
struct Known {
    id: TargetId,
    label: Arc<str>,
    /// One for all workers, configurations and plans.
    fruitless: Arc<Fruitless>,
}

/// Where a model's calls go.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) route: Arc<Route>,
    /// Never empty.
    pub(super) targets: Arc<[Arc<Target>]>,
}

/// The routes of one configuration.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Arc<Route>>,
    targets: Arc<Targets>,
    planned: RwLock<HashMap<Box<str>, Planned>>,
    /// Some route has a cache policy of its own.
    own_policies: bool,
    /// Some route has a timeout of its own.
    own_timeouts: bool,
}

// === impl Targets ===

impl Targets {
    fn known(&self, upstream: &Arc<str>, model: &Arc<str>) -> Known {
        let key = (Arc::clone(upstream), Arc::clone(model));
        if let Some(known) = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return known.clone();
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let next = TargetId(u32::try_from(all.len()).unwrap_or(u32::MAX));
        if all.len() >= MAX_TARGETS || model.len() > LONGEST_NAME {
            let other: Arc<str> = Arc::from("other");
            let entry = all.entry((Arc::clone(upstream), Arc::clone(&other)));
            return entry.or_insert_with(|| Known::new(next, other)).clone();
        }
        // The label goes into metrics, circuits and reports.
        let label = match redact::name(model) {
            Cow::Borrowed("") => Arc::from("none"),
            Cow::Borrowed(_) => Arc::clone(model),
            Cow::Owned(clean) => Arc::from(clean),
        };
        let entry = all.entry(key);
        entry.or_insert_with(|| Known::new(next, label)).clone()
    }
}

// === impl Known ===

impl Known {
    fn new(id: TargetId, label: Arc<str>) -> Self {
        Self {
            id,
            label,
            fruitless: Arc::default(),
        }
    }
}

// === impl Router ===

impl Router {
    /// The routes of `config`.
    pub fn new(config: &Config, targets: Arc<Targets>) -> Self {
        Self {
            routes: config.routes.clone(),
            targets,
            planned: RwLock::default(),
            own_policies: config
                .routes
                .iter()
                .any(|route| route.cache_policy.is_some()),
            own_timeouts: config.routes.iter().any(|route| route.timeout.is_some()),
        }
    }

    /// The route of a model, by the patterns alone. An empty name matches `*` only, or the very first route:
    /// calls without a model have to go somewhere.
    pub fn route_of(&self, model: &str) -> Option<&Arc<Route>> {
        if model.is_empty() {
            return self
                .routes
                .iter()
                .find(|route| route.matcher.is_match(""))
                .or_else(|| self.routes.first());
        }
        self.routes
            .iter()
            .find(|route| route.matcher.is_match(model))
    }

    /// The cache policy of the model's route, if it has its own.
    pub fn cache_policy(&self, model: &str) -> Option<CachePolicy> {
        // Most configurations have none, and then nothing is looked up.
        if !self.own_policies {
            return None;
        }
        self.plan(model)
            .ok()
            .and_then(|planned| planned.route.cache_policy)
    }

    /// The timeout of the model's route, if it has its own.
    pub fn timeout(&self, model: &str) -> Option<Duration> {
        if !self.own_timeouts {
            return None;
        }
        self.plan(model)
            .ok()
            .and_then(|planned| planned.route.timeout)
    }

    pub(super) fn plan(&self, model: &str) -> Result<Planned, NoTarget> {
        if let Some(planned) = self
            .planned
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(model)
        {
            return Ok(planned.clone());
        }
        let route = self.route_of(model).ok_or_else(|| self.no_route(model))?;
        let targets: Arc<[Arc<Target>]> = route
            .targets
            .iter()
            .filter_map(|to| self.target(to, model))
            .collect();
        if targets.is_empty() {
            return Err(NoTarget::Unable {
                route: route.name.to_string(),
                why: "its upstreams speak no OpenAI-compatible dialect; use their OpenAI-compatible presets",
            });
        }
        let planned = Planned {
            route: Arc::clone(route),
            targets,
        };
        let mut known = self.planned.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_MODELS || model.len() > LONGEST_NAME {
            return Ok(planned);
        }
        // Another worker may have been here first.
        Ok(known.entry(model.into()).or_insert(planned).clone())
    }

    fn target(&self, to: &RouteTarget, asked: &str) -> Option<Arc<Target>> {
        if to.upstream.provider.dialect != Dialect::OpenAi {
            return None;
        }
        // A call without a model stays without one: there is nothing to replace.
        let model: Arc<str> = match &to.model {
            Some(model) if !asked.is_empty() => Arc::clone(model),
            _ => Arc::from(asked),
        };
        let Known {
            id,
            label,
            fruitless,
        } = self.targets.known(&to.upstream.name, &model);
        let rewrite = &*model != asked;
        let target = Target::new(id, Arc::clone(&to.upstream), model, rewrite, label);
        Some(Arc::new(Target {
            fruitless,
            ..target
        }))
    }

    fn no_route(&self, model: &str) -> NoTarget {
        let shown: String = redact::name(model).chars().take(100).collect();
        let near = self
            .routes
            .iter()
            .flat_map(|route| &route.models)
            .map(|name| (strsim::jaro_winkler(name, model), name))
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = near.map_or_else(String::new, |(_, name)| format!("; is `{name}` meant?"));
        NoTarget::NoRoute { model: shown, hint }
    }

    /// All upstream ids used by any route.
    pub fn upstreams(&self) -> impl Iterator<Item = UpstreamId> {
        self.routes
            .iter()
            .flat_map(|route| route.targets.iter().map(|t| t.upstream.id))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::Env;

    const FALLBACK: &str = "[[upstream]]\nname = \"openai\"\napi_key = \"k\"\n\
                            [[upstream]]\nname = \"mistral\"\napi_key = \"k\"\n\
                            [[route]]\nmodels = [\"*\"]\ntargets = [\"openai\", \"mistral:mistral-small\"]\n";

    fn router(targets: &Arc<Targets>) -> Router {
        let config = Config::from_text(FALLBACK, &Env::default(), NonZeroU32::MIN);
        let (config, _) = config.expect("a sound configuration");
        Router::new(&config, Arc::clone(targets))
    }

    fn histories(router: &Router, model: &str) -> Vec<Arc<Fruitless>> {
        let planned = router.plan(model).expect("a route for all");
        let of = |target: &Arc<Target>| Arc::clone(&target.fruitless);
        planned.targets.iter().map(of).collect()
    }

    /// Went wrong: two workers met a new model at the same time and each made targets of its own, so that the calls of one were
    /// refused as if the target had answered nobody, while it answered those of the other.
    #[test]
    fn a_target_has_one_history_whoever_plans_for_it() {
        let targets = Arc::<Targets>::default();
        let (one, reloaded) = (router(&targets), router(&targets));
        let long = "m".repeat(LONGEST_NAME + 1);
        for model in ["gpt-4o", &long] {
            let first = histories(&one, model);
            assert_eq!(first.len(), 2);
            assert!(!Arc::ptr_eq(&first[0], &first[1]));
            for again in [histories(&one, model), histories(&reloaded, model)] {
                for (a, b) in first.iter().zip(&again) {
                    assert!(Arc::ptr_eq(a, b), "{model}");
                }
            }
        }
    }

    #[test]
    fn all_workers_get_the_plan_that_is_remembered() {
        let router = router(&Arc::default());
        for n in 0..50 {
            let model = format!("gpt-{n}");
            let plans: Vec<Planned> = std::thread::scope(|scope| {
                let plan = || scope.spawn(|| router.plan(&model).expect("a route for all"));
                let both = [plan(), plan(), plan(), plan()];
                both.map(|thread| thread.join().expect("no panic")).into()
            });
            for plan in &plans[1..] {
                assert!(Arc::ptr_eq(&plan.targets, &plans[0].targets));
            }
        }
    }
}
