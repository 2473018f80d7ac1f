//! The two servers that are compared: dunlin and the floor, each started anew for every run.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Pid;
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};
use tokio::process::Command;

use crate::failure::{Doing, Outcome};
use crate::process;
use crate::repo::text;
use crate::server::Server;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Role {
    Dunlin,
    Floor,
}

/// Both, in the order in which each round runs them.
pub(crate) const ROLES: [Role; 2] = [Role::Dunlin, Role::Floor];

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Storage {
    Memory,
    /// A fresh data directory, group commit.
    Durable,
}

/// What the floor says: as many bytes as dunlin.
#[derive(Clone, Copy, Default)]
pub(crate) struct Canned {
    pub(crate) answer_bytes: Option<usize>,
    /// Present: it also pushes.
    pub(crate) push_bytes: Option<usize>,
}

pub(crate) struct Contest {
    /// Program and arguments that start dunlin; options are appended.
    pub(crate) dunlin: Vec<String>,
    /// This program, in release.
    pub(crate) floor: PathBuf,
    /// Where servers run and keep their data: on the disk the project is on, since a temporary
    /// directory may be in memory, where an fsync costs nothing.
    pub(crate) directory: PathBuf,
}

/// A started server; killed, and its data and its configuration removed, when this is dropped.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) id: Pid,
    // Dropped after the server that writes to it.
    data: Option<TempDir>,
    // It was read at the start; kept for whoever looks at a server that failed.
    _file: Option<NamedTempFile>,
}

impl Running {
    /// Where it keeps its data, if it is durable.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        self.data.as_ref().map(|data| data.path().to_owned())
    }

    pub(crate) async fn stop(self) -> Outcome {
        self.server.stop().await?;
        drop(self.data);
        Ok(())
    }
}

impl Contest {
    /// Dunlin with options that only it knows.
    pub(crate) async fn start_dunlin(&self, storage: Storage, options: &[&str]) -> Outcome<Running> {
        let (mut command, data) = self.command(Role::Dunlin, storage, Canned::default(), 0)?;
        let (server, address) = Server::start(command.args(options)).await?;
        let id = server.id()?;
        Ok(Running { server, address, id, data, _file: None })
    }

    /// Dunlin with a configuration file, for what no option says.
    pub(crate) async fn start_configured(&self, storage: Storage, config: &Value) -> Outcome<Running> {
        let file = tempfile::Builder::new()
            .prefix("bench-")
            .suffix(".json")
            .tempfile_in(&self.directory)
            .doing(|| format!("cannot create a configuration in {}", self.directory.display()))?;
        std::fs::write(file.path(), config.to_string()).doing(|| "cannot write a configuration".into())?;
        let running = self.start_dunlin(storage, &["--config", &text(file.path())]).await?;
        Ok(Running { _file: Some(file), ..running })
    }

    pub(crate) async fn start(&self, role: Role, storage: Storage, canned: Canned) -> Outcome<Running> {
        let (mut command, data) = self.command(role, storage, canned, 0)?;
        let (server, address) = Server::start(&mut command).await?;
        let id = server.id()?;
        Ok(Running { server, address, id, data, _file: None })
    }

    /// Stops dunlin and starts it again with the data it has; the port is another one.
    pub(crate) async fn restart(&self, running: Running) -> Outcome<Running> {
        let Running { server, data, .. } = running;
        server.stop().await?;
        let mut command = self.program(Role::Dunlin, 0);
        keep(&mut command, data.as_ref());
        let (server, address) = Server::start(&mut command).await?;
        let id = server.id()?;
        Ok(Running { server, address, id, data, _file: None })
    }

    /// The command that starts one of the servers, and its data directory.
    pub(crate) fn command(
        &self,
        role: Role,
        storage: Storage,
        canned: Canned,
        port: u16,
    ) -> Outcome<(Command, Option<TempDir>)> {
        let mut command = self.program(role, port);
        if role == Role::Floor {
            if let Some(bytes) = canned.answer_bytes {
                command.args(["--answer-bytes", &bytes.to_string()]);
            }
            if let Some(bytes) = canned.push_bytes {
                command.args(["--fan-out", "--push-bytes", &bytes.to_string()]);
            }
        }
        let data = match storage {
            Storage::Memory => None,
            Storage::Durable => Some(
                tempfile::Builder::new()
                    .prefix("bench-data-")
                    .tempdir_in(&self.directory)
                    .doing(|| format!("cannot create a data directory in {}", self.directory.display()))?,
            ),
        };
        keep(&mut command, data.as_ref());
        Ok((command, data))
    }

    fn program(&self, role: Role, port: u16) -> Command {
        let mut command = match role {
            Role::Dunlin => process::command(&self.dunlin[0], &self.dunlin[1..], &self.directory),
            Role::Floor => process::command(&self.floor, ["floor"], &self.directory),
        };
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command
    }
}

/// Where the server keeps its data.
fn keep(command: &mut Command, data: Option<&TempDir>) {
    match data {
        Some(data) => command.args(["--data-dir", &text(data.path()), "--durability", "group"]),
        None => command.arg("--memory"),
    };
}
