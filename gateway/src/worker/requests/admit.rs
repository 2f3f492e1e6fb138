//! Whether a request goes at once, waits for credit, or is refused.

use protocol::Refusal;

use super::Requests;
use super::way::Way;
use crate::session::Account;

/// What becomes of a request that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Admitted {
    /// It goes at once.
    Goes,
    /// It is parked.
    Waits,
}

impl Requests {
    /// Decides on a request. `account` is that of its session, `has_room` whether its stream could take it now.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] for one that takes more than its link is ever granted: it would wait for nothing.
    /// [`Refusal::InFlight`] when its link has its fill, [`Refusal::Busy`] when the stream or the worker has.
    pub(in crate::worker) fn admit(
        &self,
        way: Way,
        account: Account,
        has_room: bool,
    ) -> Result<Admitted, Refusal> {
        let Way { link, stream, cost, .. } = way;
        if cost > account.grant.bytes {
            return Err(Refusal::TooLarge);
        }
        self.pending.admit(link, stream)?;
        let waits = self.park.len_of(stream) > 0 || !has_room;
        // Beside others that wait, the grant is looked at now; else when the request is charged.
        let parked = self.park.len_of_link(link);
        if waits || parked > 0 {
            let bytes = cost.saturating_add(self.park.cost_of_link(link));
            let Account { grant, running } = account;
            let fits = parked + running.requests < grant.requests
                && bytes.saturating_add(running.bytes) <= grant.bytes;
            if !fits {
                return Err(Refusal::InFlight);
            }
        }
        Ok(if waits { Admitted::Waits } else { Admitted::Goes })
    }

    /// Whether a request that has waited may go now.
    ///
    /// # Errors
    /// As [`Requests::admit`].
    pub(in crate::worker) fn readmit(&self, way: Way) -> Result<(), Refusal> {
        self.pending.admit(way.link, way.stream)
    }
}
