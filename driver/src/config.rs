//! What every driver of a worker is built with.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::pool::PoolSize;

/// What a driver is built with, whichever it is.
#[derive(Debug)]
pub struct Config {
    /// Listening sockets, in the order their [`Listener`](crate::Listener) indices count.
    pub listeners: Vec<OwnedFd>,
    /// Size of the socket table. Cut to the limit on open files and to 2²⁰; over io_uring a table near 20,000 keeps
    /// cancelling by descriptor cheap even where more is allowed.
    pub slots: u32,
    /// Generation of the first tenants. Random, so that what an earlier process called its sockets names nobody in this
    /// one.
    pub generation: u32,
    /// Receive buffers for client links.
    pub links: PoolSize,
    /// Receive buffers for streams.
    pub streams: PoolSize,
    /// How long a connect may take.
    pub connect_timeout: Option<Duration>,
    /// How long the kernel still tries to deliver what is unsent when a TCP socket is closed: its `TCP_USER_TIMEOUT`, set
    /// just before. Set on a socket that is open, it would end living peers that do not read for a while. Without it a peer
    /// that reads nothing keeps a closed socket's memory for minutes.
    pub close_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listeners: Vec::new(),
            slots: 20_000,
            generation: 1,
            links: PoolSize { count: 4096, size: 2048 },
            streams: PoolSize { count: 64, size: 64 * 1024 },
            connect_timeout: Some(Duration::from_secs(5)),
            close_timeout: Some(Duration::from_secs(5)),
        }
    }
}
