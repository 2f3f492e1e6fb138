//! A marked link is gone for everybody at once, and nothing has happened yet.

use super::*;
use crate::counters::Cell;

#[test]
fn a_marked_link_is_gone_for_everybody_at_once() {
    let mut rig = Rig::new(settings());
    let token = rig.live_sending(3, &response(&[0; 500]));
    rig.send(token, &PONG);
    assert!(rig.links.machine(token).is_some() && rig.links.session(token).is_some());
    assert_eq!((rig.links.in_slot(3), rig.links.slots_used()), (Some(token), 4));
    assert!(rig.outgoing_bytes() > 500);
    rig.links.mark(token, Cause::Close(CloseCode::Kicked.into()));
    assert!(rig.links.machine(token).is_none() && rig.links.session(token).is_none());
    assert!(rig.links.peer(token).is_none() && rig.links.listener(token).is_none());
    assert!(!rig.links.is_live(token) && rig.links.in_slot(3).is_none());
    assert_eq!(rig.outgoing_bytes(), 0, "or others would be cut for it");
    assert!(!rig.send(token, &PONG), "it takes nothing");
    assert!(rig.links.open(token, &mut []).is_none(), "it says nothing");
    assert!(rig.ops().is_empty() && rig.counted().is_empty(), "all that follows from its end has its time");
    assert_eq!((rig.numbers(), rig.has_work()), ([1, 0, 0, 1, 0], true));
}

#[test]
fn a_marked_link_does_not_authenticate_and_gets_no_session() {
    let mut rig = Rig::new(settings());
    let token = rig.authenticating(0);
    assert!(rig.links.is_authenticating(token));
    rig.links.mark(token, Cause::Silent);
    assert!(!rig.links.is_authenticating(token));
    rig.welcome(token);
    assert!(!rig.links.is_live(token) && rig.numbers() == [1, 0, 0, 1, 0]);
    rig.links.attach(token, SessionKey::from(Key { index: 6, generation: 1 }));
    rig.links.pong(&mut rig.turn, token, 1, Some(millis(1)));
    assert_eq!(
        rig.bury_one(),
        Parted { session: Some(session()), code: None, was_authenticating: true, leaves_session: false }
    );
    rig.flush();
    assert_eq!(rig.ops(), ["cancel poll 0"]);
}

#[test]
fn nothing_of_the_rest_of_its_chunk_is_lent() {
    for marked_at in ["ping", "request"] {
        let mut rig = Rig::new(settings());
        let token = rig.live(0);
        let said = rig.say(token, &[PING, request(&[0; 300]), PING]);
        let said = [said, rig.say(token, &[PING, request(&[0; 90])])].concat();
        let (said, rest) = said.split_at(said.len() - 50);
        let lent = rig.arrive_and(token, said, |links, name| {
            if name == marked_at {
                links.mark(token, Cause::Close(CloseCode::RateExceeded.into()));
            }
        });
        assert_eq!(lent.last(), Some(&marked_at));
        assert_eq!(rig.turn.counters.frames_in.get() as usize, 1 + lent.len(), "with the auth");
        assert_eq!(rig.partial_bytes(), 0, "nothing of it is kept");
        assert_eq!(rig.ops(), ["receive 0"], "what is armed for its end is armed when it is buried");
        rig.bury();
        assert_eq!(rig.ops(), ["receive 0"]);
        assert_eq!(rig.arrive(token, rest), [""; 0]);
    }
}

#[test]
fn the_first_cause_counts_unless_only_a_later_one_ends_the_session_too() {
    let causes = || [Cause::Lost, Cause::Close(CloseCode::SlowReader.into()), Cause::Fault(Error::Glitches)];
    for (first, code) in [(0, None), (1, Some(CloseCode::SlowReader)), (2, Some(CloseCode::Glitches))] {
        let mut rig = Rig::new(settings());
        let token = rig.live(0);
        rig.links.mark(token, causes().into_iter().nth(first).expect("one of three"));
        for later in causes() {
            rig.links.mark(token, later);
        }
        assert_eq!(rig.bury_one().code, code.map(CloseCode::number));
        rig.links.mark(token, Cause::Silent);
        assert!(!rig.has_work(), "and after the first there is none");
    }
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    let kick = |code: CloseCode| Cause::Close(code.into());
    for cause in [Cause::Lost, kick(CloseCode::Kicked), kick(CloseCode::Banned), Cause::Lost] {
        rig.links.mark(token, cause);
    }
    let parted = rig.bury_one();
    assert_eq!((parted.code, parted.leaves_session), (Some(CloseCode::Kicked.number()), false));
}

#[test]
fn links_are_buried_in_the_order_in_which_they_were_marked() {
    let mut rig = Rig::new(settings());
    for slot in 0..3 {
        rig.accept(slot);
    }
    for slot in [1, 0, 2] {
        rig.links.mark(at(slot), Cause::Silent);
    }
    for (slot, marked) in [(1, 3), (0, 2), (2, 1)] {
        assert_eq!((rig.has_work(), rig.numbers()[3]), (true, marked));
        assert!(matches!(rig.links.next_marked(), Some((token, Cause::Silent)) if token == at(slot)));
    }
    assert!(!rig.has_work() && rig.links.next_marked().is_none());
}

#[test]
fn a_former_tenant_of_a_slot_is_nobody() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    let former = Token { slot: 0, generation: 0 };
    rig.settle();
    rig.links.mark(former, Cause::Silent);
    assert!(!rig.has_work());
    assert_eq!(rig.links.part(&mut rig.turn, former, Cause::Lost), None);
    assert!(!rig.send(former, &PONG) && rig.links.peer(former).is_none() && !rig.links.is_live(former));
    rig.links.readable(&mut rig.turn, former);
    rig.links.ended(&mut rig.turn, former, End::Eof);
    assert_eq!(rig.links.received(&mut rig.turn, former, 10, false), Heard::Nothing);
    rig.links.sent(&mut rig.turn, former, Batch::default(), Sent::Broken(RESET));
    rig.links.closed(&mut rig.turn, former);
    assert!(rig.links.is_live(token) && !rig.has_work());
    assert!(rig.ops().is_empty() && rig.counted().is_empty());
}

#[test]
fn a_marked_link_is_sent_nothing_before_it_is_buried() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.send(token, &PONG);
    rig.links.mark(token, Cause::Close(CloseCode::Kicked.into()));
    // When more were marked than are buried in one turn.
    rig.flush();
    assert!(rig.ops().is_empty());
    rig.bury();
    rig.flush();
    assert_eq!(rig.ops(), ["send 0"]);
    rig.sent(token);
    assert_eq!(rig.told(token), ["pong 1", "close kicked"]);
}

#[test]
fn the_memory_of_a_send_comes_back_though_its_link_is_gone() {
    let mut rig = Rig::new(settings());
    let bytes = rig.turn.buffers.take(1000);
    rig.links.sent(&mut rig.turn, at(0), Batch { bytes, sent: 0 }, Sent::Cancelled);
    rig.assert_empty();
}

#[test]
fn when_the_process_ends_every_link_is_told_and_nobody_is_let_in() {
    let mut rig = Rig::new(Settings { lingering_max: 1, ..settings() });
    for slot in [0, 2] {
        rig.live(slot);
    }
    rig.accept(4);
    rig.links.mark(at(0), Cause::Lost);
    rig.settle();
    rig.links.stop();
    assert_eq!(rig.numbers(), [3, 0, 0, 3, 0]);
    rig.accept(5);
    assert_eq!(rig.numbers(), [4, 0, 0, 4, 0]);
    let codes: Vec<_> = rig.finish_turn().iter().map(|parted| parted.code).collect();
    assert_eq!(codes, [None, Some(CloseCode::GoingAway.number()), None, None]);
    assert_eq!(rig.ops(), ["cancel poll 0", "cancel receive 4", "close 5", "send 2"]);
    assert_eq!(rig.counted(), ["closed going_away +2", "links_accepted", "links_lost"]);
    rig.sent(at(2));
    assert_eq!(rig.told(at(2)), ["close going_away"]);
}

#[test]
fn how_many_there_are_of_everything_is_a_metric() {
    let mut rig = Rig::new(settings());
    let (closing, speaking, listening) = (rig.live(0), rig.live(1), rig.live(2));
    rig.links.mark(closing, Cause::Close(CloseCode::Kicked.into()));
    rig.bury();
    let said = rig.say(speaking, &[request(&[0; 100])]);
    rig.arrive(speaking, &said[..33]);
    rig.flush();
    rig.send(listening, &PONG);
    for slot in 3..5 {
        rig.accept(slot);
        rig.hailed(slot + 2);
    }
    rig.links.publish(&rig.turn.counters);
    let counters = &rig.turn.counters;
    let numbers =
        [&counters.links, &counters.strangers, &counters.handshakes_waiting, &counters.links_lingering];
    assert_eq!(numbers.map(Cell::get), [7, 4, 2, 1]);
    let bytes = [&counters.partial_bytes, &counters.stranger_bytes, &counters.outbox_bytes];
    assert_eq!(bytes.map(Cell::get), [128, 2 * 128, 512], "of buffers");
}

#[test]
fn the_rest_of_a_chunk_of_a_marked_link_takes_no_room_of_others() {
    let mut rig = Rig::new(Settings { partial_bytes_max: 1100, ..settings() });
    let lives = [0, 1, 2].map(|slot| rig.live(slot));
    let said = lives.map(|token| rig.say(token, &[request(&[0; 400])]));
    rig.arrive(lives[0], &said[0][..400]);
    rig.arrive(lives[1], &said[1][..400]);
    rig.links.mark(lives[1], Cause::Close(CloseCode::Kicked.into()));
    assert_eq!(rig.partial_bytes(), 512);
    rig.bury();
    rig.arrive(lives[2], &said[2][..400]);
    assert!(rig.links.is_live(lives[0]), "there is room for two");
}
