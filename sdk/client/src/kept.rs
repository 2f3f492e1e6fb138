//! What outlives a link and, with a store, the process: the session and the tickets, and how they are written down.
//!
//! ```text
//! state   = format u8 (1) ‖ owner 32 ‖ pinned 32 ‖ count u8 ‖ {pin}* ‖ proved until u64
//!           ‖ flag u8 ‖ [session, if the flag is 1] ‖ count u8 ‖ {ticket}*
//! pin     = key 32 ‖ not before u64 ‖ not after u64 (0: open) ‖ suites u32
//! session = id 16 ‖ secret 32 ‖ attempt u32 ‖ taken u64 ‖ numbers u64
//! ticket  = suite u8 ‖ until u64 ‖ psk 32 ‖ length u16 ‖ ticket
//! ```
//!
//! Numbers are big-endian, times Unix ms. `owner` is the SHA-256 of the user with its length before it and the device, `pinned`
//! that of the pins the application came with, as above.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use protocol::limits::{SESSION_ID_LEN, TICKET_LEN_MAX};
use protocol::noise::ticket::{TICKET_CHAIN_MAX, TICKET_LIFETIME};
use protocol::noise::{PublicKey, Suite, Suites};
use protocol::{Time, UnixMillis};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::clock::Moment;
use crate::pins::{KEYS_MAX, ServerKey};
use crate::receipts::Receipts;
use crate::tickets::{TICKETS_MAX, Ticket, Tickets};

/// What a client knows of itself and the gateway.
#[derive(Debug)]
pub(crate) struct Kept {
    owner: [u8; 32],
    /// The hash of the pins that the application came with. With others it begins anew (SPEC.md, section 8.9).
    pinned: [u8; 32],
    /// What has become of them, at most [`KEYS_MAX`]; empty until something has.
    pub(crate) pins: Vec<ServerKey>,
    /// None if the gateway cannot go on with it.
    pub(crate) session: Option<Session>,
    /// Of the session, or of the one that is over.
    pub(crate) receipts: Receipts,
    /// The how-manieth session of this run it is; 0: there was none yet.
    pub(crate) number: u64,
    pub(crate) tickets: Tickets,
    /// Until then a ticket may be used, which does not prove the gateway's key.
    pub(crate) proved_until: Time,
}

/// A session that can go on with another link.
pub(crate) struct Session {
    pub(crate) id: [u8; SESSION_ID_LEN],
    pub(crate) secret: Zeroizing<[u8; 32]>,
    /// The last one that was made to go on with it.
    pub(crate) attempt: u32,
    /// Numbers of requests that may be used before more are written here.
    pub(crate) numbers: u64,
}

const FORMAT: u8 = 1;
/// A full handshake, which proves the gateway's key, is made at least this often.
const PROVED_FOR: Duration = TICKET_CHAIN_MAX;

impl Kept {
    /// Nothing yet.
    pub(crate) fn new(user: &[u8], device: &[u8], pins: &[ServerKey]) -> Self {
        let mut all = Vec::new();
        pins.iter().for_each(|pin| encode_pin(pin, &mut all));
        Self {
            owner: hash(&[&[user.len() as u8][..], user, device].concat()),
            pinned: hash(&all),
            pins: Vec::new(),
            session: None,
            receipts: Receipts::default(),
            number: 0,
            tickets: Tickets::default(),
            proved_until: Time::ZERO,
        }
    }

    /// Another session begins.
    pub(crate) fn begin(&mut self, session: Option<Session>) {
        self.session = session;
        self.receipts = Receipts::default();
        self.number += 1;
    }

    /// A ticket to come back with, unless it is time for a handshake that proves the gateway's key.
    pub(crate) fn ticket(&mut self, now: Time) -> Option<Ticket> {
        if now < self.proved_until { self.tickets.take(now) } else { None }
    }

    /// A handshake has proved the gateway's key, and that it speaks these suites.
    pub(crate) fn proved(&mut self, offered: Suites, now: Time) {
        self.proved_until = now + PROVED_FOR;
        self.tickets.keep(offered);
    }

    /// All of it, to be kept as a secret.
    pub(crate) fn encode(&self, now: Moment) -> Zeroizing<Vec<u8>> {
        // Never moved, as what stays behind would not be wiped.
        let mut out = Zeroizing::new(Vec::with_capacity(STATE_LEN_MAX));
        let unix =
            |until: Time| now.wall.0.saturating_add(until.since(now.time).as_millis() as u64).to_be_bytes();
        out.push(FORMAT);
        out.extend_from_slice(&self.owner);
        out.extend_from_slice(&self.pinned);
        out.push(self.pins.len() as u8);
        self.pins.iter().for_each(|pin| encode_pin(pin, &mut out));
        out.extend_from_slice(&unix(self.proved_until));
        out.push(self.session.is_some().into());
        if let Some(session) = &self.session {
            out.extend_from_slice(&session.id);
            out.extend_from_slice(&*session.secret);
            out.extend_from_slice(&session.attempt.to_be_bytes());
            out.extend_from_slice(&self.receipts.taken().to_be_bytes());
            out.extend_from_slice(&session.numbers.to_be_bytes());
        }
        out.push(self.tickets.iter().len() as u8);
        for ticket in self.tickets.iter() {
            out.push(ticket.suite.byte());
            out.extend_from_slice(&unix(ticket.until));
            out.extend_from_slice(&*ticket.psk);
            out.extend_from_slice(&(ticket.ticket.len() as u16).to_be_bytes());
            out.extend_from_slice(&ticket.ticket);
        }
        out
    }

    /// What was written before, in place of nothing; `false`, and nothing, if it is not this client's or not as above.
    pub(crate) fn restore(&mut self, state: &[u8], now: Moment) -> bool {
        let Some(kept) = self.decode(&mut Reader(state), now) else { return false };
        *self = kept;
        true
    }

    fn decode(&self, state: &mut Reader<'_>, now: Moment) -> Option<Self> {
        if state.array::<1>()? != [FORMAT] || state.array()? != self.owner {
            return None;
        }
        let is_pinned_alike = state.array()? == self.pinned;
        let mut pins: Vec<_> = (0..state.count(KEYS_MAX)?).map(|_| state.pin()).collect::<Option<_>>()?;
        let mut proved_until = state.time(PROVED_FOR, now)?;
        let (mut session, mut receipts) = (None, Receipts::default());
        if state.count(1)? == 1 {
            let (id, secret) = (state.array()?, state.array()?.into());
            let attempt = u32::from_be_bytes(state.array()?);
            receipts = Receipts::restored(state.number()?);
            session = Some(Session { id, secret, attempt, numbers: state.number()? });
        }
        let mut tickets = Tickets::default();
        for _ in 0..state.count(TICKETS_MAX)? {
            tickets.restore(state.ticket(now)?);
        }
        if !is_pinned_alike {
            // The keys it comes with now have proved nothing yet.
            pins.clear();
            tickets.forget();
            proved_until = Time::ZERO;
        }
        let (owner, pinned, number) = (self.owner, self.pinned, session.is_some().into());
        state.0.is_empty().then_some(Self {
            owner,
            pinned,
            pins,
            session,
            receipts,
            number,
            tickets,
            proved_until,
        })
    }
}

fn encode_pin(pin: &ServerKey, out: &mut Vec<u8>) {
    out.extend_from_slice(&pin.key.0);
    out.extend_from_slice(&pin.not_before.0.to_be_bytes());
    // The end of the first millisecond was long ago.
    out.extend_from_slice(&pin.not_after.map_or(0, |end| end.0.max(1)).to_be_bytes());
    out.extend_from_slice(&pin.suites.bits().to_be_bytes());
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    *digest(&SHA256, bytes).as_ref().first_chunk().expect("a hash has 32 bytes")
}

/// The longest state there is, and some room.
const STATE_LEN_MAX: usize = 256 + KEYS_MAX * 52 + TICKETS_MAX * (TICKET_LEN_MAX + 64);

/// What is left to be read.
struct Reader<'s>(&'s [u8]);

impl<'s> Reader<'s> {
    fn take(&mut self, len: usize) -> Option<&'s [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// How many of something follow, up to so many.
    fn count(&mut self, most: usize) -> Option<usize> {
        let [count] = self.array()?;
        Some(count.into()).filter(|&count| count <= most)
    }

    fn pin(&mut self) -> Option<ServerKey> {
        let key = PublicKey(self.array()?);
        let (not_before, end) = (UnixMillis(self.number()?), self.number()?);
        let not_after = (end != 0).then_some(UnixMillis(end));
        let suites = Suites::from_bits(u32::from_be_bytes(self.array()?));
        Some(ServerKey { key, not_before, not_after, suites }).filter(ServerKey::is_usable)
    }

    fn ticket(&mut self, now: Moment) -> Option<Ticket> {
        let [suite] = self.array()?;
        let suite = Suite::from_byte(suite).filter(|suite| suite.is_ticket())?;
        let until = self.time(TICKET_LIFETIME, now)?;
        let psk = self.array()?.into();
        let len = usize::from(u16::from_be_bytes(self.array()?));
        let ticket = self.take(Some(len).filter(|len| (1..=TICKET_LEN_MAX).contains(len))?)?;
        Some(Ticket { ticket: Bytes::copy_from_slice(ticket), psk, suite, until })
    }

    /// A moment that lies no further ahead than this: if it does, somebody has set the clock, and it is over.
    fn time(&mut self, most: Duration, now: Moment) -> Option<Time> {
        let UnixMillis(wall) = now.wall;
        let left = Duration::from_millis(self.number()?.saturating_sub(wall));
        Some(if left > most { Time::ZERO } else { now.time + left })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?}, attempt {}, ***)", self.id, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not every number is a point.
    fn pin(number: u8) -> ServerKey {
        let key = protocol::noise::StaticKey::from_secret([number; 32]).public();
        let suites = Suites::of(&[Suite::NkAesGcm]);
        ServerKey { not_before: UnixMillis(5), not_after: Some(UnixMillis(9)), suites, ..key.into() }
    }

    fn empty() -> Kept {
        Kept::new(b"alice", b"phone", &[pin(1)])
    }

    const NOW: Moment = Moment { time: Time::ZERO, wall: UnixMillis(1_700_000_000_000) };

    fn full() -> Kept {
        let mut kept = empty();
        kept.pins = (2..10).map(pin).collect();
        kept.pins[1].not_after = None;
        kept.begin(Some(Session { id: [1; 16], secret: [2; 32].into(), attempt: 3, numbers: 1_024 }));
        (1..=5).for_each(|sequence| _ = kept.receipts.arrived(sequence));
        kept.receipts.take(4);
        kept.proved_until = NOW.time + Duration::from_secs(60);
        for (len, suite) in [(356, Suite::Nnpsk0ChaChaPoly), (TICKET_LEN_MAX, Suite::Nnpsk0AesGcm)] {
            let until = NOW.time + Duration::from_secs(len as u64);
            kept.tickets.restore(Ticket { ticket: vec![7; len].into(), psk: [9; 32].into(), suite, until });
        }
        kept
    }

    fn restored(state: &[u8], now: Moment) -> Option<Kept> {
        let mut kept = empty();
        kept.restore(state, now).then_some(kept)
    }

    #[test]
    fn a_later_run_goes_on_behind_the_last_push_that_was_taken() {
        let state = full().encode(NOW);
        assert!(state.len() <= STATE_LEN_MAX);
        // A later run has a clock of its own.
        let later = Moment { time: Time::ZERO, wall: UnixMillis(NOW.wall.0 + 10_000) };
        let kept = restored(&state, later).unwrap();
        let session = kept.session.as_ref().unwrap();
        assert_eq!(
            (session.id, *session.secret, session.attempt, session.numbers),
            ([1; 16], [2; 32], 3, 1_024)
        );
        assert_eq!(
            (kept.receipts.last_sequence(), kept.number),
            (4, 1),
            "the fifth was received and is lost"
        );
        assert_eq!(kept.proved_until, Time::ZERO + Duration::from_secs(50));
        let tickets: Vec<_> =
            kept.tickets.iter().map(|ticket| (ticket.suite, ticket.until.as_millis())).collect();
        assert_eq!(tickets, [(Suite::Nnpsk0ChaChaPoly, 346_000), (Suite::Nnpsk0AesGcm, 502_000)]);
        assert_eq!(*restored(&state, later).unwrap().encode(later), *state, "and writes the same");
        let none = empty();
        assert!(
            restored(&none.encode(NOW), later).is_some_and(|kept| kept.session.is_none() && kept.number == 0)
        );
    }

    #[test]
    fn what_is_torn_or_foreign_is_not_used_and_no_byte_of_it_does_harm() {
        let mut kept = full();
        // Each costs a curve operation each time.
        kept.pins.truncate(1);
        let state = kept.encode(NOW);
        for len in 0..state.len() {
            assert!(restored(&state[..len], NOW).is_none(), "cut at {len}");
        }
        assert!(restored(&[&state[..], &[0]].concat(), NOW).is_none());
        for at in 0..state.len() {
            for byte in [0, 1, 5, 0x7f, 0xff] {
                let mut damaged = state.to_vec();
                damaged[at] = byte;
                if let Some(kept) = restored(&damaged, NOW) {
                    _ = kept.encode(NOW);
                }
            }
        }
        for (user, device) in [(&b"bob"[..], &b"phone"[..]), (b"alice", b"tablet"), (b"alicep", b"hone")] {
            assert!(!Kept::new(user, device, &[pin(1)]).restore(&state, NOW));
        }
    }

    #[test]
    fn learnt_keys_are_good_until_the_application_comes_with_others() {
        let state = full().encode(NOW);
        let kept = restored(&state, NOW).unwrap();
        assert_eq!(kept.pins, full().pins);
        for others in [&[][..], &[pin(2)], &[pin(1), pin(2)], &[ServerKey { not_after: None, ..pin(1) }]] {
            let mut updated = Kept::new(b"alice", b"phone", others);
            assert!(updated.restore(&state, NOW));
            assert!(updated.pins.is_empty() && updated.session.is_some());
            assert!(updated.ticket(NOW.time).is_none(), "a ticket does not prove the new ones");
        }
    }

    #[test]
    fn after_a_clock_was_set_back_nothing_is_good_for_longer_than_it_ever_was() {
        let state = full().encode(NOW);
        let before = Moment { wall: UnixMillis(NOW.wall.0 - 8 * 86_400_000), ..NOW };
        let mut kept = restored(&state, before).unwrap();
        assert!(kept.proved_until == Time::ZERO && kept.tickets.take(NOW.time).is_none());
        let after = Moment { wall: UnixMillis(NOW.wall.0 + 8 * 86_400_000), ..NOW };
        assert!(restored(&state, after).unwrap().tickets.take(NOW.time).is_none());
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", full());
        assert!(!shown.contains("[2, 2") && !shown.contains("[9, 9"), "{shown}");
    }
}
