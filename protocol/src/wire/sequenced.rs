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

/// Appends a whole frame of a push that has no place in a session and so many parts of its package missing before it.
pub fn encode_behind(body: &[u8], gap: u32, out: &mut Vec<u8>) {
    let mut count = Count(0);
    count.varint(GAP, gap.into());
    encode_header(PUSH, body.len() + count.0, out);
    out.extend_from_slice(body);
    append_gap(gap, out);
}

/// Appends to what [`encode_body`] has made that so many parts of its package are missing before it.
pub fn append_gap(gap: u32, body: &mut Vec<u8>) {
    Write(body).varint(GAP, gap.into());
}

/// Number of the field that says so.
const GAP: u32 = 9;

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

        #[test]
        fn a_gap_stands_behind_what_a_push_says(payload: Vec<u8>, class: u32, gap: u32, sequence: u64) {
            let push = Push { payload: &payload, class, ..Push::default() };
            let (mut body, mut alone, mut kept) = (Vec::new(), Vec::new(), Vec::new());
            encode_body(&push, &mut body);
            encode_behind(&body, gap, &mut alone);
            append_gap(gap, &mut body);
            encode(&body, sequence, false, &mut kept);
            for (frame, sequence) in [(alone, 0), (kept, sequence)] {
                let (len, prefix) = varint::decode(&frame).expect("a length").expect("and all of it");
                prop_assert_eq!(len as usize, frame.len() - prefix);
                let whole = Frame::Push(Push { sequence, gap, ..push });
                prop_assert!(Frame::decode(&frame[prefix..]) == Ok(whole));
            }
        }
    }
}
