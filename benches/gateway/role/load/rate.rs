//! Open loop: calls are due at fixed times, and latency counts from when a call was due.
//!
//! Blocking threads, because an async timer's millisecond is many times what is measured here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::reply::Reader;
use super::request::Request;
use super::{Report, Spec};
use crate::Result;
use crate::stats::percentile;

/// Longer than any good answer takes: a gateway that hangs is a failure, not a hung bench.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(
    spec: &Spec,
    threads: u32,
    per_second: u32,
    warm_up: Duration,
    measured: Duration,
) -> Result<Report> {
    let begin = Instant::now() + Duration::from_millis(20);
    let parts: Vec<Report> = thread::scope(|scope| {
        let start = |index: u32| {
            let every = Duration::from_secs(1) * threads / per_second;
            let first = begin + every * index / threads;
            scope.spawn(move || sender(spec, first, every, warm_up, begin + warm_up + measured))
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let mut report = Report {
        seconds: measured.as_secs_f64(),
        ..Report::default()
    };
    for part in parts {
        report.calls += part.calls;
        report.failed += part.failed;
        report.first_failure = report.first_failure.or(part.first_failure);
        report.latencies_us.extend(part.latencies_us);
    }
    report.latencies_us.sort_by(f64::total_cmp);
    report.p50_us = percentile(&report.latencies_us, 0.50);
    report.p99_us = percentile(&report.latencies_us, 0.99);
    Ok(report)
}

/// One connection's calls: at `first`, and then `every` so often, up to `end`.
fn sender(spec: &Spec, first: Instant, every: Duration, warm_up: Duration, end: Instant) -> Report {
    let mut report = Report::default();
    let mut request = Request::new(spec.ask, spec.target, &spec.key, 0);
    let mut connection = None;
    let mut due = first;
    while due < end {
        let wait = due.saturating_duration_since(Instant::now());
        thread::sleep(wait);
        // The sleep's own lateness is not the gateway's; being kept by the call before is.
        let from = if wait.is_zero() { due } else { Instant::now() };
        request.advance();
        match call(spec, &mut connection, &request) {
            Ok(()) if due >= first + warm_up => {
                report.calls += 1;
                report.latencies_us.push(from.elapsed().as_secs_f64() * 1e6);
            }
            Ok(()) => {}
            Err(error) => {
                report.fail(&error);
                connection = None;
            }
        }
        due += every;
    }
    report
}

fn call(spec: &Spec, connection: &mut Option<TcpStream>, request: &Request) -> Result<()> {
    if connection.is_none() {
        let stream = TcpStream::connect(spec.target)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        *connection = Some(stream);
    }
    let stream = connection.as_mut().ok_or("no connection")?;
    stream.write_all(&request.bytes)?;
    let mut reader = Reader::default();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err("the connection was closed within a reply".into());
        }
        if reader.feed(&buffer[..length])? {
            return Ok(());
        }
    }
}
