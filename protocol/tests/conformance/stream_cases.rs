//! Every kind of frame of a stream: with what is required alone, and with all its fields.

use prost::bytes::Bytes;
use protocol::wire::proto::stream::{self as proto, frame::Kind};

pub(crate) const ID: [u8; 16] = [0x1d; 16];
pub(crate) const SESSION: [u8; 16] = [0x5e; 16];
/// Worker 2, slot 3, generation 4.
pub(crate) const LINK: u64 = 2 << 52 | 3 << 32 | 4;

/// The credit that goes with a `frame_len_max` of 0, which stands for 65,536.
const CREDIT: u64 = 2 * (65_536 + 64);

pub(crate) fn b(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(crate) fn request() -> proto::Request {
    proto::Request {
        call: 3,
        link: LINK,
        id: b(&ID),
        user: b(b"alice"),
        device: b(b"phone"),
        route: "echo".into(),
        ..Default::default()
    }
}

pub(crate) fn authenticate() -> proto::Authenticate {
    proto::Authenticate { call: 5, device: b(b"phone"), handshake: b(&[0x4a; 32]), ..Default::default() }
}

pub(crate) fn link_opened() -> proto::LinkOpened {
    proto::LinkOpened { user: b(b"alice"), device: b(b"phone"), session: b(&SESSION), ..Default::default() }
}

pub(crate) fn link_detached() -> proto::LinkDetached {
    proto::LinkDetached { session: b(&SESSION), ..Default::default() }
}

pub(crate) fn link_closed() -> proto::LinkClosed {
    proto::LinkClosed { user: b(b"alice"), device: b(b"phone"), session: b(&SESSION), ..Default::default() }
}

pub(crate) fn hello() -> proto::Hello {
    proto::Hello { boot_id: b(&[0x12; 16]), credit: CREDIT, ..Default::default() }
}

pub(crate) fn ready() -> proto::Ready {
    proto::Ready { instance: b(b"b-1"), credit: CREDIT, ..Default::default() }
}

/// Nothing but what is required.
pub(crate) fn least() -> Vec<(&'static str, Kind)> {
    let room = b(b"lobby");
    let kinds = [
        Kind::Request(proto::Request { link: 0, ..request() }),
        Kind::Response(proto::Response::default()),
        Kind::Push(proto::Push { link: LINK, ..Default::default() }),
        Kind::Credit(proto::Credit::default()),
        Kind::Ping(proto::Ping::default()),
        Kind::Pong(proto::Pong::default()),
        Kind::Report(proto::Report::default()),
        Kind::ReportAck(proto::ReportAck::default()),
        Kind::LinkOpened(link_opened()),
        Kind::LinkDetached(link_detached()),
        Kind::LinkClosed(link_closed()),
        Kind::Hello(hello()),
        Kind::Ready(ready()),
        Kind::Authenticate(authenticate()),
        Kind::AuthResult(proto::AuthResult::default()),
        Kind::Kick(proto::Kick { link: LINK, ..Default::default() }),
        Kind::Ban(proto::Ban { user: b(b"e"), ..Default::default() }),
        Kind::Join(proto::Join { room: room.clone(), ..Default::default() }),
        Kind::Leave(proto::Leave { room: room.clone(), ..Default::default() }),
        Kind::EndSession(proto::EndSession::default()),
        Kind::Close(proto::Close::default()),
        Kind::Pad(proto::Pad::default()),
        Kind::LinkResumed(proto::LinkResumed::default()),
        Kind::Unban(proto::Unban { user: b(b"e"), ..Default::default() }),
        Kind::Throttle(proto::Throttle { user: b(b"e"), percent: 1, ..Default::default() }),
        Kind::Draining(proto::Draining::default()),
        Kind::Announced(proto::Announced {}),
        Kind::RoomResult(proto::RoomResult::default()),
        Kind::RoomAsk(proto::RoomAsk { call: 1, ..Default::default() }),
        Kind::RoomAnswer(proto::RoomAnswer::default()),
        Kind::RoomEvents(proto::RoomEvents { room, ..Default::default() }),
        Kind::RoomCount(proto::RoomCount::default()),
    ];
    kinds.map(|kind| ("what is required alone", kind)).into()
}

pub(crate) fn all() -> Vec<(&'static str, Kind)> {
    let kinds = [messages(), presence(), introductions(), logins(), orders(), rooms()].concat();
    let name = |kind: &Kind| match kind {
        Kind::Push(_) => "all fields; as it names several targets, it is reported as malformed",
        Kind::Kick(_) => "all fields, of a link",
        Kind::Ban(_) | Kind::Unban(_) | Kind::Throttle(_) => "all fields, of a prefix",
        _ => "all fields",
    };
    let mut cases: Vec<_> = kinds.into_iter().map(|kind| (name(&kind), kind)).collect();
    let of_user = proto::Kick { user: b(b"alice"), device: b(b"phone"), revoke: true, ..Default::default() };
    let of_login = proto::Kick { user: b(b"alice"), login: b(b"login-1"), ..Default::default() };
    let to_user =
        proto::Push { user: b(b"alice"), device: b(b"phone"), payload: b(b"hi"), ..Default::default() };
    let acked = Kind::Push(proto::Push { number: 4, class: 1, ttl_ms: 60_000, ..to_user.clone() });
    let report = proto::Report {
        number: 4,
        report: 9,
        device: b(b"phone"),
        class: 1,
        devices: 2,
        ..Default::default()
    };
    let detached = proto::LinkDetached { unacknowledged: vec![u64::MAX; 64], ..link_detached() };
    let links = [(LINK, LINK + 1), (LINK + 2, 1 << 52), (0, 0)];
    let links = links.map(|(old_link, link)| proto::Resumed { old_link, link, link_epoch: link << 3 }).into();
    cases.extend([
        ("at least once, to a user's device", acked),
        ("of one of two devices", Kind::Report(report)),
        ("of as many numbers as there may be", Kind::LinkDetached(detached)),
        ("of several links", Kind::LinkResumed(proto::LinkResumed { links })),
        ("of a user", Kind::Kick(of_user)),
        ("of one login", Kind::Kick(of_login)),
        ("to a user's device", Kind::Push(to_user)),
        ("a number of 63 bits", Kind::Credit(proto::Credit { bytes: 1 << 62 })),
    ]);
    cases
}

fn messages() -> Vec<Kind> {
    let request = proto::Request {
        key: b(b"order-7"),
        payload: b(b"hello"),
        deadline_ms: 10_000,
        trace: 0x0102_0304_0506_0708,
        again: true,
        session: b(&SESSION),
        realm: "main".into(),
        ..request()
    };
    let response = proto::Response {
        call: 3,
        status: 11,
        payload: b(b"later"),
        refused: true,
        retry_after_ms: 250,
        trace: 0x0102_0304_0506_0708,
    };
    let report = proto::Report {
        number: 4,
        outcome: proto::PushOutcome::Undelivered as i32,
        reason: 2,
        report: 9,
        device: b(b"phone"),
        class: 1,
        devices: 2,
        user: b(b"alice"),
        queued: 100,
        dropped: vec![proto::Dropped { reason: 3, count: 5 }, proto::Dropped { reason: 4, count: 1 }],
    };
    vec![
        Kind::Request(request),
        Kind::Response(response),
        Kind::Push(push()),
        Kind::Credit(proto::Credit { bytes: 524_288 }),
        Kind::Ping(proto::Ping { nonce: 7 }),
        Kind::Pong(proto::Pong { nonce: 7 }),
        Kind::Report(report),
        Kind::ReportAck(proto::ReportAck { report: 9 }),
    ]
}

/// More targets than one: it can be read, and its receiver reports it as malformed.
fn push() -> proto::Push {
    proto::Push {
        number: 4,
        link: LINK,
        user: b(b"alice"),
        room: b(b"lobby"),
        device: b(b"phone"),
        id: b(b"message-1"),
        payload: b(b"hi"),
        class: 1,
        users: vec![b(b"bob"), b(b"carol")],
        ttl_ms: 60_000,
        rooms: vec![b(b"lobby"), b(b"hall")],
        except: vec![LINK, LINK + 1],
        package: Some(proto::Package { id: b(b"package-1"), index: 1, count: 3, on_gap: 1 }),
        node: true,
        coalesce: b(b"typing"),
        realm: "main".into(),
    }
}

fn presence() -> Vec<Kind> {
    let opened = proto::LinkOpened {
        link: LINK,
        address: b(&[192, 0, 2, 1]),
        port: 50_000,
        suite: 7,
        login_ms: 1_700_000_000_000,
        agent: "app/1.0".into(),
        link_epoch: 6_963_200_000_000_000,
        origin_suite: 3,
        peer_key: b(&[0x9e; 32]),
        class: 1,
        realm: "main".into(),
        ..link_opened()
    };
    let detached = proto::LinkDetached {
        link: LINK,
        session: b(&SESSION),
        until_ms: 1_700_000_060_000,
        unacknowledged: vec![4, 5, 300],
        link_epoch: 6_963_200_000_000_000,
        unacknowledged_count: 3,
    };
    let resumed = proto::Resumed { old_link: LINK, link: LINK + 1, link_epoch: 6_963_200_000_000_001 };
    vec![
        Kind::LinkOpened(opened),
        Kind::LinkDetached(detached),
        Kind::LinkClosed(proto::LinkClosed {
            link: LINK,
            code: 1,
            link_epoch: 6_963_200_000_000_000,
            ..link_closed()
        }),
        Kind::LinkResumed(proto::LinkResumed { links: vec![resumed] }),
    ]
}

fn introductions() -> Vec<Kind> {
    let hello = proto::Hello {
        boot_id: b(&[0x12; 16]),
        gateway: "gate-1".into(),
        worker: 2,
        credit: 1_048_576,
        frame_len_max: 69_632,
        heartbeat_ms: 5000,
        report_slots: 1000,
    };
    let ready = proto::Ready {
        instance: b(b"b-1"),
        routes: vec!["echo".into(), "chat".into()],
        credit: 1_048_576,
        frame_len_max: 69_632,
        boot: b(&[0xb0; 16]),
        room_events: true,
        room_counts: true,
    };
    vec![Kind::Hello(hello), Kind::Ready(ready)]
}

fn logins() -> Vec<Kind> {
    let authenticate = proto::Authenticate {
        link: LINK,
        token: b(b"a token"),
        user: b(b"alice"),
        peer_key: b(&[0x9e; 32]),
        suite: 3,
        address: b(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        deadline_ms: 3000,
        signature: b(&[0x51; 64]),
        class: 1,
        realm: "main".into(),
        ..authenticate()
    };
    let result = proto::AuthResult {
        call: 5,
        accepted: true,
        user: b(b"alice"),
        expires_ms: 1_700_086_400_000,
        code: 13,
        retry_after_ms: 2000,
        do_not_reconnect: true,
        class: 1,
        limit_class: "gold".into(),
        capabilities: 3,
        ticket_ms: 3_600_000,
        no_tickets: true,
        bound_key: b(&[0xbb; 32]),
        login: b(b"login-1"),
    };
    vec![Kind::Authenticate(authenticate), Kind::AuthResult(result)]
}

fn orders() -> Vec<Kind> {
    let (user, prefix, prefix_len, realm) = (b(b""), b(&[192, 0, 2, 0]), 24, String::from("main"));
    let until_ms = 1_700_086_400_000;
    let kick = proto::Kick {
        link: LINK,
        user: b(b""),
        device: b(b"phone"),
        code: 12,
        do_not_reconnect: true,
        revoke: true,
        realm: realm.clone(),
        login: b(b"login-1"),
    };
    let ban = proto::Ban {
        user: user.clone(),
        prefix: prefix.clone(),
        prefix_len,
        until_ms,
        reason: "spam".into(),
        realm: realm.clone(),
    };
    let unban = proto::Unban { user: user.clone(), prefix: prefix.clone(), prefix_len, realm: realm.clone() };
    vec![
        Kind::Kick(kick),
        Kind::Ban(ban),
        Kind::Unban(unban),
        Kind::Throttle(proto::Throttle { user, prefix, prefix_len, percent: 50, until_ms, realm }),
        Kind::EndSession(proto::EndSession { session: b(&SESSION), code: 19 }),
        Kind::Close(proto::Close { code: 23, retry_after_ms: 2000, text: "moving house".into() }),
        Kind::Pad(proto::Pad { zeros: b(&[0; 20]) }),
        Kind::Draining(proto::Draining { deadline_ms: 30_000 }),
    ]
}

fn rooms() -> Vec<Kind> {
    let (user, device, room, realm) = (b(b"alice"), b(b"phone"), b(b"lobby"), String::from("main"));
    let join = proto::Join {
        link: LINK,
        user: user.clone(),
        room: room.clone(),
        device: device.clone(),
        number: 8,
        realm: realm.clone(),
    };
    let leave = proto::Leave {
        link: LINK,
        user: user.clone(),
        room: room.clone(),
        device: device.clone(),
        number: 9,
        realm: realm.clone(),
    };
    let ask = proto::RoomAsk {
        call: 6,
        link: LINK,
        user: user.clone(),
        device: device.clone(),
        session: b(&SESSION),
        room: room.clone(),
        deadline_ms: 3000,
        realm: realm.clone(),
    };
    let event = proto::RoomEvent { link: LINK, user, device, left: true, epoch: 12 };
    let members = proto::RoomMembers { room: room.clone(), members: 3, epoch: 12, realm: realm.clone() };
    vec![
        Kind::Join(join),
        Kind::Leave(leave),
        Kind::RoomResult(proto::RoomResult { number: 8, code: 10, links: 2 }),
        Kind::RoomAsk(ask),
        Kind::RoomAnswer(proto::RoomAnswer { call: 6, code: 1, retry_after_ms: 250 }),
        Kind::RoomEvents(proto::RoomEvents { room, events: vec![event.clone(), event], realm }),
        Kind::RoomCount(proto::RoomCount { rooms: vec![members] }),
    ]
}
