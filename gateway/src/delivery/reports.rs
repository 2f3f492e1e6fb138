//! What one backend has still to be told of its pushes, until it says that it knows.
//!
//! Each push that wants reports takes a slot when it is accepted, one to several users a slot for each of them, and has it until the
//! backend has acknowledged all of its reports: so there is always room for them. They outlive the connection they were first said on; whoever
//! comes after another start of the backend is told nothing of the pushes before.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use protocol::Undelivered;
use protocol::wire::stream::{PushOutcome, Report};

use crate::collections::Name;
use crate::collections::hash::{ByIdentity, mix};

/// What became of a push on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// `None` if it was delivered.
    pub undelivered: Option<Undelivered>,
    /// The device, where it is known.
    pub device: Name,
    /// What it is, by its number.
    pub class: u8,
    /// How many devices owe a report of the push; of one to several users, devices of this one.
    pub devices: u16,
    /// Which of its users the device is of, from 1; 0 where it does not name several.
    pub place: u16,
}

/// The reports of one stream's backend.
#[derive(Debug)]
pub struct Reports {
    slots: u32,
    taken: u32,
    /// Counts the starts of the backend.
    boot: u32,
    boot_id: Option<[u8; 16]>,
    /// Number of the last report.
    last: u64,
    open: HashMap<Share, Open, ByIdentity>,
    kept: VecDeque<Kept>,
}

/// A push, or its share for one of several users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    number: u64,
    /// 0 for the push itself.
    place: u16,
}

impl Hash for Share {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(mix(self.number ^ u64::from(self.place) << 48));
    }
}

/// What is known of that.
#[derive(Debug)]
enum Open {
    /// A push that has a slot: how many of its reports were acknowledged.
    Whole { known: u16 },
    /// A push to several users: how many of them have a slot.
    Parted { open: u16 },
    /// One of them, which has a slot.
    Part { known: u16, user: Name },
}

#[derive(Debug)]
struct Kept {
    report: u64,
    number: u64,
    fate: Fate,
}

/// Why a push is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// All slots are taken, or too many for all of its users.
    Full,
    /// Its number is that of another one.
    Known,
}

impl Reports {
    /// Nothing to tell, and never more than that of so many pushes at a time.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        let (open, kept) = (HashMap::default(), VecDeque::new());
        Self { slots, taken: 0, boot: 0, boot_id: None, last: 0, open, kept }
    }

    /// The backend is there. Whether it is another start of it than the one before: then all is forgotten.
    pub fn begin(&mut self, boot_id: Option<&[u8; 16]>) -> bool {
        if self.boot_id.is_some() && self.boot_id.as_ref() == boot_id {
            return false;
        }
        self.boot_id = boot_id.copied();
        self.boot = self.boot.wrapping_add(1);
        (self.last, self.taken) = (0, 0);
        self.open.clear();
        self.kept.clear();
        true
    }

    /// Which start of the backend is there.
    #[must_use]
    pub const fn boot(&self) -> u32 {
        self.boot
    }

    /// A push that wants reports takes a slot.
    ///
    /// # Errors
    /// [`NotAccepted`]; it has none then.
    pub fn accept(&mut self, number: u64) -> Result<(), NotAccepted> {
        self.take_slots(number, 1)?;
        self.open.insert(Share { number, place: 0 }, Open::Whole { known: 0 });
        Ok(())
    }

    /// A push to so many users that wants reports takes a slot for each of them.
    ///
    /// # Errors
    /// [`NotAccepted`]; it has none then.
    pub fn accept_for<'u>(
        &mut self,
        number: u64,
        open: u16,
        users: impl Iterator<Item = &'u [u8]>,
    ) -> Result<(), NotAccepted> {
        self.take_slots(number, open.into())?;
        self.open.insert(Share { number, place: 0 }, Open::Parted { open });
        for (place, user) in (1..=open).zip(users) {
            self.open.insert(Share { number, place }, Open::Part { known: 0, user: Name::new(user) });
        }
        Ok(())
    }

    fn take_slots(&mut self, number: u64, slots: u32) -> Result<(), NotAccepted> {
        if self.open.contains_key(&Share { number, place: 0 }) {
            return Err(NotAccepted::Known);
        }
        if slots > self.slots - self.taken {
            return Err(NotAccepted::Full);
        }
        self.taken += slots;
        Ok(())
    }

    /// What became of a push of this start of the backend: the report that is to be sent, if it wants one.
    pub fn add(&mut self, boot: u32, number: u64, fate: Fate) -> Option<Report<'_>> {
        let open = self.open.get(&Share { number, place: fate.place })?;
        if boot != self.boot {
            return None;
        }
        self.last += 1;
        self.kept.push_back(Kept { report: self.last, number, fate });
        self.kept.back().map(|kept| kept.report(open))
    }

    /// The backend knows all reports up to this one.
    pub fn acknowledge(&mut self, report: u64) {
        while let Some(kept) = self.kept.pop_front_if(|kept| kept.report <= report) {
            let share = kept.share();
            let Some(Open::Whole { known } | Open::Part { known, .. }) = self.open.get_mut(&share) else {
                continue;
            };
            *known += 1;
            if *known >= kept.fate.devices {
                self.open.remove(&share);
                self.taken -= 1;
                self.close(share);
            }
        }
    }

    /// A user's share is over, and the push itself with the last of them.
    fn close(&mut self, share: Share) {
        let whole = Share { place: 0, ..share };
        if let Some(Open::Parted { open }) = self.open.get_mut(&whole) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&whole);
            }
        }
    }

    /// All that it has not said it knows, in their order.
    pub fn unknown(&self) -> impl Iterator<Item = Report<'_>> {
        self.kept.iter().filter_map(|kept| Some(kept.report(self.open.get(&kept.share())?)))
    }

    /// How many slots are taken, and how many reports are kept.
    #[must_use]
    pub fn census(&self) -> (usize, usize) {
        (self.taken as usize, self.kept.len())
    }
}

impl Kept {
    const fn share(&self) -> Share {
        Share { number: self.number, place: self.fate.place }
    }

    fn report<'r>(&'r self, open: &'r Open) -> Report<'r> {
        let Fate { undelivered, device, class, devices, .. } = &self.fate;
        let user = if let Open::Part { user, .. } = open { user.bytes() } else { &[] };
        Report {
            number: self.number,
            outcome: undelivered.map_or(PushOutcome::Delivered, |_| PushOutcome::Undelivered),
            reason: undelivered.map_or(0, Undelivered::number),
            report: self.report,
            device: device.bytes(),
            class: (*class).into(),
            devices: (*devices).into(),
            user,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(device: &str, devices: u16) -> Fate {
        Fate { undelivered: None, device: Name::new(device.as_bytes()), class: 1, devices, place: 0 }
    }

    fn numbers(reports: &Reports) -> Vec<(u64, u64)> {
        reports.unknown().map(|report| (report.report, report.number)).collect()
    }

    #[test]
    fn a_push_has_its_slot_until_all_its_reports_are_known() {
        let mut reports = Reports::new(2);
        reports.begin(Some(&[1; 16]));
        let boot = reports.boot();
        assert_eq!(
            [7, 7, 8, 9].map(|number| reports.accept(number)),
            [Ok(()), Err(NotAccepted::Known), Ok(()), Err(NotAccepted::Full),]
        );
        let first = reports.add(boot, 7, fate("phone", 2)).expect("it is owed");
        assert_eq!((first.report, first.device, first.devices), (1, b"phone".as_slice(), 2));
        reports.acknowledge(1);
        assert_eq!(reports.accept(9), Err(NotAccepted::Full), "its other device has said nothing");
        reports.add(boot, 7, fate("tablet", 2)).expect("it is owed");
        reports.acknowledge(2);
        assert_eq!(reports.accept(9), Ok(()));
        assert_eq!(reports.add(boot, 7, fate("tablet", 2)), None, "nobody waits for it any more");
    }

    #[test]
    fn reports_outlive_a_connection_and_not_a_start_of_the_backend() {
        let mut reports = Reports::new(8);
        assert!(reports.begin(Some(&[1; 16])));
        let boot = reports.boot();
        for number in [5, 6] {
            reports.accept(number).expect("there is room");
            reports.add(boot, number, fate("phone", 1)).expect("it is owed");
        }
        reports.acknowledge(1);
        assert!(!reports.begin(Some(&[1; 16])), "it is the same one");
        assert_eq!(numbers(&reports), [(2, 6)]);
        assert!(reports.begin(Some(&[2; 16])));
        assert_eq!((numbers(&reports), reports.census()), (vec![], (0, 0)));
        reports.accept(6).expect("its numbers are its own");
        assert_eq!(reports.add(boot, 6, fate("phone", 1)), None, "that is of the former start's push");
        assert_eq!(reports.add(reports.boot(), 6, fate("phone", 1)).map(|report| report.report), Some(1));
        assert!(reports.begin(None) && reports.begin(None), "one that does not say is always another one");
    }

    #[test]
    fn a_push_to_several_users_has_a_slot_for_each_until_that_ones_reports_are_known() {
        let mut reports = Reports::new(3);
        reports.begin(Some(&[1; 16]));
        let boot = reports.boot();
        let of = |names: [&'static [u8]; 2]| names.into_iter();
        assert_eq!(reports.accept_for(7, 2, of([b"ann", b"bob"])), Ok(()));
        assert_eq!(reports.accept_for(7, 2, of([b"cid", b"dan"])), Err(NotAccepted::Known));
        assert_eq!(reports.accept_for(8, 2, of([b"cid", b"dan"])), Err(NotAccepted::Full), "one is left");
        assert_eq!((reports.accept(8), reports.accept(9)), (Ok(()), Err(NotAccepted::Full)));
        let of_user = |device, devices, place| Fate { place, ..fate(device, devices) };
        let said = [("phone", 2, 1), ("phone", 1, 2), ("tablet", 2, 1)].map(|(device, devices, place)| {
            let report = reports.add(boot, 7, of_user(device, devices, place)).expect("it is owed");
            (report.report, report.user.to_vec(), report.devices)
        });
        assert_eq!(said, [(1, b"ann".to_vec(), 2), (2, b"bob".to_vec(), 1), (3, b"ann".to_vec(), 2)]);
        reports.acknowledge(2);
        assert_eq!(reports.census(), (2, 1), "all of one user is known");
        assert_eq!(reports.unknown().map(|report| report.user.to_vec()).collect::<Vec<_>>(), [b"ann"]);
        assert_eq!(reports.add(boot, 7, of_user("phone", 1, 2)), None, "nobody waits for it any more");
        assert_eq!(reports.accept_for(7, 2, of([b"cid", b"dan"])), Err(NotAccepted::Known));
        reports.acknowledge(3);
        assert_eq!(reports.accept_for(7, 2, of([b"cid", b"dan"])), Ok(()), "all is known");
    }
}
