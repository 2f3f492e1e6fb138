//! From operations to submission entries.

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed, Timespec};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use super::slots::flag;
use super::tag::{Kind, pack, pack_index};
use super::{Dial, Owed, Park, Uring, setup};
use crate::address::{Address, PeerRoom};
use crate::ops::{Armed, Batch, Completion, End, Endpoint, Errno, Listener, Mode, Sent, Token, Trust};
use crate::pool::Pool;
use crate::socket;

/// `IORING_FILE_INDEX_ALLOC`, which the crate keeps to itself.
const SLOT_OF_THE_KERNELS_CHOICE: i32 = -1;

impl Uring {
    pub(super) fn park(&mut self, listener: Listener) {
        let Some(socket) = self.listeners.get(usize::from(listener.0)) else {
            self.ready.push_back(Completion::AcceptFailed { listener, errno: Errno(libc::EBADF) });
            return;
        };
        let socket = Fd(socket.as_raw_fd());
        let place = self.lent.parks.insert(Park { listener, peer: PeerRoom::EMPTY });
        let park = self.lent.parks.address(place);
        // SAFETY: the place was filled just now; taking addresses of its fields reads nothing.
        let (address, len) = unsafe { (&raw mut (*park).peer.bytes, &raw mut (*park).peer.len) };
        let entry = opcode::Accept::new(socket, address.cast(), len)
            .file_index(Some(DestinationSlot::auto_target()))
            .build()
            .user_data(pack_index(place, Kind::Accept));
        self.in_flight += 1;
        self.parked[usize::from(listener.0)].push(place);
        // SAFETY: the park keeps its address and is freed only by this accept's completion; its length is the room's.
        unsafe { self.ring.push(&entry) };
    }

    pub(super) fn unpark(&mut self, listener: Listener) {
        // The one that waits longest is the next to take a connection, so the youngest goes.
        let Some(place) = self.parked.get_mut(usize::from(listener.0)).and_then(Vec::pop) else { return };
        let entry = opcode::AsyncCancel::new(pack_index(place, Kind::Accept))
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(pack_index(place, Kind::CancelAccept));
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&entry) };
    }

    /// First step of a connect: a socket in a slot of the kernel's choice.
    pub(super) fn dial(&mut self, tag: u32, from: Option<IpAddr>, to: &Endpoint, trust: Trust) {
        let Ok(address) = Address::of(to) else {
            self.ready.push_back(Completion::Connected { tag, result: Err(Errno(libc::EINVAL)) });
            return;
        };
        if let Some(Err(errno)) = from.map(|from| to.check_source(from)) {
            self.ready.push_back(Completion::Connected { tag, result: Err(errno) });
            return;
        }
        let dial = Dial { limit: self.connect_timeout.map(Timespec::from), ..Dial::new(tag, address) };
        if let Some(from) = from {
            // The ring can bind since Linux 6.11 only. A bind waits for nothing, so it is made here.
            return self.install(socket::bound_to(from), dial);
        }
        if trust == Trust::OwnUser && address.family() == libc::AF_UNIX {
            // The ring cannot ask who listens, and such a connect waits for nothing either.
            let connected = socket::connect_to_own_user(&address);
            return self.install(connected, Dial { is_connected: true, ..dial });
        }
        let place = self.lent.dials.insert(dial);
        let entry = opcode::Socket::new(address.family(), libc::SOCK_STREAM, 0)
            .file_index(Some(DestinationSlot::auto_target()))
            .build()
            .user_data(pack_index(place, Kind::Socket));
        self.in_flight += 1;
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&entry) };
    }

    /// First step of a connect whose socket was made here, or failed to be: it goes into a slot of the kernel's choice.
    fn install(&mut self, made: io::Result<OwnedFd>, dial: Dial) {
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                let errno = Errno(error.raw_os_error().unwrap_or(libc::EINVAL));
                self.ready.push_back(Completion::Connected { tag: dial.tag, result: Err(errno) });
                return;
            }
        };
        let install = made.as_raw_fd();
        let place = self.lent.dials.insert(Dial { made: Some(made), install, ..dial });
        let dial = self.lent.dials.address(place);
        // SAFETY: the place was filled just now; taking the address of a field reads nothing.
        let descriptor = unsafe { &raw mut (*dial).install };
        let entry = opcode::FilesUpdate::new(descriptor, 1)
            .offset(SLOT_OF_THE_KERNELS_CHOICE)
            .build()
            .user_data(pack_index(place, Kind::Install));
        self.in_flight += 1;
        // SAFETY: the dial keeps its place, which the kernel reads and writes, until this entry's completion.
        unsafe { self.ring.push(&entry) };
    }

    /// Second step: options and the connect itself, with its time limit linked to it.
    fn dial_out(&mut self, place: u32) {
        let dial = self.lent.dials.address(place);
        // SAFETY: the socket's completion has arrived and nothing else is running for this dial.
        let (address, slot, limit) =
            unsafe { ((*dial).address, Fixed((*dial).slot), (*dial).limit.is_some()) };
        if address.family() != libc::AF_UNIX {
            self.set_tcp_option(slot, libc::TCP_NODELAY, &raw const ON, pack_index(place, Kind::Option));
        }
        // SAFETY: as above; only an address is taken.
        let target = unsafe { (*dial).address.as_ptr() };
        let mut entry = opcode::Connect::new(slot, target, address.len())
            .build()
            .user_data(pack_index(place, Kind::Connect));
        if limit {
            entry = entry.flags(Flags::IO_LINK);
        }
        self.in_flight += 1;
        // SAFETY: the dial keeps its place until the connect's completion.
        unsafe { self.ring.push(&entry) };
        if !limit {
            return;
        }
        // SAFETY: as above; the option was seen to hold a value.
        let spec = unsafe { (*dial).limit.as_ref() }.expect("seen above");
        let entry = opcode::LinkTimeout::new(std::ptr::from_ref(spec))
            .build()
            .user_data(pack_index(place, Kind::ConnectTimeout));
        self.in_flight += 1;
        // SAFETY: the kernel copies the time when the entry is submitted, before the connect can end.
        unsafe { self.ring.push(&entry) };
    }

    pub(super) fn poll(&mut self, token: Token) {
        if !self.is_usable(token) {
            let why = End::Broken(Errno(libc::EBADF));
            self.ready.push_back(Completion::Ended { token, armed: Armed::Poll, why });
            return;
        }
        self.arm(token, flag::POLL);
        let entry = opcode::PollAdd::new(Fixed(token.slot), (libc::POLLIN | libc::POLLRDHUP) as u32)
            .build()
            .user_data(pack(token, Kind::Poll));
        self.in_flight += 1;
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&entry) };
    }

    pub(super) fn receive(&mut self, token: Token, pool: Pool, mode: Mode) {
        if !self.is_usable(token) {
            let why = End::Broken(Errno(libc::EBADF));
            self.ready.push_back(Completion::Ended { token, armed: Armed::Receive, why });
            return;
        }
        self.arm(token, flag::RECEIVE);
        match pool {
            Pool::Links => self.lent.slots.clear(token, flag::STREAMS),
            Pool::Streams => self.lent.slots.set(token, flag::STREAMS),
        }
        // On an empty socket the first try is wasted, and with an empty pool it would end the receive before any
        // data had come.
        let poll_first = !self.lent.slots.any(token, flag::NONEMPTY);
        self.lent.slots.clear(token, flag::NONEMPTY);
        let multishot = mode == Mode::Multishot;
        let priority = if poll_first { POLL_FIRST } else { 0 } | if multishot { MULTISHOT } else { 0 };
        let entry = opcode::Recv::new(Fixed(token.slot), std::ptr::null_mut(), 0)
            .ioprio(priority)
            .buf_group(setup::group(pool))
            .build()
            .flags(Flags::BUFFER_SELECT)
            .user_data(pack(token, Kind::receive(pool)));
        self.in_flight += 1;
        // SAFETY: the entry names no memory; the group's buffers outlive every receive.
        unsafe { self.ring.push(&entry) };
    }

    pub(super) fn send(&mut self, token: Token, batch: Batch) {
        if !self.is_usable(token) {
            let result = Sent::Broken(Errno(libc::EBADF));
            self.ready.push_back(Completion::Sent { token, batch, result });
            return;
        }
        assert!(!batch.rest().is_empty(), "a send has something to send");
        self.arm(token, flag::SEND);
        self.counters.sends += 1;
        let rest = self.lent.slots.keep_batch(token, batch);
        let len = rest.len().min(SEND_MAX) as u32;
        let entry = opcode::Send::new(Fixed(token.slot), rest.as_ptr(), len)
            // Without MSG_WAITALL: a peer that takes some of it is seen to live.
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(pack(token, Kind::Send));
        self.in_flight += 1;
        // SAFETY: the batch is kept, unchanged and unmoved on the heap, until the send's completion takes it out.
        unsafe { self.ring.push(&entry) };
    }

    pub(super) fn cancel(&mut self, token: Token, armed: Armed) {
        if !self.lent.slots.is_current(token) || !self.lent.slots.any(token, armed.flag()) {
            return;
        }
        let target = match armed {
            Armed::Poll => Kind::Poll,
            Armed::Send => Kind::Send,
            Armed::Receive if self.lent.slots.any(token, flag::STREAMS) => Kind::ReceiveStreams,
            Armed::Receive => Kind::ReceiveLinks,
        };
        // By the exact token: by descriptor the kernel searches all that is armed on the ring.
        let entry = opcode::AsyncCancel::new(pack(token, target))
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(pack(token, Kind::cancel(armed)));
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&entry) };
    }

    pub(super) fn close(&mut self, token: Token) {
        if !self.lent.slots.is_current(token) {
            self.ready.push_back(Completion::Closed { token });
            return;
        }
        let closing = self.lent.slots.any(token, flag::CLOSING);
        assert!(!closing, "a socket is closed once");
        self.lent.slots.set(token, flag::CLOSING);
        if self.lent.slots.any(token, flag::ARMED) {
            // A close would not end what is armed, and no FIN would leave: cancel everything first. The last ending
            // sends the close.
            self.cancel_all(token);
        } else {
            self.close_now(token);
        }
    }

    pub(super) fn ring_worker(&mut self, worker: u32) {
        if worker == self.index {
            self.ready.push_back(Completion::Rung);
            return;
        }
        // A worker without a ring has not started, and looks around when it does, or has ended.
        let Some(ring) = self.doorbells.bell_of(worker) else { return };
        let entry = opcode::MsgRingData::new(Fd(ring), 0, pack_index(0, Kind::Doorbell), None)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(pack_index(worker, Kind::Ring));
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&entry) };
    }

    /// Does what completions have left to be done, as far as the queue has room.
    pub(super) fn pay(&mut self) {
        while !self.owed.is_empty() && self.ring.has_room(super::ENTRIES_PER_OP) {
            match self.owed.pop_front().expect("not empty") {
                Owed::Wake => self.listen_for_wakes(),
                Owed::Dial { place } => self.dial_out(place),
                Owed::Abandon { place } => self.abandon(place),
                Owed::Close { token } => self.close_now(token),
                Owed::Cancel { token, armed } => self.cancel_again(token, armed),
                Owed::Ring { worker } => self.ring_worker(worker),
                Owed::Pause => self.pause(),
            }
        }
    }

    /// Lets a moment pass for what is [pressed](super::Pressed).
    fn pause(&mut self) {
        let entry = opcode::Timeout::new(&raw const PAUSE).build().user_data(pack_index(0, Kind::Pause));
        self.in_flight += 1;
        // SAFETY: the time is a static.
        unsafe { self.ring.push(&entry) };
    }

    /// Sets an option of a socket of ours, in order with what is submitted behind it. `value` must live until it is
    /// submitted.
    fn set_tcp_option(&mut self, slot: Fixed, option: i32, value: *const i32, user_data: u64) {
        let (level, option) = (libc::IPPROTO_TCP as u32, option as u32);
        let entry = opcode::SetSockOpt::new(slot, level, option, value.cast(), 4)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(user_data);
        // SAFETY: the kernel reads the value when the entry is submitted; it is a static, or lies in memory that is lent.
        unsafe { self.ring.push(&entry) };
    }

    fn close_now(&mut self, token: Token) {
        self.lent.slots.set(token, flag::CLOSE_SENT);
        if self.lent.close_timeout.len() > 0 {
            let timeout = self.lent.close_timeout.address(0).cast_const();
            // A Unix socket refuses, which means nothing.
            let user_data = pack(token, Kind::Option);
            self.set_tcp_option(Fixed(token.slot), libc::TCP_USER_TIMEOUT, timeout, user_data);
        }
        let entry = opcode::Close::new(Fixed(token.slot)).build().user_data(pack(token, Kind::Close));
        self.in_flight += 1;
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&entry) };
    }

    fn abandon(&mut self, place: u32) {
        // SAFETY: the connect's completion has arrived and nothing else is running for this dial.
        let slot = unsafe { self.lent.dials.get_mut(place) }.slot;
        let entry = opcode::Close::new(Fixed(slot)).build().user_data(pack_index(place, Kind::Abandon));
        self.in_flight += 1;
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&entry) };
    }

    /// A cancel by token found nothing, yet the operation has not ended since. When nothing else is armed on the
    /// socket, everything on it is cancelled, which reaches a multishot between two of its shots too.
    fn cancel_again(&mut self, token: Token, armed: Armed) {
        if !self.lent.slots.is_current(token) {
            return;
        }
        match self.lent.slots.which(token, flag::ARMED) {
            only if only == armed.flag() => self.cancel_all(token),
            several if several & armed.flag() != 0 => self.cancel(token, armed),
            _ => {}
        }
    }

    fn cancel_all(&mut self, token: Token) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fixed(token.slot)).all())
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(pack(token, Kind::CancelAll));
        // SAFETY: the entry names no memory.
        unsafe { self.ring.push(&entry) };
    }

    fn listen_for_wakes(&mut self) {
        let room = self.lent.woken.address(0);
        let entry = opcode::Read::new(Fd(self.waker.fd()), room.cast(), size_of::<u64>() as u32)
            .build()
            .user_data(pack_index(0, Kind::Wake));
        self.in_flight += 1;
        // SAFETY: the room is 8 bytes long, keeps its place as long as the driver, and nobody else looks at it.
        unsafe { self.ring.push(&entry) };
    }

    fn is_usable(&self, token: Token) -> bool {
        self.lent.slots.is_current(token) && !self.lent.slots.any(token, flag::CLOSING)
    }

    fn arm(&mut self, token: Token, flag: u8) {
        assert!(!self.lent.slots.any(token, flag), "each operation is armed once per socket");
        self.lent.slots.set(token, flag);
    }
}

/// `ioprio` bits of receives, see io_uring_prep_recv(3).
const POLL_FIRST: u16 = 1;
const MULTISHOT: u16 = 1 << 1;
/// The kernel moves less than 2 GiB at a time; the rest is the next send's.
const SEND_MAX: usize = 1 << 30;
/// How long what the kernel had no memory for is put off.
static PAUSE: Timespec = Timespec::new().nsec(10_000_000);
/// The value of boolean socket options.
static ON: i32 = 1;
