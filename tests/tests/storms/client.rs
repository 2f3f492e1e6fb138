//! Users with links that break.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use driver::Endpoint;
use driver::sim::{Buffers, Net, Rng, Socket, State};
use prost::Message;
use protocol::buffer::{Input, Rest};
use protocol::link::{ClientLink, Dial};
use protocol::noise::preamble::Rejection;
use protocol::noise::{Gate, Resumption, StaticKey, Suite, Suites};
use protocol::wire::frame::{self, Frame, Outcome, Request, RequestId};
use protocol::wire::proto::link::Welcome;
use protocol::wire::resume::Resume;
use protocol::{CloseCode, Error, Refusal, Time};

use crate::Totals;
use crate::balancer::Way;
use crate::carried::{PushId, named};
use crate::group::head_of;
use crate::ledger::Ledger;
use crate::repeats::Repeats;
use crate::settings::{GRANT, SERVER, address_of, device_key, dialled_unpinned, signed_token, token, wall};
use crate::shape::{ROUTES, Shape};
use crate::wallet::{Ticket, Use, Wallet};

/// One user who sends requests until all of them have been tried, over as many links as it takes.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) device: &'static str,
    /// Whether it says nothing any more, as a device whose network is gone.
    pub(crate) dead: bool,
    /// Payloads of the pushes it got, behind whom they are for.
    pub(crate) pushes: Vec<Vec<u8>>,
    /// The same of those that must be acknowledged, once each.
    pub(crate) kept: Vec<Vec<u8>>,
    /// How many parts were missing before each of them, in the order in which they came.
    pub(crate) gaps: Vec<u32>,
    /// Why its last link was closed.
    pub(crate) closed: Option<CloseCode>,
    /// Whether its link stays when everything is answered.
    pub(crate) stays: bool,
    /// What it asks for, when that is not left to chance.
    pub(crate) script: Option<Script>,
    place: Endpoint,
    way: Way,
    rng: Rng,
    /// Requests still to be sent.
    pub(crate) wanted: u32,
    next: u64,
    /// Whether the storm is over.
    pub(crate) calm: bool,
    /// When its token ends, if that is a signed one.
    pub(crate) proved_until: Time,
    /// Whether a backend judges its token.
    delegated: bool,
    /// Whether its token names a login; if so, the number of it.
    pub(crate) login: Option<usize>,
    /// When the gateway has made its last welcome, in its time of day.
    pub(crate) welcomed_ms: u64,
    /// Whether it comes without a server key.
    unpinned: bool,
    /// Whether its token is bound to the key of its device, if it comes so.
    pub(crate) is_bound: bool,
    /// It does not come before.
    pub(crate) not_before: Time,
    /// Whether it stops reading now and then, and until when it does.
    moody: bool,
    deaf_until: Time,
    /// Whether it reads nothing, however calm it is.
    pub(crate) is_deaf: bool,
    pub(crate) link: Option<Link>,
    /// Sockets it walked away from without a word, which the gateway cannot know.
    left: Vec<Socket>,
    /// Those that stay as they are.
    hung: Vec<Socket>,
    /// A link ended between `Auth` and `Welcome`: it may be claimed late, and then replaces a later one and its login.
    unheard: bool,
    wallet: Wallet,
    /// Whether it comes with a ticket, when that is not left to chance.
    pub(crate) with_ticket: Option<bool>,
    /// The last hello with a ticket that was answered.
    pub(crate) hello: Option<Vec<u8>>,
    /// The session it may go on with.
    pub(crate) held: Option<Held>,
    /// How it acknowledges.
    pub(crate) manners: Manners,
    /// Whether it always goes on with the session it had, and knows all that it got.
    pub(crate) remembers: bool,
    /// Whether nothing happens that costs requests their order when they are sent again, as a backend that is lost.
    pub(crate) is_ordered: bool,
    /// Whether it sends again what was refused, or lost with its link.
    pub(crate) asks_again: bool,
    /// Whether it does not say of what it sends again that it does.
    pub(crate) is_silent: bool,
    /// Requests under way.
    pub(crate) open: BTreeMap<RequestId, Asked>,
    /// Those to be sent again.
    repeats: Repeats,
    /// Of the answered requests of its session: id, and where among all arrivals it stood.
    answered: BTreeMap<Lane, Vec<(RequestId, u64)>>,
    ledger: Ledger,
}

/// A user that several clients may be, on few devices.
const SHARED: &str = "user0";
/// Devices that users have.
pub(crate) const DEVICES: [&str; 2] = ["device", "tablet"];

/// How a client acknowledges pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It says what is so, sooner or later.
    Honest,
    /// Its application takes nothing.
    Busy,
    /// It says nothing.
    Silent,
    /// It takes nothing and says that it has nothing more, so many times, whenever it is asked.
    Forgetful(u32),
}

/// A session, as its client has it.
#[derive(Clone)]
pub(crate) struct Held {
    id: [u8; 16],
    secret: [u8; 32],
    attempt: u32,
    /// The last push in order that it has, and the last one that its application has.
    pub(crate) received: u64,
    pub(crate) taken: u64,
    /// Those between them, by stream and number.
    untaken: VecDeque<(u64, u64)>,
}

impl Held {
    /// So many tries were made elsewhere.
    pub(crate) const fn skip(&mut self, tries: u32) {
        self.attempt += tries;
    }
}

/// A request that has no outcome yet.
pub(crate) struct Asked {
    payload: Vec<u8>,
    lane: Lane,
    /// How often it was refused.
    pub(crate) tries: u32,
    /// Whether it was sent before.
    is_again: bool,
}

/// The same request again and again.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) lane: Lane,
    /// Bytes behind its name.
    pub(crate) len: usize,
    /// How many it keeps open.
    pub(crate) window: usize,
}

/// Route and key: requests with the same ones, unless the key is empty, reach the backend in their order.
pub(crate) type Lane = (&'static str, &'static str);

pub(crate) struct Link {
    socket: Socket,
    machine: ClientLink,
    rest: Rest,
    unsent: Vec<u8>,
    hello: Vec<u8>,
    /// How it uses a ticket, if it was opened with one.
    how: Option<Use>,
    said_auth: bool,
    /// Whether it has asked to go on with a session.
    asked: bool,
    welcome: bool,
    /// When it has presented a token on the living link, until that is answered.
    renewed_at: Option<Time>,
    closing: bool,
    /// The last push to this link of each stream.
    pushed: BTreeMap<u64, u64>,
    /// The same of those that must be acknowledged.
    kept: BTreeMap<u64, u64>,
    /// What it has acknowledged, taken and received.
    acked: (u64, u64),
    owes_ack: bool,
    /// The last push was reported as undelivered: only the end can follow it.
    overrun: bool,
}

impl Client {
    pub(crate) fn new(index: usize, place: Endpoint, shape: &Shape, ledger: Ledger, mut rng: Rng) -> Self {
        let wanted = 1 + rng.below(60) as u32;
        Self {
            // Some are the same user on the same device.
            name: if rng.one_in(6) { SHARED.into() } else { format!("user{index}") },
            device: DEVICES[usize::from(rng.one_in(3))],
            dead: false,
            pushes: Vec::new(),
            kept: Vec::new(),
            gaps: Vec::new(),
            closed: None,
            stays: false,
            script: None,
            place,
            way: Way(shape.proxy),
            rng,
            wanted,
            // No two clients use the same id.
            next: (index as u64) << 32,
            calm: false,
            // Longer than any storm.
            proved_until: Time::ZERO + Duration::from_hours(200),
            delegated: shape.delegated,
            login: (shape.signed && !shape.delegated).then_some(index),
            welcomed_ms: 0,
            unpinned: shape.unpinned,
            is_bound: shape.unpinned,
            not_before: Time::ZERO,
            moody: shape.scarce.is_some(),
            deaf_until: Time::ZERO,
            is_deaf: false,
            link: None,
            left: Vec::new(),
            hung: Vec::new(),
            unheard: false,
            wallet: Wallet::default(),
            with_ticket: None,
            hello: None,
            held: None,
            manners: Manners::Honest,
            remembers: false,
            is_ordered: false,
            asks_again: false,
            is_silent: false,
            open: BTreeMap::new(),
            repeats: Repeats::default(),
            answered: BTreeMap::new(),
            ledger,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.wants_nothing() && self.link.is_none()
    }

    fn wants_nothing(&self) -> bool {
        self.wanted == 0 && self.open.is_empty() && self.repeats.is_empty()
    }

    /// Whether its link is welcome.
    pub(crate) fn is_in(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.welcome)
    }

    /// Its network is gone for a moment.
    pub(crate) fn lose_link(&mut self, totals: &mut Totals) {
        if let Some(link) = self.link.take() {
            link.socket.reset();
            self.unheard |= link.said_auth && !link.welcome;
            self.lose_requests(totals);
        }
    }

    /// What its link carried is unknown to it. It asks again if its session goes on.
    fn lose_requests(&mut self, totals: &mut Totals) {
        totals.lost += self.open.len() as u64;
        self.repeats.lose(&mut self.open);
        if self.held.is_none() || !self.asks_again {
            self.repeats.give_up();
        }
    }

    /// Its network is gone, and nobody hears of it: the gateway keeps its link.
    pub(crate) fn vanish(&mut self) {
        if let Some(link) = self.link.take() {
            self.hung.push(link.socket);
            self.lose_requests(&mut Totals::default());
        }
    }

    /// Sends a request again that was answered long ago.
    pub(crate) fn repeat(&mut self, number: u64) {
        let script = self.script.expect("a script says what it was");
        let (route, key) = script.lane;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.next >> 32 << 32 | number).to_be_bytes());
        let payload = named(self.name.as_bytes(), route, key.as_bytes());
        let asked = Asked { payload, lane: script.lane, tries: 0, is_again: true };
        self.repeats.lose(&mut BTreeMap::from([(id, asked)]));
    }

    /// It comes back, also if it wants nothing.
    pub(crate) fn come(&mut self, net: &Net, now: Time) {
        if self.link.is_none() {
            self.link = Some(self.dial(net, now));
        }
    }

    pub(crate) fn step(&mut self, net: &Net, now: Time, totals: &mut Totals) {
        if self.link.is_none() && (self.wanted > 0 || !self.repeats.is_empty()) && now >= self.not_before {
            self.link = Some(self.dial(net, now));
        }
        if self.calm {
            self.left.clear();
        }
        if self.dead {
            return;
        }
        let Some(mut link) = self.link.take() else { return };
        self.speak(&mut link, now);
        let written = link.socket.write(&link.unsent);
        link.unsent.drain(..written);
        if !self.calm && self.rng.one_in(600) {
            link.socket.reset();
        }
        if self.moody && !self.calm && self.rng.one_in(200) {
            self.deaf_until = now + Duration::from_millis(self.rng.below(6000) as u64);
        }
        let deaf = self.is_deaf || !self.calm && now < self.deaf_until;
        let over = !deaf && self.listen(&mut link, now, totals);
        let leaves = !self.calm && self.rng.one_in(300);
        let gone = matches!(link.socket.state(), State::Broken(_) | State::Refused(_) | State::Eof);
        if over || gone || leaves {
            if let Some(how) = link.how.filter(|how| how.is_silent() && gone && !link.welcome) {
                totals.turned_down.insert(how);
            }
            self.lose_requests(totals);
            self.unheard |= link.said_auth && !link.welcome;
            self.not_before = now + Duration::from_millis(self.rng.below(500) as u64);
            if leaves && !over && !gone {
                self.left.push(link.socket);
            }
        } else {
            self.link = Some(link);
        }
    }

    fn dial(&mut self, net: &Net, now: Time) -> Link {
        let server = StaticKey::from_secret(SERVER).public();
        let gate = Gate::new(&server);
        let device_key = device_key();
        let taken = match self.with_ticket {
            None => self.wallet.take(&self.name, wall(now), &mut self.rng),
            Some(true) => self.wallet.take_plain(),
            Some(false) => None,
        };
        let suite = match taken {
            Some(_) => [Suite::Nnpsk0ChaChaPoly, Suite::Nnpsk0AesGcm][self.rng.below(2)],
            None => [Suite::NkChaChaPoly, Suite::NkAesGcm, Suite::IkAesGcm][self.rng.below(3)],
        };
        let dial = Dial {
            server: &server,
            gate: &gate,
            suite,
            better: Suites::NONE,
            served: Suites::NONE,
            device_key: (suite == Suite::IkAesGcm).then_some(&device_key),
            ticket: taken.as_ref().map(|(Ticket { ticket, psk, .. }, _)| (&ticket[..], psk)),
        };
        let (mut ephemeral, mut hello) = ([0; 32], Vec::new());
        self.rng.fill(&mut ephemeral);
        let machine = if self.unpinned {
            dialled_unpinned(&mut self.rng, now, ephemeral, &mut hello)
        } else {
            ClientLink::dial(&dial, ephemeral, now, &mut hello).expect("the keys fit the suite")
        };
        let chance = u64::from(ephemeral[0]);
        let (from, unsent) = self.way.carry(chance, address_of(self.name.as_bytes()), hello.clone());
        let socket = net.connect(&self.place, from, Buffers { send: 256, receive: 256 });
        Link {
            socket,
            machine,
            rest: Rest::default(),
            hello,
            unsent,
            how: taken.map(|(_, how)| how),
            said_auth: false,
            asked: false,
            welcome: false,
            renewed_at: None,
            closing: false,
            pushed: BTreeMap::new(),
            kept: BTreeMap::new(),
            acked: (0, 0),
            owes_ack: false,
            overrun: false,
        }
    }

    fn token(&self) -> String {
        match self.login {
            // A backend that judges tokens takes the user's name for one, and a number behind it for that of the login.
            None if self.delegated => self.name.clone(),
            None => token().text(),
            Some(login) if self.delegated => format!("{}/{login}", self.name),
            Some(login) => signed_token(&self.name, login, self.proved_until, self.is_bound),
        }
    }

    /// What it says of the session it had, if it wants to go on with it.
    fn resume(&mut self, link: &mut Link) -> Vec<u8> {
        let may = !link.how.is_some_and(Use::is_lie);
        let remembers = self.remembers;
        let Some(held) = self.held.as_mut().filter(|_| may && (remembers || !self.rng.one_in(5))) else {
            return Vec::new();
        };
        link.asked = true;
        held.attempt += 1;
        if !remembers && self.rng.one_in(4) {
            // As after a start: what its application has not taken is gone.
            held.received = held.taken;
            held.untaken.clear();
        }
        let h = link.machine.handshake_hash().expect("it has keys");
        let (session, attempt, last_sequence) = (&held.id, held.attempt, held.received);
        let proof = Resumption { h, session, attempt, last_sequence }.proof(&held.secret);
        let mut said = Vec::new();
        Resume { session, attempt, last_sequence, proof: &proof }.encode(&mut said);
        said
    }

    /// Its session goes on, or another one begins.
    fn go_on(&mut self, link: &Link, welcome: &Welcome, totals: &mut Totals) {
        let id: [u8; 16] = welcome.session[..].try_into().expect("a session has a name");
        if welcome.resumed {
            assert!(link.asked && welcome.secret.is_empty(), "only who asks goes on");
            assert!(self.held.as_ref().is_some_and(|held| held.id == id), "and with its own session");
            totals.went_on += 1;
        } else {
            let secret = welcome.secret[..].try_into().expect("a session has a secret");
            let untaken = VecDeque::new();
            self.held = Some(Held { id, secret, attempt: 0, received: 0, taken: 0, untaken });
            self.answered.clear();
            self.repeats.give_up();
            totals.began_anew += u64::from(link.asked);
        }
    }

    /// A push that must be acknowledged.
    fn keep(&mut self, link: &mut Link, push: &frame::Push<'_>) {
        assert!(link.welcome, "nothing comes before Welcome");
        let head = head_of(push.payload, &self.name, self.device);
        let head = head.unwrap_or_else(|| panic!("{} got another's push", self.name));
        let id = PushId::decode(push.id.try_into().expect("the backend's id of a push"));
        let held = self.held.as_mut().expect("it has a session");
        assert!(push.sequence <= held.received + 1, "no gap: {} behind {}", push.sequence, held.received);
        if push.sequence <= held.received {
            return assert!(push.again, "what it has comes again only where it says so");
        }
        held.received = push.sequence;
        self.kept.push(push.payload[head..].to_vec());
        self.gaps.push(push.gap);
        let is_part = push.payload[head..].starts_with(b"part ");
        held.untaken.push_back((id.stream, id.number));
        if !id.by_link && !is_part {
            let before = link.kept.insert(id.stream, id.number);
            assert!(before < Some(id.number), "pushes of a stream to a user keep their order");
        }
    }

    /// Its application takes what it likes, and the gateway hears of it when it likes.
    fn acknowledge(&mut self, link: &mut Link, out: &mut Vec<u8>) {
        let Some(held) = self.held.as_mut().filter(|_| link.welcome) else { return };
        match &mut self.manners {
            Manners::Silent => return,
            Manners::Forgetful(0) => self.manners = Manners::Honest,
            Manners::Forgetful(times) => {
                if std::mem::take(&mut link.owes_ack) {
                    *times -= 1;
                    held.received = held.taken;
                    held.untaken.clear();
                    link.kept.clear();
                    Frame::Ack { taken: held.taken, received: held.received }.encode(out);
                }
                return;
            }
            Manners::Honest | Manners::Busy => {}
        }
        while self.manners != Manners::Busy
            && (self.calm || self.rng.one_in(3))
            && let Some((stream, number)) = held.untaken.pop_front()
        {
            held.taken += 1;
            self.ledger.taken(stream, number, self.device.as_bytes());
        }
        let has_news = (held.taken, held.received) != link.acked;
        if std::mem::take(&mut link.owes_ack) || has_news && (self.calm || self.rng.one_in(4)) {
            link.acked = (held.taken, held.received);
            Frame::Ack { taken: held.taken, received: held.received }.encode(out);
        }
    }

    /// `Auth` first, requests behind it without waiting, `Close` when all is said and answered.
    fn speak(&mut self, link: &mut Link, now: Time) {
        if !link.machine.is_open() || link.closing || !link.unsent.is_empty() {
            return;
        }
        let mut out = vec![0; 2];
        if !link.said_auth {
            link.said_auth = true;
            let token = if link.how.is_some() { String::new() } else { self.token() };
            let resume = self.resume(link);
            let auth = frame::Auth {
                resume: &resume,
                token: token.as_bytes(),
                user: if link.how == Some(Use::OtherUser) { b"other" } else { self.name.as_bytes() },
                device: if link.how == Some(Use::OtherDevice) { b"other" } else { self.device.as_bytes() },
                ..frame::Auth::default()
            };
            Frame::Auth(auth).encode(&mut out);
        }
        if link.welcome
            && self.login.is_some()
            && link.may_renew(self.with_ticket, now)
            && self.rng.one_in(30)
        {
            let token = self.token();
            link.renewed_at = Some(now);
            let (token, device) = (token.as_bytes(), self.device.as_bytes());
            Frame::Auth(frame::Auth { token, device, ..frame::Auth::default() }).encode(&mut out);
        }
        self.acknowledge(link, &mut out);
        if link.machine.expire(now).is_ok_and(|due| due) {
            Frame::Ping(frame::Ping::default()).encode(&mut out);
        }
        let granted = self.script.map_or(GRANT, |script| script.window);
        let window = if link.welcome { granted } else { 3 };
        while link.welcome
            && self.open.len() < window
            && let Some((id, asked)) = self.repeats.next()
        {
            let (route, key) = (asked.lane.0, asked.lane.1.as_bytes());
            let (counter, payload) = (number_of(&id), &asked.payload[..]);
            let again = !self.is_silent;
            Frame::Request(Request { id, route, key, payload, counter, again }).encode(&mut out);
            self.ledger.sent_again(id);
            self.open.insert(id, Asked { is_again: true, ..asked });
        }
        // New ones come behind those of the same key that come again.
        let may_send = !self.is_ordered || self.repeats.is_empty();
        while may_send && self.wanted > 0 && self.open.len() < window && self.rng.below(3) > 0 {
            self.wanted -= 1;
            self.next += 1;
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.next.to_be_bytes());
            let lane = (ROUTES[self.rng.below(2)], ["", "left", "right"][self.rng.below(3)]);
            let lane = self.script.map_or(lane, |script| script.lane);
            let (route, key) = (lane.0, lane.1.as_bytes());
            let mut payload = named(self.name.as_bytes(), route, key);
            payload.extend_from_slice(self.next.to_string().as_bytes());
            let longest = if self.rng.one_in(if self.moody { 2 } else { 5 }) { 2000 } else { 40 };
            let len = self.rng.below(longest);
            payload.resize(payload.len() + self.script.map_or(len, |script| script.len), b'x');
            // Before its `Welcome` nobody knows whose session it will be of.
            let counter = if link.asked && !link.welcome { 0 } else { number_of(&id) };
            let request = Request { id, route, key, payload: &payload, counter, ..Request::default() };
            Frame::Request(request).encode(&mut out);
            self.open.insert(id, Asked { payload, lane, tries: 0, is_again: false });
        }
        if link.welcome && !self.stays && self.wants_nothing() {
            link.closing = true;
            Frame::Close(frame::Close { code: 1, ..frame::Close::default() }).encode(&mut out);
        }
        if out.len() > 2 {
            link.machine.seal(&mut out, 0, 1000);
            link.unsent = out;
        }
    }

    /// Whether the link is over.
    fn listen(&mut self, link: &mut Link, now: Time, totals: &mut Totals) -> bool {
        let mut bytes = Vec::new();
        link.socket.read(&mut bytes, 1 + self.rng.below(300));
        let mut input = Input::new(&mut bytes, std::mem::take(&mut link.rest));
        loop {
            let frame = match link.machine.receive(&mut input, now) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(Error::Rejected(reason)) => {
                    assert!(!link.machine.is_open(), "nobody with keys is answered in the clear");
                    if reason == Rejection::TicketRefused as u8 {
                        let how = link.how.filter(|how| how.is_bad() && !how.is_silent());
                        totals.turned_down.insert(
                            how.unwrap_or_else(|| panic!("refused although it is good: {:?}", link.how)),
                        );
                    } else {
                        assert_eq!(reason, Rejection::Busy as u8, "nothing else is wrong with a hello");
                        totals.busy += 1;
                    }
                    return true;
                }
                Err(error) => panic!("the gateway breaks a rule: {error}"),
            };
            assert!(!link.how.is_some_and(Use::is_bad), "a bad ticket opened a link: {:?}", link.how);
            let end = matches!(&frame, Frame::Close(close) if close.code == CloseCode::SlowReader.number());
            assert!(end || !link.overrun, "{} behind a push that was reported", frame.name());
            match frame {
                Frame::Welcome(body) => {
                    assert!(!link.how.is_some_and(Use::is_lie), "welcome as somebody else: {:?}", link.how);
                    let welcome = Welcome::decode(body).expect("a welcome");
                    assert_eq!(welcome.user, self.name.as_bytes());
                    if link.welcome {
                        assert!(welcome.resumed && welcome.secret.is_empty(), "its token was renewed");
                    } else {
                        self.go_on(link, &welcome, totals);
                    }
                    totals.renewed += u64::from(link.welcome);
                    let is_kept = !welcome.tickets.is_empty() || !welcome.server_keys.is_empty();
                    assert!(!self.unpinned || !is_kept, "nothing was proved to this client");
                    self.wallet.fill(&welcome.tickets);
                    if let Some(how) = link.how.filter(|_| !link.welcome) {
                        totals.resumed.insert(how);
                        self.hello = Some(std::mem::take(&mut link.hello));
                    }
                    link.welcome = true;
                    link.renewed_at = None;
                    self.welcomed_ms = welcome.time_ms;
                    link.machine.welcomed(Duration::from_secs(20), 0, now);
                }
                Frame::Response(response) => {
                    let asked =
                        self.open.remove(&response.id).expect("one outcome for each request, and no other");
                    match response.outcome {
                        Outcome::Answered => {
                            assert!(
                                response.payload == asked.payload,
                                "{} asked {:?} and got {:?}",
                                self.name,
                                String::from_utf8_lossy(&asked.payload),
                                String::from_utf8_lossy(response.payload)
                            );
                            totals.answered += 1;
                            let stands = self.is_ordered || !asked.is_again;
                            if let Some(place) = self.ledger.place(response.id).filter(|_| stands) {
                                self.note_order(asked.lane, response.id, place);
                            }
                        }
                        Outcome::Refused => {
                            let refusal = Refusal::from_number(response.code).expect("a known refusal");
                            let greedy = self.script.is_some_and(|script| script.window > GRANT);
                            assert!(
                                greedy || refusal != Refusal::InFlight,
                                "nobody asks for more than its grant"
                            );
                            totals.refusals.insert(refusal);
                            self.ledger.refused(response.id);
                            if !self.asks_again
                                || !self.repeats.refused(response.id, asked, refusal, self.is_ordered)
                            {
                                totals.refused += 1;
                            }
                        }
                        Outcome::Unknown => totals.unknown += 1,
                    }
                }
                Frame::Push(push) if push.class == 1 => {
                    totals.again += u64::from(push.again);
                    self.keep(link, &push);
                }
                Frame::AckNow { sequence } => {
                    let received = self.held.as_ref().map_or(0, |held| held.received);
                    assert!(sequence <= received, "what was sent on a link has come");
                    link.owes_ack = true;
                }
                Frame::Push(push) => {
                    let head = head_of(push.payload, &self.name, self.device);
                    let head = head.unwrap_or_else(|| panic!("{} got another's push", self.name));
                    self.pushes.push(push.payload[head..].to_vec());
                    self.gaps.push(push.gap);
                    let id = PushId::decode(push.id.try_into().expect("the backend's id of a push"));
                    if id.by_link {
                        link.overrun |= self.ledger.delivered(id.stream, id.number);
                        let before = link.pushed.insert(id.stream, id.number);
                        assert!(before < Some(id.number), "pushes of a stream keep their order");
                    }
                    assert!(link.welcome, "nothing comes before Welcome");
                    totals.pushed += 1;
                }
                Frame::Pong { .. } => {}
                Frame::Warning { code, .. } => {
                    let does_what_it_likes = link.welcome && self.with_ticket.is_none();
                    let is_for_that = code == CloseCode::Glitches.number() && does_what_it_likes;
                    // And who sends again at once what was refused.
                    let is_too_fast = code == CloseCode::RateExceeded.number() && self.asks_again;
                    assert!(is_for_that || is_too_fast, "nobody else is warned: {code}");
                }
                Frame::Close(close) => {
                    let code = CloseCode::from_number(close.code).expect("a known code");
                    totals.closes.insert(code);
                    self.closed = Some(code);
                    if let Some(how) = link.how.filter(|how| how.is_lie()) {
                        assert!(!link.welcome && code != CloseCode::Normal, "{how:?}");
                        totals.exposed.insert((how, code));
                    }
                    if code == CloseCode::Replaced {
                        // Where tokens name logins it is never its own rival. The shared one does not, but the client's
                        // tickets are not kept out by its own logins.
                        let alone = self.name != SHARED
                            && (self.delegated
                                || self.login.is_some()
                                || !self.unheard && link.how.is_some());
                        assert!(!alone, "a client is not its own rival");
                        // Another client of this device has come; whoever is told so stays away.
                        self.wanted = 0;
                        self.repeats.give_up();
                    }
                    return true;
                }
                other => panic!("unexpected {}", other.name()),
            }
        }
        link.rest = input.into_rest();
        false
    }

    /// Requests of one key have reached the backends in the order in which they were sent.
    fn note_order(&mut self, lane: Lane, id: RequestId, place: u64) {
        let (_, key) = lane;
        let answered = self.answered.entry(lane).or_default();
        let kept = answered.iter().all(|&(other, its)| (other < id) == (its < place));
        assert!(key.is_empty() || kept, "{lane:?} lost its order: {id:?} at {place} among {answered:?}");
        answered.push((id, place));
    }
}

/// A request's number in its session: its name's.
fn number_of(id: &RequestId) -> u64 {
    let number: [u8; 4] = id[4..8].try_into().expect("four bytes");
    u32::from_be_bytes(number).into()
}

impl Link {
    /// Whether a token may be presented on it: not where a ticket has opened it, and not before the last one was answered or
    /// is long ago, unless chance has a client do what it likes.
    fn may_renew(&self, with_ticket: Option<bool>, now: Time) -> bool {
        let waits = self.renewed_at.is_some_and(|at| now.since(at) < Duration::from_secs(30));
        with_ticket.is_none() || self.how.is_none() && !waits
    }
}
