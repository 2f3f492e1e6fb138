//! A whole worker over a driver that does nothing by itself: the order of things within a turn.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use driver::{
    Batch, Chunk, Completion, Counters as DriverCounters, Driver, Full, Listener, Op, Peer, Sent, Token,
};
use protocol::link::Acceptor;
use protocol::noise::{StaticKey, Suite, Suites};
use protocol::{Time, UnixMillis};

use super::*;
use crate::admission::buckets::Buckets;
use crate::admission::ladder::Level;
use crate::admission::lists::Lists;
use crate::admission::rates::Users;
use crate::collections::HashKey;
use crate::counters::Counters;
use crate::session::SessionSecrets;

/// Tells what it is told to tell, and remembers what it was asked for.
#[derive(Debug, Default)]
struct Script {
    told: VecDeque<Completion>,
    asked: Vec<Op>,
    /// What the last wait was allowed: how many completions at least, and how long at most.
    waited: Option<(u32, Option<Duration>)>,
}

impl Driver for Script {
    fn submit(&mut self, op: Op) -> Result<(), Full> {
        self.asked.push(op);
        Ok(())
    }

    fn wait(&mut self, least: u32, most: Option<Duration>) -> io::Result<()> {
        self.waited = Some((least, most));
        Ok(())
    }

    fn next(&mut self) -> Option<Completion> {
        self.told.pop_front()
    }

    fn waiting(&mut self) -> usize {
        self.told.len()
    }

    fn bytes(&mut self, _: &Chunk) -> &mut [u8] {
        unreachable!("nothing arrives here")
    }

    fn recycle(&mut self, _: Chunk) {}

    fn counters(&self) -> DriverCounters {
        DriverCounters::default()
    }
}

fn worker(settings: Settings) -> (Worker<Script>, Post) {
    let mailbox = Mailbox::new(16, 0);
    let post = mailbox.post();
    let suites = Suites::of(&[Suite::NkChaChaPoly]);
    let with = Surroundings {
        acceptors: vec![Acceptor::new(StaticKey::from_secret([9; 32]), suites, &[], None)],
        counters: Arc::new(Counters::new(settings.endpoints.len(), settings.listeners.len())),
        mailbox,
        posts: vec![post.clone()],
        hash: HashKey::new([1; 16]),
        secrets: SessionSecrets::new(&[7; 32]),
        group: HashKey::new([2; 16]),
        lists: Lists::default(),
        buckets: Arc::new(Buckets::new(64, 1, HashKey::new([7; 16]))),
        rated: Arc::new(Users::new(64)),
        pressure: Arc::default(),
        reports: Arc::default(),
        vacancy: Arc::new(Vacancy::new(1)),
        random: Box::new(|bytes| bytes.fill(7)),
    };
    (Worker::new(Script::default(), settings, with, Time::ZERO), post)
}

fn token(slot: u32) -> Token {
    Token { slot, generation: 1 }
}

fn turn(worker: &mut Worker<Script>) -> bool {
    worker.driver.asked.clear();
    worker.turn(Time::ZERO, UnixMillis(1))
}

/// Lets so many links in.
fn accept(worker: &mut Worker<Script>, links: u32) {
    for slot in 0..links {
        let peer = Peer::Tcp((std::net::Ipv4Addr::from(slot << 8), 1000).into());
        turn(worker); // parks
        let accepted = Completion::Accepted { listener: Listener(0), token: token(slot), peer };
        worker.driver.told.push_back(accepted);
    }
    turn(worker);
    assert_eq!(worker.census().links, links as usize);
}

#[test]
fn ends_that_are_left_over_forbid_sleep_until_all_are_buried() {
    let links = 5000;
    let slots = links + 100;
    let settings = Settings { slots, strangers_max: slots as usize, ..Settings::small() };
    let (mut worker, post) = worker(settings);
    accept(&mut worker, links);
    post.send(Letter::Stop).expect("there is room");
    let mut turns = 0;
    loop {
        turn(&mut worker);
        turns += 1;
        let left = worker.census().marked;
        worker.wait().expect("it works");
        let (least, most) = worker.driver.waited.expect("it waited");
        assert_eq!((least == 0, most == Some(Duration::ZERO)), (left > 0, left > 0), "{left} are left");
        if left == 0 {
            break;
        }
    }
    assert!(turns > 1, "more are marked than one turn buries");
    assert_eq!(worker.census().links, links as usize, "their sockets are still to be closed");
}

#[test]
fn a_worker_that_was_told_to_stop_ends_when_its_last_socket_is_closed() {
    let (mut worker, post) = worker(Settings::small());
    accept(&mut worker, 2);
    post.send(Letter::Stop).expect("there is room");
    assert!(turn(&mut worker), "two sockets are open");
    let taken_back = worker.driver.asked.iter().filter(|op| matches!(op, Op::Unpark { .. })).count();
    assert!(taken_back > 0, "nobody is let in any more");
    for _ in 0..taken_back {
        let errno = driver::Errno::CANCELLED;
        worker.driver.told.push_back(Completion::AcceptFailed { listener: Listener(0), errno });
    }
    let cancelled = worker.driver.asked.iter().filter(|op| matches!(op, Op::Cancel { .. })).count();
    assert_eq!(cancelled, 2, "the receive of each");
    for slot in 0..2 {
        let ended = Completion::Ended {
            token: token(slot),
            armed: driver::Armed::Receive,
            why: driver::End::Cancelled,
        };
        worker.driver.told.push_back(ended);
    }
    assert!(turn(&mut worker));
    let closed: Vec<_> = worker.driver.asked.drain(..).collect();
    assert_eq!(closed, [Op::Close { token: token(0) }, Op::Close { token: token(1) }]);
    worker.driver.told.push_back(Completion::Closed { token: token(0) });
    assert!(turn(&mut worker), "one socket is open");
    worker.driver.told.push_back(Completion::Closed { token: token(1) });
    assert!(!turn(&mut worker));
}

#[test]
fn completions_beyond_a_turns_bound_are_left_for_the_next() {
    let (mut worker, _post) = worker(Settings::small());
    let budget = settings::Budgets::default().completions;
    worker.driver.told.extend((0..budget + 5).map(|_| Completion::Rung));
    turn(&mut worker);
    assert_eq!(worker.driver.told.len(), 5);
    turn(&mut worker);
    assert!(worker.driver.told.is_empty());
}

#[test]
fn a_completion_of_a_former_tenant_is_nobodys() {
    let (mut worker, _post) = worker(Settings::small());
    accept(&mut worker, 1);
    let former = Token { generation: 0, ..token(0) };
    let batch = Batch { bytes: vec![1; 300], sent: 300 };
    worker.driver.told.extend([
        Completion::Readable { token: former },
        Completion::Ended { token: former, armed: driver::Armed::Receive, why: driver::End::Eof },
        Completion::Sent { token: former, batch, result: Sent::Cancelled },
    ]);
    turn(&mut worker);
    assert_eq!(worker.driver.asked, [], "its successor is not concerned");
    assert_eq!((worker.census().links, worker.census().marked), (1, 0));
}

#[test]
fn under_overload_a_worker_keeps_half_of_its_idle_buffers_and_then_as_many_as_before() {
    let (mut worker, _post) = worker(Settings::small());
    let most = Settings::small().buffers_idle_max;
    worker.parts.turn.buffers.fill(2048, most / 2048);
    let mut idle_at = |level: Level, second: u64| {
        worker.parts.overload.force(level);
        worker.turn(Time::ZERO + Duration::from_secs(second), UnixMillis(1));
        worker.parts.turn.buffers.fill(2048, most / 2048);
        worker.parts.turn.buffers.idle_bytes()
    };
    assert_eq!(
        [idle_at(Level::NoExtras, 1), idle_at(Level::Thrifty, 2), idle_at(Level::Calm, 3)],
        [most, most / 2, most]
    );
}
