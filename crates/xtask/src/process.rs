//! Child processes with a time limit, in a process group of their own so that nothing outlives them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::{Doing, Failure, Outcome};

/// A child that leads its own process group; the whole group dies when this is dropped.
pub(crate) struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    pub(crate) fn spawn(command: &mut Command) -> Outcome<Self> {
        let shown = shown(command);
        // Its own group: killing `cargo test` must also reach the test binaries it started. No stdin:
        // a group in the background that reads the terminal would be stopped by it for ever.
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .doing(|| format!("cannot start `{shown}`"))?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, leader })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn id(&self) -> Option<Pid> {
        self.leader
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // Fails only when the group is already gone, which is what the caller wants anyway.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A command with `arguments`, to be run in `directory`.
pub(crate) fn command(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    directory: &Path,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    command
}

/// Runs to the end with output on the terminal; an exit status other than zero is a failure.
pub(crate) async fn run(command: &mut Command, limit: Duration) -> Outcome {
    let status = status(command, limit).await?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` failed ({status})", shown(command))))
}

/// Runs to the end with output on the terminal and returns the exit status.
pub(crate) async fn status(command: &mut Command, limit: Duration) -> Outcome<ExitStatus> {
    let mut group = Group::spawn(command)?;
    match timeout(limit, group.child().wait()).await {
        Ok(status) => status.doing(|| format!("cannot wait for `{}`", shown(command))),
        Err(_) => Err(too_slow(command, limit)),
    }
}

/// Runs quietly and returns what was printed on stdout; a failure carries what was printed on stderr.
pub(crate) async fn capture(command: &mut Command, limit: Duration) -> Outcome<String> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(limit, command.output()).await.map_err(|_| too_slow(command, limit))?;
    let output = output.doing(|| format!("cannot start `{}`", shown(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("`{}` failed ({}): {}", shown(command), output.status, why.trim())))
}

fn too_slow(command: &Command, limit: Duration) -> Failure {
    Failure::new(format!("`{}` was not done within {} s and was killed", shown(command), limit.as_secs()))
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let script = "sleep 60 & echo $! > pid; wait";
        let why = run(&mut command("sh", ["-c", script], directory.path()), SHORT).await.unwrap_err();
        assert!(why.to_string().contains("was not done within"), "{why}");
        let grandchild = std::fs::read_to_string(directory.path().join("pid")).unwrap();
        let proc = Path::new("/proc").join(grandchild.trim()).join("stat");
        // A killed process may linger as a zombie until its new parent reaps it.
        for _ in 0..50 {
            match std::fs::read_to_string(&proc) {
                Ok(stat) if !stat.contains(") Z ") => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => return,
            }
        }
        panic!("the grandchild is still running");
    }

    #[tokio::test]
    async fn a_failing_command_is_named_with_its_stderr() {
        let mut failing = command("sh", ["-c", "echo broken >&2; exit 3"], Path::new("/"));
        let why = capture(&mut failing, Duration::from_secs(10)).await.unwrap_err().to_string();
        assert!(why.contains("exit status: 3") && why.contains("broken"), "{why}");
    }
}
