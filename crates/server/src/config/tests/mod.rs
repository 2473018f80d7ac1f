//! Every kind of fault with its exact text, precedence, both formats, and arbitrary input.

mod arbitrary;
mod faults;
mod sources;

use super::{Config, ConfigError, Loaded};

/// Names and values of variables or flags.
type Pairs = &'static [(&'static str, &'static str)];

fn message(name: &str, text: &str) -> String {
    Config::parse(name, text).expect_err("must be refused").to_string()
}

fn load(env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(None, env, &flags.iter().copied().collect())
}
