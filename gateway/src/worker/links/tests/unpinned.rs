//! Handshakes of three messages, whose state outlives their turn.

use super::*;
use crate::counters::guard::Guard;

impl Rig {
    /// Does the curve work of a message 3; what came behind it is read.
    pub(super) fn finish_handshake(&mut self, token: Token) {
        if self.links.finish_handshake(&mut self.turn, token) {
            let names = self.read(token, &mut [], |_, _| {});
            self.read_behind.extend(names);
        }
    }

    /// A link that came without a server key, and whose message 2 is out.
    fn begun(&mut self, slot: u32) -> Token {
        let token = self.accept_from(slot, THIRD, abroad());
        let hello = self.dial_unpinned(token);
        self.arrive(token, &hello);
        self.shake_hands();
        self.sent(token);
        assert_eq!(self.told(token), [""; 0]);
        self.settle();
        token
    }

    fn census_begun(&self) -> usize {
        self.links.census().begun
    }

    fn evicted(&self) -> u64 {
        assert_eq!(
            self.turn.kept_out(THIRD).refused.of(Guard::XxHandshakes).get(),
            self.turn.counters.xx_handshakes_evicted.get()
        );
        self.turn.counters.xx_handshakes_evicted.get()
    }
}

fn xx() -> Settings {
    Settings { xx_handshakes_max: 2, handshakes_per_turn: 9, strangers_max: 9, ..settings() }
}

#[test]
fn message_3_opens_a_link_and_what_came_behind_it_is_read() {
    let mut rig = Rig::new(xx());
    let token = rig.begun(0);
    assert!(!rig.links.machine(token).is_some_and(ServerLink::is_open));
    let said = rig.say(token, &[AUTH]);
    let (first, second) = said.split_at(40);
    rig.arrive(token, first);
    assert_eq!((rig.ops(), rig.census_begun()), (vec!["receive 0".into()], 1), "the rest is still to come");
    rig.arrive(token, second);
    assert_eq!((rig.ops(), rig.numbers()[2]), (vec![], 1), "it waits in line, and is not read");
    rig.shake_hands();
    assert_eq!(rig.read_behind, ["auth"]);
    assert_eq!((rig.counted(), rig.census_begun()), (vec!["handshakes".to_owned()], 0));
    let (h, suite, peer) = rig.links.machine(token).and_then(ServerLink::binding).expect("there are keys");
    assert_eq!(Some(h), rig.clients[&token].link.handshake_hash());
    assert_eq!((suite, peer), (Suite::XxAesGcm, Some(&StaticKey::from_secret([4; 32]).public())));
}

#[test]
fn both_halves_take_their_part_of_the_share() {
    let mut rig = Rig::new(Settings { handshake_share: 1, handshakes_per_turn: 1, ..xx() });
    rig.turn.is_busy = true;
    let token = rig.accept_from(0, THIRD, abroad());
    let hello = rig.dial_unpinned(token);
    rig.arrive(token, &hello);
    rig.shake_hands();
    rig.sent(token);
    rig.told(token);
    while rig.turn.shares.is_left(usize::from(THIRD.0)) {
        rig.turn.shares.spend(usize::from(THIRD.0), millis(1));
    }
    let said = rig.say(token, &[AUTH]);
    rig.arrive(token, &said);
    rig.shake_hands();
    assert_eq!((rig.read_behind.len(), rig.numbers()[2]), (0, 1), "nothing is left, and it waits");
    rig.turn.is_busy = false;
    rig.shake_hands();
    assert_eq!(rig.read_behind, ["auth"], "there is nothing else to do");
}

#[test]
fn over_the_bound_the_oldest_ends_in_silence() {
    let mut rig = Rig::new(xx());
    for slot in 0..2 {
        rig.begun(slot);
    }
    assert_eq!((rig.census_begun(), rig.evicted()), (2, 0));
    rig.begun(2);
    assert_eq!((rig.census_begun(), rig.evicted()), (2, 1), "the bound holds at once");
    assert!(rig.links.peer(at(0)).is_none() && rig.links.peer(at(1)).is_some());
    assert_eq!(rig.bury_one().code, None);
    assert_eq!(rig.ops(), ["cancel receive 0"], "without a word");
    let said = rig.say(at(1), &[AUTH]);
    rig.arrive(at(1), &said);
    rig.shake_hands();
    assert_eq!(rig.read_behind, ["auth"], "the others go on");
    rig.begun(3);
    assert_eq!((rig.census_begun(), rig.evicted()), (2, 1), "who has finished has no place any more");
}

#[test]
fn nothing_is_left_of_a_handshake_whose_link_ends_in_whatever_way() {
    let mut rig = Rig::new(xx());
    rig.begun(0);
    rig.ended(at(0), End::Eof);
    assert_eq!(rig.census_begun(), 0, "its peer has gone");
    rig.begun(1);
    rig.links.mark(at(1), Cause::Close(CloseCode::Banned.into()));
    assert_eq!(rig.census_begun(), 0, "it was banned");
    rig.begun(2);
    rig.pass(rig.turn.settings.rules.auth_deadline + millis(200));
    assert_eq!(rig.census_begun(), 0, "its time is over");
    assert_eq!(rig.turn.kept_out(THIRD).refused.of(Guard::Deadlines).get(), 1);
    rig.begun(3);
    rig.links.stop();
    assert_eq!(rig.census_begun(), 0, "the process ends");
    let parted = rig.bury();
    assert!(parted.len() == 4 && parted.iter().all(|parted| parted.session.is_none()));
    let said: Vec<_> = rig.ops().into_iter().filter(|op| op.starts_with("send")).collect();
    assert!(said.is_empty(), "none of them is told anything: {said:?}");
}

#[test]
fn a_message_3_that_is_none_or_does_not_open_is_met_with_silence() {
    let mut rig = Rig::new(xx());
    let (short, wrong) = (rig.begun(0), rig.begun(1));
    rig.arrive(short, &[0, 63]);
    assert_eq!(rig.census_begun(), 1, "by its length");
    let mut said = rig.say(wrong, &[AUTH]);
    said[50] ^= 1;
    rig.arrive(wrong, &said);
    rig.shake_hands();
    assert_eq!((rig.census_begun(), rig.read_behind.len()), (0, 0));
    assert_eq!(rig.turn.kept_out(THIRD).refused.of(Guard::Hellos).get(), 2);
    assert!(rig.bury().iter().all(|parted| parted.code.is_none()));
    assert!(!rig.ops().iter().any(|op| op.starts_with("send")));
}

#[test]
fn a_message_3_more_than_may_wait_ends_in_silence() {
    let mut rig = Rig::new(Settings { handshakes_waiting_max: 1, ..xx() });
    let token = rig.begun(0);
    rig.hailed(1);
    let said = rig.say(token, &[AUTH]);
    rig.arrive(token, &said);
    assert_eq!((rig.census_begun(), rig.links.peer(token)), (0, None));
    assert_eq!(rig.turn.kept_out(THIRD).refused.of(Guard::Waiting).get(), 1);
}

#[test]
fn who_has_not_sent_message_3_goes_before_those_who_have_done_their_work() {
    let mut rig = Rig::new(Settings { strangers_max: 2, ..xx() });
    let begun = rig.begun(0);
    rig.open(1);
    rig.accept(2);
    assert_eq!(rig.links.peer(begun), None, "it has kept its place among the strangers");
    assert_eq!(rig.census_begun(), 0);
}
