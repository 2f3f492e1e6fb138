//! A real ring on loopback, and blocking sockets of the standard library at the other end.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the rig")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use driver::{
    Armed, Batch, Completion, Config, Doorbells, Driver, Endpoint, ListenOptions, Listener, Mode, Op, Pool,
    PoolSize, RingConfig, Sent, Token, Uring, listen, local_address,
};

/// A driver with one listener on a loopback port.
pub struct Rig<D = Uring> {
    pub driver: D,
    pub address: SocketAddr,
}

/// Few slots and buffers, so that tests are cheap.
pub fn small() -> Config {
    Config {
        slots: 64,
        links: PoolSize { count: 64, size: 2048 },
        streams: PoolSize { count: 4, size: 16 * 1024 },
        ..Config::default()
    }
}

/// A small ring, for the same reason.
pub fn small_ring() -> RingConfig {
    RingConfig { submissions: 64, completions: 128, ..RingConfig::default() }
}

/// Builds the rig, or says why it can't be and returns `None`.
pub fn rig(config: Config) -> Option<Rig> {
    rig_over(config, small_ring())
}

pub fn rig_over(config: Config, measures: RingConfig) -> Option<Rig> {
    rig_with(config, measures, &ListenOptions::default())
}

pub fn rig_with(config: Config, measures: RingConfig, options: &ListenOptions) -> Option<Rig> {
    let listener = listen(&Endpoint::Tcp("127.0.0.1:0".parse().unwrap()), options).unwrap();
    let address = local_address(&listener).unwrap().unwrap();
    let config = Config { listeners: vec![listener], ..config };
    let driver = ring_of(config, measures, Doorbells::new(1), 0)?;
    Some(Rig { driver, address })
}

/// A ring alone.
pub fn ring(config: Config, doorbells: Doorbells, index: u32) -> Option<Uring> {
    ring_of(config, small_ring(), doorbells, index)
}

pub fn ring_of(config: Config, measures: RingConfig, doorbells: Doorbells, index: u32) -> Option<Uring> {
    if let Err(blocked) = driver::probe() {
        eprintln!("NOT RUN: {blocked}");
        return None;
    }
    Some(Uring::with_ring(config, measures, doorbells, index).unwrap())
}

impl<D: Driver> Rig<D> {
    pub fn submit(&mut self, op: Op) {
        self.driver.submit(op).expect("the queue of a test is large enough");
    }

    /// The next completion. Fails after ten seconds without one.
    pub fn await_one(&mut self) -> Completion {
        await_one(&mut self.driver)
    }

    /// The next completion if there is one within a moment; for showing that there is none.
    pub fn glance(&mut self) -> Option<Completion> {
        if let Some(completion) = self.driver.next() {
            return Some(completion);
        }
        self.driver.wait(1, Some(Duration::from_millis(30))).unwrap();
        self.driver.next()
    }

    pub fn park(&mut self) {
        self.submit(Op::Park { listener: Listener(0) });
    }

    pub fn receive(&mut self, token: Token, mode: Mode) {
        self.submit(Op::Receive { token, pool: Pool::Links, mode });
    }

    pub fn send(&mut self, token: Token, bytes: &[u8]) {
        self.submit(Op::Send { token, batch: Batch { bytes: bytes.to_vec(), sent: 0 } });
    }

    pub fn cancel(&mut self, token: Token, armed: Armed) {
        self.submit(Op::Cancel { token, armed });
    }

    /// Accepts one client.
    pub fn meet(&mut self) -> (Token, TcpStream) {
        self.park();
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.set_nodelay(true).unwrap();
        match self.await_one() {
            Completion::Accepted { token, .. } => (token, client),
            other => panic!("not an accept: {other:?}"),
        }
    }

    /// Takes a completion for an arrival, gives the chunk back, and returns its bytes and whether more will come.
    pub fn arrival(&mut self, completion: Completion) -> (Token, Vec<u8>, bool) {
        match completion {
            Completion::Received { token, chunk, more } => {
                let bytes = self.driver.bytes(&chunk).to_vec();
                assert_eq!(bytes.len(), chunk.len());
                self.driver.recycle(chunk);
                (token, bytes, more)
            }
            other => panic!("not an arrival: {other:?}"),
        }
    }

    /// Sends until everything is out.
    pub fn send_all(&mut self, token: Token, bytes: &[u8]) {
        self.send(token, bytes);
        loop {
            match self.await_one() {
                Completion::Sent { batch, .. } if batch.rest().is_empty() => return,
                Completion::Sent { batch, result: Sent::Bytes(_) | Sent::Again, .. } => {
                    self.submit(Op::Send { token, batch });
                }
                other => panic!("not a send: {other:?}"),
            }
        }
    }

    pub fn close(&mut self, token: Token) {
        self.submit(Op::Close { token });
        assert_eq!(self.await_one(), Completion::Closed { token });
    }
}

pub fn await_one(driver: &mut impl Driver) -> Completion {
    for _ in 0..100 {
        if let Some(completion) = driver.next() {
            return completion;
        }
        driver.wait(1, Some(Duration::from_millis(100))).unwrap();
    }
    panic!("nothing completed for ten seconds");
}

pub fn read_exactly(client: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

pub fn write_all(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
}
