//! What the kernel booked for a process: CPU time and resident memory, from `/proc`.

use std::fs;
use std::time::Duration;

/// Length of a `/proc/PID/stat` clock tick: `USER_HZ` is 100 on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// A process and all its descendants, as found when it was made: nginx and other multi-process
/// gateways do their work in children.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pids: Vec<u32>,
}

/// CPU time used so far, counted in two ways (see [`Cpu::since`]).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    by_thread: Duration,
    by_process: Duration,
}

// === impl Tree ===

impl Tree {
    pub(crate) fn of(root: u32) -> Self {
        let mut pids = vec![root];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            for task in threads(pid) {
                let children = fs::read_to_string(format!("/proc/{pid}/task/{task}/children"));
                let children = children.unwrap_or_default();
                pids.extend(
                    children
                        .split_whitespace()
                        .filter_map(|c| c.parse::<u32>().ok()),
                );
            }
            next += 1;
        }
        Self { pids }
    }

    /// CPU time of all threads, user and system.
    pub(crate) fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::default();
        for &pid in &self.pids {
            cpu.by_process += process_ticks(pid) * TICK;
            for task in threads(pid) {
                cpu.by_thread += thread_runtime(pid, task);
            }
        }
        cpu
    }

    /// Resident memory in bytes. Pages shared between processes of the tree count once each
    /// (proportional set size), where the kernel tells.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let of = |pid: &u32| match self.pids.len() {
            1 => kilobytes(&format!("/proc/{pid}/status"), "VmRSS:"),
            _ => kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:"),
        };
        self.pids.iter().map(of).sum::<u64>() * 1024
    }
}

// === impl Cpu ===

impl Cpu {
    /// CPU time used between `earlier` and this one.
    ///
    /// The sum over threads counts nanoseconds but forgets a thread that has ended; the
    /// process's own count remembers it but has ticks of 10 ms. So the fine count is taken
    /// unless the coarse one shows that something is missing from it.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let fine = self.by_thread.saturating_sub(earlier.by_thread);
        let coarse = self.by_process.saturating_sub(earlier.by_process);
        if coarse > fine + 3 * TICK {
            coarse
        } else {
            fine
        }
    }
}

fn threads(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    entries
        .filter_map(name)
        .filter_map(|n| n.parse().ok())
        .collect()
}

/// First field of `schedstat`: nanoseconds spent on a CPU.
fn thread_runtime(pid: u32, task: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")).unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// utime + stime: fields 14 and 15 of `stat`, counted past the name, which may hold anything.
fn process_ticks(pid: u32) -> u32 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|n| n.parse::<u32>().ok()).sum()
}

fn kilobytes(file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
