//! The gateway's end of a stream, over a socket, for tests.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use backend::protocol::noise::{PublicKey, StaticKey, Suite};
use backend::protocol::stream::gateway::Introduction;
use backend::protocol::stream::{GatewayStream, Mode, Params, ToGateway};
use backend::protocol::wire::stream::{AuthResult, Close, Kick, StreamPush, StreamRequest, StreamResponse};
use backend::protocol::{Error, Time};
use backend::{Builder, Listen, Security, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What a backend said, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Ready,
    Response {
        call: u64,
        status: u32,
        refused: bool,
        trace: u64,
        payload: Vec<u8>,
    },
    Push {
        link: u64,
        user: Vec<u8>,
        id: Vec<u8>,
        number: u64,
        payload: Vec<u8>,
    },
    /// A push of class 1.
    Delivery {
        number: u64,
        user: Vec<u8>,
        ttl_ms: u32,
        payload: Vec<u8>,
    },
    ReportAck(u64),
    AuthResult {
        call: u64,
        accepted: bool,
        user: Vec<u8>,
        code: u32,
    },
    Kick {
        user: Vec<u8>,
        code: u32,
    },
    Close {
        code: u32,
    },
    Other,
}

impl From<ToGateway<'_>> for Said {
    fn from(event: ToGateway<'_>) -> Self {
        match event {
            ToGateway::Ready => Self::Ready,
            ToGateway::Response(StreamResponse { call, status, refused, trace, payload, .. }) => {
                Self::Response { call, status, refused, trace, payload: payload.to_vec() }
            }
            ToGateway::Push(StreamPush { number, user, class: 1, ttl_ms, payload, .. }) => {
                Self::Delivery { number, user: user.to_vec(), ttl_ms, payload: payload.to_vec() }
            }
            ToGateway::Push(StreamPush { link, user, id, number, payload, .. }) => {
                Self::Push { link, user: user.to_vec(), id: id.to_vec(), number, payload: payload.to_vec() }
            }
            ToGateway::ReportAck { report } => Self::ReportAck(report),
            ToGateway::AuthResult(AuthResult { call, accepted, user, code, .. }) => {
                Self::AuthResult { call, accepted, user: user.to_vec(), code }
            }
            ToGateway::Kick(Kick { user, code, .. }) => Self::Kick { user: user.to_vec(), code },
            ToGateway::Close(Close { code, .. }) => Self::Close { code },
            _ => Self::Other,
        }
    }
}

/// A gateway's end.
pub(crate) struct Peer {
    pub(crate) stream: GatewayStream,
    pub(crate) socket: UnixStream,
    heard: VecDeque<Said>,
    /// Give credit back at once.
    pub(crate) generous: bool,
    /// The backend has asked for no more requests.
    pub(crate) draining: bool,
}

/// A gateway that grants little, so that tests reach its end.
pub(crate) const PARAMS: Params = Params {
    frame_len_max: 8192,
    window: 2 * (8192 + 64),
    heartbeat: std::time::Duration::from_secs(60),
    handshake_deadline: std::time::Duration::from_secs(60),
    pending_bytes_max: 1 << 20,
};

impl Peer {
    /// Dials and waits until the backend is ready.
    pub(crate) async fn dial(place: &Listen, mode: &Mode) -> Self {
        let mut peer = Self::dial_silently(place, mode, [1; 16]).await;
        assert_eq!(peer.next().await, Some(Said::Ready));
        peer
    }

    /// A clear stream of a gateway that grants and asks for something else, until the backend is ready.
    pub(crate) async fn dial_with(place: &Listen, params: Params) -> Self {
        let mut peer = Self::connect(place, &Mode::Clear, params, [1; 16], 0).await;
        assert_eq!(peer.next().await, Some(Said::Ready));
        peer
    }

    pub(crate) async fn dial_silently(place: &Listen, mode: &Mode, boot_id: [u8; 16]) -> Self {
        Self::connect(place, mode, PARAMS, boot_id, 0).await
    }

    /// A start of a gateway with room for so many pushes that are delivered at least once, until the backend is ready.
    pub(crate) async fn dial_with_slots(place: &Listen, boot: u8, report_slots: u32) -> Self {
        let mut peer = Self::connect(place, &Mode::Clear, PARAMS, [boot; 16], report_slots).await;
        assert_eq!(peer.next().await, Some(Said::Ready));
        peer
    }

    async fn connect(
        place: &Listen,
        mode: &Mode,
        params: Params,
        boot_id: [u8; 16],
        report_slots: u32,
    ) -> Self {
        let Listen::Unix(path) = place else { panic!("{place}") };
        let introduction = Introduction { boot_id, gateway: "test".into(), worker: 3, report_slots };
        Self {
            stream: GatewayStream::new(mode, params, introduction, [8; 32], Time::ZERO).unwrap(),
            socket: UnixStream::connect(path).await.unwrap(),
            heard: VecDeque::new(),
            generous: true,
            draining: false,
        }
    }

    /// Sends what is pending.
    pub(crate) async fn flush(&mut self) {
        let mut batch = Vec::new();
        if self.stream.seal(&mut batch) {
            self.socket.write_all(&batch).await.unwrap();
        }
    }

    /// The next thing the backend says; `None` when it has hung up.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        loop {
            self.flush().await;
            if let Some(said) = self.heard.pop_front() {
                return Some(said);
            }
            let mut chunk = vec![0; 4096];
            let len = self.socket.read(&mut chunk).await.unwrap_or(0);
            if len == 0 {
                return None;
            }
            self.receive(&mut chunk[..len]).unwrap();
        }
    }

    /// Reads until something came that is not kept, which is what credit looks like.
    pub(crate) async fn hear_credit(&mut self) {
        self.flush().await;
        let before = self.stream.credit_available();
        while self.stream.credit_available() == before {
            let mut chunk = vec![0; 4096];
            let len = self.socket.read(&mut chunk).await.unwrap();
            assert_ne!(len, 0, "hung up");
            self.receive(&mut chunk[..len]).unwrap();
        }
    }

    fn receive(&mut self, chunk: &mut [u8]) -> Result<(), Error> {
        let Self { stream, heard, generous, draining, .. } = self;
        let mut input = stream.input(chunk);
        while let Some(event) = stream.receive(&mut input, Time::ZERO)? {
            *draining |= event == ToGateway::Draining;
            let said = Said::from(event);
            if let Said::Response { payload, .. }
            | Said::Push { payload, .. }
            | Said::Delivery { payload, .. } = &said
                && *generous
            {
                stream.consumed(payload.len());
            }
            if said != Said::Other {
                heard.push_back(said);
            }
        }
        stream.keep(input);
        Ok(())
    }

    pub(crate) fn ask(&mut self, call: u64, route: &str, payload: &[u8]) {
        self.ask_as("ann", call, route, payload);
    }

    pub(crate) fn ask_as(&mut self, user: &str, call: u64, route: &str, payload: &[u8]) {
        let id = [call as u8; 16];
        let user = user.as_bytes();
        let request = StreamRequest {
            call,
            link: 7,
            id,
            user,
            device: b"d",
            route,
            payload,
            trace: call + 100,
            ..Default::default()
        };
        self.stream.request(&request).unwrap();
    }
}

/// The answer to [`Peer::ask`].
pub(crate) fn answer(call: u64, status: u32, payload: &[u8]) -> Option<Said> {
    Some(Said::Response { call, status, refused: false, trace: call + 100, payload: payload.to_vec() })
}

pub(crate) fn refusal(call: u64, refusal: backend::protocol::Refusal) -> Option<Said> {
    let status = refusal.number();
    Some(Said::Response { call, status, refused: true, trace: call + 100, payload: Vec::new() })
}

/// A running server; stops when told.
pub(crate) struct Running {
    pub(crate) place: Listen,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

/// A socket path nobody else has.
pub(crate) fn place() -> Listen {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Listen::Unix(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
}

pub(crate) fn start(builder: Builder) -> Running {
    start_with(builder, Security::Clear)
}

pub(crate) fn start_with(builder: Builder, security: Security) -> Running {
    run(builder.bind(&place(), security).unwrap())
}

impl Running {
    /// Tells the server to stop, and waits until its streams have been told, which is in the same step in which the
    /// socket's file goes.
    pub(crate) async fn stop(self) -> JoinHandle<()> {
        let Listen::Unix(path) = &self.place else { panic!("{}", self.place) };
        self.stop.send(()).unwrap();
        while path.exists() {
            tokio::task::yield_now().await;
        }
        self.task
    }
}

pub(crate) fn run(server: Server) -> Running {
    let place = server.place().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.serve(async { _ = stopped.await }));
    Running { place, stop, task }
}

/// Both ends of a sealed stream.
pub(crate) fn sealed(suite: Suite) -> (Security, Mode) {
    let (service, gateway) = (StaticKey::from_secret([21; 32]), StaticKey::from_secret([22; 32]));
    let mode = Mode::Kk { suite, local: gateway.clone(), remote: service.public() };
    (Security::Kk { key: service, gateways: vec![PublicKey([3; 32]), gateway.public()] }, mode)
}
