//! What a service is made of: handlers by route, a judge of tokens, and an ear for events.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use protocol::hidden::Hidden;
use protocol::wire::stream::{
    AuthResult, Authenticate, LinkClosed, LinkDetached, LinkOpened, Report, Resumed, StreamRequest,
};
use protocol::{CloseCode, Error, UnixMillis};

use crate::gateway::Gateway;
use crate::push::Target;
use crate::reply::{Answer, Reply};
use crate::sanction::Whom;
use crate::turns::Key;

/// A client's request, owned, for handlers that take their time. It outlives neither its deadline nor its stream: see
/// [`Builder::route`](crate::Builder::route) for when a handler is dropped.
#[derive(Clone)]
pub struct Request {
    /// The stream it came on; pushes to `link` go through it fastest.
    pub gateway: Gateway,
    /// The link it came on.
    pub link: u64,
    /// Made by the client. With user and device it is the key of idempotency: the work must not be done twice.
    pub id: [u8; 16],
    /// Who asks; authenticated.
    pub user: Bytes,
    /// On which device.
    pub device: Bytes,
    /// The route.
    pub route: String,
    /// The client's ordering key.
    pub key: Bytes,
    /// What is asked.
    pub payload: Bytes,
    /// How long the gateway waits. A handler that takes longer is dropped where it stands.
    pub deadline: Duration,
    /// The client says that it asked this before.
    pub again: bool,
    /// The client's session, 16 bytes or none.
    pub session: Bytes,
}

impl Request {
    pub(crate) fn new(request: &StreamRequest<'_>, gateway: &Gateway) -> Self {
        let copy = Bytes::copy_from_slice;
        Self {
            gateway: gateway.clone(),
            link: request.link,
            id: request.id,
            user: copy(request.user),
            device: copy(request.device),
            route: request.route.to_owned(),
            key: copy(request.key),
            payload: copy(request.payload),
            deadline: Duration::from_millis(request.deadline_ms.into()),
            again: request.again,
            session: copy(request.session),
        }
    }
}

/// What is asked is its user's own, and stays out of logs.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("gateway", &self.gateway)
            .field("link", &self.link)
            .field("id", &self.id)
            .field("user", &self.user)
            .field("device", &self.device)
            .field("route", &self.route)
            .field("key", &self.key)
            .field("payload", &Hidden(&self.payload))
            .field("deadline", &self.deadline)
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

/// A question whether a token is good, owned.
#[derive(Clone)]
pub struct Ask {
    /// The stream it came on.
    pub gateway: Gateway,
    /// The link.
    pub link: u64,
    /// The token.
    pub token: Bytes,
    /// The device, as the client calls it.
    pub device: Bytes,
    /// Who the client claims to be; may be empty.
    pub user: Bytes,
    /// The link's handshake hash, to which a bound token's proof belongs.
    pub handshake: Bytes,
    /// The device key, proved by the handshake; empty unless the suite has one.
    pub peer_key: Bytes,
    /// The link's suite byte.
    pub suite: u32,
    /// The client's IP address, 4 or 16 bytes, or none.
    pub address: Bytes,
    /// How long the gateway waits. A judge that takes longer is dropped where it stands.
    pub deadline: Duration,
    /// Proof of possession for a bound token.
    pub signature: Bytes,
}

impl fmt::Debug for Ask {
    /// Without the token: whoever logs what it was asked logs no way in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("link", &self.link)
            .field("token", &Hidden(&self.token))
            .field("device", &self.device)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Ask {
    pub(crate) fn new(ask: &Authenticate<'_>, gateway: &Gateway) -> Self {
        let copy = Bytes::copy_from_slice;
        Self {
            gateway: gateway.clone(),
            link: ask.link,
            token: copy(ask.token),
            device: copy(ask.device),
            user: copy(ask.user),
            handshake: copy(ask.handshake),
            peer_key: copy(ask.peer_key),
            suite: ask.suite,
            address: copy(ask.address),
            deadline: Duration::from_millis(ask.deadline_ms.into()),
            signature: copy(ask.signature),
        }
    }
}

/// Whether a link may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It may.
    Accepted(Login),
    /// It may not.
    Refused {
        /// Why, for the client.
        code: CloseCode,
        /// When it may try again.
        retry_after: Duration,
        /// Whether it must not come back by itself.
        do_not_reconnect: bool,
    },
}

/// What a good token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// Who it is, 1 to 64 bytes, whatever it claimed.
    pub user: Bytes,
    /// The end of the token, if it has one.
    pub expires: Option<UnixMillis>,
    /// Whether the client gets tickets, with which it comes back without its token.
    pub tickets: Tickets,
    /// The Ed25519 key the token is bound to (the judge has verified [`Ask::signature`] with it): the gateway demands such a
    /// signature from whoever comes back with a ticket, too. For a token that is bound to the static key of an IK
    /// handshake choose [`Tickets::None`], as a link with a ticket does not prove that key.
    pub bound_key: Option<[u8; 32]>,
    /// Names the login, at most 64 bytes, such as the token's id. Empty: the gateway takes the token's hash.
    pub name: Bytes,
}

/// Whether a login is given tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tickets {
    /// As the gateway's operator says.
    #[default]
    AsConfigured,
    /// None of them is good for longer than this after the login.
    AtMost(Duration),
    /// No.
    None,
}

impl Login {
    /// Of this user, 1 to 64 bytes, with no end.
    #[must_use]
    pub fn of(user: impl Into<Bytes>) -> Self {
        Self { user: user.into(), ..Self::default() }
    }
}

impl Verdict {
    /// A refusal that leaves it to the client when to come back.
    #[must_use]
    pub const fn refused(code: CloseCode) -> Self {
        Self::Refused { code, retry_after: Duration::ZERO, do_not_reconnect: false }
    }

    pub(crate) fn frame(&self, call: u64) -> AuthResult<'_> {
        let millis = |time: &Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        match self {
            Self::Accepted(login) => AuthResult {
                call,
                accepted: true,
                user: &login.user,
                expires_ms: login.expires.map_or(0, |expires| expires.0),
                ticket_ms: match &login.tickets {
                    Tickets::AtMost(time) => millis(time).max(1),
                    Tickets::AsConfigured | Tickets::None => 0,
                },
                no_tickets: login.tickets == Tickets::None,
                bound_key: login.bound_key.as_ref().map_or(&[], |key| key),
                login: &login.name,
                ..AuthResult::default()
            },
            Self::Refused { code, retry_after, do_not_reconnect } => AuthResult {
                call,
                code: code.number(),
                retry_after_ms: millis(retry_after),
                do_not_reconnect: *do_not_reconnect,
                ..AuthResult::default()
            },
        }
    }
}

/// What happens on a stream beside requests. Told in order, on the stream's own task: the ear must not block.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A gateway's stream is live.
    Opened,
    /// A user has come. Only on routes with presence.
    LinkOpened(LinkOpened<'b>),
    /// Every user who was there before the stream opened has been told of: whoever an earlier stream of this gateway told of and
    /// this one did not has gone in between.
    Announced,
    /// A user has gone.
    LinkClosed(LinkClosed<'b>),
    /// A user has lost a link, and its session waits for another one, for as long as is said: then it is resumed, or the link is
    /// closed. With the [numbers](crate::Delivery::number) of the pushes that are not acknowledged.
    LinkDetached(LinkDetached<'b>),
    /// A session goes on with another link, on which its user can be reached from now on. It may have been told on another
    /// stream of this gateway that the old link was opened. No `LinkClosed` comes for the old link, nor a `LinkOpened` for the new one.
    LinkResumed(Resumed),
    /// What became of a push with a number: what the gateway says, or unknown when the stream ended before it was sent.
    Report(Report<'b>),
    /// The stream ended before this kick was sent. Whether it has left is not known: its links may be there still.
    KickUnknown(&'b Target),
    /// The stream ended before this ban, its end, or this throttle was sent. Whether it has left is not known.
    SanctionUnknown(&'b Whom),
    /// The stream is over: its links are forgotten, and those still there are told again on the next stream.
    Closed(Ended),
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The gateway said so, with this close code.
    ByGateway(u32),
    /// This server stopped.
    Stopped,
    /// The connection broke or was closed without a word.
    Broken,
    /// The gateway broke a rule.
    Breach(Error),
}

/// Makes the work of a handler or judge.
pub(crate) type Later<I, O> = Box<dyn Fn(I) -> Pin<Box<dyn Future<Output = O> + Send>> + Send + Sync>;
type Now = Box<dyn Fn(&StreamRequest<'_>, &Gateway, &mut Answer) + Send + Sync>;

type Ear = Box<dyn Fn(Event<'_>, &Gateway) + Send + Sync>;

/// How a route answers.
pub(crate) enum Handler {
    Now(Now),
    Later(Later<Request, Reply>, Option<OrderBy>),
}

/// Which requests of a route are handled one after the other; see [`Builder::route_ordered`](crate::Builder::route_ordered).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderBy {
    /// All of a user.
    User,
    /// Those of a user with the same key. Requests without a key are in no order.
    UserAndKey,
}

impl OrderBy {
    /// What the request takes its turn with; `None` if it waits for nobody.
    pub(crate) fn key(self, route: usize, request: &Request) -> Option<Key> {
        let user = request.user.clone();
        match self {
            Self::User => Some(Key { route, user, key: Bytes::new() }),
            Self::UserAndKey if request.key.is_empty() => None,
            Self::UserAndKey => Some(Key { route, user, key: request.key.clone() }),
        }
    }
}

/// All of a service.
#[derive(Default)]
pub(crate) struct Service {
    pub(crate) routes: Vec<(String, Handler)>,
    pub(crate) judge: Option<Later<Ask, Verdict>>,
    pub(crate) ear: Option<Ear>,
}

impl Service {
    /// A route's handler, and its place among the routes.
    pub(crate) fn handler(&self, route: &str) -> Option<(usize, &Handler)> {
        // A service has a handful of routes, so comparing names is faster than hashing one.
        let place = self.routes.iter().position(|(name, _)| name == route)?;
        Some((place, &self.routes[place].1))
    }

    pub(crate) fn tell(&self, event: Event<'_>, gateway: &Gateway) {
        if let Some(ear) = &self.ear {
            ear(event, gateway);
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|(name, _)| name)).finish()
    }
}
