//! The command line: what was asked for, and which exit code it ends with.

mod banner;
mod command;
mod control;
mod keep;
mod logs;
mod serve;
mod transfer;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;
use dunlin::config::{Config, ConfigError, Flags, Loaded, environment};

/// How the program ends. Documented in `docs/operations.md`; clap itself uses 2 for a command line it cannot read.
#[derive(Debug, Clone, Copy)]
enum Exit {
    /// Stopped as asked.
    Done = 0,
    /// It could not start, or could not do what it was asked to: the address is taken, the data cannot be opened, a record
    /// cannot be imported, data are damaged.
    NotStarted = 1,
    /// The configuration (file, environment or flags) is wrong.
    Configuration = 2,
    /// It had to stop by itself.
    Broken = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

pub(crate) fn run() -> ExitCode {
    let matches = command::command().get_matches();
    let (name, matches) = matches.subcommand().unwrap_or(("serve", &matches));
    let loaded = match load(matches) {
        Ok(loaded) => loaded,
        Err(error) => return fail(Exit::Configuration, &error),
    };
    match name {
        "check" => {
            print!("{}", banner::settings(&loaded));
            Exit::Done.into()
        }
        "export" => {
            let names: Vec<String> = matches.get_many("bucket").into_iter().flatten().cloned().collect();
            let out = matches.get_one::<PathBuf>("out").cloned().unwrap_or_default();
            done(transfer::export(&loaded.config, &out, &names))
        }
        "import" => {
            let from = matches.get_one::<PathBuf>("from").cloned().unwrap_or_default();
            let bucket = matches.get_one::<String>("bucket").map(String::as_str);
            done(transfer::import(&loaded.config, &from, bucket, matches.get_flag("replace")))
        }
        "backup" => {
            let out = matches.get_one::<PathBuf>("out").cloned().unwrap_or_default();
            done(keep::backup(&loaded.config, &out, matches.get_flag("progress")))
        }
        "restore" => {
            let from = matches.get_one::<PathBuf>("from").cloned().unwrap_or_default();
            done(keep::restore(&loaded.config, &from))
        }
        "inspect" => {
            let path = matches.get_one::<PathBuf>("what").map(PathBuf::as_path);
            done(keep::inspect(&loaded.config, path, matches.get_flag("json")))
        }
        _ => match control::is_wanted(matches) {
            Ok(control) => serve::serve(&loaded.config, matches, control),
            Err(error) => fail(Exit::Configuration, &error),
        },
    }
}

/// Flags over environment over file over defaults.
fn load(matches: &ArgMatches) -> Result<Loaded, ConfigError> {
    let file = matches
        .get_one::<PathBuf>("config")
        .cloned()
        .or_else(|| std::env::var_os("DUNLIN_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
    let given = Config::flags().into_iter().filter_map(|flag| {
        let id = flag.name.trim_start_matches('-').to_owned();
        if flag.takes_value {
            matches.get_one::<String>(&id).map(|value| (flag.name, value.clone()))
        } else {
            matches.get_flag(&id).then(|| (flag.name, String::new()))
        }
    });
    let flags: Flags = given.collect();
    Config::load(file.as_deref(), environment(), &flags)
}

/// The end of a command that does one thing.
fn done(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => Exit::Done.into(),
        Err(error) => fail(Exit::NotStarted, &error),
    }
}

fn fail(exit: Exit, error: &dyn Display) -> ExitCode {
    eprintln!("dunlin: {error}");
    exit.into()
}
