//! A blocking client: what a person would see who speaks the protocol by hand.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use prost::Message;
use protocol::buffer::{Input, Rest};
use protocol::link::{ClientLink, Dial};
use protocol::noise::{Gate, StaticKey, Suite, Suites};
use protocol::wire::frame::{Auth, Frame, Outcome, Request};
use protocol::wire::proto::link::{ServerKey, Welcome};
use protocol::{Error, Time};

use crate::stage::{PATIENCE, Stage, Target, wait_until};

/// A client on a blocking socket.
pub(crate) struct Client {
    socket: TcpStream,
    link: ClientLink,
    rest: Rest,
    next: u64,
    /// Heard and not yet asked for, oldest first.
    heard: VecDeque<Heard>,
    /// What its welcome gave it to come back with.
    pub(crate) tickets: Vec<Ticket>,
    /// The gateway's keys, as its welcome names them.
    pub(crate) server_keys: Vec<(Vec<u8>, u64)>,
    /// Reason of the clear reply.
    rejected: Option<u8>,
}

/// What a client comes back with.
pub(crate) struct Ticket {
    pub(crate) ticket: Vec<u8>,
    pub(crate) psk: [u8; 32],
}

/// A hello that was not answered with message 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unheard {
    /// Of the clear reply; `None` when it was met with silence.
    pub(crate) reason: Option<u8>,
}

impl From<protocol::wire::proto::link::Ticket> for Ticket {
    fn from(ticket: protocol::wire::proto::link::Ticket) -> Self {
        let psk = ticket.psk[..].try_into().expect("a psk has 32 bytes");
        Self { ticket: ticket.ticket.to_vec(), psk }
    }
}

/// What a client heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Welcome,
    Response(Outcome, u32, Vec<u8>),
    Push(Vec<u8>),
    Close(u32),
    Other(&'static str),
    /// The gateway closed the socket.
    End,
}

/// So many clients with so many requests each, which the service has not answered and never will: it is stopped.
pub(crate) fn with_requests_under_way(stage: &Stage, clients: usize, each: usize) -> Vec<Client> {
    let login = |index| Client::login(&stage.target, &format!("user{index}"));
    let mut clients: Vec<_> = (0..clients).map(login).collect();
    clients.iter_mut().for_each(Client::wait_until_answered);
    stage.service.signal("STOP");
    for client in &mut clients {
        (0..each).for_each(|_| client.request("echo", b"under way"));
    }
    let all = (clients.len() * each) as u64;
    wait_until("all requests are in flight", || stage.target.metric("gateway_requests_in_flight") == all);
    clients
}

impl Client {
    /// Connects and finishes the handshake.
    pub(crate) fn connect(target: &Target) -> Self {
        Self::dial(target, None).expect("whoever knows the server's key is answered")
    }

    /// Connects and authenticates.
    pub(crate) fn login(target: &Target, user: &str) -> Self {
        let mut client = Self::connect(target);
        client.authenticate(user, &target.token);
        client
    }

    /// Comes back with a ticket and without a token.
    pub(crate) fn resume(target: &Target, user: &str, ticket: &Ticket) -> Result<Self, Unheard> {
        let mut client = Self::dial(target, Some(ticket))?;
        client.authenticate(user, "");
        Ok(client)
    }

    /// The first bytes of a client, and what hears the answer.
    pub(crate) fn hello(target: &Target, ticket: Option<&Ticket>) -> (ClientLink, Vec<u8>) {
        let gate = Gate::new(&target.key);
        let dial = Dial {
            server: &target.key,
            gate: &gate,
            suite: if ticket.is_some() { Suite::Nnpsk0AesGcm } else { Suite::NkAesGcm },
            better: Suites::NONE,
            served: Suites::NONE,
            device_key: None,
            ticket: ticket.map(|Ticket { ticket, psk }| (&ticket[..], psk)),
        };
        let mut ephemeral = [0; 32];
        getrandom::fill(&mut ephemeral).expect("the system is up");
        let mut hello = Vec::new();
        let link = ClientLink::dial(&dial, ephemeral, Time::ZERO, &mut hello).expect("the keys fit");
        (link, hello)
    }

    /// Connects and finishes the handshake, with a ticket if there is one.
    pub(crate) fn dial(target: &Target, ticket: Option<&Ticket>) -> Result<Self, Unheard> {
        Self::dial_over(TcpStream::connect(target.address).expect("the gateway listens"), target, ticket)
    }

    /// The same over a connection that stands, and on which the gateway has heard nothing of this client.
    pub(crate) fn dial_over(
        socket: TcpStream,
        target: &Target,
        ticket: Option<&Ticket>,
    ) -> Result<Self, Unheard> {
        let (link, hello) = Self::hello(target, ticket);
        Self::greet(socket, link, &hello)
    }

    /// Connects without a server key, and finishes the handshake as far as that takes no word of the user.
    pub(crate) fn unpinned(address: SocketAddr, device_key: &StaticKey) -> Result<Self, Unheard> {
        let mut ephemeral = [0; 32];
        getrandom::fill(&mut ephemeral).expect("the system is up");
        let (mut hello, suite) = (Vec::new(), Suite::XxAesGcm);
        let better = Suites::of(&[]);
        let link = ClientLink::dial_unpinned(suite, better, device_key, ephemeral, Time::ZERO, &mut hello);
        let socket = TcpStream::connect(address).expect("the gateway listens");
        Self::greet(socket, link.expect("the key fits"), &hello)
    }

    fn greet(mut socket: TcpStream, link: ClientLink, hello: &[u8]) -> Result<Self, Unheard> {
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        socket.write_all(hello).expect("connected");
        let (rest, heard, tickets, server_keys, rejected) = Default::default();
        let mut client = Self { socket, link, rest, next: 1, heard, tickets, server_keys, rejected };
        while !client.link.is_open() {
            client.read();
            match client.heard.pop_front() {
                None => {}
                Some(Heard::End) => return Err(Unheard { reason: client.rejected }),
                Some(other) => panic!("before a frame of the client came {other:?}"),
            }
        }
        Ok(client)
    }

    /// The hash that both ends of the handshake know.
    pub(crate) fn handshake_hash(&self) -> [u8; 32] {
        *self.link.handshake_hash().expect("it is open")
    }

    /// Says who it is, and is welcome.
    pub(crate) fn authenticate(&mut self, user: &str, token: &str) {
        self.say_who(user, token);
        assert_eq!(self.hear(1), [Heard::Welcome]);
    }

    /// Says who it is, whatever comes of it.
    pub(crate) fn say_who(&mut self, user: &str, token: &str) {
        let (token, user) = (token.as_bytes(), user.as_bytes());
        self.send(&[Frame::Auth(Auth { token, user, device: b"test", ..Auth::default() })]);
    }

    /// Sends frames in as few records as they fit in.
    pub(crate) fn send(&mut self, frames: &[Frame<'_>]) {
        let records = self.seal(frames);
        self.write(&records);
    }

    /// Sends frames of a kind that nobody knows, in one record.
    pub(crate) fn send_unknown(&mut self, count: usize) {
        // Three bytes each: field 103, of no bytes.
        let mut out = vec![0; 2];
        (0..count).for_each(|_| out.extend([3, 0xba, 0x06, 0]));
        self.link.seal(&mut out, 0, 16 * 1024 - 16);
        self.write(&out);
    }

    /// Frames as they are sent.
    pub(crate) fn seal(&mut self, frames: &[Frame<'_>]) -> Vec<u8> {
        let mut out = vec![0; 2];
        for frame in frames {
            frame.encode(&mut out);
        }
        self.link.seal(&mut out, 0, 16 * 1024 - 16);
        out
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("connected");
    }

    /// Ends its own direction and goes on reading.
    pub(crate) fn finish(&mut self) {
        self.socket.shutdown(Shutdown::Write).expect("connected");
    }

    /// Breaks the connection: the kernel resets one that is closed with something unread, which must be on its way.
    pub(crate) fn reset(self) {
        self.socket.peek(&mut [0]).expect("something comes");
    }

    /// Sends one request.
    pub(crate) fn request(&mut self, route: &str, payload: &[u8]) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        self.send(&[Frame::Request(Request { id, route, payload, ..Request::default() })]);
    }

    /// Asks until the backend answers.
    pub(crate) fn wait_until_answered(&mut self) {
        wait_until("the backend answers", || {
            self.request("echo", b"are you there");
            self.hear(1) == [Heard::Response(Outcome::Answered, 0, b"are you there".to_vec())]
        });
    }

    /// Sends one request and waits for its response, whatever else comes before it.
    pub(crate) fn ask(&mut self, route: &str, payload: &[u8]) -> Heard {
        self.request(route, payload);
        self.hear_one(|heard| matches!(heard, Heard::Response(..)))
    }

    /// The next `count` things it hears; fewer when the last one is the end.
    pub(crate) fn hear(&mut self, count: usize) -> Vec<Heard> {
        let mut heard = Vec::new();
        while heard.len() < count && heard.last() != Some(&Heard::End) {
            heard.push(self.hear_one(|_| true));
        }
        heard
    }

    /// The next thing it hears of this kind; what came before it is still to be heard.
    pub(crate) fn hear_one(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            if let Some(at) = self.heard.iter().position(&wanted) {
                return self.heard.remove(at).expect("it was just found");
            }
            assert_ne!(self.heard.back(), Some(&Heard::End), "closed before that: {:?}", self.heard);
            self.read();
        }
    }

    /// Reads once from the socket.
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        let read = match self.socket.read(&mut chunk) {
            Ok(read) => read,
            // A read that has a timeout does not begin again by itself when something interrupts it: signal(7).
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing heard in time: {error}"),
        };
        let mut input = Input::new(&mut chunk[..read], std::mem::take(&mut self.rest));
        loop {
            let frame = match self.link.receive(&mut input, Time::ZERO) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(Error::Rejected(reason)) => {
                    self.rejected = Some(reason);
                    break;
                }
                Err(error) => panic!("the gateway breaks a rule: {error}"),
            };
            self.heard.push_back(match frame {
                Frame::Welcome(body) => {
                    let welcome = Welcome::decode(body).expect("the gateway writes protobuf");
                    self.tickets = welcome.tickets.into_iter().map(Ticket::from).collect();
                    let key = |named: &ServerKey| (named.key.to_vec(), named.not_before_ms);
                    self.server_keys = welcome.server_keys.iter().map(key).collect();
                    Heard::Welcome
                }
                Frame::Response(answer) => {
                    Heard::Response(answer.outcome, answer.code, answer.payload.to_vec())
                }
                Frame::Push(push) => Heard::Push(push.payload.to_vec()),
                Frame::Close(close) => Heard::Close(close.code),
                other => Heard::Other(other.name()),
            });
        }
        self.rest = input.into_rest();
        if read == 0 {
            self.heard.push_back(Heard::End);
        }
    }
}
