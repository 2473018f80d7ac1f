//! The command line of `bench`.

use super::scenario;
use crate::failure::{Failure, Outcome};

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) markdown: bool,
    pub(crate) help: bool,
    /// Program and arguments to measure instead of `dunlin serve`.
    pub(crate) server: Option<Vec<String>>,
    /// Empty: all.
    scenarios: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.quick = true,
                "--markdown" => options.markdown = true,
                "-h" | "--help" => options.help = true,
                "--server-cmd" => {
                    let command: Vec<_> = words
                        .next()
                        .map(|text| text.split_whitespace().map(str::to_owned).collect())
                        .unwrap_or_default();
                    if command.is_empty() {
                        return Err(Failure::new("--server-cmd needs a command"));
                    }
                    options.server = Some(command);
                }
                // From `cargo xtask bench` to itself in release; a path may hold blanks.
                "--binary" => {
                    options.server = words.next().map(|path| vec![path.clone(), "serve".to_owned()]);
                }
                name if scenario::names().contains(&name) => options.scenarios.push(name.to_owned()),
                other => return Err(Failure::new(format!("bench: unknown {other:?}\n\n{}", usage()))),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|wanted| wanted == name)
    }
}

pub(crate) fn usage() -> String {
    format!(
        "usage: cargo xtask bench [--quick] [--markdown] [--server-cmd CMD] [SCENARIO...]

  --quick           shorter windows and fewer rounds: to see that it works, not for the record
  --markdown        a table for docs/benchmarks.md
  --server-cmd CMD  measure this instead of `dunlin serve`; it gets the same options and must print
                    a line with ws://127.0.0.1:PORT/
                    (`target/release/xtask floor --fan-out`: the floor against itself, to see the noise;
                    not for slices, patch-bytes, reconnect and what needs a login or a limit, which have no floor)

scenarios: {}",
        scenario::names().join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Outcome<Options> {
        Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_options_or_scenarios_and_nothing_else() {
        let options = parse(&["--quick", "get-alone", "--server-cmd", "a b"]).unwrap();
        assert!(options.quick && options.wants("get-alone") && !options.wants("fan-out"));
        assert_eq!(options.server.unwrap(), ["a", "b"]);
        assert!(parse(&[]).unwrap().wants("fan-out"));
        assert!(parse(&["get-slone"]).is_err());
        assert!(parse(&["--server-cmd"]).is_err());
    }
}
