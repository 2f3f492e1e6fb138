//! The server keys a client accepts. SPEC.md, section 8.9.

use protocol::UnixMillis;
use protocol::noise::{Gate, Initiator, KeyId, PublicKey, Suite, Suites};
use protocol::wire::proto::link::Welcome;

/// A key of the gateway, and when it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKey {
    /// The key.
    pub key: PublicKey,
    /// From when on.
    pub not_before: UnixMillis,
    /// Until when; `None` leaves it open.
    pub not_after: Option<UnixMillis>,
    /// The suites the gateway has said to serve under it; none if it never did. A client uses none that is worse than the
    /// best of these.
    pub suites: Suites,
}

impl From<PublicKey> for ServerKey {
    fn from(key: PublicKey) -> Self {
        Self { key, not_before: UnixMillis(0), not_after: None, suites: Suites::NONE }
    }
}

impl ServerKey {
    /// Whether a handshake is possible with it: a point of low order is none's key.
    pub(crate) fn is_usable(&self) -> bool {
        // Any secret shows it, so this one need not be one.
        Initiator::create(Suite::NkChaChaPoly, None, Some(&self.key), None, b"", [1; 32], &mut Vec::new())
            .is_ok()
    }

    fn is_good(&self, now: UnixMillis) -> bool {
        self.not_before <= now && !self.is_over(now)
    }

    fn is_over(&self, now: UnixMillis) -> bool {
        self.not_after.is_some_and(|end| end < now)
    }
}

/// The keys a client accepts, and the one it tries.
#[derive(Debug)]
pub(crate) struct Pins {
    /// In the gateway's order, each with its gate, which costs a hash to build. There is always one.
    keys: Vec<(ServerKey, Gate)>,
    /// The one to try.
    at: usize,
}

/// The most keys that are kept.
pub(crate) const KEYS_MAX: usize = 8;

impl Pins {
    /// Of at least one key, in their order.
    pub(crate) fn new(keys: &[ServerKey]) -> Self {
        Self { keys: keys.iter().map(|key| (key.clone(), Gate::new(&key.key))).collect(), at: 0 }
    }

    /// Begins with the first key whose time it is. With none of those with the first one, as a pin is never lost to a
    /// wrong clock.
    pub(crate) fn begin(&mut self, now: UnixMillis) {
        self.at = self.next_good(0, now).unwrap_or(0);
    }

    /// The key to try.
    pub(crate) fn current(&self) -> (&ServerKey, &Gate) {
        let (key, gate) = &self.keys[self.at];
        (key, gate)
    }

    /// Tries the key of this name; `false` if it is tried already, or none of ours that is good now.
    pub(crate) fn prefer(&mut self, id: KeyId, now: UnixMillis) -> bool {
        let named = self.keys.iter().position(|(key, _)| key.is_good(now) && key.key.key_id() == id);
        let moves = named.is_some_and(|at| at != self.at);
        self.at = named.unwrap_or(self.at);
        moves
    }

    /// The current key was met with silence: tries the next one, or says that there is none.
    pub(crate) fn doubt(&mut self, now: UnixMillis) -> bool {
        let next = self.next_good(self.at + 1, now);
        self.at = next.unwrap_or(self.at);
        next.is_some()
    }

    /// The current key has completed a handshake that proves it: those before it are never gone back to.
    pub(crate) fn proved(&mut self) {
        self.keys.drain(..self.at);
        self.at = 0;
    }

    /// Takes the list of a `Welcome` in place of all keys, those the application came with included. Only to be called for
    /// a link that has proved the current key. A list without any key that can be used changes nothing.
    pub(crate) fn learn(&mut self, welcome: &Welcome, now: UnixMillis) {
        let current = self.keys[self.at].0.key;
        let named = welcome.server_keys.iter().position(|key| key.key[..] == current.0);
        let mut list: Vec<ServerKey> = Vec::new();
        // Not those before the one in use, even if its own time is over.
        for key in welcome.server_keys[named.unwrap_or(0)..].iter().filter_map(parse) {
            let is_wanted = !key.is_over(now) && list.iter().all(|other| other.key != key.key);
            if is_wanted && list.len() < KEYS_MAX {
                list.push(key);
            }
        }
        if !list.is_empty() {
            *self = Self::new(&list);
        }
    }

    /// All of them, for the application to store.
    pub(crate) fn all(&self) -> Vec<ServerKey> {
        self.keys.iter().map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    fn next_good(&self, from: usize, now: UnixMillis) -> Option<usize> {
        (from..self.keys.len()).find(|&at| self.keys[at].0.is_good(now))
    }
}

/// `None` for what no configuration could hold, as the application stores what was learnt for its next one.
fn parse(key: &protocol::wire::proto::link::ServerKey) -> Option<ServerKey> {
    let parsed = ServerKey {
        key: PublicKey(key.key.as_ref().try_into().ok()?),
        not_before: UnixMillis(key.not_before_ms),
        not_after: (key.not_after_ms != 0).then_some(UnixMillis(key.not_after_ms)),
        suites: Suites::from_bits(key.suites),
    };
    parsed.is_usable().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use protocol::wire::proto::link;

    use super::*;

    const NOW: UnixMillis = UnixMillis(9);

    fn key(byte: u8, from: u64, to: u64) -> ServerKey {
        let not_after = (to != 0).then_some(UnixMillis(to));
        ServerKey { not_before: UnixMillis(from), not_after, ..PublicKey([byte; 32]).into() }
    }

    fn welcome(keys: &[ServerKey]) -> Welcome {
        let server_keys = keys.iter().map(|key| link::ServerKey {
            key: key.key.0.to_vec().into(),
            not_before_ms: key.not_before.0,
            not_after_ms: key.not_after.map_or(0, |end| end.0),
            suites: key.suites.bits(),
        });
        Welcome { server_keys: server_keys.collect(), ..Welcome::default() }
    }

    fn pins(keys: &[ServerKey], now: u64) -> Pins {
        let mut pins = Pins::new(keys);
        pins.begin(UnixMillis(now));
        pins
    }

    fn current(pins: &Pins) -> u8 {
        pins.current().0.key.0[0]
    }

    fn numbers(pins: &Pins) -> Vec<u8> {
        pins.all().iter().map(|known| known.key.0[0]).collect()
    }

    #[test]
    fn a_list_replaces_all_keys_those_of_the_application_included() {
        let mut pins = pins(&[key(1, 0, 0), key(2, 0, 0)], 9);
        let news = [key(1, 0, 20), ServerKey { suites: Suites::of(&[Suite::NkAesGcm]), ..key(3, 10, 0) }];
        pins.learn(&welcome(&news), NOW);
        assert_eq!(pins.all(), news);
        pins.begin(UnixMillis(21));
        assert_eq!(current(&pins), 3, "its time has come, and that of the other is over");
        pins.learn(&welcome(&[key(4, 0, 0)]), NOW);
        assert_eq!(numbers(&pins), [4], "the key in use is replaced as well");
    }

    #[test]
    fn a_list_without_a_key_that_can_be_used_changes_nothing() {
        let mut pins = pins(&[key(1, 0, 0)], 9);
        for useless in [&[][..], &[key(0, 0, 0)], &[key(2, 0, 5)]] {
            pins.learn(&welcome(useless), NOW);
            assert_eq!(numbers(&pins), [1]);
        }
        pins.learn(&welcome(&[key(0, 0, 0), key(2, 0, 0), key(2, 0, 0)]), NOW);
        assert_eq!(numbers(&pins), [2], "what is useless is skipped, and what comes twice is kept once");
        let many: Vec<_> = (2..100).map(|byte| key(byte, 0, 0)).collect();
        pins.learn(&welcome(&many), NOW);
        assert_eq!(pins.len(), KEYS_MAX);
    }

    #[test]
    fn there_is_no_way_back_to_a_key_before_one_that_was_proved() {
        let mut pins = pins(&[key(1, 0, 0), key(2, 0, 0), key(3, 0, 0)], 9);
        assert!(pins.doubt(NOW));
        pins.proved();
        assert_eq!(numbers(&pins), [2, 3]);
        assert!(!pins.prefer(PublicKey([1; 32]).key_id(), NOW));
        pins.learn(&welcome(&[key(1, 0, 0), key(2, 0, 0), key(3, 0, 0)]), NOW);
        assert_eq!(numbers(&pins), [2, 3], "not even by the list of the one that was proved");
        pins.learn(&welcome(&[key(1, 0, 0), key(2, 0, 5), key(3, 0, 0)]), NOW);
        assert_eq!(numbers(&pins), [3], "nor where the time of that one is over");
    }

    #[test]
    fn every_good_key_has_its_turn_before_the_round_is_over() {
        let mut pins = pins(&[key(1, 0, 5), key(2, 0, 0), key(3, 50, 0), key(4, 0, 0)], 9);
        assert_eq!(current(&pins), 2);
        assert!(pins.doubt(NOW));
        assert_eq!(current(&pins), 4);
        assert!(!pins.doubt(NOW), "3 is for later");
        pins.begin(NOW);
        assert_eq!(current(&pins), 2, "silence changes no order");
    }

    #[test]
    fn a_hint_moves_only_among_keys_that_are_held_and_good() {
        let mut pins = pins(&[key(1, 0, 0), key(2, 0, 0), key(3, 50, 0)], 9);
        for unknown_same_or_not_yet in [9, 1, 3] {
            assert!(!pins.prefer(PublicKey([unknown_same_or_not_yet; 32]).key_id(), NOW));
        }
        assert!(pins.prefer(PublicKey([2; 32]).key_id(), NOW));
        assert_eq!((current(&pins), numbers(&pins)), (2, vec![1, 2, 3]), "and no order");
    }

    #[test]
    fn with_no_key_whose_time_it_is_the_first_one_is_tried() {
        assert_eq!(current(&pins(&[key(1, 0, 5), key(2, 50, 0)], 9)), 1);
    }
}
