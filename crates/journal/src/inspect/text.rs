//! An inspection for people.

use std::fmt;

use super::{FileKind, FileReport, Inspected, Inspection};

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        match self.kind {
            Inspected::Directory => writeln!(f, "Data directory {}", self.path.display())?,
            Inspected::Backup => writeln!(f, "Backup {}", self.path.display())?,
        }
        writeln!(f, "  format    {}", self.format.map_or_else(unknown, |format| format.to_string()))?;
        writeln!(f, "  history   {}", self.epoch.clone().unwrap_or_else(unknown))?;
        writeln!(f, "  position  {}", self.position.map_or_else(unknown, |position| position.to_string()))?;
        if let Some(synced) = self.synced {
            writeln!(f, "  synced    {synced}")?;
        }
        writeln!(f, "Files, {} bytes", self.bytes)?;
        let width = self.files.iter().map(|report| report.name.len()).max().unwrap_or(0);
        for report in &self.files {
            writeln!(f, "  {:<width$}  {} bytes{}", report.name, report.bytes, content(report))?;
            for damage in &report.damage {
                let mendable = if damage.mendable { "mendable" } else { "not mendable" };
                writeln!(f, "    damaged at byte {}: {} ({mendable})", damage.byte, damage.reason)?;
            }
            if let Some(byte) = report.unfinished {
                writeln!(
                    f,
                    "    from byte {byte} on a batch that was not finished; it is cut off at the next start"
                )?;
            }
        }
        write!(f, "Buckets, {}; queries, {}", self.buckets.len(), self.queries)?;
        // Most have none.
        if self.entries > 0 {
            write!(f, "; entries of rules, {}", self.entries)?;
        }
        writeln!(f)?;
        let width = self.buckets.iter().map(|bucket| bucket.name.len()).max().unwrap_or(0);
        for bucket in &self.buckets {
            writeln!(f, "  {:<width$}  {} records", bucket.name, bucket.records)?;
        }
        match &self.problem {
            None => writeln!(f, "It can be read whole."),
            Some(problem) => writeln!(f, "It cannot be used as it is: {problem}"),
        }
    }
}

fn content(report: &FileReport) -> String {
    match (report.kind, report.first, report.last) {
        (FileKind::Log, Some(first), Some(last)) => {
            format!(", {} in use, commits {first} to {last}", report.used)
        }
        (FileKind::Log, _, None) => format!(", {} in use, no commits", report.used),
        (FileKind::Image, Some(position), _) => format!(", state at {position}"),
        (FileKind::Other, ..) => ", does not count".to_owned(),
        _ => String::new(),
    }
}
