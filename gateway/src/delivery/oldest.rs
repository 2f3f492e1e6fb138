//! The oldest pushes in a link's queue that may be dropped: those that are delivered at most once, and have not begun to be sent.
//!
//! ```text
//! │ response │ push 0 │ push 1 │ push 0 │ response │ push 0 │      whole frames, the oldest first
//!              └ goes            └ goes, until enough is free     class 1 and all else stays, in its order
//! ```

use protocol::wire::frame::Frame;
use protocol::wire::varint;

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many pushes.
    pub count: u64,
    /// Their bytes, lengths of frames included.
    pub bytes: usize,
}

/// Drops the oldest such pushes from whole frames, which begin at `from`, until `bytes` are free or none is left. What cannot be read stays.
pub fn drop_oldest(queue: &mut Vec<u8>, from: usize, bytes: usize) -> Dropped {
    let mut dropped = Dropped::default();
    let (mut at, mut to) = (from.min(queue.len()), from.min(queue.len()));
    while dropped.bytes < bytes
        && let Some(len) = frame_len(queue.get(at..).unwrap_or_default())
    {
        if is_at_most_once(&queue[at..at + len]) {
            dropped.count += 1;
            dropped.bytes += len;
        } else {
            queue.copy_within(at..at + len, to);
            to += len;
        }
        at += len;
    }
    queue.drain(to..at);
    dropped
}

/// Bytes of the first frame, its length included; `None` where there is no whole one.
fn frame_len(frames: &[u8]) -> Option<usize> {
    let (len, prefix) = varint::decode(frames).ok()??;
    let len = usize::try_from(len).ok()?.checked_add(prefix)?;
    (len <= frames.len()).then_some(len)
}

fn is_at_most_once(frame: &[u8]) -> bool {
    let Ok(Some((_, prefix))) = varint::decode(frame) else { return false };
    matches!(Frame::decode(&frame[prefix..]), Ok(Frame::Push(push)) if push.sequence == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::wire::frame::{Push, Response};

    /// A frame that says which one it is; of a few kinds.
    fn frame(kind: u8, id: u8, len: usize) -> Vec<u8> {
        let (mut bytes, payload) = (Vec::new(), vec![id; len]);
        let push = Push { id: &[id], payload: &payload, ..Push::default() };
        match kind {
            0 => Frame::Push(push),
            1 => Frame::Push(Push { sequence: 1 + u64::from(id), class: 1, ..push }),
            2 => Frame::Response(Response { id: [id; 16], payload: &payload, ..Response::default() }),
            _ => Frame::Pong { nonce: id.into() },
        }
        .encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_oldest_go_and_only_as_many_as_have_to() {
        let frames = [(2, 0), (0, 1), (1, 2), (0, 3), (3, 4), (0, 5)].map(|(kind, id)| frame(kind, id, 50));
        let mut queue = [b"xx", &frames.concat()[..]].concat();
        let dropped = drop_oldest(&mut queue, 2, frames[1].len() + 1);
        assert_eq!(dropped, Dropped { count: 2, bytes: frames[1].len() + frames[3].len() });
        assert_eq!(
            queue,
            [b"xx", &[&frames[0][..], &frames[2], &frames[4], &frames[5]].concat()[..]].concat()
        );
    }

    proptest! {
        /// Against a list of frames.
        #[test]
        fn what_may_not_be_dropped_stays_in_its_order(
            frames in prop::collection::vec((0..4u8, any::<u8>(), 0..300usize), 0..40), bytes in 0..6000usize,
        ) {
            let mut queue = b"xx".to_vec();
            frames.iter().for_each(|&(kind, id, len)| queue.extend(frame(kind, id, len)));
            let mut expected = b"xx".to_vec();
            let mut goes = Dropped::default();
            for &(kind, id, len) in &frames {
                let bytes_of = frame(kind, id, len);
                if kind == 0 && goes.bytes < bytes {
                    goes = Dropped { count: goes.count + 1, bytes: goes.bytes + bytes_of.len() };
                } else {
                    expected.extend(bytes_of);
                }
            }
            prop_assert_eq!(drop_oldest(&mut queue, 2, bytes), goes);
            prop_assert_eq!(queue, expected);
        }

        #[test]
        fn what_cannot_be_read_stays_and_nothing_panics(bytes: Vec<u8>, from in 0..10usize, free: usize) {
            let mut queue = bytes.clone();
            let dropped = drop_oldest(&mut queue, from, free);
            prop_assert_eq!(queue.len() + dropped.bytes, bytes.len());
        }
    }
}
