//! The responders that are asked for their answers.

use std::sync::Arc;
use std::time::Duration;

use protocol::buffer::{Input, Rest};
use protocol::link::{Acceptor, ServerLink};
use protocol::noise::preamble::{ClearReply, MAGIC};
use protocol::noise::{StaticKey, Suite, Suites};
use protocol::stream::{Access, BackendStream, Params};
use protocol::{Error, Time, UnixMillis};

use crate::json::Json;
use crate::keys::*;

/// What the listener for links allows.
pub(crate) const ALLOWED: [Suite; 3] = [Suite::NkChaChaPoly, Suite::IkChaChaPoly, Suite::Nnpsk0ChaChaPoly];

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Link,
    Stream,
    ClearStream,
}

/// What a responder did with a hello.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    /// Whether it still waited when all bytes had come.
    pub(crate) waited: bool,
    pub(crate) error: Option<Error>,
}

impl Listener {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Stream => "stream",
            Self::ClearStream => "clear_stream",
        }
    }

    pub(crate) fn answer(self, hello: &[u8]) -> Answer {
        match self {
            Self::Link => at_link(hello, NOW),
            Self::Stream => at_stream(
                hello,
                Access::kk(server_key(), vec![StaticKey::from_secret(GATEWAY_SECRET).public()]),
            ),
            Self::ClearStream => at_stream(hello, Access::clear()),
        }
    }

    pub(crate) fn show() -> Json {
        let suites = |suites: &[Suite]| Json::List(suites.iter().map(|suite| suite.byte().into()).collect());
        let link = Json::object([
            ("server_secret", Json::hex(SERVER_SECRET)),
            ("server_public", Json::hex(public(SERVER_SECRET).0)),
            ("retired_public", Json::hex(public(RETIRED_SECRET).0)),
            ("suites", suites(&ALLOWED)),
            ("group_key", Json::hex(GROUP_KEY)),
            ("realm", REALM.into()),
            ("now_ms", Json::long(NOW.0)),
            ("responder_ephemeral_secret", Json::hex(RESPONDER_EPHEMERAL)),
        ]);
        let stream = Json::object([
            ("server_secret", Json::hex(SERVER_SECRET)),
            ("server_public", Json::hex(public(SERVER_SECRET).0)),
            ("suites", suites(&[Suite::KkChaChaPoly, Suite::KkAesGcm])),
            ("gateway_public", Json::hex(public(GATEWAY_SECRET).0)),
            ("responder_ephemeral_secret", Json::hex(RESPONDER_EPHEMERAL)),
        ]);
        let clear = Json::object([("suites", Json::List(vec![15_u8.into()]))]);
        Json::object([("link", link), ("stream", stream), ("clear_stream", clear)])
    }
}

pub(crate) fn acceptor() -> Acceptor {
    Acceptor::new(server_key(), Suites::of(&ALLOWED), &[public(RETIRED_SECRET)], Some(ticket_keys()))
}

/// Lets a gateway of that time read a hello, and do its curve work if it wants to.
pub(crate) fn at_link(hello: &[u8], wall: UnixMillis) -> Answer {
    let (acceptor, mut bytes, mut chunk) = (acceptor(), Vec::new(), hello.to_vec());
    let mut server = ServerLink::new(Time::ZERO);
    let mut input = Input::new(&mut chunk, Rest::default());
    let hailed = server.hail(&mut input, &acceptor, &mut bytes);
    let waited = hailed == Ok(false);
    let judged = match hailed {
        Ok(true) => {
            server.handshake(hello, &acceptor, RESPONDER_EPHEMERAL, Time::ZERO, wall, &mut bytes).map(|_| ())
        }
        Ok(false) => server.expire(&RULES, server.deadline(&RULES)),
        Err(error) => Err(error),
    };
    Answer { bytes, waited, error: judged.err() }
}

fn at_stream(hello: &[u8], access: Access) -> Answer {
    let params = Params { handshake_deadline: Duration::from_secs(5), ..Params::default() };
    let (access, routes) = (Arc::new(access), vec!["echo".into()]);
    let mut backend = BackendStream::new(access, params, b"b-1", routes, RESPONDER_EPHEMERAL, Time::ZERO);
    let (mut bytes, mut chunk) = (Vec::new(), hello.to_vec());
    let mut input = backend.input(&mut chunk);
    let judged = backend.receive(&mut input, Time::ZERO);
    let judged = judged.map(|event| assert!(event.is_none(), "nothing but a hello has come"));
    backend.keep(input);
    backend.seal(&mut bytes);
    // A clear stream answers nothing, so that it has accepted is seen in what it makes of a record.
    let is_open = !bytes.is_empty()
        || backend.receive(&mut Input::new(&mut [0, 0], Rest::default()), Time::ZERO)
            == Err(Error::RecordEmpty);
    let waited = judged.is_ok() && !is_open;
    let judged = if waited { backend.expire(Time::ZERO + params.handshake_deadline) } else { judged };
    Answer { bytes, waited, error: judged.err() }
}

impl Answer {
    /// In words.
    fn meaning(&self) -> String {
        match (self.error, self.bytes.is_empty()) {
            (None, true) => "accepted without an answer".into(),
            (None, false) => "message 2".into(),
            (Some(_), true) if self.waited => "waits for more, then silence".into(),
            (Some(_), true) => "silence".into(),
            (Some(_), false) => format!("clear reply, reason {}", self.bytes[5]),
        }
    }

    pub(crate) fn show(&self) -> Json {
        let error = self.error.map_or(Json::Null, |error| error.name().into());
        let shown = Json::object([
            ("meaning", self.meaning().into()),
            ("error", error),
            ("answer", Json::hex(&self.bytes)),
        ]);
        if self.bytes.starts_with(&MAGIC) {
            shown.and([("clear_reply", show_reply(&self.bytes))])
        } else {
            shown
        }
    }
}

/// The fields of a clear reply.
pub(crate) fn show_reply(bytes: &[u8]) -> Json {
    let reply = ClearReply::decode(bytes).expect("a clear reply").expect("a whole one");
    assert_eq!(reply.encode(), bytes);
    Json::object([
        ("reason", reply.reason.into()),
        ("versions", Json::hex(&bytes[6..7])),
        ("suites", Json::hex(&bytes[7..10])),
        ("key_id", Json::hex(reply.key_id.0)),
        ("wait", Json::Number(reply.wait.into())),
        (
            "stay_away_ms",
            Json::Number(u32::try_from(reply.busy_for().as_millis()).expect("a minute at most")),
        ),
    ])
}
