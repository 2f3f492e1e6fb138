//! Deadlines, and what happens at them.

use super::*;

/// Looks at the clock each tenth of a second; when the link was gone, counted from now.
fn lives_for(rig: &mut Rig, token: Token) -> Duration {
    let start = rig.turn.now;
    while rig.links.machine(token).is_some() {
        assert!(rig.turn.now.since(start) < millis(100_000), "it lives for ever");
        assert!(rig.links.next_deadline(&rig.turn).is_some(), "somebody wakes the worker");
        rig.pass(millis(100));
    }
    rig.turn.now.since(start)
}

#[test]
fn a_hello_has_to_come_in_time() {
    for len in [0, 40] {
        let mut rig = Rig::new(settings());
        let token = rig.accept(0);
        rig.pass(millis(1000));
        let hello = rig.dial(token, Suite::NkChaChaPoly);
        if len > 0 {
            rig.arrive(token, &hello[..len]);
        }
        assert_eq!(lives_for(&mut rig, token), millis(4000), "from the accept");
        rig.settle();
        assert_eq!(rig.bury_one().code, None);
        assert_eq!(rig.ops(), ["cancel receive 0"]);
        assert_eq!(rig.counted(), ["errors handshake_timeout"]);
        rig.ended(token, End::Cancelled);
        rig.closed(token);
        rig.assert_empty();
    }
}

#[test]
fn a_hello_that_waits_for_its_handshake_has_no_more_time() {
    let mut rig = Rig::new(settings());
    let token = rig.hailed(0);
    assert_eq!(lives_for(&mut rig, token), millis(5000));
    rig.bury();
    rig.shake_hands();
    assert_eq!(rig.counted().first().map(String::as_str), Some("errors handshake_timeout"));
}

#[test]
fn an_authentication_has_to_succeed_in_time() {
    let mut rig = Rig::new(settings());
    let token = rig.hailed(0);
    rig.pass(millis(4900));
    rig.shake_hands();
    rig.sent(token);
    rig.told(token);
    rig.pass(millis(3000));
    let auth = rig.say(token, &[AUTH]);
    assert_eq!(rig.arrive(token, &auth), ["auth"]);
    assert_eq!(lives_for(&mut rig, token), millis(2000), "from the handshake");
    rig.settle();
    let code = Some(CloseCode::AuthTimeout.number());
    assert_eq!(
        rig.bury_one(),
        Parted { session: None, code, was_authenticating: true, leaves_session: false }
    );
    assert_eq!(rig.counted(), ["closed auth_timeout", "errors auth_timeout"]);
    rig.flush();
    rig.sent(token);
    assert_eq!(rig.told(token), ["close auth_timeout"]);
}

#[test]
fn a_link_ends_with_the_proof_of_its_user_whatever_it_says() {
    let mut rig = Rig::new(settings());
    let (token, other) = (rig.live(0), rig.live(1));
    let wall = rig.turn.wall;
    rig.links.expires(&rig.turn, token, Some(UnixMillis(wall.0 + 3000)));
    rig.settle();
    let mut lived = Duration::ZERO;
    while rig.links.is_live(token) {
        let left = rig.links.next_deadline(&rig.turn).map(|next| next.since(rig.turn.now));
        assert!(left.is_some_and(|left| left <= millis(4000)), "somebody wakes the worker");
        lived += millis(100);
        rig.turn.wall = UnixMillis(wall.0 + lived.as_millis() as u64);
        rig.pass(millis(100));
    }
    assert!(lived >= millis(3000) && lived <= millis(4000), "{lived:?}");
    assert_eq!(rig.bury_one().code, Some(CloseCode::TokenExpired.number()));
    rig.flush();
    rig.sent(token);
    assert_eq!(rig.told(token), ["close token_expired"]);
    assert!(rig.links.is_live(other), "who has no end of its own lives on");
}

#[test]
fn a_place_has_nothing_of_the_proof_of_its_former_link() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.links.expires(&rig.turn, token, Some(UnixMillis(rig.turn.wall.0 + 3000)));
    rig.links.mark(token, Cause::Silent);
    assert!(rig.links.expiry.time_left(rig.turn.wall).is_none());
}

#[test]
fn a_phase_may_have_less_time_than_was_left_of_the_one_before() {
    let mut rig = Rig::new(settings());
    rig.turn.settings.rules.auth_deadline = millis(2000);
    let token = rig.open(0);
    assert_eq!(lives_for(&mut rig, token), millis(2000), "not those of the hello");
    let mut rig = Rig::new(settings());
    let token = rig.authenticating(0);
    rig.links.welcome(&mut rig.turn, token, millis(1000), |out| Frame::Welcome(&[]).encode(out));
    assert_eq!(lives_for(&mut rig, token), millis(2000), "not those of the authentication");
}

#[test]
fn a_link_of_which_nothing_is_heard_for_two_intervals_is_dead() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    for _ in 0..3 {
        rig.pass(millis(30_000));
        let said = rig.say(token, &[PING]);
        assert_eq!(rig.arrive(token, &said), ["ping"]);
    }
    assert_eq!(lives_for(&mut rig, token), 2 * HEARTBEAT, "from the last frame");
    rig.settle();
    assert_eq!(rig.bury_one().code, Some(CloseCode::HeartbeatTimeout.number()));
    assert_eq!(rig.counted(), ["closed heartbeat_timeout", "errors heartbeat_timeout"]);
}

#[test]
fn what_is_sent_to_a_link_is_no_sign_of_its_life() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.pass(millis(15_000));
    rig.send(token, &PONG);
    rig.flush();
    rig.sent(token);
    assert_eq!(lives_for(&mut rig, token), millis(25_000));
}

#[test]
fn after_a_stall_of_the_process_a_client_has_one_interval() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.pass(2 * HEARTBEAT + millis(1100));
    assert!(rig.links.is_live(token), "what it sent meanwhile is still to be read");
    assert_eq!(lives_for(&mut rig, token), HEARTBEAT);
}

#[test]
fn a_second_is_no_stall() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.pass(2 * HEARTBEAT + millis(1000));
    assert!(!rig.links.is_live(token));
}

#[test]
fn who_was_not_welcomed_has_no_interval_to_be_granted() {
    let mut rig = Rig::new(settings());
    let (stranger, token) = (rig.accept(0), rig.authenticating(1));
    rig.pass(millis(20_000));
    assert!(rig.links.machine(stranger).is_none() && rig.links.machine(token).is_none());
}

#[test]
fn after_a_stall_a_slow_reader_is_one_still() {
    let mut rig = Rig::new(settings());
    let token = rig.live_sending(0, &PONG);
    rig.send(token, &response(&[0; 1500]));
    rig.pass(3 * HEARTBEAT);
    assert_eq!(rig.bury_one().code, Some(CloseCode::SlowReader.number()));
}

#[test]
fn the_deadline_of_a_marked_link_is_that_of_its_linger() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.pass(2 * HEARTBEAT - millis(500));
    rig.links.mark(token, Cause::Close(CloseCode::Kicked.into()));
    // It may be buried in a later turn, if there are many.
    rig.pass(millis(500));
    assert_eq!(rig.bury().len(), 1);
    rig.flush();
    rig.settle();
    rig.pass(millis(900));
    assert!(rig.ops().is_empty());
    assert!(rig.links.next_deadline(&rig.turn) <= Some(rig.turn.now + millis(100)));
    rig.pass(millis(100));
    assert_eq!(rig.ops(), ["cancel poll 0", "cancel send 0"]);
}

#[test]
fn a_link_that_reads_slowly_and_is_closed_for_another_reason_lingers_its_second() {
    let mut rig = Rig::new(Settings { outgoing_soft_time: millis(1000), ..settings() });
    let token = rig.live_sending(0, &PONG);
    rig.send(token, &response(&[0; 1500]));
    rig.pass(millis(500));
    rig.links.mark(token, Cause::Close(CloseCode::Kicked.into()));
    rig.bury();
    rig.pass(millis(900));
    assert!(rig.ops().is_empty());
    rig.pass(millis(100));
    assert_eq!(rig.ops(), ["cancel poll 0", "cancel send 0"], "its timer is still there");
}

#[test]
fn nothing_comes_of_the_deadline_of_a_link_whose_end_is_under_way() {
    let mut rig = Rig::new(Settings { promote_after: 3, demote_after: millis(10_000), ..settings() });
    let token = rig.live(0);
    let said = rig.say(token, &[PING]);
    rig.arrive(token, &said);
    rig.links.mark(token, Cause::Silent);
    rig.bury();
    assert_eq!(rig.ops(), ["receive 0", "multishot 0", "cancel receive 0"]);
    for _ in 0..10 {
        rig.pass(millis(10_000));
    }
    assert!(rig.ops().is_empty() && !rig.has_work());
    rig.ended(token, End::Cancelled);
    rig.pass(millis(10_000));
    assert_eq!((rig.ops(), rig.links.next_deadline(&rig.turn)), (vec!["close 0".into()], None));
}

#[test]
fn in_one_turn_so_many_deadlines_are_looked_at_and_the_next_one_does_not_wait() {
    let most = 5000;
    let mut rig = Rig::new(Settings { slots: most, strangers_max: most as usize, ..settings() });
    for slot in 0..most {
        rig.accept(slot);
    }
    rig.pass(millis(5000));
    assert_eq!(rig.numbers()[3], 4096);
    assert!(rig.links.next_deadline(&rig.turn) <= Some(rig.turn.now));
    rig.pass(millis(0));
    assert_eq!(rig.numbers()[3], 5000);
}
