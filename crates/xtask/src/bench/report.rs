//! The results as a table, for the terminal or for Markdown.

use super::figures::{Figures, Pairs, median};

/// One line of a table.
type Line = Vec<String>;

#[derive(Default)]
pub(crate) struct Report {
    operations: Vec<Line>,
    sizes: Vec<Line>,
    aimed: Vec<Line>,
}

const OPERATIONS: &[&str] = &[
    "scenario",
    "dunlin /s",
    "p50 µs",
    "p99 µs",
    "CPU µs/op",
    "floor /s",
    "p50 µs",
    "p99 µs",
    "CPU µs/op",
    "CPU ratio",
    "reference",
];

const AIMED: &[&str] = &["figure", "measured", "aim"];

const SIZES: &[&str] = &["scenario", "dunlin", "floor", "reference"];

impl Report {
    pub(crate) fn operations(&mut self, title: &str, pairs: &Pairs<Figures>, reference: &str) {
        let mut line = vec![title.to_owned()];
        for runs in [&pairs.dunlin, &pairs.floor] {
            let figures = Figures::median(runs);
            line.push(thousands(figures.per_second));
            line.push(thousands(figures.p50_us));
            line.push(thousands(figures.p99_us));
            line.push(format!("{:.2}", figures.cpu_us));
        }
        line.push(format!("{:.2}×", pairs.ratio(|figures| figures.cpu_us)));
        line.push(reference.to_owned());
        self.operations.push(line);
    }

    pub(crate) fn size(&mut self, title: &str, pairs: &Pairs<f64>, unit: &str, reference: &str) {
        let shown = |values: &[f64]| format!("{:.1} {unit}", median(values.to_vec()));
        self.sizes.push(vec![title.into(), shown(&pairs.dunlin), shown(&pairs.floor), reference.into()]);
    }

    pub(crate) fn fact(&mut self, title: &str, value: String) {
        self.sizes.push(vec![title.into(), value, "-".into(), "-".into()]);
    }

    /// A figure and what was aimed at; "-" where it is only there to compare with.
    pub(crate) fn aimed(&mut self, title: &str, value: String, aim: &str) {
        self.aimed.push(vec![title.into(), value, aim.into()]);
    }

    pub(crate) fn render(&self, markdown: bool) -> String {
        let tables = [(OPERATIONS, &self.operations), (AIMED, &self.aimed), (SIZES, &self.sizes)];
        let tables = tables.iter().filter(|(_, lines)| !lines.is_empty());
        tables.map(|(heads, lines)| table(heads, lines, markdown)).collect::<Vec<_>>().join("\n")
    }
}

/// A figure without more digits than it deserves.
pub(crate) fn thousands(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { grouped(&format!("{value:.0}")) }
}

/// A number of things.
pub(crate) fn count(value: usize) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first column is aligned to the left, the others to the right.
fn table(heads: &[&str], lines: &[Line], markdown: bool) -> String {
    let heads: Line = heads.iter().map(|head| (*head).to_owned()).collect();
    let all: Vec<&Line> = std::iter::once(&heads).chain(lines).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| all.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let (open, between, close) = if markdown { ("| ", " | ", " |") } else { ("", "  ", "") };
    let mut text = String::new();
    for (number, line) in all.iter().enumerate() {
        let cells: Line = line.iter().zip(&widths).enumerate().map(cell).collect();
        text.extend([open, &cells.join(between), close, "\n"]);
        if number == 0 && markdown {
            let rules: Line = widths.iter().enumerate().map(rule).collect();
            text.extend(["|", &rules.join("|"), "|\n"]);
        }
    }
    text
}

fn cell((column, (value, width)): (usize, (&String, &usize))) -> String {
    if column == 0 { format!("{value:<width$}") } else { format!("{value:>width$}") }
}

fn rule((column, width): (usize, &usize)) -> String {
    let dashes = "-".repeat(width + 1);
    if column == 0 { format!("{dashes}-") } else { format!("{dashes}:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_markdown_is_well_formed() {
        let mut report = Report::default();
        let run = Figures { per_second: 123_456.7, p50_us: 12.34, p99_us: 1_234.0, cpu_us: 1.5 };
        let pairs = Pairs { dunlin: vec![run; 3], floor: vec![Figures { cpu_us: 1.0, ..run }; 3] };
        report.operations("get, 50 × 16", &pairs, "22×");
        report.aimed("bytes per push", count(180_123), "≤ 300");
        report.size("idle", &Pairs { dunlin: vec![11.0], floor: vec![2.0] }, "KiB", "17 KiB");
        let plain = report.render(false);
        assert!(
            plain.contains("123,457")
                && plain.contains("12.3")
                && plain.contains("180,123")
                && plain.contains("1.50×"),
            "{plain}"
        );
        let markdown = report.render(true);
        assert_eq!((count(7), count(1_000)), ("7".to_owned(), "1,000".to_owned()));
        for table in markdown.split("\n\n") {
            let bars: Vec<_> = table.lines().map(|line| line.matches('|').count()).collect();
            assert!(bars.len() >= 3 && bars.iter().all(|count| *count == bars[0]), "{markdown}");
        }
    }
}
