//! A part of a package, as its session has it.

use protocol::Time;

use super::bodies::BodyKey;
use super::tails::Settled;

/// A part of a package.
#[derive(Clone, Copy, Debug)]
pub struct HeldPart {
    /// What it says.
    pub body: BodyKey,
    /// Whom to tell what becomes of it. Of one that is not kept the start of the backend is the number of its connection.
    pub owed: Settled,
    /// When it counts as undelivered, if it is kept.
    pub expiry: Time,
}

const _: () =
    assert!(size_of::<HeldPart>() <= 48, "the memory ceiling counts 96 bytes for a part that waits");
