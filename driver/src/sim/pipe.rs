//! One direction of a link: what waits to be carried, what has arrived, and how it ends.

use std::collections::VecDeque;

use crate::ops::Errno;

/// Sizes of a socket's buffers in bytes; each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// The most that a sender can leave with the kernel.
    pub send: usize,
    /// The most that waits for a reader before the sender is held up.
    pub receive: usize,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers { send: 16 << 10, receive: 16 << 10 }
    }
}

/// Where a direction's end of data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    /// The sender may send more.
    Open,
    /// It follows the last waiting byte.
    Sent,
    /// The reader sees it after the last arrived byte.
    Arrived,
}

#[derive(Debug)]
pub(super) struct Pipe {
    /// In the sender's buffer or on the wire.
    pub(super) waiting: VecDeque<u8>,
    /// In the reader's buffer.
    pub(super) arrived: VecDeque<u8>,
    pub(super) send_max: usize,
    pub(super) receive_max: usize,
    pub(super) fin: Fin,
    /// A reset is on its way to the reader, who will see this reason.
    pub(super) reset: Option<Errno>,
    /// Stands still before this step.
    pub(super) clogged_until: u64,
    /// Steps that what is written to an empty pipe takes at least.
    pub(super) distance: u64,
    /// Whether the pipe is in the net's list of pipes with something to do.
    pub(super) listed: bool,
}

impl Pipe {
    pub(super) fn new(sender: Buffers, reader: Buffers) -> Pipe {
        assert!(sender.send > 0 && reader.receive > 0, "a socket buffer holds at least one byte");
        Pipe {
            waiting: VecDeque::new(),
            arrived: VecDeque::new(),
            send_max: sender.send,
            receive_max: reader.receive,
            fin: Fin::Open,
            reset: None,
            clogged_until: 0,
            distance: 0,
            listed: false,
        }
    }

    /// Bytes a sender can leave here now.
    pub(super) fn send_room(&self) -> usize {
        self.send_max.saturating_sub(self.waiting.len())
    }

    /// Takes as much as there is room for and returns how much that was.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.send_room());
        self.waiting.extend(&bytes[..taken]);
        taken
    }

    /// Something sets out on the way, if nothing was under way before.
    pub(super) fn set_out(&mut self, step: u64) {
        if self.waiting.is_empty() {
            self.clogged_until = self.clogged_until.max(step + self.distance);
        }
    }

    /// Whether there is anything to carry.
    pub(super) fn has_work(&self) -> bool {
        self.reset.is_some() || !self.waiting.is_empty() || self.fin == Fin::Sent
    }

    /// Carries up to `most` bytes to the reader's buffer and returns how many.
    pub(super) fn carry(&mut self, most: usize) -> usize {
        let room = self.receive_max.saturating_sub(self.arrived.len());
        let moved = most.min(room).min(self.waiting.len());
        self.arrived.extend(self.waiting.drain(..moved));
        moved
    }

    /// Reads into the front of `into` and returns how much that was.
    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        let taken = into.len().min(self.arrived.len());
        for (to, byte) in into.iter_mut().zip(self.arrived.drain(..taken)) {
            *to = byte;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_holds_no_more_than_both_buffers() {
        let mut pipe = Pipe::new(Buffers { send: 4, receive: 99 }, Buffers { send: 99, receive: 3 });
        assert_eq!(pipe.push(b"abcdef"), 4);
        assert_eq!(pipe.carry(usize::MAX), 3);
        assert_eq!(pipe.push(b"ef"), 2);
        assert_eq!(pipe.carry(usize::MAX), 0);
        assert_eq!((pipe.waiting.len(), pipe.send_room()), (3, 1));
        let mut read = [0; 8];
        assert_eq!(pipe.read(&mut read), 3);
        assert_eq!(pipe.carry(2), 2);
        assert_eq!(pipe.carry(2), 1);
        assert_eq!(pipe.read(&mut read[3..]), 3);
        assert_eq!(&read, b"abcdef\0\0");
        assert!(!pipe.has_work());
    }
}
