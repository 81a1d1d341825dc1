//! The machine: which two processors the measurement uses, and what to write beside
//! the figures.

use crate::Fallible;
use rustix::thread::CpuSet;
use std::fmt::Write;
use std::sync::OnceLock;

/// Where the two processes run. `None`: there is one processor only, and pinning two
/// processes to it would say nothing.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// The benchmark's own processor.
    pub own: usize,
    /// The partner's.
    pub partner: usize,
}

/// The first two processors this program was allowed to use when first asked.
pub fn places() -> Option<Places> {
    // Asked once: after pinning, the answer would be one processor.
    static PLACES: OnceLock<Option<Places>> = OnceLock::new();
    *PLACES.get_or_init(|| {
        let allowed = rustix::thread::sched_getaffinity(None).ok()?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        Some(Places { own: cpus.next()?, partner: cpus.next()? })
    })
}

/// How many processors this program may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Pins the calling thread, and the threads it starts later, to one processor.
///
/// # Errors
///
/// The system refused.
pub fn pin(cpu: usize) -> Fallible {
    let mut only = CpuSet::new();
    only.set(cpu);
    rustix::thread::sched_setaffinity(None, &only)?;
    Ok(())
}

/// Pins the benchmark itself, where there are two processors.
///
/// # Errors
///
/// The system refused.
pub fn pin_own() -> Fallible {
    places().map_or(Ok(()), |places| pin(places.own))
}

/// Processor, kernel, governor and placement, one per line. What cannot be read is
/// called unknown.
pub fn sheet() -> String {
    let mut sheet = String::from("machine\n");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(sheet, "  {name:<10} {value}");
    };
    let cpuinfo = read("/proc/cpuinfo");
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    row("cpu", model.unwrap_or("unknown"));
    row("online", read("/sys/devices/system/cpu/online").trim());
    row("siblings", read("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list").trim());
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    row("governor", governor.trim());
    row("kernel", read("/proc/sys/kernel/osrelease").trim());
    row("load", read("/proc/loadavg").trim());
    match places() {
        Some(Places { own, partner }) => {
            row("pinned", &format!("benchmark to {own}, partner to {partner}"));
        }
        None => row("pinned", "no: one processor; spinning rows are left out"),
    }
    sheet
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|_| "unknown".into())
}
