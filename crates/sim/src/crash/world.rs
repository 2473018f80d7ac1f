//! One life after another on one disk.

use std::sync::Arc;
use std::time::Duration;

use dunlin_journal::{Batch, DiskJournal, Durability, Journal, JournalError, Options};
use dunlin_store::{Change, Commit, Snapshot};

use super::Tally;
use super::line::{Came, Line};
use super::writer::Writer;
use crate::chance::Chance;
use crate::disk::{Damage, How, Lapse, Moment, Planned, SimDisk, Strike, Survival};
use crate::note;

/// After so many attempts in vain nothing goes wrong any more: then it must work.
const ATTEMPTS: usize = 30;
/// Steps of work in the background that are done for a batch, at most.
const STEPS: usize = 100_000;
/// Batches in a life that is ended at each of its operations in turn.
const STEPS_TO_END: usize = 12;

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There was none yet.
    None,
    Closed,
    Killed,
    PowerCut,
}

struct World {
    chance: Chance,
    tally: Tally,
    disk: SimDisk,
    options: Options,
    writer: Writer,
    line: Line,
    end: End,
    /// The power was cut since the last opening.
    cut: bool,
    damage: Option<Damage>,
    /// Bytes that were mended, perhaps not yet on the disk.
    scars: Vec<Damage>,
    /// Errors until it was last begun.
    errors: u64,
    /// Bytes of the largest batch.
    largest: usize,
    /// Strikes until the journal was last in order.
    healthy: u64,
    /// Strikes until it was last opened.
    opened: u64,
    epochs: u32,
}

pub(super) fn run(seed: u64, with_rules: bool, lapse: Option<Lapse>) -> Tally {
    let mut world = World::new(seed, with_rules, lapse);
    for _ in 0..world.chance.within(2, 9) {
        world.plan();
        world.life();
        if world.chance.once_in(3) {
            world.harm();
        }
    }
    world.last()
}

/// One life, which ends at this operation. `None`: it is over before.
pub(super) fn run_to(seed: u64, with_rules: bool, operation: u64, moment: Moment) -> Option<Tally> {
    let mut world = World::new(seed, with_rules, None);
    world.disk.plan(Planned { at: operation, moment, strike: Strike::Crash, changes: false });
    let journal = world.begin();
    for _ in 0..STEPS_TO_END {
        if let Some(journal) = journal.as_ref().filter(|_| !world.disk.is_dead()) {
            world.append(journal);
            world.tend(journal, 2);
        }
    }
    let struck = world.disk.is_dead();
    world.stop(journal);
    let tally = world.last();
    struck.then_some(tally)
}

impl World {
    fn new(seed: u64, with_rules: bool, lapse: Option<Lapse>) -> Self {
        let mut chance = Chance(seed);
        let options = random_options(&mut chance);
        note(|| format!("{options:?}"));
        let evicts = options.durability == Durability::Group;
        Self {
            tally: Tally::default(),
            disk: SimDisk::new(!seed, evicts, lapse),
            options,
            writer: Writer::new(with_rules),
            line: Line::new(),
            end: End::None,
            cut: false,
            damage: None,
            scars: Vec::new(),
            errors: 0,
            largest: 0,
            healthy: 0,
            opened: 0,
            epochs: 0,
            chance,
        }
    }

    /// What is going to go wrong in a life.
    fn plan(&mut self) {
        let reach = *self.chance.pick(&[4, 12, 40, 120, 400]);
        let mut strikes: Vec<Strike> = Vec::new();
        for _ in 0..self.chance.below(5).saturating_sub(1) {
            let lasts = *self.chance.pick(&[0, 0, 2, 10, 40]);
            strikes.push(if self.chance.once_in(2) {
                Strike::Broken { lasts }
            } else {
                Strike::Full { lasts }
            });
        }
        if !self.chance.once_in(4) {
            strikes.push(Strike::Crash);
        }
        for strike in strikes {
            let at = self.disk.number() + self.chance.within(1, reach + 1) as u64;
            let moment = *self.chance.pick(&Moment::ALL);
            self.disk.plan(Planned { at, moment, strike, changes: !self.chance.once_in(8) });
        }
    }

    /// From a beginning to an end.
    fn life(&mut self) {
        let journal = self.begin();
        if let Some(journal) = &journal {
            let most = *self.chance.pick(&[1, 6, 24, 60]);
            for _ in 0..self.chance.below(most) {
                match self.chance.below(16) {
                    0..8 => self.append(journal),
                    8..14 => self.tend(journal, 1),
                    14 => self.sync(journal),
                    _ => self.recover(journal),
                }
                if self.disk.is_dead() {
                    break;
                }
            }
        }
        self.stop(journal);
    }

    /// Nothing goes wrong any more: what was acknowledged is there, and the journal goes on.
    fn last(mut self) -> Tally {
        self.disk.calm();
        for is_last in [false, true] {
            let journal = self.begin().expect("nothing goes wrong");
            let commits = self.writer.repeat();
            self.append_these(&journal, &commits);
            self.writer.all_once().unwrap_or_else(|why| panic!("after all repeats: {why}"));
            self.tally.count("everything repeated");
            for turn in 0.. {
                let Some(commits) = self.writer.drain(turn) else { break };
                self.append_these(&journal, &commits);
            }
            let surely = self.options.durability == Durability::Group;
            let once = self.writer.rules_once(surely, is_last);
            once.unwrap_or_else(|why| panic!("with nothing to come: {why}"));
            self.tend(&journal, STEPS);
            drop(journal);
            self.disk.kill();
            self.end = End::Closed;
        }
        self.tally.add_all(&self.disk.struck());
        if let Some(rules) = self.writer.rules() {
            self.tally.add(&rules.tally);
        }
        self.tally
    }

    /// Opens what is there, until that succeeds. `None`: it came to its end before.
    fn begin(&mut self) -> Option<DiskJournal> {
        note(|| format!("begin: {}", self.disk.listing()));
        self.epochs += 1;
        self.options.new_epoch = format!("epoch-{}", self.epochs);
        for attempt in 0..=ATTEMPTS {
            if attempt == ATTEMPTS {
                self.disk.calm();
            }
            let (strikes, errors) = (self.disk.strikes(), self.disk.errors());
            let opened = DiskJournal::open(Arc::new(self.disk.clone()), &self.options)
                .and_then(|journal| journal.recover().map(|state| (journal, state)));
            if self.disk.is_dead() {
                self.tally.count("opening struck by a crash");
                return None;
            }
            let error = match opened {
                Ok((journal, state)) => {
                    self.errors = errors;
                    self.came_back(&state);
                    return Some(journal);
                }
                Err(error) => error,
            };
            note(|| format!("opening failed: {error}"));
            if self.disk.strikes() > strikes {
                self.tally.count("opening failed");
            } else if let Some(damage) = self.damage.take() {
                self.refused(&damage, &error);
            } else {
                panic!("the directory is refused, for no reason: {error}");
            }
        }
        unreachable!("it is refused once for its damage and once for no reason");
    }

    /// An opening has given a state.
    fn came_back(&mut self, state: &Snapshot) {
        let damage = self.damage.take();
        // Nor can anybody tell it where nothing was synced at all.
        let blurred = damage.as_ref().is_some_and(|damage| !damage.is_small());
        let lossy = (self.cut || blurred) && self.options.durability != Durability::Group;
        let was_open = self.line.is_open();
        let newest = self.line.newest().map_or(0, Snapshot::position);
        let came = self.line.recovered(state, lossy, true).unwrap_or_else(|why| {
            let damaged = damage.as_ref().map(|damage| format!(", {damage}")).unwrap_or_default();
            panic!("opened after {:?}{damaged}: {why}", self.end)
        });
        note(|| format!("opened at {} ({came:?}, before {newest})", state.position()));
        if let Some(damage) = damage {
            let mended = damage.is_small() && self.disk.is_undone(&damage);
            let end = if mended { "mended" } else { "harmless" };
            self.tally.count(format!("damage {:?}, {end}", damage.how));
            self.scars.extend(Some(damage).filter(Damage::is_small));
        }
        if was_open {
            self.tally.count(match came {
                Came::With => "append struck by a crash, then all of it there",
                _ => "append struck by a crash, then nothing of it there",
            });
        }
        if came == Came::Earlier {
            self.tally.count("lost what was not synced");
        }
        self.cut = false;
        self.opened = self.disk.strikes();
        self.tally.count("opened");
        if self.end == End::Closed {
            self.tally.count("opened again after closing");
        }
        self.settled();
        self.writer.begin(state);
        self.healthy = self.disk.strikes();
    }

    /// The journal is in order again, at this state.
    fn in_order(&mut self, state: &Snapshot) {
        self.writer.recovered(state);
        self.healthy = self.disk.strikes();
    }

    /// The directory was refused, although the disk works.
    fn refused(&mut self, damage: &Damage, error: &JournalError) {
        // The format is a line of text: another number is another format.
        let mendable = damage.is_small() && damage.name != "FORMAT";
        assert!(!mendable, "{damage} was not mended: {error}");
        let text = error.to_string();
        let loud = matches!(
            error,
            JournalError::Damaged { .. } | JournalError::Format { .. } | JournalError::NotOurs { .. }
        );
        let named =
            ["log-", "image-", "synced", "FORMAT", "the directory"].iter().any(|name| text.contains(name));
        let format = matches!(error, JournalError::Format { .. });
        assert!(loud && (named || format), "{damage} is told as {text}");
        self.tally.count(format!("damage {:?}, refused", damage.how));
        // Whoever puts back what was damaged has lost nothing.
        self.disk.undo(damage);
    }

    fn append(&mut self, journal: &DiskJournal) {
        let count = self.chance.within(1, 9);
        let long = self.chance.once_in(2000);
        let commits = if long {
            self.writer.long(&mut self.chance)
        } else {
            self.writer.batch(&mut self.chance, count)
        };
        self.append_these(journal, &commits);
        if long && !self.disk.is_dead() {
            self.tally.count("long record");
        }
    }

    fn append_these(&mut self, journal: &DiskJournal, commits: &[Commit]) {
        if commits.is_empty() {
            self.writer.kept();
            return;
        }
        let changes = commits.iter().flat_map(|commit| &commit.changes);
        let puts = changes.map(|change| match change {
            Change::Put { record, .. } => record.json().len(),
            Change::Entry { key, value } => key.len() + value.as_ref().map_or(0, |value| value.len()),
            _ => 0,
        });
        self.largest = self.largest.max(puts.sum());
        note(|| format!("append {}..={}: {commits:?}", commits[0].position, self.writer.state.position()));
        let next = self.writer.state.clone();
        self.line.open(next.clone());
        self.writer.appending();
        let outcome = journal.append(Batch { commits, next: &next });
        if self.disk.is_dead() {
            return;
        }
        match outcome {
            Ok(()) => {
                self.line.acknowledge();
                self.writer.kept();
                self.tally.count("append acknowledged");
                self.settled();
            }
            Err(error) => {
                note(|| format!("append failed: {error}"));
                self.tally.count("append failed");
                self.was_struck("append", &error);
                let full = error.code() == "JOURNAL_DISK_FULL";
                self.back_to_service(journal, full);
            }
        }
    }

    /// An append has failed: the writer goes back, and the journal is asked to go on until it does.
    fn back_to_service(&mut self, journal: &DiskJournal, full: bool) {
        for attempt in 0..=ATTEMPTS {
            if attempt == ATTEMPTS {
                self.disk.calm();
            }
            if self.chance.once_in(4) {
                self.tend(journal, 1);
            }
            if self.chance.once_in(4) && !self.disk.is_dead() {
                self.append_out_of_service(journal);
            }
            if self.disk.is_dead() {
                return;
            }
            let strikes = self.disk.strikes();
            let recovered = journal.recover();
            if self.disk.is_dead() {
                return;
            }
            match recovered {
                Ok(state) => {
                    let came = self.line.recovered(&state, false, false);
                    came.unwrap_or_else(|why| panic!("recovered after a failed append: {why}"));
                    note(|| format!("recovered at {}", state.position()));
                    self.tally.count("append failed, then nothing of it there");
                    self.tally.count("recovered in service");
                    if full {
                        self.tally.count("recovered in service after ENOSPC");
                    }
                    self.in_order(&state);
                    return;
                }
                Err(error) => {
                    note(|| format!("recovering failed: {error}"));
                    self.tally.count("recovery in service failed");
                    assert!(self.disk.strikes() > strikes, "recovering fails for no reason: {error}");
                }
            }
        }
        unreachable!("it fails when the disk does, which it does no more");
    }

    /// Until a recovery, nothing is taken.
    fn append_out_of_service(&mut self, journal: &DiskJournal) {
        self.writer.take_back(self.line.newest().unwrap());
        let commits = self.writer.batch(&mut self.chance, 1);
        let outcome = journal.append(Batch { commits: &commits, next: &self.writer.state });
        if !self.disk.is_dead() {
            assert!(outcome.is_err(), "an append succeeds before the journal was recovered");
            self.tally.count("append refused until recovered");
        }
    }

    /// Somebody asks for the state, although nothing has failed.
    fn recover(&mut self, journal: &DiskJournal) {
        let recovered = journal.recover();
        if self.disk.is_dead() {
            return;
        }
        match recovered {
            Ok(state) => {
                let came = self.line.recovered(&state, false, false);
                assert_eq!(came, Ok(Came::Back), "asked for the state");
                self.tally.count("recovered in service");
                self.in_order(&state);
            }
            Err(error) => self.was_struck("recover", &error),
        }
    }

    /// Its time has come: what was appended is synced.
    fn sync(&mut self, journal: &DiskJournal) {
        if self.options.durability == Durability::None {
            return;
        }
        let synced = journal.sync();
        if self.disk.is_dead() {
            return;
        }
        match synced {
            Ok(()) => {
                self.tally.count("synced");
                self.line.settle();
            }
            Err(error) => {
                note(|| format!("syncing failed: {error}"));
                self.tally.count("sync failed");
                self.was_struck("sync", &error);
                let newest = self.line.newest().cloned().unwrap();
                self.back_to_service(journal, false);
                assert_eq!(self.line.newest().map(Snapshot::position), Some(newest.position()));
            }
        }
    }

    /// Some work in the background.
    fn tend(&mut self, journal: &DiskJournal, steps: usize) {
        for step in 0..steps {
            assert!(step < STEPS - 1, "there is no end to the work in the background");
            let image = self.disk.last("image-");
            let tended = journal.tend();
            if self.disk.is_dead() {
                self.tally.count("background step struck by a crash");
                return;
            }
            self.tally.count("background step");
            if self.disk.last("image-") != image {
                self.tally.count("image completed");
            }
            match tended {
                Ok(true) => {}
                Ok(false) => {
                    self.tally.count("background work done");
                    self.bounded();
                    break;
                }
                Err(error) => {
                    note(|| format!("tending failed: {error}"));
                    self.tally.count("background step failed");
                    self.was_struck("tend", &error);
                    break;
                }
            }
        }
        self.settled();
    }

    /// Nothing fails by itself.
    fn was_struck(&self, what: &str, error: &JournalError) {
        assert!(!error.is_refusal(), "{what}: {error}");
        assert!(self.disk.strikes() > self.healthy, "{what} fails for no reason: {error}");
    }

    /// What is on the disk for sure will not be lost.
    fn settled(&mut self) {
        let all = self.options.durability == Durability::Group;
        if all || (self.disk.is_settled("log-") && self.disk.is_settled("image-")) {
            self.line.settle();
        }
    }

    /// With the work in the background done, the files are not much larger than what they hold.
    fn bounded(&mut self) {
        // What could not be removed goes with the next image or the next opening.
        if self.disk.strikes() > self.opened {
            return;
        }
        let live = self.line.newest().map_or(0, size);
        let image = self.disk.last("image-").map_or(0, |name| self.disk.size(&name));
        let sizes = &self.options.sizes;
        let constant = SLACK + usize::try_from(4 * (sizes.log_bytes + sizes.reserve_bytes)).unwrap();
        // The log is too long only when a batch has made it so, and such a batch may stand in the file that is written to.
        let (files, most) = (self.disk.bytes(), 3 * live.max(image) + constant + 2 * self.largest);
        assert!(files <= most, "{files} bytes of files for {live}, {most} at most: {}", self.disk.listing());
        self.tally.count("space bounded");
    }

    /// The end of a life.
    fn stop(&mut self, journal: Option<DiskJournal>) {
        if !self.disk.is_dead() {
            if self.chance.once_in(3) {
                drop(journal);
                if !self.disk.is_dead() {
                    self.tally.count("closed");
                    self.disk.kill();
                    self.end = End::Closed;
                    return;
                }
            } else {
                self.disk.end();
            }
        }
        if self.chance.once_in(3) {
            note(|| "killed".into());
            self.tally.count("killed");
            self.disk.kill();
            self.end = End::Killed;
            return;
        }
        let number = self.disk.number();
        let survival = match self.chance.below(8) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2..4 => Survival::Until(number.saturating_sub(self.chance.below(12) as u64)),
            _ => Survival::Any,
        };
        note(|| format!("power cut, {survival:?} survives"));
        self.tally.count("power cut");
        self.disk.cut_power(survival);
        self.end = End::PowerCut;
        self.cut = true;
    }

    /// Damage, while nothing runs.
    fn harm(&mut self) {
        let how = *self.chance.pick(&How::ALL);
        if self.damage.is_some() || self.line.newest().is_none() {
            return;
        }
        // After a power cut, or if it could not be written, `synced` is old. Then the newest batches, if more than a byte of
        // them is damaged, look like a write that never finished; nobody can tell.
        let newest = self.disk.last("log-").unwrap_or_default();
        let old = self.cut || self.disk.errors() > self.errors;
        let blurred = old && matches!(how, How::Sector | How::Cut | How::Removed);
        // A second wrong byte in a block is more than can be mended.
        self.scars.retain(|scar| !self.disk.is_healed(scar));
        let scars = &self.scars;
        let spared = |name: &str| {
            (blurred && (name == newest || name == "synced")) || scars.iter().any(|scar| scar.name == name)
        };
        self.damage = self.disk.damage(how, spared, &mut self.chance);
        if let Some(damage) = &self.damage {
            note(|| format!("damage: {damage}"));
        }
    }
}

/// Sizes are small, so that files end and images come often.
fn random_options(chance: &mut Chance) -> Options {
    let interval = Durability::Interval(Duration::ZERO);
    let durability = *chance.pick(&[Durability::Group, Durability::Group, interval, Durability::None]);
    let mut options = Options::new(durability, "");
    options.sizes.log_bytes = *chance.pick(&[1 << 10, 1 << 12, 1 << 14, 1 << 16]);
    options.sizes.file_bytes = *chance.pick(&[1, 1 << 11, 1 << 14]);
    // As in production: a file holds more than is taken ahead of it.
    options.sizes.reserve_bytes = *chance.pick(&[0, 1 << 9, 1 << 12, 1 << 14]).min(&options.sizes.file_bytes);
    options.sizes.step_bytes = *chance.pick(&[1, 1 << 9, 1 << 12]);
    options
}

/// What is there beside records: heads of files, the end of an image.
const SLACK: usize = 8 << 10;

/// About how many bytes an image of a state has.
fn size(state: &Snapshot) -> usize {
    let kept = state.buckets().filter(|bucket| bucket.definition().is_persistent());
    let records: usize =
        kept.flat_map(|bucket| bucket.rows()).map(|(_, record)| record.json().len() + 16).sum();
    let configs: usize = state.buckets().map(|bucket| bucket.config().len() + 64).sum();
    let answers: usize = state.answers().map(|answer| answer.body.json().len() + answer.key.len() + 64).sum();
    let entries: usize = state.entries("").map(|(key, value)| key.len() + value.len() + 64).sum();
    records + configs + answers + entries
}
