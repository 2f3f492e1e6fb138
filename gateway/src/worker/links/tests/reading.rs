//! Chunks to frames, and what waits for the next one.

use protocol::limits::{HELD_BYTES_MAX, HELD_FRAMES_MAX};

use super::*;

#[test]
fn a_record_may_come_in_pieces() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    let said = [rig.say(token, &[PING]), rig.say(token, &[request(&[1; 500])])].concat();
    let (one, two) = said.split_at(300);
    assert_eq!(rig.arrive(token, one), ["ping"]);
    assert!(rig.partial_bytes() > 200);
    assert_eq!(rig.arrive(token, two), ["request"]);
    assert_eq!(rig.partial_bytes(), 0);
    assert_eq!(rig.ops(), ["receive 0", "poll 0", "receive 0", "poll 0"], "an idle link waits with a poll");
}

#[test]
fn frames_behind_auth_are_held_until_the_welcome() {
    let mut rig = Rig::new(settings());
    let token = rig.open(0);
    let said = rig.say(token, &[AUTH, PING]);
    assert_eq!(rig.arrive(token, &said), ["auth"]);
    let said = rig.say(token, &[request(b"hello"), PING]);
    assert_eq!(rig.arrive(token, &said), [""; 0]);
    assert!(rig.stranger_bytes() > 0 && rig.partial_bytes() == 0);
    rig.settle();
    rig.welcome(token);
    assert!(rig.stranger_bytes() == 0 && rig.partial_bytes() > 0, "it is a user's now");
    assert_eq!(rig.read(token, &mut [], |_, _| {}), ["ping", "request", "ping"]);
    assert_eq!((rig.partial_bytes(), rig.ops().len()), (0, 0), "a poll is armed already");
}

#[test]
fn a_link_that_says_too_much_before_the_welcome_is_not_read_until_then() {
    let mut rig = Rig::new(settings());
    let token = rig.authenticating(0);
    let said = rig.say(token, &[PING; 7]);
    rig.arrive(token, &said);
    assert_eq!(rig.ops(), ["receive 0", "poll 0"]);
    let said = rig.say(token, &[PING]);
    rig.arrive(token, &said);
    assert_eq!(rig.ops(), ["receive 0"], "and then nothing");
    rig.flush();
    assert!(rig.ops().is_empty());
    rig.welcome(token);
    assert_eq!(rig.read(token, &mut [], |_, _| {}), ["ping"; 8]);
    assert_eq!(rig.ops(), ["poll 0"]);
}

#[test]
fn a_link_that_says_too_much_before_the_welcome_can_be_closed() {
    let mut rig = Rig::new(settings());
    let token = rig.authenticating(0);
    let said = rig.say(token, &[PING; 8]);
    rig.arrive(token, &said);
    rig.links.mark(token, Cause::Close(CloseCode::AuthFailed.into()));
    rig.bury();
    rig.flush();
    assert_eq!(rig.ops(), ["receive 0", "receive 0", "send 0"], "its end is heard");
}

#[test]
fn a_broken_rule_ends_the_link_and_nothing_behind_it_is_lent() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    let said = rig.say(token, &[PING, PONG, PING]);
    assert_eq!(rig.arrive(token, &said), ["ping"]);
    assert!(!rig.links.is_live(token));
    assert_eq!(rig.bury_one().code, Some(CloseCode::Unexpected.number()));
    assert_eq!(rig.counted(), ["closed unexpected", "errors unexpected"]);
}

#[test]
fn a_record_that_does_not_open_ends_the_link_in_silence() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    let said = [rig.say(token, &[PING]), rig.say(token, &[PING])];
    let mut said = said.concat();
    *said.last_mut().expect("it has bytes") ^= 1;
    assert_eq!(rig.arrive(token, &said), ["ping"]);
    assert_eq!(rig.bury_one().code, None);
    assert_eq!(rig.ops(), ["receive 0", "close 0"]);
    assert_eq!(rig.counted(), ["errors record"]);
}

#[test]
fn the_bounds_of_records_and_frames_are_those_of_the_settings() {
    for (len, code) in [(3900, None), (4100, Some(CloseCode::TooLarge.number()))] {
        let mut rig = Rig::new(settings());
        let token = rig.live(0);
        let said = rig.say(token, &[request(&vec![0; len])]);
        rig.arrive(token, &said);
        assert_eq!(rig.bury().first().and_then(|parted| parted.code), code);
    }
}

/// A link's record of which the last byte is missing, and that byte.
fn cut(rig: &mut Rig, token: Token, len: usize) -> (Vec<u8>, u8) {
    let mut said = rig.say(token, &[request(&vec![0; len])]);
    let last = said.pop().expect("it has bytes");
    (said, last)
}

#[test]
fn when_rests_of_chunks_take_too_much_room_the_oldest_link_goes() {
    // In buffers of 4096 bytes each.
    let mut rig = Rig::new(Settings { partial_bytes_max: 12_300, ..settings() });
    let mut lasts = Vec::new();
    for slot in 0..4 {
        let token = rig.live(slot);
        let (said, last) = cut(&mut rig, token, 3000);
        rig.settle();
        assert_eq!(rig.arrive(token, &said), [""; 0]);
        lasts.push(last);
    }
    assert_eq!(rig.partial_bytes(), 3 * 4096);
    assert_eq!(rig.ops(), ["receive 3", "poll 3"]);
    assert!(!rig.links.is_live(at(0)), "three of them have room");
    assert_eq!(rig.bury_one().code, Some(CloseCode::TryLater.number()));
    assert_eq!(rig.counted(), ["closed try_later", "errors partial_evicted"]);
    for slot in 1..4 {
        assert_eq!(rig.arrive(at(slot), &[lasts[slot as usize]]), ["request"]);
    }
    rig.flush();
    rig.sent(at(0));
    assert_eq!((rig.told(at(0)), rig.partial_bytes()), (vec!["close try_later after 2007 ms".into()], 0));
}

#[test]
fn a_link_that_left_nothing_over_is_not_thrown_out() {
    let mut rig = Rig::new(Settings { partial_bytes_max: 1100, ..settings() });
    // The first one's hello was kept until its handshake; the second one's record until its last byte came.
    rig.open(0);
    let token = rig.live(1);
    let said = rig.say(token, &[PING]);
    rig.arrive(token, &said[..10]);
    rig.arrive(token, &said[10..]);
    for slot in 2..4 {
        let token = rig.live(slot);
        let (said, _) = cut(&mut rig, token, 600);
        rig.arrive(token, &said);
    }
    let marked: Vec<_> = std::iter::from_fn(|| rig.links.next_marked()).map(|(token, _)| token).collect();
    assert_eq!(marked, [at(2)]);
}

#[test]
fn a_rest_for_which_there_is_never_room_ends_its_own_link() {
    let mut rig = Rig::new(Settings { partial_bytes_max: 1000, ..settings() });
    let (other, token) = (rig.live(0), rig.live(1));
    let (said, last) = cut(&mut rig, other, 10);
    rig.arrive(other, &said[..1]);
    rig.settle();
    let (long, _) = cut(&mut rig, token, 3000);
    rig.arrive(token, &long[..1]);
    rig.arrive(token, &long[1..]);
    assert_eq!(rig.ops(), ["receive 1", "poll 1", "receive 1"]);
    let codes: Vec<_> = rig.bury().iter().map(|parted| parted.code).collect();
    assert_eq!(codes, [Some(CloseCode::TryLater.number()); 2], "that of the other one was thrown out before");
    assert_eq!(rig.arrive(other, &[&said[1..], &[last]].concat()), [""; 0]);
}

#[test]
fn a_hello_in_pieces_may_be_thrown_out_too() {
    let mut rig = Rig::new(Settings { stranger_bytes_max: 200, ..settings() });
    for slot in 0..2 {
        let token = rig.accept(slot);
        let hello = rig.dial(token, Suite::NkChaChaPoly);
        rig.arrive(token, &hello[..60]);
    }
    assert_eq!(rig.numbers(), [2, 1, 0, 1, 0]);
    rig.settle();
    assert_eq!(
        rig.bury_one(),
        Parted { session: None, code: None, was_authenticating: false, leaves_session: false }
    );
    assert_eq!(rig.ops(), ["cancel receive 0"], "without keys nothing can be said");
    assert_eq!(rig.counted(), ["closed try_later", "errors partial_evicted"]);
}

#[test]
fn a_complete_hello_that_is_thrown_out_is_asked_to_come_later() {
    let mut rig = Rig::new(Settings { stranger_bytes_max: 200, handshakes_waiting_max: 9, ..settings() });
    let first = rig.hailed(0);
    rig.settle();
    rig.hailed(1);
    assert!(rig.links.machine(first).is_none());
    rig.bury();
    assert_eq!(
        rig.counted(),
        ["clear_replies_busy", "errors partial_evicted", "links_accepted"],
        "it would try the costlier handshake at once"
    );
}

#[test]
fn what_strangers_send_takes_no_room_of_users() {
    let mut rig = Rig::new(Settings {
        partial_bytes_max: 600,
        stranger_bytes_max: 600,
        strangers_max: 9,
        ..settings()
    });
    let user = rig.live(0);
    let said = rig.say(user, &[request(&[0; 400])]);
    rig.arrive(user, &said[..400]);
    for slot in 1..9 {
        let token = rig.accept(slot);
        let hello = rig.dial(token, Suite::NkChaChaPoly);
        rig.arrive(token, &hello[..60]);
    }
    assert!(rig.links.is_live(user));
    let others = (1..9).filter(|&slot| rig.links.machine(at(slot)).is_some()).count();
    assert_eq!((others, rig.partial_bytes(), rig.stranger_bytes()), (4, 512, 4 * 128));
    assert_eq!(rig.arrive(user, &said[400..]), ["request"]);
}

#[test]
fn the_buffer_of_a_long_record_does_not_stay_with_the_link() {
    let mut rig = Rig::new(Settings { partial_bytes_max: 1 << 20, ..settings() });
    let token = rig.live(0);
    let said = [rig.say(token, &[request(&[0; 3900])]), rig.say(token, &[PING])].concat();
    let (long, short) = said.split_at(3700);
    rig.arrive(token, long);
    assert_eq!(rig.partial_bytes(), 4096);
    let (most, last) = short.split_at(short.len() - 10);
    assert_eq!(rig.arrive(token, most), ["request"]);
    assert_eq!(rig.partial_bytes(), 128, "of the next record a part is there");
    assert_eq!(rig.arrive(token, last), ["ping"]);
}

#[test]
fn a_link_that_speaks_a_lot_has_a_receive_until_further_notice() {
    let mut rig = Rig::new(Settings { promote_after: 4, demote_after: millis(30_000), ..settings() });
    // Of its four chunks within 30 s the hello is one and the auth another.
    let token = rig.live(0);
    for _ in 0..3 {
        let said = rig.say(token, &[PING]);
        assert_eq!(rig.arrive(token, &said), ["ping"]);
    }
    assert_eq!(rig.ops(), ["receive 0", "poll 0", "receive 0", "multishot 0"], "and it stays");
}

#[test]
fn a_link_that_speaks_now_and_then_waits_with_a_poll() {
    let mut rig = Rig::new(Settings { promote_after: 3, demote_after: millis(30_000), ..settings() });
    let token = rig.live(0);
    rig.pass(millis(30_000));
    for _ in 0..10 {
        rig.pass(millis(16_000));
        let said = rig.say(token, &[PING]);
        rig.arrive(token, &said);
        assert_eq!(rig.ops(), ["receive 0", "poll 0"]);
    }
}

/// A link with a receive until further notice.
fn busy(rig: &mut Rig) -> Token {
    let token = rig.live(0);
    let said = rig.say(token, &[PING]);
    rig.arrive(token, &said);
    assert_eq!(rig.ops(), ["receive 0", "multishot 0"]);
    token
}

#[test]
fn a_busy_link_that_becomes_quiet_waits_with_a_poll_again() {
    let mut rig = Rig::new(Settings { promote_after: 3, demote_after: millis(10_000), ..settings() });
    let token = busy(&mut rig);
    rig.pass(millis(9900));
    rig.pass(millis(100));
    assert!(rig.ops().is_empty(), "it has spoken a lot");
    for _ in 0..3 {
        let said = rig.say(token, &[PING]);
        assert_eq!(rig.arrive(token, &said), ["ping"]);
    }
    assert!(rig.ops().is_empty(), "its receive stays");
    rig.pass(millis(10_000));
    assert!(rig.ops().is_empty(), "it speaks as much as before");
    let said = [rig.say(token, &[PING]), rig.say(token, &[PING])];
    assert_eq!(rig.arrive(token, &said[0]), ["ping"]);
    rig.pass(millis(9900));
    assert!(rig.ops().is_empty());
    rig.pass(millis(100));
    assert_eq!(rig.ops(), ["cancel receive 0"]);
    assert_eq!(rig.arrive(token, &said[1]), ["ping"], "it was on its way");
    rig.pass(millis(10_000));
    assert!(rig.ops().is_empty());
    rig.ended(token, End::Cancelled);
    assert_eq!(rig.ops(), ["poll 0"]);
}

#[test]
fn a_receive_that_ends_while_it_is_cancelled_leaves_a_poll() {
    let mut rig = Rig::new(Settings { promote_after: 3, demote_after: millis(10_000), ..settings() });
    let token = busy(&mut rig);
    rig.pass(millis(10_000));
    rig.pass(millis(10_000));
    assert_eq!(rig.ops(), ["cancel receive 0"]);
    let said = rig.say(token, &[PING]);
    assert_eq!(rig.received(token, &said, false, |_, _| {}), ["ping"]);
    assert_eq!(rig.ops(), ["poll 0"]);
}

#[test]
fn a_link_that_ends_while_its_receive_is_cancelled_does_not_cancel_it_twice() {
    let mut rig = Rig::new(Settings { promote_after: 3, demote_after: millis(10_000), ..settings() });
    let token = busy(&mut rig);
    rig.pass(millis(10_000));
    rig.pass(millis(10_000));
    rig.links.mark(token, Cause::Silent);
    rig.bury();
    assert_eq!(rig.ops(), ["cancel receive 0"]);
    rig.ended(token, End::Cancelled);
    assert_eq!(rig.ops(), ["close 0"]);
}

#[test]
fn a_receive_that_found_no_buffer_is_armed_again_at_the_end_of_the_turn() {
    let mut rig = Rig::new(settings());
    let (token, live) = (rig.accept(0), rig.live(1));
    rig.settle();
    rig.readable(live);
    for token in [token, live] {
        rig.ended(token, End::Starved);
    }
    assert_eq!(rig.ops(), ["receive 1"], "now it would end the same way");
    rig.flush();
    assert_eq!(rig.ops(), ["receive 0", "poll 1"]);
    rig.flush();
    assert!(rig.ops().is_empty());
    let hello = rig.dial(token, Suite::NkChaChaPoly);
    rig.arrive(token, &hello);
    assert!(rig.links.machine(token).is_some_and(ServerLink::is_hailed));
}

#[test]
fn a_starved_link_that_has_gone_is_not_armed() {
    let mut rig = Rig::new(settings());
    for slot in 0..2 {
        let token = rig.live(slot);
        rig.ended(token, End::Starved);
        rig.links.mark(token, Cause::Silent);
        if slot == 0 {
            rig.flush();
            assert!(rig.ops().is_empty(), "it is gone, though it was not buried");
        }
        rig.bury();
        rig.flush();
        assert_eq!(rig.ops(), [format!("close {slot}")]);
    }
}

#[test]
fn what_lapsed_or_was_cancelled_is_armed_again() {
    for why in [End::Lapsed, End::Cancelled] {
        let mut rig = Rig::new(settings());
        let (token, live) = (rig.accept(0), rig.live(1));
        rig.settle();
        rig.ended(token, why);
        rig.ended(live, why);
        assert_eq!(rig.ops(), ["receive 0", "poll 1"]);
    }
}

#[test]
fn an_end_without_a_close_frame_is_a_loss() {
    for why in [End::Eof, End::Broken(RESET)] {
        let mut rig = Rig::new(settings());
        let token = rig.live(0);
        rig.readable(token);
        rig.ended(token, why);
        assert!(!rig.links.is_live(token));
        assert_eq!(
            rig.bury_one(),
            Parted { session: Some(session()), code: None, was_authenticating: false, leaves_session: true }
        );
        assert_eq!(rig.counted(), ["links_lost"]);
        assert_eq!(rig.ops(), ["receive 0", "close 0"]);
        rig.closed(token);
        rig.assert_empty();
    }
}

#[test]
fn before_the_welcome_reading_stops_however_many_chunks_came_before() {
    let mut rig = Rig::new(Settings { promote_after: 3, ..settings() });
    let token = rig.authenticating(0);
    for _ in 0..HELD_FRAMES_MAX {
        let said = rig.say(token, &[PING]);
        assert_eq!(rig.arrive(token, &said), [""; 0]);
    }
    rig.settle();
    for _ in 0..3 {
        if rig.kernel.reads.contains_key(&token) {
            let said = rig.say(token, &[request(&[0; 2000])]);
            rig.arrive(token, &said);
        }
    }
    assert!(rig.partial_bytes() < HELD_BYTES_MAX, "{} bytes are held of a stranger", rig.partial_bytes());
    assert!(!rig.kernel.reads.contains_key(&token));
    rig.welcome(token);
    assert_eq!(rig.read(token, &mut [], |_, _| {}), ["ping"; HELD_FRAMES_MAX]);
    assert_eq!(rig.ops(), ["multishot 0"], "now it may speak as much as it likes");
}
