//! CPU time of another process, exact to the nanosecond where the kernel tells.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Pid;

use crate::failure::{Doing, Failure, Outcome};

/// Unit of the times in `/proc/PID/stat`: Linux shows them to programs in 1/100 s on every machine.
const TICK: Duration = Duration::from_millis(10);

/// User and system time are rounded down to ticks separately, at both ends of a window.
const ROUNDING_TICKS: u32 = 3;

/// CPU time used by a process up to one moment.
pub(crate) struct Sample {
    /// Nanoseconds per living thread; empty where the kernel has no `schedstat`.
    threads: HashMap<String, u64>,
    /// Whole process, ended threads included, in ticks.
    ticks: u32,
}

impl Sample {
    pub(crate) fn take(process: Pid) -> Outcome<Self> {
        let directory = PathBuf::from(format!("/proc/{}", process.as_raw_nonzero()));
        let reading = || format!("cannot read {} (this needs Linux)", directory.display());
        let mut threads = HashMap::new();
        for entry in fs::read_dir(directory.join("task")).doing(reading)? {
            let entry = entry.doing(reading)?;
            // A thread may end between listing and reading; `between` notices.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            if let Some(time) = text.split(' ').next().and_then(|time| time.parse().ok()) {
                threads.insert(entry.file_name().to_string_lossy().into_owned(), time);
            }
        }
        let stat = fs::read_to_string(directory.join("stat")).doing(reading)?;
        let ticks = ticks(&stat).ok_or_else(|| Failure::new(format!("unexpected text: {stat}")))?;
        Ok(Self { threads, ticks })
    }

    /// CPU time used from `self` to `later`.
    pub(crate) fn until(&self, later: &Self) -> Duration {
        let exact: u64 = later
            .threads
            .iter()
            .map(|(thread, time)| time.saturating_sub(self.threads.get(thread).copied().unwrap_or(0)))
            .sum();
        let exact = Duration::from_nanos(exact);
        let coarse = TICK * later.ticks.saturating_sub(self.ticks);
        // More in the coarse account than rounding explains: threads ended inside the window and took
        // their exact account with them.
        if coarse > exact + TICK * ROUNDING_TICKS { coarse } else { exact }
    }
}

/// `utime + stime`, fields 14 and 15; the command's name before them may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(process: Pid) -> Outcome<u64> {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(&path).doing(|| format!("cannot read {path} (this needs Linux)"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .ok_or_else(|| Failure::new(format!("{path} has no VmRSS line")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(threads: &[(&str, u64)], ticks: u32) -> Sample {
        Sample { threads: threads.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect(), ticks }
    }

    #[test]
    fn living_threads_are_exact_and_ended_ones_fall_back_to_ticks() {
        let before = sample(&[("1", 1_000_000), ("2", 5_000_000)], 100);
        let after = sample(&[("1", 3_000_000), ("2", 5_000_000), ("3", 500_000)], 101);
        assert_eq!(before.until(&after), Duration::from_micros(2_500));
        let lost = sample(&[("1", 3_000_000)], 150);
        assert_eq!(before.until(&lost), Duration::from_millis(500));
    }

    #[test]
    fn the_command_name_does_not_confuse_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 90 0 0 0 38 4 0 0 20 0 3 0 12 1000 9";
        assert_eq!(ticks(stat), Some(42));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_work_is_seen() {
        let me = rustix::process::getpid();
        let before = Sample::take(me).unwrap();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(60) {
            std::hint::black_box(start);
        }
        assert!(before.until(&Sample::take(me).unwrap()) > Duration::ZERO);
        assert!(resident_kib(me).unwrap() > 100);
    }
}
