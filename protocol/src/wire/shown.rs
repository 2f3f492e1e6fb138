//! What `{:?}` shows of frames: everything but payload, tokens and secrets, so that a frame can stand in any message.

use std::fmt;

use crate::hidden::Hidden;
use crate::wire::cursor::{Fields, Value};
use crate::wire::frame::{Auth, Frame, Push, Request, Response};
use crate::wire::proto;
use crate::wire::resume::Resume;
use crate::wire::stream::{Authenticate, StreamFrame, StreamPush, StreamRequest, StreamResponse};

/// Shows a message. A field that is in neither list does not compile.
macro_rules! shown {
    ($message:ident { $($field:ident),* } hiding { $($secret:ident),* }) => {
        impl fmt::Debug for $message<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($field,)* $($secret,)* } = self;
                let mut shown = f.debug_struct(stringify!($message));
                $(shown.field(stringify!($field), $field);)*
                $(shown.field(stringify!($secret), &Hidden(&$secret[..]));)*
                shown.finish()
            }
        }
    };
}

shown!(Auth { user, device, heartbeat_ms, agent, class } hiding { token, resume, signature });
shown!(Resume { session, attempt, last_sequence } hiding { proof });
shown!(Request { id, route, key, counter, again } hiding { payload });
shown!(Response { id, outcome, code, retry_after_ms } hiding { payload });
shown!(Push { sequence, id, class, again, room, missed, gap } hiding { payload });
shown!(StreamRequest { call, link, id, user, device, route, key, deadline_ms, trace, again, session, realm } hiding { payload });
shown!(StreamResponse { call, status, refused, retry_after_ms, trace } hiding { payload });
shown!(StreamPush { number, link, user, room, device, id, class, users, ttl_ms, package, realm, unserved_targets } hiding { payload });
shown!(Authenticate { call, link, device, user, handshake, peer_key, suite, address, deadline_ms, class, realm } hiding { token, signature });

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Auth(auth) => auth.fmt(f),
            Self::Request(request) => request.fmt(f),
            Self::Ping(ping) => ping.fmt(f),
            Self::Close(close) => close.fmt(f),
            Self::Response(response) => response.fmt(f),
            Self::Push(push) => push.fmt(f),
            // Secrets of a session and of its tickets are in it.
            Self::Welcome(body) | Self::Move(body) => write!(f, "{name} {:?}", Hidden(body)),
            Self::Pad { zeros } => write!(f, "{name} {:?}", Hidden(zeros)),
            Self::Ack { taken, received } => write!(f, "{name} {taken}, {received}"),
            Self::Join { room } | Self::Leave { room } => write!(f, "{name} {room:?}"),
            Self::AckNow { sequence } => write!(f, "{name} {sequence}"),
            Self::Pong { nonce } => write!(f, "{name} {nonce}"),
            Self::Joined { room, code, retry_after_ms } => {
                write!(f, "{name} {room:?}, {code}, {retry_after_ms} ms")
            }
            Self::Left { room, code } => write!(f, "{name} {room:?}, {code}"),
            Self::Warning { code, score } => write!(f, "{name} {code}, {score} %"),
            Self::Unknown => f.write_str(name),
        }
    }
}

impl fmt::Debug for StreamFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => request.fmt(f),
            Self::Response(response) => response.fmt(f),
            Self::Push(push) => push.fmt(f),
            Self::Credit { bytes } => write!(f, "credit {bytes}"),
            Self::Ping { nonce } => write!(f, "ping {nonce}"),
            Self::Pong { nonce } => write!(f, "pong {nonce}"),
            Self::Report(report) => report.fmt(f),
            Self::ReportAck { report } => write!(f, "report_ack {report}"),
            Self::LinkOpened(opened) => opened.fmt(f),
            Self::LinkDetached(detached) => detached.fmt(f),
            Self::LinkClosed(closed) => closed.fmt(f),
            Self::LinkResumed(resumed) => resumed.fmt(f),
            Self::Authenticate(question) => question.fmt(f),
            Self::AuthResult(verdict) => verdict.fmt(f),
            Self::Kick(kick) => kick.fmt(f),
            Self::Ban(ban) => ban.fmt(f),
            Self::Unban(unban) => unban.fmt(f),
            Self::Throttle(throttle) => throttle.fmt(f),
            Self::Close(close) => close.fmt(f),
            Self::Pad { zeros } => write!(f, "pad {:?}", Hidden(zeros)),
            Self::Draining { deadline_ms } => write!(f, "draining {deadline_ms} ms"),
            Self::Flawed(flawed) => flawed.fmt(f),
            Self::Rare(kind, body) => write!(f, "{kind:?} {:?}", Hidden(body)),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Varint(number) | Self::Fixed64(number) => number.fmt(f),
            Self::Fixed32(number) => number.fmt(f),
            Self::Bytes(bytes) => Hidden(bytes).fmt(f),
        }
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fields, {:?}", Hidden(self.rest()))
    }
}

/// Shows the length of a generated struct.
macro_rules! length_of {
    ($($message:path),* $(,)?) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, *** {} B", stringify!($message), prost::Message::encoded_len(self))
            }
        })*
    };
}

length_of!(
    proto::link::Auth,
    proto::link::Resume,
    proto::link::Request,
    proto::link::Ticket,
    proto::link::Welcome,
    proto::link::Response,
    proto::link::Push,
    proto::stream::Request,
    proto::stream::Response,
    proto::stream::Push,
    proto::stream::Authenticate,
);

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"canary-canary-canary";

    /// Whether any of it is there as text or as `{:?}` writes bytes.
    fn shows(shown: &str) -> bool {
        shown.contains("canary") || shown.contains("99, 97, 110")
    }

    #[test]
    fn no_frame_shows_payload_tokens_or_secrets() {
        let auth =
            Auth { token: SECRET, resume: SECRET, signature: SECRET, user: b"alice", ..Auth::default() };
        let request = Request { payload: SECRET, route: "echo", ..Request::default() };
        let mut encoded = Vec::new();
        for frame in [
            Frame::Auth(auth),
            Frame::Request(request),
            Frame::Response(Response { payload: SECRET, ..Response::default() }),
            Frame::Push(Push { payload: SECRET, ..Push::default() }),
            Frame::Welcome(SECRET),
            Frame::Move(SECRET),
        ] {
            assert!(!shows(&format!("{frame:?} {frame:#?}")), "{frame:?}");
            frame.encode(&mut encoded);
        }
        assert!(encoded.windows(SECRET.len()).filter(|bytes| *bytes == SECRET).count() >= 6);
        assert!(format!("{request:?}").contains("route: \"echo\", key: [], counter: 0"), "{request:?}");
        for frame in [
            StreamFrame::Request(StreamRequest { payload: SECRET, ..StreamRequest::default() }),
            StreamFrame::Response(StreamResponse { payload: SECRET, ..StreamResponse::default() }),
            StreamFrame::Push(StreamPush { payload: SECRET, ..StreamPush::default() }),
            StreamFrame::Authenticate(Authenticate {
                token: SECRET,
                signature: SECRET,
                ..Authenticate::default()
            }),
        ] {
            assert!(!shows(&format!("{frame:?} {frame:#?}")), "{frame:?}");
        }
        assert!(!shows(&format!("{:?} {:?}", Value::Bytes(SECRET), Fields::new(SECRET))));
    }

    #[test]
    fn no_generated_struct_shows_them_either() {
        let secret = || prost::bytes::Bytes::from_static(SECRET);
        let ticket = proto::link::Ticket { psk: secret(), ..Default::default() };
        let welcome = proto::link::Welcome { secret: secret(), tickets: vec![ticket], ..Default::default() };
        let auth = proto::link::Auth { token: secret(), ..Default::default() };
        let request = proto::stream::Request { payload: secret(), ..Default::default() };
        let shown = format!("{welcome:?} {auth:?} {request:?}");
        assert!(!shows(&shown), "{shown}");
        assert!(shown.contains("*** "), "{shown}");
    }
}
