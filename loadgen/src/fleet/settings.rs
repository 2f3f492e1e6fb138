//! What a fleet is told to be and to do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::Time;

use crate::opening::Opening;
use crate::pushes::{Class, RunId};
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
    /// What they are pushed: then messages ask for pushes, and are no echoes.
    pub pushes: Option<Pushes>,
    /// Whether they keep their session and a ticket, to come back with after a storm: some 500 bytes each.
    pub keeps_sessions: bool,
}

/// Pushes that the links ask for.
#[derive(Clone, Debug)]
pub struct Pushes {
    /// Of 1000 messages of a link so many ask for them; the others are echoes.
    pub in_1000: u16,
    /// Names those of the quick links, and those of the slow ones.
    pub runs: [RunId; Kind::COUNT],
    /// Classes of what a link asks for, one request after the other; not empty.
    pub classes: Vec<Class>,
    /// Pushes of one request, from 1 on.
    pub count: u32,
    /// Bytes of payload of each.
    pub size: u32,
    /// Links that read slowly in every leg but the first, if any do.
    pub slow: Option<Slowness>,
}

/// Links that read slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowness {
    /// How many of all links of the run.
    pub links: u32,
    /// All links of the run.
    pub of: u32,
    /// Bytes per second; 0: they read nothing.
    pub speed: u32,
}

/// How a link reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whatever comes at once.
    Quick,
    /// Slowly, when it is time for that.
    Slow,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 2;
}

impl Pushes {
    /// The kinds there are.
    #[must_use]
    pub fn kinds(&self) -> &'static [Kind] {
        if self.slow.is_some() { &[Kind::Quick, Kind::Slow] } else { &[Kind::Quick] }
    }

    /// What kind a link is, by its place in the whole run: the slow ones are spread evenly.
    #[must_use]
    pub fn kind(&self, link: u32) -> Kind {
        let Some(Slowness { links, of, .. }) = self.slow else { return Kind::Quick };
        let slow_among = |first: u64| first * u64::from(links) / u64::from(of.max(1));
        let link = u64::from(link);
        if slow_among(link + 1) > slow_among(link) { Kind::Slow } else { Kind::Quick }
    }
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

/// How all links go, and come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// How they are cut.
    pub cut: Cut,
    /// When: what recovery counts from.
    pub at: Time,
    /// They come back by a full handshake and a token, without a word of their session.
    pub full: bool,
    /// How many of the fleet may be between connect and welcome at once.
    pub opening_max: u32,
}

/// How links are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Their sockets are closed without a word.
    Drop,
    /// A close frame says that their sessions are to be kept.
    Close,
    /// Not by this end: the gateway is gone.
    Await,
}

/// What a fleet is told to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Open all links. Done when each is welcomed or has failed. Nothing to do where the load is cycles.
    Ramp,
    /// Put the load on. Done when no further cycle may start, or no link is left; else only by the next order.
    Run(Leg),
    /// Send nothing new: all links are about to be cut, and one that ends from now on was. Done at once.
    Brace,
    /// Cut those links, and have them come back. Done when each is back, or has been told to stay away; those that are not
    /// by the next order have failed.
    Storm(Storm),
    /// Send nothing new. Done when nothing is awaited any more.
    Drain,
    /// Ask what became of the pushes. Done when nothing of them is open any more, or nobody is left to ask.
    Inquire,
    /// Close all links. Done when none is left.
    Close,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_links_are_as_many_as_asked_for_and_spread_over_the_run() {
        for (links, of) in [(1, 2), (3, 10), (10, 100), (99, 100)] {
            let slow = Some(Slowness { links, of, speed: 0 });
            let pushes = Pushes {
                in_1000: 1000,
                runs: [[0; 16]; 2],
                classes: vec![Class::AtMostOnce],
                count: 1,
                size: 40,
                slow,
            };
            let slow: Vec<u32> = (0..of).filter(|&link| pushes.kind(link) == Kind::Slow).collect();
            assert_eq!(slow.len(), links as usize);
            let in_first_half = slow.iter().filter(|&&link| link < of / 2).count() as u32;
            assert!(in_first_half.abs_diff(links / 2) <= 1, "{slow:?}");
        }
    }
}
