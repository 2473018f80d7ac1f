//! Where things are: the repository, its target directory, the cargo that started us.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Doing, Failure, Outcome};
use crate::process;

/// `cargo metadata` may have to write a lock file on a cold registry cache, no more than that.
const METADATA_LIMIT: Duration = Duration::from_secs(300);

/// Longest build from nothing: the release profile links with LTO, on two slow cores.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

pub(crate) struct Repo {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Repo {
    pub(crate) async fn locate() -> Outcome<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let arguments = ["metadata", "--no-deps", "--format-version", "1"];
        let mut command = process::command(cargo(), arguments, &manifest);
        let metadata = process::capture(&mut command, METADATA_LIMIT).await?;
        let metadata: Value =
            serde_json::from_str(&metadata).doing(|| "cargo metadata is not JSON".into())?;
        let path = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).ok_or_else(|| {
                Failure::new(format!("`cargo metadata` names no {key}; is this a cargo workspace?"))
            })
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// The recorded dialogues lie beside the repository, where there are any.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.root.join("../shared/conformance")
    }

    /// Builds the program the way the README does and returns its path.
    pub(crate) async fn release_binary(&self) -> Outcome<PathBuf> {
        self.cargo(["build", "--release"]).await?;
        Ok(self.target.join("release").join(exe("dunlin")))
    }

    /// Builds the program without optimisation and returns its path.
    pub(crate) async fn debug_binary(&self) -> Outcome<PathBuf> {
        self.cargo(["build", "--bin", "dunlin"]).await?;
        Ok(self.target.join("debug").join(exe("dunlin")))
    }

    /// Runs cargo in the repository's root.
    pub(crate) async fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Outcome {
        process::run(&mut process::command(cargo(), arguments, &self.root), BUILD_LIMIT).await
    }
}

/// The cargo that runs us, so that a toolchain chosen on the command line is kept.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

pub(crate) fn exe(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// A path as a command line argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
