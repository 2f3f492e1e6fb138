//! Pushes that must be acknowledged, as one start of a backend keeps book of them.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Undelivered;
use protocol::wire::stream::{PushOutcome, Report};

use crate::ledger::Ledger;

/// Numbers of other pushes are smaller.
pub(crate) const FIRST: u64 = 1 << 40;

/// What one start of a backend has said and heard of such pushes.
#[derive(Default)]
pub(crate) struct Kept {
    /// Names this start.
    pub(crate) boot: [u8; 16],
    last: u64,
    /// By push, and of one to several users by user.
    owed: BTreeMap<(u64, Vec<u8>), Owed>,
    /// Reports so far, by the worker they came from and their number.
    reports: BTreeMap<(u32, u64), Said>,
}

/// Of which push, for which user of several, for which device, and why it was not delivered if it was not.
type Said = (u64, Vec<u8>, Vec<u8>, Option<Undelivered>);

struct Owed {
    /// On which stream it left.
    stream: u64,
    /// The devices that have reported.
    devices: BTreeSet<Vec<u8>>,
    /// How many do, once that is known.
    owing: Option<u32>,
    reports: u32,
}

impl Kept {
    /// Another start.
    pub(crate) fn restart(&mut self, boot: [u8; 16]) {
        *self = Self { boot, last: FIRST - 1, ..Self::default() };
    }

    /// The number of the next push.
    pub(crate) const fn next(&self) -> u64 {
        self.last + 1
    }

    /// It leaves on this stream.
    pub(crate) fn leaves(&mut self, stream: u64) {
        self.leaves_for(stream, &[b""]);
    }

    /// One to several users does.
    pub(crate) fn leaves_for(&mut self, stream: u64, users: &[&[u8]]) {
        self.last += 1;
        for user in users {
            let owed = Owed { stream, devices: BTreeSet::new(), owing: None, reports: 0 };
            self.owed.insert((self.last, user.to_vec()), owed);
        }
    }

    /// A report of a worker. One that comes again says the same; a new one is the next one of its worker.
    pub(crate) fn report(&mut self, worker: u32, report: &Report<'_>, ledger: &Ledger) {
        let reason = match report.outcome {
            PushOutcome::Delivered => None,
            PushOutcome::Undelivered => {
                Some(Undelivered::from_number(report.reason).expect("a known reason"))
            }
            PushOutcome::Unknown => panic!("a gateway knows what became of a push"),
        };
        let said = (report.number, report.user.to_vec(), report.device.to_vec(), reason);
        let place = (worker, report.report);
        if report.report == 0 {
            // It was not accepted, as there was no slot for its reports.
            assert_eq!(reason, Some(Undelivered::Busy));
            assert!(report.user.is_empty(), "none of its users is");
            let all = (report.number, Vec::new())..(report.number + 1, Vec::new());
            let mut count = 0;
            for (_, owed) in self.owed.range_mut(all) {
                let before = owed.owing.replace(0);
                assert_eq!((before, owed.reports), (None, 0), "what is not accepted has no other report");
                count += 1;
            }
            return assert!(count > 0, "only pushes of this start are reported");
        }
        if let Some(before) = self.reports.get(&place) {
            return assert_eq!(*before, said, "a report does not change");
        }
        assert_eq!(report.report, self.last_of(worker) + 1, "reports of a worker come in their order");
        self.reports.insert(place, said);
        let share = (report.number, report.user.to_vec());
        let owed = self.owed.get_mut(&share).expect("only pushes of this start are reported");
        assert!(*owed.owing.get_or_insert(report.devices) == report.devices && report.devices > 0);
        owed.reports += 1;
        assert!(owed.reports <= report.devices, "push {} has one report for each device", report.number);
        let is_new = owed.devices.insert(report.device.to_vec());
        assert!(
            is_new || report.device.is_empty(),
            "{:?} reports push {} once",
            report.device,
            report.number
        );
        if reason.is_none() {
            ledger.was_taken(owed.stream, report.number, report.device);
        }
    }

    /// The last report of a worker.
    pub(crate) fn last_of(&self, worker: u32) -> u64 {
        self.reports.range((worker, 0)..=(worker, u64::MAX)).next_back().map_or(0, |(&(_, report), _)| report)
    }

    /// Whether all pushes that left on this stream have all their reports.
    pub(crate) fn is_settled(&self, stream: u64) -> bool {
        let is_open = |owed: &Owed| owed.stream == stream && owed.owing != Some(owed.reports);
        !self.owed.values().any(is_open)
    }
}
