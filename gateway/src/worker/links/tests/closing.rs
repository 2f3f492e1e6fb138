//! From the last frame to the free slot: linger, drain, close.

use protocol::limits::LINGER_BYTES_MAX;

use super::*;

const BYE: CloseCode = CloseCode::GoingAway;

fn bye() -> Cause {
    Cause::Close(BYE.into())
}

/// A link that lingers, told and waiting for the client's end.
fn lingering(rig: &mut Rig, slot: u32) -> Token {
    let token = rig.live(slot);
    rig.links.mark(token, bye());
    assert_eq!(rig.bury_one().code, Some(BYE.number()));
    rig.flush();
    rig.sent(token);
    assert_eq!(rig.told(token), ["close going_away"]);
    rig.settle();
    token
}

fn assert_closes(rig: &mut Rig, token: Token) {
    assert_eq!(rig.ops(), [format!("close {}", token.slot)]);
    rig.closed(token);
    assert_eq!(rig.counted(), ["links_closed"]);
    rig.assert_empty();
}

#[test]
fn the_close_is_the_last_that_a_client_reads_and_comes_behind_the_send_in_flight() {
    let mut rig = Rig::new(settings());
    let token = rig.live_sending(0, &Frame::Pong { nonce: 1 });
    rig.links.mark(token, bye());
    assert!(!rig.send(token, &Frame::Pong { nonce: 2 }));
    rig.sent_part(token, 5);
    assert_eq!(rig.ops(), ["send 0"], "a record that was begun is sent whole");
    rig.bury();
    rig.flush();
    assert!(rig.ops().is_empty(), "one send is in flight");
    rig.unsent(token, Sent::Again);
    assert_eq!(rig.ops(), ["send 0"]);
    rig.sent_part(token, 5);
    assert_eq!(rig.ops(), ["send 0"]);
    rig.sent(token);
    assert_eq!((rig.told(token), rig.ops().len()), (vec!["pong 1".into()], 0));
    rig.flush();
    assert_eq!(rig.ops(), ["send 0"]);
    rig.sent(token);
    rig.flush();
    assert_eq!((rig.told(token), rig.ops().len()), (vec!["close going_away".into()], 0));
    assert_eq!(rig.outgoing_bytes(), 0);
}

#[test]
fn whoever_is_to_come_later_is_told_when_even_if_its_backend_did_not_say() {
    for (code, said, told) in [
        (CloseCode::TryLater, 0, "close try_later after 1257 ms"),
        (CloseCode::TryLater, 5000, "close try_later after 5000 ms"),
        (BYE, 0, "close going_away"),
    ] {
        let mut rig = Rig::new(settings());
        let token = rig.live(0);
        let retry_after = millis(said);
        rig.links.mark(token, Cause::Close(Farewell { retry_after, ..code.into() }));
        rig.bury();
        rig.flush();
        rig.sent(token);
        assert_eq!(rig.told(token), [told]);
    }
}

#[test]
fn what_is_queued_is_told_with_the_close() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.send(token, &Frame::Pong { nonce: 1 });
    rig.links.mark(token, bye());
    rig.bury();
    rig.flush();
    assert_eq!(rig.ops(), ["send 0"]);
    rig.sent(token);
    assert_eq!(rig.told(token), ["pong 1", "close going_away"]);
    assert_eq!(rig.outgoing_bytes(), 0);
}

#[test]
fn what_is_queued_behind_a_send_in_flight_is_not_told() {
    let mut rig = Rig::new(settings());
    let token = rig.live_sending(0, &Frame::Pong { nonce: 1 });
    rig.send(token, &Frame::Pong { nonce: 2 });
    rig.links.mark(token, bye());
    rig.bury();
    rig.sent(token);
    rig.flush();
    rig.sent(token);
    assert_eq!(rig.told(token), ["pong 1", "close going_away"]);
    assert_eq!(rig.outgoing_bytes(), 0);
}

#[test]
fn what_is_queued_for_a_slow_reader_is_not_told() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.send(token, &Frame::Pong { nonce: 1 });
    rig.links.mark(token, Cause::Close(CloseCode::SlowReader.into()));
    rig.bury();
    rig.flush();
    rig.sent(token);
    assert_eq!(rig.told(token), ["close slow_reader"]);
    assert_eq!(rig.outgoing_bytes(), 0);
}

#[test]
fn the_last_words_count_while_they_wait() {
    let mut rig = Rig::new(settings());
    let token = rig.live_sending(0, &Frame::Pong { nonce: 1 });
    rig.links.mark(token, bye());
    assert_eq!(rig.outgoing_bytes(), 0);
    rig.bury();
    assert!(rig.outgoing_bytes() > 0);
    rig.leave(token);
    assert_eq!(rig.outgoing_bytes(), 0, "they will not be said");
    assert_eq!(rig.ops(), ["receive 0", "cancel send 0"]);
    rig.settle();
    rig.unsent(token, Sent::Cancelled);
    assert_closes(&mut rig, token);
}

#[test]
fn more_than_may_linger_are_closed_without_a_word() {
    let mut rig = Rig::new(Settings { lingering_max: 2, ..settings() });
    for slot in 0..2 {
        lingering(&mut rig, slot);
    }
    let token = rig.live(2);
    rig.send(token, &PONG);
    rig.links.mark(token, bye());
    assert_eq!(
        rig.bury_one(),
        Parted { session: Some(session()), code: None, was_authenticating: false, leaves_session: false }
    );
    rig.flush();
    assert_eq!((rig.ops(), rig.counted()), (vec!["cancel poll 2".into()], vec!["closed going_away".into()]));
    assert_eq!((rig.numbers()[4], rig.outgoing_bytes()), (2, 0));
    rig.leave(at(0));
    lingering(&mut rig, 3);
    assert_eq!(rig.numbers()[4], 2, "a place has become free");
}

#[test]
fn at_the_end_of_the_process_everybody_lingers() {
    let mut rig = Rig::new(Settings { lingering_max: 0, ..settings() });
    for slot in 0..3 {
        rig.live(slot);
    }
    rig.links.stop();
    assert!(rig.bury().iter().all(|parted| parted.code == Some(BYE.number())));
    assert_eq!(rig.numbers()[4], 3);
}

#[test]
fn a_lingering_link_goes_when_the_client_has() {
    let mut rig = Rig::new(settings());
    let token = lingering(&mut rig, 0);
    rig.readable(token);
    assert_eq!(rig.ops(), ["receive 0"]);
    rig.ended(token, End::Eof);
    assert_eq!(rig.numbers(), [1, 0, 0, 0, 0]);
    assert_closes(&mut rig, token);
}

#[test]
fn a_lingering_link_goes_after_a_second() {
    let mut rig = Rig::new(settings());
    let token = lingering(&mut rig, 0);
    rig.pass(millis(900));
    assert_eq!((rig.ops().len(), rig.numbers()), (0, [1, 0, 0, 0, 1]));
    rig.pass(millis(100));
    assert_eq!((rig.ops(), rig.numbers()), (vec!["cancel poll 0".into()], [1, 0, 0, 0, 0]));
    rig.pass(millis(5000));
    assert!(rig.ops().is_empty() && !rig.has_work());
    rig.ended(token, End::Cancelled);
    assert_closes(&mut rig, token);
}

#[test]
fn a_lingering_link_goes_after_64_kib() {
    let mut rig = Rig::new(settings());
    let token = lingering(&mut rig, 0);
    rig.readable(token);
    rig.settle();
    for _ in 0..LINGER_BYTES_MAX / 1024 {
        assert_eq!(rig.arrive(token, &[0; 1024]), [""; 0]);
        assert_eq!(rig.ops(), ["receive 0"]);
    }
    assert_eq!(rig.arrive(token, &[0]), [""; 0]);
    assert_eq!(rig.numbers(), [1, 0, 0, 0, 0]);
    assert_closes(&mut rig, token);
}

#[test]
fn what_a_client_says_to_a_lingering_link_is_not_heard() {
    let mut rig = Rig::new(settings());
    let token = lingering(&mut rig, 0);
    let said = rig.say(token, &[PING]);
    assert_eq!(rig.arrive(token, &said), [""; 0]);
    let rubbish = [0; 100];
    assert_eq!(rig.arrive(token, &rubbish), [""; 0], "nor does it break a rule");
    assert_eq!((rig.counted().len(), rig.has_work(), rig.partial_bytes()), (0, false, 0));
    rig.settle();
    rig.leave(token);
    assert_closes(&mut rig, token);
}

#[test]
fn a_lingering_link_goes_when_its_last_send_breaks() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.links.mark(token, bye());
    rig.bury();
    rig.flush();
    rig.settle();
    rig.unsent(token, Sent::Broken(RESET));
    assert_eq!((rig.ops(), rig.numbers()), (vec!["cancel poll 0".into()], [1, 0, 0, 0, 0]));
    rig.ended(token, End::Cancelled);
    assert_closes(&mut rig, token);
}

#[test]
fn a_link_that_broke_while_it_was_marked_is_told_nevertheless_and_goes_then() {
    let mut rig = Rig::new(settings());
    let token = rig.live_sending(0, &PONG);
    rig.links.mark(token, bye());
    rig.unsent(token, Sent::Broken(RESET));
    rig.readable(token);
    assert!(rig.ops().is_empty(), "of a marked link nothing is received");
    rig.bury();
    rig.flush();
    assert_eq!(rig.ops(), ["receive 0", "send 0"]);
    assert_eq!(rig.counted(), ["closed going_away"]);
    rig.ended(token, End::Broken(RESET));
    rig.unsent(token, Sent::Broken(RESET));
    assert_eq!(rig.ops(), ["cancel send 0", "close 0"]);
}

#[test]
fn a_receive_that_starved_is_armed_again_for_a_lingering_link() {
    let mut rig = Rig::new(settings());
    let token = lingering(&mut rig, 0);
    rig.readable(token);
    rig.ended(token, End::Starved);
    rig.settle();
    rig.flush();
    assert_eq!(rig.ops(), ["receive 0"]);
    rig.ended(token, End::Starved);
    rig.pass(millis(1000));
    rig.flush();
    assert_closes(&mut rig, token);
}

/// A link on whose end a poll and a send have to end.
fn draining(rig: &mut Rig) -> Token {
    let token = rig.live_sending(0, &response(&[0; 300]));
    rig.links.mark(token, Cause::Silent);
    rig.bury();
    assert_eq!(rig.ops(), ["cancel poll 0", "cancel send 0"]);
    token
}

#[test]
fn a_socket_is_closed_when_nothing_is_armed_whatever_ends_first() {
    type Ending = fn(&mut Rig);
    let reads: [Ending; 3] =
        [|rig| rig.ended(at(0), End::Cancelled), |rig| rig.ended(at(0), End::Eof), |rig| rig.readable(at(0))];
    let sends: [Ending; 4] = [
        |rig| rig.unsent(at(0), Sent::Cancelled),
        |rig| rig.unsent(at(0), Sent::Broken(RESET)),
        |rig| rig.sent(at(0)),
        // What is cut off stays so.
        |rig| rig.sent_part(at(0), 100),
    ];
    for (read, send) in reads.iter().flat_map(|read| sends.iter().map(move |send| (read, send))) {
        for (first, second) in [(read, send), (send, read)] {
            let mut rig = Rig::new(settings());
            let token = draining(&mut rig);
            first(&mut rig);
            assert!(rig.ops().is_empty(), "something is armed");
            second(&mut rig);
            assert_closes(&mut rig, token);
        }
    }
}

#[test]
fn bytes_of_a_receive_that_is_being_cancelled_are_not_heard() {
    for more in [true, false] {
        let mut rig = Rig::new(Settings { promote_after: 1, ..settings() });
        let token = rig.live(0);
        let said = [rig.say(token, &[PING]), rig.say(token, &[PING])];
        rig.arrive(token, &said[0]);
        rig.settle();
        rig.links.mark(token, Cause::Silent);
        rig.bury();
        assert_eq!(rig.ops(), ["cancel receive 0"]);
        assert_eq!(rig.received(token, &said[1], more, |_, _| {}), [""; 0]);
        if more {
            assert!(rig.ops().is_empty());
            rig.ended(token, End::Cancelled);
        }
        assert_closes(&mut rig, token);
    }
}

#[test]
fn a_link_without_anything_armed_is_closed_at_once() {
    let mut rig = Rig::new(settings());
    let token = rig.hailed(0);
    rig.settle();
    rig.links.mark(token, Cause::Silent);
    rig.bury();
    rig.links.mark(token, Cause::Lost);
    rig.pass(millis(60_000));
    rig.shake_hands();
    assert_closes(&mut rig, token);
}

#[test]
fn a_closed_link_gives_back_what_it_held() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    let said = rig.say(token, &[request(&[0; 200])]);
    rig.arrive(token, &said[..150]);
    rig.send(token, &PONG);
    assert_eq!(rig.partial_bytes(), 256);
    rig.links.mark(token, Cause::Lost);
    rig.bury();
    rig.ended(token, End::Cancelled);
    rig.settle();
    rig.closed(token);
    rig.assert_empty();
    let next = Token { slot: 0, generation: 2 };
    let by = Introduction::Direct;
    rig.links.accepted(&mut rig.turn, next, FIRST, abroad().into(), by, &rig.acceptors);
    assert_eq!((rig.links.in_slot(0), rig.links.session(next)), (Some(next), None), "the slot is free");
}

impl Rig {
    /// The client has gone, and a link that lingers learns of it.
    fn leave(&mut self, token: Token) {
        self.absorb();
        if self.kernel.reads.get(&token) == Some(&Read::Poll) {
            self.readable(token);
        }
        self.ended(token, End::Eof);
    }
}
