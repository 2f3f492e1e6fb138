//! Backends that die and come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use driver::Endpoint;
use driver::sim::{Backlog, Buffers, Net, Rng};
use protocol::stream::{Access, Params};
use protocol::{Time, Undelivered};

use crate::Totals;
use crate::carried::Carried;
use crate::kept::Kept;
use crate::ledger::Ledger;
use crate::settings::access;
use crate::shape::Shape;

/// A backend that echoes, pushes to whom it has heard of, withholds credit and is killed now and then.
pub(crate) struct BackendActor {
    net: Net,
    place: Endpoint,
    pub(crate) desk: Desk,
    backlog: Option<Backlog>,
    streams: Vec<Carried>,
    away: bool,
}

/// What all streams of a backend share.
pub(crate) struct Desk {
    /// Its place among the backends.
    index: usize,
    pub(crate) routes: Vec<&'static str>,
    /// Which streams it accepts.
    pub(crate) access: Arc<Access>,
    pub(crate) ledger: Ledger,
    /// Streams so far.
    pub(crate) born: u64,
    /// Links of the latest requests and their users, for pushes. Some of them are gone.
    pub(crate) known: Vec<(u64, Vec<u8>)>,
    /// Which link has which number of its user.
    pub(crate) epochs: BTreeMap<(Vec<u8>, u64), u64>,
    /// No credit is given back before.
    pub(crate) stingy_until: Time,
    /// Nothing is answered before: requests run into their deadlines, and the gateway leaves this endpoint out.
    pub(crate) mute_until: Time,
    /// Bytes it reads within a second, where it has little time, and none for anything else.
    pub(crate) sips: Option<usize>,
    /// So long after a request its answer goes out.
    pub(crate) late: Duration,
    /// So long after it was asked about a token its verdict goes out.
    pub(crate) ponders: Duration,
    /// How long the tokens hold that it is asked about, where that has an end.
    pub(crate) proved_for: Option<Duration>,
    /// Logins that have got a name so far, where each gets one.
    pub(crate) logins: Option<u64>,
    /// Whether the storm is over.
    pub(crate) calm: bool,
    /// Whether it leaves as soon as it has said so.
    pub(crate) hasty: bool,
    /// Whether it writes nonsense now and then.
    pub(crate) mad: bool,
    /// What it is to do next.
    pub(crate) orders: VecDeque<Order>,
    pub(crate) greets: bool,
    pub(crate) ordered: bool,
    /// Classes of the devices it was told of.
    pub(crate) classes: BTreeSet<u32>,
    /// Whether users come from other addresses than those they have.
    pub(crate) roaming: bool,
    pub(crate) kicks: bool,
    /// Which users of pushes to several were reported as undelivered, and why.
    pub(crate) fates_of_users: BTreeSet<(Vec<u8>, Undelivered)>,
    /// Pushes that must be acknowledged.
    pub(crate) kept: Kept,
    /// Whether it pushes such.
    pub(crate) keeps: bool,
    lives: u64,
}

/// What a test wants a backend to do; an empty device means all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Push {
        user: &'static str,
        device: &'static str,
        text: &'static str,
    },
    /// A push to all devices of a user, or to one of its links if that is not 0, which is to be acknowledged; `ttl` zero is as
    /// long as gateways like.
    Keep {
        user: &'static str,
        link: u64,
        text: &'static str,
        ttl: Duration,
    },
    /// A part of a package for a user, of this class.
    Part {
        user: &'static str,
        class: u32,
        package: &'static str,
        /// Index, count and what becomes of a gap.
        at: (u32, u32, u32),
    },
    /// A push to one link, which is not kept.
    PushLink {
        link: u64,
        user: &'static str,
        text: &'static str,
    },
    /// A push of this class to several users.
    Group {
        users: &'static [&'static str],
        class: u32,
        text: &'static str,
    },
    Kick {
        user: &'static str,
        device: &'static str,
    },
    /// Ends all links of a user with a code that, from the gateway itself, leaves the session.
    Slow {
        user: &'static str,
    },
    /// Ends all links of a user, and what was proved of it so far is worth nothing any more.
    Revoke {
        user: &'static str,
    },
    /// Ends the links of one login of a user, which is worth nothing any more.
    RevokeLogin {
        user: &'static str,
        login: &'static str,
    },
    /// Keeps a user out until a time of day, or for good.
    Ban {
        user: &'static str,
        until_ms: u64,
        reason: &'static str,
    },
    /// Keeps a block of addresses out.
    BanBlock {
        prefix: [u8; 4],
        prefix_len: u32,
    },
    Unban {
        user: &'static str,
    },
    /// Leaves a user so many hundredths of its rates until a time of day, or for good.
    Throttle {
        user: &'static str,
        percent: u32,
        until_ms: u64,
    },
    /// The same of a block of addresses.
    ThrottleBlock {
        prefix: [u8; 4],
        prefix_len: u32,
        percent: u32,
        until_ms: u64,
    },
    /// Says that it will leave after so much time, and does.
    Leave {
        after: Duration,
    },
    /// Ends its streams and asks not to be dialled for a while.
    Close {
        wait: Duration,
    },
}

/// What a backend of a storm asks for and grants: as little as the rules allow.
pub(crate) const SMALL: Params = Params {
    frame_len_max: 4096,
    window: 2 * (4096 + 64),
    heartbeat: Duration::from_secs(2),
    handshake_deadline: Duration::from_secs(5),
    pending_bytes_max: 1 << 15,
};

impl BackendActor {
    pub(crate) fn new(net: &Net, place: Endpoint, index: usize, shape: &Shape, ledger: Ledger) -> Self {
        let desk = Desk {
            index,
            routes: shape.routes_of(index),
            access: access(shape),
            ledger,
            born: 0,
            known: Vec::new(),
            epochs: BTreeMap::new(),
            stingy_until: Time::ZERO,
            mute_until: Time::ZERO,
            sips: None,
            late: Duration::ZERO,
            ponders: Duration::ZERO,
            proved_for: None,
            logins: None,
            calm: false,
            hasty: false,
            mad: false,
            orders: VecDeque::new(),
            greets: false,
            ordered: false,
            classes: BTreeSet::new(),
            roaming: false,
            kicks: false,
            fates_of_users: BTreeSet::new(),
            kept: Kept::default(),
            keeps: shape.keeps,
            lives: 0,
        };
        let mut own = Self { net: net.clone(), place, desk, backlog: None, streams: Vec::new(), away: false };
        own.desk.start();
        own
    }

    /// Whether it has been told of the end of every link it was told of.
    pub(crate) fn is_alone(&self) -> bool {
        self.streams.iter().all(|stream| stream.present().is_empty())
    }

    /// Whether the gateway has given back the credit of all it was sent, as far as it must.
    pub(crate) fn is_credited(&self) -> bool {
        self.streams.iter().all(Carried::is_credited)
    }

    /// Links it has been told of, and their users.
    pub(crate) fn present(&self) -> BTreeMap<u64, Vec<u8>> {
        self.streams.iter().flat_map(|stream| stream.present().clone()).collect()
    }

    /// How many sessions wait for their next link, and which pushes it was told that such are owed.
    pub(crate) fn waiting(&self) -> (usize, Vec<u64>) {
        let owed = self.streams.iter().flat_map(|stream| stream.unacknowledged.iter().copied());
        (self.streams.iter().map(|stream| stream.detached().len()).sum(), owed.collect())
    }

    /// How many were announced when all that were there before were, on all of its streams.
    pub(crate) fn announced(&self) -> Option<usize> {
        self.streams.iter().map(|stream| stream.announced()).sum()
    }

    /// Dies, and does not come back before it [returns](Self::come_back).
    pub(crate) fn go_away(&mut self) {
        self.away = true;
        self.die();
    }

    /// Listens again.
    pub(crate) fn come_back(&mut self) {
        self.away = false;
    }

    /// Whether it knows what became of every push that left on a stream that is still there.
    pub(crate) fn is_told(&self) -> bool {
        self.streams.iter().all(|stream| self.desk.kept.is_settled(stream.number()))
    }

    fn die(&mut self) {
        self.desk.start();
        self.backlog = None;
        self.streams.drain(..).for_each(Carried::kill);
    }

    pub(crate) fn step(&mut self, rng: &mut Rng, now: Time, totals: &mut Totals) {
        let calm = self.desk.calm;
        if !calm && self.backlog.is_some() && rng.one_in(400) {
            self.die();
        }
        if !calm && rng.one_in(150) {
            self.desk.stingy_until = now + Duration::from_millis(rng.below(6000) as u64);
        }
        if !calm && rng.one_in(600) {
            self.desk.mute_until = now + Duration::from_millis(rng.below(8000) as u64);
        }
        if !self.away && self.backlog.is_none() && (calm || rng.one_in(50)) {
            self.backlog = Some(self.net.listen(&self.place, Buffers { send: 400, receive: 400 }));
        }
        while let Some(socket) = self.backlog.as_ref().and_then(Backlog::accept) {
            self.desk.born += 1;
            let number = (self.desk.index as u64) << 32 | self.desk.born;
            self.streams.push(Carried::new(socket, number, &self.desk, now));
        }
        let Self { streams, desk, .. } = self;
        streams.retain_mut(|stream| stream.step(desk, rng, now, totals));
    }
}

impl Desk {
    /// Another start of the backend, which knows nothing of the one before.
    fn start(&mut self) {
        self.lives += 1;
        let life = u128::from(self.lives) << 64 | self.index as u128;
        self.kept.restart(life.to_be_bytes());
    }

    /// A link has spoken.
    pub(crate) fn remember(&mut self, link: u64, user: &[u8]) {
        if self.known.len() == KNOWN_MAX {
            self.known.remove(0);
        }
        self.known.push((link, user.to_vec()));
    }
}

/// Links a backend remembers.
const KNOWN_MAX: usize = 16;
