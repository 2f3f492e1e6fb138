//! Keeps the lists of addresses of a running gateway: carries changes out, writes them down, and tells all workers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Time, UnixMillis};
use tokio::sync::{Mutex, Notify, oneshot};

use super::files::Files;
use super::folder::{Folder, SystemFolder};
use super::journal::{self, DAMAGED, FILE, Found, Journal};
use super::seen::Seen;
use crate::admission::lists::{Author, Ban, Bans, Block, Lists, NoRoom, Subject, Throttle, Throttles, Users};
use crate::clock::Clock;
use crate::config;
use crate::control::addresses::Refused;
use crate::control::workers::TellLists;

/// The bans, with or without a file.
#[derive(Debug)]
enum Store {
    Lasting(Journal<SystemFolder>),
    /// They are gone when the process is.
    Fleeting(Bans),
}

/// What is to be changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// A ban is set.
    Set(Subject, Ban),
    /// A ban is lifted, if whoever wants that may.
    Lift(Subject, Author),
}

/// What there is before the workers start.
pub(crate) struct Opened {
    store: Store,
    lists: Lists,
    /// How the operator's files were just before they were read.
    seen: Seen,
    /// Blocks of addresses that may be slowed down.
    throttles_max: usize,
    /// What the operator should know of the journal.
    pub(crate) warning: Option<String>,
}

/// Reads the files and the journal that the config names.
///
/// # Errors
/// What can't be read or written, and what to do; and whether another process has the journal.
pub(crate) fn open(config: &config::Lists, now: Time, wall: UnixMillis) -> Result<Opened, Refused> {
    let seen = Seen::new(config);
    let refused = |reason: String| Refused { in_use: false, cause: reason.clone(), reason };
    let files = Files::read(config, now, wall).map_err(refused)?;
    let (store, found) = match &config.journal {
        None => (Store::Fleeting(Bans::new(config.bans)), Found::default()),
        Some(folder) => {
            let taken = SystemFolder::take(folder);
            let opened = taken.and_then(|taken| Journal::open(taken, config.bans, COMPACT_MIN, now, wall));
            let (journal, found) = opened.map_err(|error| no_journal(folder, &error))?;
            (Store::Lasting(journal), found)
        }
    };
    let warning = (found.damaged > 0).then(|| {
        format!(
            "{} bytes of {FILE} were damaged; what else it held is in force, and {DAMAGED} has a copy of it",
            found.damaged
        )
    });
    let mut lists = lists_of(store.bans());
    put(files, &mut lists);
    Ok(Opened { store, lists, seen, throttles_max: config.throttled_blocks, warning })
}

/// Whether all of it could be read and written, without changing anything.
///
/// # Errors
/// As of [`open`].
pub(crate) fn try_out(config: &config::Lists, wall: UnixMillis) -> Result<(), String> {
    Files::read(config, Time::ZERO, wall)?;
    let Some(path) = &config.journal else { return Ok(()) };
    let mut folder = SystemFolder::visit(path);
    let tried = folder.read(FILE).and_then(|_| folder.append(TRIAL, b"")).and_then(|()| folder.remove(TRIAL));
    tried.map_err(|error| no_journal(path, &error).reason)
}

fn no_journal(folder: &Path, error: &io::Error) -> Refused {
    let in_use = error.kind() == io::ErrorKind::WouldBlock;
    let cause = match in_use {
        true => format!("{}: another gateway keeps its bans there", folder.display()),
        false => format!("{}: {error}", folder.display()),
    };
    let fix = match in_use {
        true => "end it, or give each a folder of its own as `journal` of [lists]",
        false => "`journal` of [lists] names a folder that is there and that this user may write to",
    };
    Refused { in_use, reason: format!("{cause}; {fix}"), cause }
}

impl Opened {
    /// What the workers begin with.
    pub(crate) fn lists(&self) -> Lists {
        self.lists.clone()
    }

    /// How the operator's files were just before they were read.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.clone()
    }
}

impl Store {
    const fn bans(&self) -> &Bans {
        match self {
            Self::Lasting(journal) => journal.bans(),
            Self::Fleeting(bans) => bans,
        }
    }

    /// Carries a change out; whether anything has changed.
    fn change(&mut self, change: Change, now: Time) -> Result<bool, journal::Refused> {
        let is_heeded = match &change {
            Change::Set(subject, ban) => self.bans().takes(subject, ban, now),
            Change::Lift(subject, by) => self.bans().may_lift(subject, by),
        };
        if !is_heeded {
            return Ok(false);
        }
        match (self, change) {
            (Self::Lasting(journal), Change::Set(subject, ban)) => {
                journal.set(subject, ban, now).map(|()| true)
            }
            (Self::Lasting(journal), Change::Lift(subject, _)) => journal.lift(&subject),
            (Self::Fleeting(bans), Change::Set(subject, ban)) => {
                bans.set(subject, ban, now).map(|()| true).map_err(journal::Refused::Full)
            }
            (Self::Fleeting(bans), Change::Lift(subject, _)) => Ok(bans.lift(&subject)),
        }
    }

    fn broken(&self) -> Option<String> {
        match self {
            Self::Lasting(journal) => journal.broken().map(str::to_owned),
            Self::Fleeting(_) => None,
        }
    }

    fn forget_ended(&mut self, now: Time) {
        match self {
            Self::Lasting(journal) => _ = journal.forget_ended(now),
            Self::Fleeting(bans) => _ = bans.forget_ended(now),
        }
    }
}

/// The lists of a running gateway.
pub(crate) struct Keeper {
    /// Away while a change is being written.
    store: Mutex<Option<Store>>,
    lists: RefCell<Lists>,
    /// Gone when the process is.
    throttles: RefCell<Throttles>,
    tell: TellLists,
    workers: usize,
    /// Workers whose queue had no room for the lists in force.
    owed: RefCell<BTreeSet<usize>>,
    /// Lists that a worker may still hold: whoever lets go of one last frees it, and that is to be this thread.
    former: RefCell<Vec<Lists>>,
    /// Whether bans have changed since the workers were told.
    is_stale: Cell<bool>,
    /// Whether throttles have.
    are_throttles_stale: Cell<bool>,
    published: Cell<Time>,
    left_over: Notify,
    broken: RefCell<Option<String>>,
    lasting: bool,
    count: Cell<usize>,
    clock: Clock,
}

impl Keeper {
    /// Keeps what was opened, and tells it by `tell` to so many workers.
    pub(crate) fn new(opened: Opened, tell: TellLists, workers: usize, clock: Clock) -> Self {
        let Opened { store, lists, throttles_max, .. } = opened;
        Self {
            lasting: matches!(store, Store::Lasting(_)),
            count: Cell::new(store.bans().len()),
            broken: RefCell::new(store.broken()),
            store: Mutex::new(Some(store)),
            lists: RefCell::new(lists),
            throttles: RefCell::new(Throttles::new(throttles_max)),
            tell,
            workers,
            owed: RefCell::default(),
            former: RefCell::default(),
            is_stale: Cell::new(false),
            are_throttles_stale: Cell::new(false),
            published: Cell::new(Time::ZERO),
            left_over: Notify::new(),
            clock,
        }
    }

    /// Carries a change out, and says whether anything has changed. When this returns, it lasts, and every worker has been
    /// told or will be as soon as it has room. It is carried out even if nobody waits for it any more.
    ///
    /// # Errors
    /// [`journal::Refused`]; nothing has changed then.
    pub(crate) async fn change(self: Rc<Self>, change: Change) -> Result<bool, journal::Refused> {
        let (told, answer) = oneshot::channel();
        tokio_uring::spawn(async move {
            let result = self.carry_out(change).await;
            // Whoever has asked may be gone.
            _ = told.send(result);
        });
        answer.await.expect("the task ends by telling")
    }

    async fn carry_out(&self, change: Change) -> Result<bool, journal::Refused> {
        let now = self.clock.now();
        let mut place = self.store.lock().await;
        let mut store = place.take().expect("it is put back before the lock is given up");
        // Writing waits for the disk, and this thread has others to answer.
        let work = tokio::task::spawn_blocking(move || {
            let result = store.change(change, now);
            (store, result)
        });
        let (store, result) = work.await.expect("it does not panic, and the runtime stands");
        self.count.set(store.bans().len());
        *self.broken.borrow_mut() = store.broken();
        if let Ok(true) = result {
            self.changed(store.bans());
        }
        *place = Some(store);
        result
    }

    /// All bans in force, in the order of their subjects.
    pub(crate) async fn bans(&self) -> Vec<(Subject, Ban)> {
        let now = self.clock.now();
        let mut place = self.store.lock().await;
        let Some(store) = place.as_mut() else { return Vec::new() };
        store.forget_ended(now);
        self.count.set(store.bans().len());
        store.bans().iter().map(|(subject, ban)| (subject.clone(), ban.clone())).collect()
    }

    /// A block of addresses is slowed down, or is so no more; whether anything has changed. Every worker is told a moment
    /// later, once for all changes that come together.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed then.
    pub(crate) fn throttle(&self, block: Block, throttle: Throttle) -> Result<bool, NoRoom> {
        let has_changed = self.throttles.borrow_mut().set(block, throttle, self.clock.now())?;
        if has_changed {
            self.are_throttles_stale.set(true);
            self.left_over.notify_one();
        }
        Ok(has_changed)
    }

    /// How many blocks are slowed down, and how many were not, as there was no room.
    pub(crate) fn count_throttles(&self) -> (usize, u64) {
        let mut throttles = self.throttles.borrow_mut();
        throttles.forget_ended(self.clock.now());
        (throttles.len(), throttles.refused())
    }

    /// The first blocks that are slowed down, in their order.
    pub(crate) fn throttles(&self, most: usize) -> Vec<(Block, Throttle)> {
        self.throttles.borrow_mut().forget_ended(self.clock.now());
        let throttles = self.throttles.borrow();
        throttles.iter().take(most).map(|(block, throttle)| (*block, throttle.clone())).collect()
    }

    /// How many bans there are.
    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }

    /// Whether they outlast this process.
    pub(crate) const fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Why none can be set or lifted any more, if so.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.borrow().clone()
    }

    /// Does what could not be done at once, a moment later: lists change once for many changes that come together, workers
    /// that had no room are told again, and lists that nobody holds any more are freed.
    pub(crate) async fn tend(self: Rc<Self>) {
        loop {
            self.left_over.notified().await;
            // Nothing is waited for here: what comes within this time is to be told at once.
            tokio::time::sleep(PAUSE).await;
            if self.is_stale.get() {
                let place = self.store.lock().await;
                self.publish(place.as_ref().expect("it is put back before the lock is given up").bans());
            }
            if self.are_throttles_stale.get() {
                self.publish_throttles();
            }
            let owed = std::mem::take(&mut *self.owed.borrow_mut());
            self.tell(owed.into_iter());
            self.former.borrow_mut().retain(|former| Arc::strong_count(&former.edition) > 1);
            if !self.owed.borrow().is_empty() || !self.former.borrow().is_empty() {
                self.left_over.notify_one();
            }
        }
    }

    /// The bans have changed. The first change of many reaches the workers at once, and the others together.
    fn changed(&self, bans: &Bans) {
        self.is_stale.set(true);
        if self.clock.now() >= self.published.get() + PAUSE {
            self.publish(bans);
        }
        self.left_over.notify_one();
    }

    fn publish(&self, bans: &Bans) {
        let Lists { bans, automatic, users, .. } = lists_of(bans);
        self.put_in_force(|lists| {
            (lists.bans, lists.automatic) = (bans, automatic);
            (lists.users.bans, lists.users.automatic) = (users.bans, users.automatic);
        });
        self.is_stale.set(false);
        self.published.set(self.clock.now());
    }

    /// The operator's files say something else now.
    pub(super) fn replace_files(&self, files: Files) {
        self.put_in_force(|lists| put(files, lists));
        self.left_over.notify_one();
    }

    fn put_in_force(&self, change: impl FnOnce(&mut Lists)) {
        let mut lists = self.lists.borrow_mut();
        let former = lists.clone();
        change(&mut lists);
        lists.edition = Arc::default();
        drop(lists);
        self.former.borrow_mut().push(former);
        self.tell(0..self.workers);
    }

    fn publish_throttles(&self) {
        let slowed = Arc::new(self.throttles.borrow().slowed());
        self.put_in_force(|lists| lists.slowed = slowed);
        self.are_throttles_stale.set(false);
    }

    fn tell(&self, workers: impl Iterator<Item = usize>) {
        let lists = self.lists.borrow().clone();
        let mut owed = self.owed.borrow_mut();
        owed.extend(workers.filter(|worker| !(self.tell)(*worker, lists.clone())));
    }
}

/// The lists of what was set at run time.
fn lists_of(bans: &Bans) -> Lists {
    let users = Users {
        bans: Arc::new(bans.users(false)),
        automatic: Arc::new(bans.users(true)),
        ..Users::default()
    };
    let [bans, automatic] = [false, true].map(|automatic| Arc::new(bans.prefixes(automatic)));
    Lists { bans, automatic, users, ..Lists::default() }
}

/// Takes over what the operator's files say.
fn put(files: Files, lists: &mut Lists) {
    let Files { allow, deny, allow_users, deny_users } = files;
    (lists.allow, lists.deny) = (allow, deny);
    (lists.users.allow, lists.users.deny) = (allow_users, deny_users);
}

/// Made to see whether one can be made.
const TRIAL: &str = "bans.journal.trial";

/// So short a journal is not worth writing anew.
const COMPACT_MIN: u64 = 64 << 10;

/// Changes that come within this time reach the workers together.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Lock;

    use super::*;
    use crate::admission::lists::{NEVER, Prefixes, Standing};

    /// What each worker was told last; the second one has no room at first.
    struct Told {
        lists: [Option<Lists>; 2],
        has_room: bool,
        times: u32,
    }

    fn keeper(told: &Arc<Lock<Told>>) -> Rc<Keeper> {
        let (store, lists) = (Store::Fleeting(Bans::new(9)), Lists::default());
        let opened = Opened { store, lists, seen: Seen::default(), throttles_max: 2, warning: None };
        let told = Arc::clone(told);
        let tell = Box::new(move |worker: usize, lists| {
            let mut told = told.lock().unwrap();
            told.times += 1;
            let takes = worker == 0 || told.has_room;
            if takes {
                told.lists[worker] = Some(lists);
            }
            takes
        });
        Rc::new(Keeper::new(opened, tell, 2, Clock::start()))
    }

    fn ban(number: u8) -> Change {
        let ban = Ban {
            end: NEVER,
            until: None,
            since: UnixMillis(0),
            by: Author::Operator(0),
            reason: String::new(),
        };
        Change::Set(Subject::Addresses(format!("192.0.2.{number}").parse().unwrap()), ban)
    }

    fn denies(lists: Option<&Lists>, number: u8) -> bool {
        let address = format!("192.0.2.{number}").parse().unwrap();
        lists.is_some_and(|lists| matches!(lists.inside(address, Time::ZERO), Standing::Denied(_)))
    }

    /// Until it is so, or somebody is given up.
    async fn until(what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..600 {
            if is_so() {
                return;
            }
            tokio::time::sleep(PAUSE / 2).await;
        }
        panic!("never: {what}");
    }

    #[test]
    fn every_worker_learns_of_every_change_and_lists_nobody_holds_are_freed_here() {
        if let Err(blocked) = driver::probe() {
            eprintln!("NOT RUN: {}", blocked.cause);
            return;
        }
        let told = Arc::new(Lock::new(Told { lists: [None, None], has_room: false, times: 0 }));
        let keeper = keeper(&told);
        tokio_uring::start(async {
            tokio_uring::spawn(Rc::clone(&keeper).tend());
            for number in 1..=8 {
                assert!(keeper.clone().change(ban(number)).await.unwrap());
            }
            let knows = |worker: usize| denies(told.lock().unwrap().lists[worker].as_ref(), 8);
            until("the first worker knows all of it", || knows(0)).await;
            assert!(
                !knows(1) && told.lock().unwrap().times < 16,
                "those that come together are told together"
            );
            told.lock().unwrap().has_room = true;
            until("the second one does, too", || knows(1)).await;
            until("nothing is left over", || keeper.former.borrow().is_empty()).await;
            // A worker still holds the lists of before, so this thread does not let go of them.
            let held = told.lock().unwrap().lists[0].clone();
            assert!(keeper.clone().change(ban(9)).await.unwrap());
            until("both know", || {
                [0, 1].iter().all(|at| denies(told.lock().unwrap().lists[*at].as_ref(), 9))
            })
            .await;
            tokio::time::sleep(3 * PAUSE).await;
            assert_eq!(keeper.former.borrow().len(), 1);
            drop(held);
            until("nothing is left over", || keeper.former.borrow().is_empty()).await;
            assert_eq!((keeper.count(), keeper.bans().await.len()), (9, 9));
            // What the files say has changed, and no ban has.
            let block = "192.0.2.77".parse().unwrap();
            let deny = Arc::new(Prefixes::from_iter([(block, NEVER)]));
            keeper.replace_files(Files {
                allow: Arc::default(),
                deny,
                allow_users: None,
                deny_users: Arc::default(),
            });
            let knows = |worker: usize, number| denies(told.lock().unwrap().lists[worker].as_ref(), number);
            assert!([0, 1].iter().all(|&worker| knows(worker, 77) && knows(worker, 9)));
            until("the former ones are freed", || keeper.former.borrow().is_empty()).await;
        });
    }

    #[test]
    fn every_worker_learns_whom_it_is_to_slow_down_and_what_nobody_holds_is_freed_here() {
        if let Err(blocked) = driver::probe() {
            eprintln!("NOT RUN: {}", blocked.cause);
            return;
        }
        let told = Arc::new(Lock::new(Told { lists: [None, None], has_room: true, times: 0 }));
        let keeper = keeper(&told);
        let slow = |number: u8, percent, end| {
            let by = "chat".to_owned();
            let throttle = Throttle { percent, end, until: None, since: UnixMillis(0), by };
            keeper.throttle(format!("192.0.2.{number}").parse().unwrap(), throttle)
        };
        let knows = |number: u8, percent| {
            let has = |lists: &Option<Lists>| {
                let lists = lists.as_ref()?;
                Some(lists.slowed.percent([192, 0, 2, number].into(), keeper.clock.now()))
            };
            told.lock().unwrap().lists.iter().all(|lists| has(lists) == Some(percent))
        };
        tokio_uring::start(async {
            tokio_uring::spawn(Rc::clone(&keeper).tend());
            let soon = keeper.clock.now() + 3 * PAUSE;
            assert_eq!([slow(1, 10, NEVER), slow(2, 20, soon)], [Ok(true), Ok(true)]);
            assert_eq!([slow(1, 30, NEVER), slow(3, 30, NEVER)], [Ok(true), Err(NoRoom { max: 2 })]);
            until("both workers know", || knows(1, 30)).await;
            assert_eq!(told.lock().unwrap().times, 2, "what comes together is told together");
            until("one is over", || keeper.count_throttles() == (1, 1)).await;
            let held = told.lock().unwrap().lists[0].clone();
            // What is told of bans leaves throttles as they are.
            assert!(keeper.clone().change(ban(9)).await.unwrap());
            until("they know both", || denies(told.lock().unwrap().lists[1].as_ref(), 9) && knows(1, 30))
                .await;
            assert_eq!((slow(1, 100, NEVER), slow(1, 100, NEVER)), (Ok(true), Ok(false)));
            until("they know that, too", || knows(1, 100)).await;
            until("what is held alone is left", || keeper.former.borrow().len() == 1).await;
            drop(held);
            until("nothing is left over", || keeper.former.borrow().is_empty()).await;
            assert_eq!((keeper.throttles(9), keeper.count_throttles()), (Vec::new(), (0, 1)));
        });
    }
}
