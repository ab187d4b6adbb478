//! The gateway's side of a run: configuration, targets, calls.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use tokio::time::Instant;
use weir::{
    call::{
        Call, Credential, Deadline, Directives, Fingerprint, Meter, Payload, Plan, RequestId, Sdk,
        Target, TargetId,
    },
    config::{Config, Env},
    dialect::{Endpoint, openai::Envelope},
};

use crate::{Result, demand::Script};

/// A caller's own time-out: that of the official SDKs.
const PATIENCE: Duration = Duration::from_secs(600);
const MODEL: &str = "gpt-4o";

/// What the file said, and the one target of its one route.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) config: Config,
    targets: Arc<[Arc<Target>]>,
}

impl Gateway {
    /// One upstream by a provider's preset, with weir's key, and `apps` of equal weight.
    pub(crate) fn new(provider: &str, apps: u32) -> Result<Self> {
        Self::with(provider, &vec![String::new(); apps as usize])
    }

    /// As [`new`](Self::new), with more settings for each app.
    pub(crate) fn with(provider: &str, apps: &[String]) -> Result<Self> {
        let mut text = format!(
            "[[upstream]]\nname = \"hidden\"\nprovider = \"{provider}\"\napi_key = \"sk-of-the-bench\"\n"
        );
        for (number, settings) in apps.iter().enumerate() {
            let key = weir::config::hash_key(&format!("sk-app-{number}"));
            let hash: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            text +=
                &format!("[[app]]\nname = \"app-{number}\"\nkey = \"blake3:{hash}\"\n{settings}\n");
        }
        let (config, _) = Config::from_text(&text, &Env::from_iter([("", ""); 0]), NonZeroU32::MIN)
            .map_err(|mistakes| format!("the bench's own configuration is wrong: {mistakes}"))?;
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
        Call {
            id: RequestId::new(),
            arrived: now,
            ready: now,
            app: Arc::clone(&self.config.apps[script.app as usize]),
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
            directives: Directives::default(),
            sdk: Sdk::default(),
            upgrade: None,
            meter: Meter::default(),
        }
    }
}
