//! What workers tell each other, and what control tells them.

use std::fmt;
use std::sync::Arc;

use protocol::hidden::Hidden;
use protocol::wire::frame::{Outcome, RequestId};
use protocol::{Time, Undelivered, UnixMillis};
use tokio::sync::mpsc;

use crate::admission::lists::Lists;
use crate::collections::{Identity, Name};
use crate::config::Secret;
use crate::delivery::Origin;
use crate::delivery::packages::Spot;
use crate::delivery::reports::Fate;
use crate::delivery::tails::Settled;
use crate::directory::claims::{Claim, Claimed, HandOver};
use crate::directory::revocations::Revoked;
use crate::directory::throttles::Throttle;
use crate::id::LinkId;
use crate::session::{Kept, SessionId};
use crate::tokens::Verifier;
use crate::worker::busiest::Listing;
use crate::worker::settings::Farewell;
use crate::worker::throttled::Throttled;

/// What one worker tells another.
#[derive(Debug)]
pub enum Letter {
    /// To the user's owner: this link is the user's device now.
    Claim(Claim),
    /// From the owner to the link's worker: the claim stands.
    Claimed(Claimed),
    /// To the owner: the link is gone.
    Release(Claim),
    /// To the owner: the link is gone, and its session waits for the next one.
    Detached(Claim),
    /// From the owner to the worker that has a session: another link goes on with it.
    HandOver(HandOver),
    /// To the worker of that link: here it is.
    Session(Box<HandedOver>),
    /// To a link's worker: end it.
    End {
        /// The link.
        link: LinkId,
        /// What to tell it.
        farewell: Farewell,
    },
    /// To a user's owner: end all links of the user, or the one of a device, or those of the login that is revoked.
    EndUser {
        /// Hash of the user's id.
        user: Identity,
        /// Hash of the device's id.
        device: Option<Identity>,
        /// What to tell them.
        farewell: Farewell,
        /// Which of the user's logins are worth nothing any more.
        revoked: Option<Revoked>,
    },
    /// To a user's owner: so much of its rates holds from now on.
    ThrottleUser {
        /// Hash of the user's id.
        user: Identity,
        /// How much, until when, and by whom.
        throttle: Throttle,
    },
    /// To a link's worker: so much of its rates holds from now on.
    Throttle {
        /// The link.
        link: LinkId,
        /// Hundredths.
        percent: u8,
    },
    /// To a link's worker, or to a user's owner who passes it on: a push.
    Push(Parcel),
    /// To the worker whose stream a push came by: it was not delivered.
    Undelivered {
        /// Which push.
        sender: Sender,
        /// Why.
        reason: Undelivered,
        /// Which of its users this is about; empty where it does not name several.
        user: Name,
    },
    /// To the worker whose stream a push came by: what became of it on one device.
    Reported(Reported),
    /// To the worker of the link by which a session goes on: what became of a request of an earlier link.
    Resolved(Box<Resolved>),
    /// To a worker by whose streams pushes came that a session is owed: it has lost its link.
    Lost(Box<(Lost, Vec<Origin>)>),
    /// From control: these lists of addresses are in force.
    Lists(Lists),
    /// From control: tokens are verified by this from now on.
    Verifier(Arc<Verifier>),
    /// From control: say who keeps the worker busy.
    Busiest(mpsc::Sender<Listing>),
    /// From control: say whom backends have slowed down of the users the worker owns.
    Throttled(mpsc::Sender<Throttled>),
    /// From control: seal tickets with this key from now on.
    TicketKey(Secret),
    /// From control: close all links and streams, then stop.
    Stop,
}

/// A session on its way to the link that goes on with it.
#[derive(Debug)]
pub struct HandedOver {
    /// What the owner has answered to the link's claim.
    pub claimed: Claimed,
    /// The session; `None` if it was over.
    pub kept: Option<Kept>,
    /// Up to here its client has its pushes.
    pub last: u64,
}

/// What became of a request whose session has gone on elsewhere.
pub struct Resolved {
    /// The link by which it went on, as far as is known.
    pub link: LinkId,
    /// The client's name for the request.
    pub id: RequestId,
    /// What became of it.
    pub outcome: Outcome,
    /// More about that.
    pub code: u32,
    /// When the client may ask again.
    pub retry_after_ms: u32,
    /// What the backend said; `None` if there was no room for it.
    pub payload: Option<Box<[u8]>>,
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolved({:?}, {:?}, {})", self.link, self.outcome, self.code)
    }
}

impl Parcel {
    /// A push for one link, or one user.
    pub const fn new(to: Recipient, sender: Sender, body: Vec<u8>, kept: Option<ToKeep>) -> Self {
        // The bound of a stream's frames is below 2³².
        let body_len = body.len() as u32;
        Self { to, sender, frame: body, body_len, kept, part: None }
    }

    /// The same as a part of a package, if it is one.
    pub fn part_of(self, spot: Option<&Spot>) -> Self {
        Self { part: spot.map(|spot| Box::new(*spot)), ..self }
    }

    /// What it says, and the list behind it.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.frame.split_at(self.frame.len().min(self.body_len as usize))
    }
}

impl Letter {
    /// Bytes of memory it holds outside its place in the queue.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Push(parcel) => parcel.frame.capacity(),
            Self::Session(handed) => {
                handed.kept.as_ref().map_or(0, |kept| kept.owed.bytes() + kept.requests.bytes())
            }
            Self::Resolved(resolved) => resolved.payload.as_ref().map_or(0, |payload| payload.len()),
            _ => 0,
        }
    }
}

/// A session that has lost its link, as backends are told.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// The link.
    pub link: LinkId,
    /// The session.
    pub session: SessionId,
    /// How long it waits for another one.
    pub until: UnixMillis,
    /// That of the link.
    pub link_epoch: u64,
}

/// A push on its way between workers.
pub struct Parcel {
    /// Who is to get it.
    pub to: Recipient,
    /// Where to report.
    pub sender: Sender,
    /// What the push says, without its place in a session; behind that the list of whom it is for, where these are several.
    pub frame: Vec<u8>,
    /// Bytes of what it says.
    pub body_len: u32,
    /// How it is kept until it is acknowledged, if it is.
    pub kept: Option<ToKeep>,
    /// Which part of a package it is, if it is one.
    pub part: Option<Box<Spot>>,
}

/// How a push is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToKeep {
    /// When it counts as undelivered.
    pub expiry: Time,
    /// How many devices owe a report.
    pub devices: u16,
    /// Which of its users it is for, from 1; 0 where it does not name several.
    pub place: u16,
}

impl ToKeep {
    /// To whom what becomes of the push is owed. Of one that is kept the sender names the start of its backend instead of the connection.
    pub const fn owed(&self, sender: Sender) -> Settled {
        let Sender { worker, stream, epoch: boot, number } = sender;
        Settled { origin: Origin { worker, stream, boot, number }, devices: self.devices, place: self.place }
    }
}

/// What has become of a push on one device, on its way to the worker by whose stream it came.
#[derive(Debug)]
pub struct Reported {
    /// The stream, and the push.
    pub origin: Origin,
    /// What became of it.
    pub fate: Fate,
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, sender, frame, .. } = self;
        write!(f, "Parcel({to:?}, {sender:?}, {:?})", Hidden(frame))
    }
}

/// Who is to get a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// One link.
    Link(LinkId),
    /// All links of a user, or the one of a device.
    User {
        /// Hash of the user's id.
        user: Identity,
        /// Hash of the device's id.
        device: Option<Identity>,
    },
    /// All links of these users, who are of one owner.
    Users,
    /// These links, which are of one worker.
    Links,
}

/// The stream a push came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The stream's worker.
    pub worker: u16,
    /// The stream.
    pub stream: u16,
    /// Which connection of that stream; reports to an earlier one are dropped.
    pub epoch: u32,
    /// The backend's number of the push; 0 wants no report.
    pub number: u64,
}

const _: () = assert!(size_of::<Letter>() <= 120, "the memory ceiling counts 128 bytes, place included");
