//! Structs generated from `proto/*.proto`: for SDKs, rare frames and as the oracle of the hand-written decoders.

use std::mem;

use prost::bytes::{Bytes, BytesMut};
use zeroize::Zeroize;

/// Frames of a client link.
#[expect(missing_docs, reason = "generated; the .proto file is the documentation")]
pub mod link {
    include!(concat!(env!("OUT_DIR"), "/gateway.link.v1.rs"));
}

/// Frames of a backend stream.
#[expect(missing_docs, reason = "generated; the .proto file is the documentation")]
pub mod stream {
    include!(concat!(env!("OUT_DIR"), "/gateway.stream.v1.rs"));
}

impl link::Welcome {
    /// Wipes what nobody but the two ends may know: the secrets of the session and of its tickets. What was cloned of them
    /// shares its memory and stays.
    pub fn wipe(&mut self) {
        let secrets = self.tickets.iter_mut().map(|ticket| &mut ticket.psk).chain([&mut self.secret]);
        secrets.for_each(|secret| drop(wiped(mem::take(secret))));
    }
}

/// The memory of a secret, without it; `None` if it is not ours alone.
fn wiped(secret: Bytes) -> Option<BytesMut> {
    let mut memory = secret.try_into_mut().ok()?;
    memory.zeroize();
    Some(memory)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn the_secrets_of_a_welcome_are_wiped_wherever_it_came_from() {
        let psk = Bytes::from(vec![7; 32]);
        let ticket = link::Ticket { psk, ticket: vec![1; 9].into(), ..link::Ticket::default() };
        let made = link::Welcome { secret: vec![8; 32].into(), tickets: vec![ticket], ..Default::default() };
        let heard = link::Welcome::decode(&made.encode_to_vec()[..]).expect("it is whole");
        assert_eq!(heard, made);
        for mut welcome in [made, heard] {
            let psk = mem::take(&mut welcome.tickets[0].psk);
            assert_eq!(wiped(psk).as_deref(), Some(&[0; 32][..]));
            welcome.wipe();
            assert!(welcome.secret.is_empty() && !welcome.tickets[0].ticket.is_empty());
        }
        let shared = Bytes::from(vec![7; 32]);
        assert_eq!(wiped(shared.clone()), None);
    }
}
