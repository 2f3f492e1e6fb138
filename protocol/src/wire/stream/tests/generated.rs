//! Frames as the generated structs they stand for.

use prost::bytes::Bytes;

use super::super::*;
use crate::wire::proto::stream as proto;
use proto::frame::Kind;

/// A frame as the generated struct it stands for.
pub(super) fn as_generated(frame: &StreamFrame<'_>) -> Option<Kind> {
    let b = Bytes::copy_from_slice;
    Some(match *frame {
        StreamFrame::Request(r) => Kind::Request(proto::Request {
            call: r.call,
            link: r.link,
            id: b(&r.id),
            user: b(r.user),
            device: b(r.device),
            route: r.route.into(),
            key: b(r.key),
            payload: b(r.payload),
            deadline_ms: r.deadline_ms,
            trace: r.trace,
            again: r.again,
            session: b(r.session),
            realm: r.realm.into(),
        }),
        StreamFrame::Response(r) => Kind::Response(proto::Response {
            call: r.call,
            status: r.status,
            payload: b(r.payload),
            refused: r.refused,
            retry_after_ms: r.retry_after_ms,
            trace: r.trace,
        }),
        StreamFrame::Push(p) => Kind::Push(proto::Push {
            number: p.number,
            link: p.link,
            user: b(p.user),
            room: b(p.room),
            device: b(p.device),
            id: b(p.id),
            payload: b(p.payload),
            class: p.class,
            users: p.users.iter().map(b).collect(),
            ttl_ms: p.ttl_ms,
            package: p.package.map(|package| proto::Package {
                id: b(package.id),
                index: package.index,
                count: package.count,
                on_gap: package.on_gap,
            }),
            realm: p.realm.into(),
            ..proto::Push::default()
        }),
        StreamFrame::Credit { bytes } => Kind::Credit(proto::Credit { bytes }),
        StreamFrame::Ping { nonce } => Kind::Ping(proto::Ping { nonce }),
        StreamFrame::Pong { nonce } => Kind::Pong(proto::Pong { nonce }),
        StreamFrame::Report(r) => Kind::Report(proto::Report {
            number: r.number,
            outcome: i32::from(r.outcome as u8),
            reason: r.reason,
            report: r.report,
            device: b(r.device),
            class: r.class,
            devices: r.devices,
            user: b(r.user),
            ..proto::Report::default()
        }),
        StreamFrame::ReportAck { report } => Kind::ReportAck(proto::ReportAck { report }),
        StreamFrame::Pad { zeros } => Kind::Pad(proto::Pad { zeros: b(zeros) }),
        StreamFrame::Draining { deadline_ms } => Kind::Draining(proto::Draining { deadline_ms }),
        StreamFrame::LinkOpened(_)
        | StreamFrame::LinkDetached(_)
        | StreamFrame::LinkClosed(_)
        | StreamFrame::LinkResumed(_)
        | StreamFrame::Authenticate(_)
        | StreamFrame::AuthResult(_)
        | StreamFrame::Kick(_)
        | StreamFrame::Ban(_)
        | StreamFrame::Unban(_)
        | StreamFrame::Throttle(_)
        | StreamFrame::Close(_) => presence_as_generated(frame),
        StreamFrame::Rare(rare, inner) => rare_as_generated(rare, inner).unwrap(),
        StreamFrame::Flawed(_) | StreamFrame::Unknown => return None,
    })
}

fn presence_as_generated(frame: &StreamFrame<'_>) -> Kind {
    let b = Bytes::copy_from_slice;
    match *frame {
        StreamFrame::LinkOpened(l) => Kind::LinkOpened(proto::LinkOpened {
            link: l.link,
            user: b(l.user),
            device: b(l.device),
            session: b(l.session),
            address: b(l.address),
            port: l.port,
            suite: l.suite,
            login_ms: l.login_ms,
            agent: l.agent.into(),
            link_epoch: l.link_epoch,
            origin_suite: l.origin_suite,
            peer_key: b(l.peer_key),
            class: l.class,
            realm: l.realm.into(),
        }),
        StreamFrame::LinkDetached(l) => Kind::LinkDetached(proto::LinkDetached {
            link: l.link,
            session: b(l.session),
            until_ms: l.until_ms,
            unacknowledged: l.unacknowledged.iter().collect(),
            link_epoch: l.link_epoch,
            unacknowledged_count: l.unacknowledged_count,
        }),
        StreamFrame::LinkResumed(l) => {
            let resumed =
                |Resumed { old_link, link, link_epoch }| proto::Resumed { old_link, link, link_epoch };
            Kind::LinkResumed(proto::LinkResumed { links: l.iter().map(resumed).collect() })
        }
        StreamFrame::LinkClosed(l) => Kind::LinkClosed(proto::LinkClosed {
            link: l.link,
            user: b(l.user),
            device: b(l.device),
            session: b(l.session),
            code: l.code,
            link_epoch: l.link_epoch,
        }),
        StreamFrame::Authenticate(a) => Kind::Authenticate(proto::Authenticate {
            call: a.call,
            link: a.link,
            token: b(a.token),
            device: b(a.device),
            user: b(a.user),
            handshake: b(a.handshake),
            peer_key: b(a.peer_key),
            suite: a.suite,
            address: b(a.address),
            deadline_ms: a.deadline_ms,
            signature: b(a.signature),
            class: a.class,
            realm: a.realm.into(),
        }),
        StreamFrame::AuthResult(a) => Kind::AuthResult(proto::AuthResult {
            call: a.call,
            accepted: a.accepted,
            user: b(a.user),
            expires_ms: a.expires_ms,
            code: a.code,
            retry_after_ms: a.retry_after_ms,
            do_not_reconnect: a.do_not_reconnect,
            class: a.class,
            limit_class: a.limit_class.into(),
            capabilities: a.capabilities,
            ticket_ms: a.ticket_ms,
            no_tickets: a.no_tickets,
            bound_key: b(a.bound_key),
            login: b(a.login),
        }),
        StreamFrame::Kick(k) => Kind::Kick(proto::Kick {
            link: k.link,
            user: b(k.user),
            device: b(k.device),
            code: k.code,
            do_not_reconnect: k.do_not_reconnect,
            revoke: k.revoke,
            realm: k.realm.into(),
            login: b(k.login),
        }),
        StreamFrame::Ban(ban) => {
            let (user, prefix, prefix_len) = whom(ban.whom);
            let (until_ms, reason, realm) = (ban.until_ms, ban.reason.into(), ban.realm.into());
            Kind::Ban(proto::Ban { user, prefix, prefix_len, until_ms, reason, realm })
        }
        StreamFrame::Unban(unban) => {
            let (user, prefix, prefix_len) = whom(unban.whom);
            Kind::Unban(proto::Unban { user, prefix, prefix_len, realm: unban.realm.into() })
        }
        StreamFrame::Throttle(Throttle { whom: of, percent, until_ms, realm }) => {
            let (user, prefix, prefix_len) = whom(of);
            Kind::Throttle(proto::Throttle {
                user,
                prefix,
                prefix_len,
                percent,
                until_ms,
                realm: realm.into(),
            })
        }
        StreamFrame::Close(c) => {
            Kind::Close(proto::Close { code: c.code, retry_after_ms: c.retry_after_ms, text: c.text.into() })
        }
        ref other => panic!("{} is not about a link", other.name()),
    }
}

fn whom(whom: Whom<'_>) -> (Bytes, Bytes, u32) {
    let b = Bytes::copy_from_slice;
    match whom {
        Whom::User(user) => (b(user), Bytes::new(), 0),
        Whom::Addresses { prefix, prefix_len } => (Bytes::new(), b(prefix), prefix_len),
    }
}

fn rare_as_generated(rare: Rare, inner: &[u8]) -> Result<Kind, Error> {
    Ok(match rare {
        Rare::Hello => Kind::Hello(Rare::decode(inner)?),
        Rare::Ready => Kind::Ready(Rare::decode(inner)?),
        Rare::Join => Kind::Join(Rare::decode(inner)?),
        Rare::Leave => Kind::Leave(Rare::decode(inner)?),
        Rare::EndSession => Kind::EndSession(Rare::decode(inner)?),
        Rare::Announced => Kind::Announced(Rare::decode(inner)?),
        Rare::RoomResult => Kind::RoomResult(Rare::decode(inner)?),
        Rare::RoomAsk => Kind::RoomAsk(Rare::decode(inner)?),
        Rare::RoomAnswer => Kind::RoomAnswer(Rare::decode(inner)?),
        Rare::RoomEvents => Kind::RoomEvents(Rare::decode(inner)?),
        Rare::RoomCount => Kind::RoomCount(Rare::decode(inner)?),
    })
}
