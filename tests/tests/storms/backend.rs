//! A backend that dies and comes back.

use std::sync::Arc;

use driver::Endpoint;
use driver::sim::{Backlog, Buffers, Net, Rng, Socket, State};
use protocol::stream::{Access, BackendStream, Params, ToBackend};
use protocol::wire::stream::{AuthResult, Kick, StreamPush, StreamResponse};
use protocol::{CloseCode, Time};

/// A backend that echoes, pushes to who asks, and is killed now and then.
pub(crate) struct BackendActor {
    net: Net,
    place: Endpoint,
    backlog: Option<Backlog>,
    streams: Vec<Carried>,
    /// Whether the storm is over.
    pub(crate) calm: bool,
    born: u64,
}

struct Carried {
    socket: Socket,
    machine: BackendStream,
    unsent: Vec<u8>,
    unread: Vec<u8>,
}

impl BackendActor {
    pub(crate) fn new(net: &Net, place: Endpoint) -> Self {
        Self { net: net.clone(), place, backlog: None, streams: Vec::new(), calm: false, born: 0 }
    }

    pub(crate) fn step(&mut self, rng: &mut Rng, now: Time) {
        if !self.calm && self.backlog.is_some() && rng.one_in(400) {
            self.backlog = None;
            self.streams.drain(..).for_each(|stream| stream.socket.reset());
        }
        if self.backlog.is_none() && (self.calm || rng.one_in(50)) {
            self.backlog = Some(self.net.listen(&self.place, Buffers { send: 400, receive: 400 }));
        }
        while let Some(socket) = self.backlog.as_ref().and_then(Backlog::accept) {
            self.born += 1;
            let access = Arc::new(Access::clear());
            let machine = BackendStream::new(
                access,
                Params::default(),
                b"back",
                vec!["echo".into(), "accounts".into()],
                [1; 32],
                now,
            );
            self.streams.push(Carried { socket, machine, unsent: Vec::new(), unread: Vec::new() });
        }
        let calm = self.calm;
        self.streams.retain_mut(|stream| stream.step(rng, now, calm));
    }
}

impl Carried {
    /// Whether the stream lives.
    fn step(&mut self, rng: &mut Rng, now: Time, calm: bool) -> bool {
        if !calm && rng.one_in(3) {
            return true;
        }
        self.socket.read(&mut self.unread, 700);
        let mut bytes = std::mem::take(&mut self.unread);
        let mut input = self.machine.input(&mut bytes);
        let mut pushes = Vec::new();
        loop {
            match self.machine.receive(&mut input, now) {
                Ok(Some(ToBackend::Request(request))) => {
                    let payload = request.payload;
                    let answer = StreamResponse { call: request.call, payload, ..StreamResponse::default() };
                    if !calm && rng.one_in(100) {
                        self.machine.kick(&Kick {
                            link: request.link,
                            code: CloseCode::Kicked.number(),
                            ..Kick::default()
                        });
                    }
                    if rng.one_in(8) {
                        pushes.push((request.link, request.user.to_vec()));
                    }
                    let mine = payload.starts_with(request.user);
                    assert!(mine, "a request carries the user who made it");
                    // Without credit it stays unanswered, and the gateway's deadline resolves it.
                    let _ = self.machine.response(&answer);
                    self.machine.consumed(payload.len());
                }
                Ok(Some(ToBackend::Authenticate(asked))) => {
                    let accepted = calm || !rng.one_in(10);
                    let verdict =
                        AuthResult { call: asked.call, accepted, user: asked.token, ..AuthResult::default() };
                    // The silent ones are resolved by the gateway's deadline.
                    if calm || !rng.one_in(10) {
                        self.machine.auth_result(&verdict);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => panic!("the gateway breaks the stream's rules: {error}"),
            }
        }
        self.machine.keep(input);
        for (link, user) in pushes {
            let by_link = rng.one_in(2);
            let push = StreamPush {
                number: 1,
                link: if by_link { link } else { 0 },
                user: if by_link { &[] } else { &user },
                payload: &user,
                ..StreamPush::default()
            };
            let _ = self.machine.push(&push);
        }
        if self.machine.expire(now).is_err() {
            self.socket.reset();
            return false;
        }
        if self.unsent.is_empty() {
            self.machine.seal(&mut self.unsent);
        }
        let written = self.socket.write(&self.unsent);
        self.unsent.drain(..written);
        matches!(self.socket.state(), State::Open | State::Connecting)
    }
}
