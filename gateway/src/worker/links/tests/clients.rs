//! The other ends of the sockets: clients that speak the protocol.

use protocol::link::{ClientLink, Dial};
use protocol::noise::preamble::{Hello, Preamble};
use protocol::noise::{Gate, Identity};

use super::*;

/// The secret of the ticket that [`Rig::ticket`] issues.
pub(super) const PSK: [u8; 32] = [7; 32];

impl Rig {
    /// A client's hello.
    pub(super) fn dial(&mut self, token: Token, suite: Suite) -> Vec<u8> {
        self.dial_with(token, suite, None)
    }

    pub(super) fn dial_with(
        &mut self,
        token: Token,
        suite: Suite,
        ticket: Option<(&[u8], &[u8; 32])>,
    ) -> Vec<u8> {
        let server = self.acceptors.of(FIRST).public();
        let gate = Gate::new(&server);
        let dial = Dial {
            server: &server,
            gate: &gate,
            suite,
            better: Suites::NONE,
            served: Suites::NONE,
            device_key: None,
            ticket,
        };
        let mut hello = Vec::new();
        let link = ClientLink::dial(&dial, [2; 32], START, &mut hello).expect("the keys fit the suite");
        self.clients.insert(token, Client::new(link));
        hello
    }

    /// The hello of a client that has no server key.
    pub(super) fn dial_unpinned(&mut self, token: Token) -> Vec<u8> {
        let mut hello = Vec::new();
        let (suite, key) = (Suite::XxAesGcm, StaticKey::from_secret([4; 32]));
        let link = ClientLink::dial_unpinned(suite, Suites::NONE, &key, [2; 32], START, &mut hello);
        self.clients.insert(token, Client::new(link.expect("the key fits the suite")));
        hello
    }

    /// The hello of a client that speaks a version or suite of which nobody here has heard, and passes the gate.
    pub(super) fn foreign_hello(&self, version: u8, suite: u8) -> Vec<u8> {
        let server = self.acceptors.of(FIRST).public();
        let mut preamble = Preamble {
            version,
            suite,
            key_id: server.key_id(),
            versions: 1 << version,
            suites: Suites::NONE,
            ticket_len: 0,
            tag: [0; 16],
        };
        preamble.tag = Gate::new(&server).tag(&preamble.fixed(), &[], &[1; 100]);
        let mut hello = Vec::new();
        Hello { preamble, ticket: &[], message_1: &[1; 100] }.encode(&mut hello);
        hello
    }

    /// A ticket of the first listener.
    pub(super) fn ticket(&self) -> Vec<u8> {
        let acceptor = self.acceptors.of(FIRST);
        let identity = Identity {
            psk: PSK.into(),
            origin_suite: Suite::NkChaChaPoly,
            server_key_id: acceptor.public().key_id(),
            issued: self.turn.wall,
            auth_time: self.turn.wall,
            login: 1,
            token_exp: None,
            end: None,
            epoch: 0,
            user: b"alice".to_vec(),
            device: b"phone".to_vec(),
            device_key: None,
            bound_key: None,
            class: protocol::DeviceClass::Unknown,
            limit_class: Vec::new(),
        };
        acceptor.tickets().expect("it takes tickets").issue(&identity, &[3; 16]).expect("it is sound")
    }

    /// One record with these frames, from a client.
    pub(super) fn say(&mut self, token: Token, frames: &[Frame<'_>]) -> Vec<u8> {
        let mut bytes = vec![0; 2];
        for frame in frames {
            frame.encode(&mut bytes);
        }
        self.clients.get_mut(&token).expect("it has dialled").link.seal(&mut bytes, 0, 60_000);
        bytes
    }
}

/// A client, and what has come to it.
pub(super) struct Client {
    pub(super) link: ClientLink,
    pub(super) inbox: Vec<u8>,
    partials: Partials,
    place: Place,
}

impl Client {
    fn new(link: ClientLink) -> Self {
        Self { link, inbox: Vec::new(), partials: Partials::new(1 << 20), place: Place::NONE }
    }

    /// Names of the frames that have come, with the code of a close and the nonce of a pong, or what is wrong.
    pub(super) fn read(&mut self, now: Time) -> Vec<String> {
        let mut bytes = std::mem::take(&mut self.inbox);
        let mut input = Input::new(&mut bytes, self.partials.take(self.place).expect("there is room"));
        let mut told = Vec::new();
        loop {
            match self.link.receive(&mut input, now) {
                Ok(Some(frame)) => told.push(describe(&frame)),
                Ok(None) => break,
                Err(error) => {
                    told.push(format!("{error:?}"));
                    break;
                }
            }
        }
        self.place = self.partials.keep(self.place, 0, input.into_rest()).expect("there is room");
        told
    }
}

fn describe(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Pong { nonce } => format!("pong {nonce}"),
        Frame::Close(close) => {
            let code = CloseCode::from_number(close.code);
            assert_eq!(close.text, code.map_or("", CloseCode::name), "for a developer's eye");
            let after = match close.retry_after_ms {
                0 => String::new(),
                millis => format!(" after {millis} ms"),
            };
            let for_good = if close.do_not_reconnect { " for good" } else { "" };
            format!("close {}{after}{for_good}", code.map_or("unknown", CloseCode::name))
        }
        other => other.name().to_owned(),
    }
}
