//! Frames of a stream with one field out of its bounds, which the name tells. SPEC.md, section 12.

use prost::Message;
use protocol::wire::proto::stream::{self as proto, frame::Kind};

use crate::malformed_streams::Receiver;
use crate::parts::{bytes, framed, number};
use crate::stream_cases::{
    LINK, authenticate, b, hello, link_closed, link_detached, link_opened, ready, request,
};

/// A byte that UTF-8 never has.
const NO_TEXT: &[u8] = &[b'a', 0xff];

type Cases = Vec<(&'static str, Vec<u8>)>;

fn frame(kind: Kind) -> Vec<u8> {
    proto::Frame { kind: Some(kind) }.encode_length_delimited_to_vec()
}

/// A good message with a field behind it that no struct can hold.
fn with(kind: u32, message: &impl Message, field: &[u8]) -> Vec<u8> {
    framed(&bytes(kind, &[&message.encode_to_vec()[..], field].concat()))
}

pub(crate) fn hellos() -> Cases {
    let of = |hello| frame(Kind::Hello(hello));
    let least = 2 * (65_536 + 64);
    vec![
        ("Hello.boot_id is missing", of(proto::Hello { boot_id: b(b""), ..hello() })),
        ("Hello.boot_id of 15 bytes", of(proto::Hello { boot_id: b(&[1; 15]), ..hello() })),
        ("Hello.gateway of 65 bytes", of(proto::Hello { gateway: "g".repeat(65), ..hello() })),
        (
            "Hello.credit one too few, for a frame_len_max of 0",
            of(proto::Hello { credit: least - 1, ..hello() }),
        ),
        ("Hello.credit one too few, for a frame_len_max of 4,096", {
            of(proto::Hello { credit: 8319, frame_len_max: 4096, ..hello() })
        }),
        ("Hello.worker 4,096", of(proto::Hello { worker: 4096, ..hello() })),
        ("Hello.credit 2^63", of(proto::Hello { credit: 1 << 63, ..hello() })),
        ("Hello.frame_len_max 4,095", of(proto::Hello { frame_len_max: 4095, ..hello() })),
        ("Hello.heartbeat_ms 99", of(proto::Hello { heartbeat_ms: 99, ..hello() })),
        ("Hello.heartbeat_ms 3,600,001", of(proto::Hello { heartbeat_ms: 3_600_001, ..hello() })),
    ]
}

pub(crate) fn readies() -> Cases {
    let of = |ready| frame(Kind::Ready(ready));
    vec![
        ("Ready.instance is missing", of(proto::Ready { instance: b(b""), ..ready() })),
        ("Ready.instance of 65 bytes", of(proto::Ready { instance: b(&[1; 65]), ..ready() })),
        ("Ready.routes 65 times", of(proto::Ready { routes: vec!["r".into(); 65], ..ready() })),
        ("Ready.routes with one of no bytes", of(proto::Ready { routes: vec![String::new()], ..ready() })),
        ("Ready.routes with one of 33 bytes", of(proto::Ready { routes: vec!["r".repeat(33)], ..ready() })),
        ("Ready.credit one too few", of(proto::Ready { credit: 8319, frame_len_max: 4096, ..ready() })),
        ("Ready.boot of 15 bytes", of(proto::Ready { boot: b(&[1; 15]), ..ready() })),
        ("Ready.frame_len_max 1", of(proto::Ready { frame_len_max: 1, ..ready() })),
    ]
}

/// Fields that are about the stream itself.
pub(crate) fn of_the_stream() -> Vec<(&'static str, Receiver, Vec<u8>)> {
    let close = proto::Close { code: 1, text: "t".repeat(129), ..Default::default() };
    let request = frame(Kind::Request(proto::Request { call: 0, ..request() }));
    let bad_request = frame(Kind::Request(proto::Request { call: 0, user: b(b""), ..self::request() }));
    let ask = frame(Kind::Authenticate(proto::Authenticate { call: 0, ..authenticate() }));
    let bad_ask =
        frame(Kind::Authenticate(proto::Authenticate { call: 0, device: b(b""), ..authenticate() }));
    vec![
        ("Close.text of 129 bytes", Receiver::Backend, frame(Kind::Close(close.clone()))),
        ("Close.text of 129 bytes", Receiver::Gateway, frame(Kind::Close(close))),
        (
            "Close.text is not UTF-8",
            Receiver::Gateway,
            framed(&bytes(21, &[number(1, 1), bytes(3, NO_TEXT)].concat())),
        ),
        ("Request.call 0", Receiver::Backend, request),
        ("Request.call 0, and user is missing", Receiver::Backend, bad_request),
        ("Authenticate.call 0", Receiver::Backend, ask),
        ("Authenticate.call 0, and device is missing", Receiver::Backend, bad_ask),
    ]
}

pub(crate) fn flawed_at_backend() -> Cases {
    [requests(), questions(), presence()].concat()
}

fn requests() -> Cases {
    let of = |request| frame(Kind::Request(request));
    vec![
        ("Request.id is missing", of(proto::Request { id: b(b""), ..request() })),
        ("Request.id of 15 bytes", of(proto::Request { id: b(&[1; 15]), payload: b(b"hello"), ..request() })),
        ("Request.user is missing", of(proto::Request { user: b(b""), ..request() })),
        ("Request.user of 65 bytes", of(proto::Request { user: b(&[1; 65]), ..request() })),
        ("Request.device is missing", of(proto::Request { device: b(b""), ..request() })),
        ("Request.device of 65 bytes", of(proto::Request { device: b(&[1; 65]), ..request() })),
        ("Request.route is missing", of(proto::Request { route: String::new(), ..request() })),
        ("Request.route of 33 bytes", of(proto::Request { route: "r".repeat(33), ..request() })),
        ("Request.route is not UTF-8", with(1, &request(), &bytes(6, NO_TEXT))),
        ("Request.key of 65 bytes", of(proto::Request { key: b(&[1; 65]), ..request() })),
        ("Request.session of 15 bytes", of(proto::Request { session: b(&[1; 15]), ..request() })),
        ("Request.realm of 65 bytes", of(proto::Request { realm: "r".repeat(65), ..request() })),
        ("Request.realm is not UTF-8", with(1, &request(), &bytes(13, NO_TEXT))),
    ]
}

fn questions() -> Cases {
    let of = |ask| frame(Kind::Authenticate(ask));
    vec![
        (
            "Authenticate.token of 3,585 bytes",
            of(proto::Authenticate { token: b(&[1; 3585]), ..authenticate() }),
        ),
        ("Authenticate.device is missing", of(proto::Authenticate { device: b(b""), ..authenticate() })),
        (
            "Authenticate.device of 65 bytes",
            of(proto::Authenticate { device: b(&[1; 65]), ..authenticate() }),
        ),
        ("Authenticate.user of 65 bytes", of(proto::Authenticate { user: b(&[1; 65]), ..authenticate() })),
        (
            "Authenticate.handshake is missing",
            of(proto::Authenticate { handshake: b(b""), ..authenticate() }),
        ),
        (
            "Authenticate.handshake of 31 bytes",
            of(proto::Authenticate { handshake: b(&[1; 31]), ..authenticate() }),
        ),
        (
            "Authenticate.peer_key of 33 bytes",
            of(proto::Authenticate { peer_key: b(&[1; 33]), ..authenticate() }),
        ),
        (
            "Authenticate.address of 5 bytes",
            of(proto::Authenticate { address: b(&[1; 5]), ..authenticate() }),
        ),
        (
            "Authenticate.signature of 63 bytes",
            of(proto::Authenticate { signature: b(&[1; 63]), ..authenticate() }),
        ),
        (
            "Authenticate.realm of 65 bytes",
            of(proto::Authenticate { realm: "r".repeat(65), ..authenticate() }),
        ),
    ]
}

fn presence() -> Cases {
    let opened = |opened| frame(Kind::LinkOpened(proto::LinkOpened { link: LINK, ..opened }));
    let detached = |detached| frame(Kind::LinkDetached(proto::LinkDetached { link: LINK, ..detached }));
    let closed = |closed| frame(Kind::LinkClosed(proto::LinkClosed { link: LINK, ..closed }));
    vec![
        ("LinkOpened.user is missing", opened(proto::LinkOpened { user: b(b""), ..link_opened() })),
        ("LinkOpened.device of 65 bytes", opened(proto::LinkOpened { device: b(&[1; 65]), ..link_opened() })),
        ("LinkOpened.session is missing", opened(proto::LinkOpened { session: b(b""), ..link_opened() })),
        ("LinkOpened.address of 3 bytes", opened(proto::LinkOpened { address: b(&[1; 3]), ..link_opened() })),
        (
            "LinkOpened.agent of 65 bytes",
            opened(proto::LinkOpened { agent: "a".repeat(65), ..link_opened() }),
        ),
        (
            "LinkOpened.peer_key of 31 bytes",
            opened(proto::LinkOpened { peer_key: b(&[1; 31]), ..link_opened() }),
        ),
        (
            "LinkOpened.realm of 65 bytes",
            opened(proto::LinkOpened { realm: "r".repeat(65), ..link_opened() }),
        ),
        (
            "LinkDetached.session is missing",
            detached(proto::LinkDetached { session: b(b""), ..link_detached() }),
        ),
        (
            "LinkDetached.session of 15 bytes",
            detached(proto::LinkDetached { session: b(&[1; 15]), ..link_detached() }),
        ),
        (
            "LinkDetached.unacknowledged of 65 numbers",
            detached(proto::LinkDetached { unacknowledged: vec![1; 65], ..link_detached() }),
        ),
        ("LinkClosed.user is missing", closed(proto::LinkClosed { user: b(b""), ..link_closed() })),
        ("LinkClosed.device is missing", closed(proto::LinkClosed { device: b(b""), ..link_closed() })),
        (
            "LinkClosed.session of 17 bytes",
            closed(proto::LinkClosed { session: b(&[1; 17]), ..link_closed() }),
        ),
    ]
}

pub(crate) fn flawed_at_gateway() -> Cases {
    [pushes(), verdicts(), kicks(), sanctions()].concat()
}

fn pushes() -> Cases {
    let good = || proto::Push { number: 4, link: LINK, payload: b(b"hi"), ..Default::default() };
    let of = |push| frame(Kind::Push(push));
    let long = || b(&[1; 65]);
    vec![
        ("Push names no target", of(proto::Push { link: 0, ..good() })),
        ("Push names a device and nobody", of(proto::Push { link: 0, device: b(b"phone"), ..good() })),
        ("Push names a link and a user", of(proto::Push { user: b(b"alice"), ..good() })),
        ("Push names a user and a room", of(proto::Push { link: 0, user: b(b"a"), room: b(b"r"), ..good() })),
        ("Push names a link and the node", of(proto::Push { node: true, ..good() })),
        ("Push names a target nobody knows", with(3, &proto::Push { link: 0, ..good() }, &bytes(17, b"who"))),
        ("Push.user of 65 bytes", of(proto::Push { link: 0, user: long(), ..good() })),
        (
            "Push.user of 65 bytes, and no number",
            of(proto::Push { number: 0, link: 0, user: long(), ..good() }),
        ),
        ("Push.room of 65 bytes", of(proto::Push { link: 0, room: long(), ..good() })),
        ("Push.device of 65 bytes", of(proto::Push { link: 0, user: b(b"alice"), device: long(), ..good() })),
        ("Push.id of 17 bytes", of(proto::Push { id: b(&[1; 17]), ..good() })),
        ("Push.users with one of 65 bytes", of(proto::Push { link: 0, users: vec![long()], ..good() })),
        ("Push.rooms with one of 65 bytes", of(proto::Push { link: 0, rooms: vec![long()], ..good() })),
        ("Push.coalesce of 65 bytes", of(proto::Push { coalesce: long(), ..good() })),
        ("Push.realm of 65 bytes", of(proto::Push { realm: "r".repeat(65), ..good() })),
        ("Push.realm is not UTF-8", with(3, &good(), &bytes(16, NO_TEXT))),
    ]
}

fn verdicts() -> Cases {
    let good = || proto::AuthResult { call: 5, accepted: true, user: b(b"alice"), ..Default::default() };
    let of = |result| frame(Kind::AuthResult(result));
    vec![
        ("AuthResult.user is missing, and it is accepted", of(proto::AuthResult { user: b(b""), ..good() })),
        ("AuthResult.user of 65 bytes", of(proto::AuthResult { user: b(&[1; 65]), ..good() })),
        (
            "AuthResult.limit_class of 33 bytes",
            of(proto::AuthResult { limit_class: "c".repeat(33), ..good() }),
        ),
        ("AuthResult.bound_key of 31 bytes", of(proto::AuthResult { bound_key: b(&[1; 31]), ..good() })),
        ("AuthResult.login of 65 bytes", of(proto::AuthResult { login: b(&[1; 65]), ..good() })),
    ]
}

fn kicks() -> Cases {
    let of = |kick| frame(Kind::Kick(kick));
    vec![
        ("Kick names nobody", of(proto::Kick { code: 12, ..Default::default() })),
        (
            "Kick names a link and a user",
            of(proto::Kick { link: LINK, user: b(b"eve"), ..Default::default() }),
        ),
        ("Kick.user of 65 bytes", of(proto::Kick { user: b(&[1; 65]), ..Default::default() })),
        ("Kick.device of 65 bytes", {
            of(proto::Kick { user: b(b"eve"), device: b(&[1; 65]), ..Default::default() })
        }),
        ("Kick.login of 257 bytes", {
            of(proto::Kick { user: b(b"eve"), login: b(&[1; 257]), ..Default::default() })
        }),
        ("Kick.realm of 65 bytes", {
            of(proto::Kick { user: b(b"eve"), realm: "r".repeat(65), ..Default::default() })
        }),
    ]
}

/// Of all three the fields that say whom are the same.
fn sanctions() -> Cases {
    let of = |ban| frame(Kind::Ban(ban));
    let eve = || proto::Ban { user: b(b"eve"), ..Default::default() };
    let unban = |unban| frame(Kind::Unban(unban));
    let throttle = |throttle| frame(Kind::Throttle(throttle));
    let slower = || proto::Throttle { user: b(b"eve"), percent: 50, ..Default::default() };
    vec![
        ("Ban names nobody", of(proto::Ban::default())),
        ("Ban names a user and a prefix", {
            of(proto::Ban { prefix: b(&[192, 0, 2, 0]), prefix_len: 24, ..eve() })
        }),
        ("Ban.user of 65 bytes", of(proto::Ban { user: b(&[1; 65]), ..eve() })),
        (
            "Ban.prefix of 3 bytes",
            of(proto::Ban { user: b(b""), prefix: b(&[192, 0, 2]), prefix_len: 24, ..eve() }),
        ),
        ("Ban.prefix_len 0", of(proto::Ban { user: b(b""), prefix: b(&[192, 0, 2, 0]), ..eve() })),
        ("Ban.prefix_len 33, of 4 bytes", {
            of(proto::Ban { user: b(b""), prefix: b(&[192, 0, 2, 0]), prefix_len: 33, ..eve() })
        }),
        ("Ban.prefix_len 8, of a user", of(proto::Ban { prefix_len: 8, ..eve() })),
        ("Ban.reason of 129 bytes", of(proto::Ban { reason: "r".repeat(129), ..eve() })),
        ("Ban.reason is not UTF-8", with(17, &eve(), &bytes(5, NO_TEXT))),
        ("Ban.realm of 65 bytes", of(proto::Ban { realm: "r".repeat(65), ..eve() })),
        ("Unban names nobody", unban(proto::Unban::default())),
        ("Unban.prefix_len 129, of 16 bytes", {
            unban(proto::Unban { prefix: b(&[1; 16]), prefix_len: 129, ..Default::default() })
        }),
        (
            "Unban.realm of 65 bytes",
            unban(proto::Unban { user: b(b"eve"), realm: "r".repeat(65), ..Default::default() }),
        ),
        ("Throttle names nobody", throttle(proto::Throttle { user: b(b""), ..slower() })),
        ("Throttle.percent 0", throttle(proto::Throttle { percent: 0, ..slower() })),
        ("Throttle.percent 101", throttle(proto::Throttle { percent: 101, ..slower() })),
        ("Throttle.realm is not UTF-8", with(25, &slower(), &bytes(6, NO_TEXT))),
    ]
}
