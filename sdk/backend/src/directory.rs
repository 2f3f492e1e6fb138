//! Who is linked, and through which gateways: what every service needs that pushes to users.

mod links;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::{CloseCode, UnixMillis};

use self::links::{Held, Links};

use crate::gateway::Gateway;
use crate::outcome::Rule;
use crate::push::{Delivery, Push, PushError, Target};
use crate::service::Event;

/// The users of all gateways, kept from what their streams [tell](Directory::hear), on routes with presence.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use backend::{Directory, Push, Server, Target};
/// # use backend::protocol::Refusal;
/// # use std::time::Duration;
/// let directory = Arc::new(Directory::new(1_000_000));
/// let ear = Arc::clone(&directory);
/// let server = Server::builder()
///     .events(move |event, gateway| ear.hear(&event, gateway))
///     .route_now("wave", move |request, _, answer| {
///         let bob = Target::User(b"bob".as_slice().into());
///         match directory.try_push(&Push::new(bob, request.user.to_vec())) {
///             Ok(0) => answer.set_status(1),
///             Ok(_) => {}
///             Err(_) => answer.refuse(Refusal::Busy, Duration::from_millis(100)),
///         }
///     });
/// ```
///
/// A session that has lost its link stays here while it waits for another one, and goes on under that: it can be
/// [delivered](Directory::deliver) to, and has [`Linked::detached_until`]. Of a device's links at one gateway only the latest counts.
pub struct Directory(Mutex<Links>);

/// A link of a user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Linked {
    /// Names it at its gateway, see [`Target::Link`].
    pub link: u64,
    /// The device it is on.
    pub device: Bytes,
    /// Which of the user's links it is: the later, the larger, over all gateways as far as their clocks agree.
    pub epoch: u64,
    /// The stream that told of it.
    pub gateway: Gateway,
    /// The link is lost, and its session waits for another one: until then. Nothing can be sent to it that is not
    /// [delivered](Directory::deliver).
    pub detached_until: Option<UnixMillis>,
}

impl Directory {
    /// An empty one, for so many links at most. Each takes about 300 bytes.
    #[must_use]
    pub fn new(links_max: usize) -> Self {
        Self(Mutex::new(Links::new(links_max)))
    }

    /// Notes an event of a stream. For the ear of a server: [`Builder::events`](crate::Builder::events).
    pub fn hear(&self, event: &Event<'_>, gateway: &Gateway) {
        let left = self.lock().hear(event, gateway);
        // This may take a while, and nobody waits for it.
        drop(left);
    }

    /// The links of a user, the latest first, with those that are lost and whose session waits for another one.
    #[must_use]
    pub fn links(&self, user: &[u8]) -> Vec<Linked> {
        let linked = |link, held: &Held, gateway: &Gateway| Linked {
            link,
            device: held.device.clone(),
            epoch: held.epoch,
            gateway: gateway.clone(),
            detached_until: held.detached_until,
        };
        let mut links = Vec::new();
        self.lock().of_user(user, |link, held, gateway| links.push(linked(link, held, gateway)));
        links.sort_by_key(|linked| std::cmp::Reverse(linked.epoch));
        links
    }

    /// Whether a user has a link.
    #[must_use]
    pub fn is_linked(&self, user: &[u8]) -> bool {
        let mut is_linked = false;
        self.lock().of_user(user, |_, held, _| is_linked |= held.detached_until.is_none());
        is_linked
    }

    /// How many links there are, with those that are lost and whose session waits for another one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many links were left out since there were as many as there may be.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.lock().left_out()
    }

    /// Whether every stream has told of all links that were there before it. Until then a user may be linked who is not here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lock().is_complete()
    }

    /// Sends a push to a user or a device of one, once to each gateway where it has a link; to how many that was. None means
    /// that it is not linked.
    ///
    /// # Errors
    /// [`PushError`] when no gateway took it, though there was one; [`PushError::Invalid`] for a target of another kind. A push
    /// with a number is `Invalid`, too: numbers are those of a stream.
    pub fn try_push(&self, push: &Push) -> Result<usize, PushError> {
        let mut handed = Handed::default();
        for gateway in self.linked_gateways(push)? {
            handed.note(gateway.try_push(push.clone()));
        }
        handed.result()
    }

    /// The same, and waits while too many others wait for credit.
    ///
    /// # Errors
    /// As [`Directory::try_push`], but never [`PushError::Full`].
    pub async fn push(&self, push: &Push) -> Result<usize, PushError> {
        let mut handed = Handed::default();
        for gateway in self.linked_gateways(push)? {
            handed.note(gateway.push(push.clone()).await);
        }
        handed.result()
    }

    /// Delivers a push at least once to a user or a device of one, at each gateway where it has a link or a session that waits for
    /// one, as [`Gateway::deliver`] does; a handle for each of them. None means that it is not linked.
    ///
    /// # Errors
    /// [`PushError`] when no gateway took it, though there was one; [`PushError::Invalid`] for a target of another kind.
    pub async fn deliver(&self, push: &Push, rule: Rule) -> Result<Vec<Delivery>, PushError> {
        let (mut handed, mut deliveries) = (Handed::default(), Vec::new());
        if push.number != 0 {
            return Err(PushError::Invalid);
        }
        for gateway in self.gateways(&push.target, |_| true)? {
            let delivery = gateway.deliver(push.clone(), rule).await;
            handed.note(delivery.map(|delivery| deliveries.push(delivery)));
        }
        handed.result().map(|_| deliveries)
    }

    /// Closes the links of a user, or those of a device of it, at each gateway where it has one or a session that waits for one; at
    /// how many that was.
    ///
    /// # Errors
    /// [`PushError::Invalid`] for a target of another kind.
    pub async fn kick(
        &self,
        target: &Target,
        code: CloseCode,
        do_not_reconnect: bool,
    ) -> Result<usize, PushError> {
        let mut handed = Handed::default();
        for gateway in self.gateways(target, |_| true)? {
            handed.note(gateway.kick(target.clone(), code, do_not_reconnect).await);
        }
        handed.result()
    }

    /// Where a push goes that is sent at most once: a session without a link can take none.
    fn linked_gateways(&self, push: &Push) -> Result<Vec<Gateway>, PushError> {
        if push.number != 0 {
            return Err(PushError::Invalid);
        }
        self.gateways(&push.target, |held| held.detached_until.is_none())
    }

    /// A stream of each gateway where the target has such a link: a push by user reaches all it has there.
    fn gateways(&self, target: &Target, is_such: fn(&Held) -> bool) -> Result<Vec<Gateway>, PushError> {
        let (user, device) = match target {
            Target::User(user) => (user, None),
            Target::Device(user, device) => (user, Some(device)),
            Target::Link(_) | Target::Room(_) | Target::Users(_) => return Err(PushError::Invalid),
        };
        let mut found: Vec<Gateway> = Vec::new();
        self.lock().of_user(user, |_, held, gateway| {
            let is_wanted = is_such(held) && device.is_none_or(|device| held.device == device);
            if is_wanted && found.iter().all(|other| other.boot_id() != gateway.boot_id()) {
                found.push(gateway.clone());
            }
        });
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        // Nothing that is done under the lock panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("links", &self.len()).finish_non_exhaustive()
    }
}

/// What became of an order to several gateways.
#[derive(Default)]
struct Handed {
    taken: usize,
    failed: Option<PushError>,
}

impl Handed {
    fn note(&mut self, result: Result<(), PushError>) {
        match result {
            Ok(()) => self.taken += 1,
            // Its links are gone with it.
            Err(PushError::Closed) => {}
            Err(error) => self.failed = Some(error),
        }
    }

    /// An error only if nobody took it: whoever is refused sends again, and one device would get it twice.
    fn result(self) -> Result<usize, PushError> {
        match self.failed {
            Some(error) if self.taken == 0 => Err(error),
            _ => Ok(self.taken),
        }
    }
}
