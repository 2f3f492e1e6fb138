//! Two machines, one at each end of a wire that cuts what it carries where it likes.

use super::*;

/// A client and a gateway, and the wire between them.
pub(super) struct Pair {
    pub(super) suite: Suite,
    pub(super) acceptor: Acceptor,
    pub(super) server: ServerLink,
    pub(super) client: ClientLink,
    pub(super) hello: Vec<u8>,
    pub(super) partials: [Partials; 2],
    pub(super) places: [Place; 2],
    pub(super) now: Time,
    /// Longest chunk the wire delivers.
    pub(super) piece: usize,
}

/// A ticket and its secret.
pub(super) type Ticket<'a> = Option<(&'a [u8], &'a [u8; 32])>;

impl Pair {
    pub(super) fn new(suite: Suite) -> Self {
        let acceptor = acceptor(all_suites());
        let (hello, client) = dial(&acceptor.public(), suite, Suites::NONE, None);
        Self {
            suite,
            acceptor,
            server: ServerLink::new(Time::ZERO),
            client,
            hello,
            partials: [Partials::new(1 << 20), Partials::new(1 << 20)],
            places: [Place::NONE; 2],
            now: Time::ZERO,
            piece: usize::MAX,
        }
    }

    pub(super) fn live() -> Self {
        let mut pair = Self::new(Suite::NkChaChaPoly);
        pair.connect();
        assert_eq!(pair.up(&[AUTH]), Ok(vec!["auth"]));
        pair.server.welcome(HEARTBEAT, pair.now);
        pair
    }

    pub(super) fn redial(&mut self, better: Suites, ticket: Ticket<'_>) {
        (self.hello, self.client) = dial(&self.acceptor.public(), self.suite, better, ticket);
    }

    pub(super) fn connect(&mut self) {
        self.try_connect().expect("both ends are well");
    }

    pub(super) fn try_connect(&mut self) -> Result<(), Error> {
        let mut out = Vec::new();
        assert!(self.hail(&mut out)?);
        let hello = self.partials[0].take(self.places[0])?;
        self.places[0] = Place::NONE;
        self.server.handshake(
            hello.gathered(),
            &self.acceptor,
            [5; 32],
            self.now,
            UnixMillis(1),
            &mut out,
        )?;
        assert_eq!(self.deliver_down(&out)?, Vec::<&str>::new());
        assert!(self.client.is_open());
        Ok(())
    }

    pub(super) fn hail(&mut self, reply: &mut Vec<u8>) -> Result<bool, Error> {
        let mut complete = false;
        for piece in self.hello.clone().chunks_mut(self.piece.min(1 << 16)) {
            let mut input = Input::new(piece, self.partials[0].take(self.places[0])?);
            complete = self.server.hail(&mut input, &self.acceptor, reply)?;
            self.places[0] = self.partials[0].keep(self.places[0], 0, input.into_rest())?;
        }
        Ok(complete)
    }

    pub(super) fn seal_up(&mut self, frames: &[Frame<'_>], out: &mut Vec<u8>) {
        encode(frames, out);
        self.client.seal(out, 0, RECORD_LEN_MAX_UPLINK - 16);
    }

    pub(super) fn up(&mut self, frames: &[Frame<'_>]) -> Result<Vec<&'static str>, Error> {
        let mut out = Vec::new();
        self.seal_up(frames, &mut out);
        self.deliver_up(&out)
    }

    pub(super) fn down(&mut self, frames: &[Frame<'_>]) -> Result<Vec<&'static str>, Error> {
        let mut out = Vec::new();
        encode(frames, &mut out);
        self.server.seal(&mut out, 0, 16 * 1024);
        self.deliver_down(&out)
    }

    pub(super) fn deliver_up(&mut self, bytes: &[u8]) -> Result<Vec<&'static str>, Error> {
        let (server, now) = (&mut self.server, self.now);
        deliver(bytes, self.piece, &mut self.partials[0], &mut self.places[0], |input| {
            Ok(server.receive(input, &RULES, now)?.map(|frame| frame.name()))
        })
    }

    pub(super) fn deliver_down(&mut self, bytes: &[u8]) -> Result<Vec<&'static str>, Error> {
        let (client, now) = (&mut self.client, self.now);
        deliver(bytes, self.piece, &mut self.partials[1], &mut self.places[1], |input| {
            Ok(client.receive(input, now)?.map(|frame| frame.name()))
        })
    }
}

fn dial(server: &PublicKey, suite: Suite, better: Suites, ticket: Ticket<'_>) -> (Vec<u8>, ClientLink) {
    let device_key = StaticKey::from_secret([3; 32]);
    let gate = Gate::new(server);
    let wanted = matches!(suite, Suite::IkChaChaPoly | Suite::IkAesGcm);
    let dial = Dial {
        server,
        gate: &gate,
        suite,
        better,
        served: Suites::NONE,
        device_key: wanted.then_some(&device_key),
        ticket,
    };
    let mut hello = Vec::new();
    let client = ClientLink::dial(&dial, [4; 32], Time::ZERO, &mut hello).expect("the keys fit the suite");
    (hello, client)
}

pub(super) fn encode(frames: &[Frame<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 2]);
    for frame in frames {
        frame.encode(out);
    }
}

fn deliver(
    bytes: &[u8],
    piece: usize,
    partials: &mut Partials,
    place: &mut Place,
    mut receive: impl FnMut(&mut Input<'_>) -> Result<Option<&'static str>, Error>,
) -> Result<Vec<&'static str>, Error> {
    let (mut bytes, mut names) = (bytes.to_vec(), Vec::new());
    let empty: &mut [u8] = &mut [];
    let pieces = if bytes.is_empty() { vec![empty] } else { bytes.chunks_mut(piece.min(1 << 20)).collect() };
    for piece in pieces {
        let mut input = Input::new(piece, partials.take(*place)?);
        while let Some(name) = receive(&mut input)? {
            names.push(name);
        }
        *place = partials.keep(*place, 0, input.into_rest())?;
    }
    Ok(names)
}
