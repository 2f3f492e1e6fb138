//! The server keys a client accepts. SPEC.md, section 8.9.

use protocol::UnixMillis;
use protocol::noise::{Gate, Initiator, KeyId, PublicKey, Suite};
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
}

impl From<PublicKey> for ServerKey {
    fn from(key: PublicKey) -> Self {
        Self { key, not_before: UnixMillis(0), not_after: None }
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

/// The keys a client accepts.
#[derive(Debug)]
pub(crate) struct Pins {
    /// In the order they are to be tried, each with its gate, which costs a hash to build. There is always one.
    keys: Vec<(ServerKey, Gate)>,
    /// The first one of the configuration: what the application itself trusts.
    own: PublicKey,
}

/// The most keys that are kept.
pub(crate) const KEYS_MAX: usize = 8;

impl Pins {
    /// Of at least one key.
    pub(crate) fn new(keys: &[ServerKey]) -> Self {
        let own = keys[0].key;
        Self { keys: keys.iter().map(|key| (key.clone(), Gate::new(&key.key))).collect(), own }
    }

    /// The key to try: the first one whose time it is. With none of those the first one, as a pin is never lost to a
    /// wrong clock.
    pub(crate) fn current(&self, now: UnixMillis) -> (&PublicKey, &Gate) {
        let (key, gate) = &self.keys[self.position(now)];
        (&key.key, gate)
    }

    /// Puts the key of this name first; `false` if it is there already, or none of ours that is good now.
    pub(crate) fn prefer(&mut self, id: KeyId, now: UnixMillis) -> bool {
        let named = self.keys.iter().position(|(key, _)| key.is_good(now) && key.key.key_id() == id);
        match named {
            Some(at) if at != self.position(now) => {
                self.keys[..=at].rotate_right(1);
                true
            }
            _ => false,
        }
    }

    /// The current key was met with silence: next time another one gets its turn.
    pub(crate) fn doubt(&mut self, now: UnixMillis) {
        let at = self.position(now);
        self.keys[at..].rotate_left(1);
    }

    /// Learns the keys of an authenticated `Welcome`, at most as many as are kept.
    ///
    /// Keys whose time is over are dropped, but never the last one. If that does not make room for a new key, one that
    /// is not announced any more is dropped, the one that would be tried last; but never the application's own, as an
    /// announcement of other keys does not say that its time is over. Without room a new key is not learnt.
    pub(crate) fn learn(&mut self, welcome: &Welcome, now: UnixMillis) {
        let mut announced: Vec<_> = welcome.server_keys.iter().take(KEYS_MAX).filter_map(parse).collect();
        for (known, _) in &mut self.keys {
            if let Some(news) = announced.iter().find(|key| key.key == known.key) {
                known.clone_from(news);
            }
        }
        let ids: Vec<_> = announced.iter().map(|key| key.key).collect();
        announced.retain(|key| !key.is_over(now) && !self.holds(&key.key));
        if !announced.is_empty() || self.keys.iter().any(|(key, _)| !key.is_over(now)) {
            self.keys.retain(|(key, _)| !key.is_over(now));
        } else {
            self.keys.truncate(1);
        }
        for key in announced {
            self.add(key, &ids);
        }
    }

    /// Adds a key, in place of one that is neither among these nor the application's own if there is no room.
    fn add(&mut self, key: ServerKey, announced: &[PublicKey]) {
        if self.holds(&key.key) {
            return;
        }
        if self.keys.len() == KEYS_MAX {
            let goes = |known: &PublicKey| *known != self.own && !announced.contains(known);
            let Some(at) = self.keys.iter().rposition(|(known, _)| goes(&known.key)) else { return };
            self.keys.remove(at);
        }
        let gate = Gate::new(&key.key);
        self.keys.push((key, gate));
    }

    fn holds(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|(known, _)| known.key == *key)
    }

    /// All of them, for the application to store.
    pub(crate) fn all(&self) -> Vec<ServerKey> {
        self.keys.iter().map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    fn position(&self, now: UnixMillis) -> usize {
        self.keys.iter().position(|(key, _)| key.is_good(now)).unwrap_or(0)
    }
}

/// `None` for what no configuration could hold, as the application stores what was learnt for its next one.
fn parse(key: &protocol::wire::proto::link::ServerKey) -> Option<ServerKey> {
    let parsed = ServerKey {
        key: PublicKey(key.key.as_ref().try_into().ok()?),
        not_before: UnixMillis(key.not_before_ms),
        not_after: (key.not_after_ms != 0).then_some(UnixMillis(key.not_after_ms)),
    };
    parsed.is_usable().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use protocol::wire::proto::link;

    use super::*;

    fn key(byte: u8, from: u64, to: u64) -> ServerKey {
        let not_after = (to != 0).then_some(UnixMillis(to));
        ServerKey { key: PublicKey([byte; 32]), not_before: UnixMillis(from), not_after }
    }

    fn welcome(keys: &[ServerKey]) -> Welcome {
        let server_keys = keys.iter().map(|key| link::ServerKey {
            key: key.key.0.to_vec().into(),
            not_before_ms: key.not_before.0,
            not_after_ms: key.not_after.map_or(0, |end| end.0),
        });
        Welcome { server_keys: server_keys.collect(), ..Welcome::default() }
    }

    fn current(pins: &Pins, now: u64) -> u8 {
        pins.current(UnixMillis(now)).0.0[0]
    }

    #[test]
    fn a_key_announced_ahead_takes_over_when_the_old_ones_time_is_over() {
        let mut pins = Pins::new(&[key(1, 0, 0)]);
        pins.learn(&welcome(&[key(1, 0, 20), key(2, 10, 0)]), UnixMillis(5));
        assert_eq!((current(&pins, 5), current(&pins, 20), current(&pins, 21)), (1, 1, 2));
        pins.learn(&welcome(&[key(2, 10, 0)]), UnixMillis(30));
        assert_eq!(pins.all(), [key(2, 10, 0)]);
    }

    #[test]
    fn the_last_key_is_never_dropped_and_a_few_are_kept() {
        let mut pins = Pins::new(&[key(1, 0, 5)]);
        pins.learn(&welcome(&[]), UnixMillis(9));
        assert_eq!(current(&pins, 9), 1);
        let many: Vec<_> = (2..100).map(|byte| key(byte, 0, 0)).collect();
        pins.learn(&welcome(&many), UnixMillis(3));
        assert_eq!(pins.len(), KEYS_MAX);
    }

    fn numbers(pins: &Pins) -> Vec<u8> {
        pins.all().iter().map(|known| known.key.0[0]).collect()
    }

    #[test]
    fn a_full_set_makes_room_for_announced_keys_first_of_what_is_over_then_of_what_is_not_announced() {
        let full = [1, 2, 3, 4, 5, 6, 7, 8].map(|byte| key(byte, 0, 0));
        let announce = |keys: &[ServerKey]| {
            let mut pins = Pins::new(&full);
            pins.learn(&welcome(keys), UnixMillis(9));
            numbers(&pins)
        };
        assert_eq!(
            announce(&[key(9, 0, 0)]),
            [1, 2, 3, 4, 5, 6, 7, 9],
            "the one that would be tried last goes"
        );
        assert_eq!(announce(&[key(8, 0, 0), key(9, 20, 0)]), [1, 2, 3, 4, 5, 6, 8, 9]);
        assert_eq!(announce(&[key(3, 0, 5), key(9, 0, 0)]), [1, 2, 4, 5, 6, 7, 8, 9], "only what is over");
        assert_eq!(announce(&[key(9, 0, 5)]), [1, 2, 3, 4, 5, 6, 7, 8], "over when it was announced");
        let others = [9, 10, 11, 12, 13, 14, 15, 16].map(|byte| key(byte, 0, 0));
        assert_eq!(announce(&others), [1, 9, 10, 11, 12, 13, 14, 15], "the application's own stays");
        let others = [key(1, 0, 5), key(9, 0, 0)];
        assert_eq!(
            announce(&others),
            [2, 3, 4, 5, 6, 7, 8, 9],
            "until the gateway says that its time is over"
        );
    }

    #[test]
    fn the_applications_own_key_stays_wherever_it_stands_in_the_order() {
        let mut pins = Pins::new(&[1, 2, 3, 4, 5, 6, 7, 8].map(|byte| key(byte, 0, 0)));
        pins.doubt(UnixMillis(9));
        pins.learn(&welcome(&[key(9, 0, 0)]), UnixMillis(9));
        assert_eq!(numbers(&pins), [2, 3, 4, 5, 6, 7, 1, 9]);
    }

    #[test]
    fn an_announced_key_that_no_handshake_can_use_is_skipped() {
        let mut pins = Pins::new(&[key(1, 0, 0)]);
        pins.learn(&welcome(&[key(0, 0, 0), key(2, 0, 0)]), UnixMillis(9));
        assert_eq!(pins.all(), [key(1, 0, 0), key(2, 0, 0)]);
    }

    #[test]
    fn a_hint_moves_only_among_keys_that_are_held_and_silence_takes_turns() {
        let mut pins = Pins::new(&[key(1, 0, 0), key(2, 0, 0), key(3, 50, 0)]);
        let now = UnixMillis(9);
        assert!(!pins.prefer(PublicKey([9; 32]).key_id(), now), "unknown");
        assert!(!pins.prefer(PublicKey([1; 32]).key_id(), now), "already the first");
        assert!(!pins.prefer(PublicKey([3; 32]).key_id(), now), "not its time yet");
        assert!(pins.prefer(PublicKey([2; 32]).key_id(), now));
        assert_eq!(current(&pins, 9), 2);
        pins.doubt(now);
        assert_eq!(current(&pins, 9), 1);
        pins.doubt(now);
        assert_eq!(current(&pins, 9), 2);
    }
}
