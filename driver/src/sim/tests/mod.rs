//! The virtual network held to what it promises.

mod contract;
mod echo;
mod network;
mod worker;

use std::net::{Ipv4Addr, SocketAddr};

use super::{Buffers, Config, Net, SimDriver, Socket};
use crate::ops::{Completion, Driver, Endpoint, Listener, Op, Peer, Token};
use crate::{Mode, Pool, PoolSize};

fn place(port: u16) -> Endpoint {
    Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn peer(port: u16) -> Peer {
    Peer::Tcp(SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), port)))
}

fn config() -> Config {
    Config {
        slots: 16,
        links: PoolSize { count: 8, size: 64 },
        streams: PoolSize { count: 2, size: 256 },
        listeners: vec![place(1)],
        buffers: Buffers { send: 1000, receive: 1000 },
    }
}

/// Waits once and takes everything.
fn turn(driver: &mut SimDriver) -> Vec<Completion> {
    driver.wait(0, None).unwrap();
    std::iter::from_fn(|| driver.next()).collect()
}

/// A worker, a client, and the worker's token for it; nothing armed.
fn linked(seed: u64) -> (Net, SimDriver, Socket, Token) {
    let net = Net::new(seed);
    let mut driver = SimDriver::new(&net, config());
    let (client, token) = link(&net, &mut driver);
    (net, driver, client, token)
}

fn link(net: &Net, driver: &mut SimDriver) -> (Socket, Token) {
    let client = net.connect(&place(1), peer(7), Buffers { send: 500, receive: 500 });
    net.carry_all();
    driver.submit(Op::Park { listener: Listener(0) }).unwrap();
    let accepted = turn(driver).into_iter().find_map(|completion| match completion {
        Completion::Accepted { token, .. } => Some(token),
        _ => None,
    });
    (client, accepted.unwrap())
}

fn receive(token: Token, mode: Mode) -> Op {
    Op::Receive { token, pool: Pool::Links, mode }
}

/// Copies what arrived and gives the chunk back; `None` for anything else.
fn take(driver: &mut SimDriver, completion: Completion) -> Option<(Vec<u8>, bool)> {
    let Completion::Received { chunk, more, .. } = completion else { return None };
    let bytes = driver.bytes(&chunk).to_vec();
    driver.recycle(chunk);
    Some((bytes, more))
}
