//! A gateway as a service sees it: who it is, and the way to push through it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use protocol::limits::{CREDIT_OVERHEAD, FRAME_LEN_CEILING, ID_LEN_MAX, LOGIN_LEN_MAX, STREAM_FRAME_LEN_MIN};
use protocol::noise::PublicKey;
use protocol::wire::proto::stream as proto;
use protocol::wire::stream;
use protocol::{CloseCode, UnixMillis};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::deliveries::{Place, WorkerId};
use crate::outcome::Rule;
use crate::push::{DELIVERED_FROM, Delivery, Parcel, Push, PushError, Target};
use crate::sanction::{Measure, Sanction, Whom};

/// A handle on one stream of a gateway; cheap to clone. Each worker of a gateway has a stream of its own, and any
/// of them reaches all links and users of that gateway; the one a link came on reaches it fastest.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    id: u64,
    hello: proto::Hello,
    key: Option<PublicKey>,
    frame_len_max: usize,
    handles: Handles,
}

/// The ways from handles to their stream. Pushes wait for credit, those that are delivered at least once for a place among
/// the open ones, too, and orders must not wait with them.
#[derive(Clone, Debug)]
pub(crate) struct Handles {
    pub(crate) pushes: mpsc::Sender<Push>,
    pub(crate) parcels: mpsc::Sender<Parcel>,
    pub(crate) orders: mpsc::Sender<Order>,
    /// The next number of those that are delivered, of all streams of this start.
    pub(crate) numbers: Arc<AtomicU64>,
}

/// What a gateway is to do.
#[derive(Debug)]
pub(crate) enum Order {
    Kick(Kick),
    Sanction(Sanction),
}

/// Links to be closed.
#[derive(Debug)]
pub(crate) struct Kick {
    pub(crate) target: Target,
    code: CloseCode,
    do_not_reconnect: bool,
    revoke: Revoke,
}

/// What is worth nothing any more.
#[derive(Debug)]
enum Revoke {
    Nothing,
    AllLogins,
    Login(Bytes),
}

impl Kick {
    /// A room has no links of its own, several users are kicked one by one, and [`Gateway::kick`] lets none through.
    pub(crate) fn frame(&self) -> stream::Kick<'_> {
        let (code, do_not_reconnect) = (self.code.number(), self.do_not_reconnect);
        let mut frame = stream::Kick { code, do_not_reconnect, ..stream::Kick::default() };
        match &self.revoke {
            Revoke::Nothing => {}
            Revoke::AllLogins => frame.revoke = true,
            Revoke::Login(login) => frame.login = login,
        }
        match &self.target {
            Target::Link(link) => frame.link = *link,
            Target::User(user) => frame.user = user,
            Target::Device(user, device) => (frame.user, frame.device) = (user, device),
            Target::Room(_) | Target::Users(_) => {}
        }
        frame
    }
}

impl Gateway {
    pub(crate) fn new(id: u64, hello: &proto::Hello, key: Option<PublicKey>, handles: Handles) -> Self {
        let frame_len_max = match hello.frame_len_max as usize {
            0 => protocol::limits::STREAM_FRAME_LEN_DEFAULT,
            len => len.clamp(STREAM_FRAME_LEN_MIN, FRAME_LEN_CEILING),
        };
        Self(Arc::new(Inner { id, hello: hello.clone(), key, frame_len_max, handles }))
    }

    /// Names the stream within this process; never used again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The gateway's name, as its operator has configured it; at most 64 bytes, and may be empty. Several may have the same.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.hello.gateway
    }

    /// New at each start of the gateway, 16 bytes; the same for all of its streams.
    #[must_use]
    pub fn boot_id(&self) -> &[u8] {
        &self.0.hello.boot_id
    }

    /// The gateway's worker at the other end.
    #[must_use]
    pub fn worker(&self) -> u32 {
        self.0.hello.worker
    }

    /// The worker at the other end, in this start of the gateway.
    pub(crate) fn worker_id(&self) -> WorkerId {
        // Its length was looked at when the stream opened.
        WorkerId { boot: self.boot_id().try_into().unwrap_or_default(), worker: self.worker() }
    }

    /// The same in whatever start of it.
    pub(crate) fn place(&self) -> Place {
        Place { gateway: self.name().to_owned(), key: self.0.key, worker: self.worker() }
    }

    /// The gateway's key; `None` on a clear stream.
    #[must_use]
    pub fn key(&self) -> Option<&PublicKey> {
        self.0.key.as_ref()
    }

    /// Sends a push; waits while too many others wait for credit.
    ///
    /// # Errors
    /// [`PushError`], but never [`PushError::Full`].
    pub async fn push(&self, push: Push) -> Result<(), PushError> {
        self.check(&push)?;
        self.0.handles.pushes.send(push).await.map_err(|_| PushError::Closed)
    }

    /// Sends a push if there is room for it; for handlers that must not wait.
    ///
    /// # Errors
    /// [`PushError`]; nothing has happened then.
    pub fn try_push(&self, push: Push) -> Result<(), PushError> {
        self.check(&push)?;
        self.0.handles.pushes.try_send(push).map_err(full_or_closed)
    }

    /// How many pushes may be open that are [delivered](Gateway::deliver), on this stream, each of the users of one counting; 0: the
    /// gateway delivers none.
    #[must_use]
    pub fn report_slots(&self) -> u32 {
        self.0.hello.report_slots
    }

    /// Delivers a push at least once: the gateway repeats it until the application on each device has taken it, says what became
    /// of it, and that comes to one [`Outcome`](crate::Outcome) by the rule. Waits while as many others wait as may; behind that it takes
    /// its turn among the open ones, see [`Gateway::report_slots`]. It may overtake other pushes and be overtaken by them.
    ///
    /// The outcome is given exactly once, and stands: also when the stream breaks (the gateway has 5 s to come back), when
    /// the gateway starts anew, and when this server ends. *Unknown* and *undelivered* never mean that nobody has seen it:
    /// store the message under the same [`Push::id`], by which clients know what they have.
    ///
    /// # Errors
    /// [`PushError::NotServed`] from a gateway that delivers none; [`PushError::Invalid`] also for a room, for more users than the
    /// gateway has slots, and for a push with a number of its own; else as of [`Gateway::push`]. Nothing has happened then.
    pub async fn deliver(&self, push: Push, rule: Rule) -> Result<Delivery, PushError> {
        let (parcel, delivery) = self.parcel(push, rule)?;
        self.0.handles.parcels.send(parcel).await.map_err(|_| PushError::Closed)?;
        Ok(delivery)
    }

    /// The same if there is room for it; for handlers that must not wait.
    ///
    /// # Errors
    /// As of [`Gateway::deliver`], and [`PushError::Full`].
    pub fn try_deliver(&self, push: Push, rule: Rule) -> Result<Delivery, PushError> {
        let (parcel, delivery) = self.parcel(push, rule)?;
        self.0.handles.parcels.try_send(parcel).map_err(full_or_closed)?;
        Ok(delivery)
    }

    fn parcel(&self, push: Push, rule: Rule) -> Result<(Parcel, Delivery), PushError> {
        if self.report_slots() == 0 {
            return Err(PushError::NotServed);
        }
        let slots = self.report_slots() as usize;
        if push.number != 0 || matches!(push.target, Target::Room(_)) || push.users().len() > slots {
            return Err(PushError::Invalid);
        }
        self.check(&push)?;
        let number = self.0.handles.numbers.fetch_add(1, Ordering::Relaxed);
        Ok(Parcel::new(push, number, rule))
    }

    /// Closes a link, or the links of a user or of one device.
    ///
    /// A kick needs no credit and overtakes the pushes that wait for it: who is banned goes now. Those of them that
    /// are for its target find no link any more. A push that was taken before and need not wait keeps its place
    /// before the kick. Waits only while the stream has 64 kicks to write. One that was taken and had not left this
    /// process when the stream ended is told of as [`Event::KickUnknown`](crate::Event::KickUnknown).
    ///
    /// # Errors
    /// [`PushError::Closed`], or [`PushError::Invalid`] for a room and for several users.
    pub async fn kick(
        &self,
        target: Target,
        code: CloseCode,
        do_not_reconnect: bool,
    ) -> Result<(), PushError> {
        self.send_kick(Kick { target, code, do_not_reconnect, revoke: Revoke::Nothing }).await
    }

    /// Closes all links of a user like [`Gateway::kick`], and makes worthless all tickets of its logins so far: whoever
    /// comes back needs a token.
    ///
    /// # Errors
    /// [`PushError::Closed`], or [`PushError::Invalid`] for a user that is none.
    pub async fn revoke(&self, user: impl Into<Bytes>, code: CloseCode) -> Result<(), PushError> {
        let target = Target::User(user.into());
        self.send_kick(Kick { target, code, do_not_reconnect: false, revoke: Revoke::AllLogins }).await
    }

    /// Closes the links of one login of a user, on all its devices, and makes it and its tickets worthless: its token is refused
    /// from now on, too. `login` is its name of 1 to 256 bytes: that of the verdict that let it in, or the token's `jti`. Other
    /// logins of the user go on. The gateway remembers it for as long as a ticket or a token can be good; a service that gives
    /// verdicts refuses the token itself, too, and names no other login like this one.
    ///
    /// # Errors
    /// [`PushError::Closed`], or [`PushError::Invalid`] for a user that is none, and a name of another length.
    pub async fn revoke_login(
        &self,
        user: impl Into<Bytes>,
        login: impl Into<Bytes>,
        code: CloseCode,
    ) -> Result<(), PushError> {
        let (target, login) = (Target::User(user.into()), login.into());
        if !(1..=LOGIN_LEN_MAX).contains(&login.len()) {
            return Err(PushError::Invalid);
        }
        self.send_kick(Kick { target, code, do_not_reconnect: false, revoke: Revoke::Login(login) }).await
    }

    async fn send_kick(&self, kick: Kick) -> Result<(), PushError> {
        if !kick.target.is_valid() || !kick.target.is_kicked() {
            return Err(PushError::Invalid);
        }
        self.order(Order::Kick(kick)).await
    }

    /// Keeps a user or a block of addresses out, until then if an end is given, and ends the links that are in. `reason`,
    /// of at most 128 bytes, is for the gateway's operators. It goes like a [kick](Gateway::kick); one that had not left
    /// this process when the stream ended is told of as [`Event::SanctionUnknown`](crate::Event::SanctionUnknown).
    ///
    /// The gateway must name `"ban"` among the capabilities of this endpoint: one that does not ends the stream. The same
    /// holds for [`Gateway::unban`] and [`Gateway::throttle`].
    ///
    /// # Errors
    /// [`PushError::Closed`], or [`PushError::Invalid`] where a length is not allowed.
    pub async fn ban(
        &self,
        whom: Whom,
        until: Option<UnixMillis>,
        reason: impl Into<String>,
    ) -> Result<(), PushError> {
        self.sanction(Sanction { whom, measure: Measure::Ban { until, reason: reason.into() } }).await
    }

    /// Ends the ban of exactly this user or block, unless an operator has set it.
    ///
    /// # Errors
    /// As of [`Gateway::ban`].
    pub async fn unban(&self, whom: Whom) -> Result<(), PushError> {
        self.sanction(Sanction { whom, measure: Measure::Unban }).await
    }

    /// Leaves a user, or the links of a block of addresses, so many hundredths, 1 to 100, of the rates that hold otherwise,
    /// until then if an end is given; 100 ends it. Where several hold for a link, the fewest hundredths count.
    ///
    /// # Errors
    /// As of [`Gateway::ban`]; [`PushError::Invalid`] for other hundredths, too.
    pub async fn throttle(
        &self,
        whom: Whom,
        percent: u8,
        until: Option<UnixMillis>,
    ) -> Result<(), PushError> {
        self.sanction(Sanction { whom, measure: Measure::Throttle { percent, until } }).await
    }

    async fn sanction(&self, sanction: Sanction) -> Result<(), PushError> {
        if sanction.is_valid() {
            self.order(Order::Sanction(sanction)).await
        } else {
            Err(PushError::Invalid)
        }
    }

    async fn order(&self, order: Order) -> Result<(), PushError> {
        self.0.handles.orders.send(order).await.map_err(|_| PushError::Closed)
    }

    fn check(&self, push: &Push) -> Result<(), PushError> {
        if !push.is_valid() || push.number >= DELIVERED_FROM {
            return Err(PushError::Invalid);
        }
        // Generous to the other fields, so that what is taken here never fails later.
        let fields = CREDIT_OVERHEAD as usize + 4 * ID_LEN_MAX;
        if push.payload.len() + fields > self.0.frame_len_max { Err(PushError::TooLarge) } else { Ok(()) }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gateway({} worker {} stream {})", self.name(), self.worker(), self.id())
    }
}

fn full_or_closed<T>(error: TrySendError<T>) -> PushError {
    match error {
        TrySendError::Full(_) => PushError::Full,
        TrySendError::Closed(_) => PushError::Closed,
    }
}

/// The live streams of a server.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Vec<Gateway>>);

impl Registry {
    pub(crate) fn all(&self) -> Vec<Gateway> {
        self.lock().clone()
    }

    /// One more, unless there are as many as there may be.
    pub(crate) fn insert(&self, gateway: &Gateway, most: usize) -> bool {
        let mut gateways = self.lock();
        let has_room = gateways.len() < most;
        if has_room {
            gateways.push(gateway.clone());
        }
        has_room
    }

    pub(crate) fn remove(&self, id: u64) {
        self.lock().retain(|gateway| gateway.id() != id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Gateway>> {
        // A list of handles is never half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Handles {
    /// With room for so many of each, and what comes out of them.
    pub(crate) fn open(
        room: usize,
    ) -> (Self, mpsc::Receiver<Push>, mpsc::Receiver<Parcel>, mpsc::Receiver<Order>) {
        let ((pushes, pushed), (parcels, delivered)) = (mpsc::channel(room), mpsc::channel(room));
        let ((orders, ordered), numbers) = (mpsc::channel(room), Arc::new(DELIVERED_FROM.into()));
        (Self { pushes, parcels, orders, numbers }, pushed, delivered, ordered)
    }
}

#[cfg(test)]
mod tests {
    use protocol::wire::stream::StreamRequest;

    use super::*;
    use crate::reply::{Answer, Reply};
    use crate::service::Request;

    /// The protocol's ceiling holds, whatever a gateway says: what is taken here must not be dropped later.
    #[test]
    fn a_payload_over_the_ceiling_is_not_taken() {
        let (handles, _pushes, _parcels, _orders) = Handles::open(1);
        let hello = proto::Hello { frame_len_max: 2 << 20, ..proto::Hello::default() };
        let gateway = Gateway::new(1, &hello, None, handles);
        let push = |len| gateway.try_push(Push::new(Target::Link(1), vec![0; len]));
        assert_eq!(push(FRAME_LEN_CEILING), Err(PushError::TooLarge));
        assert_eq!(push(FRAME_LEN_CEILING - 1024), Ok(()));
    }

    #[test]
    fn what_is_said_is_not_shown() {
        let said = || Bytes::from_static(b"CANARY");
        let (handles, _pushes, _parcels, _orders) = Handles::open(1);
        let gateway = Gateway::new(1, &proto::Hello::default(), None, handles);
        let request = StreamRequest { payload: b"CANARY", ..StreamRequest::default() };
        let mut answer = Answer::default();
        answer.payload().extend_from_slice(&said());
        let push = Push::new(Target::Link(1), said());
        let request = Request::new(&request, &gateway);
        let shown = format!("{push:?} {request:?} {:?} {answer:?}", Reply::ok(said()));
        assert!(!shown.contains("CANARY") && !shown.contains(&format!("{:?}", &said()[..])), "{shown}");
        assert_eq!(shown.matches("*** 6 B").count(), 4, "{shown}");
    }

    #[tokio::test]
    async fn a_revocation_names_all_logins_of_a_user_or_one_that_can_be_a_name() {
        let (handles, _pushes, _parcels, mut taken) = Handles::open(4);
        let gateway = Gateway::new(1, &proto::Hello::default(), None, handles);
        let code = CloseCode::Kicked;
        for (len, expected) in [(0, Err(PushError::Invalid)), (257, Err(PushError::Invalid)), (256, Ok(()))] {
            assert_eq!(gateway.revoke_login("eve", vec![b'l'; len], code).await, expected, "{len}");
        }
        assert_eq!(gateway.revoke_login("", "login", code).await, Err(PushError::Invalid));
        assert_eq!(gateway.revoke("eve", code).await, Ok(()));
        let mut next = || match taken.try_recv() {
            Ok(Order::Kick(kick)) => {
                let frame = kick.frame();
                (frame.user.to_vec(), frame.login.len(), frame.revoke)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!([next(), next()], [(b"eve".to_vec(), 256, false), (b"eve".to_vec(), 0, true)]);
    }
}
