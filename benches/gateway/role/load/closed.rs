//! Closed loop: every connection sends its next call when the last one has been answered.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::reply::Reader;
use super::request::{Ask, Request};
use super::{Report, Spec};
use crate::Result;
use crate::procfs::Tree;

/// Keeps `connections` busy for `warm_up` and then `measured`, and counts the latter.
///
/// Calls that the measured time cuts through are counted when they end in it, events when they
/// come in it: over some thousands the two ends cancel out.
pub(super) fn run(
    spec: &Spec,
    connections: usize,
    warm_up: Duration,
    measured: Duration,
) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let report = Rc::new(RefCell::new(Report::default()));
        // Paced streams that began together would stay in step, and their events come in bursts.
        let (spread, length) = match spec.ask {
            Ask::Stream { events, gap_ms } if gap_ms > 0 => {
                let gap = Duration::from_millis(gap_ms);
                (gap, gap * u32::try_from(events)?)
            }
            _ => (Duration::ZERO, Duration::ZERO),
        };
        for index in 0..connections {
            let share = index as f64 / connections as f64;
            let delay = spread.mul_f64(share) + length.mul_f64(share).min(warm_up / 2);
            let request = Request::new(spec.ask, spec.target, &spec.key, first_number(index));
            let (report, target) = (Rc::clone(&report), spec.target);
            spawn_local(async move {
                sleep(delay).await;
                loop {
                    if let Err(error) = calls(target, request.clone(), &report).await {
                        report.borrow_mut().fail(&error);
                    }
                    // After a failure on a new connection, but not in a storm of them.
                    sleep(Duration::from_millis(20)).await;
                }
            });
        }
        sleep(warm_up).await;
        let before = report.replace_with(|so_far| Report {
            failed: so_far.failed,
            first_failure: so_far.first_failure.take(),
            ..Report::default()
        });
        drop(before);
        let tree = spec.pid.map(Tree::of);
        let (started, cpu) = (
            Instant::now(),
            tree.as_ref().map(Tree::cpu).unwrap_or_default(),
        );
        sleep(measured).await;
        let used = tree.as_ref().map(Tree::cpu).unwrap_or_default().since(cpu);
        let mut report = report.take();
        report.seconds = started.elapsed().as_secs_f64();
        report.cpu_seconds = used.as_secs_f64();
        Ok(report)
    })
}

/// One call after the other on one connection, until something fails.
async fn calls(
    target: std::net::SocketAddr,
    mut request: Request,
    report: &RefCell<Report>,
) -> Result<()> {
    let mut stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let mut reader = Reader::default();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        request.advance();
        stream.write_all(&request.bytes).await?;
        reader.reset();
        let mut done = false;
        while !done {
            let length = stream.read(&mut buffer).await?;
            if length == 0 {
                return Err("the connection was closed within a reply".into());
            }
            let events = reader.events;
            done = reader.feed(&buffer[..length])?;
            report.borrow_mut().events += reader.events - events;
        }
        report.borrow_mut().calls += 1;
    }
}

/// No two connections, nor two processes, send the same number.
fn first_number(index: usize) -> u64 {
    let process = u64::from(std::process::id()) % 10_000_000;
    process * 1_000_000_000 + (index as u64) * 1_000_000
}
