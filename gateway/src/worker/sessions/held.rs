//! Packages of the sessions of a worker: their parts are put in order before they are sent, or owed.

use protocol::{Time, Undelivered};

use super::Sessions;
use crate::delivery::Origin;
use crate::delivery::bodies::BodyKey;
use crate::delivery::packages::{Packed, Released, Spot};
use crate::delivery::parts::HeldPart;
use crate::delivery::tails::{Carried, Settled};
use crate::id::LinkId;
use crate::session::{Session, SessionKey};

impl Sessions {
    /// A part comes for a session that has, or had, this link. Whether it is in its turn; else its body is held.
    ///
    /// # Errors
    /// Why it is undelivered.
    pub(in crate::worker) fn place_part(
        &mut self,
        key: SessionKey,
        link: LinkId,
        spot: (&Spot, bool),
        part: HeldPart,
        now: Time,
    ) -> Result<bool, Undelivered> {
        let session = self.table.get_mut(key.into()).ok_or(Undelivered::NoLink)?;
        let place = session.owe();
        place.link = Some(link);
        let bytes = self.pushes.bodies().capacity(part.body);
        let is_in_turn = self.packages.place(&mut place.held, spot, (part, bytes), now)?;
        if !is_in_turn {
            self.pushes.bodies().hold(part.body);
        }
        self.schedule(key, true);
        Ok(is_in_turn)
    }

    /// A part that waits no more; called until `None`. Its body is let go with [`Sessions::let_go`].
    pub(in crate::worker) fn next_part(&mut self, key: SessionKey) -> Option<Released<HeldPart>> {
        let owed = self.table.get_mut(key.into())?.owed_mut()?;
        self.packages.next(&mut owed.held)
    }

    /// Packages whose time is over wait for nothing any more.
    pub(in crate::worker) fn expire_parts(&mut self, key: SessionKey, now: Time) {
        if let Some(owed) = self.table.get_mut(key.into()).and_then(Session::owed_mut) {
            self.packages.expire(&mut owed.held, now);
        }
    }

    /// A part of a session that is over, or of one that loses its link, if that is not kept; called until `None`.
    pub(in crate::worker) fn take_part(&mut self, key: SessionKey, is_kept: bool) -> Option<HeldPart> {
        let owed = self.table.get_mut(key.into())?.owed_mut()?;
        self.packages.take_out(&mut owed.held, is_kept)
    }

    /// What a push says.
    pub(in crate::worker) fn body(&mut self, body: BodyKey) -> &[u8] {
        self.pushes.bodies().get(body)
    }

    /// The body of a part that waits no more: its memory, if nobody else holds it.
    pub(in crate::worker) fn let_go(&mut self, body: BodyKey) -> Option<Vec<u8>> {
        self.pushes.bodies().release(body)
    }

    /// Where the parts come from that wait and are kept.
    pub(super) fn origins_of_parts(&self, key: SessionKey) -> impl Iterator<Item = Origin> {
        let owed = self.get(key).and_then(Session::owed);
        let parts = owed.into_iter().flat_map(|owed| self.packages.kept(&owed.held));
        parts.map(|part| part.owed.origin)
    }

    /// Takes out the packages of a session that goes on with another link.
    pub(super) fn pack_parts(
        &mut self,
        session: &mut Session,
        mut buffer: impl FnMut(usize) -> Vec<u8>,
    ) -> Vec<Packed<Carried>> {
        let Some(owed) = session.owed_mut() else { return Vec::new() };
        let bodies = self.pushes.bodies();
        self.packages.pack(&mut owed.held, |HeldPart { body, owed, expiry }| Carried {
            body: bodies.take_along(body, &mut buffer),
            owed: Some(owed),
            expiry,
        })
    }

    /// Puts in the packages of a session that has come. Parts that have no place come back, with memory that nobody needs.
    pub(super) fn unpack_parts(
        &mut self,
        key: SessionKey,
        packed: Vec<Packed<Carried>>,
    ) -> Vec<(Settled, Option<Vec<u8>>)> {
        let mut lost = Vec::new();
        let Some(owed) = self.table.get_mut(key.into()).map(Session::owe) else { return lost };
        let (bodies, mut unplaced) = (self.pushes.bodies(), Vec::new());
        let put = |carried: Carried| {
            // It was owed when it was packed, as it is now.
            let owed = carried.owed?;
            match bodies.insert(carried.body) {
                Ok(body) => {
                    bodies.hold(body);
                    Some(HeldPart { body, owed, expiry: carried.expiry })
                }
                Err(memory) => {
                    lost.push((owed, Some(memory)));
                    None
                }
            }
        };
        self.packages.unpack(&mut owed.held, packed, put, |part| unplaced.push(part));
        for part in unplaced {
            lost.push((part.owed, self.let_go(part.body)));
        }
        lost
    }

    /// How many parts wait, and the bytes of memory of their bodies.
    pub(in crate::worker) fn parts_census(&self) -> (usize, usize) {
        self.packages.census()
    }
}
