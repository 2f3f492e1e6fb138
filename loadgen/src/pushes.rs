//! What is said on the routes `push` and `outcomes` of the reference service, as docs/PUSHES.md has it.

use std::collections::BTreeMap;

/// Names the pushes of a run; all its links share it.
pub type RunId = [u8; 16];

/// Bytes of a request for pushes.
pub const ASK_LEN: usize = 41;
/// Bytes of the shortest push.
pub const PUSH_LEN_MIN: usize = 40;
/// Bytes of the longest one.
pub const PUSH_LEN_MAX: usize = 60_000;
/// Pushes of one request at most.
pub const COUNT_MAX: u32 = 4096;
/// Bytes of all of them at most.
pub const BYTES_MAX: usize = 4 << 20;

/// Status of `outcomes`: the service knows no such run.
pub const NO_RUN: u32 = 1;

/// How a push is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// At most once: 0.
    AtMostOnce,
    /// At least once: 1.
    AtLeastOnce,
}

/// A request for pushes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) run: RunId,
    pub(crate) class: Class,
    /// Number of the first one; the others count on from it.
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// Bytes of payload of each.
    pub(crate) size: u32,
    /// Comes back in each.
    pub(crate) stamp: u64,
}

impl Ask {
    /// Replaces `out` by the payload of the request.
    pub(crate) fn fill(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.run);
        out.push(self.class as u8);
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.stamp.to_be_bytes());
    }
}

/// What a push says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) run: RunId,
    pub(crate) number: u64,
    pub(crate) stamp: u64,
}

impl Pushed {
    /// `None` unless it is whole and of this size.
    pub(crate) fn parse(payload: &[u8], size: u32) -> Option<Self> {
        let (run, rest) = payload.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (stamp, rest) = rest.split_first_chunk()?;
        let (_moment, filling) = rest.split_first_chunk::<8>()?;
        let (number, stamp) = (u64::from_be_bytes(*number), u64::from_be_bytes(*stamp));
        let is_whole = payload.len() == size as usize && filling.iter().all(|&byte| byte == number as u8);
        is_whole.then_some(Self { run: *run, number, stamp })
    }
}

/// What became of the pushes of a run, as the service says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Handed to the gateway, of each class.
    pub sent: [u64; 2],
    /// Of class 1: taken by the application.
    pub delivered: u64,
    /// Of class 1: nobody knows.
    pub unknown: u64,
    /// Of class 1: not known yet.
    pub open: u64,
    /// Of class 1: not acknowledged, by the number of the reason.
    pub undelivered: BTreeMap<u32, u64>,
}

impl Outcomes {
    /// `None` for anything that is not one, or does not add up.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let mut rest = payload;
        let mut counters = [0; 5];
        for counter in &mut counters {
            *counter = take(&mut rest).map(u64::from_be_bytes)?;
        }
        let mut undelivered = BTreeMap::new();
        while !rest.is_empty() {
            let reason = take(&mut rest).map(u32::from_be_bytes)?;
            undelivered.insert(reason, take(&mut rest).map(u64::from_be_bytes)?);
        }
        let [at_most_once, at_least_once, delivered, unknown, open] = counters;
        let sum = undelivered.values().try_fold(0_u64, |sum, &count| sum.checked_add(count))?;
        let settled = delivered.checked_add(unknown)?.checked_add(open)?.checked_add(sum)?;
        (settled == at_least_once).then_some(Self {
            sent: [at_most_once, at_least_once],
            delivered,
            unknown,
            open,
            undelivered,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_fields_in_the_order_of_the_document() {
        let class = Class::AtLeastOnce;
        let mut out = vec![1, 2, 3];
        Ask { run: [7; 16], class, first: 258, count: 3, size: 100, stamp: 9 }.fill(&mut out);
        let expected =
            [&[7; 16][..], &[1], &258_u64.to_be_bytes(), &[0, 0, 0, 3], &[0, 0, 0, 100], &[0; 7], &[9]];
        assert_eq!((out.len(), out), (ASK_LEN, expected.concat()));
    }

    #[test]
    fn a_push_is_whole_or_none() {
        let head = [&[7; 16][..], &258_u64.to_be_bytes(), &9_u64.to_be_bytes(), &[5; 8]].concat();
        assert_eq!(head.len(), PUSH_LEN_MIN);
        let whole = [&head[..], &[2; 10]].concat();
        let pushed = Pushed { run: [7; 16], number: 258, stamp: 9 };
        assert_eq!(Pushed::parse(&whole, 50), Some(pushed));
        assert_eq!(Pushed::parse(&head, 40), Some(pushed));
        for wrong in [&whole[..49], &[&head[..], &[2; 9], &[3]].concat(), &head[..39], &[]] {
            assert_eq!(Pushed::parse(wrong, 50), None, "{wrong:?}");
        }
    }

    #[test]
    fn outcomes_add_up_or_are_none() {
        let told =
            |counters: [u64; 5], rest: &[u8]| [&counters.map(u64::to_be_bytes).concat()[..], rest].concat();
        let reason = [&3_u32.to_be_bytes()[..], &4_u64.to_be_bytes()].concat();
        let outcomes = Outcomes::parse(&told([9, 10, 3, 2, 1], &reason)).unwrap();
        assert_eq!((outcomes.sent, outcomes.delivered, outcomes.unknown, outcomes.open), ([9, 10], 3, 2, 1));
        assert_eq!(outcomes.undelivered, BTreeMap::from([(3, 4)]));
        assert_eq!(Outcomes::parse(&told([0; 5], &[])), Some(Outcomes::default()));
        for wrong in [
            told([9, 11, 3, 2, 1], &reason),
            told([0; 5], &[0]),
            told([0, u64::MAX, u64::MAX, 1, 0], &[]),
            vec![],
        ] {
            assert_eq!(Outcomes::parse(&wrong), None, "{wrong:?}");
        }
    }
}
