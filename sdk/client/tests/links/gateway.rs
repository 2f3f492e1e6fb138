//! The other end of a client's link, in this process: what a gateway says and when is up to the test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use client::{Client, Config, Credentials, Doubt, Error, Outcome, Pushes, State};
use protocol::buffer::{Input, Rest};
use protocol::limits::RECORD_LEN_MAX_UPLINK;
use protocol::link::{Acceptor, Rules, ServerLink};
use protocol::noise::ticket::{Identity, TicketKeys};
use protocol::noise::{PublicKey, Resumption, StaticKey, Suite, Suites, Unfinished};
use protocol::wire::frame::{self, Close, Frame, Push, RequestId, Response};
use protocol::wire::proto::link::{Ticket, Welcome};
use protocol::wire::resume::Resume;
use protocol::{CloseCode, Time, UnixMillis};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// What the gateway heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Auth { token: Vec<u8>, user: Vec<u8>, device: Vec<u8> },
    Request(Asked),
    Ack { taken: u64, received: u64 },
    Ping,
    Close(Option<CloseCode>),
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) id: RequestId,
    pub(crate) route: String,
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) counter: u64,
    pub(crate) again: bool,
}

pub(crate) struct Gateway {
    pub(crate) acceptor: Acceptor,
    dialled: mpsc::Receiver<(String, DuplexStream)>,
    origin: Instant,
    ephemerals: u8,
}

pub(crate) struct Link {
    pub(crate) socket: DuplexStream,
    pub(crate) machine: ServerLink,
    /// Of the last `Auth`.
    pub(crate) signature: Vec<u8>,
    resume: Vec<u8>,
    rest: Rest,
    origin: Instant,
}

pub(crate) const HEARTBEAT: Duration = Duration::from_secs(60);
/// Bytes under way between the ends.
pub(crate) const PIPE_LEN: usize = 16 * 1024;
const SECRET: [u8; 32] = [9; 32];
const RULES: Rules = Rules {
    record_len_max: RECORD_LEN_MAX_UPLINK,
    frame_len_max: 64 * 1024,
    handshake_deadline: Duration::from_secs(5),
    auth_deadline: Duration::from_secs(5),
    glitches_max: 4,
};

pub(crate) fn public() -> PublicKey {
    StaticKey::from_secret(SECRET).public()
}

pub(crate) fn config() -> Config {
    Config::new("gateway:1", public(), Credentials::token("token"), "alice", "phone")
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        session: vec![1; 16].into(),
        user: b"alice".to_vec().into(),
        grant_requests: 8,
        grant_bytes: 256 * 1024,
        heartbeat_ms: u32::try_from(HEARTBEAT.as_millis()).unwrap(),
        time_ms: 1_000,
        ..Welcome::default()
    }
}

/// The same with a session that can go on: all bytes of its id and of its secret are this number.
pub(crate) fn session(number: u8) -> Welcome {
    Welcome { session: vec![number; 16].into(), secret: vec![number; 32].into(), ..welcome() }
}

/// The session goes on, in which pushes up to this one were sent.
pub(crate) fn resumed(number: u8, last_sequence: u64) -> Welcome {
    Welcome { secret: Vec::new().into(), resumed: true, last_sequence, ..session(number) }
}

/// What a client shows to go on with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) session: u8,
    pub(crate) attempt: u32,
    pub(crate) last_sequence: u64,
}

/// A client of this configuration, and the gateway it dials.
pub(crate) fn start(config: Config) -> (Client, Pushes, Gateway) {
    start_over(config, PIPE_LEN, |near| near)
}

/// The same over a pipe of this many bytes, of which the client gets what `wrap` makes of it.
pub(crate) fn start_over<S>(
    config: Config,
    pipe_len: usize,
    wrap: impl Fn(DuplexStream) -> S + Send + Sync + 'static,
) -> (Client, Pushes, Gateway)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (dial, dialled) = mpsc::channel(16);
    let (client, pushes) = Client::start_over(config, move |address| {
        let (near, far) = tokio::io::duplex(pipe_len);
        let (dial, near) = (dial.clone(), wrap(near));
        async move {
            dial.send((address, far)).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(near)
        }
    })
    .unwrap();
    (client, pushes, Gateway::new(dialled, &Suite::ALL))
}

/// The client's end of a pipe, to which nothing can be written once it is broken, while reading goes on.
pub(crate) struct Fragile {
    pub(crate) pipe: DuplexStream,
    pub(crate) broken: Arc<AtomicBool>,
}

impl AsyncRead for Fragile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(context, buffer)
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.pipe).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

/// A client that is linked, with its gateway's end of the link.
pub(crate) async fn linked(config: Config, welcome: &Welcome) -> (Client, Pushes, Gateway, Link) {
    let (client, pushes, mut gateway) = start(config);
    let link = gateway.welcome(welcome).await;
    client.ready().await.unwrap();
    (client, pushes, gateway, link)
}

fn acceptor(suites: &[Suite], takes_tickets: bool) -> Acceptor {
    let tickets = takes_tickets.then(|| TicketKeys::new([7; 32], "default", UnixMillis(1_000)));
    Acceptor::new(StaticKey::from_secret(SECRET), Suites::of(suites), &[], tickets)
}

impl Gateway {
    fn new(dialled: mpsc::Receiver<(String, DuplexStream)>, suites: &[Suite]) -> Self {
        Self { acceptor: acceptor(suites, true), dialled, origin: Instant::now(), ephemerals: 0 }
    }

    /// Serves only these suites from now on, and takes no tickets.
    pub(crate) fn allow(&mut self, suites: &[Suite]) {
        self.acceptor = acceptor(suites, false);
    }

    /// Serves only these suites from now on; those with tickets take the ones given out before.
    pub(crate) fn serve(&mut self, suites: &[Suite]) {
        self.acceptor = acceptor(suites, true);
    }

    /// The next socket, and the address that was dialled.
    pub(crate) async fn dialled(&mut self) -> (String, DuplexStream) {
        self.dialled.recv().await.expect("the client lives")
    }

    /// Whether the client dials within `time`.
    pub(crate) async fn is_dialled(&mut self, time: Duration) -> bool {
        matches!(timeout(time, self.dialled.recv()).await, Ok(Some(_)))
    }

    /// Takes the next link as far as its keys.
    pub(crate) async fn accept(&mut self) -> Link {
        self.try_accept().await.expect("a good hello")
    }

    /// The same; what cannot be served gets its clear reply, if there is one, and is closed.
    pub(crate) async fn try_accept(&mut self) -> Result<Link, protocol::Error> {
        let (_, socket) = self.dialled().await;
        let now = Time::ZERO + self.origin.elapsed();
        let mut link = Link {
            socket,
            machine: ServerLink::new(now),
            signature: Vec::new(),
            resume: Vec::new(),
            rest: Rest::default(),
            origin: self.origin,
        };
        let mut out = Vec::new();
        loop {
            let mut chunk = [0; 512];
            let len = link.socket.read(&mut chunk).await.unwrap();
            assert!(len > 0, "the hello is whole");
            let mut input = Input::new(&mut chunk[..len], mem::take(&mut link.rest));
            let hailed = link.machine.hail(&mut input, &self.acceptor, &mut out);
            link.rest = input.into_rest();
            match hailed {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    link.socket.write_all(&out).await.unwrap();
                    return Err(error);
                }
            }
        }
        self.ephemerals += 1;
        let hello = mem::take(&mut link.rest);
        let (ephemeral, wall) = ([self.ephemerals; 32], UnixMillis(1_000));
        let opened = link.machine.handshake(hello.gathered(), &self.acceptor, ephemeral, now, wall, &mut out);
        link.socket.write_all(&out).await.unwrap();
        if let Some(unfinished) = opened? {
            link.hear_last(unfinished).await?;
        }
        Ok(link)
    }

    /// Takes the next link as far as its `Auth`, and what that wishes to go on with.
    pub(crate) async fn wished(&mut self) -> (Link, Option<Wish>) {
        let mut link = self.accept().await;
        assert!(matches!(link.next().await, Heard::Auth { .. }));
        let wish = link.wish();
        (link, wish)
    }

    /// Takes the next link and lets it in.
    pub(crate) async fn welcome(&mut self, welcome: &Welcome) -> Link {
        let mut link = self.accept().await;
        assert!(matches!(link.next().await, Heard::Auth { .. }));
        link.welcome(welcome).await;
        link
    }

    /// Tickets as a gateway gives them out.
    pub(crate) fn tickets(&self, count: u8) -> Vec<Ticket> {
        let keys = self.acceptor.tickets().expect("this gateway gives tickets");
        let allowed = |suite: &Suite| self.acceptor.suites().contains(*suite);
        let origin = [Suite::NkChaChaPoly, Suite::NkAesGcm].into_iter().find(allowed).expect("one of NK");
        let ticket = |number| {
            let identity = Identity {
                psk: [number; 32].into(),
                origin_suite: origin,
                server_key_id: self.acceptor.public().key_id(),
                issued: UnixMillis(1_000),
                auth_time: UnixMillis(1_000),
                login: 0,
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
            let ticket = keys.issue(&identity, &[number; 16]).unwrap();
            Ticket { ticket: ticket.into(), psk: vec![number; 32].into(), expires_ms: identity.expires().0 }
        };
        (1..=count).map(ticket).collect()
    }
}

impl Link {
    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// Message 3 comes with the first record.
    async fn hear_last(&mut self, unfinished: Unfinished) -> Result<(), protocol::Error> {
        loop {
            let mut chunk = [0; 4096];
            let len = self.socket.read(&mut chunk).await.unwrap();
            assert!(len > 0, "the client goes on");
            let mut input = Input::new(&mut chunk[..len], mem::take(&mut self.rest));
            let is_whole = self.machine.hear_last(&mut input)?;
            self.rest = input.into_rest();
            if is_whole {
                return self.machine.finish(unfinished, &mut self.rest);
            }
        }
    }

    pub(crate) fn suite(&self) -> Suite {
        self.machine.binding().expect("it has keys").1
    }

    /// What the last `Auth` wished to go on with, which has to be proved on this link.
    fn wish(&self) -> Option<Wish> {
        if self.resume.is_empty() {
            return None;
        }
        let Resume { session, attempt, last_sequence, proof } = Resume::decode(&self.resume).unwrap();
        assert_eq!(*session, [session[0]; 16]);
        let (h, ..) = self.machine.binding().expect("it has keys");
        let wish = Resumption { h, session, attempt, last_sequence };
        assert!(wish.is_proved(&[session[0]; 32], proof), "the proof of this link");
        Some(Wish { session: session[0], attempt, last_sequence })
    }

    /// The next thing heard.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.at_hand() {
                return heard;
            }
            let mut chunk = [0; 4096];
            match self.socket.read(&mut chunk).await {
                Ok(0) | Err(_) => return Heard::End,
                Ok(len) => self.read(&mut chunk[..len]),
            }
        }
    }

    /// What came together with the thing heard before.
    pub(crate) fn at_hand(&mut self) -> Option<Heard> {
        let now = self.now();
        let mut input = Input::new(&mut [], mem::take(&mut self.rest));
        let heard = match self.machine.receive(&mut input, &RULES, now).expect("a client keeps the rules") {
            None => None,
            Some(Frame::Auth(auth)) => {
                (self.signature, self.resume) = (auth.signature.to_vec(), auth.resume.to_vec());
                Some(Heard::Auth {
                    token: auth.token.to_vec(),
                    user: auth.user.to_vec(),
                    device: auth.device.to_vec(),
                })
            }
            Some(Frame::Request(request)) => Some(Heard::Request(Asked {
                id: request.id,
                route: request.route.to_owned(),
                key: request.key.to_vec(),
                payload: request.payload.to_vec(),
                counter: request.counter,
                again: request.again,
            })),
            Some(Frame::Ack { taken, received }) => Some(Heard::Ack { taken, received }),
            Some(Frame::Ping(_)) => Some(Heard::Ping),
            Some(Frame::Close(close)) => Some(Heard::Close(CloseCode::from_number(close.code))),
            Some(other) => panic!("a client does not say {}", other.name()),
        };
        self.rest = input.into_rest();
        heard
    }

    fn read(&mut self, chunk: &mut [u8]) {
        // Nothing is lent out here, so everything becomes the rest.
        self.rest = Input::new(chunk, mem::take(&mut self.rest)).into_rest();
    }

    /// The next thing heard but pings, the first of which comes at a random moment.
    pub(crate) async fn said(&mut self) -> Heard {
        loop {
            match self.next().await {
                Heard::Ping => {}
                heard => return heard,
            }
        }
    }

    /// The same, which has to be a request.
    pub(crate) async fn asked(&mut self) -> Asked {
        match self.said().await {
            Heard::Request(asked) => asked,
            other => panic!("{other:?} instead of a request"),
        }
    }

    /// The same, which has to be an acknowledgement: what was taken, and what was received.
    pub(crate) async fn acked(&mut self) -> (u64, u64) {
        match self.said().await {
            Heard::Ack { taken, received } => (taken, received),
            other => panic!("{other:?} instead of an acknowledgement"),
        }
    }

    /// Asks for an acknowledgement, and gets it.
    pub(crate) async fn acked_now(&mut self, sequence: u64) -> (u64, u64) {
        self.send(&[Frame::AckNow { sequence }]).await;
        let at = Instant::now();
        let acked = self.acked().await;
        assert_eq!(at.elapsed(), Duration::ZERO, "at once");
        acked
    }

    /// Whether nothing is heard for `time`.
    pub(crate) async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.said()).await.is_err()
    }

    pub(crate) async fn welcome(&mut self, welcome: &Welcome) {
        let now = self.now();
        self.machine.welcome(Duration::from_millis(welcome.heartbeat_ms.into()), now);
        let mut out = vec![0; 2];
        frame::encode_welcome(welcome, &mut out);
        self.write(out).await;
    }

    pub(crate) async fn send(&mut self, frames: &[Frame<'_>]) {
        let mut out = vec![0; 2];
        frames.iter().for_each(|frame| frame.encode(&mut out));
        self.write(out).await;
    }

    async fn write(&mut self, mut out: Vec<u8>) {
        self.machine.seal(&mut out, 0, 16 * 1024);
        self.socket.write_all(&out).await.unwrap();
    }

    pub(crate) async fn answer(&mut self, id: RequestId, payload: &[u8]) {
        self.send(&[Frame::Response(Response { id, payload, ..Response::default() })]).await;
    }

    pub(crate) async fn push(&mut self, payload: &[u8]) {
        self.send(&[Frame::Push(Push { payload, ..Push::default() })]).await;
    }

    /// Pushes that are delivered at least once, each with its number as payload, and with an id that no other link uses.
    pub(crate) async fn deliver(&mut self, sequences: impl IntoIterator<Item = u64>) {
        let link = *self.machine.binding().expect("it has keys").0.first_chunk::<8>().expect("32 bytes");
        for sequence in sequences {
            let number = sequence.to_be_bytes();
            let id = [link, number].concat();
            let push = Push { sequence, id: &id, payload: &number, class: 1, ..Push::default() };
            self.send(&[Frame::Push(push)]).await;
        }
    }

    pub(crate) async fn close(mut self, close: Close<'_>) {
        self.send(&[Frame::Close(close)]).await;
    }
}

/// Why the attempt or link before failed, as soon as it has.
pub(crate) async fn failure(client: &Client) -> Error {
    let failed = |state: &State| !matches!(state, State::Up(_) | State::Connecting { after: None });
    match client.states().wait_for(failed).await.expect("the task says how it ended").clone() {
        State::Waiting { error, .. } | State::Ended(error) | State::Connecting { after: Some(error) } => {
            error
        }
        _ => unreachable!("not waited for"),
    }
}

/// A request that goes its way while the test does something else.
pub(crate) fn spawn(client: &Client, payload: &'static [u8]) -> tokio::task::JoinHandle<Outcome> {
    let client = client.clone();
    tokio::spawn(async move { client.request("echo", b"", payload).await })
}

pub(crate) fn answered(payload: &[u8]) -> Outcome {
    Outcome::Answered { status: 0, payload: payload.to_vec().into() }
}

/// What becomes of an open request when its link ends.
pub(crate) const fn lost() -> Outcome {
    Outcome::Unknown { doubt: Doubt::LinkEnded }
}

/// Until the client has done all it can. The clock of these tests is paused: it moves only when every task waits for
/// something, so what comes behind this comes after all that could happen before it.
pub(crate) async fn until_everybody_waits() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The numbers of the pushes that are there for the application, which asks for each of them and no further.
pub(crate) async fn given(pushes: &mut Pushes, count: usize) -> Vec<u64> {
    let mut given = Vec::new();
    for _ in 0..count {
        let push = timeout(Duration::from_secs(1), pushes.next())
            .await
            .expect("it is there")
            .expect("the client lives");
        assert_eq!(push.payload, push.sequence.to_be_bytes()[..]);
        given.push(push.sequence);
    }
    given
}

/// Whether there is no push for the application now. This asks for one.
pub(crate) async fn has_none(pushes: &mut Pushes) -> bool {
    timeout(Duration::from_millis(1), pushes.next()).await.is_err()
}
