//! Numbers that fit each other, up to the last one that does.

use super::*;
use crate::limits::{
    FRAME_LEN_CEILING, FRAME_LEN_MAX, HEARTBEAT_MAX, STREAM_FRAME_LEN_MIN, STREAM_HEARTBEAT_MIN,
};
use crate::wire::stream::Report;

const HAIR: Duration = Duration::from_millis(1);

fn with_frames(frame_len_max: usize) -> Params {
    let window = 2 * (frame_len_max as u64 + 64);
    Params { frame_len_max, window, pending_bytes_max: FRAME_LEN_CEILING, ..PARAMS }
}

#[test]
fn each_number_has_a_last_one_that_fits() {
    let short = Params { window: PARAMS.window - 1, ..PARAMS };
    let full = Params { pending_bytes_max: PARAMS.frame_len_max, ..PARAMS };
    let beats = |heartbeat| Params { heartbeat, ..PARAMS };
    for (params, fits) in [
        (PARAMS, true),
        (Params::default(), true),
        (with_frames(STREAM_FRAME_LEN_MIN), true),
        (with_frames(STREAM_FRAME_LEN_MIN - 1), false),
        (with_frames(FRAME_LEN_CEILING), true),
        (with_frames(FRAME_LEN_CEILING + 1), false),
        (short, false),
        (full, true),
        (Params { pending_bytes_max: full.pending_bytes_max - 1, ..full }, false),
        (beats(STREAM_HEARTBEAT_MIN), true),
        (beats(STREAM_HEARTBEAT_MIN - HAIR), false),
        (beats(HEARTBEAT_MAX), true),
        (beats(HEARTBEAT_MAX + HAIR), false),
    ] {
        assert_eq!(params.check().is_ok(), fits, "{params:?}");
    }
}

#[test]
fn frames_of_streams_are_longer_than_those_of_links_and_end_at_the_ceiling() {
    for (of_links, of_streams) in [
        (4096, FRAME_LEN_MAX + STREAM_FRAME_LEN_MIN),
        (FRAME_LEN_MAX, FRAME_LEN_MAX + STREAM_FRAME_LEN_MIN),
        (FRAME_LEN_MAX + 1, FRAME_LEN_MAX + 1 + STREAM_FRAME_LEN_MIN),
        (FRAME_LEN_CEILING - STREAM_FRAME_LEN_MIN - 1, FRAME_LEN_CEILING - 1),
        (FRAME_LEN_CEILING, FRAME_LEN_CEILING),
    ] {
        assert_eq!(frame_len_beside(of_links), of_streams, "{of_links}");
    }
}

/// Payload is turned away from the bound on; what never waits may take as much again.
#[test]
fn a_peer_that_takes_nothing_counts_as_stalled_beyond_twice_the_bound() {
    let mut pair = Pair::live(&Mode::Clear);
    pair.batch.clear();
    pair.gateway.seal(&mut pair.batch);
    let bound = 2 * PARAMS.pending_bytes_max;
    while pair.gateway.pending() <= bound {
        assert_eq!(pair.gateway.expire(pair.now), Ok(()), "{} of {bound}", pair.gateway.pending());
        assert_ne!(pair.gateway.deadline(), Some(Time::ZERO));
        pair.gateway.report(&Report::default());
    }
    assert_eq!(pair.gateway.deadline(), Some(Time::ZERO));
    assert_eq!(pair.gateway.expire(pair.now), Err(Error::Stalled));
}
