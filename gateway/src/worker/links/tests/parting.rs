//! Every cause: what leaves, what is counted, what the link leaves behind.

use super::*;

/// What came of it: operations up to the flush, counters, what the link left behind.
type Outcome = (Vec<String>, Vec<String>, Parted);

fn part(rig: &mut Rig, token: Token, cause: Cause) -> Outcome {
    rig.settle();
    rig.links.mark(token, cause);
    let parted = rig.bury_one();
    rig.flush();
    (rig.ops(), rig.counted(), parted)
}

/// The same for a link that was welcomed and waits with a poll.
fn part_live(cause: Cause) -> (Rig, Outcome) {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    let outcome = part(&mut rig, token, cause);
    (rig, outcome)
}

fn is(ops: &[&str], counted: &[&str], parted: Parted) -> Outcome {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    (owned(ops), owned(counted), parted)
}

fn of_session(code: Option<u32>) -> Parted {
    Parted { session: Some(session()), code, was_authenticating: false, leaves_session: false }
}

/// The same of a session that goes on.
fn leaving(code: Option<u32>) -> Parted {
    Parted { leaves_session: true, ..of_session(code) }
}

const STRANGERS: Parted =
    Parted { session: None, code: None, was_authenticating: false, leaves_session: false };

/// The link lingers until it is told, and then until the peer has gone.
fn assert_told(mut rig: Rig, told: &str) {
    assert_eq!(rig.numbers()[4], 1);
    rig.sent(at(0));
    assert_eq!(rig.told(at(0)), [told]);
    rig.ended(at(0), End::Eof);
    assert_eq!(rig.ops(), ["close 0"]);
    rig.closed(at(0));
    assert_eq!(rig.counted(), ["links_closed"]);
    rig.assert_empty();
}

/// Nothing was said: the socket is closed as soon as nothing is armed on it.
fn assert_drains(mut rig: Rig) {
    assert_eq!(rig.numbers()[4], 0);
    rig.ended(at(0), End::Cancelled);
    assert_eq!(rig.ops(), ["close 0"]);
    rig.closed(at(0));
    rig.assert_empty();
}

#[test]
fn a_close_is_said_with_its_code() {
    let code = CloseCode::Kicked;
    let (rig, outcome) = part_live(Cause::Close(code.into()));
    assert_eq!(outcome, is(&["send 0"], &["closed kicked"], of_session(Some(code.number()))));
    assert_told(rig, "close kicked");
}

#[test]
fn a_close_says_for_how_long_or_whether_for_good() {
    let farewell = Farewell { code: 9, retry_after: millis(1500), do_not_reconnect: true };
    assert_told(part_live(Cause::Close(farewell)).0, "close try_later after 1500 ms for good");
    let farewell =
        Farewell { retry_after: Duration::from_secs(5_000_000), do_not_reconnect: false, ..farewell };
    assert_told(part_live(Cause::Close(farewell)).0, "close try_later after 4294967295 ms");
}

#[test]
fn a_close_code_of_a_backend_may_be_unknown_here() {
    let farewell = Farewell { code: 4242, retry_after: Duration::ZERO, do_not_reconnect: false };
    let (rig, outcome) = part_live(Cause::Close(farewell));
    assert_eq!(outcome, is(&["send 0"], &["closed_other"], of_session(Some(4242))));
    assert_told(rig, "close unknown");
}

#[test]
fn before_there_are_keys_a_close_cannot_be_said() {
    let mut rig = Rig::new(settings());
    let token = rig.accept(0);
    let outcome = part(&mut rig, token, Cause::Close(CloseCode::GoingAway.into()));
    assert_eq!(outcome, is(&["cancel receive 0"], &["closed going_away"], STRANGERS));
    assert_drains(rig);
}

#[test]
fn with_keys_a_close_is_said_before_the_welcome() {
    let mut rig = Rig::new(settings());
    let token = rig.open(0);
    let outcome = part(&mut rig, token, Cause::Close(CloseCode::GoingAway.into()));
    let code = Some(CloseCode::GoingAway.number());
    assert_eq!(outcome, is(&["send 0"], &["closed going_away"], Parted { code, ..STRANGERS }));
    assert_told(rig, "close going_away");
    let mut rig = Rig::new(settings());
    let token = rig.authenticating(0);
    let outcome = part(&mut rig, token, Cause::Close(CloseCode::AuthFailed.into()));
    let code = Some(CloseCode::AuthFailed.number());
    let parted = Parted { was_authenticating: true, ..of_session(code) };
    assert_eq!(outcome, is(&["send 0"], &["closed auth_failed"], parted));
    assert_told(rig, "close auth_failed");
}

#[test]
fn a_broken_rule_is_answered_with_its_close_code() {
    let (rig, outcome) = part_live(Cause::Fault(Error::Glitches));
    let code = Some(CloseCode::Glitches.number());
    assert_eq!(outcome, is(&["send 0"], &["closed glitches", "errors glitches"], leaving(code)));
    assert_told(rig, "close glitches");
}

#[test]
fn a_broken_rule_of_cryptography_is_answered_with_silence() {
    let (rig, outcome) = part_live(Cause::Fault(Error::Record));
    assert_eq!(outcome, is(&["cancel poll 0"], &["errors record"], leaving(None)));
    assert_drains(rig);
}

#[test]
fn a_client_that_says_goodbye_is_not_answered() {
    for (code, counted) in [(1, "closed normal"), (3, "closed moving"), (4242, "closed_other")] {
        let (rig, outcome) = part_live(Cause::Goodbye(code));
        // Only who has nothing more to do here says that it is over.
        let parted = if code == 1 { of_session(Some(code)) } else { leaving(Some(code)) };
        assert_eq!(outcome, is(&["cancel poll 0"], &[counted], parted));
        assert_drains(rig);
    }
}

#[test]
fn a_clear_reply_goes_out_as_it_is() {
    let mut rig = Rig::new(settings());
    let token = rig.accept(0);
    rig.dial(token, Suite::NkChaChaPoly);
    rig.settle();
    let mut reply = rig.turn.buffers.take(16);
    reply.extend_from_slice(b"no thanks");
    rig.links.mark(token, Cause::Refused(reply));
    assert_eq!((rig.bury_one(), rig.counted()), (STRANGERS, vec![]), "it was counted by whoever wrote it");
    assert_eq!(rig.ops(), ["send 0"], "its receive is still armed");
    rig.sent(token);
    assert_eq!(rig.clients[&token].inbox, b"no thanks");
    rig.ended(token, End::Broken(RESET));
    assert_eq!((rig.ops(), rig.counted()), (vec!["close 0".into()], vec![]), "nobody minds that");
    rig.closed(token);
    rig.assert_empty();
}

#[test]
fn a_lost_link_is_counted_as_such() {
    let (rig, outcome) = part_live(Cause::Lost);
    assert_eq!(outcome, is(&["cancel poll 0"], &["links_lost"], leaving(None)));
    assert_drains(rig);
}

#[test]
fn silence_is_not_counted() {
    let (rig, outcome) = part_live(Cause::Silent);
    assert_eq!(outcome, is(&["cancel poll 0"], &[], of_session(None)));
    assert_drains(rig);
}

#[test]
fn a_link_leaves_its_session_behind_once() {
    let (mut rig, (_, _, parted)) = part_live(Cause::Close(CloseCode::Kicked.into()));
    assert_eq!(parted.session, Some(session()));
    for _ in 0..2 {
        let again = rig.links.part(&mut rig.turn, at(0), Cause::Silent);
        assert_eq!(
            again,
            Some(Parted { session: None, code: None, was_authenticating: false, leaves_session: false })
        );
    }
    assert_eq!(rig.ops(), ["cancel poll 0", "cancel send 0"]);
}
