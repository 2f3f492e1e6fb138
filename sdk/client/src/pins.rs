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

/// The keys in the order they are to be tried, each with its gate, which costs a hash to build.
#[derive(Debug)]
pub(crate) struct Pins(Vec<(ServerKey, Gate)>);

/// The most keys that are kept.
pub(crate) const KEYS_MAX: usize = 8;

impl Pins {
    pub(crate) fn new(keys: &[ServerKey]) -> Self {
        Self(keys.iter().map(|key| (key.clone(), Gate::new(&key.key))).collect())
    }

    /// The key to try: the first one whose time it is. With none of those the first one, as a pin is never lost to a
    /// wrong clock.
    pub(crate) fn current(&self, now: UnixMillis) -> (&PublicKey, &Gate) {
        let (key, gate) = &self.0[self.position(now)];
        (&key.key, gate)
    }

    /// Puts the key of this name first; `false` if it is there already, or none of ours that is good now.
    pub(crate) fn prefer(&mut self, id: KeyId, now: UnixMillis) -> bool {
        let named = self.0.iter().position(|(key, _)| key.is_good(now) && key.key.key_id() == id);
        match named {
            Some(at) if at != self.position(now) => {
                self.0[..=at].rotate_right(1);
                true
            }
            _ => false,
        }
    }

    /// The current key was met with silence: next time another one gets its turn.
    pub(crate) fn doubt(&mut self, now: UnixMillis) {
        let at = self.position(now);
        self.0[at..].rotate_left(1);
    }

    /// Learns the first few keys of an authenticated `Welcome`, and drops those whose time is over, but never the last one.
    pub(crate) fn learn(&mut self, welcome: &Welcome, now: UnixMillis) {
        for learnt in welcome.server_keys.iter().take(KEYS_MAX).filter_map(parse) {
            match self.0.iter().position(|(known, _)| known.key == learnt.key) {
                Some(at) => self.0[at].0 = learnt,
                None if self.0.len() < KEYS_MAX => self.0.push((learnt.clone(), Gate::new(&learnt.key))),
                None => {}
            }
        }
        if self.0.iter().any(|(key, _)| !key.is_over(now)) {
            self.0.retain(|(key, _)| !key.is_over(now));
        } else {
            self.0.truncate(1);
        }
    }

    /// All of them, for the application to store.
    pub(crate) fn all(&self) -> Vec<ServerKey> {
        self.0.iter().map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn position(&self, now: UnixMillis) -> usize {
        self.0.iter().position(|(key, _)| key.is_good(now)).unwrap_or(0)
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
