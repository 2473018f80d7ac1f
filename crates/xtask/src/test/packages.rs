//! Installs the system's packages, where that is possible.

use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::process;

/// Node and npm bring some hundred packages on Debian.
const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// `apt-get --version` answers at once.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// Installs Debian packages, or says what the person has to do. `purpose` completes "needed to …".
pub(crate) async fn install(names: &[&str], purpose: &str) -> Outcome {
    let list = names.join(" ");
    let root = Path::new("/");
    let has_apt =
        process::capture(&mut process::command("apt-get", ["--version"], root), PROBE_LIMIT).await.is_ok();
    if !has_apt || !rustix::process::geteuid().is_root() {
        return Err(Failure::new(format!(
            "missing, and needed to {purpose}: {list}. Install them (Debian, Ubuntu: \
             `sudo apt-get install {list}`) and run this again"
        )));
    }
    eprintln!("installing {list}, needed to {purpose}");
    // An old package list is better than none: only the installation itself must succeed.
    let update = process::run(&mut apt(["update", "-q"]), INSTALL_LIMIT).await;
    if let Err(why) = update {
        eprintln!("{why}; trying with the package list as it is");
    }
    let arguments =
        ["install", "-q", "-y", "--no-install-recommends"].into_iter().chain(names.iter().copied());
    process::run(&mut apt(arguments), INSTALL_LIMIT).await
}

fn apt<'a>(arguments: impl IntoIterator<Item = &'a str>) -> tokio::process::Command {
    let mut command = process::command("apt-get", arguments, Path::new("/"));
    // There is no terminal to ask questions on.
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
