//! Reads buckets in.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Take};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dunlin::config::Config;
use dunlin::journal::{Batch, Journal};
use dunlin::store::{Commit, Context, Import, Intent, Issue, Object, Snapshot, StoreError, limits};

use super::definitions::{Definitions, FILE, FORMAT, file_of};
use super::{PROGRESS_EVERY, at, open};

/// Where records come from, and which bucket they are for.
struct Source {
    bucket: String,
    path: PathBuf,
}

/// Reads a directory that `export` wrote, or one file of records for `bucket` (standard input if it is `-`).
pub(in crate::program) fn import(
    config: &Config,
    from: &Path,
    bucket: Option<&str>,
    replace: bool,
) -> Result<(), String> {
    let journal = open(config)?;
    let state = journal.recover().map_err(|error| error.to_string())?;
    let mut target = Target { journal, state, replace };
    if let Some(bucket) = bucket {
        return target.take(&[Source { bucket: bucket.to_owned(), path: from.to_owned() }]);
    }
    let path = from.join(FILE);
    let text = std::fs::read(&path).map_err(|error| {
        format!("cannot read {}: {error}; is it a directory that dunlin export has written? A single file needs --bucket", path.display())
    })?;
    let definitions: Definitions = serde_json::from_slice(&text).map_err(at(&path, "understand"))?;
    if definitions.format != FORMAT {
        let found = definitions.format;
        return Err(format!("{} has format {found}, this version reads format {FORMAT}", path.display()));
    }
    let names: Vec<String> = definitions.buckets.iter().map(|bucket| bucket.name.clone()).collect();
    for bucket in definitions.buckets {
        if target.state.bucket(&bucket.name).is_err() {
            target.execute(Intent::DefineBucket { name: bucket.name, config: bucket.config })?;
        }
    }
    for names in target.in_order(&names) {
        let source = |bucket: String| Source { path: from.join(file_of(&bucket)), bucket };
        target.take(&names.into_iter().map(source).collect::<Vec<_>>())?;
    }
    for query in definitions.queries {
        if target.state.query(&query.name).is_err() {
            target.execute(Intent::DefineQuery { name: query.name, config: query.config })?;
        }
    }
    Ok(())
}

/// The store that is read into.
struct Target {
    journal: Arc<dyn Journal>,
    state: Snapshot,
    replace: bool,
}

impl Target {
    fn execute(&mut self, intent: Intent) -> Result<(), String> {
        let mut ids = Ids;
        let executed = self.state.execute(intent, &mut Context::new(now(), &mut ids));
        let executed = executed.map_err(|error| error.to_string())?;
        self.append(executed.commit)
    }

    fn append(&self, commit: Option<Commit>) -> Result<(), String> {
        let commits: Vec<Commit> = commit.into_iter().collect();
        self.journal.append(Batch { commits: &commits, next: &self.state }).map_err(|error| error.to_string())
    }

    /// Groups of buckets so that each comes behind those that its records refer to. Buckets that refer to one another in a
    /// circle are one group, and read in together.
    fn in_order(&self, names: &[String]) -> Vec<Vec<String>> {
        let mut left: BTreeSet<String> = names.iter().cloned().collect();
        let mut groups = Vec::new();
        while !left.is_empty() {
            let free =
                names.iter().find(|name| left.contains(*name) && self.targets(name).is_disjoint(&left));
            // Without a free one all that are left lean on a circle.
            let group: Vec<String> = match free {
                Some(name) => vec![name.clone()],
                None => names.iter().filter(|name| left.contains(*name)).cloned().collect(),
            };
            for name in &group {
                left.remove(name);
            }
            groups.push(group);
        }
        groups
    }

    /// The other buckets that a bucket's records refer to.
    fn targets(&self, name: &str) -> BTreeSet<String> {
        let bucket = self.state.bucket(name).ok();
        let fields = bucket.into_iter().flat_map(|bucket| bucket.definition().fields());
        let targets = fields.filter_map(|field| Some(field.reference()?.bucket.to_string()));
        targets.filter(|target| target != name).collect()
    }

    /// Reads files in, together: all of their records or none.
    fn take(&mut self, sources: &[Source]) -> Result<(), String> {
        let mut files = Vec::new();
        for Source { bucket, path } in sources {
            let reader: Box<dyn Read> = if path == Path::new("-") {
                Box::new(std::io::stdin())
            } else {
                Box::new(File::open(path).map_err(at(path, "open"))?)
            };
            files.push(Lines {
                bucket,
                reader: BufReader::with_capacity(1 << 16, reader),
                line: 0,
                text: Vec::new(),
            });
        }
        let mut imports: Vec<Import<'_>> = files
            .iter_mut()
            .map(|lines| Import { bucket: lines.bucket, replace: self.replace, records: lines })
            .collect();
        let mut ids = Ids;
        let imported = self.state.import(&mut imports, &mut Context::new(now(), &mut ids));
        let imported = imported.map_err(|error| error.to_string())?;
        self.append(imported.commit)?;
        for lines in &files {
            eprintln!("{}: {} records", lines.bucket, lines.line);
        }
        Ok(())
    }
}

/// The records of a file, one a line. An empty line is no record.
struct Lines<'a> {
    bucket: &'a str,
    reader: BufReader<Box<dyn Read>>,
    line: usize,
    text: Vec<u8>,
}

impl Iterator for Lines<'_> {
    type Item = Result<Object, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.text.clear();
            // A line that is longer than any record may be is not read to its end.
            let mut bounded: Take<_> = self.reader.by_ref().take(limits::MAX_RECORD_BYTES as u64 + 2);
            match bounded.read_until(b'\n', &mut self.text) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(self.fault(format!("the file cannot be read: {error}")))),
            }
            if self.text.trim_ascii().is_empty() {
                continue;
            }
            self.line += 1;
            if self.line.is_multiple_of(PROGRESS_EVERY) {
                eprintln!("{}: {} records read", self.bucket, self.line);
            }
            let record = serde_json::from_slice(&self.text);
            return Some(
                record.map_err(|error| self.fault(format!("not one JSON object on a line: {error}"))),
            );
        }
    }
}

impl Lines<'_> {
    fn fault(&self, message: String) -> StoreError {
        let issue = Issue::new("_record", "syntax", message);
        StoreError::Validation { bucket: self.bucket.into(), issues: vec![issue] }
    }
}

/// Ids for records that come without: random bits.
struct Ids;

impl dunlin::store::IdSource for Ids {
    fn next(&mut self) -> u128 {
        rand::random()
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.ok().and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}
