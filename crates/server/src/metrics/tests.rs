use std::collections::BTreeSet;

use super::labels::Labels;
use super::{
    Build, CATALOGUE, Closed, Connected, JournalFile, Login, Operation, PermanentActor, Refused, Served,
    Waiting,
};
use dunlin_protocol::{Code, Mode};

const PAGE: &str = include_str!("../../../../docs/operations.md");
const DASHBOARD: &str = include_str!("../../../../docs/grafana/dunlin.json");

#[test]
fn every_metric_is_documented() {
    for (name, labels, kind, help) in CATALOGUE {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let row = format!("| `{name}{labels}` | {kind} | {help} |");
        assert!(PAGE.contains(&row), "docs/operations.md lacks this row:\n{row}");
    }
}

#[test]
fn names_say_what_they_count() {
    for (name, _, kind, _) in CATALOGUE {
        assert!(name.starts_with("dunlin_"), "{name}");
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    }
}

/// What looks like a metric in a text, without what Prometheus adds to a histogram.
fn named(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("dunlin_"));
    words
        .map(|word| {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let is_histogram =
                |base: &&str| CATALOGUE.iter().any(|(name, _, kind, _)| name == base && *kind == "histogram");
            base.filter(is_histogram).unwrap_or(word)
        })
        .collect()
}

#[test]
fn the_page_and_the_dashboard_name_no_metric_that_is_not_there() {
    let known: BTreeSet<&str> = CATALOGUE.iter().map(|(name, ..)| *name).collect();
    // The name of a module, for the filter of the log.
    let page = PAGE.replace("dunlin_server=debug", "");
    for (what, text) in [("docs/operations.md", &*page), ("docs/grafana/dunlin.json", DASHBOARD)] {
        let unknown: Vec<_> = named(text).difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{what} names {unknown:?}");
    }
    assert!(named(DASHBOARD).len() > 25, "the dashboard shows what there is");
}

#[test]
fn labels_in_queries_are_those_of_their_metric() {
    for text in [PAGE, DASHBOARD] {
        let text = text.replace("\\\"", "\"");
        for (name, labels, ..) in CATALOGUE {
            for end in ["", "_bucket"] {
                for part in text.split(&format!("{name}{end}{{")).skip(1) {
                    let inside = part.split('}').next().unwrap();
                    for matcher in inside.split("\",").filter(|matcher| matcher.contains('=')) {
                        let label = matcher.split(['=', '!']).next().unwrap().trim();
                        assert!(
                            labels.contains(&label) || label == "instance",
                            "{name} has no label {label}: {inside}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(
        variables.iter().any(|variable| variable["type"] == "datasource" && variable["name"] == "datasource")
    );
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut rows = Vec::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] == "row" {
            rows.push(panel["title"].as_str().unwrap());
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            assert!(!named(target["expr"].as_str().unwrap()).is_empty(), "{target}");
        }
    }
    for row in ["Traffic", "Latency", "Errors", "Connections", "Live queries", "Storage", "Rights and limits"]
    {
        assert!(rows.contains(&row), "{rows:?}");
    }
}

/// Places lead to the series of their value.
fn in_place<L: Labels>() {
    let mut seen = BTreeSet::new();
    for (place, value) in L::all().enumerate() {
        assert_eq!(value.place(), place);
        let labels = value.labels();
        assert!(labels.iter().all(|label| L::NAMES.contains(&label.key())), "{labels:?}");
        assert!(seen.insert(format!("{labels:?}")), "twice: {labels:?}");
    }
}

#[test]
fn every_value_of_a_label_has_its_place() {
    in_place::<Build>();
    in_place::<Closed>();
    in_place::<Code>();
    in_place::<Connected>();
    in_place::<JournalFile>();
    in_place::<Login>();
    in_place::<Mode>();
    in_place::<Operation>();
    in_place::<PermanentActor>();
    in_place::<Refused>();
    in_place::<Served>();
    in_place::<Waiting>();
}
