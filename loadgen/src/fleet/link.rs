//! One link of a fleet: what must be remembered between two turns, and no more.

use driver::Token;
use protocol::Time;
use protocol::buffer::Place;
use protocol::limits::{RECORD_LEN_MAX_UPLINK, TAG_LEN};
use protocol::link::ClientLink;

use super::ledger::Ledger;

/// ```text
/// Free ─► Connecting ─► Hailing ─► Greeting ─► Live ─► Leaving ─► Closing ─► Free (cycles, storms) or Gone
///             │            └───────────┴─────────┴─────────┘ any end      ▲
///             └── failed ─► Free or Gone          └──────────────────────┘
/// ```
#[derive(Debug)]
pub(crate) struct Link {
    /// From the hello until the link is closing.
    pub(crate) machine: Option<ClientLink>,
    /// When this life began: planned in an open loop of cycles, else when the connect was submitted.
    pub(crate) begun: Time,
    pub(crate) ledger: Ledger,
    pub(crate) token: Token,
    pub(crate) place: Place,
    /// Which life this is, from 1.
    pub(crate) life: u32,
    /// Packets that are to have been sent by now.
    pub(crate) planned: u32,
    /// Packets sent.
    pub(crate) packets: u32,
    /// How many of them had been sent when this leg was begun.
    pub(crate) before: u32,
    /// Messages of the warm-up, which come first.
    pub(crate) early: u32,
    /// Messages the gateway lets this link have in flight.
    pub(crate) grant: u32,
    /// Nonce of the last ping, and whether its pong is awaited.
    pub(crate) ping: u16,
    pub(crate) ping_open: bool,
    pub(crate) record_plain_max: u16,
    pub(crate) phase: Phase,
    pub(crate) reading: Reading,
    /// Frames other than requests that wait to be sent.
    pub(crate) owes: Owes,
    pub(crate) sending: bool,
    /// What is armed for reading is being cancelled.
    pub(crate) cancelling: bool,
    /// The send is being cancelled.
    pub(crate) unsending: bool,
    /// Waits in the list of links to be flushed.
    pub(crate) dirty: bool,
    /// Opened with a ticket.
    pub(crate) resumed: bool,
    /// Failed or was lost.
    pub(crate) spoiled: bool,
    /// A planned packet could not leave because answers or an earlier send are awaited.
    pub(crate) held: bool,
    /// Where it stands in a storm.
    pub(crate) absence: Absence,
}

/// Where a link stands that was cut and is to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Absence {
    /// It was cut, and is not back.
    pub(crate) out: bool,
    /// Attempts to come back that have failed.
    pub(crate) tries: u8,
    /// When the next one is to be made.
    pub(crate) next: Next,
}

/// When a client tries again. SPEC.md, section 8.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// After a random time.
    Backoff,
    /// The gateway asked for so many milliseconds; the random time is on top of them.
    After(u32),
    /// Without any wait.
    AtOnce,
    /// The gateway does not want to see it again.
    Never,
}

impl Absence {
    /// Not cut.
    pub(crate) const NONE: Self = Self { out: false, tries: 0, next: Next::Backoff };
}

const _: () =
    assert!(size_of::<Link>() <= 320, "a link costs the generator at most 400 bytes with its tables");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not opened, between two cycles, or waiting to come back.
    Free,
    Connecting,
    /// The hello is sent.
    Hailing,
    /// Has keys; the welcome is awaited.
    Greeting,
    Live,
    /// The close frame is on its way; the gateway's end is awaited.
    Leaving,
    /// What is armed is cancelled; then the socket is closed.
    Closing,
    /// The close is submitted.
    Closed,
    /// Over for good.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Nothing,
    Poll,
    Receive,
}

/// A set of frames to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owes(u8);

impl Owes {
    pub(crate) const AUTH: Self = Self(1);
    pub(crate) const PING: Self = Self(2);
    pub(crate) const CLOSE: Self = Self(4);
    pub(crate) const ACK: Self = Self(8);
    /// What became of the pushes.
    pub(crate) const QUESTION: Self = Self(16);

    pub(crate) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether it holds `other`, which it then no longer does.
    pub(crate) fn take(&mut self, other: Self) -> bool {
        let had = self.0 & other.0 != 0;
        self.0 &= !other.0;
        had
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Link {
    pub(crate) const fn new() -> Self {
        Self {
            machine: None,
            begun: Time::ZERO,
            ledger: Ledger::NEW,
            token: Token { slot: u32::MAX, generation: 0 },
            place: Place::NONE,
            life: 0,
            planned: 0,
            packets: 0,
            before: 0,
            early: 0,
            grant: Ledger::IN_FLIGHT_MAX,
            ping: 0,
            ping_open: false,
            record_plain_max: RECORD_PLAIN_MAX_DEFAULT,
            phase: Phase::Free,
            reading: Reading::Nothing,
            owes: Owes(0),
            sending: false,
            cancelling: false,
            unsending: false,
            dirty: false,
            resumed: false,
            spoiled: false,
            held: false,
            absence: Absence::NONE,
        }
    }

    /// Begins another life at `begun`.
    pub(crate) fn revive(&mut self, begun: Time) {
        let (life, dirty) = (self.life + 1, self.dirty);
        let absence = Absence { next: Next::Backoff, ..self.absence };
        *self = Self { life, dirty, begun, absence, phase: Phase::Connecting, ..Self::new() };
    }

    /// Whether the link is on its way to its welcome.
    pub(crate) const fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Hailing | Phase::Greeting)
    }

    /// Whether nothing of it is left in the driver.
    pub(crate) const fn is_absent(&self) -> bool {
        matches!(self.phase, Phase::Free | Phase::Gone)
    }
}

/// What a gateway is taken to accept until its welcome says more.
const RECORD_PLAIN_MAX_DEFAULT: u16 = (RECORD_LEN_MAX_UPLINK - TAG_LEN) as u16;
