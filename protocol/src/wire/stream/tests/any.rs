//! Any frame whose fields keep their bounds.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::bytes::Bytes;

use crate::wire::proto::stream as proto;
use proto::frame::Kind;

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

/// A number of any length.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

/// A user or a device.
fn id() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..=64).prop_map(Bytes::from)
}

/// Bytes of one of these lengths.
fn of(lens: &'static [usize]) -> impl Strategy<Value = Bytes> {
    (prop::sample::select(lens), any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len]))
}

fn words(max: usize) -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('a'), Just('é'), Just('入')], 0..=max / 3).prop_map(String::from_iter)
}

/// Any frame whose fields keep their bounds.
pub(super) fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![messages(), presence(), seldom(), rooms()]
}

fn messages() -> impl Strategy<Value = Kind> {
    let request = (
        any::<(u64, u64, [u8; 16], u32, u64, bool)>(),
        [id(), id()],
        bytes(64),
        bytes(300),
        of(&[0, 16]),
        words(64),
    )
        .prop_map(
            |((call, link, id, deadline_ms, trace, again), [user, device], key, payload, session, realm)| {
                let (id, route) = (Bytes::copy_from_slice(&id), "chat".into());
                Kind::Request(proto::Request {
                    call,
                    link,
                    id,
                    user,
                    device,
                    route,
                    key,
                    payload,
                    deadline_ms,
                    trace,
                    again,
                    session,
                    realm,
                })
            },
        );
    prop_oneof![
        request,
        (any::<(u64, u32, bool, u32, u64)>(), bytes(300)).prop_map(
            |((call, status, refused, retry_after_ms, trace), payload)| {
                Kind::Response(proto::Response { call, status, payload, refused, retry_after_ms, trace })
            }
        ),
        (
            any::<(u64, u64, u32, u32)>(),
            [bytes(64), bytes(64), bytes(64)],
            bytes(16),
            bytes(300),
            words(64),
            vec(id(), 0..4),
            prop::option::of(package()),
        )
            .prop_map(|(numbers, [user, room, device], id, payload, realm, users, package)| {
                let (number, link, class, ttl_ms) = numbers;
                let push = proto::Push {
                    number,
                    link,
                    user,
                    room,
                    device,
                    id,
                    payload,
                    class,
                    ..Default::default()
                };
                Kind::Push(proto::Push { users, ttl_ms, package, realm, ..push })
            }),
        any::<u64>().prop_map(|bytes| Kind::Credit(proto::Credit { bytes })),
        any::<u32>().prop_map(|nonce| Kind::Ping(proto::Ping { nonce })),
        any::<u32>().prop_map(|nonce| Kind::Pong(proto::Pong { nonce })),
        (any::<(u64, u32, u64, u32, u32)>(), 0..3, [bytes(64), bytes(64)]).prop_map(
            |((number, reason, report, class, devices), outcome, [device, user])| {
                let report = proto::Report { number, outcome, reason, report, device, ..Default::default() };
                Kind::Report(proto::Report { class, devices, user, ..report })
            }
        ),
        any::<u64>().prop_map(|report| Kind::ReportAck(proto::ReportAck { report })),
        bytes(40).prop_map(|zeros| Kind::Pad(proto::Pad { zeros })),
        any::<u32>().prop_map(|deadline_ms| Kind::Draining(proto::Draining { deadline_ms })),
    ]
}

fn package() -> impl Strategy<Value = proto::Package> {
    (vec(any::<u8>(), 1..=16), 0..u32::MAX, any::<u32>(), any::<u32>()).prop_map(
        |(id, index, more, on_gap)| {
            let count = index.saturating_add(more.max(1));
            proto::Package { id: id.into(), index, count, on_gap }
        },
    )
}

fn presence() -> impl Strategy<Value = Kind> {
    let opened = (
        any::<(u64, u32, u32, u64, u64, u32, u32)>(),
        [id(), id()],
        of(&[16]),
        of(&[0, 4, 16]),
        of(&[0, 32]),
        [words(64), words(64)],
    )
        .prop_map(|(numbers, [user, device], session, address, peer_key, [agent, realm])| {
            let (link, port, suite, login_ms, link_epoch, origin_suite, class) = numbers;
            Kind::LinkOpened(proto::LinkOpened {
                link,
                user,
                device,
                session,
                address,
                port,
                suite,
                login_ms,
                agent,
                link_epoch,
                origin_suite,
                peer_key,
                class,
                realm,
            })
        });
    prop_oneof![
        opened,
        (any::<(u64, u32, u64)>(), [id(), id()], of(&[16])).prop_map(
            |((link, code, link_epoch), [user, device], session)| {
                Kind::LinkClosed(proto::LinkClosed { link, user, device, session, code, link_epoch })
            }
        ),
        judging(),
        (any::<(u64, u32, bool, bool)>(), [bytes(64), bytes(64), bytes(256)], words(64)).prop_map(
            |((link, code, do_not_reconnect, revoke), [user, device, login], realm)| {
                Kind::Kick(proto::Kick { link, user, device, code, do_not_reconnect, revoke, realm, login })
            }
        ),
        (any::<(u32, u32)>(), words(128)).prop_map(|((code, retry_after_ms), text)| Kind::Close(
            proto::Close { code, retry_after_ms, text }
        )),
    ]
}

fn judging() -> impl Strategy<Value = Kind> {
    let ask = (
        any::<(u64, u64, u32, u32, u32)>(),
        bytes(200),
        (id(), bytes(64)),
        [of(&[32]), of(&[32])],
        (of(&[0, 4, 16]), of(&[0, 64])),
        words(64),
    )
        .prop_map(
            |(numbers, token, (device, user), [handshake, peer_key], (address, signature), realm)| {
                let (call, link, suite, deadline_ms, class) = numbers;
                Kind::Authenticate(proto::Authenticate {
                    call,
                    link,
                    token,
                    device,
                    user,
                    handshake,
                    peer_key,
                    suite,
                    address,
                    deadline_ms,
                    signature,
                    class,
                    realm,
                })
            },
        );
    let result =
        (
            any::<(u64, bool, u64, u32, u32, bool, u32, u64, u32, bool)>(),
            id(),
            words(32),
            of(&[0, 32]),
            bytes(64),
        )
            .prop_map(|(numbers, user, limit_class, bound_key, login)| {
                let (
                    call,
                    accepted,
                    expires_ms,
                    code,
                    retry_after_ms,
                    do_not_reconnect,
                    class,
                    capabilities,
                    ..,
                ) = numbers;
                let (.., ticket_ms, no_tickets) = numbers;
                Kind::AuthResult(proto::AuthResult {
                    call,
                    accepted,
                    user,
                    expires_ms,
                    code,
                    retry_after_ms,
                    do_not_reconnect,
                    class,
                    limit_class,
                    capabilities,
                    ticket_ms,
                    no_tickets,
                    bound_key,
                    login,
                })
            });
    prop_oneof![ask, result]
}

fn seldom() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (bytes(16), words(32), any::<(u32, u64, u32, u32, u32)>()).prop_map(
            |(boot_id, gateway, (worker, credit, frame_len_max, heartbeat_ms, report_slots))| {
                let hello =
                    proto::Hello { boot_id, gateway, worker, credit, frame_len_max, ..Default::default() };
                Kind::Hello(proto::Hello { heartbeat_ms, report_slots, ..hello })
            }
        ),
        (bytes(64), vec(words(32), 0..4), any::<(u64, u32, bool, bool)>(), bytes(16)).prop_map(
            |(instance, routes, (credit, frame_len_max, room_events, room_counts), boot)| {
                let ready = proto::Ready { instance, routes, credit, frame_len_max, ..Default::default() };
                Kind::Ready(proto::Ready { boot, room_events, room_counts, ..ready })
            }
        ),
        (any::<(u64, u64, u64, u32)>(), of(&[16]), vec(number(), 0..=64)).prop_map(
            |((link, until_ms, link_epoch, unacknowledged_count), session, unacknowledged)| {
                let detached =
                    proto::LinkDetached { link, session, until_ms, unacknowledged, ..Default::default() };
                Kind::LinkDetached(proto::LinkDetached { link_epoch, unacknowledged_count, ..detached })
            }
        ),
        vec(any::<(u64, u64, u64)>(), 0..4).prop_map(|links| {
            let resumed = |(old_link, link, link_epoch)| proto::Resumed { old_link, link, link_epoch };
            Kind::LinkResumed(proto::LinkResumed { links: links.into_iter().map(resumed).collect() })
        }),
        (whom(), any::<u64>(), [words(32), words(64)]).prop_map(
            |((user, prefix, prefix_len), until_ms, [reason, realm])| {
                Kind::Ban(proto::Ban { user, prefix, prefix_len, until_ms, reason, realm })
            }
        ),
        (whom(), words(64)).prop_map(|((user, prefix, prefix_len), realm)| {
            Kind::Unban(proto::Unban { user, prefix, prefix_len, realm })
        }),
        (whom(), 1..=100_u32, any::<u64>(), words(64)).prop_map(
            |((user, prefix, prefix_len), percent, until_ms, realm)| {
                Kind::Throttle(proto::Throttle { user, prefix, prefix_len, percent, until_ms, realm })
            }
        ),
        Just(Kind::Announced(proto::Announced {})),
        (bytes(16), any::<u32>())
            .prop_map(|(session, code)| Kind::EndSession(proto::EndSession { session, code })),
    ]
}

/// A user, or a prefix and its length.
fn whom() -> impl Strategy<Value = (Bytes, Bytes, u32)> {
    let prefix = |len: usize| {
        (vec(any::<u8>(), len), 1..=8 * len as u32)
            .prop_map(|(prefix, len)| (Bytes::new(), prefix.into(), len))
    };
    prop_oneof![id().prop_map(|user| (user, Bytes::new(), 0)), prefix(4), prefix(16)]
}

fn rooms() -> impl Strategy<Value = Kind> {
    let event =
        (any::<(u64, bool, u64)>(), [id(), id()]).prop_map(|((link, left, epoch), [user, device])| {
            proto::RoomEvent { link, user, device, left, epoch }
        });
    let members = (id(), any::<(u64, u64)>()).prop_map(|(room, (members, epoch))| proto::RoomMembers {
        room,
        members,
        epoch,
        realm: String::new(),
    });
    prop_oneof![
        (any::<(u64, u64)>(), (bytes(64), id(), bytes(64)), words(64)).prop_map(
            |((link, number), (user, room, device), realm)| {
                Kind::Join(proto::Join { link, user, room, device, number, realm })
            }
        ),
        (any::<(u64, u64)>(), (bytes(64), id(), bytes(64)), words(64)).prop_map(
            |((link, number), (user, room, device), realm)| {
                Kind::Leave(proto::Leave { link, user, room, device, number, realm })
            }
        ),
        any::<(u64, u32, u32)>().prop_map(|(number, code, links)| Kind::RoomResult(proto::RoomResult {
            number,
            code,
            links
        })),
        (any::<(u64, u64, u32)>(), [id(), id(), id()], of(&[16]), words(64)).prop_map(
            |((call, link, deadline_ms), [user, device, room], session, realm)| {
                Kind::RoomAsk(proto::RoomAsk { call, link, user, device, session, room, deadline_ms, realm })
            }
        ),
        any::<(u64, u32, u32)>().prop_map(|(call, code, retry_after_ms)| Kind::RoomAnswer(
            proto::RoomAnswer { call, code, retry_after_ms }
        )),
        (id(), vec(event, 0..3)).prop_map(|(room, events)| Kind::RoomEvents(proto::RoomEvents {
            room,
            events,
            realm: String::new()
        })),
        vec(members, 0..3).prop_map(|rooms| Kind::RoomCount(proto::RoomCount { rooms })),
    ]
}
