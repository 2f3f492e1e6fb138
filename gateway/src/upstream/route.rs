//! Which stream takes a request.
//!
//! **By hash** (of the user, or of the request's key): every endpoint of the route gets a weight from the hash
//! and its own name, and the heaviest one that is ready takes the request. When an endpoint goes away only its own
//! share moves, evenly onto the others, and moves back when it returns. With the handful of endpoints of a
//! route this costs a multiplication or two for each, and there is nothing to build or to keep.
//!
//! **Bounded load**: an endpoint with far more in flight than its share is passed over, so that a few busy users
//! cannot drown it. A request with an ordering key is never passed on like that: two streams keep no order.
//!
//! **Least in flight**: for routes whose backends keep no state of their users.
//!
//! All of it is a function of its arguments: two gateways with the same [`HashKey`] and the same names send a user
//! to the same backend.

use std::time::Duration;

use protocol::Refusal;

use super::{RouteIndex, StreamIndex};
use crate::collections::HashKey;
use crate::collections::hash::mix;

/// A named way to a group of backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The name requests carry.
    pub name: String,
    /// The streams of its endpoints.
    pub streams: Vec<StreamIndex>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// Whether its backends are told of links that open and close.
    pub presence: bool,
    /// How long a response may take.
    pub deadline: Duration,
}

/// How a route chooses among its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// By hash of the user.
    User,
    /// By hash of the request's key, or of the user if it has none.
    Key,
    /// The one with the fewest requests in flight.
    Least,
}

/// What a choice depends on besides the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Hash of the user.
    pub user: u64,
    /// Hash of the request's ordering key, if it has one.
    pub key: Option<u64>,
    /// The stream that holds an earlier request of the same link and key, or for which one waits.
    pub held_by: Option<StreamIndex>,
}

/// All routes of a worker and which endpoints are ready.
#[derive(Debug)]
pub struct Routes {
    key: HashKey,
    routes: Vec<Route>,
    /// Sorted by name.
    by_name: Vec<RouteIndex>,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Copy, Debug)]
struct Endpoint {
    /// Hash of its name.
    seed: u64,
    ready: bool,
}

impl Routes {
    /// Routes over the endpoints with these names, none of which is ready yet. `key` should be the same on all
    /// gateways that share backends.
    ///
    /// # Panics
    /// When a route names a stream without an endpoint, which the config rules out.
    #[must_use]
    pub fn new<'n>(key: &HashKey, endpoints: impl Iterator<Item = &'n str>, routes: Vec<Route>) -> Self {
        let endpoints: Vec<_> =
            endpoints.map(|name| Endpoint { seed: key.hash(name.as_bytes()), ready: false }).collect();
        let known = |stream: &StreamIndex| usize::from(stream.0) < endpoints.len();
        assert!(routes.iter().all(|route| route.streams.iter().all(known)), "a route's endpoints exist");
        let mut by_name: Vec<_> = (0..routes.len() as u16).map(RouteIndex).collect();
        by_name.sort_by_key(|index| &routes[usize::from(index.0)].name);
        Self { key: *key, routes, by_name, endpoints }
    }

    /// The hash of a user or of an ordering key by which endpoints are chosen.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.key.hash(bytes)
    }

    /// The route with this name.
    ///
    /// # Errors
    /// [`Refusal::NoRoute`] when there is none.
    pub fn find(&self, name: &[u8]) -> Result<RouteIndex, Refusal> {
        self.by_name
            .binary_search_by_key(&name, |&index| self.route(index).name.as_bytes())
            .map(|place| self.by_name[place])
            .map_err(|_| Refusal::NoRoute)
    }

    /// A route by its place.
    ///
    /// # Panics
    /// When the index is not one of this table.
    #[must_use]
    pub fn route(&self, index: RouteIndex) -> &Route {
        &self.routes[usize::from(index.0)]
    }

    /// Notes whether an endpoint takes requests: its stream is up, and it is neither ejected nor draining.
    ///
    /// # Panics
    /// When the index is not one of this table.
    pub fn set_ready(&mut self, stream: StreamIndex, ready: bool) {
        self.endpoints[usize::from(stream.0)].ready = ready;
    }

    /// Whether an endpoint takes requests.
    #[must_use]
    pub fn is_ready(&self, stream: StreamIndex) -> bool {
        self.endpoints.get(usize::from(stream.0)).is_some_and(|endpoint| endpoint.ready)
    }

    /// Whether some route would be without any endpoint if this one took no more requests.
    #[must_use]
    pub fn is_last_ready(&self, stream: StreamIndex) -> bool {
        self.routes
            .iter()
            .filter(|route| route.streams.contains(&stream))
            .any(|route| self.ready(route).all(|other| other == stream))
    }

    /// The stream that is to take a request. `load` is the number of requests in flight on a stream.
    ///
    /// # Errors
    /// [`Refusal::NoBackend`] when no endpoint of the route is ready.
    pub fn choose(
        &self,
        route: RouteIndex,
        affinity: Affinity,
        load: impl Fn(StreamIndex) -> u32,
    ) -> Result<StreamIndex, Refusal> {
        let route = self.route(route);
        let chosen = match (route.balance, affinity.key) {
            (Balance::Least, _) => self.least(route, affinity.user, load),
            (Balance::User | Balance::Key, Some(key)) => {
                let held_by = affinity.held_by.filter(|&stream| self.is_ready(stream));
                let hash = if route.balance == Balance::Key { key } else { affinity.user };
                held_by.or_else(|| self.heaviest(self.ready(route), hash))
            }
            (Balance::User | Balance::Key, None) => self.bounded(route, affinity.user, load),
        };
        chosen.ok_or(Refusal::NoBackend)
    }

    /// Who is told of a user's links: of each route that asks for it, the one endpoint the user's hash names.
    /// Routes whose endpoints are all away are left out, and an endpoint that serves several routes comes once
    /// for each.
    pub fn presence(&self, user: u64) -> impl Iterator<Item = StreamIndex> {
        let routes = self.routes.iter().filter(|route| route.presence);
        routes.filter_map(move |route| self.heaviest(self.ready(route), user))
    }

    fn ready(&self, route: &Route) -> impl Iterator<Item = StreamIndex> + Clone {
        route.streams.iter().copied().filter(|&stream| self.is_ready(stream))
    }

    fn weight(&self, stream: StreamIndex, hash: u64) -> u64 {
        mix(hash ^ self.endpoints[usize::from(stream.0)].seed)
    }

    fn heaviest(&self, among: impl Iterator<Item = StreamIndex>, hash: u64) -> Option<StreamIndex> {
        among.max_by_key(|&stream| self.weight(stream, hash))
    }

    fn bounded(&self, route: &Route, hash: u64, load: impl Fn(StreamIndex) -> u32) -> Option<StreamIndex> {
        let ready = self.ready(route);
        let (count, total) =
            ready.clone().fold((0, 0), |(count, total), stream| (count + 1, total + u64::from(load(stream))));
        let share = (total + 1) * LOAD_NUMERATOR / (LOAD_DENOMINATOR * u64::from(u32::max(count, 1)));
        let bound = share.max(LOAD_FREE);
        // At least one endpoint is at or below the average, so at least one is within the bound.
        let below = ready.clone().filter(|&stream| u64::from(load(stream)) <= bound);
        self.heaviest(below, hash)
    }

    fn least(&self, route: &Route, hash: u64, load: impl Fn(StreamIndex) -> u32) -> Option<StreamIndex> {
        // Equals are told apart by weight, or idle workers would all prefer the first endpoint.
        self.ready(route).min_by_key(|&stream| (load(stream), self.weight(stream, hash)))
    }
}

/// An endpoint may have 5/4 of the average in flight before it is passed over.
const LOAD_NUMERATOR: u64 = 5;
const LOAD_DENOMINATOR: u64 = 4;
/// An endpoint with no more in flight than this is never passed over: with little to do, a user's place matters
/// more than an even spread.
const LOAD_FREE: u64 = 32;

#[cfg(test)]
mod tests;
