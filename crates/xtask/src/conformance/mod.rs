//! `cargo xtask conformance`: replays the recorded dialogues with the reference server.

mod not_yet;
mod venv;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Doing, Failure, Outcome};
use crate::process;
use crate::repo::{Repo, text};

/// All cases together; `replay.py` limits each one to 20 s and its recorded waits.
const REPLAY_LIMIT: Duration = Duration::from_secs(30 * 60);

struct Options {
    pattern: Option<String>,
    files: Vec<String>,
}

/// What is replayed, and how many cases wait for which feature.
#[derive(Default)]
struct Selection {
    cases: Vec<PathBuf>,
    waiting: BTreeMap<&'static str, usize>,
}

pub(crate) async fn run(arguments: &[String]) -> Outcome {
    let options = parse(arguments)?;
    let repo = Repo::locate().await?;
    let recordings = repo.recordings();
    let Ok(recordings) = recordings.canonicalize() else {
        println!("no recorded dialogues at {}: nothing to replay, nothing was checked", recordings.display());
        return Ok(());
    };
    let cases = recordings.join("cases");
    let selection = if options.files.is_empty() {
        select(&cases, options.pattern.as_deref())?
    } else {
        let named = options.files.iter().map(|file| named(file, &cases)).collect::<Outcome<_>>()?;
        Selection { cases: named, ..Selection::default() }
    };
    if selection.cases.is_empty() {
        print_waiting(&selection);
        return Err(Failure::new(
            "no case is left to replay; does the pattern fit any that should pass by now?",
        ));
    }
    let binary = repo.release_binary().await?;
    let python = venv::python(&repo.target).await?;
    let launch = format!("{} serve --config {{config}} --port {{port}} --memory", quoted(&binary));
    let mut command = process::command(python, [recordings.join("replay.py")], &repo.target);
    command.args(["--control", "stdin", "--launch", &launch, "--by-file"]).args(&selection.cases);
    if let Some(pattern) = &options.pattern {
        command.args(["-k", pattern]);
    }
    let status = process::status(&mut command, REPLAY_LIMIT).await?;
    print_waiting(&selection);
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(Failure::new("recorded dialogues failed, see above")),
        _ => Err(Failure::new(format!("replay.py did not run to its end ({status})"))),
    }
}

fn parse(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options { pattern: None, files: Vec::new() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "-k" {
            let text = words.next().ok_or_else(|| Failure::new("conformance: -k needs a text"))?;
            options.pattern = Some(text.clone());
        } else if word.starts_with('-') {
            return Err(Failure::new(format!(
                "conformance: unknown option {word:?}; known: -k TEXT, FILE..."
            )));
        } else {
            options.files.push(word.clone());
        }
    }
    Ok(options)
}

/// A case or directory as given, or below the recordings.
fn named(file: &str, cases: &Path) -> Outcome<PathBuf> {
    let candidates = [PathBuf::from(file), cases.join(file)];
    // Absolute: the replayer runs elsewhere.
    candidates
        .iter()
        .find_map(|path| path.canonicalize().ok())
        .ok_or_else(|| Failure::new(format!("no case or directory {file:?}, here or in {}", cases.display())))
}

/// The cases that should pass by now.
fn select(cases: &Path, pattern: Option<&str>) -> Outcome<Selection> {
    let pattern = pattern.map(str::to_lowercase);
    let mut selection = Selection::default();
    for directory in not_yet::DIRECTORIES {
        let path = cases.join(directory);
        let reading = || format!("cannot read {}", path.display());
        let mut files = Vec::new();
        for entry in path.read_dir().doing(reading)? {
            files.push(entry.doing(reading)?.path());
        }
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).doing(|| format!("cannot read {}", file.display()))?;
            let case: Value =
                serde_json::from_str(&text).doing(|| format!("{} is not JSON", file.display()))?;
            let short = file.strip_prefix(cases).unwrap_or(&file).display().to_string();
            let full = format!("{} {}", file.display(), case["name"].as_str().unwrap_or(""));
            if pattern.as_ref().is_some_and(|pattern| !full.to_lowercase().contains(pattern)) {
                continue;
            }
            match not_yet::waits_for(&short, &case) {
                Some(feature) => *selection.waiting.entry(feature).or_default() += 1,
                None => selection.cases.push(file),
            }
        }
    }
    Ok(selection)
}

fn print_waiting(selection: &Selection) {
    let waiting: Vec<_> =
        selection.waiting.iter().map(|(feature, count)| format!("{count} for {feature}")).collect();
    if !waiting.is_empty() {
        let total: usize = selection.waiting.values().sum();
        println!("not replayed yet: {total} cases wait, {}", waiting.join(", "));
    }
}

/// For the replayer's splitting of the launch command, which follows a shell's rules.
fn quoted(path: &Path) -> String {
    format!("'{}'", text(path).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_divided_into_those_to_replay_and_those_that_wait() {
        let directory = tempfile::tempdir().unwrap();
        for name in not_yet::DIRECTORIES {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
        write(
            "connection/01-plain.json",
            r#"{"name":"Plain","server":{"rules":false},"setup":[],"steps":[]}"#,
        );
        write("connection/02-audit.json", r#"{"name":"Audit","server":{"audit":{}},"setup":[],"steps":[]}"#);
        write("connection/notes.txt", "");
        let selection = select(directory.path(), None).unwrap();
        assert_eq!(selection.cases, [directory.path().join("connection/01-plain.json")]);
        assert_eq!(selection.waiting, BTreeMap::from([("the audit log", 1)]));
        assert!(select(directory.path(), Some("AUDIT")).unwrap().cases.is_empty());
        assert_eq!(select(directory.path(), Some("plain")).unwrap().cases.len(), 1);
    }

    #[test]
    fn arguments() {
        let parse = |words: &[&str]| parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let options = parse(&["-k", "ping", "heartbeat"]).unwrap();
        assert_eq!(options.pattern.as_deref(), Some("ping"));
        assert_eq!(options.files, ["heartbeat"]);
        assert!(parse(&["-k"]).is_err());
        assert!(parse(&["--lenient"]).is_err());
    }
}
