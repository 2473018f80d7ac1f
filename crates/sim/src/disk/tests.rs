//! What the disk keeps, loses and pretends.

use dunlin_journal::disk::{Disk as _, DiskFile};

use super::*;

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(seed, false, None)
}

/// What stands in a file after the power was cut; `None` if there is none.
fn left(disk: &SimDisk, survival: Survival) -> Option<Vec<u8>> {
    disk.cut_power(survival);
    read(&*disk.open("a").ok()?)
}

fn read(file: &dyn DiskFile) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.size().ok()?).unwrap()];
    file.read_at(0, &mut bytes).ok()?;
    Some(bytes)
}

fn fails(disk: &SimDisk, after: u64, strike: Strike, moment: Moment) {
    disk.plan(Planned { at: disk.number() + after, moment, strike, changes: true });
}

#[test]
fn what_was_synced_is_there_and_nothing_else_need_be() {
    let disk = disk(1);
    let file = disk.create("a").unwrap();
    file.write_at(0, b"first").unwrap();
    file.sync().unwrap();
    assert_eq!(left(&disk.clone(), Survival::Nothing), None, "its name was not synced");

    let file = disk.create("a").unwrap();
    disk.sync_names().unwrap();
    file.write_at(0, b"first").unwrap();
    file.sync().unwrap();
    file.write_at(5, b" second").unwrap();
    assert_eq!(left(&disk, Survival::Nothing).unwrap(), b"first");
    assert_eq!(file.size().unwrap_err().to_string(), dead().to_string(), "that process has ended");

    disk.open("a").unwrap().write_at(5, b" third").unwrap();
    disk.kill();
    assert_eq!(read(&*disk.open("a").unwrap()).unwrap(), b"first third", "the system had it");
    assert_eq!(left(&disk, Survival::Nothing).unwrap(), b"first", "but not the disk");
}

#[test]
fn anything_may_be_left_of_what_was_not_synced() {
    let lefts: std::collections::BTreeSet<Vec<u8>> = (0..200)
        .map(|seed| {
            let disk = disk(seed);
            let file = disk.create("a").unwrap();
            disk.sync_names().unwrap();
            file.write_at(0, &[1; 4]).unwrap();
            file.write_at(2, &[2; 4]).unwrap();
            left(&disk, Survival::Any).unwrap()
        })
        .collect();
    for possible in [&[][..], &[1; 4], &[1], &[0, 0, 2, 2, 2, 2], &[1, 1, 2, 2, 2, 2], &[1, 1, 2, 1], &[0; 4]]
    {
        assert!(lefts.contains(possible), "{possible:?} is not among {lefts:?}");
    }
    assert!(lefts.iter().all(|left| left.len() <= 6 && left.iter().skip(4).all(|byte| *byte != 1)));
}

#[test]
fn a_sync_that_failed_is_never_made_good() {
    let disk = disk(1);
    let file = disk.create("a").unwrap();
    disk.sync_names().unwrap();
    file.write_at(0, b"lost").unwrap();
    fails(&disk, 1, Strike::Broken { lasts: 0 }, Moment::Before);
    assert!(file.sync().is_err());
    assert_eq!(read(&*file).unwrap(), b"lost", "it can be read");
    file.write_at(4, b" kept").unwrap();
    file.sync().unwrap();
    assert_eq!(left(&disk, Survival::Everything).unwrap(), b"\0\0\0\0 kept");
}

#[test]
fn renames_and_removals_happen_whole_and_apart() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        for name in ["a", "b"] {
            disk.create(name).unwrap();
        }
        disk.sync_names().unwrap();
        disk.rename("a", "c").unwrap();
        disk.remove("b").unwrap();
        disk.cut_power(Survival::Any);
        seen.insert(disk.listing());
    }
    let all = ["a (0)", "a (0), b (0)", "b (0), c (0)", "c (0)"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn a_full_disk_takes_nothing_more_for_a_while() {
    let disk = disk(1);
    let file = disk.create("a").unwrap();
    file.reserve(8).unwrap();
    fails(&disk, 1, Strike::Full { lasts: 3 }, Moment::Before);
    assert_eq!(file.write_at(8, b"more").unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_at(0, b"it fits").unwrap();
    assert!(disk.create("b").is_err());
    file.write_at(8, b"more").unwrap();
}

#[test]
fn after_its_end_a_process_does_nothing_more() {
    for (moment, size) in [(Moment::Before, 0), (Moment::After, 4)] {
        let disk = disk(1);
        let file = disk.create("a").unwrap();
        fails(&disk, 1, Strike::Crash, moment);
        assert!(file.write_at(0, b"gone").is_err());
        assert!(disk.is_dead() && file.sync().is_err() && disk.create("b").is_err());
        disk.kill();
        assert_eq!(disk.listing(), format!("a ({size})"));
    }
}
