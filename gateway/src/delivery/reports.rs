//! What one backend has still to be told of its pushes, until it says that it knows.
//!
//! Each push that wants reports takes a slot when it is accepted, and has it until the backend has acknowledged all of its
//! reports: so there is always room for them. They outlive the connection they were first said on; whoever comes after
//! another start of the backend is told nothing of the pushes before.

use std::collections::{HashMap, VecDeque};

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
    /// How many devices owe a report of the push.
    pub devices: u16,
}

/// The reports of one stream's backend.
#[derive(Debug)]
pub struct Reports {
    slots: u32,
    /// Counts the starts of the backend.
    boot: u32,
    boot_id: Option<[u8; 16]>,
    /// Number of the last report.
    last: u64,
    open: HashMap<u64, Open, ByIdentity>,
    kept: VecDeque<Kept>,
}

/// A push that has a slot.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// How many were acknowledged.
    known: u16,
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
    /// All slots are taken.
    Full,
    /// Its number is that of another one.
    Known,
}

impl Reports {
    /// Nothing to tell, and never more than that of so many pushes at a time.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        let (open, kept) = (HashMap::default(), VecDeque::new());
        Self { slots, boot: 0, boot_id: None, last: 0, open, kept }
    }

    /// The backend is there. Whether it is another start of it than the one before: then all is forgotten.
    pub fn begin(&mut self, boot_id: Option<&[u8; 16]>) -> bool {
        if self.boot_id.is_some() && self.boot_id.as_ref() == boot_id {
            return false;
        }
        self.boot_id = boot_id.copied();
        self.boot = self.boot.wrapping_add(1);
        self.last = 0;
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
        if self.open.contains_key(&mix(number)) {
            return Err(NotAccepted::Known);
        }
        if self.open.len() >= self.slots as usize {
            return Err(NotAccepted::Full);
        }
        self.open.insert(mix(number), Open { known: 0 });
        Ok(())
    }

    /// What became of a push of this start of the backend: the report that is to be sent, if it wants one.
    pub fn add(&mut self, boot: u32, number: u64, fate: Fate) -> Option<Report<'_>> {
        if boot != self.boot || !self.open.contains_key(&mix(number)) {
            return None;
        }
        self.last += 1;
        self.kept.push_back(Kept { report: self.last, number, fate });
        self.kept.back().map(Kept::report)
    }

    /// The backend knows all reports up to this one.
    pub fn acknowledge(&mut self, report: u64) {
        while let Some(kept) = self.kept.pop_front_if(|kept| kept.report <= report) {
            let name = mix(kept.number);
            if let Some(open) = self.open.get_mut(&name) {
                open.known += 1;
                if open.known >= kept.fate.devices {
                    self.open.remove(&name);
                }
            }
        }
    }

    /// All that it has not said it knows, in their order.
    pub fn unknown(&self) -> impl Iterator<Item = Report<'_>> {
        self.kept.iter().map(Kept::report)
    }

    /// How many pushes have a slot, and how many reports are kept.
    #[must_use]
    pub fn census(&self) -> (usize, usize) {
        (self.open.len(), self.kept.len())
    }
}

impl Kept {
    fn report(&self) -> Report<'_> {
        let Fate { undelivered, device, class, devices } = &self.fate;
        Report {
            number: self.number,
            outcome: undelivered.map_or(PushOutcome::Delivered, |_| PushOutcome::Undelivered),
            reason: undelivered.map_or(0, Undelivered::number),
            report: self.report,
            device: device.bytes(),
            class: (*class).into(),
            devices: (*devices).into(),
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(device: &str, devices: u16) -> Fate {
        Fate { undelivered: None, device: Name::new(device.as_bytes()), class: 1, devices }
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
}
