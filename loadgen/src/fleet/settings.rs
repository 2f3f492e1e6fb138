//! What a fleet is told to be and to do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::Time;

use crate::opening::Opening;
use crate::tokens::Tokens;

/// What all links of a fleet share. A run gives each of its fleets another range of links and else the same.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How they are opened, and what they authenticate with.
    pub opening: Opening,
    /// Tokens of their own to authenticate with instead, if they are to have some.
    pub tokens: Option<Tokens>,
    /// The heartbeat interval the links ask for; zero lets the gateway choose.
    pub heartbeat: Duration,
    /// Where from; link n comes from address n modulo their number. None: the kernel's choice.
    pub sources: Vec<IpAddr>,
    /// Where to; link n goes to address n modulo their number.
    pub destinations: Vec<SocketAddr>,
    /// Index of the fleet's first link in the whole run: link `first` is user `u<first>`.
    pub first: u32,
    /// Number of links.
    pub links: u32,
    /// How many may be between connect and welcome at once.
    pub opening_max: u32,
    /// How long a link may take from connect to welcome.
    pub opening_deadline: Duration,
    /// What tells the messages of this run from those of every other one.
    pub run: u32,
    /// Where the phases of heartbeats and sends come from.
    pub seed: u64,
    /// Bytes of payload per message.
    pub size: usize,
    /// Messages per packet.
    pub batch: u32,
    /// What the links do.
    pub load: Load,
}

/// What the links of a fleet do while a leg is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing but heartbeats.
    Idle,
    /// Open loop: each link sends one packet per interval.
    Planned {
        /// Between two packets of one link.
        interval: Duration,
    },
    /// Closed loop: each link keeps this many packets in flight.
    Window {
        /// At least one.
        packets: u32,
    },
    /// Connect, one echo, close, again and again.
    Cycle {
        /// Open loop: one cycle per interval. Without it, closed loop: each place starts its next cycle when the one
        /// before is over.
        interval: Option<Duration>,
        /// Whether the tickets of welcomes are kept, one per place.
        tickets: bool,
    },
}

/// A stretch of running load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// When the load begins.
    pub start: Time,
    /// When measuring begins.
    pub from: Time,
    /// When measuring and load end.
    pub to: Time,
    /// Cycles this fleet starts at most, from the measured part on.
    pub cycles_max: u64,
    /// Whether cycles open their links with tickets.
    pub resume: bool,
}

/// What a fleet is told to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Open all links. Done when each is welcomed or has failed. Nothing to do where the load is cycles.
    Ramp,
    /// Put the load on. Done when no further cycle may start, or no link is left; else only by the next order.
    Run(Leg),
    /// Send nothing new. Done when nothing is awaited any more.
    Drain,
    /// Close all links. Done when none is left.
    Close,
}
