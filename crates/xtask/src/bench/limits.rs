//! What the operating system must grant a load generator: open files, and one core for itself.

use rustix::process::{Pid, Resource, getrlimit, setrlimit};

use crate::failure::{Doing, Failure, Outcome};

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
