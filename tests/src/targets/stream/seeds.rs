//! Frames of every kind, both sides of a conversation, and conversations.

use prost::Message as _;
use protocol::wire::proto::stream::{self as proto, frame::Kind};
use protocol::wire::stream::{
    AuthResult, Authenticate, Kick, LinkClosed, LinkOpened, PushOutcome, Rare, Report, StreamFrame,
    StreamPush, StreamRequest, StreamResponse,
};

use super::pair::{CLOSE, CONTROL_FRAMES, FLAWS, Pair, payload};
use super::peer::UNKNOWN;
use crate::targets::Seed;
use crate::targets::frames::{message, unframed};
use crate::targets::script::Writer;

/// All of them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let encoded = |frame: StreamFrame<'_>| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        unframed(&encoded)
    };
    let frames = said().into_iter().map(|(name, frame)| (name, encoded(frame)));
    let bodies = frames.chain(rare()).chain(flawed()).chain(broken());
    let mut seeds: Vec<Seed> =
        bodies.map(|(name, body)| (name, Writer::default().byte(0).rest(&body).done())).collect();
    seeds.extend(told());
    seeds.extend([("talk-clear", talk(0)), ("talk-kk-chachapoly", talk(1)), ("talk-kk-aesgcm", talk(2))]);
    seeds.extend(at_gateway());
    seeds.extend(at_backend());
    seeds
}

/// One of each frame that is written by hand.
fn said() -> Vec<(&'static str, StreamFrame<'static>)> {
    let (number, call, link) = (1, 1, 2);
    let (user, device, session) = (&b"ann"[..], &b"phone"[..], &[5; 16][..]);
    let request =
        StreamRequest { call, link, id: [3; 16], user, device, route: "echo", ..Default::default() };
    let full = StreamRequest {
        key: b"room-7",
        payload: b"hello",
        deadline_ms: 5000,
        trace: 4,
        again: true,
        session,
        realm: "realm",
        ..request
    };
    let refused = StreamResponse { call, status: 9, payload: b"no", refused: true, ..Default::default() };
    let push = StreamPush { number, user, device, payload: b"psst", ..Default::default() };
    let report = Report { number, report: 3, device, class: 1, devices: 2, user, ..Default::default() };
    let closed = LinkClosed { link, user, device, session, code: 3, link_epoch: 8 };
    let kick = Kick { link, code: 4, do_not_reconnect: true, ..Default::default() };
    let mut frames = vec![
        ("request", StreamFrame::Request(request)),
        ("request-full", StreamFrame::Request(full)),
        ("response", StreamFrame::Response(StreamResponse { retry_after_ms: 5, trace: 4, ..refused })),
        ("push", StreamFrame::Push(StreamPush { id: &[6; 16], class: 1, realm: "realm", ..push })),
        ("push-ttl", StreamFrame::Push(StreamPush { class: 1, ttl_ms: 5000, ..push })),
        ("push-room", StreamFrame::Push(StreamPush { user: b"", device: b"", room: b"lobby", ..push })),
        ("credit", StreamFrame::Credit { bytes: 100_000 }),
        ("ping", StreamFrame::Ping { nonce: 1 }),
        ("pong", StreamFrame::Pong { nonce: 1 }),
        (
            "report",
            StreamFrame::Report(Report { number, outcome: PushOutcome::Unknown, reason: 2, ..report }),
        ),
        ("report-of-device", StreamFrame::Report(report)),
        ("report-ack", StreamFrame::ReportAck { report: 1 }),
        ("link-closed", StreamFrame::LinkClosed(closed)),
        ("kick", StreamFrame::Kick(kick)),
        ("kick-revoke", StreamFrame::Kick(Kick { link: 0, user, device, revoke: true, ..kick })),
        ("close", StreamFrame::Close(CLOSE)),
        ("pad", StreamFrame::Pad { zeros: &[0; 40] }),
        ("draining", StreamFrame::Draining { deadline_ms: 3000 }),
    ];
    frames.extend(said_of_users());
    frames
}

/// Those with the most fields.
fn said_of_users() -> Vec<(&'static str, StreamFrame<'static>)> {
    let (user, device) = (&b"ann"[..], &b"phone"[..]);
    let (call, link, address, realm) = (1, 2, &[127, 0, 0, 1][..], "realm");
    let opened = LinkOpened {
        link,
        user,
        device,
        session: &[5; 16],
        address,
        port: 9,
        suite: 7,
        login_ms: 8,
        agent: "sdk/1",
        link_epoch: 9,
        origin_suite: 3,
        peer_key: &[2; 32],
        class: 1,
        realm,
    };
    let ask = Authenticate {
        call,
        link,
        token: b"t",
        device,
        user,
        handshake: &[1; 32],
        peer_key: &[2; 32],
        suite: 3,
        address: &[0; 16],
        deadline_ms: 5,
        signature: &[3; 64],
        class: 1,
        realm,
    };
    let accepted = AuthResult {
        call,
        accepted: true,
        user,
        expires_ms: 7,
        class: 1,
        limit_class: "gold",
        capabilities: 3,
        ticket_ms: 1000,
        no_tickets: true,
        bound_key: &[4; 32],
        login: b"login",
        ..Default::default()
    };
    let refused =
        AuthResult { call, code: 13, retry_after_ms: 5, do_not_reconnect: true, ..Default::default() };
    vec![
        ("link-opened", StreamFrame::LinkOpened(opened)),
        ("authenticate", StreamFrame::Authenticate(ask)),
        ("auth-result", StreamFrame::AuthResult(accepted)),
        ("auth-result-refused", StreamFrame::AuthResult(refused)),
    ]
}

fn written(kind: Kind) -> Vec<u8> {
    proto::Frame { kind: Some(kind) }.encode_to_vec()
}

/// One of each frame that is not, and those with fields that are not served.
fn rare() -> Vec<Seed> {
    let (user, room) = (prost::bytes::Bytes::from_static(b"ann"), prost::bytes::Bytes::from_static(b"lobby"));
    let to = |user: &prost::bytes::Bytes| user.clone();
    let event = proto::RoomEvent { user: to(&user), ..Default::default() };
    let package = proto::Package { id: to(&user), count: 2, ..Default::default() };
    let push = proto::Push { number: 1, package: Some(package), except: vec![2, 3], ..Default::default() };
    let dropped = vec![proto::Dropped { reason: 3, count: 1 }];
    let report = proto::Report { number: 1, report: 1, queued: 4, dropped, ..Default::default() };
    let members = vec![proto::RoomMembers { room: to(&room), members: 3, epoch: 4, ..Default::default() }];
    let resumed = vec![proto::Resumed { old_link: 1, link: 2, link_epoch: 3 }];
    let session = prost::bytes::Bytes::from(vec![5; 16]);
    let detached =
        proto::LinkDetached { link: 2, session, unacknowledged: vec![1, 300], ..Default::default() };
    let many = || vec![to(&user), to(&room)];
    let kinds = vec![
        ("link-detached", Kind::LinkDetached(detached)),
        (
            "hello",
            Kind::Hello(proto::Hello { boot_id: vec![9; 16].into(), report_slots: 4, ..Default::default() }),
        ),
        (
            "ready",
            Kind::Ready(proto::Ready {
                routes: vec!["echo".into()],
                room_events: true,
                ..Default::default()
            }),
        ),
        (
            "ban",
            Kind::Ban(proto::Ban { prefix: vec![192, 0, 2, 0].into(), prefix_len: 24, ..Default::default() }),
        ),
        ("unban", Kind::Unban(proto::Unban { user: to(&user), ..Default::default() })),
        ("throttle", Kind::Throttle(proto::Throttle { user: to(&user), percent: 50, ..Default::default() })),
        ("join", Kind::Join(proto::Join { user: to(&user), room: to(&room), ..Default::default() })),
        ("leave", Kind::Leave(proto::Leave { user: to(&user), room: to(&room), ..Default::default() })),
        ("end-session", Kind::EndSession(proto::EndSession { session: vec![5; 16].into(), code: 11 })),
        ("link-resumed", Kind::LinkResumed(proto::LinkResumed { links: resumed })),
        ("announced", Kind::Announced(proto::Announced {})),
        ("room-result", Kind::RoomResult(proto::RoomResult { number: 1, code: 0, links: 2 })),
        ("room-ask", Kind::RoomAsk(proto::RoomAsk { call: 1, user: to(&user), ..Default::default() })),
        ("room-answer", Kind::RoomAnswer(proto::RoomAnswer { call: 1, code: 9, retry_after_ms: 5 })),
        (
            "room-events",
            Kind::RoomEvents(proto::RoomEvents {
                room: to(&room),
                events: vec![event],
                ..Default::default()
            }),
        ),
        ("room-count", Kind::RoomCount(proto::RoomCount { rooms: members })),
        ("push-users", Kind::Push(proto::Push { users: many(), ..push.clone() })),
        ("push-rooms", Kind::Push(proto::Push { rooms: many(), ..push.clone() })),
        ("push-node", Kind::Push(proto::Push { node: true, coalesce: to(&room), ..push.clone() })),
        (
            "push-to-many-ways",
            Kind::Push(proto::Push { users: many(), rooms: many(), node: true, link: 1, ..push }),
        ),
        ("report-later-fields", Kind::Report(report)),
    ];
    kinds.into_iter().map(|(name, kind)| (name, written(kind))).collect()
}

/// Frames that can be read, with one field out of its bounds.
fn flawed() -> Vec<Seed> {
    let long = vec![b'a'; 65];
    let (ann, id) = (message(4, b"ann"), message(3, &[3; 16]));
    let request = [&[8, 7][..], &id, &ann, &message(5, b"phone"), &message(6, b"echo"), &message(8, b"pay")];
    let request = request.concat();
    let push = [&[8, 7][..], &message(7, b"pay")].concat();
    let with = |frame: &[u8], field: u32, value: &[u8]| [frame, &message(field, value)].concat();
    vec![
        ("request-session-short", message(1, &with(&request, 12, &[5; 15]))),
        ("request-realm-no-utf-8", message(1, &with(&request, 13, &[0xff]))),
        ("request-no-user", message(1, &[&[8, 7], &id[..]].concat())),
        ("push-user-long", message(3, &with(&push, 3, &long))),
        ("push-users-long", message(3, &with(&push, 9, &long))),
        ("push-coalesce-long", message(3, &with(&push, 15, &long))),
        ("push-id-long", message(3, &with(&push, 6, &long[..17]))),
        ("authenticate-no-handshake", message(14, &[&[8, 7], &ann[..]].concat())),
        ("authenticate-address-odd", message(14, &with(&message(4, b"d"), 9, &[1; 5]))),
        ("auth-result-nobody", message(15, &[8, 7, 16, 1])),
        ("auth-result-refused-nobody", message(15, &[8, 7])),
        ("auth-result-limit-class-long", message(15, &with(&[8, 7], 9, &long[..33]))),
        ("link-opened-no-session", message(9, &[9, 2, 0, 0, 0, 0, 0, 0, 0])),
        ("link-detached-no-session", message(10, &[9, 2, 0, 0, 0, 0, 0, 0, 0, 0x20, 7])),
        (
            "link-detached-numbers-too-many",
            message(10, &[&message(2, &[5; 16])[..], &message(4, &[1; 40]), &[0x20, 1].repeat(25)].concat()),
        ),
        ("link-closed-user-long", message(11, &message(2, &long))),
        ("kick-device-long", message(16, &message(3, &long))),
        ("ban-prefix-odd", message(17, &[&message(2, &[1; 5])[..], &[24, 8]].concat())),
        (
            "ban-user-and-prefix",
            message(17, &[&message(1, b"ann")[..], &message(2, &[1; 4]), &[24, 8]].concat()),
        ),
        ("unban-nobody", message(24, &[])),
        ("throttle-percent-101", message(25, &[&message(1, b"ann")[..], &[32, 101]].concat())),
    ]
}

/// Frames that cannot be read, and those that nothing is known about.
fn broken() -> Vec<Seed> {
    vec![
        (
            "link-detached-numbers-cut-off",
            message(10, &[&message(2, &[5; 16])[..], &message(4, &[1, 0x80])].concat()),
        ),
        ("link-resumed-cut-off", message(23, &message(1, &[0x18, 0x80]))),
        (
            "link-detached-numbers-unpacked",
            message(
                10,
                &[&message(2, &[5; 16])[..], &[0x20, 1, 0x20, 0], &message(4, &[7, 0xac, 2])].concat(),
            ),
        ),
        ("report-device-long", message(7, &[&[8, 4, 0x20, 9][..], &message(5, &[b'd'; 65])].concat())),
        ("close-text-long", message(21, &message(3, &[b'a'; 129]))),
        ("flawed-and-cut-off", message(16, &[&message(3, &[b'a'; 65])[..], &[0x12, 9]].concat())),
        ("two-kinds", [message(27, &[]), message(22, &[])].concat()),
        ("unknown-kind", UNKNOWN.to_vec()),
        ("call-of-other-wire-type", message(1, &[9, 7, 0, 0, 0, 0, 0, 0, 0])),
    ]
}

/// Both sides of a conversation and what goes wrong in them, as bytes.
fn told() -> Vec<Seed> {
    let (up, down) = conversation();
    let heard =
        |mode: u8, cuts: &[u8], bytes: &[u8]| Writer::default().byte(mode).bytes(cuts).rest(bytes).done();
    let record = |plain: &[u8]| [&(plain.len() as u16).to_be_bytes()[..], plain].concat();
    let framed = |body: &[u8]| [&[body.len() as u8][..], body].concat();
    // The record with `Ready` or `Hello`, behind which anything may stand.
    let (ready, hello) = (first_record(&down, 0), first_record(&up, 32));
    let credit = 2 * (65_536 + 64);
    let (mut far_worker, mut short_boot) = (Vec::new(), Vec::new());
    let hello_of =
        proto::Hello { boot_id: vec![9; 16].into(), worker: 4096, credit, ..proto::Hello::default() };
    Rare::Hello.encode(&hello_of, &mut far_worker);
    let ready_of = proto::Ready {
        instance: vec![b'b'].into(),
        boot: vec![6; 15].into(),
        credit,
        ..proto::Ready::default()
    };
    Rare::Ready.encode(&ready_of, &mut short_boot);
    let push_to_nobody = record(&[4, 0x1a, 2, 8, 1]);
    let pings = record(&[4, 0x2a, 2, 8, 1].repeat(100));
    let unknown = record(&framed(UNKNOWN).repeat(1001));
    let flaws = |all: &[(&'static str, Vec<u8>)]| {
        record(&all.iter().flat_map(|(_, body)| framed(body)).collect::<Vec<u8>>())
    };
    let flawed = flawed();
    let (to_backend, to_gateway): (Vec<_>, Vec<_>) = flawed
        .into_iter()
        .filter(|(name, _)| *name != "authenticate-address-odd")
        .partition(|(name, _)| ["request", "authenticate", "link"].iter().any(|kind| name.starts_with(kind)));
    vec![
        ("to-gateway", heard(1, &[6], &down)),
        ("to-gateway-pings", heard(1, &[200], &[&ready[..], &pings].concat())),
        ("to-gateway-no-target", heard(1, &[], &[&ready[..], &push_to_nobody.repeat(140)].concat())),
        ("to-gateway-flawed", heard(1, &[17], &[&ready[..], &flaws(&to_gateway)].concat())),
        ("to-gateway-unknown", heard(1, &[0xf1], &[&ready[..], &unknown].concat())),
        ("to-gateway-not-ready", heard(1, &[], &pings)),
        ("to-gateway-boot-short", heard(1, &[], &record(&short_boot))),
        ("to-gateway-empty-record", heard(1, &[0], &[&ready[..], &[0, 0]].concat())),
        ("to-backend", heard(2, &[1, 50], &up)),
        ("to-backend-flawed", heard(2, &[30], &[&up[..32], &hello[32..], &flaws(&to_backend)].concat())),
        ("to-backend-unknown", heard(2, &[], &[&up[..32], &hello[32..], &unknown].concat())),
        ("to-backend-twice-hello", heard(2, &[], &[&hello[..], &hello[32..]].concat())),
        ("to-backend-worker-far", heard(2, &[], &[&up[..32], &record(&far_worker)].concat())),
        ("to-backend-long-frame", heard(2, &[], &[&hello[..], &record(&[0x81, 0x20])].concat())),
        (
            "to-backend-credit",
            heard(2, &[], &[&hello[..], &record(&[4, 0x0a, 2, 8, 1].repeat(140))].concat()),
        ),
    ]
}

fn talk(suite: u8) -> Vec<u8> {
    let mut script = Writer::default().byte(3).byte(suite);
    // Hello and message 2, then `Hello` and `Ready`.
    for _ in 0..2 {
        script = script.byte(5).bytes(&[0]).byte(6).bytes(&[11]);
    }
    for len in [0, 5, 4000, 4000, 4199] {
        script = script.byte(0).word(len).byte(1).word(len).byte(2).word(len);
    }
    for which in 0..CONTROL_FRAMES {
        script = script.byte(4).byte(which);
    }
    script = script.byte(5).bytes(&[100, 3]).byte(6).bytes(&[0xf0]);
    for end in [0, 1].repeat(4) {
        script = script.byte(3).byte(end);
    }
    script = script.byte(5).bytes(&[]).byte(6).bytes(&[]);
    for which in 0..FLAWS {
        script = script.byte(8).byte(which).word(50);
    }
    script = script.byte(5).bytes(&[30]).byte(6).bytes(&[30]);
    script.byte(0).word(4000).byte(7).byte(suite).done()
}

/// What a gateway and a backend say to each other, each side in one piece.
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let mut pair = Pair::new(0);
    for step in 0..4 {
        if step == 2 {
            (0..CONTROL_FRAMES).for_each(|which| pair.control(which));
            (0..FLAWS).for_each(|which| pair.flaw(which, payload(20)));
        }
        if step > 1 {
            pair.request(payload(50), |_| {}, None);
            pair.push(payload(60), |_| {}, None);
            pair.response(payload(70));
        }
        pair.arrive_up(&[]);
        pair.arrive_down(&[]);
    }
    (pair.up.carried, pair.down.carried)
}

/// The bytes up to the end of the record at `at`.
fn first_record(bytes: &[u8], at: usize) -> Vec<u8> {
    let len = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    bytes[..at + 2 + len].to_vec()
}

/// The steps of `peer.rs`.
struct Peer(Writer);

impl Peer {
    fn at(end: u8) -> Self {
        Self(Writer::default().byte(4).byte(end))
    }

    fn frame(self, kind: u8, inner: &[u8]) -> Self {
        Self(self.0.byte(0).byte(kind).bytes(inner))
    }

    fn body(self, body: &[u8]) -> Self {
        Self(self.0.byte(1).bytes(body))
    }

    fn unknown(self, count: u64, pause: u8) -> Self {
        Self(self.0.byte(2).word(count).byte(pause))
    }

    fn time(self, millis: u64) -> Self {
        Self(self.0.byte(3).word(millis))
    }

    fn consume(self) -> Self {
        Self(self.0.byte(4))
    }

    fn payload(self, len: u64) -> Self {
        Self(self.0.byte(5).word(len))
    }

    fn done(self) -> Vec<u8> {
        self.0.done()
    }
}

fn at_gateway() -> Vec<Seed> {
    let peer = || Peer::at(0);
    let to_user = message(3, b"ann");
    let all = [2, 4, 5, 6, 8, 15, 17, 18, 19, 20, 22, 24, 25, 26, 30].into_iter();
    let all = all.fold(peer(), |peer, kind| peer.frame(kind, &[]));
    let kick = [message(2, b"ann"), vec![9, 1, 0, 0, 0, 0, 0, 0, 0]].concat();
    let flawed =
        flawed().into_iter().filter(|(name, _)| name.starts_with(['p', 'k']) || name.starts_with("auth-"));
    let flawed = flawed.fold(peer(), |peer, (_, body)| peer.body(&body).consume());
    let again = (0..6).fold(peer(), |peer, _| peer.payload(4000).consume());
    let in_time = peer().unknown(1000, 0).time(60_000).unknown(1000, 0);
    vec![
        ("gateway-hears-all-kinds", all.frame(21, &[]).done()),
        ("gateway-hears-flawed", flawed.frame(16, &kick).frame(16, &[]).frame(3, &to_user).done()),
        ("gateway-hears-request", peer().frame(1, &[8, 1]).done()),
        ("gateway-hears-ready-twice", peer().frame(13, &[]).done()),
        ("gateway-hears-announced", peer().frame(27, &[]).done()),
        ("gateway-hears-link-opened-flawed", peer().frame(9, &[]).done()),
        ("gateway-hears-too-much", peer().payload(4000).payload(4001).payload(4000).done()),
        ("gateway-hears-and-gives-back", again.payload(100).done()),
        ("gateway-hears-long-frame", peer().payload(4100).done()),
        ("gateway-hears-unknown", in_time.frame(5, &[]).done()),
        ("gateway-hears-unknown-too-many", peer().unknown(1001, 59).done()),
        ("gateway-hears-unknown-slowly", peer().unknown(1100, 61).done()),
        ("gateway-hears-close-flawed", peer().frame(21, &message(3, &[b'a'; 129])).done()),
    ]
}

fn at_backend() -> Vec<Seed> {
    let peer = || Peer::at(1);
    let all = [4, 5, 6, 7, 10, 22, 23, 26, 27, 28, 29, 31, 32].into_iter();
    let all = all.fold(peer(), |peer, kind| peer.frame(kind, &[]));
    let again = (0..6).fold(peer(), |peer, _| peer.payload(4000).consume());
    let flawed = flawed().into_iter().filter(|(name, _)| name.starts_with(['r', 'l']));
    let flawed = flawed.fold(peer(), |peer, (_, body)| peer.body(&body).consume());
    vec![
        ("backend-hears-all-kinds", all.frame(21, &[]).done()),
        ("backend-hears-flawed", flawed.frame(14, &[8, 1]).frame(9, &[]).done()),
        ("backend-hears-call-0", peer().frame(1, &message(8, b"pay")).done()),
        ("backend-hears-question-0", peer().frame(14, &[]).done()),
        ("backend-hears-hello-twice", peer().frame(12, &[]).done()),
        ("backend-hears-ban", peer().frame(17, &[]).done()),
        ("backend-hears-kick-flawed", peer().frame(16, &message(3, &[b'a'; 65])).done()),
        ("backend-hears-unknown-too-many", peer().unknown(500, 0).time(59_000).unknown(501, 0).done()),
        ("backend-hears-too-much", peer().payload(4000).payload(50).payload(4000).payload(4000).done()),
        ("backend-hears-and-gives-back", again.payload(100).done()),
        ("backend-hears-long-frame", peer().payload(4100).done()),
        ("backend-hears-empty-frame", peer().body(&[]).done()),
    ]
}
