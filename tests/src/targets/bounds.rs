//! Bounds of fields as SPEC.md, sections 9 and 12, lists them, over the structs that prost reads: whatever is refused
//! for a field has to break one of these, and whatever is taken may not.

use protocol::wire::cursor::{Fields, Value};
use protocol::wire::proto::link::{self, frame::Kind as LinkKind};
use protocol::wire::proto::stream::{self, frame::Kind as StreamKind};

/// Whether all fields of a link's frame keep their bounds.
pub(super) fn link_frame(frame: &link::Frame) -> bool {
    match &frame.kind {
        Some(LinkKind::Auth(auth)) => link_auth(auth),
        Some(LinkKind::Request(request)) => {
            let named = request.id.len() == 16 && (1..=32).contains(&request.route.len());
            named && request.key.len() <= 64 && request.compression == 0
        }
        Some(LinkKind::Join(link::Join { room }) | LinkKind::Leave(link::Leave { room })) => id(room),
        Some(LinkKind::Joined(link::Joined { room, .. }) | LinkKind::Left(link::Left { room, .. })) => {
            id(room)
        }
        Some(LinkKind::Close(close)) => close.text.len() <= 128,
        Some(LinkKind::Response(response)) => response.id.len() == 16 && response.compression == 0,
        Some(LinkKind::Push(push)) => push.id.len() <= 16 && push.room.len() <= 64 && push.compression == 0,
        _ => true,
    }
}

fn link_auth(auth: &link::Auth) -> bool {
    let resume = auth.resume.as_ref();
    let dictionaries = &auth.dictionary;
    auth.token.len() <= 3584
        && auth.user.len() <= 64
        && id(&auth.device)
        && auth.agent.len() <= 64
        && none_or(&auth.signature, 64)
        && dictionaries.len() <= 8
        && dictionaries.iter().all(|dictionary| dictionary.len() == 32)
        && resume.is_none_or(|resume| resume.session.len() == 16 && resume.proof.len() == 32)
}

/// The same for a frame of a stream. Those that are not served are not looked into.
pub(super) fn stream_frame(frame: &stream::Frame) -> bool {
    match &frame.kind {
        Some(StreamKind::Request(request)) => {
            let of_whom = id(&request.user) && id(&request.device) && none_or(&request.session, 16);
            let what = request.id.len() == 16 && (1..=32).contains(&request.route.len());
            of_whom && what && request.key.len() <= 64 && request.realm.len() <= 64
        }
        Some(StreamKind::Push(push)) => {
            let targets = [&push.user, &push.room, &push.device, &push.coalesce];
            let targets = targets.into_iter().chain(&push.users).chain(&push.rooms);
            let named = push.id.len() <= 16 && push.realm.len() <= 64;
            let users = push.users.len() <= 256 && push.users.iter().all(|user| id(user));
            let is_part = |package: &stream::Package| {
                (1..=16).contains(&package.id.len()) && package.index < package.count
            };
            named
                && users
                && push.package.as_ref().is_none_or(is_part)
                && targets.into_iter().all(|target| target.len() <= 64)
        }
        Some(StreamKind::LinkOpened(opened)) => {
            let link = id(&opened.user) && id(&opened.device) && opened.session.len() == 16;
            let proved = is_address(&opened.address) && none_or(&opened.peer_key, 32);
            link && proved && opened.agent.len() <= 64 && opened.realm.len() <= 64
        }
        Some(StreamKind::LinkDetached(detached)) => {
            detached.session.len() == 16 && detached.unacknowledged.len() <= 64
        }
        Some(StreamKind::LinkClosed(closed)) => {
            id(&closed.user) && id(&closed.device) && closed.session.len() == 16
        }
        Some(StreamKind::Authenticate(ask)) => {
            let said = ask.token.len() <= 3584 && id(&ask.device) && ask.user.len() <= 64;
            let proved =
                ask.handshake.len() == 32 && none_or(&ask.peer_key, 32) && none_or(&ask.signature, 64);
            said && proved && is_address(&ask.address) && ask.realm.len() <= 64
        }
        Some(StreamKind::AuthResult(result)) => {
            let named = if result.accepted { id(&result.user) } else { result.user.len() <= 64 };
            let bound = none_or(&result.bound_key, 32);
            named && bound && result.limit_class.len() <= 32 && result.login.len() <= 64
        }
        Some(StreamKind::Kick(kick)) => {
            kick.user.len() <= 64 && kick.device.len() <= 64 && kick.realm.len() <= 64
        }
        Some(StreamKind::Ban(ban)) => {
            let (user, prefix) = (&ban.user, &ban.prefix);
            whom(user, prefix, ban.prefix_len) && ban.reason.len() <= 128 && ban.realm.len() <= 64
        }
        Some(StreamKind::Unban(unban)) => {
            whom(&unban.user, &unban.prefix, unban.prefix_len) && unban.realm.len() <= 64
        }
        Some(StreamKind::Throttle(throttle)) => {
            let (user, prefix) = (&throttle.user, &throttle.prefix);
            let rates = (1..=100).contains(&throttle.percent);
            whom(user, prefix, throttle.prefix_len) && rates && throttle.realm.len() <= 64
        }
        Some(StreamKind::Close(close)) => close.text.len() <= 128,
        _ => true,
    }
}

/// A user, or a prefix with its length.
fn whom(user: &[u8], prefix: &[u8], prefix_len: u32) -> bool {
    match prefix.len() {
        0 => id(user) && prefix_len == 0,
        len @ (4 | 16) => user.is_empty() && (1..=8 * len as u32).contains(&prefix_len),
        _ => false,
    }
}

/// Whether a field that may stand there once stands there twice, in the kind itself or in a message inside it: the last
/// one counts, but the one before may have been refused already. `lists` are the fields that may be repeated, each with
/// its kind. Where the fields can't be told to their end, one may.
pub(super) fn is_repeated(body: &[u8], lists: &[(u32, u32)]) -> bool {
    let mut frame = Fields::new(body);
    while let Ok(Some((kind, value))) = frame.next() {
        let Value::Bytes(inner) = value else { continue };
        let (mut fields, mut seen) = (Fields::new(inner), Vec::new());
        loop {
            let (field, value) = match fields.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                // A group, say, which prost skips: what stands behind it is not seen here.
                Err(_) => return true,
            };
            let inside = matches!((kind, field, value), (1, 4, Value::Bytes(resume)) if has_twins(resume));
            if inside || (seen.contains(&field) && !lists.contains(&(kind, field))) {
                return true;
            }
            seen.push(field);
        }
    }
    false
}

fn has_twins(message: &[u8]) -> bool {
    let (mut fields, mut seen) = (Fields::new(message), Vec::new());
    while let Ok(Some((field, _))) = fields.next() {
        if seen.contains(&field) {
            return true;
        }
        seen.push(field);
    }
    false
}

/// A user, device or room.
fn id(bytes: &[u8]) -> bool {
    (1..=64).contains(&bytes.len())
}

fn none_or(bytes: &[u8], len: usize) -> bool {
    bytes.is_empty() || bytes.len() == len
}

fn is_address(bytes: &[u8]) -> bool {
    matches!(bytes.len(), 0 | 4 | 16)
}
