//! A core's worker: everything one thread holds, and its turn.
//!
//! ```text
//! wait → learn completions → bury → letters → look at links → bury → let time pass → bury → handshakes within budget → bury → flush
//! ```
//!
//! [`Worker`] is the thin shell over a [`Driver`]: completions come in as values, operations leave in a queue, and nothing
//! below knows a driver. What a worker holds are its parts, in the order of the way of a message:
//!
//! * `door` — who may come in, by address;
//! * `slots` — whose a socket is: a link's or a stream's; accepts;
//! * `links` — client links: hello, records, frames, end;
//! * `identity` — who a client is: token, ticket, verdict;
//! * `sessions` — sessions of links, claims of users;
//! * `requests` — admitted, parked or in flight, and their outcome;
//! * `streams` — streams to backends: dial, routes, health, records;
//! * `post` — letters between workers;
//! * `overload` — how much there is to do, and what is given up for it;
//! * `busiest` — which addresses and users that is of.
//!
//! Parts do not know each other. `turn` is what is lent to them, and `acceptors` where they read hellos; `flows` carry
//! values between them, a file for each thing that crosses parts. `parts` is all of them together, made from `settings`
//! and `surroundings`, and counted in a `census`; `vacancy` is what workers know of each other's places, `reports` what they tell
//! control beyond numbers, `throttled` whom it is told that backends have slowed down, and `learned` up to which moment all
//! completions are learned. Whatever is to end is marked, and gone for everybody at once; the marked are buried at fixed
//! places of the turn. So nothing on the way of a message leads back into itself.

mod acceptors;
mod busiest;
mod census;
mod door;
mod flows;
mod identity;
mod learned;
mod links;
mod overload;
mod parts;
mod post;
mod reports;
mod requests;
mod sessions;
pub mod settings;
mod slots;
mod streams;
mod surroundings;
mod throttled;
mod turn;
mod vacancy;

use std::io;
use std::time::Duration;

use driver::{Completion, Driver, Full};
use protocol::{Time, UnixMillis};

use self::learned::Learned;
use self::parts::Parts;
use self::slots::Tenant;

pub use self::busiest::{Listing, Measure};
pub use self::census::Census;
pub use self::post::{Letter, Mailbox, Post};
pub use self::reports::{Report, Reports};
pub use self::settings::Settings;
pub use self::surroundings::Surroundings;
pub use self::throttled::Throttled;
pub use self::turn::Random;
pub use self::vacancy::Vacancy;

/// A worker over a driver.
#[derive(Debug)]
pub struct Worker<D> {
    driver: D,
    parts: Parts,
    learned: Learned,
}

impl<D: Driver> Worker<D> {
    /// A worker at `now`; the first turn parks its accepts and dials its backends.
    #[must_use]
    pub fn new(driver: D, settings: Settings, surroundings: Surroundings, now: Time) -> Self {
        Self { driver, parts: Parts::new(settings, surroundings, now), learned: Learned::new(now) }
    }

    /// Waits until there is something to do.
    ///
    /// # Errors
    /// Only when the driver is broken.
    pub fn wait(&mut self) -> io::Result<()> {
        let most = self.parts.time_left();
        let least = u32::from(most != Some(Duration::ZERO));
        self.driver.wait(least, most)
    }

    /// Learns what happened, lets time pass and sends what is due. Whether the worker goes on: not after it was
    /// told to stop and everything is closed.
    pub fn turn(&mut self, now: Time, wall: UnixMillis) -> bool {
        let Self { driver, parts, learned } = self;
        parts.begin(now, wall);
        parts.look_at_load();
        learned.begin(now, driver.waiting());
        for _ in 0..parts.turn.settings.budgets.completions {
            let Some(done) = driver.next() else {
                learned.all(now);
                break;
            };
            learned.one();
            completed(driver, parts, done);
        }
        parts.bury();
        parts.read_letters();
        parts.look_at_links();
        parts.bury();
        // Nothing is overdue that is already here, in the driver or in a letter.
        parts.expire(learned.until());
        parts.bury();
        if parts.must_not_wait_for_newcomers() {
            flush(driver, parts);
            // What is broken is broken in the next wait too, which says so.
            let _broken = driver.wait(0, Some(Duration::ZERO));
        }
        parts.shake_hands();
        parts.bury();
        flush(driver, parts);
        parts.publish(driver.counters());
        !parts.is_stopped()
    }

    /// The turn that began last has ended at `now`: how long turns take is a part of the load.
    pub fn rests(&mut self, now: Time) {
        let time = now.since(self.parts.turn.now);
        self.parts.overload.took(time);
    }

    /// The driver, for the simulator's assertions.
    pub fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    /// What the worker holds, for the simulator's assertions.
    #[must_use]
    pub fn census(&self) -> Census {
        self.parts.census()
    }
}

/// Whatever is ready leaves.
fn flush<D: Driver>(driver: &mut D, parts: &mut Parts) {
    parts.flush();
    while let Some(op) = parts.turn.ops.pop_front() {
        if let Err(Full(op)) = driver.submit(op) {
            parts.turn.ops.push_front(op);
            break;
        }
    }
}

/// The one `match` over what a driver can tell, and the only place that asks whose a socket is.
fn completed<D: Driver>(driver: &mut D, parts: &mut Parts, done: Completion) {
    match done {
        Completion::Accepted { listener, token, peer } => parts.accepted(token, listener, peer),
        Completion::AcceptFailed { listener, errno } => {
            parts.slots.accept_failed(&mut parts.turn, listener, errno)
        }
        Completion::Connected { tag, result } => parts.connected(tag, result),
        // A stream's receive stays armed: it never polls.
        Completion::Readable { token } => parts.links.readable(&mut parts.turn, token),
        Completion::Received { token, chunk, more } => {
            let bytes = driver.bytes(&chunk);
            match parts.slots.tenant(token) {
                Tenant::Link => parts.link_received(token, bytes, more),
                Tenant::Stream(stream) => parts.stream_received(stream, bytes, more),
            }
            driver.recycle(chunk);
        }
        Completion::Ended { token, why, .. } => match parts.slots.tenant(token) {
            Tenant::Link => parts.links.ended(&mut parts.turn, token, why),
            Tenant::Stream(stream) => parts.streams.ended(&mut parts.turn, stream, why),
        },
        Completion::Sent { token, batch, result } => match parts.slots.tenant(token) {
            Tenant::Link => parts.links.sent(&mut parts.turn, token, batch, result),
            Tenant::Stream(stream) => parts.stream_sent(stream, batch, result),
        },
        Completion::Closed { token } => parts.closed(token),
        // Letters are read in every turn.
        Completion::Rung => {}
    }
}

#[cfg(test)]
mod tests;
