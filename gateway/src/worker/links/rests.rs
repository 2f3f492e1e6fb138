//! What links have left over between two chunks: those of strangers apart from those of users, so that nobody who has
//! proved nothing can push out what a user is sending.

use protocol::Error;
use protocol::buffer::{Partials, Place, Rest};

use super::link::Link;
use crate::worker::settings::Settings;

/// The rests of all links.
#[derive(Debug)]
pub(super) struct Rests {
    /// Of links that were welcomed.
    users: Partials,
    /// Of links that were not.
    strangers: Partials,
}

impl Rests {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            users: Partials::new(settings.partial_bytes_max),
            strangers: Partials::new(settings.stranger_bytes_max),
        }
    }

    /// Takes what a link left, so that its next chunk can be read. Its place stays its own.
    ///
    /// # Errors
    /// [`Error::PartialEvicted`] when it was thrown out.
    pub(super) fn take(&mut self, link: &Link) -> Result<Rest, Error> {
        self.of(link).take(link.place)
    }

    /// Keeps what a link has left over.
    ///
    /// # Errors
    /// [`Error::PartialEvicted`] when there is no room even without all others.
    pub(super) fn keep(&mut self, link: &mut Link, rest: Rest) -> Result<(), Error> {
        link.place = self.of(link).keep(link.place, link.token.slot, rest)?;
        Ok(())
    }

    /// Nothing is kept for a link any more.
    pub(super) fn release(&mut self, link: &mut Link) {
        let place = std::mem::replace(&mut link.place, Place::NONE);
        self.of(link).release(place);
    }

    /// Lets a link in with `welcome`: what it has sent so far is kept with the users' from then on.
    ///
    /// # Errors
    /// As [`Rests::take`] and [`Rests::keep`].
    pub(super) fn welcome(&mut self, link: &mut Link, welcome: impl FnOnce(&mut Link)) -> Result<(), Error> {
        let rest = self.take(link);
        self.release(link);
        welcome(link);
        self.keep(link, rest?)
    }

    /// Gives the buffers of a rest that is not needed any more back for the next chunk.
    pub(super) fn spare(&mut self, rest: Rest) {
        self.users.spare(rest);
    }

    /// The slot of a link whose rest was thrown out.
    pub(super) fn take_evicted(&mut self) -> Option<u32> {
        self.users.take_evicted().or_else(|| self.strangers.take_evicted())
    }

    /// Bytes of the buffers that hold what users and what strangers have left over.
    pub(super) fn bytes(&self) -> (usize, usize) {
        (self.users.bytes(), self.strangers.bytes())
    }

    fn of(&mut self, link: &Link) -> &mut Partials {
        if link.machine.is_live() { &mut self.users } else { &mut self.strangers }
    }
}
