//! What workers tell each other, and what control tells them.

use std::fmt;
use std::sync::Arc;

use protocol::Undelivered;
use protocol::hidden::Hidden;
use tokio::sync::mpsc;

use crate::admission::lists::Lists;
use crate::collections::Identity;
use crate::config::Secret;
use crate::directory::claims::{Claim, Claimed};
use crate::directory::revocations::Revoked;
use crate::directory::throttles::Throttle;
use crate::id::LinkId;
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
    },
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

impl Letter {
    /// Bytes of memory it holds outside its place in the queue.
    pub(super) fn bytes(&self) -> usize {
        if let Self::Push(parcel) = self { parcel.frame.capacity() } else { 0 }
    }
}

/// A push on its way between workers.
pub struct Parcel {
    /// Who is to get it.
    pub to: Recipient,
    /// Where to report.
    pub sender: Sender,
    /// The push frame, encoded.
    pub frame: Vec<u8>,
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, sender, frame } = self;
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
}

/// The stream a push came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The stream's worker.
    pub worker: u32,
    /// The stream.
    pub stream: u16,
    /// Which connection of that stream; reports to an earlier one are dropped.
    pub epoch: u32,
    /// The backend's number of the push; 0 wants no report.
    pub number: u64,
}

const _: () = assert!(size_of::<Letter>() <= 120, "the memory ceiling counts 128 bytes, place included");
