//! The baseline: a plain TCP echo written straight on the `io-uring` crate, as lean as we know how.
//!
//! Multishot accept and receive, direct descriptors, one ring of receive buffers, one send in flight per link, sent from
//! the very buffer the bytes arrived in. No generations, no addresses, no encryption, no copy: what the gateway costs
//! per message is compared with what this costs.
//!
//! `plain_echo --listen 127.0.0.1:0 --ready-file FILE [--cpu N] [--slots N]`: once it listens, FILE holds
//! `{"pid": …, "listen": "ADDR"}`. It runs until it is killed.

use std::alloc::Layout;
use std::collections::VecDeque;
use std::error::Error;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::{Flags, SubmissionQueue};
use io_uring::types::{BufRingEntry, Fd, Fixed};
use io_uring::{IoUring, Submitter, cqueue, opcode, squeue};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    driver::limits::raise_open_files()?;
    if let Some(cpu) = options.cpu {
        driver::thread::pin(cpu)?;
    }
    let to = driver::Endpoint::Tcp(options.listen.parse()?);
    let listener = driver::listen(&to, &driver::ListenOptions::default())?;
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_no_sqarray()
        .setup_cqsize(16_384)
        .build(4096)?;
    let slots = u64::from(options.slots).min(driver::limits::open_files()?.soft) as u32;
    ring.submitter().register_files_sparse(slots)?;
    let buffers = Buffers::register(&ring)?;
    if let Some(path) = &options.ready_file {
        let address = driver::local_address(&listener)?.ok_or("not a TCP listener")?;
        let ready = format!("{{\"pid\": {}, \"listen\": \"{address}\"}}\n", std::process::id());
        // Renamed into place, so that nobody reads half of it.
        let partial = format!("{path}.partial");
        std::fs::write(&partial, ready)?;
        std::fs::rename(&partial, path)?;
    }
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    let links = (0..slots).map(|_| Link::default()).collect();
    let mut echo = Echo { submitter, queue, buffers, links, starved: Vec::new(), listener };
    echo.accept();
    loop {
        echo.wait()?;
        completions.sync();
        for entry in &mut completions {
            echo.complete(&entry);
        }
    }
}

/// The command line.
struct Options {
    listen: String,
    ready_file: Option<String>,
    cpu: Option<u32>,
    slots: u32,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
        let mut options =
            Options { listen: "127.0.0.1:0".to_owned(), ready_file: None, cpu: None, slots: 20_000 };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--listen" => options.listen = value,
                "--ready-file" => options.ready_file = Some(value),
                "--cpu" => options.cpu = Some(value.parse()?),
                "--slots" => options.slots = value.parse()?,
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        Ok(options)
    }
}

/// One client, by slot.
#[derive(Default)]
struct Link {
    /// Arrived and not yet sent back, oldest first; the first one is in flight while `is_sending`.
    pieces: VecDeque<Piece>,
    is_receiving: bool,
    is_sending: bool,
    is_over: bool,
}

/// Part of a receive buffer.
struct Piece {
    buffer: u16,
    start: u32,
    len: u32,
}

struct Echo<'r> {
    submitter: Submitter<'r>,
    queue: SubmissionQueue<'r>,
    buffers: Buffers,
    links: Vec<Link>,
    /// Slots whose receive found no buffer.
    starved: Vec<u32>,
    listener: OwnedFd,
}

impl Echo<'_> {
    fn wait(&mut self) -> std::io::Result<()> {
        if !self.starved.is_empty() && self.buffers.publish() {
            for slot in std::mem::take(&mut self.starved) {
                self.receive(slot);
            }
        }
        self.buffers.publish();
        self.queue.sync();
        match self.submitter.submit_and_wait(1) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => Err(error),
            _ => {
                self.queue.sync();
                Ok(())
            }
        }
    }

    fn complete(&mut self, entry: &cqueue::Entry) {
        let (kind, slot) = ((entry.user_data() >> 32) as u32, entry.user_data() as u32);
        match kind {
            ACCEPT => {
                if entry.result() >= 0 {
                    self.receive(entry.result() as u32);
                }
                if !cqueue::more(entry.flags()) {
                    self.accept();
                }
            }
            RECEIVE => self.received(slot, entry),
            SEND => self.sent(slot, entry.result()),
            _ => {}
        }
    }

    fn received(&mut self, slot: u32, entry: &cqueue::Entry) {
        let buffer = cqueue::buffer_select(entry.flags());
        let link = &mut self.links[slot as usize];
        link.is_receiving = cqueue::more(entry.flags());
        match (buffer, entry.result()) {
            (Some(buffer), len @ 1..) => {
                link.pieces.push_back(Piece { buffer, start: 0, len: len as u32 });
                if !link.is_receiving {
                    self.receive(slot);
                }
                return self.send(slot);
            }
            (Some(buffer), _) => self.buffers.give_back(buffer),
            (None, _) => {}
        }
        if entry.result() == -libc::ENOBUFS {
            self.starved.push(slot);
        } else {
            link.is_over = true;
            self.close_if_done(slot);
        }
    }

    fn sent(&mut self, slot: u32, result: i32) {
        let link = &mut self.links[slot as usize];
        link.is_sending = false;
        let piece = link.pieces.front_mut().expect("what was sent is still first");
        if result < 0 {
            // The receive ends as well, and then the link does.
            link.is_over = true;
        } else if (result as u32) < piece.len {
            piece.start += result as u32;
            piece.len -= result as u32;
        } else {
            self.buffers.give_back(piece.buffer);
            link.pieces.pop_front();
        }
        if self.links[slot as usize].pieces.is_empty() || result < 0 {
            self.close_if_done(slot);
        } else {
            self.send(slot);
        }
    }

    fn close_if_done(&mut self, slot: u32) {
        let link = &mut self.links[slot as usize];
        if !link.is_over || link.is_receiving || link.is_sending {
            return;
        }
        for piece in link.pieces.drain(..) {
            self.buffers.give_back(piece.buffer);
        }
        link.is_over = false;
        self.push(opcode::Close::new(Fixed(slot)).build(), CLOSE, slot);
    }

    fn accept(&mut self) {
        let entry = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).allocate_file_index(true).build();
        self.push(entry, ACCEPT, 0);
    }

    fn receive(&mut self, slot: u32) {
        self.links[slot as usize].is_receiving = true;
        let entry = opcode::Recv::new(Fixed(slot), std::ptr::null_mut(), 0)
            .ioprio(MULTISHOT | POLL_FIRST)
            .buf_group(0)
            .build()
            .flags(Flags::BUFFER_SELECT);
        self.push(entry, RECEIVE, slot);
    }

    fn send(&mut self, slot: u32) {
        let link = &mut self.links[slot as usize];
        if link.is_sending {
            return;
        }
        link.is_sending = true;
        let piece = link.pieces.front().expect("there is something to send");
        let from = self.buffers.at(piece.buffer, piece.start);
        let entry = opcode::Send::new(Fixed(slot), from.as_ptr(), piece.len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.push(entry, SEND, slot);
    }

    fn push(&mut self, entry: squeue::Entry, kind: u32, slot: u32) {
        let entry = entry.user_data(u64::from(kind) << 32 | u64::from(slot));
        // SAFETY: memory is named by sends only: a buffer that stays out until its send has completed.
        while unsafe { self.queue.push(&entry) }.is_err() {
            self.queue.sync();
            // An error here shows again in the next wait.
            let _again = self.submitter.submit();
            self.queue.sync();
        }
    }
}

/// A ring of receive buffers, never freed: the process ends by being killed.
struct Buffers {
    memory: NonNull<u8>,
    tail: u16,
    published: u16,
}

impl Buffers {
    fn register(ring: &IoUring) -> Result<Buffers, Box<dyn Error>> {
        let layout = Layout::from_size_align(FIRST_BUFFER + usize::from(COUNT) * SIZE as usize, 4096)?;
        // SAFETY: the layout has a size. Zeroed memory is what the ring's entries may hold at first.
        let memory = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or("out of memory")?;
        // SAFETY: the range was allocated just now; writing zeroes makes its pages real before anybody measures.
        unsafe { memory.as_ptr().write_bytes(0, layout.size()) };
        let mut buffers = Buffers { memory, tail: 0, published: 0 };
        for id in 0..COUNT {
            buffers.give_back(id);
        }
        buffers.publish();
        let address = memory.as_ptr() as u64;
        // SAFETY: the ring is page-aligned, COUNT entries long, and lives as long as the process.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, COUNT, 0, 0) }?;
        Ok(buffers)
    }

    fn at(&self, id: u16, start: u32) -> NonNull<u8> {
        // SAFETY: ids are below COUNT and starts below SIZE, so this stays within the allocation.
        unsafe { self.memory.add(FIRST_BUFFER + usize::from(id) * SIZE as usize + start as usize) }
    }

    fn give_back(&mut self, id: u16) {
        let index = usize::from(self.tail & (COUNT - 1));
        let address = self.at(id, 0).as_ptr() as u64;
        // SAFETY: the index is below COUNT; the kernel does not look at entries beyond the published tail.
        let entry = unsafe { &mut *self.memory.cast::<BufRingEntry>().as_ptr().add(index) };
        entry.set_addr(address);
        entry.set_len(SIZE);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows what came back to the kernel; `false` when nothing did.
    fn publish(&mut self) -> bool {
        if self.tail == self.published {
            return false;
        }
        self.published = self.tail;
        // SAFETY: the memory begins with the ring's first entry.
        let tail = unsafe { BufRingEntry::tail(self.memory.cast::<BufRingEntry>().as_ptr()) };
        // SAFETY: an aligned u16 that lives as long as the process; the kernel only reads it.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
        true
    }
}

const COUNT: u16 = 4096;
const SIZE: u32 = 2048;
const FIRST_BUFFER: usize = COUNT as usize * size_of::<BufRingEntry>();
const ACCEPT: u32 = 1;
const RECEIVE: u32 = 2;
const SEND: u32 = 3;
const CLOSE: u32 = 4;
/// `ioprio` bits of receives, see io_uring_prep_recv(3).
const POLL_FIRST: u16 = 1;
const MULTISHOT: u16 = 1 << 1;
