//! A journal on a file system that keeps what it must and no more, and a process that dies at every step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::admission::lists::{Author, NEVER};

const WALL: UnixMillis = UnixMillis(1_000_000);
const NOW: Time = Time::from_nanos(1_000_000_000);
/// So small that a journal is written anew now and then.
const COMPACT_MIN: u64 = 500;

/// A file: what lasts, and what was written since.
#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    volatile: Vec<u8>,
}

/// What a crash leaves of writes that nobody has waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Nothing,
    Half,
    Everything,
}

#[derive(Default)]
struct Disk {
    files: Vec<File>,
    /// Which file a name means: after a crash, and now.
    durable_names: BTreeMap<String, usize>,
    names: BTreeMap<String, usize>,
    /// Steps until the process dies.
    life: Option<usize>,
    /// What fails next, and how often.
    failing: Option<(&'static str, usize)>,
}

#[derive(Clone, Default)]
struct SimFolder(Rc<RefCell<Disk>>);

impl Disk {
    /// One step; whether the process died in the middle of it.
    fn step(&mut self, what: &'static str) -> io::Result<bool> {
        if let Some((failing, left)) = &mut self.failing
            && *failing == what
            && *left > 0
        {
            *left -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        match &mut self.life {
            Some(0) => Err(io::ErrorKind::Interrupted.into()),
            Some(life) => {
                *life -= 1;
                Ok(*life == 0)
            }
            None => Ok(false),
        }
    }

    fn file(&mut self, name: &str) -> &mut File {
        let at = *self.names.entry(name.to_owned()).or_insert_with(|| {
            self.files.push(File::default());
            self.files.len() - 1
        });
        &mut self.files[at]
    }

    /// The machine goes down and comes up again.
    fn crash(&mut self, data: Left, names_last: bool) {
        if names_last {
            self.durable_names = self.names.clone();
        }
        self.names = self.durable_names.clone();
        for file in &mut self.files {
            match data {
                Left::Everything => file.durable = file.volatile.clone(),
                Left::Nothing => {}
                // An append that was under way: its first part is there.
                Left::Half if file.volatile.starts_with(&file.durable) => {
                    let half = (file.durable.len() + file.volatile.len()).div_ceil(2);
                    file.durable = file.volatile[..half].to_vec();
                }
                Left::Half => {}
            }
            file.volatile = file.durable.clone();
        }
        self.life = None;
    }
}

impl Folder for SimFolder {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let disk = self.0.borrow();
        Ok(disk.names.get(name).map(|&at| disk.files[at].volatile.clone()))
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        let failed = disk.step("append");
        // Whoever dies, or finds the disk full, has written a part.
        let written = if matches!(failed, Ok(false)) { bytes.len() } else { bytes.len() / 2 };
        disk.file(name).volatile.extend_from_slice(&bytes[..written]);
        if failed? { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.step("truncate")?;
        disk.file(name).volatile.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        if disk.step("sync")? {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let file = disk.file(name);
        file.durable = file.volatile.clone();
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.step("rename")?;
        let at = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), at);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.step("remove")?;
        disk.names.remove(name);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        if disk.step("sync_names")? {
            return Err(io::ErrorKind::Interrupted.into());
        }
        disk.durable_names = disk.names.clone();
        Ok(())
    }
}

fn open(folder: &SimFolder) -> io::Result<(Journal<SimFolder>, Found)> {
    Journal::open(folder.clone(), 100, COMPACT_MIN, NOW, WALL)
}

fn subject(number: u8) -> Subject {
    Subject::Addresses(format!("192.0.2.{number}").parse().unwrap())
}

fn ban(reason: String) -> Ban {
    Ban { end: NEVER, until: None, since: WALL, by: Author::Operator(0), reason }
}

/// The reasons of all bans in force, by subject.
fn in_force(journal: &Journal<SimFolder>) -> BTreeMap<Subject, String> {
    journal.bans().iter().map(|(subject, ban)| (subject.clone(), ban.reason.clone())).collect()
}

/// Sets and lifts bans until the process dies. What was acknowledged, and the subject that was being written then with what
/// it might be.
type Acknowledged = (BTreeMap<Subject, String>, Option<(Subject, Option<String>)>);
fn live(folder: &SimFolder) -> Acknowledged {
    let mut told = BTreeMap::new();
    let Ok((mut journal, _)) = open(folder) else { return (told, None) };
    for number in 0..24_u8 {
        let subject = subject(number % 7);
        let (wanted, done) = if number % 5 == 4 {
            (None, journal.lift(&subject).map(drop))
        } else {
            let reason = format!("number {number}");
            (Some(reason.clone()), journal.set(subject.clone(), ban(reason), NOW))
        };
        if done.is_err() {
            return (told, Some((subject, wanted)));
        }
        match wanted {
            Some(reason) => _ = told.insert(subject, reason),
            None => _ = told.remove(&subject),
        }
    }
    (told, None)
}

/// How many steps it takes if nobody dies.
fn steps() -> usize {
    let folder = SimFolder::default();
    folder.0.borrow_mut().life = Some(usize::MAX);
    live(&folder);
    usize::MAX - folder.0.borrow().life.unwrap()
}

#[test]
fn whoever_dies_at_any_step_loses_nothing_that_was_acknowledged() {
    let (mut rewritten, mut torn) = (0, 0);
    for life in 0..=steps() {
        for data in [Left::Nothing, Left::Half, Left::Everything] {
            for names_last in [false, true] {
                let folder = SimFolder::default();
                folder.0.borrow_mut().life = Some(life);
                let (told, under_way) = live(&folder);
                folder.0.borrow_mut().crash(data, names_last);
                let (mut journal, found) = open(&folder).expect("the disk is well");
                assert_eq!(found.damaged, 0, "a torn end is no damage");
                let mut there = in_force(&journal);
                let mut expected = told;
                // What nobody was told of may be there or not.
                if let Some((subject, wanted)) = under_way {
                    let became = there.remove(&subject);
                    let before = expected.remove(&subject);
                    assert!(became == wanted || became == before, "{life} {data:?}: {became:?}");
                    torn += u32::from(became == before);
                }
                assert_eq!(there, expected, "after {life} steps, {data:?}, names {names_last}");
                // And it goes on, behind whole records only.
                journal.set(subject(9), ban("later".into()), NOW).expect("the disk is well");
                let (again, found) = open(&folder).expect("the disk is well");
                assert_eq!((in_force(&again), found), (in_force(&journal), Found::default()));
                rewritten += u32::from(folder.0.borrow().files.len() > 1);
            }
        }
    }
    assert!(rewritten > 100 && torn > 100, "both were under way when somebody died: {rewritten}, {torn}");
}

#[test]
fn a_full_disk_refuses_and_takes_the_next_one_when_there_is_room() {
    let folder = SimFolder::default();
    let (mut journal, _) = open(&folder).unwrap();
    journal.set(subject(1), ban("one".into()), NOW).unwrap();
    folder.0.borrow_mut().failing = Some(("append", 1));
    let refused = journal.set(subject(2), ban("two".into()), NOW);
    assert!(matches!(refused, Err(Refused::NotWritten(_))), "{refused:?}");
    assert!(journal.broken().is_none() && journal.bans().get(&subject(2)).is_none());
    journal.set(subject(3), ban("three".into()), NOW).unwrap();
    folder.0.borrow_mut().crash(Left::Nothing, false);
    let (journal, found) = open(&folder).unwrap();
    assert_eq!(
        (in_force(&journal).len(), found),
        (2, Found::default()),
        "no half of a record stands between"
    );
}

#[test]
fn after_a_sync_that_failed_nothing_is_written_until_the_next_start() {
    for (failing, words) in [("sync", "synced"), ("truncate", "written")] {
        let folder = SimFolder::default();
        let (mut journal, _) = open(&folder).unwrap();
        journal.set(subject(1), ban("one".into()), NOW).unwrap();
        folder.0.borrow_mut().failing = Some((failing, 1));
        if failing == "truncate" {
            folder.0.borrow_mut().life = Some(1);
        }
        for number in [2, 3] {
            let refused = journal.set(subject(number), ban("more".into()), NOW);
            let Err(Refused::ReadOnly(why)) = refused else { panic!("{refused:?}") };
            assert!(why.contains(words), "{why}");
        }
        assert!(journal.lift(&subject(1)).is_err() && journal.broken().is_some());
        assert_eq!(in_force(&journal).len(), 1, "what was in force is");
        folder.0.borrow_mut().crash(Left::Nothing, false);
        let (mut journal, _) = open(&folder).unwrap();
        journal.set(subject(2), ban("two".into()), NOW).unwrap();
    }
}

#[test]
fn a_journal_that_cannot_be_made_shorter_grows_and_one_that_can_does_not() {
    let folder = SimFolder::default();
    let (mut journal, _) = open(&folder).unwrap();
    for number in 0..100 {
        journal.set(subject(1), ban(format!("number {number}")), NOW).unwrap();
    }
    assert!(journal.len < 2 * COMPACT_MIN, "{}", journal.len);
    for step in ["remove", "rename", "sync_names"] {
        folder.0.borrow_mut().failing = Some((step, 1));
        let mut refused = 0;
        for number in 0..100 {
            refused += u32::from(journal.set(subject(2), ban(format!("{step} {number}")), NOW).is_err());
        }
        assert_eq!(refused > 0, step != "remove", "{step}: which file has the name is not known");
        let held = in_force(&journal);
        folder.0.borrow_mut().crash(Left::Nothing, step == "rename");
        (journal, _) = open(&folder).unwrap();
        assert_eq!(in_force(&journal), held, "{step}");
    }
}

#[test]
fn damage_in_the_middle_costs_what_it_hit_and_is_kept_for_whoever_wants_to_look() {
    let folder = SimFolder::default();
    let (mut journal, _) = open(&folder).unwrap();
    let mut middle = 0;
    for number in 1..=3 {
        journal.set(subject(number), ban("junk".into()), NOW).unwrap();
        middle = if number == 1 { journal.len as usize + 30 } else { middle };
    }
    folder.0.borrow_mut().file(FILE).volatile[middle] ^= 1;
    let damaged = folder.clone().read(FILE).unwrap();
    let (journal, found) = open(&folder).unwrap();
    assert_eq!(in_force(&journal).keys().cloned().collect::<Vec<_>>(), [subject(1), subject(3)]);
    assert!(found.damaged > HEAD_LEN, "{found:?}");
    assert_eq!(folder.clone().read(DAMAGED).unwrap(), damaged);
    let (again, found) = open(&folder).unwrap();
    assert_eq!((in_force(&again), found), (in_force(&journal), Found::default()));
}

#[test]
fn a_clock_that_is_set_between_two_lives_shifts_ends_and_loses_none() {
    let folder = SimFolder::default();
    let (mut journal, _) = open(&folder).unwrap();
    let until = Some(UnixMillis(WALL.0 + 10_000));
    let until_then = Ban { end: NOW + Duration::from_secs(10), until, ..ban("a while".into()) };
    journal.set(subject(1), until_then, NOW).unwrap();
    let end = |wall| {
        let (journal, _) = Journal::open(folder.clone(), 100, COMPACT_MIN, NOW, UnixMillis(wall)).unwrap();
        journal.bans().get(&subject(1)).map(|ban| ban.end.since(NOW))
    };
    assert_eq!(end(WALL.0), Some(Duration::from_secs(10)));
    assert_eq!(end(WALL.0 + 9_999), Some(Duration::from_millis(1)));
    assert_eq!(end(WALL.0 - 5_000), Some(Duration::from_secs(15)));
    assert_eq!(end(WALL.0 + 10_000), None);
}
