//! What a client needs to know before it can connect, and what it may be told.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::CloseCode;
use protocol::limits::{AGENT_LEN_MAX, ID_LEN_MAX, TOKEN_LEN_MAX};
use protocol::link::backoff::Backoff;
use protocol::noise::{Pattern, PublicKey, StaticKey, Suite, Suites};

use crate::error::Error;
use crate::pins::{KEYS_MAX, ServerKey};
use crate::seen::{RecentIds, SeenIds};
use crate::store::Store;

/// How to connect. [`Config::new`] fills in the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port` of the gateways of one trust set; at least one. After a failure the next one is tried.
    pub addresses: Vec<String>,
    /// The gateway's keys in their order: those that came with the app. 1 to 8, each a point that a handshake can use.
    ///
    /// What the gateway announces on a link that has proved one of them takes the place of all; and once a later key has
    /// proved itself, an earlier one is not used any more. A [`Store`] keeps what was learnt, and these here are
    /// looked at again only when they are others than at the start before.
    ///
    /// Without a store give here those of the last [`Session`](crate::Session), which the application stores itself; and do not
    /// mix them with the app's own again: an old key may be one that somebody has stolen.
    ///
    /// Empty with XX suites, and only with them: see [`Config::unpinned`].
    pub server_keys: Vec<ServerKey>,
    /// The suites this client may use, best first: NK or IK, or else XX alone. Default: NK_ChaChaPoly, then NK_AESGCM. What is not on
    /// this list is never used, whatever a gateway asks for.
    pub suites: Vec<Suite>,
    /// The device key; required with an IK or XX suite.
    pub device_key: Option<StaticKey>,
    /// How the user is proved.
    pub credentials: Credentials,
    /// Shows that a bound token, and the tickets that replace it, are this client's own. Default: none.
    pub binder: Option<Binder>,
    /// Who the user is, at most 64 bytes; with delegated authentication it may be empty.
    pub user: Bytes,
    /// Names this installation, 1 to 64 bytes. A second client of the same user and device replaces the first.
    pub device: Bytes,
    /// Whether to come back with the gateway's tickets, which saves the token and most of the handshake's cost.
    /// Default: yes.
    pub tickets: bool,
    /// Whether a session goes on when its link is lost, with its pushes and the numbers of its requests. Default: yes; a client
    /// without a server key never does.
    pub resume: bool,
    /// Where session and tickets are kept, so that a later start of the process goes on with them. Default: none; they are
    /// gone with the client then, and its last handle ends the session.
    pub store: Option<Arc<dyn Store>>,
    /// Which pushes were taken, so that none is shown twice. Default: the last 1,024 of this client, in memory.
    pub seen: Arc<dyn SeenIds>,
    /// The wanted heartbeat interval. Default: zero, which lets the gateway choose.
    pub heartbeat: Duration,
    /// The pauses between attempts. Default: 0 to 0.5 s, doubling up to 0 to 60 s.
    pub backoff: Backoff,
    /// What connecting, handshake and authentication may take together. Default: 10 s. The credentials' callback is
    /// not part of it.
    pub attempt_timeout: Duration,
    /// Name and version of the application, for operators; at most 64 bytes.
    pub agent: String,
    /// Pushes that wait for the application, 1 to 1,048,576. When as many wait, reading stops. Default: 64.
    pub pushes_max: usize,
    /// Requests that wait for the link or for its grant, 1 to 1,048,576; what a further
    /// [`Client::request`](crate::Client::request) does it says. Besides these there are those that the last link had open.
    /// Default: 64.
    pub requests_max: usize,
    /// Bytes of the requests that wait, 1,024 to 1,073,741,824: payload, route and key, and 256 for each. A longer request is
    /// refused. Default: 4,194,304.
    pub request_bytes_max: usize,
}

/// The longest queue; what it holds is not counted in bytes, and Tokio panics at lengths that are no use to anybody.
const QUEUE_LEN_MAX: usize = 1024 * 1024;

/// What the requests of a queue may weigh.
const QUEUE_BYTES: RangeInclusive<usize> = 1024..=1024 * 1024 * 1024;

impl Config {
    /// For one gateway and one of its keys, with defaults for the rest.
    #[must_use]
    pub fn new(
        address: impl Into<String>,
        server_key: PublicKey,
        credentials: Credentials,
        user: impl Into<Bytes>,
        device: impl Into<Bytes>,
    ) -> Self {
        Self {
            addresses: vec![address.into()],
            server_keys: vec![server_key.into()],
            suites: vec![Suite::NkChaChaPoly, Suite::NkAesGcm],
            device_key: None,
            credentials,
            binder: None,
            user: user.into(),
            device: device.into(),
            tickets: true,
            resume: true,
            store: None,
            seen: Arc::new(RecentIds::default()),
            heartbeat: Duration::ZERO,
            backoff: Backoff::default(),
            attempt_timeout: Duration::from_secs(10),
            agent: concat!("client-rs/", env!("CARGO_PKG_VERSION")).to_owned(),
            pushes_max: 64,
            requests_max: 64,
            request_bytes_max: 4 * 1024 * 1024,
        }
    }

    /// For a client that has no server key yet, and one gateway whose listener is for such (XX), with defaults for the rest.
    ///
    /// **Whoever answers is the gateway, as far as this client can know.** So it sends no token that is not bound to
    /// `device_key`: a JSON Web Token has to name its public half in `cnf.jwk`, else the attempt ends with [`Error::Unbound`]
    /// before anything is sent. Of other tokens the application has to know that itself. Send nothing on such a link that
    /// you would not tell anybody. Nothing of it is kept: no server key, no ticket, no session.
    #[must_use]
    pub fn unpinned(
        address: impl Into<String>,
        device_key: StaticKey,
        credentials: Credentials,
        user: impl Into<Bytes>,
        device: impl Into<Bytes>,
    ) -> Self {
        // Any key would do: none is kept.
        let all = Self::new(address, device_key.public(), credentials, user, device);
        let suites = vec![Suite::XxChaChaPoly, Suite::XxAesGcm];
        Self {
            server_keys: Vec::new(),
            suites,
            device_key: Some(device_key),
            tickets: false,
            resume: false,
            ..all
        }
    }

    /// Whether this client has no server key, and opens links without.
    pub(crate) fn is_unpinned(&self) -> bool {
        Suites::of(&self.suites).are_unpinned()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let is_unpinned = self.is_unpinned();
        let link = |suite: &Suite| is_unpinned || matches!(suite.pattern(), Pattern::Nk | Pattern::Ik);
        let needs_key = self.suites.iter().any(|suite| matches!(suite.pattern(), Pattern::Ik | Pattern::Xx));
        let keys = if is_unpinned { 0..=0 } else { 1..=KEYS_MAX };
        let queues = [self.pushes_max, self.requests_max];
        let rules = [
            (!self.addresses.is_empty(), "there is no address"),
            (
                keys.contains(&self.server_keys.len()),
                "there have to be 1 to 8 server keys, or none and XX suites only",
            ),
            (
                self.server_keys.iter().all(ServerKey::is_usable),
                "a server key is no point a handshake can use",
            ),
            (!self.suites.is_empty(), "there is no suite"),
            (self.suites.iter().all(link), "only NK and IK suites open a link, or else XX suites alone"),
            (!needs_key || self.device_key.is_some(), "IK and XX need a device key"),
            (self.user.len() <= ID_LEN_MAX, "the user has more than 64 bytes"),
            ((1..=ID_LEN_MAX).contains(&self.device.len()), "the device has to have 1 to 64 bytes"),
            (self.agent.len() <= AGENT_LEN_MAX, "the agent has more than 64 bytes"),
            (
                queues.iter().all(|len| (1..=QUEUE_LEN_MAX).contains(len)),
                "a queue has a length of 1 to 1,048,576",
            ),
            (
                QUEUE_BYTES.contains(&self.request_bytes_max),
                "the bytes of a queue are 1,024 to 1,073,741,824",
            ),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, text)| Err(Error::Config(text)))
    }
}

/// How the user is proved: a token, or a callback that gets one.
#[derive(Clone)]
pub struct Credentials(Arc<Callback>);

type Callback = dyn Fn(Occasion) -> Asked + Send + Sync;
type Asked = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// Why credentials are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occasion {
    /// A handshake without a ticket; a token kept from before will do.
    Connect,
    /// The gateway refused the last token or ended its session. A fresh one is needed.
    Refused(CloseCode),
}

impl Credentials {
    /// Always the same token, at most 3,584 bytes.
    #[must_use]
    pub fn token(token: impl Into<Bytes>) -> Self {
        let token = token.into();
        Self::ask(move |_| std::future::ready(Ok::<_, String>(token.clone())))
    }

    /// Asks for a token, at most 3,584 bytes, before each handshake that has no ticket. An error counts as a failed
    /// attempt. It may take its time, but while it does the client is not linked.
    pub fn ask<C, F, E>(callback: C) -> Self
    where
        C: Fn(Occasion) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: fmt::Display,
    {
        Self(Arc::new(move |occasion| {
            let asked = callback(occasion);
            Box::pin(async move { asked.await.map_err(|error| error.to_string()) })
        }))
    }

    pub(crate) async fn get(&self, occasion: Occasion) -> Result<Bytes, Error> {
        let token = (self.0)(occasion).await.map_err(Error::Credentials)?;
        if token.len() > TOKEN_LEN_MAX {
            return Err(Error::Credentials("the token has more than 3,584 bytes".to_owned()));
        }
        Ok(token)
    }
}

/// Signs the bytes it is given.
type Sign = dyn Fn(&[u8]) -> Bytes + Send + Sync;

/// Signs with the Ed25519 key that a token is bound to. The key may live where it cannot be read, as in a phone's secure
/// element: only the signing is asked for.
#[derive(Clone)]
pub struct Binder(Arc<Sign>);

impl Binder {
    /// `sign` returns the 64 bytes of the signature over the message it is given.
    pub fn new<B: Into<Bytes>>(sign: impl Fn(&[u8]) -> B + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |message| sign(message).into()))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Bytes {
        (self.0)(message)
    }
}

impl fmt::Debug for Binder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binder(***)")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let key = StaticKey::from_secret([1; 32]).public();
        Config::new("127.0.0.1:1", key, Credentials::token("secret"), "alice", "phone")
    }

    #[test]
    fn what_cannot_work_is_said_before_anything_is_dialled() {
        assert_eq!(config().check(), Ok(()));
        let wrong: [fn(&mut Config); 16] = [
            |config| config.addresses.clear(),
            |config| config.server_keys.clear(),
            |config| config.server_keys = vec![PublicKey([0; 32]).into()],
            |config| {
                config.server_keys.push(PublicKey([&[1][..], &[0; 31]].concat().try_into().unwrap()).into())
            },
            |config| config.suites.clear(),
            |config| config.suites.push(Suite::KkAesGcm),
            |config| config.suites.push(Suite::IkAesGcm),
            |config| config.user = vec![0; 65].into(),
            |config| config.device = Bytes::new(),
            |config| config.agent = "x".repeat(65),
            |config| config.pushes_max = 0,
            |config| config.pushes_max = usize::MAX,
            |config| config.requests_max = 0,
            |config| config.requests_max = QUEUE_LEN_MAX + 1,
            |config| config.request_bytes_max = QUEUE_BYTES.start() - 1,
            |config| config.request_bytes_max = QUEUE_BYTES.end() + 1,
        ];
        for (index, spoil) in wrong.iter().enumerate() {
            let mut config = config();
            spoil(&mut config);
            assert!(matches!(config.check(), Err(Error::Config(_))), "number {index}");
        }
    }

    #[test]
    fn a_client_without_a_server_key_never_falls_back_on_one_nor_the_other_way() {
        let token = || Credentials::token("secret");
        let unpinned =
            || Config::unpinned("127.0.0.1:1", StaticKey::from_secret([1; 32]), token(), "alice", "phone");
        assert_eq!(unpinned().check(), Ok(()));
        let wrong: [fn(&mut Config); 4] = [
            |config| config.server_keys = super::tests::config().server_keys,
            |config| config.suites.push(Suite::NkAesGcm),
            |config| config.suites = vec![Suite::NkAesGcm],
            |config| config.device_key = None,
        ];
        for (index, spoil) in wrong.iter().enumerate() {
            let mut config = unpinned();
            spoil(&mut config);
            assert!(matches!(config.check(), Err(Error::Config(_))), "number {index}");
        }
        let pinned = Config { suites: vec![Suite::NkAesGcm, Suite::XxAesGcm], ..config() };
        assert!(matches!(pinned.check(), Err(Error::Config(_))), "XX is no way around a pin");
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", config()).contains("secret"));
    }
}
