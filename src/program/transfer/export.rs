//! Writes buckets out.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use dunlin::config::Config;
use dunlin::store::{Bucket, Record};

use super::definitions::{self, Definitions, FILE, FORMAT, file_of};
use super::{PROGRESS_EVERY, at, open, sync_directory};

/// Writes all buckets, or those named, into a new or empty directory; with `-` as directory one bucket to standard output.
pub(in crate::program) fn export(config: &Config, dir: &Path, names: &[String]) -> Result<(), String> {
    // Opening would make a new, empty one.
    let data = &config.storage.dir;
    if !data.is_dir() {
        return Err(format!("there are no data in {}; name their directory with --data-dir", data.display()));
    }
    let journal = open(config)?;
    let state = journal.recover().map_err(|error| error.to_string())?;
    let mut buckets: Vec<&Bucket> = Vec::new();
    for name in names {
        let bucket = state.bucket(name).map_err(|error| error.to_string())?;
        if !buckets.iter().any(|known| known.id() == bucket.id()) {
            buckets.push(bucket);
        }
    }
    if names.is_empty() {
        // What belongs to the server cannot be imported; a backup holds it.
        buckets = state.buckets().filter(|bucket| !bucket.is_system()).collect();
    }
    if dir == Path::new("-") {
        let [bucket] = buckets.as_slice() else {
            return Err("one bucket can go to standard output; name it with --bucket".to_owned());
        };
        return write(bucket, std::io::stdout().lock()).map_err(|error| format!("cannot write: {error}"));
    }
    prepare(dir)?;
    for bucket in &buckets {
        let path = dir.join(file_of(bucket.name()));
        let file = File::create_new(&path).map_err(at(&path, "create"))?;
        write(bucket, &file).and_then(|()| file.sync_all()).map_err(at(&path, "write"))?;
        eprintln!("{}: {} records", bucket.name(), bucket.len());
    }
    let config_of = |config: &str| serde_json::from_str(config).unwrap_or_default();
    let exported = |query: &&std::sync::Arc<dunlin::store::Query>| {
        names.is_empty() || names.iter().any(|name| **name == **query.bucket())
    };
    let definitions = Definitions {
        format: FORMAT,
        buckets: buckets
            .iter()
            .map(|bucket| definitions::Bucket {
                name: bucket.name().to_string(),
                config: config_of(bucket.config()),
                records: bucket.len(),
            })
            .collect(),
        queries: state
            .queries()
            .filter(exported)
            .map(|query| definitions::Query {
                name: query.name().to_string(),
                config: config_of(query.config()),
            })
            .collect(),
    };
    let path = dir.join(FILE);
    let mut text = serde_json::to_vec_pretty(&definitions).map_err(|error| error.to_string())?;
    text.push(b'\n');
    let written =
        File::create_new(&path).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
    written.and_then(|()| sync_directory(dir)).map_err(at(&path, "write"))
}

/// The directory must be there and empty: an export never mixes with another one.
fn prepare(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(at(dir, "create"))?;
    match fs::read_dir(dir).map_err(at(dir, "read"))?.next() {
        None => Ok(()),
        Some(_) => Err(format!("{} is not empty; name a new directory with --out", dir.display())),
    }
}

/// Writes one record a line, as it is stored.
fn write(bucket: &Bucket, file: impl Write) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    for (written, record) in bucket.iter().map(Record::json).enumerate() {
        out.write_all(record.as_bytes())?;
        out.write_all(b"\n")?;
        if written > 0 && written.is_multiple_of(PROGRESS_EVERY) {
            eprintln!("{}: {written} of {} records", bucket.name(), bucket.len());
        }
    }
    out.flush()
}
