//! Who is linked, and through which gateways: what every service needs that pushes to users.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::CloseCode;

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
pub struct Directory {
    links_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the stream: one that ends takes its users with it, and neither its end nor the growth of a table takes long enough to
    /// let the others wait.
    streams: HashMap<u64, Stream>,
    len: usize,
    left_out: u64,
}

struct Stream {
    gateway: Gateway,
    links: HashMap<u64, Held>,
    /// Links of each user.
    users: HashMap<Bytes, Vec<u64>>,
    is_complete: bool,
}

/// What is kept of a link.
struct Held {
    user: Bytes,
    device: Bytes,
    epoch: u64,
}

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
}

impl Directory {
    /// An empty one, for so many links at most. Each takes about 300 bytes.
    #[must_use]
    pub fn new(links_max: usize) -> Self {
        Self { links_max, state: Mutex::default() }
    }

    /// Notes an event of a stream. For the ear of a server: [`Builder::events`](crate::Builder::events).
    pub fn hear(&self, event: &Event<'_>, gateway: &Gateway) {
        let mut state = self.lock();
        let State { streams, len, left_out } = &mut *state;
        match event {
            Event::Opened => {
                let (links, users) = (HashMap::new(), HashMap::new());
                let stream = Stream { gateway: gateway.clone(), links, users, is_complete: false };
                streams.insert(gateway.id(), stream);
            }
            Event::LinkOpened(opened) => {
                let Some(stream) = streams.get_mut(&gateway.id()) else { return };
                let Entry::Vacant(place) = stream.links.entry(opened.link) else { return };
                if *len >= self.links_max {
                    *left_out += 1;
                    return;
                }
                let user = Bytes::copy_from_slice(opened.user);
                let device = Bytes::copy_from_slice(opened.device);
                place.insert(Held { user: user.clone(), device, epoch: opened.link_epoch });
                stream.users.entry(user).or_default().push(opened.link);
                *len += 1;
            }
            Event::LinkClosed(closed) => {
                let stream = streams.get_mut(&gateway.id());
                *len -= usize::from(stream.is_some_and(|stream| stream.remove(closed.link)));
            }
            Event::Announced => {
                if let Some(stream) = streams.get_mut(&gateway.id()) {
                    stream.is_complete = true;
                }
            }
            Event::Closed(_) => {
                let ended = streams.remove(&gateway.id());
                *len -= ended.as_ref().map_or(0, |stream| stream.links.len());
                drop(state);
                // This takes a while.
                drop(ended);
            }
            Event::LinkDetached(_) | Event::Report(_) | Event::KickUnknown(_) | Event::SanctionUnknown(_) => {
            }
        }
    }

    /// The links of a user, the latest first.
    #[must_use]
    pub fn links(&self, user: &[u8]) -> Vec<Linked> {
        let mut links: Vec<Linked> =
            self.lock().streams.values().flat_map(|stream| stream.links_of(user)).collect();
        links.sort_by_key(|linked| std::cmp::Reverse(linked.epoch));
        links
    }

    /// Whether a user has a link.
    #[must_use]
    pub fn is_linked(&self, user: &[u8]) -> bool {
        self.lock().streams.values().any(|stream| stream.users.contains_key(user))
    }

    /// How many links there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many links were left out since there were as many as there may be.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    /// Whether every stream has told of all links that were there before it. Until then a user may be linked who is not here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lock().streams.values().all(|stream| stream.is_complete)
    }

    /// Sends a push to a user or a device of one, once to each gateway where it has a link; to how many that was. None means
    /// that it is not linked.
    ///
    /// # Errors
    /// [`PushError`] when no gateway took it, though there was one; [`PushError::Invalid`] for a target of another kind. A push
    /// with a number is `Invalid`, too: numbers are those of a stream.
    pub fn try_push(&self, push: &Push) -> Result<usize, PushError> {
        let mut handed = Handed::default();
        for gateway in self.gateways_of(push)? {
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
        for gateway in self.gateways_of(push)? {
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
        for gateway in self.gateways_of(push)? {
            let delivery = gateway.deliver(push.clone(), rule).await;
            handed.note(delivery.map(|delivery| deliveries.push(delivery)));
        }
        handed.result().map(|_| deliveries)
    }

    /// Closes the links of a user, or those of a device of it, at each gateway where it has one; at how many that was.
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
        for gateway in self.gateways(target)? {
            handed.note(gateway.kick(target.clone(), code, do_not_reconnect).await);
        }
        handed.result()
    }

    fn gateways_of(&self, push: &Push) -> Result<Vec<Gateway>, PushError> {
        if push.number == 0 { self.gateways(&push.target) } else { Err(PushError::Invalid) }
    }

    /// A stream of each gateway where the target has a link: a push by user reaches all it has there.
    fn gateways(&self, target: &Target) -> Result<Vec<Gateway>, PushError> {
        let (user, device) = match target {
            Target::User(user) => (user, None),
            Target::Device(user, device) => (user, Some(device)),
            Target::Link(_) | Target::Room(_) => return Err(PushError::Invalid),
        };
        let state = self.lock();
        let mut found: Vec<Gateway> = Vec::new();
        for stream in state.streams.values().filter(|stream| stream.has(user, device)) {
            if found.iter().all(|other| other.boot_id() != stream.gateway.boot_id()) {
                found.push(stream.gateway.clone());
            }
        }
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Directory").field("streams", &state.streams.len()).field("links", &state.len).finish()
    }
}

impl Stream {
    /// Whether the link was there.
    fn remove(&mut self, link: u64) -> bool {
        let Some(Held { user, .. }) = self.links.remove(&link) else { return false };
        if let Some(links) = self.users.get_mut(&user) {
            links.retain(|other| *other != link);
            if links.is_empty() {
                self.users.remove(&user);
            }
        }
        true
    }

    fn held_of(&self, user: &[u8]) -> impl Iterator<Item = (u64, &Held)> {
        let links = self.users.get(user).map_or(&[][..], Vec::as_slice);
        links.iter().filter_map(|link| Some((*link, self.links.get(link)?)))
    }

    fn has(&self, user: &[u8], device: Option<&Bytes>) -> bool {
        self.held_of(user).any(|(_, held)| device.is_none_or(|device| held.device == device))
    }

    fn links_of(&self, user: &[u8]) -> impl Iterator<Item = Linked> {
        self.held_of(user).map(|(link, held)| Linked {
            link,
            device: held.device.clone(),
            epoch: held.epoch,
            gateway: self.gateway.clone(),
        })
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

#[cfg(test)]
mod tests {
    use protocol::wire::proto::stream::Hello;
    use protocol::wire::stream::{LinkClosed, LinkOpened};
    use tokio::sync::mpsc;

    use super::*;
    use crate::gateway::{Handles, Order};
    use crate::push::Parcel;
    use crate::service::Ended;

    /// A stream of a gateway, and what comes out of it.
    struct Peer {
        handle: Gateway,
        pushes: mpsc::Receiver<Push>,
        parcels: mpsc::Receiver<Parcel>,
        orders: mpsc::Receiver<Order>,
    }

    impl Peer {
        fn new(id: u64, boot: u8) -> Self {
            let (handles, pushes, parcels, orders) = Handles::open(2);
            let hello = Hello { boot_id: vec![boot; 16].into(), report_slots: 9, ..Hello::default() };
            let handle = Gateway::new(id, &hello, None, handles);
            Self { handle, pushes, parcels, orders }
        }

        fn opens(&self, directory: &Directory, link: u64, user: &str, device: &str) {
            let (user, device) = (user.as_bytes(), device.as_bytes());
            let opened = LinkOpened { link, user, device, link_epoch: 100 + link, ..LinkOpened::default() };
            directory.hear(&Event::LinkOpened(opened), &self.handle);
        }

        fn closes(&self, directory: &Directory, link: u64, user: &str) {
            let closed = LinkClosed { link, user: user.as_bytes(), ..LinkClosed::default() };
            directory.hear(&Event::LinkClosed(closed), &self.handle);
        }

        fn pushed(&mut self) -> usize {
            std::iter::from_fn(|| self.pushes.try_recv().ok()).count()
        }
    }

    fn user(name: &'static str) -> Target {
        Target::User(Bytes::from_static(name.as_bytes()))
    }

    fn links(directory: &Directory, user: &str) -> Vec<u64> {
        directory.links(user.as_bytes()).iter().map(|linked| linked.link).collect()
    }

    /// Two workers of one gateway, and another gateway.
    fn three(directory: &Directory) -> [Peer; 3] {
        let peers = [(1, 7), (2, 7), (3, 8)].map(|(id, boot)| Peer::new(id, boot));
        for peer in &peers {
            directory.hear(&Event::Opened, &peer.handle);
        }
        peers
    }

    #[test]
    fn a_user_is_pushed_to_once_at_each_gateway_where_it_has_a_link() {
        let directory = Directory::new(10);
        let mut peers = three(&directory);
        assert_eq!(directory.try_push(&Push::new(user("ann"), "hi")), Ok(0), "not linked");
        for (peer, link, device) in [(0, 1, "phone"), (1, 2, "desk"), (2, 3, "watch")] {
            peers[peer].opens(&directory, link, "ann", device);
        }
        peers[2].opens(&directory, 4, "bob", "phone");
        assert_eq!((links(&directory, "ann"), links(&directory, "bob")), (vec![3, 2, 1], vec![4]));
        assert_eq!(directory.try_push(&Push::new(user("ann"), "hi")), Ok(2));
        let pushed = peers.each_mut().map(Peer::pushed);
        assert_eq!((pushed[0] + pushed[1], pushed[2]), (1, 1));
        let watch = Target::Device(Bytes::from_static(b"ann"), Bytes::from_static(b"watch"));
        assert_eq!(directory.try_push(&Push::new(watch, "hi")), Ok(1));
        assert_eq!(peers.each_mut().map(Peer::pushed), [0, 0, 1]);
    }

    #[test]
    fn what_closes_is_gone_and_a_stream_takes_its_links_with_it() {
        let directory = Directory::new(10);
        let peers = three(&directory);
        for (peer, link) in [(0, 1), (1, 2), (2, 3)] {
            peers[peer].opens(&directory, link, "ann", "phone");
        }
        peers[0].opens(&directory, 1, "ann", "phone");
        assert_eq!(directory.len(), 3, "one is told of again");
        peers[1].closes(&directory, 2, "ann");
        peers[1].closes(&directory, 9, "ann");
        assert_eq!((links(&directory, "ann"), directory.len()), (vec![3, 1], 2));
        directory.hear(&Event::Closed(Ended::Broken), &peers[2].handle);
        assert_eq!((links(&directory, "ann"), directory.len()), (vec![1], 1));
        peers[0].closes(&directory, 1, "ann");
        assert!(!directory.is_linked(b"ann") && directory.is_empty());
        peers[2].opens(&directory, 4, "ann", "phone");
        assert!(directory.is_empty(), "its stream is over");
    }

    #[test]
    fn it_is_complete_when_each_stream_has_told_of_all() {
        let directory = Directory::new(10);
        assert!(directory.is_complete(), "nobody can be missing");
        let peers = three(&directory);
        for peer in &peers {
            assert!(!directory.is_complete());
            directory.hear(&Event::Announced, &peer.handle);
        }
        assert!(directory.is_complete());
    }

    #[test]
    fn no_more_links_are_kept_than_there_may_be() {
        let directory = Directory::new(2);
        let peers = three(&directory);
        for link in 1..=4 {
            peers[0].opens(&directory, link, "ann", "phone");
        }
        assert_eq!((directory.len(), directory.left_out()), (2, 2));
        peers[0].closes(&directory, 4, "ann");
        peers[0].closes(&directory, 1, "ann");
        assert_eq!(links(&directory, "ann"), [2]);
        peers[0].opens(&directory, 5, "ann", "phone");
        assert_eq!((links(&directory, "ann"), directory.left_out()), (vec![5, 2], 2));
    }

    #[test]
    fn an_error_is_told_only_if_no_gateway_took_it() {
        let directory = Directory::new(10);
        let mut peers = three(&directory);
        peers[0].opens(&directory, 1, "ann", "phone");
        peers[2].opens(&directory, 3, "ann", "desk");
        let push = Push::new(user("ann"), "hi");
        assert_eq!([(); 2].map(|()| directory.try_push(&push)), [Ok(2), Ok(2)]);
        assert_eq!(directory.try_push(&push), Err(PushError::Full), "both are full");
        assert_eq!(peers[2].pushed(), 2);
        assert_eq!(directory.try_push(&push), Ok(1), "one has room again");
        peers[2].pushes.close();
        assert_eq!(directory.try_push(&push), Err(PushError::Full));
        peers[0].pushes.close();
        assert_eq!(directory.try_push(&push), Ok(0), "both are over, though that was not told yet");
        let numbered = Push { number: 1, ..push };
        for wrong in [numbered, Push::new(Target::Link(1), "hi"), Push::new(Target::Room("r".into()), "hi")] {
            assert_eq!(directory.try_push(&wrong), Err(PushError::Invalid), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_push_is_delivered_through_each_gateway_where_the_user_is() {
        let directory = Directory::new(10);
        let mut peers = three(&directory);
        let deliver = async |name| {
            let deliveries = directory.deliver(&Push::new(user(name), "hi"), Rule::Any).await;
            deliveries.map(|all| all.iter().map(Delivery::number).collect::<Vec<_>>())
        };
        peers[1].opens(&directory, 1, "ann", "phone");
        peers[2].opens(&directory, 3, "ann", "desk");
        assert_eq!(deliver("bob").await, Ok(vec![]), "not linked");
        let numbers = deliver("ann").await.unwrap();
        let mut sent = peers.each_mut().map(|peer| peer.parcels.try_recv().ok());
        assert!(sent[0].is_none() && numbers.len() == 2);
        assert_eq!(sent[2].take().map(|parcel| parcel.push.target), Some(user("ann")));
        peers[1].parcels.close();
        assert_eq!(deliver("ann").await.map(|numbers| numbers.len()), Ok(1), "one is over");
        peers[2].parcels.close();
        assert_eq!(deliver("ann").await, Ok(vec![]));
        let room = Push::new(Target::Room("lobby".into()), "hi");
        assert_eq!(directory.deliver(&room, Rule::Any).await.err(), Some(PushError::Invalid));
    }

    #[tokio::test]
    async fn a_kick_goes_to_each_gateway_where_the_user_is() {
        let directory = Directory::new(10);
        let mut peers = three(&directory);
        peers[1].opens(&directory, 1, "ann", "phone");
        peers[2].opens(&directory, 3, "ann", "desk");
        assert_eq!(directory.kick(&user("bob"), CloseCode::Kicked, false).await, Ok(0));
        assert_eq!(directory.kick(&user("ann"), CloseCode::Kicked, true).await, Ok(2));
        for peer in &mut peers[1..] {
            let Ok(Order::Kick(kick)) = peer.orders.try_recv() else { panic!("a kick") };
            assert_eq!((kick.target, peer.orders.is_empty()), (user("ann"), true));
        }
        assert!(peers[0].orders.is_empty());
        assert_eq!(directory.kick(&Target::Link(1), CloseCode::Kicked, false).await, Err(PushError::Invalid));
    }
}
