use dunlin_journal::disk::{Disk, DiskFile};
use dunlin_journal::{Batch, Description, Journal, JournalError};
use dunlin_sim::crash::{Settings, Subject};
use dunlin_store::Snapshot;
use std::sync::{Arc, Mutex};

thread_local! { static STATES: std::cell::RefCell<Vec<Snapshot>> = const { std::cell::RefCell::new(Vec::new()) }; }

pub struct Naive {
    disk: Arc<dyn Disk>,
    inner: Mutex<Inner>,
}
struct Inner {
    file: Box<dyn DiskFile>,
    state: Snapshot,
    end: u64,
    name: u64,
    poisoned: bool,
}

fn io(source: std::io::Error) -> JournalError {
    if source.kind() == std::io::ErrorKind::StorageFull {
        return JournalError::DiskFull { action: "use", dir: "sim".into(), source };
    }
    JournalError::Io { action: "use", dir: "sim".into(), source }
}

const FRAME: usize = 700;

fn frame(index: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < FRAME {
        bytes.extend_from_slice(&(index + 1).to_le_bytes());
    }
    bytes.truncate(FRAME);
    bytes
}

impl Naive {
    fn read(disk: &dyn Disk, new_epoch: &str) -> Result<Inner, JournalError> {
        let mut names = disk.names().map_err(io)?;
        names.sort();
        let mut last = None;
        for name in names.iter().filter(|n| n.starts_with("log-")) {
            let file = disk.open(name).map_err(io)?;
            let mut at = 0;
            loop {
                let mut buffer = vec![0; FRAME];
                if file.read_at(at, &mut buffer).map_err(io)? < FRAME {
                    break;
                }
                let index = u64::from_le_bytes(buffer[..8].try_into().unwrap());
                if index == 0 || buffer != frame(index - 1) {
                    break;
                }
                last = Some(index - 1);
                at += FRAME as u64;
            }
        }
        let name = names
            .iter()
            .filter_map(|n| n.strip_prefix("log-"))
            .map(|n| n.parse::<u64>().unwrap())
            .max()
            .map_or(0, |n| n + 1);
        let file = disk.create(&format!("log-{name:020}")).map_err(io)?;
        let state = match last {
            Some(index) => STATES.with_borrow(|s| s[index as usize].clone()),
            None => Snapshot::new(new_epoch),
        };
        let mut inner = Inner { file, state, end: 0, name, poisoned: false };
        if last.is_none() {
            STATES.with_borrow_mut(|s| s.clear());
        }
        write(&mut inner)?;
        disk.sync_names().map_err(io)?;
        for n in names.iter().filter(|n| n.starts_with("log-")) {
            disk.remove(n).map_err(io)?;
        }
        disk.sync_names().map_err(io)?;
        Ok(inner)
    }
}

fn write(inner: &mut Inner) -> Result<(), JournalError> {
    let index = STATES.with_borrow_mut(|s| {
        s.push(inner.state.clone());
        s.len() - 1
    });
    inner.file.write_at(inner.end, &frame(index as u64)).map_err(io)?;
    inner.file.sync().map_err(io)?;
    inner.end += FRAME as u64;
    Ok(())
}

impl Subject for Naive {
    const DAMAGE: bool = false;
    fn open(disk: Arc<dyn Disk>, settings: &Settings) -> Result<Self, JournalError> {
        let inner = Self::read(&*disk, &settings.new_epoch)?;
        Ok(Self { disk, inner: Mutex::new(inner) })
    }
    fn tend(&self) -> Result<bool, JournalError> {
        let inner = &mut *self.inner.lock().unwrap();
        if inner.poisoned || inner.end < 4 * FRAME as u64 {
            return Ok(false);
        }
        let old = inner.name;
        let name = inner.name + 1;
        let file = self.disk.create(&format!("new-{name:020}")).map_err(io)?;
        let mut new = Inner { file, state: inner.state.clone(), end: 0, name, poisoned: false };
        write(&mut new)?;
        self.disk.rename(&format!("new-{name:020}"), &format!("log-{name:020}")).map_err(io)?;
        *inner = new;
        if let Err(e) = self.disk.sync_names() {
            inner.poisoned = true;
            return Err(io(e));
        }
        let _ = self.disk.remove(&format!("log-{old:020}"));
        Ok(false)
    }
}

impl Journal for Naive {
    fn recover(&self) -> Result<Snapshot, JournalError> {
        let inner = &mut *self.inner.lock().unwrap();
        if inner.poisoned {
            inner.file.cut(inner.end).map_err(io)?;
            let name = inner.name + 1;
            let file = self.disk.create(&format!("log-{name:020}")).map_err(io)?;
            inner.name = name;
            let mut new = Inner { file, state: inner.state.clone(), end: 0, name, poisoned: false };
            write(&mut new)?;
            self.disk.sync_names().map_err(io)?;
            *inner = new;
        }
        Ok(inner.state.clone())
    }
    fn append(&self, batch: Batch<'_>) -> Result<(), JournalError> {
        let inner = &mut *self.inner.lock().unwrap();
        if inner.poisoned {
            return Err(JournalError::Poisoned { dir: "sim".into() });
        }
        let before = inner.state.clone();
        inner.state = batch.next.clone();
        if let Err(e) = write(inner) {
            inner.poisoned = true;
            inner.state = before;
            return Err(e);
        }
        Ok(())
    }
    fn blocks(&self) -> bool {
        false
    }
    fn describe(&self) -> Description {
        dunlin_journal::MemoryJournal::new("").describe()
    }
}
