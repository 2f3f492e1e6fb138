//! Accept, hello, handshake, strangers.

use protocol::noise::preamble::ClearReply;

use super::clients::PSK;
use super::*;
use crate::admission::share::Shares;
use crate::counters::guard::Guard;

#[test]
fn a_client_comes_in_by_hello_message_2_and_records_and_frames_are_lent_out_of_them() {
    let mut rig = Rig::new(settings());
    let token = rig.accept(0);
    assert_eq!((rig.ops(), rig.numbers()), (vec!["receive 0".into()], [1, 1, 0, 0, 0]));
    assert_eq!((rig.links.peer(token), rig.links.listener(token)), (Some(abroad().into()), Some(FIRST)));
    let hello = rig.dial(token, Suite::NkChaChaPoly);
    assert_eq!(rig.arrive(token, &hello), [""; 0]);
    assert!(rig.ops().is_empty(), "curve work has its time, and before message 2 there is nothing to hear");
    assert!(rig.has_work() && rig.numbers() == [1, 1, 1, 0, 0]);
    rig.shake_hands();
    assert_eq!(rig.ops(), ["send 0", "receive 0"]);
    assert_eq!((rig.partial_bytes(), rig.has_work()), (0, false));
    rig.sent(token);
    assert!(rig.told(token).is_empty() && rig.clients[&token].link.is_open());
    assert_eq!(rig.counted(), ["handshakes", "links_accepted"]);

    let auth = rig.say(token, &[AUTH]);
    assert_eq!(rig.arrive(token, &auth), ["auth"]);
    assert_eq!(rig.ops(), ["poll 0"], "while its token is judged it has nothing urgent to say");
    assert!(rig.links.is_authenticating(token) && !rig.links.is_live(token));
    rig.links.attach(token, session());
    rig.welcome(token);
    assert!(rig.links.is_live(token) && rig.links.session(token) == Some(session()));
    assert_eq!(rig.numbers(), [1, 0, 0, 0, 0], "no stranger any more");
    rig.flush();
    assert_eq!(rig.ops(), ["send 0"]);
    rig.sent(token);
    assert_eq!(rig.told(token), ["welcome"]);

    let said = [rig.say(token, &[PING, request(b"hello")]), rig.say(token, &[PING])].concat();
    assert_eq!(rig.arrive(token, &said), ["ping", "request", "ping"]);
    assert_eq!(rig.ops(), ["receive 0", "poll 0"]);
    rig.links.pong(&mut rig.turn, token, 7, None);
    rig.flush();
    rig.sent(token);
    assert_eq!((rig.told(token), rig.counted()), (vec!["pong 7".into()], vec!["pings".into()]));
    let counters = &rig.turn.counters;
    assert_eq!((counters.frames_in.get(), counters.frames_out.get(), counters.sends_out.get()), (4, 2, 2));
    assert_eq!(counters.bytes_in.get() as usize, hello.len() + auth.len() + said.len());
}

#[test]
fn a_hello_may_come_in_pieces() {
    let mut rig = Rig::new(settings());
    let token = rig.accept(0);
    let hello = rig.dial(token, Suite::NkChaChaPoly);
    let (last, pieces) = hello.split_last().expect("a hello has bytes");
    for &byte in pieces {
        assert_eq!(rig.ops(), ["receive 0"]);
        rig.arrive(token, &[byte]);
        assert_eq!((rig.stranger_bytes(), rig.has_work()), (128, false), "the smallest buffer");
    }
    rig.arrive(token, &[*last]);
    assert!(rig.has_work());
    rig.shake_hands();
    assert_eq!(rig.ops(), ["receive 0", "send 0", "receive 0"]);
    assert_eq!(rig.stranger_bytes(), 0, "the handshake has used it up");
    rig.sent(token);
    assert!(rig.told(token).is_empty() && rig.clients[&token].link.is_open());
}

#[test]
fn a_hello_that_does_not_pass_the_gate_is_met_with_silence() {
    let mut rig = Rig::new(settings());
    let mut wrong = rig.foreign_hello(1, 40);
    *wrong.last_mut().expect("it has bytes") ^= 1;
    let mut tampered = rig.dial(at(1), Suite::NkChaChaPoly);
    tampered[60] ^= 1;
    for (slot, hello, error) in [
        (0, &wrong[..], "errors gate"),
        (1, &tampered[..], "errors gate"),
        (2, &b"GET / HTTP/1.1\r\n\r\n"[..], "errors magic"),
    ] {
        let token = rig.accept(slot);
        rig.settle();
        rig.arrive(token, hello);
        assert!(rig.links.machine(token).is_none() && rig.ops().is_empty());
        assert_eq!(
            rig.bury_one(),
            Parted { session: None, code: None, was_authenticating: false, leaves_session: false }
        );
        assert_eq!((rig.ops(), rig.counted()), (vec![format!("close {slot}")], vec![error.into()]));
        rig.closed(token);
    }
    rig.assert_empty();
}

#[test]
fn a_hello_that_is_not_served_gets_a_clear_reply_and_its_link_lingers() {
    let mut rig = Rig::new(settings());
    let hellos = [
        (rig.foreign_hello(2, 1), "Rejected(1)", "errors version"),
        (rig.foreign_hello(1, 40), "Rejected(2)", "errors suite"),
        (rig.dial(at(2), Suite::NkAesGcm), "Rejected(2)", "errors suite"),
    ];
    for (slot, (hello, told, error)) in (0..).zip(hellos) {
        let token = rig.accept(slot);
        rig.dial(token, Suite::NkChaChaPoly);
        rig.settle();
        rig.arrive(token, &hello);
        assert_eq!(rig.numbers(), [1, 0, 0, 1, 0], "it is no stranger any more");
        assert_eq!(
            rig.bury_one(),
            Parted { session: None, code: None, was_authenticating: false, leaves_session: false }
        );
        assert_eq!(rig.ops(), [format!("send {slot}"), format!("receive {slot}")]);
        assert_eq!(rig.numbers(), [1, 0, 0, 0, 1]);
        assert_eq!(rig.counted(), ["clear_replies", error]);
        rig.sent(token);
        assert_eq!(rig.told(token), [told]);
        assert!(rig.ops().is_empty(), "it waits for the client to go");
        rig.ended(token, End::Eof);
        assert_eq!((rig.ops(), rig.numbers()), (vec![format!("close {slot}")], [1, 0, 0, 0, 0]));
        rig.closed(token);
    }
    rig.assert_empty();
}

#[test]
fn a_clear_reply_has_a_fifth_of_a_second_to_leave() {
    let mut rig = Rig::new(settings());
    let token = rig.accept(0);
    let hello = rig.foreign_hello(2, 1);
    rig.arrive(token, &hello);
    rig.bury();
    rig.settle();
    rig.pass(millis(100));
    assert!(rig.ops().is_empty());
    rig.pass(millis(100));
    assert_eq!(rig.ops(), ["cancel receive 0", "cancel send 0"]);
    rig.unsent(token, Sent::Cancelled);
    rig.ended(token, End::Cancelled);
    assert_eq!(rig.ops(), ["close 0"]);
    rig.closed(token);
    rig.assert_empty();
}

#[test]
fn clear_replies_take_half_of_the_places_of_those_that_linger() {
    let mut rig = Rig::new(Settings { lingering_max: 4, ..settings() });
    let live = rig.live(9);
    let hello = rig.foreign_hello(2, 1);
    for slot in 0..3 {
        let token = rig.accept(slot);
        rig.arrive(token, &hello);
    }
    rig.settle();
    assert_eq!(rig.bury().len(), 3);
    assert_eq!(rig.ops(), ["send 0", "receive 0", "send 1", "receive 1", "close 2"], "silence for the third");
    assert_eq!(rig.numbers()[4], 2);
    rig.links.mark(live, Cause::Close(CloseCode::Kicked.into()));
    assert_eq!(rig.bury_one().code, Some(CloseCode::Kicked.number()), "the other half is for such");
    assert_eq!(rig.numbers()[4], 3);
}

#[test]
fn each_listener_has_an_acceptor_of_its_own() {
    let mut rig = Rig::new(settings());
    for (slot, suite, is_served) in [(0, Suite::NkAesGcm, true), (1, Suite::NkChaChaPoly, false)] {
        let token = rig.accept_from(slot, SECOND, abroad());
        let hello = rig.dial(token, suite);
        rig.arrive(token, &hello);
        assert_eq!(rig.links.machine(token).is_some_and(ServerLink::is_hailed), is_served);
        assert_eq!(rig.links.listener(token), is_served.then_some(SECOND));
    }
    rig.finish_turn();
    rig.sent(at(0));
    assert!(rig.told(at(0)).is_empty() && rig.clients[&at(0)].link.is_open());
}

#[test]
fn so_many_handshakes_are_made_in_a_turn_and_the_others_wait() {
    let mut rig = Rig::new(Settings { handshakes_per_turn: 2, ..settings() });
    for slot in 0..3 {
        rig.hailed(slot);
    }
    rig.settle();
    rig.shake_hands();
    assert_eq!(rig.ops(), ["send 0", "receive 0", "send 1", "receive 1"], "those that wait longest");
    assert!(rig.has_work() && rig.numbers()[2] == 1);
    rig.shake_hands();
    assert_eq!((rig.ops(), rig.has_work()), (vec!["send 2".into()], false), "a poll is armed already");
    assert_eq!(rig.counted(), ["handshakes +3"]);
}

#[test]
fn whoever_leaves_the_line_costs_no_curve_work() {
    let mut rig = Rig::new(Settings { handshakes_per_turn: 1, ..settings() });
    let mut hailed = |slot| {
        rig.settle();
        rig.hailed(slot);
        rig.ops()
    };
    let polls = [0, 1, 2].map(&mut hailed);
    assert_eq!(polls[0], ["receive 0"], "it is served in this turn");
    assert_eq!(polls[1..], [["receive 1", "poll 1"], ["receive 2", "poll 2"]], "they have to wait");
    rig.settle();
    rig.readable(at(1));
    rig.ended(at(1), End::Eof);
    rig.bury();
    rig.closed(at(1));
    (0..3).for_each(|_| rig.shake_hands());
    assert_eq!(rig.counted(), ["handshakes +2", "links_closed", "links_lost"]);
}

#[test]
fn whoever_says_more_in_the_line_is_sent_away() {
    let mut rig = Rig::new(Settings { handshakes_per_turn: 1, ..settings() });
    let tokens = [rig.hailed(0), rig.hailed(1)];
    rig.settle();
    rig.arrive(tokens[1], b"more");
    rig.bury();
    assert_eq!(rig.counted(), ["errors early"]);
    (0..2).for_each(|_| rig.shake_hands());
    assert_eq!(rig.counted(), ["handshakes"]);
}

#[test]
fn hellos_of_links_that_died_use_up_no_budget() {
    let mut rig = Rig::new(Settings { handshakes_per_turn: 1, ..settings() });
    for slot in 0..4 {
        rig.hailed(slot);
    }
    rig.links.mark(at(0), Cause::Silent);
    rig.links.mark(at(1), Cause::Silent);
    rig.bury();
    rig.closed(at(0));
    rig.settle();
    rig.shake_hands();
    assert_eq!(rig.ops(), ["send 2"], "one has gone, one is going");
}

#[test]
fn a_hello_more_than_may_wait_is_asked_to_come_back() {
    let mut rig = Rig::new(Settings { handshakes_waiting_max: 2, ..settings() });
    for slot in 0..3 {
        rig.hailed(slot);
    }
    rig.settle();
    assert_eq!(rig.numbers(), [3, 2, 2, 1, 0]);
    assert_eq!(rig.turn.kept_out(Listener(0)).refused.of(Guard::Waiting).get(), 1);
    rig.bury();
    assert_eq!((rig.ops(), rig.counted()), (vec!["send 2".into(), "receive 2".into()], vec![]));
    rig.sent(at(2));
    let reply = ClearReply::decode(&rig.clients[&at(2)].inbox).expect("a reply").expect("a whole one");
    assert!((millis(1000)..=millis(5000)).contains(&reply.busy_for()), "{:?}", reply.busy_for());
    assert_eq!(rig.told(at(2)), ["Rejected(4)"]);
    rig.shake_hands();
    assert_eq!(rig.ops(), ["send 0", "receive 0", "send 1", "receive 1"], "those before it are served");
}

#[test]
fn a_hello_of_a_link_that_died_takes_no_place_of_those_that_wait() {
    let mut rig = Rig::new(Settings { handshakes_waiting_max: 2, strangers_max: 3, ..settings() });
    rig.hailed(0);
    rig.hailed(1);
    let token = rig.accept(2);
    rig.accept(3);
    assert!(rig.links.peer(at(0)).is_none(), "the oldest has made room");
    let hello = rig.dial(token, Suite::NkChaChaPoly);
    rig.arrive(token, &hello);
    assert!(rig.links.machine(token).is_some_and(ServerLink::is_hailed), "two wait");
    let hello = rig.dial(at(3), Suite::NkChaChaPoly);
    rig.arrive(at(3), &hello);
    assert!(rig.links.machine(at(3)).is_none(), "and not three");
    rig.bury();
    rig.settle();
    rig.shake_hands();
    assert_eq!(rig.ops(), ["send 1", "receive 1", "send 2", "receive 2"]);
}

#[test]
fn those_who_come_together_are_not_asked_to_come_back_together() {
    let settings = Settings { handshakes_waiting_max: 0, lingering_max: 80, ..settings() };
    let mut rig = Rig::new(settings);
    let mut waits = BTreeSet::new();
    for slot in 0..40 {
        let token = rig.hailed(slot);
        rig.bury();
        rig.sent(token);
        let reply = ClearReply::decode(&rig.clients[&token].inbox).expect("a reply").expect("a whole one");
        waits.insert(reply.busy_for());
    }
    assert!(waits.first() >= Some(&millis(1000)) && waits.last() <= Some(&millis(5000)), "{waits:?}");
    assert!(waits.len() > 10, "{waits:?}");
}

#[test]
fn over_the_bound_the_oldest_stranger_goes_and_hears_that_the_gateway_is_busy_if_it_passed_the_gate() {
    let mut rig = Rig::new(Settings { strangers_max: 2, handshakes_waiting_max: 9, ..settings() });
    rig.accept(0);
    rig.hailed(1);
    rig.settle();
    for slot in 2..4 {
        rig.accept(slot);
        assert_eq!(rig.numbers()[1..4], [2, 1, (slot - 1) as usize], "the bound holds at once");
    }
    assert_eq!(rig.counted(), ["clear_replies_busy", "links_accepted +2", "strangers_evicted +2"]);
    assert_eq!(rig.ops(), ["receive 2", "receive 3"]);
    assert_eq!((rig.links.peer(at(0)), rig.links.peer(at(1))), (None, None));
    rig.bury();
    assert_eq!(rig.ops(), ["cancel receive 0", "send 1", "receive 1"]);
    rig.sent(at(1));
    assert_eq!(rig.told(at(1)), ["Rejected(4)"]);
}

#[test]
fn whoever_was_welcomed_or_has_gone_is_no_stranger() {
    let mut rig = Rig::new(Settings { strangers_max: 2, ..settings() });
    let live = rig.live(0);
    rig.accept(1);
    rig.accept(2);
    rig.links.mark(at(1), Cause::Silent);
    rig.bury();
    rig.accept(3);
    assert_eq!(rig.numbers(), [4, 2, 0, 0, 0]);
    rig.accept(4);
    assert_eq!(rig.links.next_marked().map(|(token, _)| token), Some(at(2)), "the oldest of three");
    assert!(rig.links.is_live(live) && rig.links.next_marked().is_none());
}

#[test]
fn one_may_be_a_stranger_too_many_by_itself() {
    let mut rig = Rig::new(Settings { strangers_max: 0, ..settings() });
    let token = rig.accept(0);
    assert_eq!(rig.numbers(), [1, 0, 0, 1, 0]);
    rig.bury();
    assert_eq!(rig.ops(), ["close 0"], "nothing was armed");
    rig.closed(token);
    rig.assert_empty();
}

#[test]
fn peers_on_this_machine_are_no_strangers_if_they_are_exempt() {
    let local = ["127.0.0.1:9", "127.9.9.9:9", "[::1]:9", "[::ffff:127.0.0.1]:9"];
    let local =
        local.map(|text| Peer::Tcp(text.parse().expect("an address"))).into_iter().chain([Peer::Unix]);
    for (slot, peer) in (0..).zip(local) {
        for (loopback_exempt, strangers) in [(true, 0), (false, 1)] {
            let mut rig = Rig::new(Settings { loopback_exempt, ..settings() });
            rig.accept_from(slot, FIRST, peer);
            assert_eq!((rig.numbers()[1], rig.ops().len()), (strangers, 1), "{peer:?}");
        }
    }
    let mut rig = Rig::new(Settings { loopback_exempt: true, ..settings() });
    rig.accept(0);
    assert_eq!(rig.numbers()[1], 1);
}

#[test]
fn a_hello_with_a_ticket_is_answered_once() {
    let mut rig = Rig::new(settings());
    let ticket = rig.ticket();
    let suite = Suite::Nnpsk0ChaChaPoly;
    let wrong = rig.dial_with(at(0), suite, Some((&ticket, &[0; 32])));
    let hello = rig.dial_with(at(1), suite, Some((&ticket, &PSK)));
    let old = rig.dial_with(at(3), suite, Some((&[1; 100], &PSK)));
    let mut trace = Vec::new();
    for (slot, hello) in [(0, &wrong), (1, &hello), (2, &hello), (3, &old)] {
        let token = rig.accept(slot);
        rig.arrive(token, hello);
        rig.settle();
        rig.shake_hands();
        rig.bury();
        rig.links.publish(&rig.turn.counters);
        trace.push((
            rig.ops().join(", "),
            rig.counted().join(", "),
            rig.turn.counters.hellos_remembered.get(),
        ));
    }
    let is = |ops: &str, counted: &str, remembered| (ops.to_owned(), counted.to_owned(), remembered);
    assert_eq!(
        trace,
        [
            // Whoever does not know the secret must not make the filter forget.
            is("close 0", "errors handshake", 0),
            is("send 1, receive 1", "handshakes, handshakes_resumed", 1),
            is("close 2", "errors replay", 1),
            is("send 3, receive 3", "clear_replies, errors ticket", 1),
        ]
    );
    rig.sent(at(1));
    assert!(rig.told(at(1)).is_empty() && rig.clients[&at(1)].link.is_open());
    rig.sent(at(3));
    assert_eq!(rig.told(at(3)), ["Rejected(5)"]);
    assert!(rig.links.machine(at(1)).is_some_and(|machine| machine.identity().is_some()));
    let auth = rig.say(at(1), &[AUTH]);
    rig.arrive(at(1), &auth);
    rig.welcome(at(1));
    assert!(rig.links.machine(at(1)).is_some_and(|machine| machine.identity().is_none()), "needed no more");
}

#[test]
fn while_others_are_served_newcomers_have_their_share_and_else_a_whole_turn() {
    let few = Settings { handshakes_per_turn: 3, ..settings() };
    let mut rig = Rig::new(Settings { strangers_max: 9, handshakes_waiting_max: 9, ..few });
    for slot in 0..8 {
        rig.hailed(slot);
    }
    rig.settle();
    // There is time for one, and of the next one owes the rest.
    rig.turn.shares = Shares::new(1, [], rig.turn.now);
    rig.turn.shares.spend(0, Duration::from_micros(100));
    let mut shaken = |is_busy: bool| {
        rig.turn.is_busy = is_busy;
        rig.shake_hands();
        rig.greeted()
    };
    assert_eq!([true, true, false, true].map(&mut shaken), [2, 0, 3, 0]);
    rig.turn.now = rig.turn.now + millis(18);
    rig.turn.shares.refill(rig.turn.now);
    rig.turn.is_busy = true;
    rig.shake_hands();
    assert_eq!((rig.greeted(), rig.numbers()[2]), (2, 1), "180 µs have been saved up");
    assert_eq!(rig.turn.counters.handshakes_over_share.get(), 4);
    rig.turn.is_busy = false;
    rig.shake_hands();
    assert!(!rig.has_work());
}

#[test]
fn where_messages_are_expected_a_crowd_waits_for_its_share_and_a_few_do_not() {
    let few = Settings { handshakes_per_turn: 3, ..settings() };
    let mut rig = Rig::new(Settings { strangers_max: 9, handshakes_waiting_max: 9, ..few });
    for slot in 0..8 {
        rig.hailed(slot);
    }
    rig.settle();
    rig.turn.shares = Shares::new(10, [], rig.turn.now);
    rig.turn.shares.spend(0, millis(3));
    assert_eq!(
        rig.links.time_left(&rig.turn),
        Some(Duration::ZERO),
        "nobody is heard, and there is time for all"
    );
    rig.turn.heard_message();
    let left = rig.links.time_left(&rig.turn).expect("eight wait");
    assert!(
        left > millis(10) && left < millis(11),
        "one of them is served when a millisecond is paid off: {left:?}"
    );
    rig.shake_hands();
    assert_eq!(rig.ops().len(), 0);
    // The next message would come later than that.
    rig.turn.now = rig.turn.now + millis(49);
    assert_eq!(rig.links.time_left(&rig.turn), Some(millis(1)));
    rig.turn.now = rig.turn.now + millis(1);
    assert_eq!(rig.links.time_left(&rig.turn), Some(Duration::ZERO));
    rig.shake_hands();
    assert_eq!((rig.greeted(), rig.numbers()[2]), (3, 5));
    rig.turn.heard_message();
    rig.shake_hands();
    assert_eq!((rig.greeted(), rig.numbers()[2]), (0, 5), "still a crowd");
    rig.turn.now = rig.turn.now + millis(50);
    rig.shake_hands();
    assert_eq!((rig.greeted(), rig.numbers()[2]), (3, 2));
    rig.turn.heard_message();
    assert_eq!(rig.links.time_left(&rig.turn), Some(Duration::ZERO), "a few");
    for left in [1, 0] {
        rig.shake_hands();
        assert_eq!((rig.greeted(), rig.numbers()[2]), (1, left), "one in each turn");
    }
    assert_eq!(rig.links.time_left(&rig.turn), None);
}

#[test]
fn nobody_waits_behind_those_whose_listener_has_used_up_its_part() {
    let mut rig = Rig::new(Settings { handshakes_per_turn: 4, ..settings() });
    for slot in 0..3 {
        let token = rig.accept_from(slot, SECOND, abroad());
        let hello = rig.dial(token, Suite::NkAesGcm);
        rig.arrive(token, &hello);
    }
    rig.hailed(3);
    rig.settle();
    rig.turn.shares = Shares::new(100, [None, Some(1)], rig.turn.now);
    rig.turn.shares.spend(1, millis(1));
    rig.turn.is_busy = true;
    rig.shake_hands();
    assert_eq!(rig.ops(), ["send 3", "receive 3"]);
    rig.turn.is_busy = false;
    rig.shake_hands();
    assert_eq!(rig.ops(), ["send 0", "receive 0", "send 1", "receive 1", "send 2", "receive 2"]);
}
