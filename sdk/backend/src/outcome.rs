//! What becomes of a push that is to arrive at least once, out of what becomes of it at each device.

use protocol::wire::stream::{PushOutcome, Report};
use protocol::{DeviceClass, Undelivered};

/// What became of a push. Each has exactly one, which stands whatever is heard later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The application took it, on the devices that the [`Rule`] asks for.
    Delivered,
    /// It was not acknowledged, for this reason: that of the first device that was reported. Never that it was not received:
    /// store the message under the same id, and let the client tell what it has seen.
    Undelivered(Undelivered),
    /// Nobody knows: its stream broke before it had left, the gateway was not back in time or is another one by now, or it
    /// does not know itself.
    Unknown,
}

impl Outcome {
    /// That of a push to several users, out of that of each.
    pub(crate) fn of_all(each: &[Self]) -> Self {
        let undelivered = each.iter().find(|outcome| matches!(outcome, Self::Undelivered(_)));
        let all_delivered = each.iter().all(|outcome| *outcome == Self::Delivered);
        undelivered.copied().unwrap_or(if all_delivered { Self::Delivered } else { Self::Unknown })
    }
}

/// Which of a user's devices say what became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// Delivered when any device took it. Undelivered when none did, and of each it is known.
    Any,
    /// Delivered when every device took it. Undelivered when one did not.
    All,
    /// As [`Rule::Any`], over the devices of this class alone; over all of them where the user has none of it.
    Primary(DeviceClass),
}

/// The reports of one push.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    rule: Rule,
    owed: u32,
    heard: u32,
    all: Tally,
    /// Of the devices of the primary class.
    primary: Tally,
}

/// What became of a push at some devices.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    delivered: bool,
    unknown: bool,
    undelivered: Option<Undelivered>,
}

impl Fold {
    pub(crate) const fn new(rule: Rule) -> Self {
        let none = Tally { delivered: false, unknown: false, undelivered: None };
        Self { rule, owed: 1, heard: 0, all: none, primary: none }
    }

    /// One device more. The same report must not be taken twice.
    pub(crate) fn take(&mut self, report: &Report<'_>) {
        self.owed = self.owed.max(report.devices);
        self.heard = self.heard.saturating_add(1);
        self.all.take(report);
        if matches!(self.rule, Rule::Primary(class) if class == DeviceClass::of(report.class)) {
            self.primary.take(report);
        }
    }

    /// Whether nothing has been heard yet.
    pub(crate) const fn is_unheard(&self) -> bool {
        self.heard == 0
    }

    /// Whether everything has been heard that was owed.
    pub(crate) const fn is_complete(&self) -> bool {
        self.heard >= self.owed
    }

    /// What became of the push, as soon as no further report can change it.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let complete = self.is_complete();
        match self.rule {
            Rule::Any => self.all.any(complete),
            Rule::All => match self.all.undelivered {
                Some(reason) => Some(Outcome::Undelivered(reason)),
                None if self.all.unknown => complete.then_some(Outcome::Unknown),
                None => complete.then_some(Outcome::Delivered),
            },
            Rule::Primary(_) if self.primary.is_empty() => {
                if complete {
                    self.all.any(true)
                } else {
                    None
                }
            }
            Rule::Primary(_) => self.primary.any(complete),
        }
    }
}

impl Tally {
    fn take(&mut self, report: &Report<'_>) {
        match report.outcome {
            PushOutcome::Delivered => self.delivered = true,
            PushOutcome::Undelivered => {
                // A reason of a later version counts as this one (SPEC 13.3).
                let reason = Undelivered::from_number(report.reason).unwrap_or(Undelivered::NoLink);
                self.undelivered = self.undelivered.or(Some(reason));
            }
            PushOutcome::Unknown => self.unknown = true,
        }
    }

    const fn is_empty(&self) -> bool {
        !self.delivered && !self.unknown && self.undelivered.is_none()
    }

    fn any(&self, complete: bool) -> Option<Outcome> {
        match *self {
            Self { delivered: true, .. } => Some(Outcome::Delivered),
            Self { unknown: true, .. } => complete.then_some(Outcome::Unknown),
            Self { undelivered: Some(reason), .. } => complete.then_some(Outcome::Undelivered(reason)),
            Self { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: u32 = DeviceClass::Phone.number();
    const DESKTOP: u32 = DeviceClass::Desktop.number();
    const DONE: PushOutcome = PushOutcome::Delivered;
    const NOT: PushOutcome = PushOutcome::Undelivered;
    const LOST: PushOutcome = PushOutcome::Unknown;

    /// What is known after each report.
    fn folded(rule: Rule, reports: &[(PushOutcome, u32)]) -> Vec<Option<Outcome>> {
        let (mut fold, devices) = (Fold::new(rule), reports.len() as u32);
        let mut known = Vec::new();
        for &(outcome, class) in reports {
            let reason = if outcome == NOT { Undelivered::Expired.number() } else { 0 };
            fold.take(&Report { outcome, reason, class, devices, ..Report::default() });
            known.push(fold.outcome());
        }
        assert!(fold.is_complete());
        known
    }

    const DELIVERED: Option<Outcome> = Some(Outcome::Delivered);
    const EXPIRED: Option<Outcome> = Some(Outcome::Undelivered(Undelivered::Expired));
    const UNKNOWN: Option<Outcome> = Some(Outcome::Unknown);

    #[test]
    fn any_device_that_took_it_is_enough() {
        let any = |reports: &[(PushOutcome, u32)]| folded(Rule::Any, reports);
        assert_eq!(any(&[(NOT, 0), (DONE, 0), (LOST, 0)]), [None, DELIVERED, DELIVERED]);
        assert_eq!(any(&[(NOT, 0), (NOT, 0)]), [None, EXPIRED]);
        assert_eq!(any(&[(LOST, 0), (NOT, 0)]), [None, UNKNOWN], "the first one may have taken it");
    }

    #[test]
    fn all_devices_have_to_take_it() {
        let all = |reports: &[(PushOutcome, u32)]| folded(Rule::All, reports);
        assert_eq!(all(&[(DONE, 0), (DONE, 0)]), [None, DELIVERED]);
        assert_eq!(all(&[(DONE, 0), (NOT, 0), (LOST, 0)]), [None, EXPIRED, EXPIRED]);
        assert_eq!(all(&[(LOST, 0), (DONE, 0)]), [None, UNKNOWN]);
    }

    #[test]
    fn the_primary_class_decides_where_there_is_one() {
        let primary = |reports: &[(PushOutcome, u32)]| folded(Rule::Primary(DeviceClass::Phone), reports);
        assert_eq!(primary(&[(DONE, DESKTOP), (NOT, PHONE)]), [None, EXPIRED]);
        assert_eq!(primary(&[(NOT, DESKTOP), (DONE, PHONE), (NOT, 0)]), [None, DELIVERED, DELIVERED]);
        assert_eq!(primary(&[(NOT, PHONE), (DONE, PHONE)]), [None, DELIVERED], "any of them");
        assert_eq!(primary(&[(DONE, DESKTOP), (NOT, 0)]), [None, DELIVERED], "without one any device");
    }

    #[test]
    fn several_users_are_one_outcome_by_the_first_who_lacks_it() {
        let (done, lost) = (Outcome::Delivered, Outcome::Unknown);
        let [expired, full] = [Undelivered::Expired, Undelivered::QueueFull].map(Outcome::Undelivered);
        assert_eq!(Outcome::of_all(&[done, done]), done);
        assert_eq!(Outcome::of_all(&[done, lost]), lost);
        assert_eq!(Outcome::of_all(&[lost, done, expired, full]), expired);
    }

    #[test]
    fn a_report_that_says_nothing_of_devices_is_the_only_one() {
        let reason = Undelivered::NoUser.number();
        for devices in [0, 1] {
            let mut fold = Fold::new(Rule::All);
            assert!(fold.is_unheard() && fold.outcome().is_none());
            fold.take(&Report { outcome: NOT, reason, devices, ..Report::default() });
            assert_eq!(fold.outcome(), Some(Outcome::Undelivered(Undelivered::NoUser)));
        }
        let mut later = Fold::new(Rule::Any);
        later.take(&Report { outcome: NOT, reason: 99, ..Report::default() });
        assert_eq!(later.outcome(), Some(Outcome::Undelivered(Undelivered::NoLink)));
    }
}
