//! What the limiter costs where a thousand calls wait: CPU time of one thread, at a thousand admissions a second.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Builder, time::Instant};
use weir::stage::limit::Limits;

use crate::{
    Result,
    calls::{Gateway, Standing},
    cost::cpu,
    demand::Script,
};

pub(crate) const NAME: &str = "contended";
pub(crate) const ABOUT: &str =
    "CPU time of an admission while a thousand calls wait; of a release build";

/// Calls that want to go at any time.
const CALLERS: usize = 1_000;
const TIME: Duration = Duration::from_secs(3);
/// A thousand a second, set.
const SET: &str =
    "openai\"\nlimits = { requests_per_minute = 60000, tokens_per_minute = 60000000 }\n#";

/// Microseconds an admission; for so many apps.
pub(crate) fn measure(apps: usize) -> Result<f64> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let gateway = Arc::new(Gateway::new(SET, &vec![Standing::EQUAL; apps])?);
        let limits = Arc::<Limits>::default();
        let ends = Instant::now() + TIME;
        let before = cpu()?;
        let tasks: Vec<_> = (0..CALLERS)
            .map(|n| {
                tokio::spawn(caller(
                    Arc::clone(&gateway),
                    Arc::clone(&limits),
                    n % apps,
                    ends,
                ))
            })
            .collect();
        let mut went = 0;
        for task in tasks {
            went += task.await?;
        }
        Ok(cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / went as f64)
    })
}

async fn caller(gateway: Arc<Gateway>, limits: Arc<Limits>, app: usize, ends: Instant) -> usize {
    let script = Script {
        app: app as u64,
        input: 100,
        max_output: 100,
        output: 50,
        ..Script::default()
    };
    let mut went = 0;
    while Instant::now() < ends {
        let plan = gateway.plan(&script);
        let until = Instant::now() + Duration::from_secs(30);
        match limits
            .admit(&plan.call, &plan.targets()[0], until, true)
            .await
        {
            Ok(reservation) => {
                went += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
                drop(reservation);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    went
}
