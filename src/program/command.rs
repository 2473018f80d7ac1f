//! Which words the command line understands. The flags come from the configuration's own table of keys.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Arg, ArgAction, Command, value_parser};
use dunlin::config::Config;

pub(super) fn command() -> Command {
    let styles = Styles::styled()
        .header(AnsiColor::Green.on_default().bold())
        .usage(AnsiColor::Green.on_default().bold())
        .literal(AnsiColor::Cyan.on_default());
    Command::new("dunlin")
        .about("A realtime data server: schema-checked records and live queries over WebSocket")
        .version(env!("CARGO_PKG_VERSION"))
        .styles(styles)
        .args_conflicts_with_subcommands(true)
        .args(serve_arguments())
        .subcommand(Command::new("serve").about("Start the server (the default)").args(serve_arguments()))
        .subcommand(
            Command::new("check")
                .about("Check the configuration without starting, and show every value with its origin")
                .args(arguments()),
        )
        .subcommand(
            Command::new("export")
                .about("Write buckets as JSON Lines into a directory; no server may be running on the data")
                .arg(
                    Arg::new("out")
                        .long("out")
                        .value_name("DIR")
                        .required(true)
                        .value_parser(value_parser!(PathBuf))
                        .help("A new or empty directory, or - for standard output (with one --bucket)"),
                )
                .arg(
                    Arg::new("bucket")
                        .long("bucket")
                        .value_name("NAME")
                        .action(ArgAction::Append)
                        .help("Only this bucket; may be given again"),
                )
                .args(arguments()),
        )
        .subcommand(
            Command::new("import")
                .about("Read what export has written; every bucket is read whole or not at all")
                .arg(
                    Arg::new("from")
                        .value_name("PATH")
                        .required(true)
                        .value_parser(value_parser!(PathBuf))
                        .help("A directory written by export, or with --bucket a file of JSON Lines (- for standard input)"),
                )
                .arg(
                    Arg::new("bucket")
                        .long("bucket")
                        .value_name("NAME")
                        .help("The bucket, which must be defined, that a single file is for"),
                )
                .arg(
                    Arg::new("replace")
                        .long("replace")
                        .action(ArgAction::SetTrue)
                        .help("Remove the records that a bucket has first"),
                )
                .args(arguments()),
        )
        .subcommand(
            Command::new("backup")
                .about("Write everything up to one position into one file; a server may be running on the data")
                .arg(path("out").long("out").value_name("FILE").required(true).help("A file that is not there yet"))
                .arg(
                    Arg::new("progress")
                        .long("progress")
                        .action(ArgAction::SetTrue)
                        .help("Say how far it has come, also where standard error is no terminal"),
                )
                .args(arguments()),
        )
        .subcommand(
            Command::new("restore")
                .about("Fill an empty or new data directory from a backup")
                .arg(path("from").value_name("FILE").required(true).help("A file that backup or a server has written"))
                .args(arguments()),
        )
        .subcommand(
            Command::new("inspect")
                .about("Show what is in a data directory or a backup, and what is damaged; nothing is changed")
                .arg(path("what").value_name("PATH").help("A directory or a file; the configured data directory if left out"))
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON"))
                .args(arguments()),
        )
        .after_help(
            "Flags stand over DUNLIN_* environment variables, those over the file, that over the defaults.\n\
             DUNLIN_CONFIG names a file, DUNLIN_LOG filters the log (for example dunlin=debug), \
             DUNLIN_CONTROL=stdin is --control stdin.\n\
             SIGHUP reads the configuration again.\n\
             Exit codes: 0 done or stopped as asked, 1 could not start or not do it, 2 wrong configuration or command line, 3 had to stop by itself.",
        )
}

fn path(name: &'static str) -> Arg {
    Arg::new(name).value_parser(value_parser!(PathBuf))
}

fn serve_arguments() -> impl Iterator<Item = Arg> {
    let control = Arg::new("control")
        .long("control")
        .value_name("CHANNEL")
        .value_parser(["stdin"])
        .help("Take orders as lines of JSON from standard input, for supervisors (docs/operations.md)");
    arguments().into_iter().chain([control])
}

fn arguments() -> Vec<Arg> {
    let config = Arg::new("config")
        .short('c')
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file, JSON or TOML");
    let short = |flag: &str| match flag {
        "port" => Some('p'),
        "host" => Some('H'),
        _ => None,
    };
    let flags = Config::flags().into_iter().map(|flag| {
        let long = flag.name.trim_start_matches('-').to_owned();
        let argument = Arg::new(long.clone()).long(long.clone()).help(flag.about);
        let argument = match short(&long) {
            Some(letter) => argument.short(letter),
            None => argument,
        };
        if flag.takes_value {
            argument.value_name("VALUE").action(ArgAction::Set).allow_hyphen_values(true)
        } else {
            argument.action(ArgAction::SetTrue)
        }
    });
    std::iter::once(config).chain(flags).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
