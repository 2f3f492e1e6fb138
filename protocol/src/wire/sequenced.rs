//! A push that is kept until it is acknowledged: what it says is written once, and its sequence each time it is sent.

use crate::wire::frame::Push;
use crate::wire::sink::{Count, Message, Sink, Write, encode_header};

/// Kind of a push among the frames of a link.
const PUSH: u32 = 10;

/// Appends all of a push but its sequence and whether it was sent before.
pub fn encode_body(push: &Push<'_>, out: &mut Vec<u8>) {
    Push { sequence: 0, again: false, ..*push }.fields(&mut Write(out));
}

/// Appends a whole frame: the push of which [`encode_body`] has made this body.
pub fn encode(body: &[u8], sequence: u64, again: bool, out: &mut Vec<u8>) {
    let mut count = Count(0);
    place(sequence, again, &mut count);
    encode_header(PUSH, count.0 + body.len(), out);
    place(sequence, again, &mut Write(out));
    out.extend_from_slice(body);
}

fn place(sequence: u64, again: bool, to: &mut impl Sink) {
    to.varint(1, sequence);
    to.varint(5, again.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Frame;
    use crate::wire::varint;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_body_with_its_place_is_the_push(
            id in prop::collection::vec(any::<u8>(), 0..=16), payload: Vec<u8>, class: u32, sequence: u64, again: bool,
        ) {
            let push = Push { id: &id, payload: &payload, class, ..Push::default() };
            let (mut body, mut frame) = (Vec::new(), Vec::new());
            encode_body(&push, &mut body);
            encode(&body, sequence, again, &mut frame);
            let (len, prefix) = varint::decode(&frame).expect("a length").expect("and all of it");
            prop_assert_eq!(len as usize, frame.len() - prefix);
            let whole = Frame::Push(Push { sequence, again, ..push });
            prop_assert!(Frame::decode(&frame[prefix..]) == Ok(whole));
        }
    }
}
