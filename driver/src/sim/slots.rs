//! One worker's socket table, and the judge of how the worker uses it.

use super::Rng;
use super::links::EndId;
use crate::ops::{Armed, Batch, Completion, Mode, Op, Token};
use crate::pool::Pool;

/// A place in the table.
///
/// ```text
/// Free ──Connect──► Dialing ──Connected──► Open ──Close──► Closing ──(wait)──► Free, next generation
///   └───────────────accept──────────────────┘
/// ```
#[derive(Debug)]
pub(super) struct Slot {
    generation: u32,
    pub(super) tenant: Tenant,
    /// Armed with the kernel; over as soon as its completion is queued.
    pub(super) poll: bool,
    pub(super) receive: Option<(Pool, Mode)>,
    pub(super) send: Option<Batch>,
    /// Armed as far as the worker can know; over when it has taken the last completion. By [`index`].
    owed: [bool; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenant {
    Free,
    /// A connect is under way.
    Dialing {
        tag: u32,
        end: EndId,
    },
    Open(EndId),
    /// The close was submitted and has not reached the kernel.
    Closing(EndId),
}

#[derive(Debug)]
pub(super) struct Slots {
    worker: u32,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn new(worker: u32, count: u32) -> Slots {
        assert!(count < 1 << 24, "a slot has 24 bits");
        let empty = || Slot {
            generation: 1,
            tenant: Tenant::Free,
            poll: false,
            receive: None,
            send: None,
            owed: [false; 3],
        };
        let slots = std::iter::repeat_with(empty).take(count as usize).collect();
        Slots { worker, slots, free: (0..count).rev().collect() }
    }

    /// Gives a free slot a tenant: mostly the one freed last, so that what is late meets the next tenant soon.
    pub(super) fn open(&mut self, rng: &mut Rng, tenant: Tenant) -> Option<Token> {
        let slot = if rng.one_in(4) && !self.free.is_empty() {
            self.free.swap_remove(rng.below(self.free.len()))
        } else {
            self.free.pop()?
        };
        self.slots[slot as usize].tenant = tenant;
        Some(self.token(slot))
    }

    /// Ends the tenancy; the token is dead from now on.
    pub(super) fn release(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        entry.tenant = Tenant::Free;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
    }

    pub(super) fn token(&self, slot: u32) -> Token {
        Token { slot, generation: self.slots[slot as usize].generation }
    }

    pub(super) fn at(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Notes an operation, or panics because the worker may not ask for it.
    pub(super) fn submitted(&mut self, op: &Op) {
        match op {
            Op::Poll { token } => self.arm(*token, Armed::Poll),
            Op::Receive { token, .. } => self.arm(*token, Armed::Receive),
            Op::Send { token, batch } => {
                let empty = batch.rest().is_empty();
                assert!(!empty, "contract broken by worker {}: a send of nothing on {token:?}", self.worker);
                self.arm(*token, Armed::Send);
            }
            Op::Cancel { token, .. } => {
                self.live(*token, "a cancel");
            }
            Op::Close { token } => self.close(*token),
            Op::Park { .. } | Op::Unpark { .. } | Op::Connect { .. } | Op::Ring { .. } => {}
        }
    }

    fn arm(&mut self, token: Token, armed: Armed) {
        let worker = self.worker;
        let slot = self.live(token, "an operation");
        let twice = std::mem::replace(&mut slot.owed[index(armed)], true);
        assert!(
            !twice,
            "contract broken by worker {worker}: a second {armed:?} on {token:?} while one is in flight"
        );
    }

    fn close(&mut self, token: Token) {
        let worker = self.worker;
        let slot = self.live(token, "a close");
        for armed in [Armed::Poll, Armed::Receive, Armed::Send] {
            let owed = slot.owed[index(armed)];
            assert!(
                !owed,
                "contract broken by worker {worker}: a close of {token:?} while its {armed:?} is armed"
            );
        }
        let Tenant::Open(end) = slot.tenant else { unreachable!("only an open slot is live") };
        slot.tenant = Tenant::Closing(end);
    }

    /// Notes what the worker has taken note of.
    pub(super) fn taken(&mut self, completion: &Completion) {
        let over = match *completion {
            Completion::Readable { token } => (token, Armed::Poll),
            Completion::Received { token, more: false, .. } => (token, Armed::Receive),
            Completion::Ended { token, armed, .. } => (token, armed),
            Completion::Sent { token, .. } => (token, Armed::Send),
            _ => return,
        };
        let (token, armed) = over;
        self.slots[token.slot as usize].owed[index(armed)] = false;
    }

    fn live(&mut self, token: Token, what: &str) -> &mut Slot {
        let worker = self.worker;
        let slot = self.slots.get_mut(token.slot as usize);
        let slot = slot.filter(|slot| slot.generation == token.generation);
        match slot {
            Some(slot) if matches!(slot.tenant, Tenant::Open(_)) => slot,
            Some(Slot { tenant: Tenant::Closing(_), .. }) => {
                panic!("contract broken by worker {worker}: {what} on {token:?} after its close")
            }
            _ => panic!("contract broken by worker {worker}: {what} on the dead token {token:?}"),
        }
    }
}

impl Slot {
    /// Whether the worker has a poll or a receive in flight.
    pub(super) fn listens(&self) -> bool {
        self.owed[index(Armed::Poll)] || self.owed[index(Armed::Receive)]
    }

    /// Whether the worker has a send in flight.
    pub(super) fn sends(&self) -> bool {
        self.owed[index(Armed::Send)]
    }
}

fn index(armed: Armed) -> usize {
    match armed {
        Armed::Poll => 0,
        Armed::Receive => 1,
        Armed::Send => 2,
    }
}
