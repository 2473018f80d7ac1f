//! Reads a log file for what is in it, and applies what can be applied.

use std::io;

use dunlin_store::Snapshot;

use super::{FileKind, FileReport, Inspection};
use crate::block::{Block, Found, Label, Reader};
use crate::code::Decoder;
use crate::disk::DiskFile;
use crate::log::Title;
use crate::names::FORMAT;

/// Reads the log file whose first commit is `first`, and behind which one begins with `next` if there is one. The commits that
/// follow `state` are applied to it.
pub(super) fn log(
    file: &dyn DiskFile,
    name: &str,
    first: u64,
    next: Option<u64>,
    inspection: &mut Inspection,
    state: &mut Option<Snapshot>,
) -> io::Result<FileReport> {
    let mut report = FileReport::new(name, FileKind::Log, file.size()?);
    report.first = Some(first);
    let mut reader = Reader::new(file)?;
    let mut number = None;
    let mut expected = first;
    let place = loop {
        let block = match reader.next()? {
            Found::Block(block) => block,
            Found::End => {
                break Place { offset: reader.offset(), reason: "nothing can be read here", torn: false };
            }
            Found::Broken { offset, reason } => break Place { offset, reason, torn: true },
        };
        let taken = match number {
            None => {
                number = Some(block.label.file);
                title(&block, first, inspection, state)
            }
            Some(number) if number != block.label.file => Err("the block belongs to another file".to_owned()),
            Some(_) => batch(&block, &mut expected, state),
        };
        if let Err(reason) = taken {
            report.lost(block.offset, reason);
            report.last = expected.checked_sub(1).filter(|last| *last >= first);
            report.used = block.offset;
            return Ok(report);
        }
    };
    let end = reader.offset();
    // What was written when this place was on disk already shows that it is damaged, and not only torn.
    let later = |label: &Label| label.synced >= expected && number.is_none_or(|number| number == label.file);
    let proof = reader.find(end, later)?.is_some()
        || next.is_some_and(|next| next > expected || place.torn)
        || inspection.synced.is_some_and(|synced| synced >= expected) && next.is_none();
    if proof {
        report.lost(place.offset, place.reason);
    } else if place.torn {
        report.unfinished = Some(end);
    }
    report.used = end;
    report.last = expected.checked_sub(1).filter(|last| *last >= first);
    report.mendable(file, &reader.mended)?;
    Ok(report)
}

/// Where reading ended.
struct Place {
    offset: u64,
    reason: &'static str,
    /// Something stands there.
    torn: bool,
}

/// Checks the first block; where there is no image, the state begins with it.
fn title(
    block: &Block,
    first: u64,
    inspection: &mut Inspection,
    state: &mut Option<Snapshot>,
) -> Result<(), String> {
    let title: Title = serde_json::from_slice(&block.payload)
        .map_err(|error| format!("the first block cannot be read: {error}"))?;
    if title.format > FORMAT {
        return Err(format!("format {} is newer than this version reads, which is {FORMAT}", title.format));
    }
    if !title.is_for(first) || block.label.file != title.number() {
        return Err(format!("it is a file of kind {:?} from position {}", title.kind, title.position));
    }
    inspection.epoch.get_or_insert_with(|| title.epoch.clone());
    if first == 1 && state.is_none() {
        *state = Some(Snapshot::new(title.epoch.as_str()));
    }
    match state {
        Some(state) if state.epoch() != title.epoch => {
            Err(format!("it is of history {}, not {}", title.epoch, state.epoch()))
        }
        _ => Ok(()),
    }
}

/// Takes one batch in.
fn batch(block: &Block, expected: &mut u64, state: &mut Option<Snapshot>) -> Result<(), String> {
    if block.label.position != *expected {
        return Err(format!("commit {} is here, {expected} is missing", block.label.position));
    }
    let mut decoder = Decoder::new(&block.payload);
    while !decoder.is_empty() {
        let position = match state {
            Some(state) if state.position().checked_add(1) == Some(*expected) => {
                let commit = decoder.commit(state)?;
                if commit.position == *expected {
                    state.apply(&commit).map_err(|error| error.to_string())?;
                }
                commit.position
            }
            _ => decoder.skip_commit()?,
        };
        if position != *expected {
            return Err(format!("commit {position} is here, {expected} is missing"));
        }
        *expected += 1;
    }
    Ok(())
}
