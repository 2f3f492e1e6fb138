//! Backends that die and come back.

use std::collections::BTreeSet;
use std::sync::Arc;

use driver::Endpoint;
use driver::sim::{Backlog, Buffers, Net, Rng, Socket, State};
use protocol::stream::{Access, BackendStream, Params, ToBackend};
use protocol::wire::stream::{AuthResult, Kick, StreamPush, StreamResponse};
use protocol::{CloseCode, Refusal, Time};

use crate::ledger::Ledger;

/// A backend that echoes, pushes to who asks, and is killed now and then.
pub(crate) struct BackendActor {
    net: Net,
    place: Endpoint,
    desk: Desk,
    backlog: Option<Backlog>,
    streams: Vec<Carried>,
    /// Whether the storm is over.
    pub(crate) calm: bool,
}

/// What all streams of a backend share.
struct Desk {
    routes: Vec<&'static str>,
    ledger: Ledger,
}

struct Carried {
    socket: Socket,
    machine: BackendStream,
    unsent: Vec<u8>,
    unread: Vec<u8>,
    /// Links the gateway has announced on this stream.
    present: BTreeSet<u64>,
}

impl BackendActor {
    pub(crate) fn new(net: &Net, place: Endpoint, routes: Vec<&'static str>, ledger: Ledger) -> Self {
        let desk = Desk { routes, ledger };
        Self { net: net.clone(), place, desk, backlog: None, streams: Vec::new(), calm: false }
    }

    /// Whether it has been told of the end of every link it was told of.
    pub(crate) fn is_alone(&self) -> bool {
        self.streams.iter().all(|stream| stream.present.is_empty())
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
            let access = Arc::new(Access::clear());
            let machine = BackendStream::new(
                access,
                Params::default(),
                b"back",
                self.desk.routes.iter().map(|&route| route.into()).collect(),
                [1; 32],
                now,
            );
            let (unsent, unread, present) = (Vec::new(), Vec::new(), BTreeSet::new());
            self.streams.push(Carried { socket, machine, unsent, unread, present });
        }
        let Self { streams, desk, calm, .. } = self;
        streams.retain_mut(|stream| stream.step(desk, rng, now, *calm));
    }
}

impl Carried {
    /// Whether the stream lives.
    fn step(&mut self, desk: &Desk, rng: &mut Rng, now: Time, calm: bool) -> bool {
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
                    desk.ledger.arrived(request.id);
                    let route = request.route;
                    assert!(desk.routes.contains(&route), "{route} is not of {:?}", desk.routes);
                    let mine = payload.starts_with(&named(request.user, route, request.key));
                    assert!(mine, "a request comes as its user has sent it");
                    let mut answer =
                        StreamResponse { call: request.call, payload, ..StreamResponse::default() };
                    if !calm && rng.one_in(30) {
                        desk.ledger.declined(request.id);
                        (answer.refused, answer.status) = (true, Refusal::Busy.number());
                    }
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
                Ok(Some(ToBackend::LinkOpened(opened))) => {
                    assert!(self.present.insert(opened.link), "a link opens once on a stream");
                }
                Ok(Some(ToBackend::LinkClosed(closed))) => {
                    assert!(self.present.remove(&closed.link), "only what was opened closes");
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

/// How the payload of a request begins, so that whoever gets it sees whose it is and which way it was to take.
pub(crate) fn named(user: &[u8], route: &str, key: &[u8]) -> Vec<u8> {
    [user, route.as_bytes(), key, b""].join(&b'/')
}
