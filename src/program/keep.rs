//! `dunlin backup`, `dunlin restore` and `dunlin inspect`: the data as files. None of them needs the data to itself but `restore`,
//! which wants an empty directory.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use dunlin::config::{Config, StorageKind};
use dunlin::journal::backup::{self, Progress};
use dunlin::journal::{self, Inspection, Summary};

/// Time between two lines that say how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Writes a backup of the data that the configuration names, also while a server uses them. With `lines`, or where somebody
/// looks, it says how far it has come.
pub(super) fn backup(config: &Config, out: &Path, lines: bool) -> Result<(), String> {
    let dir = data(config)?;
    if !dir.is_dir() {
        return Err(format!("there are no data in {}; name their directory with --data-dir", dir.display()));
    }
    let shown = lines || std::io::stderr().is_terminal();
    let say = |line: &dyn Display| {
        if shown {
            eprintln!("{line}");
        }
    };
    say(&format_args!("reading {}", dir.display()));
    let state = journal::read(dir).map_err(told)?;
    let mut last: Option<Instant> = None;
    let summary = backup::write(&state, out, &mut |Progress { records, total, bytes, .. }| {
        if records == total || last.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY) {
            last = Some(Instant::now());
            say(&format_args!("{records} of {total} records, {bytes} bytes"));
        }
    });
    print(&line("wrote", out, &summary.map_err(told)?));
    Ok(())
}

/// Makes data of a backup, in the directory that the configuration names.
pub(super) fn restore(config: &Config, from: &Path) -> Result<(), String> {
    let dir = data(config)?;
    let epoch: u128 = rand::random();
    let summary = backup::restore(from, dir, &format!("{epoch:032x}")).map_err(told)?;
    if summary.mended > 0 {
        eprintln!(
            "dunlin: {} damaged bytes of {} were mended; make a new backup, and check the disk",
            summary.mended,
            from.display()
        );
    }
    print(&line("restored", dir, &summary));
    Ok(())
}

/// Shows what is in a data directory or a backup.
pub(super) fn inspect(config: &Config, path: Option<&Path>, json: bool) -> Result<(), String> {
    let path = path.map_or_else(|| data(config), Ok)?;
    let inspection: Inspection = journal::inspect(path).map_err(told)?;
    let text = if json {
        serde_json::to_string_pretty(&inspection).map_err(told)? + "\n"
    } else {
        inspection.to_string()
    };
    print(&text);
    match inspection.problem {
        None => Ok(()),
        Some(problem) => Err(format!("{}: {problem}", path.display())),
    }
}

/// The directory of the data.
fn data(config: &Config) -> Result<&Path, String> {
    match config.storage.kind {
        StorageKind::Memory => {
            Err("data in memory end with their server; name a directory with --data-dir".to_owned())
        }
        _ => Ok(&config.storage.dir),
    }
}

fn line(did: &str, what: &Path, summary: &Summary) -> String {
    let Summary { position, buckets, records, bytes, .. } = summary;
    format!(
        "{did} {}: position {position}, {buckets} buckets, {records} records, {bytes} bytes of backup\n",
        what.display()
    )
}

fn told(error: impl Display) -> String {
    error.to_string()
}

fn print(text: &str) {
    // A closed standard output (`| head -1`) is no reason to fail.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
