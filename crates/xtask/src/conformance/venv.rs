//! The Python environment that `replay.py` runs in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::process;
use crate::repo::text;
use crate::test::packages;

/// What `replay.py` needs; it asks for 13 or newer.
const WEBSOCKETS: &str = "websockets>=13";

/// `python3 -c` answers at once.
const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// One package without dependencies, from a registry that may be slow.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// The environment's Python, created on first use and kept under the target directory.
pub(crate) async fn python(target: &Path) -> Outcome<PathBuf> {
    let directory = target.join("conformance-venv");
    let python = directory.join("bin/python");
    if python.exists() && has_websockets(&python).await {
        return Ok(python);
    }
    eprintln!("creating {} with `websockets`", directory.display());
    if create(&directory).await.is_err() {
        // Debian ships Python without the part that makes environments.
        packages::install(&["python3", "python3-venv"], "replay the recorded dialogues").await?;
        create(&directory).await?;
    }
    let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", WEBSOCKETS];
    process::run(&mut process::command(&python, arguments, target), INSTALL_LIMIT).await.map_err(|why| {
        Failure::new(format!(
            "{why}\nreplaying the recorded dialogues needs the Python package `websockets`: make a package \
             index reachable for pip, or install it into {} yourself",
            directory.display()
        ))
    })?;
    if has_websockets(&python).await {
        return Ok(python);
    }
    Err(Failure::new(format!("{} has no usable `websockets` (13 or newer); remove it", directory.display())))
}

/// `--clear`: what an interrupted attempt left behind is replaced.
async fn create(directory: &Path) -> Outcome {
    let arguments = ["-m".into(), "venv".into(), "--clear".into(), text(directory)];
    process::capture(&mut process::command("python3", arguments, Path::new(".")), INSTALL_LIMIT)
        .await
        .map(drop)
}

async fn has_websockets(python: &Path) -> bool {
    let arguments = ["-c", "import websockets.asyncio.client"];
    process::capture(&mut process::command(python, arguments, Path::new(".")), PROBE_LIMIT).await.is_ok()
}
