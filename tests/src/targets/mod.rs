//! Bodies of the fuzz targets. The fuzzer calls them with whatever it thinks of (`tests/fuzz`), `cargo test` with the
//! committed corpus (`tests/tests/corpus.rs`).
//!
//! Each body panics when a rule is broken and otherwise says how far it got: how many hellos were answered, frames
//! heard or tickets opened. That number tells whether a corpus reaches what lies behind the cryptography.

mod bounds;
pub mod foreign;
pub mod frames;
pub mod hello;
mod layout;
mod parties;
pub mod proxy_header;
pub mod records;
pub mod resume;
pub mod script;
pub mod stream;
pub mod ticket;

use protocol::Error;
use protocol::buffer::{Input, Partials, Place};

/// One fuzz target.
pub struct Target {
    /// Of the target and of its folder in the corpus.
    pub name: &'static str,
    /// Panics when a rule is broken; returns how far it got.
    pub run: fn(&[u8]) -> usize,
    /// Where the fuzzer starts from.
    pub seeds: fn() -> Vec<Seed>,
}

/// One input, with the name of its file.
pub type Seed = (&'static str, Vec<u8>);

/// All of them.
pub const ALL: [Target; 8] = [
    Target { name: "hello", run: hello::run, seeds: hello::seeds },
    Target { name: "foreign", run: foreign::run, seeds: foreign::seeds },
    Target { name: "resume", run: resume::run, seeds: resume::seeds },
    Target { name: "records", run: records::run, seeds: records::seeds },
    Target { name: "frames", run: frames::run, seeds: frames::seeds },
    Target { name: "stream", run: stream::run, seeds: stream::seeds },
    Target { name: "proxy_header", run: proxy_header::run, seeds: proxy_header::seeds },
    Target { name: "ticket", run: ticket::run, seeds: ticket::seeds },
];

/// The receiving side of a socket: bytes arrive in pieces, and what is left of one waits for the next.
struct Arrivals {
    partials: Partials,
    place: Place,
}

impl Arrivals {
    fn new() -> Self {
        Self { partials: Partials::new(PARTIAL_BYTES_MAX), place: Place::NONE }
    }

    /// One piece arrives and is read by `read`.
    fn arrive<T>(
        &mut self,
        piece: &mut [u8],
        read: impl FnOnce(&mut Input<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut input = Input::new(piece, self.partials.take(self.place)?);
        let read = read(&mut input)?;
        self.place = self.partials.keep(self.place, 0, input.into_rest())?;
        assert!(self.partials.bytes() <= PARTIAL_BYTES_MAX);
        Ok(read)
    }

    /// What was gathered of a hello.
    fn gathered(&mut self) -> Result<Vec<u8>, Error> {
        let rest = self.partials.take(std::mem::replace(&mut self.place, Place::NONE))?;
        Ok(rest.gathered().to_vec())
    }
}

const PARTIAL_BYTES_MAX: usize = 1 << 20;
