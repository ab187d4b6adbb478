//! The gateway's side of a run: configuration, targets, calls.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use tokio::time::Instant;
use weir::{
    call::{
        Call, Credential, Deadline, Directives, Fingerprint, Meter, Payload, Plan, RequestId, Sdk,
        Target, TargetId,
    },
    config::{App, AppId, Config, Env, Priority},
    dialect::{Endpoint, openai::Envelope},
};

use crate::{Result, demand::Script};

/// A caller's own time-out: that of the official SDKs.
const PATIENCE: Duration = Duration::from_secs(600);
pub(crate) const MODEL: &str = "gpt-4o";

/// What the file said, and the one target of its one route.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) config: Config,
    targets: Arc<[Arc<Target>]>,
}

/// How an app stands among the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) weight: NonZeroU32,
    pub(crate) priority: Priority,
}

// === impl Standing ===

impl Standing {
    pub(crate) const EQUAL: Self = Self {
        weight: NonZeroU32::MIN,
        priority: Priority::Interactive,
    };

    fn app(self, number: usize) -> App {
        App {
            id: AppId(number as u32 + 1),
            name: format!("app-{number}").into(),
            weight: self.weight,
            priority: self.priority,
            ..App::anyone()
        }
    }
}

// === impl Gateway ===

impl Gateway {
    /// One upstream by a provider's preset, with weir's key, and an app for each of `members`.
    pub(crate) fn new(provider: &str, members: &[Standing]) -> Result<Self> {
        let text = format!(
            "[[upstream]]\nname = \"hidden\"\nprovider = \"{provider}\"\napi_key = \"sk-of-the-bench\"\n"
        );
        let none = Env::from_iter([("", ""); 0]);
        let (mut config, _) = Config::from_text(&text, &none, NonZeroU32::MIN)
            .map_err(|mistakes| format!("the bench's own configuration is wrong: {mistakes}"))?;
        let apps = members.iter().enumerate();
        config.apps = apps
            .map(|(number, member)| Arc::new(member.app(number)))
            .collect();
        let upstream = config.upstreams.first().ok_or("no upstream")?;
        let target = Target::new(
            TargetId(0),
            Arc::clone(upstream),
            MODEL.into(),
            false,
            MODEL.into(),
        );
        let targets = Arc::from([Arc::new(target)]);
        Ok(Self { config, targets })
    }

    /// The call that `script` tells of, arriving now.
    pub(crate) fn plan(&self, script: &Script) -> Plan {
        let route = self.config.routes.first().expect("there is always a route");
        Plan::new(
            Arc::new(self.call(script)),
            Arc::clone(route),
            Arc::clone(&self.targets),
        )
        .expect("there is a target")
    }

    fn call(&self, script: &Script) -> Call {
        let now = Instant::now();
        let endpoint = Endpoint::ChatCompletions;
        let app = Arc::clone(&self.config.apps[script.app as usize]);
        Call {
            id: RequestId::new(),
            arrived: now,
            ready: now,
            app: Arc::clone(&app),
            credential: Credential {
                fingerprint: Fingerprint(script.app),
                forward: None,
                may_use_held: true,
            },
            endpoint,
            method: Method::POST,
            path: "/v1/chat/completions".parse().expect("a path"),
            headers: HeaderMap::new(),
            payload: Payload::Whole(script.body()),
            envelope: Envelope {
                model: Some(MODEL.into()),
                stream: script.body_ms > 0,
                include_usage: script.body_ms > 0,
                input_chars: script.input * 4,
                max_output_tokens: (script.max_output > 0).then_some(script.max_output),
                ..Envelope::empty(endpoint)
            },
            deadline: Deadline::at(now + PATIENCE),
            directives: Directives {
                priority: Some(app.priority),
                ..Directives::default()
            },
            sdk: Sdk::default(),
            upgrade: None,
            meter: Meter::default(),
        }
    }
}
