//! How much the live-query scenarios do at most, and what the operating system must grant a load generator:
//! open files, and one core for itself.

use std::time::Duration;

use rustix::process::{Pid, Resource, getrlimit, setrlimit};

use crate::failure::{Doing, Failure, Outcome};

/// Handshakes under way at once while a scenario is prepared.
pub(crate) const OPENING: usize = 32;

/// Handshakes under way at once in the reconnect storm; a listener's queue commonly holds 1,024.
pub(crate) const STORM_OPENING: usize = 512;

/// Clients of the reconnect storm; also what `connectionLimits.maxTotalSubscriptions` allows by default.
pub(crate) const STORM_CLIENTS: usize = 10_000;
pub(crate) const QUICK_STORM_CLIENTS: usize = 2_000;

/// All clients of a storm must be served within this; the aim is far below.
pub(crate) const STORM_LIMIT: Duration = Duration::from_secs(60);

/// Subscribers of `slices`: the few and the many.
pub(crate) const FEW_SLICES: usize = 100;
pub(crate) const MANY_SLICES: usize = 4_000;

/// Subscribers of `scopes`; also what `connectionLimits.maxTotalSubscriptions` allows by default.
pub(crate) const SCOPED: usize = 10_000;
pub(crate) const FEW_SCOPED: usize = 1_000;

/// Addresses of each wave of `limiter-memory`, and the window in which each has made a request: no address may leave it
/// before the last one of its wave has come.
pub(crate) fn addresses(quick: bool) -> (u32, Duration) {
    if quick { (10_000, Duration::from_secs(20)) } else { (100_000, Duration::from_secs(120)) }
}

/// Updates of `patch-bytes` in either mode.
pub(crate) const PATCHES: u64 = 20;

/// All subscribers must have an update's push within this.
pub(crate) const DELIVERY_LIMIT: Duration = Duration::from_secs(30);

/// Open files beside the connections: listeners, pipes, the runtime, the server's own files.
const SPARE_FILES: u64 = 200;

/// Raises the soft limit of open files, ours and that of the servers started later.
pub(crate) fn allow_connections(connections: usize) -> Outcome {
    let needed = connections as u64 + SPARE_FILES;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        return Err(Failure::new(format!(
            "{connections} connections need {needed} open files, the hard limit is lower; raise it, for \
             example with `ulimit -Hn {needed}` as root before starting this"
        )));
    }
    limit.current = Some(needed);
    setrlimit(Resource::Nofile, limit).doing(|| format!("cannot raise the open-file limit to {needed}"))
}

/// How many of the wanted connections the hard limit of open files allows, having raised the soft one for
/// them. Says so where it is fewer, and fails where it is fewer than `least`.
pub(crate) fn connections_within(wanted: usize, least: usize) -> Outcome<usize> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let allowed = affordable(wanted, hard);
    if allowed < least {
        return allow_connections(least).map(|()| least);
    }
    if allowed < wanted {
        eprintln!(
            "    the hard limit of open files is {}: {allowed} connections instead of {wanted}",
            hard.unwrap_or(0)
        );
    }
    allow_connections(allowed)?;
    Ok(allowed)
}

/// Generator and server have the same limit, each a file per connection.
fn affordable(wanted: usize, hard: Option<u64>) -> usize {
    let room = hard.map_or(u64::MAX, |hard| hard.saturating_sub(SPARE_FILES));
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX))
}

/// All threads of two processes on one core, until dropped.
pub(crate) struct OneCore {
    #[cfg(target_os = "linux")]
    before: rustix::thread::CpuSet,
}

#[cfg(target_os = "linux")]
impl OneCore {
    /// Pins `server` and this process to the first core this process may use.
    pub(crate) fn pin(server: Pid) -> Outcome<Self> {
        use rustix::thread::{CpuSet, sched_getaffinity};
        let before = sched_getaffinity(None).doing(|| "cannot read the allowed cores".into())?;
        let first = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core));
        let first = first.ok_or_else(|| Failure::new("this process may use no core"))?;
        let mut one = CpuSet::new();
        one.set(first);
        pin_threads(rustix::process::getpid(), &one)?;
        // From here on dropping restores, also when pinning the server fails.
        let pinned = Self { before };
        pin_threads(server, &one)?;
        Ok(pinned)
    }
}

#[cfg(target_os = "linux")]
impl Drop for OneCore {
    fn drop(&mut self) {
        // The server is stopped after a pinned run; only we go on.
        let _ = pin_threads(rustix::process::getpid(), &self.before);
    }
}

/// New threads inherit the cores of the thread that starts them.
#[cfg(target_os = "linux")]
fn pin_threads(process: Pid, cores: &rustix::thread::CpuSet) -> Outcome {
    let path = format!("/proc/{}/task", process.as_raw_nonzero());
    for entry in std::fs::read_dir(&path).doing(|| format!("cannot read {path}"))? {
        let name = entry.doing(|| format!("cannot read {path}"))?.file_name();
        let thread = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        match rustix::thread::sched_setaffinity(thread, cores) {
            // A thread that has just ended needs no core.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(why) => return Err(why).doing(|| format!("cannot pin {path} to a core")),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
impl OneCore {
    pub(crate) fn pin(_server: Pid) -> Outcome<Self> {
        Err(Failure::new("pinning to one core needs Linux"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_connections_where_files_are_few() {
        assert_eq!(affordable(10_000, None), 10_000);
        assert_eq!(affordable(10_000, Some(20_000)), 10_000);
        assert_eq!(affordable(10_000, Some(4_096)), 3_896);
        assert_eq!(affordable(10_000, Some(64)), 0);
    }
}
