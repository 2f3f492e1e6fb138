//! Message 3 of the handshakes that have one: gathered at once, and its curve work waits for the budget like that of a hello.

use driver::Token;
use protocol::Error;
use protocol::buffer::Input;
use protocol::link::ServerLink;

use super::Links;
use super::cause::Cause;
use crate::admission::share::LAST_MESSAGE_COST;
use crate::counters::guard::Guard;
use crate::worker::acceptors::Acceptors;
use crate::worker::turn::Turn;

impl Links {
    /// Bytes of a link whose message 3 is awaited. What comes behind it rests until there are keys.
    pub(in crate::worker) fn hear_last(
        &mut self,
        turn: &mut Turn,
        token: Token,
        bytes: &mut [u8],
        acceptors: &Acceptors,
    ) {
        let Some(link) = self.table.living(token) else { return };
        let heard = self.rests.take(link).and_then(|rest| {
            let mut input = Input::new(bytes, rest);
            let heard = link.machine.hear_last(&mut input);
            self.rests.keep(link, input.into_rest())?;
            heard
        });
        match heard {
            Ok(true) => self.wait_for_the_end(turn, token),
            Ok(false) => self.receive_once(turn, token),
            Err(error) => self.reject(turn, token, error, Vec::new()),
        }
        self.mark_evicted(turn, acceptors);
    }

    fn wait_for_the_end(&mut self, turn: &mut Turn, token: Token) {
        if !self.wait_in_line(turn, token, LAST_MESSAGE_COST) {
            self.count_refused(turn, token, Guard::Waiting);
            self.mark(token, Cause::Silent);
        }
    }

    /// Whether a link waits for the curve work of its message 3.
    pub(in crate::worker) fn is_heard_out(&self, token: Token) -> bool {
        self.machine(token).is_some_and(ServerLink::is_heard_out)
    }

    /// Does that work; whether the link has keys now, so that what came behind message 3 is to be read.
    pub(in crate::worker) fn finish_handshake(&mut self, turn: &mut Turn, token: Token) -> bool {
        if let Err(error) = self.finish(token) {
            self.reject(turn, token, error, Vec::new());
            return false;
        }
        turn.counters.handshakes.add(1);
        self.note_greeted(turn, token);
        true
    }

    fn finish(&mut self, token: Token) -> Result<(), Error> {
        let link = self.table.living(token).ok_or(Error::Early)?;
        let unfinished = self.begun.take(token).ok_or(Error::Early)?;
        let mut rest = self.rests.take(link)?;
        link.machine.finish(unfinished, &mut rest)?;
        self.rests.keep(link, rest)
    }

    /// Keeps the number of handshakes that wait for message 3 within its bound; the oldest ends, in silence.
    pub(super) fn make_room_for_begun(&mut self, turn: &mut Turn) {
        while let Some(oldest) = self.begun.surplus(turn.settings.xx_handshakes_max) {
            drop(self.begun.take(oldest));
            turn.counters.xx_handshakes_evicted.add(1);
            self.count_refused(turn, oldest, Guard::XxHandshakes);
            self.mark(oldest, Cause::Silent);
        }
    }
}
