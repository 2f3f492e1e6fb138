//! From the kernel's completions to what the worker is told.

use io_uring::cqueue;

use super::ring::Event;
use super::slots::flag;
use super::tag::{Kind, unpack};
use super::{Owed, Uring};
use crate::ops::{Armed, Completion, End, Errno, Sent, Token};
use crate::pool::{Chunk, Pool};

impl Uring {
    /// `None` when the completion concerns nobody but the driver.
    pub(super) fn complete(&mut self, event: Event) -> Option<Completion> {
        let Some((token, kind)) = unpack(event.user_data) else {
            self.counters.stale += 1;
            return None;
        };
        if kind.is_owed() && !cqueue::more(event.flags) {
            self.in_flight -= 1;
        }
        match kind {
            Kind::Accept => self.accepted(token.slot, event.result),
            Kind::Socket => self.socket_made(token.slot, event.result),
            Kind::Connect => self.connected(token.slot, event.result),
            Kind::Install => self.installed(token.slot, event.result),
            Kind::Abandon => Some(self.abandoned(token.slot)),
            Kind::Poll => self.polled(token, event.result),
            Kind::ReceiveLinks => self.received(token, Pool::Links, event),
            Kind::ReceiveStreams => self.received(token, Pool::Streams, event),
            Kind::Send => self.sent(token, event.result),
            Kind::Close => self.closed(token),
            Kind::CancelPoll => self.cancel_failed(token, Armed::Poll),
            Kind::CancelReceive => self.cancel_failed(token, Armed::Receive),
            Kind::CancelSend => self.cancel_failed(token, Armed::Send),
            Kind::Ring => self.ring_failed(token.slot, event.result),
            Kind::Doorbell => Some(Completion::Rung),
            Kind::Wake => {
                self.owed.push_back(Owed::Wake);
                (event.result > 0).then_some(Completion::Rung)
            }
            Kind::Pause => {
                self.relieve();
                self.ready.pop_front()
            }
            Kind::Option | Kind::ConnectTimeout | Kind::CancelAll | Kind::CancelAccept => None,
        }
    }

    fn accepted(&mut self, place: u32, result: i32) -> Option<Completion> {
        // SAFETY: this is the accept's only completion, so the kernel is done with the park.
        let park = unsafe { self.lent.parks.read(place) };
        self.lent.parks.free(place);
        let listener = park.listener;
        self.parked[usize::from(listener.0)].retain(|&parked| parked != place);
        if result < 0 {
            return Some(Completion::AcceptFailed { listener, errno: Errno(-result) });
        }
        self.vacate(result as u32);
        let token = self.lent.slots.open(result as u32);
        self.in_order(Completion::Accepted { listener, token, peer: park.peer.peer() })
    }

    fn socket_made(&mut self, place: u32, result: i32) -> Option<Completion> {
        // SAFETY: this is the operation's only completion, and it knew no address of the dial.
        let dial = unsafe { self.lent.dials.get_mut(place) };
        if result < 0 {
            let completion = Completion::Connected { tag: dial.tag, result: Err(Errno(-result)) };
            self.lent.dials.free(place);
            return Some(completion);
        }
        dial.slot = result as u32;
        self.owed.push_back(Owed::Dial { place });
        self.vacate(result as u32);
        self.ready.pop_front()
    }

    fn connected(&mut self, place: u32, result: i32) -> Option<Completion> {
        // SAFETY: the connect is over; its options and time limit were read when it was submitted.
        let dial = unsafe { self.lent.dials.get_mut(place) };
        if result < 0 {
            // Only the linked time limit cancels a connect.
            let timed_out = -result == libc::ECANCELED && dial.limit.is_some();
            dial.errno = if timed_out { libc::ETIMEDOUT } else { -result };
            self.owed.push_back(Owed::Abandon { place });
            return None;
        }
        let (tag, slot) = (dial.tag, dial.slot);
        self.lent.dials.free(place);
        let token = self.lent.slots.open(slot);
        Some(Completion::Connected { tag, result: Ok(token) })
    }

    fn installed(&mut self, place: u32, result: i32) -> Option<Completion> {
        // SAFETY: this is the operation's only completion, so the kernel is done with the dial.
        let dial = unsafe { self.lent.dials.get_mut(place) };
        // The slot holds the socket by itself.
        drop(dial.made.take());
        let (tag, slot) = (dial.tag, dial.install as u32);
        if result < 1 {
            self.lent.dials.free(place);
            let errno = Errno(if result < 0 { -result } else { libc::ENFILE });
            return Some(Completion::Connected { tag, result: Err(errno) });
        }
        if !dial.is_connected {
            dial.slot = slot;
            self.owed.push_back(Owed::Dial { place });
            self.vacate(slot);
            return self.ready.pop_front();
        }
        self.lent.dials.free(place);
        self.vacate(slot);
        let token = self.lent.slots.open(slot);
        self.in_order(Completion::Connected { tag, result: Ok(token) })
    }

    fn abandoned(&mut self, place: u32) -> Completion {
        // SAFETY: nothing is running for this dial any more.
        let dial = unsafe { self.lent.dials.get_mut(place) };
        let (tag, errno) = (dial.tag, dial.errno);
        self.lent.dials.free(place);
        Completion::Connected { tag, result: Err(Errno(errno)) }
    }

    fn polled(&mut self, token: Token, result: i32) -> Option<Completion> {
        if self.is_stale(token) {
            return None;
        }
        self.disarm(token, flag::POLL);
        if result >= 0 {
            self.lent.slots.set(token, flag::NONEMPTY);
            return Some(Completion::Readable { token });
        }
        self.unless_pressed(-result, Completion::Ended { token, armed: Armed::Poll, why: end(-result) })
    }

    /// The one place where a receive without `F_MORE` is taken for over, whatever its mode was and whatever else the
    /// completion says.
    fn received(&mut self, token: Token, pool: Pool, event: Event) -> Option<Completion> {
        let buffer = cqueue::buffer_select(event.flags);
        if let Some(id) = buffer {
            self.pool(pool).taken(id);
        }
        let stale = self.is_stale(token);
        let more = cqueue::more(event.flags);
        if !stale && !more {
            self.disarm(token, flag::RECEIVE);
        }
        match buffer {
            Some(id) if event.result > 0 && !stale => {
                if cqueue::sock_nonempty(event.flags) {
                    self.lent.slots.set(token, flag::NONEMPTY);
                } else {
                    self.lent.slots.clear(token, flag::NONEMPTY);
                }
                let chunk = Chunk { pool, id, start: 0, len: event.result as u32 };
                return Some(Completion::Received { token, chunk, more });
            }
            // The end of a stream, and a late arrival for a former tenant, come with a buffer too.
            Some(id) => self.pool(pool).recycle(id),
            None => {}
        }
        if stale || more {
            return None;
        }
        let why = match event.result {
            0.. => End::Eof,
            error => end(-error),
        };
        if why == End::Starved {
            self.counters.starved += 1;
        }
        let errno = if why == End::Starved { 0 } else { -event.result };
        self.unless_pressed(errno, Completion::Ended { token, armed: Armed::Receive, why })
    }

    fn sent(&mut self, token: Token, result: i32) -> Option<Completion> {
        if self.is_stale(token) {
            return None;
        }
        let mut batch = self.lent.slots.take_batch(token);
        self.disarm(token, flag::SEND);
        let errno = -result;
        let result = match result {
            1.. => {
                batch.sent += result as usize;
                Sent::Bytes(result as usize)
            }
            // A send of something takes something or fails; should a kernel differ, the bytes are still ours.
            0 => Sent::Again,
            error => match -error {
                libc::ECANCELED => Sent::Cancelled,
                libc::EINTR | libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Sent::Again,
                errno => Sent::Broken(Errno(errno)),
            },
        };
        self.unless_pressed(errno, Completion::Sent { token, batch, result })
    }

    /// What the worker is told at once; nothing while the kernel is short of memory.
    fn unless_pressed(&mut self, errno: i32, completion: Completion) -> Option<Completion> {
        if !matches!(errno, libc::ENOMEM | libc::ENOBUFS) {
            return Some(completion);
        }
        self.pressed.completions.push(completion);
        self.begin_pause();
        None
    }

    fn begin_pause(&mut self) {
        self.counters.pressed += 1;
        if !std::mem::replace(&mut self.pressed.pauses, true) {
            self.owed.push_back(Owed::Pause);
        }
    }

    /// The moment is over: what waited for it goes on.
    fn relieve(&mut self) {
        self.pressed.pauses = false;
        self.ready.extend(self.pressed.completions.drain(..));
        self.owed.extend(self.pressed.rings.drain(..).map(|worker| Owed::Ring { worker }));
    }

    fn closed(&mut self, token: Token) -> Option<Completion> {
        if self.is_stale(token) {
            return None;
        }
        self.lent.slots.close(token);
        Some(Completion::Closed { token })
    }

    fn cancel_failed(&mut self, token: Token, armed: Armed) -> Option<Completion> {
        // Usually the operation was over already and this comes after its ending.
        if self.lent.slots.is_current(token) && self.lent.slots.any(token, armed.flag()) {
            self.owed.push_back(Owed::Cancel { token, armed });
        }
        None
    }

    fn ring_failed(&mut self, worker: u32, result: i32) -> Option<Completion> {
        // Other errors mean that the worker has ended.
        if matches!(-result, libc::EOVERFLOW | libc::EAGAIN | libc::ENOMEM | libc::EINTR)
            && !self.pressed.rings.contains(&worker)
        {
            self.pressed.rings.push(worker);
            self.begin_pause();
        }
        None
    }

    /// The kernel has given a slot to somebody new. If its old tenant's close has not been reported yet, it has been
    /// carried out nevertheless, and the worker must hear of it first.
    fn vacate(&mut self, slot: u32) {
        if let Some(token) = self.lent.slots.tenant(slot) {
            debug_assert!(
                self.lent.slots.any(token, flag::CLOSE_SENT),
                "slots are given away only after a close"
            );
            self.lent.slots.close(token);
            self.ready.push_back(Completion::Closed { token });
        }
    }

    /// Lets what `vacate` found go first.
    fn in_order(&mut self, completion: Completion) -> Option<Completion> {
        if self.ready.is_empty() {
            return Some(completion);
        }
        self.ready.push_back(completion);
        self.ready.pop_front()
    }

    fn is_stale(&mut self, token: Token) -> bool {
        let stale = !self.lent.slots.is_current(token);
        self.counters.stale += u64::from(stale);
        stale
    }

    fn disarm(&mut self, token: Token, ended: u8) {
        self.lent.slots.clear(token, ended);
        if self.lent.slots.which(token, flag::CLOSING | flag::ARMED) == flag::CLOSING {
            self.owed.push_back(Owed::Close { token });
        }
    }
}

fn end(errno: i32) -> End {
    match errno {
        libc::ECANCELED => End::Cancelled,
        libc::ENOBUFS => End::Starved,
        libc::EINTR | libc::EAGAIN | libc::EOVERFLOW | libc::ENOMEM => End::Lapsed,
        errno => End::Broken(Errno(errno)),
    }
}
