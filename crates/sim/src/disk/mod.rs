//! A disk that does all that a disk may do, and no more than `docs/durability.md` says of disks.
//!
//! What was synced is there after a power cut, in files whose names were synced. Of everything else any part may be there. After
//! `kill -9` everything that was written is there, but it is as little synced as before. At every operation a strike may fall
//! that was planned: the process ends before it, within it or after it; or it fails, with nothing, a part or all of it done. A
//! sync that has failed is never made good: what it did not write is forgotten, and later ones succeed without it.

mod content;
mod damage;
mod names;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_journal::disk::{Disk, DiskFile};

use self::content::Content;
pub(crate) use self::damage::{Damage, How};
use self::names::Names;
pub use self::plan::Moment;
pub(crate) use self::plan::{Kind, Planned, Strike};
use self::plan::{Plan, dead};
use crate::chance::Chance;
use crate::note;

/// What a power cut leaves of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survival {
    Nothing,
    Everything,
    /// What was done before this operation, and this one in part.
    Until(u64),
    /// Any of it, some in part.
    Any,
}

impl Survival {
    /// Whether an operation survives whole (`true`), in part (`false`) or not.
    fn of(self, number: u64, chance: &mut Chance) -> Option<bool> {
        match self {
            Self::Nothing => None,
            Self::Everything => Some(true),
            Self::Until(last) => (number <= last).then_some(number < last),
            Self::Any => [None, Some(true), Some(true), Some(false)][chance.below(4)],
        }
    }
}

/// What the disk leaves out, to see whether it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lapse {
    /// Files are not synced.
    Sync,
    /// Names are not synced.
    SyncNames,
    /// Files are not cut.
    Cut,
}

/// A simulated disk. Its clones are the same one.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

struct State {
    chance: Chance,
    names: Names,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    /// Operations so far.
    number: u64,
    plan: Plan,
    /// Which process it is; files that an earlier one has opened are closed.
    life: u64,
    dead: bool,
    /// Strikes so far, and how many of them were errors.
    strikes: u64,
    errors: u64,
    struck: BTreeMap<String, u64>,
    lapse: Option<Lapse>,
    /// After a failed sync, a file may read as what is on the disk.
    evicts: bool,
}

/// How an operation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Done,
    /// So much of it is done, and the process ends.
    Ends(Moment),
    /// So much of it is done, and it fails.
    Fails(Moment),
}

impl Way {
    /// How much is done: nothing, a part, all.
    fn extent(self) -> Moment {
        match self {
            Self::Done => Moment::After,
            Self::Ends(moment) | Self::Fails(moment) => moment,
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    pub(crate) fn new(seed: u64, evicts: bool, lapse: Option<Lapse>) -> Self {
        Self(Arc::new(Mutex::new(State {
            chance: Chance(seed),
            names: Names::default(),
            files: BTreeMap::new(),
            next_file: 0,
            number: 0,
            plan: Plan::default(),
            life: 0,
            dead: false,
            strikes: 0,
            errors: 0,
            struck: BTreeMap::new(),
            lapse,
            evicts,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations there were.
    pub(crate) fn number(&self) -> u64 {
        self.state().number
    }

    /// Whether the process has ended.
    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// How often something went wrong.
    pub(crate) fn strikes(&self) -> u64 {
        self.state().strikes
    }

    /// How often an operation failed that was not the last one of a process.
    pub(crate) fn errors(&self) -> u64 {
        self.state().errors
    }

    /// What went wrong, and how often.
    pub(crate) fn struck(&self) -> BTreeMap<String, u64> {
        self.state().struck.clone()
    }

    pub(crate) fn plan(&self, planned: Planned) {
        self.state().plan.planned.push(planned);
    }

    /// Nothing will go wrong any more.
    pub(crate) fn calm(&self) {
        self.state().plan.calm();
    }

    /// The process ends here.
    pub(crate) fn end(&self) {
        self.state().dead = true;
    }

    /// The process has ended, and another one begins; the system has gone on. What was not synced still is not.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.life += 1;
        state.dead = false;
        state.plan.calm();
    }

    /// The power was cut.
    pub(crate) fn cut_power(&self, survival: Survival) {
        self.kill();
        let state = &mut *self.state();
        state.names.cut_power(survival, &mut state.chance);
        for content in state.files.values_mut() {
            content.cut_power(survival, &mut state.chance);
        }
        let named: Vec<u64> = state.names.seen.values().copied().collect();
        state.files.retain(|file, _| named.contains(file));
    }

    /// Whether every file whose name begins so is on the disk as it is read.
    pub(crate) fn is_settled(&self, prefix: &str) -> bool {
        let state = self.state();
        let mut those = state.names.seen.iter().filter(|(name, _)| name.starts_with(prefix));
        state.names.is_settled(prefix) && those.all(|(_, file)| state.files[file].is_settled())
    }

    /// The last of the names that begin so.
    pub(crate) fn last(&self, prefix: &str) -> Option<String> {
        let state = self.state();
        state.names.seen.keys().rfind(|name| name.starts_with(prefix)).cloned()
    }

    /// Bytes of a file.
    pub(crate) fn size(&self, name: &str) -> usize {
        let state = self.state();
        state.find(name).map_or(0, |file| state.files[&file].seen.len())
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.state();
        state.names.seen.values().map(|file| state.files[file].seen.len()).sum()
    }

    /// The names of all files, and how long they are.
    pub(crate) fn listing(&self) -> String {
        let state = self.state();
        let files = state.names.seen.iter();
        let lines: Vec<_> =
            files.map(|(name, file)| format!("{name} ({})", state.files[file].seen.len())).collect();
        lines.join(", ")
    }

    /// Carries an operation out as it is planned. `of` says what it is.
    fn act<T>(
        &self,
        life: u64,
        kind: Kind,
        grows: impl FnOnce(&State) -> bool,
        of: impl FnOnce(&State) -> String,
        does: impl FnOnce(&mut State, Way) -> io::Result<T>,
    ) -> io::Result<T> {
        let state = &mut *self.state();
        if state.dead || life != state.life {
            return Err(dead());
        }
        state.number += 1;
        let grows = grows(state);
        let struck = state.plan.strike(state.number, kind, grows);
        let Some((strike, moment)) = struck else {
            note(|| format!("  {:>5} {kind} {}", state.number, of(state)));
            return does(state, Way::Done);
        };
        let moment = moment.unwrap_or_else(|| *state.chance.pick(&Moment::ALL));
        note(|| format!("  {:>5} {kind} {}: {strike} {moment}", state.number, of(state)));
        state.strikes += 1;
        state.errors += u64::from(strike != Strike::Crash);
        *state.struck.entry(format!("{strike} {moment} {kind}")).or_default() += 1;
        let way = if strike == Strike::Crash { Way::Ends(moment) } else { Way::Fails(moment) };
        // Whatever it comes to, nobody gets to know.
        let _ = does(state, way);
        state.dead |= strike == Strike::Crash;
        Err(strike.error())
    }

    fn life(&self) -> u64 {
        self.state().life
    }
}

impl State {
    /// The system has written everything.
    fn settle(&mut self) {
        self.names.sync();
        for content in self.files.values_mut() {
            content.sync();
            content.durable.clone_from(&content.seen);
            content.betrayed = false;
        }
    }

    fn remove_at_rest(&mut self, name: &str) {
        if let Some(file) = self.names.seen.get(name).copied() {
            self.names.change(0, names::Change::Removed { name: name.into(), file });
            self.names.sync();
        }
    }

    fn put_at_rest(&mut self, name: &str, bytes: Vec<u8>) {
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, Content::at_rest(bytes));
        self.names.change(0, names::Change::Made { name: name.into(), file });
        self.names.sync();
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.names.seen.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Names change at once or not at all.
    fn rename(&mut self, change: names::Change, way: Way) {
        if way.extent() != Moment::Before {
            self.names.change(self.number, change);
        }
    }

    fn change(&mut self, file: u64, change: content::Change, way: Way) -> io::Result<()> {
        let content = self.files.get_mut(&file).ok_or(io::ErrorKind::NotFound)?;
        match way.extent() {
            Moment::Before => {}
            Moment::Within => content.change_part(self.number, &change, &mut self.chance),
            Moment::After => content.change(self.number, change),
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let life = self.life();
        self.act(
            life,
            Kind::Names,
            |_| false,
            |_| String::new(),
            |state, _| Ok(state.names.seen.keys().cloned().collect()),
        )
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let life = self.life();
        let file = self.act(
            life,
            Kind::Create,
            |_| true,
            |_| name.into(),
            |state, way| {
                // As `O_TRUNC` does: a file of this name is not replaced, but emptied.
                if let Some(file) = state.names.seen.get(name).copied() {
                    let done = if way.extent() == Moment::Before { way } else { Way::Done };
                    state.change(file, content::Change::Cut(0), done)?;
                    return Ok(file);
                }
                let file = state.next_file;
                if way.extent() != Moment::Before {
                    state.next_file += 1;
                    state.files.insert(file, Content::default());
                }
                state.rename(names::Change::Made { name: name.into(), file }, way);
                Ok(file)
            },
        )?;
        Ok(Box::new(SimFile { disk: self.clone(), life, file, name: name.into() }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let life = self.life();
        let file = self.act(life, Kind::Open, |_| false, |_| name.into(), |state, _| state.find(name))?;
        Ok(Box::new(SimFile { disk: self.clone(), life, file, name: name.into() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let life = self.life();
        self.act(
            life,
            Kind::Rename,
            |_| false,
            |_| format!("{from} to {to}"),
            |state, way| {
                let file = state.find(from)?;
                state.rename(names::Change::Renamed { from: from.into(), to: to.into(), file }, way);
                Ok(())
            },
        )
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let life = self.life();
        self.act(
            life,
            Kind::Remove,
            |_| false,
            |_| name.into(),
            |state, way| {
                let file = state.find(name)?;
                state.rename(names::Change::Removed { name: name.into(), file }, way);
                Ok(())
            },
        )
    }

    fn sync_names(&self) -> io::Result<()> {
        let life = self.life();
        self.act(
            life,
            Kind::SyncNames,
            |_| false,
            |_| String::new(),
            |state, way| {
                match way.extent() {
                    _ if state.lapse == Some(Lapse::SyncNames) => {}
                    Moment::Before => {}
                    Moment::Within => state.names.sync_part(&mut state.chance),
                    Moment::After => state.names.sync(),
                }
                Ok(())
            },
        )
    }
}

/// An open file: of one process, whatever becomes of its name.
struct SimFile {
    disk: SimDisk,
    life: u64,
    file: u64,
    name: String,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.name)
    }
}

impl SimFile {
    fn look<T>(
        &self,
        kind: Kind,
        of: impl FnOnce() -> String,
        does: impl FnOnce(&[u8]) -> T,
    ) -> io::Result<T> {
        let of = |_: &State| format!("{} {}", self.name, of());
        self.disk.act(
            self.life,
            kind,
            |_| false,
            of,
            |state, _| {
                let content = state.files.get(&self.file).ok_or(io::ErrorKind::NotFound)?;
                Ok(does(&content.seen))
            },
        )
    }

    fn change(&self, kind: Kind, size: Option<usize>, change: &content::Change) -> io::Result<()> {
        let length = |state: &State| state.files.get(&self.file).map_or(0, |content| content.seen.len());
        let grows = |state: &State| size.is_some_and(|size| size > length(state));
        let of = |state: &State| {
            let what = match change {
                content::Change::Write { at, data } => format!("{at}..{}", at + data.len()),
                content::Change::Cut(size) | content::Change::Reserve(size) => size.to_string(),
            };
            format!("{} {what} (of {})", self.name, length(state))
        };
        self.disk.act(self.life, kind, grows, of, |state, way| state.change(self.file, change.clone(), way))
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.look(Kind::Size, String::new, |seen| seen.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len();
        self.look(
            Kind::Read,
            || format!("{offset}..+{length}"),
            |seen| {
                let rest =
                    usize::try_from(offset).ok().and_then(|offset| seen.get(offset..)).unwrap_or_default();
                let read = rest.len().min(length);
                buffer[..read].copy_from_slice(&rest[..read]);
                read
            },
        )
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let change = content::Change::Write { at, data: data.to_vec() };
        self.change(Kind::Write, Some(at + data.len()), &change)
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).unwrap();
        self.change(Kind::Reserve, Some(size), &content::Change::Reserve(size))
    }

    fn cut(&self, size: u64) -> io::Result<()> {
        if self.disk.state().lapse == Some(Lapse::Cut) {
            return Ok(());
        }
        self.change(Kind::Cut, None, &content::Change::Cut(usize::try_from(size).unwrap()))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.act(
            self.life,
            Kind::Sync,
            |_| false,
            |_| self.name.clone(),
            |state, way| {
                let (number, evicts) = (state.number, state.evicts);
                let content = state.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
                match way {
                    _ if state.lapse == Some(Lapse::Sync) => {}
                    Way::Done | Way::Ends(Moment::After) => content.sync(),
                    // What the crash leaves is decided when it is known which one it is.
                    Way::Ends(_) => {}
                    Way::Fails(moment) => {
                        let survival = match moment {
                            Moment::Before => Survival::Nothing,
                            Moment::Within => {
                                *state.chance.pick(&[Survival::Any, Survival::Until(number - 1)])
                            }
                            Moment::After => Survival::Everything,
                        };
                        let evicts = evicts && state.chance.once_in(3);
                        content.betray(survival, evicts, &mut state.chance);
                    }
                }
                Ok(())
            },
        )
    }
}
