//! One stream, as a backend of a storm serves it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use driver::sim::{Rng, Socket, State};
use prost::bytes::Bytes;
use protocol::noise::Suite;
use protocol::stream::{BackendStream, Blocked, ToBackend};
use protocol::wire::frame::RequestId;
use protocol::wire::stream::{
    AuthResult, Authenticate, Ban, Kick, Package, PushOutcome, Report, Resumed, StreamPush, StreamRequest,
    StreamResponse, Throttle, Unban, Users, Whom,
};
use protocol::{CloseCode, Refusal, Time, Undelivered};

use crate::Totals;
use crate::backend::{Desk, Order, SMALL};
use crate::blunder;
use crate::client::DEVICES;
use crate::group;
use crate::kept::FIRST;
use crate::settings::{PORT, address_of, device_key, wall};

pub(crate) struct Carried {
    /// No other stream has it.
    number: u64,
    socket: Socket,
    machine: BackendStream,
    unsent: Vec<u8>,
    unread: Vec<u8>,
    /// Links the gateway has announced on this stream, and their users.
    present: BTreeMap<u64, Vec<u8>>,
    /// Their users and devices, and which link of the user each is.
    devices: BTreeMap<u64, (Vec<u8>, Vec<u8>, u64)>,
    /// Links of theirs that are gone while their sessions wait.
    detached: BTreeSet<u64>,
    /// The pushes of which it was told that such sessions are owed them.
    pub(crate) unacknowledged: BTreeSet<u64>,
    /// How many links it knew of when it had been told of all that were there before.
    announced: Option<usize>,
    /// The last report of which it has said that it knows it.
    known: u64,
    /// It reads nothing before.
    deaf_until: Time,
    /// It has written nonsense, and writes nothing more.
    is_mad: bool,
    /// Tokens it was asked about: when it will say what they are worth, and in which call.
    asked: VecDeque<(Time, u64, Vec<u8>)>,
    /// Answers that wait for credit.
    answers: VecDeque<Answer>,
    /// Payloads whose credit was not given back.
    withheld: Vec<usize>,
    pushes: u64,
    /// The users of pushes to several that were not reported.
    groups: BTreeMap<u64, BTreeSet<Vec<u8>>>,
    /// What has to be reported of pushes that could not be meant.
    blunders: BTreeMap<u64, Undelivered>,
    /// When it closes, once it has said that it is leaving.
    leaves_at: Option<Time>,
}

struct Answer {
    due: Time,
    call: u64,
    payload: Vec<u8>,
    declined: bool,
}

impl Carried {
    pub(crate) fn new(socket: Socket, number: u64, desk: &Desk, now: Time) -> Self {
        let routes = desk.routes.iter().map(|&route| route.into()).collect();
        let access = Arc::clone(&desk.access);
        let mut ephemeral = [1; 32];
        ephemeral[..8].copy_from_slice(&number.to_be_bytes());
        Self {
            number,
            socket,
            machine: BackendStream::new(access, SMALL, b"back", routes, ephemeral, now)
                .with_boot(desk.kept.boot),
            unsent: Vec::new(),
            unread: Vec::new(),
            present: BTreeMap::new(),
            devices: BTreeMap::new(),
            detached: BTreeSet::new(),
            unacknowledged: BTreeSet::new(),
            announced: None,
            known: 0,
            deaf_until: Time::ZERO,
            is_mad: false,
            asked: VecDeque::new(),
            answers: VecDeque::new(),
            withheld: Vec::new(),
            pushes: 0,
            groups: BTreeMap::new(),
            blunders: BTreeMap::new(),
            leaves_at: None,
        }
    }

    /// No other stream has it.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Links of which it was told that their sessions wait.
    pub(crate) const fn detached(&self) -> &BTreeSet<u64> {
        &self.detached
    }

    /// Links that are announced.
    pub(crate) fn present(&self) -> &BTreeMap<u64, Vec<u8>> {
        &self.present
    }

    /// How many were announced when all that were there before were; `None` as long as not all are.
    pub(crate) const fn announced(&self) -> Option<usize> {
        self.announced
    }

    /// Whether less than half of the first grant is out: so much may be gathered before it is given back.
    pub(crate) fn is_credited(&self) -> bool {
        self.machine.credit_available() > SMALL.window / 2
    }

    pub(crate) fn kill(self) {
        self.socket.reset();
    }

    /// Whether the stream lives.
    pub(crate) fn step(&mut self, desk: &mut Desk, rng: &mut Rng, now: Time, totals: &mut Totals) -> bool {
        if !desk.calm && rng.one_in(3) {
            return true;
        }
        if !desk.calm && rng.one_in(400) {
            self.deaf_until = now + Duration::from_millis(rng.below(6000) as u64);
        }
        if now >= self.deaf_until || desk.calm && desk.sips.is_none() {
            self.hear(desk, rng, now, totals);
        }
        self.follow(desk, now);
        if now >= desk.mute_until {
            self.answer(now, totals);
        }
        if !desk.calm && !desk.known.is_empty() && rng.one_in(60) {
            self.push(desk, rng, totals);
        }
        if !desk.calm && !desk.known.is_empty() && rng.one_in(150) {
            self.push_to_some(desk, rng);
        }
        if !desk.calm && !desk.known.is_empty() && rng.one_in(250) {
            self.push_parts(desk, rng);
        }
        if self.machine.is_live() && !self.is_mad {
            self.know(desk, rng);
        }
        if !desk.calm && !desk.known.is_empty() && rng.one_in(200) {
            self.blunder(desk, rng);
        }
        self.leave(desk, rng, now, totals);
        if now >= desk.stingy_until {
            self.withheld.drain(..).for_each(|len| self.machine.consumed(len));
        }
        assert!(self.machine.credit_available() <= SMALL.window, "the gateway grants what was used, once");
        if desk.sips.is_none() && self.machine.expire(now).is_err() {
            self.socket.reset();
            return false;
        }
        if desk.mad && !desk.calm && self.machine.is_live() && rng.one_in(900) {
            self.is_mad = true;
            totals.mad += 1;
            self.unsent.extend((0..200).map(|_| rng.below(256) as u8));
        }
        if self.unsent.is_empty() && !self.is_mad {
            self.machine.seal(&mut self.unsent);
        }
        let written = self.socket.write(&self.unsent);
        self.unsent.drain(..written);
        matches!(self.socket.state(), State::Open | State::Connecting)
    }

    /// Does what a test wants of it.
    fn follow(&mut self, desk: &mut Desk, now: Time) {
        if !self.machine.is_live() {
            return;
        }
        while let Some(order) = desk.orders.pop_front() {
            match order {
                Order::Push { user, device, text } => {
                    let id = PushId { stream: self.number, number: self.pushes + 1, by_link: false };
                    let mut payload = named(user.as_bytes(), "", device.as_bytes());
                    payload.extend_from_slice(text.as_bytes());
                    let push = StreamPush {
                        number: id.number,
                        user: user.as_bytes(),
                        device: device.as_bytes(),
                        id: &id.encode(),
                        payload: &payload,
                        ..StreamPush::default()
                    };
                    if self.machine.push(&push).is_err() {
                        desk.orders.push_front(Order::Push { user, device, text });
                        return;
                    }
                    self.pushes += 1;
                }
                Order::Keep { user, link, text, ttl } => {
                    let id = PushId { stream: self.number, number: desk.kept.next(), by_link: link != 0 };
                    let mut payload = named(user.as_bytes(), "", b"");
                    payload.extend_from_slice(text.as_bytes());
                    let push = StreamPush {
                        number: id.number,
                        link,
                        user: if link == 0 { user.as_bytes() } else { &[] },
                        id: &id.encode(),
                        payload: &payload,
                        class: 1,
                        ttl_ms: ttl.as_millis() as u32,
                        ..StreamPush::default()
                    };
                    if self.machine.push(&push).is_err() {
                        desk.orders.push_front(order);
                        return;
                    }
                    desk.kept.leaves(self.number);
                }
                Order::Part { user, class, package, at } => {
                    if !self.push_part(user.as_bytes(), class, package.as_bytes(), at, desk) {
                        desk.orders.push_front(order);
                        return;
                    }
                }
                Order::PushLink { link, user, text } => {
                    let id = PushId { stream: self.number, number: self.pushes + 1, by_link: true };
                    let payload = [&named(user.as_bytes(), "", b"")[..], text.as_bytes()].concat();
                    let push = StreamPush {
                        number: id.number,
                        link,
                        id: &id.encode(),
                        payload: &payload,
                        ..StreamPush::default()
                    };
                    if self.machine.push(&push).is_err() {
                        desk.orders.push_front(order);
                        return;
                    }
                    self.pushes += 1;
                }
                Order::Group { users, class, text } => {
                    let users: Vec<&[u8]> = users.iter().map(|user| user.as_bytes()).collect();
                    if !self.push_to_group(&users, class, text.as_bytes(), desk) {
                        desk.orders.push_front(order);
                        return;
                    }
                }
                Order::Kick { user, device } => {
                    let (user, device) = (user.as_bytes(), device.as_bytes());
                    let code = CloseCode::Kicked.number();
                    self.machine.kick(&Kick { user, device, code, ..Kick::default() });
                }
                Order::Slow { user } => {
                    let (user, code) = (user.as_bytes(), CloseCode::SlowReader.number());
                    self.machine.kick(&Kick { user, code, ..Kick::default() });
                }
                Order::Leave { after } => {
                    self.machine.draining(after);
                    self.leaves_at = Some(now + after);
                }
                Order::Close { wait } => self.machine.close(CloseCode::Normal, wait, ""),
                Order::Ban { user, until_ms, reason } => {
                    let whom = Whom::User(user.as_bytes());
                    self.machine.ban(&Ban { whom, until_ms, reason, realm: "" });
                }
                Order::BanBlock { prefix, prefix_len } => {
                    let whom = Whom::Addresses { prefix: &prefix, prefix_len };
                    self.machine.ban(&Ban { whom, until_ms: 0, reason: "", realm: "" });
                }
                Order::Unban { user } => {
                    self.machine.unban(&Unban { whom: Whom::User(user.as_bytes()), realm: "" });
                }
                Order::Throttle { user, percent, until_ms } => {
                    let whom = Whom::User(user.as_bytes());
                    self.machine.throttle(&Throttle { whom, percent, until_ms, realm: "" });
                }
                Order::ThrottleBlock { prefix, prefix_len, percent, until_ms } => {
                    let whom = Whom::Addresses { prefix: &prefix, prefix_len };
                    self.machine.throttle(&Throttle { whom, percent, until_ms, realm: "" });
                }
                Order::RevokeLogin { user, login } => {
                    let (user, code) = (user.as_bytes(), CloseCode::Kicked.number());
                    self.machine.kick(&Kick { user, code, login: login.as_bytes(), ..Kick::default() });
                }
                Order::Revoke { user } => {
                    let (user, code) = (user.as_bytes(), CloseCode::Kicked.number());
                    self.machine.kick(&Kick { user, code, revoke: true, ..Kick::default() });
                }
            }
        }
    }

    /// Says now and then that it is leaving, answers what comes until then, and leaves.
    fn leave(&mut self, desk: &Desk, rng: &mut Rng, now: Time, totals: &mut Totals) {
        match self.leaves_at {
            None if !desk.calm && self.machine.is_live() && rng.one_in(1500) => {
                // Without a word of warning.
                let wait = Duration::from_millis(rng.below(2000) as u64);
                self.machine.close(CloseCode::Normal, wait, "");
            }
            None if !desk.calm && self.machine.is_live() && rng.one_in(500) => {
                let left = Duration::from_millis(rng.below(3000) as u64);
                self.machine.draining(left);
                self.leaves_at = Some(now + left);
            }
            Some(at) if (desk.hasty || now >= at) && self.answers.is_empty() && self.machine.is_live() => {
                totals.drained += 1;
                self.machine.close(CloseCode::Normal, Duration::ZERO, "");
            }
            _ => {}
        }
    }

    fn blunder(&mut self, desk: &Desk, rng: &mut Rng) {
        let (link, user) = &desk.known[rng.below(desk.known.len())];
        let number = self.pushes + 1;
        if let Some(reason) = blunder::commit(&mut self.machine, number, (*link, user), rng) {
            self.pushes = number;
            self.blunders.insert(number, reason);
        }
    }

    /// Answers as far as there is credit, in order.
    fn answer(&mut self, now: Time, totals: &mut Totals) {
        while let Some(Answer { call, payload, declined, .. }) =
            self.answers.front().filter(|answer| answer.due <= now)
        {
            let status = if *declined { Refusal::Draining.number() } else { 0 };
            let answer = StreamResponse {
                call: *call,
                payload,
                refused: *declined,
                status,
                ..StreamResponse::default()
            };
            match self.machine.response(&answer) {
                Ok(()) => drop(self.answers.pop_front()),
                Err(blocked) => {
                    totals.blocked += u64::from(blocked == Blocked::Credit);
                    break;
                }
            }
        }
    }

    fn hear(&mut self, desk: &mut Desk, rng: &mut Rng, now: Time, totals: &mut Totals) {
        let most = desk.sips.unwrap_or(700);
        if desk.sips.is_some() {
            self.deaf_until = now + Duration::from_secs(1);
        }
        self.socket.read(&mut self.unread, most);
        let mut bytes = std::mem::take(&mut self.unread);
        let mut input = self.machine.input(&mut bytes);
        loop {
            match self.machine.receive(&mut input, now) {
                Ok(Some(ToBackend::Request(request))) => self.request(&request, desk, now, rng),
                Ok(Some(ToBackend::Authenticate(Authenticate { call, token, suite, peer_key, .. }))) => {
                    let suite = u8::try_from(suite).ok().and_then(Suite::from_byte);
                    let can_judge =
                        !suite.is_some_and(Suite::is_unpinned) || peer_key == device_key().public().0;
                    assert!(can_judge, "over XX a backend needs the key");
                    self.asked.push_back((now + desk.ponders, call, token.to_vec()));
                }
                Ok(Some(ToBackend::Report(report))) => self.report(&report, desk, totals),
                Ok(Some(ToBackend::LinkDetached(detached))) => {
                    let open = detached.unacknowledged.iter().count();
                    assert_eq!(open, (detached.unacknowledged_count as usize).min(64));
                    self.unacknowledged.extend(detached.unacknowledged.iter());
                    let known = self.devices.get(&detached.link).map(|(_, _, epoch)| *epoch);
                    // Who was not told of the link hears of it if it waits for reports.
                    assert!(known.is_some() || open > 0, "only what is there is detached");
                    if known.is_some() {
                        assert_eq!(known, Some(detached.link_epoch));
                        assert!(self.detached.insert(detached.link), "and once");
                    }
                }
                Ok(Some(ToBackend::LinkResumed(resumed))) => {
                    totals.resumed_at_once = totals.resumed_at_once.max(resumed.iter().count());
                    for Resumed { old_link, link, link_epoch } in resumed.iter() {
                        self.present.remove(&old_link).expect("only what was opened goes on");
                        let (_, _, epoch) = self.devices.remove(&old_link).expect("it is known");
                        assert!(link_epoch > epoch && link != old_link, "the next one is a later one");
                        self.detached.remove(&old_link);
                    }
                }
                Ok(Some(ToBackend::LinkOpened(opened))) => {
                    let there = self.present.values().any(|user| user == opened.user);
                    assert!(!desk.ordered || !there, "opened before the former one was closed");
                    let before = self.present.insert(opened.link, opened.user.to_vec());
                    assert_eq!(before, None, "a link opens once on a stream");
                    // One that ended before its session came is told of for the sake of its end.
                    let unseen = opened.suite == 0;
                    let at_home = unseen || opened.address == address_of(opened.user);
                    assert!(desk.roaming || at_home, "{:?}", opened.address);
                    assert!(unseen || opened.port == u32::from(PORT));
                    assert!(desk.roaming || DEVICES.iter().any(|device| device.as_bytes() == opened.device));
                    let known =
                        desk.epochs.entry((opened.user.to_vec(), opened.link_epoch)).or_insert(opened.link);
                    assert_eq!(*known, opened.link, "each link of a user has a number of its own");
                    assert!(opened.link_epoch >= wall(Time::ZERO).0 << 12, "{}", opened.link_epoch);
                    let device = (opened.user.to_vec(), opened.device.to_vec(), opened.link_epoch);
                    self.devices.insert(opened.link, device);
                    desk.classes.insert(opened.class);
                    let suite = u8::try_from(opened.suite).ok().and_then(Suite::from_byte);
                    let is_of_links = suite.is_some_and(|suite| !suite.is_stream());
                    assert!(unseen || is_of_links, "suite {}", opened.suite);
                }
                Ok(Some(ToBackend::LinkClosed(closed))) => {
                    let user = self.present.remove(&closed.link).expect("only what was opened closes");
                    self.detached.remove(&closed.link);
                    assert_eq!(user, closed.user, "a link has one user");
                    let known = self.devices.remove(&closed.link).map(|(_, device, epoch)| (device, epoch));
                    assert_eq!(known, Some((closed.device.to_vec(), closed.link_epoch)), "and one device");
                    if closed.code != 0 {
                        let known = CloseCode::from_number(closed.code).is_some();
                        assert!(known, "close code {}", closed.code);
                        totals.ends.insert(closed.code);
                    }
                }
                Ok(Some(ToBackend::Announced)) => {
                    let before = self.announced.replace(self.present.len());
                    assert_eq!(before, None, "all have been announced once");
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => panic!("the gateway breaks the stream's rules: {error}"),
            }
        }
        self.machine.keep(input);
        self.ponder(desk, now, rng);
    }

    fn request(&mut self, request: &StreamRequest<'_>, desk: &mut Desk, now: Time, rng: &mut Rng) {
        let StreamRequest { link, user, route, key, payload, .. } = *request;
        desk.ledger.arrived(request.id, request.again);
        if self.leaves_at.is_some() {
            desk.ledger.was_on_its_way(request.id);
        }
        assert!(desk.routes.contains(&route), "{route} is not of {:?}", desk.routes);
        assert!(payload.starts_with(&named(user, route, key)), "a request comes as its user has sent it");
        desk.remember(link, user);
        let declined = !desk.calm && rng.one_in(30);
        if declined {
            desk.ledger.declined(request.id);
        }
        if !desk.calm && rng.one_in(100) {
            let kick = Kick { code: CloseCode::Kicked.number(), ..Kick::default() };
            let device = request.device;
            let kick = match rng.below(3) {
                0 => Kick { link, ..kick },
                1 => Kick { user, device, ..kick },
                _ => Kick { user, ..kick },
            };
            self.machine.kick(&kick);
        }
        if desk.kicks {
            self.machine.kick(&Kick { link, code: CloseCode::Kicked.number(), ..Kick::default() });
            let id = PushId { stream: self.number, number: self.pushes + 1, by_link: true };
            let payload = named(user, "", b"");
            let push = StreamPush {
                number: id.number,
                link,
                id: &id.encode(),
                payload: &payload,
                ..StreamPush::default()
            };
            self.machine.push(&push).expect("credit");
            self.pushes += 1;
        }
        // The silent ones are resolved by the gateway's deadline.
        if desk.calm || !rng.one_in(100) {
            let (due, call) = (now + desk.late, request.call);
            self.answers.push_back(Answer { due, call, payload: payload.to_vec(), declined });
        }
        self.withheld.push(payload.len());
    }

    /// Judges the tokens for which it is time.
    fn ponder(&mut self, desk: &mut Desk, now: Time, rng: &mut Rng) {
        while self.asked.front().is_some_and(|&(due, ..)| due <= now) {
            let Some((_, call, token)) = self.asked.pop_front() else { return };
            self.judge(call, &token, desk, now, rng);
        }
    }

    fn judge(&mut self, call: u64, token: &[u8], desk: &mut Desk, now: Time, rng: &mut Rng) {
        let accepted = desk.calm || !rng.one_in(10);
        // A verdict that makes no sense is none: its client is put off, and nobody else hears of it.
        let (name, of_login) = login_of(token);
        let user = if desk.calm || !rng.one_in(30) { name } else { &[] };
        // Some tokens end soon, one of them has ended.
        let soon = !desk.calm && rng.one_in(4);
        let end = if soon { wall(now).0 + rng.below(5000) as u64 } else { 0 };
        let expires_ms = desk.proved_for.map_or(end, |time| wall(now).0 + time.as_millis() as u64);
        let login = desk.logins.as_mut().map(|logins| {
            *logins += 1;
            logins.to_be_bytes()
        });
        let login = login.as_ref().map_or(of_login, |name| name);
        let verdict = AuthResult { call, accepted, user, expires_ms, login, ..AuthResult::default() };
        if now >= desk.mute_until && (desk.calm || !rng.one_in(10)) {
            self.machine.auth_result(&verdict);
            if desk.greets {
                let id = PushId { stream: self.number, number: self.pushes + 1, by_link: false };
                let payload = named(name, "", b"");
                let push = StreamPush {
                    number: id.number,
                    user: name,
                    id: &id.encode(),
                    payload: &payload,
                    ..StreamPush::default()
                };
                self.machine.push(&push).expect("credit");
                self.pushes += 1;
            }
        }
    }

    /// One push or a volley of them, to a link, to a user or to a device of a user.
    fn push(&mut self, desk: &mut Desk, rng: &mut Rng, totals: &mut Totals) {
        if desk.keeps && rng.one_in(2) {
            return self.push_kept(desk, rng, totals);
        }
        let (link, user) = &desk.known[rng.below(desk.known.len())];
        let by_link = rng.one_in(2);
        let device = if by_link || rng.one_in(2) { "" } else { DEVICES[rng.below(2)] };
        let count = if rng.one_in(3) { 1 + rng.below(40) } else { 1 };
        for _ in 0..count {
            let id = PushId { stream: self.number, number: self.pushes + 1, by_link };
            let mut payload = named(user, "", device.as_bytes());
            payload.resize(payload.len() + rng.below(300), b'y');
            let push = StreamPush {
                number: id.number,
                link: if by_link { *link } else { 0 },
                user: if by_link { &[] } else { user },
                device: device.as_bytes(),
                id: &id.encode(),
                payload: &payload,
                ..StreamPush::default()
            };
            match self.machine.push(&push) {
                Ok(()) => self.pushes += 1,
                Err(blocked) => {
                    totals.blocked += u64::from(blocked == Blocked::Credit);
                    break;
                }
            }
        }
    }

    /// The same, to be acknowledged.
    fn push_kept(&mut self, desk: &mut Desk, rng: &mut Rng, totals: &mut Totals) {
        let (link, user) = desk.known[rng.below(desk.known.len())].clone();
        let by_link = rng.one_in(2);
        let count = if rng.one_in(3) { 1 + rng.below(20) } else { 1 };
        for _ in 0..count {
            let id = PushId { stream: self.number, number: desk.kept.next(), by_link };
            let mut payload = named(&user, "", b"");
            payload.resize(payload.len() + rng.below(300), b'z');
            let push = StreamPush {
                number: id.number,
                link: if by_link { link } else { 0 },
                user: if by_link { &[] } else { &user },
                id: &id.encode(),
                payload: &payload,
                class: 1,
                ttl_ms: if rng.one_in(4) { 1 + rng.below(2000) as u32 } else { 0 },
                ..StreamPush::default()
            };
            match self.machine.push(&push) {
                Ok(()) => desk.kept.leaves(self.number),
                Err(blocked) => {
                    totals.blocked += u64::from(blocked == Blocked::Credit);
                    break;
                }
            }
        }
    }

    /// A push to several users; whether there was credit for it.
    fn push_to_group(&mut self, users: &[&[u8]], class: u32, text: &[u8], desk: &mut Desk) -> bool {
        let number = if class == 1 { desk.kept.next() } else { self.pushes + 1 };
        let id = PushId { stream: self.number, number, by_link: false };
        let names: Vec<_> = users.iter().map(|user| Bytes::copy_from_slice(user)).collect();
        let payload = [&group::named(users)[..], text].concat();
        let push = StreamPush {
            number,
            users: Users::of(&names),
            id: &id.encode(),
            payload: &payload,
            class,
            ..StreamPush::default()
        };
        if self.machine.push(&push).is_err() {
            return false;
        }
        if class == 1 {
            desk.kept.leaves_for(self.number, users);
        } else {
            self.pushes += 1;
            self.groups.insert(number, users.iter().map(|user| user.to_vec()).collect());
        }
        true
    }

    /// A part of a package, which says which one it is; whether there was credit for it.
    fn push_part(
        &mut self,
        user: &[u8],
        class: u32,
        package: &[u8],
        (index, count, on_gap): (u32, u32, u32),
        desk: &mut Desk,
    ) -> bool {
        let number = if class == 1 { desk.kept.next() } else { self.pushes + 1 };
        let id = PushId { stream: self.number, number, by_link: false };
        let mut payload = named(user, "", b"");
        payload.extend_from_slice(format!("part {index}").as_bytes());
        let push = StreamPush {
            number,
            user,
            id: &id.encode(),
            payload: &payload,
            class,
            package: Some(Package { id: package, index, count, on_gap }),
            ..StreamPush::default()
        };
        if self.machine.push(&push).is_err() {
            return false;
        }
        if class == 1 {
            desk.kept.leaves(self.number)
        } else {
            self.pushes += 1
        }
        true
    }

    /// Parts of a package to somebody whom it knows, in any order, and now and then not all.
    fn push_parts(&mut self, desk: &mut Desk, rng: &mut Rng) {
        let (_, user) = desk.known[rng.below(desk.known.len())].clone();
        let class = u32::from(desk.keeps && rng.one_in(2));
        let (count, package) = (2 + rng.below(4) as u32, (self.pushes as u32).to_be_bytes());
        let mut parts: Vec<u32> = (0..count).collect();
        (0..parts.len()).for_each(|at| parts.swap(at, rng.below(count as usize)));
        let (on_gap, all) = (rng.below(2) as u32, !rng.one_in(3));
        for index in parts.into_iter().skip(usize::from(!all)) {
            self.push_part(&user, class, &package, (index, count, on_gap), desk);
        }
    }

    /// The same to some whom it knows, and sometimes to somebody whom nobody knows.
    fn push_to_some(&mut self, desk: &mut Desk, rng: &mut Rng) {
        let mut users: Vec<Vec<u8>> = desk.known.iter().map(|(_, user)| user.clone()).collect();
        users.sort_unstable();
        users.dedup();
        if rng.one_in(3) {
            users.push(b"nobody".to_vec());
        }
        let class = u32::from(desk.keeps && rng.one_in(2));
        let text = vec![b'g'; rng.below(300)];
        let users: Vec<&[u8]> = users.iter().map(|user| &user[..]).collect();
        self.push_to_group(&users, class, &text, desk);
    }

    /// Says how far it knows what became of its pushes.
    fn know(&mut self, desk: &Desk, rng: &mut Rng) {
        let worker = self.machine.gateway().worker;
        let last = desk.kept.last_of(worker);
        if last > self.known && (desk.calm || rng.one_in(20)) {
            self.known = last;
            self.machine.report_ack(last);
        }
    }

    fn report(&mut self, report: &Report<'_>, desk: &mut Desk, totals: &mut Totals) {
        if report.number >= FIRST {
            totals.fates.extend(Undelivered::from_number(report.reason));
            totals.kept += u64::from(report.outcome == PushOutcome::Delivered);
            totals.kept_of_group +=
                u64::from(report.outcome == PushOutcome::Delivered && !report.user.is_empty());
            if let Some(reason) = Undelivered::from_number(report.reason).filter(|_| !report.user.is_empty())
            {
                desk.fates_of_users.insert((report.user.to_vec(), reason));
            }
            return desk.kept.report(self.machine.gateway().worker, report, &desk.ledger);
        }
        assert!((1..=self.pushes).contains(&report.number), "only this stream's pushes are reported");
        assert_eq!(report.outcome, PushOutcome::Undelivered, "nothing else is promised for this class");
        let reason = Undelivered::from_number(report.reason).expect("a known reason");
        totals.undelivered.insert(reason);
        totals.reports += 1;
        if let Some(users) = self.groups.get_mut(&report.number) {
            desk.fates_of_users.insert((report.user.to_vec(), reason));
            return assert!(users.remove(report.user), "one of its users is reported, and once: {report:?}");
        }
        assert!(report.user.is_empty(), "{report:?}");
        if let Some(owed) = self.blunders.remove(&report.number) {
            assert_eq!(reason, owed, "a push that could not be meant");
        }
        desk.ledger.undelivered(self.number, report.number, reason);
    }
}

/// The backend's name of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PushId {
    pub(crate) stream: u64,
    pub(crate) number: u64,
    pub(crate) by_link: bool,
}

impl PushId {
    fn encode(self) -> RequestId {
        let stream = self.stream << 1 | u64::from(self.by_link);
        (u128::from(stream) << 64 | u128::from(self.number)).to_be_bytes()
    }

    pub(crate) fn decode(bytes: RequestId) -> Self {
        let number = u128::from_be_bytes(bytes);
        let stream = (number >> 64) as u64;
        Self { stream: stream >> 1, number: number as u64, by_link: stream & 1 == 1 }
    }
}

/// The user whom a token names, and the login, if it names one.
fn login_of(token: &[u8]) -> (&[u8], &[u8]) {
    match token.iter().position(|&byte| byte == b'/') {
        Some(at) => (&token[..at], &token[at + 1..]),
        None => (token, &[]),
    }
}

/// How the payload of a request begins, so that whoever gets it sees whose it is and which way it was to take.
pub(crate) fn named(user: &[u8], route: &str, key: &[u8]) -> Vec<u8> {
    [user, route.as_bytes(), key, b""].join(&b'/')
}
