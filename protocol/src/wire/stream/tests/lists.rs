//! Lists inside of frames: numbers of pushes, links.

use super::*;
use crate::limits::{RESUMED_MAX, STREAM_FRAME_LEN_MIN, UNACKNOWLEDGED_MAX};

const LINK_DETACHED: u32 = 10;
const LINK_RESUMED: u32 = 23;

/// A body with fields that no encoder of ours puts together.
fn body(kind: u32, fields: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    encode_raw(kind, fields, &mut framed);
    let (_, prefix) = varint::decode(&framed).unwrap().unwrap();
    framed.split_off(prefix)
}

fn detached(numbers: &[u8]) -> Vec<u8> {
    body(LINK_DETACHED, &[&[0x12, 16][..], &[5; 16], numbers].concat())
}

fn numbers(body: &[u8]) -> Vec<u64> {
    match StreamFrame::decode(body) {
        Ok(StreamFrame::LinkDetached(detached)) => detached.unacknowledged.iter().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_are_read_packed_or_not_and_in_several_parts() {
    let one_by_one = [0x20, 7, 0x20, 0, 0x20, 0xac, 2];
    let packed = [0x22, 4, 7, 0, 0xac, 2];
    let in_parts = [0x22, 1, 7, 0x20, 0, 0x22, 0, 0x28, 9, 0x22, 2, 0xac, 2];
    for bytes in [&one_by_one[..], &packed, &in_parts] {
        assert_eq!(numbers(&detached(bytes)), [7, 0, 300]);
        assert_eq!(proto_numbers(&detached(bytes)), [7, 0, 300], "prost reads the same");
    }
    assert_eq!(numbers(&detached(&[])), [0; 0]);
}

fn proto_numbers(body: &[u8]) -> Vec<u64> {
    match proto::Frame::decode(body).unwrap().kind {
        Some(Kind::LinkDetached(detached)) => detached.unacknowledged,
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_numbers_than_there_may_be_are_about_their_link_alone() {
    let flaw = Flawed { about: About::Presence(0), field: "unacknowledged", payload_len: None };
    let packed = |count: usize| detached(&[&[0x22, count as u8][..], &vec![3; count]].concat());
    assert_eq!(numbers(&packed(UNACKNOWLEDGED_MAX)).len(), UNACKNOWLEDGED_MAX);
    assert_eq!(StreamFrame::decode(&packed(UNACKNOWLEDGED_MAX + 1)), Ok(StreamFrame::Flawed(flaw)));
    assert_eq!(StreamFrame::decode(&detached(&[0x20, 3].repeat(65))), Ok(StreamFrame::Flawed(flaw)));
    let many: Vec<u64> = (0..100).collect();
    assert!(Unacknowledged::of(&many).iter().eq(0..64), "the first of them are written");
}

#[test]
fn a_list_that_cannot_be_read_is_no_frame() {
    for broken in [
        &[0x22, 1, 0x80][..],
        &[0x22, 2, 7, 0x80],
        &[0x22, 11, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
    ] {
        assert_eq!(StreamFrame::decode(&detached(broken)), Err(Error::FrameEncoding), "{broken:02x?}");
    }
    let resumed = body(LINK_RESUMED, &[0x0a, 2, 0x18, 5, 0x0a, 2, 0x18, 0x80]);
    assert_eq!(StreamFrame::decode(&resumed), Err(Error::FrameEncoding));
}

#[test]
fn a_session_that_is_missing_or_too_short_is_about_its_link_alone() {
    let detached = |len: usize| {
        let session = Bytes::from(vec![1; len]);
        flaw(Kind::LinkDetached(proto::LinkDetached { link: 7, session, ..Default::default() }))
    };
    assert_eq!(
        [16, 0, 15].map(detached),
        [None, Some((About::Presence(7), "session")), Some((About::Presence(7), "session"))]
    );
}

#[test]
fn links_that_say_nothing_are_links_all_the_same() {
    let links = [Resumed::default(), Resumed { old_link: 1, link: 2, link_epoch: 3 }, Resumed::default()];
    let mut framed = Vec::new();
    StreamFrame::LinkResumed(LinkResumed::of(&links)).encode(&mut framed);
    let (_, prefix) = varint::decode(&framed).unwrap().unwrap();
    let Ok(StreamFrame::LinkResumed(resumed)) = StreamFrame::decode(&framed[prefix..]) else {
        panic!("resumed")
    };
    assert!(resumed.iter().eq(links));
}

/// However long its numbers are, a frame of as many links as there may be fits into what the strictest peer takes.
#[test]
fn the_longest_frames_of_lists_fit_into_the_shortest_bound() {
    let resumed = Resumed { old_link: u64::MAX, link: u64::MAX, link_epoch: u64::MAX };
    let (numbers, session) = ([u64::MAX; UNACKNOWLEDGED_MAX], [9; 16]);
    let detached = LinkDetached {
        link: u64::MAX,
        session: &session,
        until_ms: u64::MAX,
        unacknowledged: Unacknowledged::of(&numbers),
        link_epoch: u64::MAX,
        unacknowledged_count: u32::MAX,
    };
    let longest = [resumed; RESUMED_MAX];
    for frame in [StreamFrame::LinkResumed(LinkResumed::of(&longest)), StreamFrame::LinkDetached(detached)] {
        let mut framed = Vec::new();
        frame.encode(&mut framed);
        assert!(framed.len() <= STREAM_FRAME_LEN_MIN, "{} bytes", framed.len());
    }
}
