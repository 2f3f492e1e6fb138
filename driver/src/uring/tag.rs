//! What travels through the kernel as `user_data` and comes back with each completion.
//!
//! ```text
//! 63        40 39                8 7     0
//! ┌───────────┬───────────────────┬───────┐
//! │ slot      │ generation        │ kind  │
//! └───────────┴───────────────────┴───────┘
//! ```
//!
//! For accepts and connects, which have no slot yet, the slot field holds an index into their own table.

use crate::ops::{Armed, Token};
use crate::pool::Pool;

/// Which operation a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A parked accept; slot = place in the table of parked accepts.
    Accept = 1,
    /// First step of a connect; slot = place in the table of dials, as in the next five.
    Socket,
    /// An option of a socket that is about to connect; only failures complete.
    Option,
    Connect,
    /// The time limit of a connect.
    ConnectTimeout,
    /// The way into a slot of a socket that was connected outside of the ring.
    Install,
    /// The close after a connect that failed.
    Abandon,
    Poll,
    ReceiveLinks,
    ReceiveStreams,
    Send,
    Close,
    /// A cancel by token; only failures complete.
    CancelPoll,
    CancelReceive,
    CancelSend,
    /// A cancel of a parked accept; only failures complete, and mean nothing.
    CancelAccept,
    /// A cancel by descriptor, whose outcome shows in the operations it hits.
    CancelAll,
    /// A message to another worker's ring; slot = worker; only failures complete.
    Ring,
    /// A message from another worker's ring.
    Doorbell,
    /// The control thread's eventfd was written to.
    Wake,
    /// The moment is over in which the kernel may find memory again.
    Pause,
}

impl Kind {
    const ALL: [Kind; 21] = [
        Kind::Accept,
        Kind::Socket,
        Kind::Option,
        Kind::Connect,
        Kind::ConnectTimeout,
        Kind::Install,
        Kind::Abandon,
        Kind::Poll,
        Kind::ReceiveLinks,
        Kind::ReceiveStreams,
        Kind::Send,
        Kind::Close,
        Kind::CancelPoll,
        Kind::CancelReceive,
        Kind::CancelSend,
        Kind::CancelAccept,
        Kind::CancelAll,
        Kind::Ring,
        Kind::Doorbell,
        Kind::Wake,
        Kind::Pause,
    ];

    pub(super) fn receive(pool: Pool) -> Kind {
        match pool {
            Pool::Links => Kind::ReceiveLinks,
            Pool::Streams => Kind::ReceiveStreams,
        }
    }

    pub(super) fn cancel(armed: Armed) -> Kind {
        match armed {
            Armed::Poll => Kind::CancelPoll,
            Armed::Receive => Kind::CancelReceive,
            Armed::Send => Kind::CancelSend,
        }
    }

    /// Whether the kernel owes exactly one last completion, and may use memory of ours until then.
    pub(super) fn is_owed(self) -> bool {
        !matches!(
            self,
            Kind::Option
                | Kind::CancelPoll
                | Kind::CancelReceive
                | Kind::CancelSend
                | Kind::CancelAccept
                | Kind::CancelAll
                | Kind::Ring
                | Kind::Doorbell
        )
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(byte).wrapping_sub(1)).copied()
    }
}

pub(super) fn pack(token: Token, kind: Kind) -> u64 {
    u64::from(token.slot) << 40 | u64::from(token.generation) << 8 | kind as u64
}

/// `None` for a kind no ring of ours ever sends: somebody else rang.
pub(super) fn unpack(user_data: u64) -> Option<(Token, Kind)> {
    let kind = Kind::from_byte(user_data as u8)?;
    let token = Token { slot: (user_data >> 40) as u32, generation: (user_data >> 8) as u32 };
    Some((token, kind))
}

/// For operations that have a place in a table of their own and no generation.
pub(super) fn pack_index(index: u32, kind: Kind) -> u64 {
    pack(Token { slot: index, generation: 0 }, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_the_extremes_survive_the_kernel() {
        for kind in Kind::ALL {
            for (slot, generation) in [(0, 0), (0xFF_FFFF, u32::MAX), (1, u32::MAX), (0xFF_FFFF, 1)] {
                let token = Token { slot, generation };
                assert_eq!(unpack(pack(token, kind)), Some((token, kind)));
            }
        }
    }

    #[test]
    fn foreign_messages_are_told_apart() {
        assert_eq!(unpack(0), None);
        assert_eq!(unpack(u64::MAX), None);
        assert_eq!(unpack(Kind::ALL.len() as u64 + 1), None);
    }
}
