//! What a kernel and a network may do to a worker without breaking a promise.

use super::Rng;

/// How often something happens: once in so many occasions on average; 0 means never.
pub type Rate = u32;

/// Rates of faults. Each stands for itself, so that a run can have any mixture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A send takes only a part of what there would be room for.
    pub short_send: Rate,
    /// A completion is held back, past completions (and closes) of other sockets, never past one of its own direction.
    pub late: Rate,
    /// The longest a completion is held back, in steps of the net.
    pub late_steps_max: u32,
    /// A multishot receive or a poll ends without a reason.
    pub lapse: Rate,
    /// A receive finds no buffer although there are some.
    pub starved: Rate,
    /// A send takes nothing for a passing reason.
    pub again: Rate,
    /// A link breaks; drawn once per step.
    pub reset: Rate,
    /// An accept fails for want of memory, or because its connection died.
    pub accept_failed: Rate,
    /// A connection stays in the backlog for a while, past later ones.
    pub accept_late: Rate,
    /// A connect fails although somebody listens.
    pub connect_failed: Rate,
    /// The submission queue has no room until the next wait.
    pub full: Rate,
    /// The longest way of a link in one direction, in steps of the net; drawn for each link when it is dialled, and kept.
    pub distance_max: u32,
    /// One direction of a link stands still; drawn once per step.
    pub clog: Rate,
    /// The longest a direction stands still or a connection waits, in steps of the net.
    pub clog_steps_max: u32,
}

impl Faults {
    /// A network and a kernel that do nothing unexpected; bytes are still split and coalesced.
    #[must_use]
    pub fn none() -> Faults {
        Faults::default()
    }

    /// Everything at once, often.
    #[must_use]
    pub fn storm() -> Faults {
        Faults {
            short_send: 3,
            late: 4,
            late_steps_max: 20,
            lapse: 8,
            starved: 10,
            again: 10,
            reset: 200,
            accept_failed: 8,
            accept_late: 4,
            connect_failed: 6,
            full: 20,
            distance_max: 4,
            clog: 10,
            clog_steps_max: 40,
        }
    }

    /// A mixture of its own for each seed: half of the faults are absent, the others more or less frequent. Runs in
    /// which a fault is absent reach states that a steady storm keeps away.
    #[must_use]
    pub fn swarm(rng: &mut Rng) -> Faults {
        let mut rate = |most: usize| if rng.one_in(2) { 0 } else { 2 + rng.below(most) as u32 };
        Faults {
            short_send: rate(20),
            late: rate(20),
            late_steps_max: 1 + rate(50),
            lapse: rate(40),
            starved: rate(40),
            again: rate(40),
            reset: rate(1000),
            accept_failed: rate(40),
            accept_late: rate(20),
            connect_failed: rate(40),
            full: rate(100),
            distance_max: rate(15),
            clog: rate(60),
            clog_steps_max: 1 + rate(100),
        }
    }
}
