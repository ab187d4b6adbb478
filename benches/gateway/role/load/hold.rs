//! Many slow streams at once, and the gateway's memory while they last.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::reply::Reader;
use super::request::Request;
use super::{Report, Spec};
use crate::Result;
use crate::procfs::Tree;

/// How long the last streams may take until their first events are there.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn run(
    spec: &Spec,
    connections: usize,
    per_second: u32,
    held: Duration,
) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let report = Rc::new(RefCell::new(Report::default()));
        let open = Rc::new(Cell::new(0_u64));
        let started = Instant::now();
        for index in 0..connections {
            let request = Request::new(spec.ask, spec.target, &spec.key, 0);
            let (report, open, target) = (Rc::clone(&report), Rc::clone(&open), spec.target);
            spawn_local(async move {
                sleep(Duration::from_secs_f64(
                    index as f64 / f64::from(per_second),
                ))
                .await;
                if let Err(error) = stream(target, &request, &open, &report).await {
                    report.borrow_mut().fail(&error);
                }
            });
        }
        let ramp = Duration::from_secs_f64(connections as f64 / f64::from(per_second));
        let all = |count: u64| count + report.borrow().failed >= connections as u64;
        while !all(open.get()) && started.elapsed() < ramp + PATIENCE {
            sleep(Duration::from_millis(20)).await;
        }
        sleep(held).await;
        let mut report = report.take();
        report.seconds = started.elapsed().as_secs_f64();
        report.open = open.get();
        report.resident_bytes = spec.pid.map_or(0, |pid| Tree::of(pid).resident_bytes());
        Ok(report)
    })
}

/// One stream; counts as open from its first event to its end, which is not to come.
async fn stream(
    target: std::net::SocketAddr,
    request: &Request,
    open: &Cell<u64>,
    report: &RefCell<Report>,
) -> Result<()> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(&request.bytes).await?;
    let mut reader = Reader::default();
    let mut seen = 0;
    let ended = loop {
        // Small: thousands of these are held.
        let mut buffer = [0; 2048];
        match stream.read(&mut buffer).await {
            Ok(0) => break Err("a slow stream was cut".into()),
            Ok(length) => match reader.feed(&buffer[..length]) {
                Ok(false) => {}
                Ok(true) => break Err("a slow stream ended too early".into()),
                Err(error) => break Err(error),
            },
            Err(error) => break Err(error.into()),
        }
        if seen == 0 && reader.events > 0 {
            open.set(open.get() + 1);
        }
        report.borrow_mut().events += reader.events - seen;
        seen = reader.events;
    };
    if seen > 0 {
        open.set(open.get() - 1);
    }
    ended
}
