//! A client's bytes in: chunk → records → frames, lent one by one.

use driver::{End, Token};
use protocol::Error;
use protocol::buffer::Input;
use protocol::limits::LINGER_BYTES_MAX;
use protocol::link::ServerLink;
use protocol::wire::frame::Frame;

use super::Links;
use super::cause::Cause;
use super::link::{Ending, Reading};
use crate::admission::rates::Refused;
use crate::worker::acceptors::Acceptors;
use crate::worker::turn::Turn;

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Heard {
    /// A part of a balancer's header, perhaps: the link is to be [introduced](Links::introduce).
    Header,
    /// A part of a hello.
    Hello,
    /// A part of message 3, and perhaps more behind it: the link is to be [heard out](Links::hear_last).
    Last,
    /// Records: the link is to be [read](Links::open).
    Records,
    /// Of no interest: the link is on its way out.
    Nothing,
}

impl Links {
    /// Bytes arrived on a link's socket; `more` says whether its receive is still armed.
    pub(in crate::worker) fn received(
        &mut self,
        turn: &mut Turn,
        token: Token,
        len: usize,
        more: bool,
    ) -> Heard {
        let Some(link) = self.table.get(token) else { return Heard::Nothing };
        link.note_chunk(turn.now, turn.demote_after());
        if !more {
            link.reading = Reading::Idle;
        }
        turn.counters.bytes_in.add(len as u64);
        match link.ending {
            Ending::No if link.machine.is_open() => {
                Self::charge_bytes(turn, link, len);
                return Heard::Records;
            }
            Ending::No if link.machine.is_begun() => return Heard::Last,
            Ending::No if link.introduction.is_awaited() => return Heard::Header,
            Ending::No => return Heard::Hello,
            Ending::Lingering => self.discard(turn, token, len),
            Ending::Marked | Ending::Draining | Ending::Closing => {}
        }
        self.arm(turn, token);
        Heard::Nothing
    }

    /// Input of a link that has said its last frame.
    fn discard(&mut self, turn: &mut Turn, token: Token, len: usize) {
        let Some(link) = self.table.get(token) else { return };
        link.discarded = link.discarded.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        if link.discarded as usize > LINGER_BYTES_MAX {
            self.drain(turn, token);
        }
    }

    /// Begins to read a chunk, which is empty when only held frames are to be read. What is left of it is to be
    /// [kept](Links::keep).
    pub(in crate::worker) fn open<'c>(&mut self, token: Token, bytes: &'c mut [u8]) -> Option<Input<'c>> {
        let link = self.table.living(token)?;
        match self.rests.take(link) {
            Ok(rest) => Some(Input::new(bytes, rest)),
            Err(error) => {
                self.mark(token, Cause::Fault(error));
                None
            }
        }
    }

    /// The next frame of the input, and whether it is refused since it is one too many; `None` when the input is used up, or when
    /// the link has ended of what it said so far.
    pub(in crate::worker) fn next_frame<'i>(
        &mut self,
        turn: &mut Turn,
        token: Token,
        input: &'i mut Input<'_>,
    ) -> Option<(Frame<'i>, Option<Refused>)> {
        // Looked up anew for each frame: the one before may have ended the link.
        let link = self.table.living(token)?;
        match link.machine.receive(input, &turn.settings.rules, turn.now) {
            Ok(frame) => {
                let frame = frame?;
                turn.counters.frames_in.add(1);
                turn.is_busy |= link.machine.is_live();
                if matches!(frame, Frame::Request(_)) {
                    turn.heard_message();
                }
                let refused = Self::charge_frame(turn, link, &frame);
                Some((frame, refused))
            }
            Err(error) => {
                self.mark(token, Cause::Fault(error));
                None
            }
        }
    }

    /// Keeps what a chunk has left over, and waits for the next one.
    pub(in crate::worker) fn keep(
        &mut self,
        turn: &mut Turn,
        token: Token,
        input: Input<'_>,
        acceptors: &Acceptors,
    ) {
        let rest = input.into_rest();
        match self.table.living(token) {
            Some(link) => {
                if let Err(error) = self.rests.keep(link, rest) {
                    self.mark(token, Cause::Fault(error));
                }
            }
            None => self.rests.spare(rest),
        }
        self.mark_evicted(turn, acceptors);
        self.police(turn, token);
        self.arm(turn, token);
    }

    /// Links whose partial record or frame was thrown out.
    pub(super) fn mark_evicted(&mut self, turn: &mut Turn, acceptors: &Acceptors) {
        while let Some(slot) = self.rests.take_evicted() {
            let Some(token) = self.table.token_at(slot) else { continue };
            if self.machine(token).is_some_and(ServerLink::is_hailed) {
                turn.counters.errors.of(Error::PartialEvicted).add(1);
                self.turn_away(turn, token, acceptors);
            } else {
                self.mark(token, Cause::Fault(Error::PartialEvicted));
            }
        }
    }

    /// There is something to read on an idle link.
    pub(in crate::worker) fn readable(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.get(token) else { return };
        link.reading = Reading::Idle;
        if link.ending.is_leaving() {
            self.finish_draining(turn, token)
        } else {
            self.receive_once(turn, token)
        }
    }

    /// A poll or receive is over without data.
    pub(in crate::worker) fn ended(&mut self, turn: &mut Turn, token: Token, why: End) {
        let Some(link) = self.table.get(token) else { return };
        link.reading = Reading::Idle;
        match (why, link.ending) {
            (_, Ending::Draining | Ending::Closing) => self.finish_draining(turn, token),
            (End::Eof | End::Broken(_), _) => self.lost(turn, token),
            (End::Starved, _) => {
                link.reading = Reading::Starved;
                self.starved.push(token);
            }
            (End::Cancelled | End::Lapsed, _) => self.arm(turn, token),
        }
    }
}
