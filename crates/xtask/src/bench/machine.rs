//! One line about where and when figures were taken.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::process;

/// `date` and `git` answer at once.
const LIMIT: Duration = Duration::from_secs(10);

const UNKNOWN: &str = "unknown";

/// CPU model, cores, kernel, date, and the repository's commit: that of the server only if it was just built.
pub(crate) async fn line(repository: &Path) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or(UNKNOWN, |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| UNKNOWN.into());
    let date = answer("date", &["-u", "+%Y-%m-%d"], repository).await;
    let commit = answer("git", &["describe", "--always", "--dirty"], repository).await;
    format!("{model}, {cores} cores, Linux {}, {date}, repository at {commit}", kernel.trim())
}

async fn answer(program: &str, arguments: &[&str], directory: &Path) -> String {
    let mut command = process::command(program, arguments, directory);
    process::capture(&mut command, LIMIT).await.map_or_else(|_| UNKNOWN.into(), |text| text.trim().to_owned())
}
