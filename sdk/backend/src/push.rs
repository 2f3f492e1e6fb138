//! Messages for clients: whom for, what becomes of them, and the handle of who waits for that.

use std::collections::HashSet;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use protocol::hidden::Hidden;
use protocol::limits::{ID_LEN_MAX, PACKAGE_ID_LEN_MAX, PUSH_ID_LEN_MAX, ROOM_LEN_MAX, USERS_MAX};
use protocol::wire::stream::{self, StreamPush, Users};
use tokio::sync::oneshot;

use crate::outcome::{Outcome, Rule};

/// Whom a push or kick is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// One link.
    Link(u64),
    /// All links of a user, 1 to 64 bytes.
    User(Bytes),
    /// One device of a user, each 1 to 64 bytes.
    Device(Bytes, Bytes),
    /// Everybody in a room, 1 to 64 bytes.
    Room(Bytes),
    /// All links of each of these users: 1 to 256 users who differ, each of 1 to 64 bytes. One frame serves them all, and what
    /// becomes of it at one of them changes nothing for the others.
    Users(Vec<Bytes>),
}

/// A message for clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// Whom it is for.
    pub target: Target,
    /// Handed to the client, at most 16 bytes.
    pub id: Bytes,
    /// The message.
    pub payload: Bytes,
    /// Names the push in a report, on this stream: below 2⁴⁸; 0 wants no report. A push with a number that was taken and had not
    /// left this process when the stream ended is reported as unknown, just before [`Event::Closed`](crate::Event::Closed).
    /// 0 for a push that is [delivered](crate::Gateway::deliver): those are numbered here.
    pub number: u64,
    /// How long a push that is [delivered](crate::Gateway::deliver) is worth delivering, in milliseconds up to 49 days; zero: as
    /// the gateway is configured. No other push looks at it.
    pub ttl: Duration,
    /// Which part of a package it is, if it is one: parts are delivered to each session in the order of their index, whatever order and
    /// streams they come in.
    pub package: Option<Package>,
}

/// A part's place in a package. All parts name the same target and are delivered in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Names the package, 1 to 16 bytes; no other one for its target at the time.
    pub id: Bytes,
    /// Of this part, from 0; below `count`.
    pub index: u32,
    /// How many parts there are.
    pub count: u32,
    /// What becomes of the others when one has not come in the time that the gateway's operator allows.
    pub on_gap: OnGap,
}

/// What becomes of the parts of a package behind one that is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnGap {
    /// They are delivered, the first with how many are missing before it.
    #[default]
    Deliver = 0,
    /// They are undelivered.
    Drop = 1,
}

/// The message is its users' own, and stays out of logs.
impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("target", &self.target)
            .field("id", &self.id)
            .field("payload", &Hidden(&self.payload))
            .field("number", &self.number)
            .field("ttl", &self.ttl)
            .field("package", &self.package)
            .finish()
    }
}

/// Why a push was not taken. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// The stream is over.
    Closed,
    /// Too many pushes wait for credit, or for a place among those whose outcome the gateway owes.
    Full,
    /// The payload is longer than the gateway takes.
    TooLarge,
    /// The target or id is longer than allowed, or empty where it must not be; or the number is one that it must not be.
    Invalid,
    /// The gateway delivers no pushes at least once, to this backend.
    NotServed,
}

impl Push {
    /// A message for a target, without id and report.
    #[must_use]
    pub fn new(target: Target, payload: impl Into<Bytes>) -> Self {
        Self {
            target,
            id: Bytes::new(),
            payload: payload.into(),
            number: 0,
            ttl: Duration::ZERO,
            package: None,
        }
    }

    pub(crate) fn frame(&self) -> StreamPush<'_> {
        let mut frame =
            StreamPush { number: self.number, id: &self.id, payload: &self.payload, ..StreamPush::default() };
        frame.package = self.package.as_ref().map(|package| stream::Package {
            id: &package.id,
            index: package.index,
            count: package.count,
            on_gap: package.on_gap as u32,
        });
        match &self.target {
            Target::Link(link) => frame.link = *link,
            Target::User(user) => frame.user = user,
            Target::Device(user, device) => (frame.user, frame.device) = (user, device),
            Target::Room(room) => frame.room = room,
            Target::Users(users) => frame.users = Users::of(users),
        }
        frame
    }
}

impl Push {
    /// The users it is for, if these are several.
    pub(crate) fn users(&self) -> &[Bytes] {
        if let Target::Users(users) = &self.target { users } else { &[] }
    }

    /// Whether its target and id are such as a gateway takes.
    pub(crate) fn is_valid(&self) -> bool {
        let is_part = |package: &Package| {
            (1..=PACKAGE_ID_LEN_MAX).contains(&package.id.len()) && package.index < package.count
        };
        self.target.is_valid()
            && self.id.len() <= PUSH_ID_LEN_MAX
            && self.package.as_ref().is_none_or(is_part)
    }
}

impl Target {
    /// Whether a gateway takes it.
    pub(crate) fn is_valid(&self) -> bool {
        let id = |bytes: &Bytes| (1..=ID_LEN_MAX).contains(&bytes.len());
        match self {
            Self::Link(link) => *link != 0,
            Self::User(user) => id(user),
            Self::Device(user, device) => id(user) && id(device),
            Self::Room(room) => (1..=ROOM_LEN_MAX).contains(&room.len()),
            Self::Users(users) => {
                let mut seen = HashSet::new();
                let is_new = |user| id(user) && seen.insert(user);
                (1..=USERS_MAX).contains(&users.len()) && users.iter().all(is_new)
            }
        }
    }

    /// Whether it is one that links can be closed by.
    pub(crate) const fn is_kicked(&self) -> bool {
        matches!(self, Self::Link(_) | Self::User(_) | Self::Device(..))
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the stream to the gateway is over",
            Self::Full => "too many pushes wait for the gateway",
            Self::TooLarge => "the payload is longer than the gateway takes",
            Self::Invalid => "the target, id or number is not allowed",
            Self::NotServed => "the gateway delivers nothing at least once",
        })
    }
}

impl std::error::Error for PushError {}

/// The first number of pushes that are delivered at least once. Those below are the application's.
pub(crate) const DELIVERED_FROM: u64 = 1 << 48;

/// A push that is to be delivered at least once, on its way to its stream. One that is dropped is unknown.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) push: Push,
    pub(crate) number: u64,
    pub(crate) rule: Rule,
    /// Of several users one each, in their order; else one.
    pub(crate) waiters: Vec<oneshot::Sender<Outcome>>,
}

impl Parcel {
    /// A push and who waits for what becomes of it.
    pub(crate) fn new(push: Push, number: u64, rule: Rule) -> (Self, Delivery) {
        let users = push.users().to_vec();
        let (waiters, outcomes) = (0..users.len().max(1)).map(|_| oneshot::channel()).unzip();
        let outcomes = Vec::into_iter(outcomes).map(Fate::Open).collect();
        (Self { push, number, rule, waiters }, Delivery { number, users, outcomes })
    }

    /// How many slots of the gateway it takes.
    pub(crate) const fn slots(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn frame(&self) -> StreamPush<'_> {
        let millis = self.push.ttl.as_micros().div_ceil(1000);
        let ttl_ms = u32::try_from(millis).unwrap_or(u32::MAX);
        StreamPush { number: self.number, class: AT_LEAST_ONCE, ttl_ms, ..self.push.frame() }
    }

    /// Says what became of it.
    pub(crate) fn settle(self, outcome: Outcome) {
        for waiter in self.waiters {
            // Nobody may wait any more.
            _ = waiter.send(outcome);
        }
    }
}

/// Class of the pushes that are delivered at least once (SPEC 8.6).
const AT_LEAST_ONCE: u32 = 1;

/// What becomes of a push that is [delivered](crate::Gateway::deliver): a future that comes to its one [`Outcome`]. Dropping it
/// changes nothing for the push.
///
/// A push to [several users](Target::Users) has an outcome for each of them, by the rule over that user's devices:
/// [`Delivery::of_users`]. Together they are one when the last of them is known: *delivered* if it was at every user, *undelivered* with the reason of the first user of the
/// list at whom it was not, and else *unknown*.
#[derive(Debug)]
#[must_use = "nobody else hears what became of the push"]
pub struct Delivery {
    number: u64,
    /// Of a push to several.
    users: Vec<Bytes>,
    /// Of each of them, or of the push.
    outcomes: Vec<Fate>,
}

#[derive(Debug)]
enum Fate {
    Open(oneshot::Receiver<Outcome>),
    Known(Outcome),
}

impl Fate {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        if let Self::Open(receiver) = self {
            match Pin::new(receiver).poll(context) {
                Poll::Ready(outcome) => *self = Self::Known(outcome.unwrap_or(Outcome::Unknown)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Self::Known(outcome) = *self { Poll::Ready(outcome) } else { Poll::Pending }
    }
}

impl Delivery {
    /// Names the push within this start of the backend, at all gateways: by it
    /// [`Event::LinkDetached`](crate::Event::LinkDetached) tells of pushes that are not acknowledged yet.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// What became of a push to several users at each of them, in the order of the list, when the last of these is known. Empty for a push to
    /// any other target.
    pub async fn of_users(mut self) -> Vec<(Bytes, Outcome)> {
        let outcomes = poll_fn(|context| self.poll_all(context)).await;
        std::mem::take(&mut self.users).into_iter().zip(outcomes).collect()
    }

    fn poll_all(&mut self, context: &mut Context<'_>) -> Poll<Vec<Outcome>> {
        let polled: Vec<_> = self.outcomes.iter_mut().map(|fate| fate.poll(context)).collect();
        let known =
            polled.into_iter().map(|fate| if let Poll::Ready(known) = fate { Some(known) } else { None });
        known.collect::<Option<_>>().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Future for Delivery {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        self.poll_all(context).map(|outcomes| Outcome::of_all(&outcomes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_said_in_whole_milliseconds_and_never_as_none() {
        let ttl_ms = |ttl| {
            let push = Push { ttl, ..Push::new(Target::Link(1), "") };
            Parcel::new(push, DELIVERED_FROM, Rule::Any).0.frame().ttl_ms
        };
        let times = [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(1500), Duration::MAX];
        assert_eq!(times.map(ttl_ms), [0, 1, 1500, u32::MAX]);
    }

    #[tokio::test]
    async fn a_push_that_nobody_cares_for_any_more_is_unknown() {
        let (parcel, delivery) = Parcel::new(Push::new(Target::Link(1), ""), 7, Rule::Any);
        drop(parcel);
        assert_eq!((delivery.number(), delivery.await), (7, Outcome::Unknown));
    }
}
