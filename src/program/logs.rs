//! Logs through `tracing`, to standard error, as text or JSON.

use std::io::IsTerminal;

use dunlin::config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Installs the subscriber. `DUNLIN_LOG`, if set, takes the place of the configured level and can filter by module.
pub(super) fn install(log: &Log) -> Result<(), String> {
    let filter = match std::env::var("DUNLIN_LOG") {
        Ok(directives) => EnvFilter::try_new(&directives).map_err(|error| {
            format!("DUNLIN_LOG is {directives:?}, which is no filter ({error}); try DUNLIN_LOG=info")
        })?,
        Err(_) => EnvFilter::new(log.level.as_str()),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => builder.json().init(),
        _ => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}
