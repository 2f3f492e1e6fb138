//! An address clients connect to, as it is in force.

use std::net::SocketAddr;

use ipnet::IpNet;
use protocol::noise::{PublicKey, StaticKey, Suite, Suites};

use super::keys_and_suites::suite_name;
use super::next_key::NextKey;
use super::rates::LinkRates;
use super::sections::ProxyProtocol;
use crate::counters::guard::Guards;
use crate::rate::Rate;

/// Listeners at most: the driver counts those of a worker in a byte.
pub const LISTENERS_MAX: usize = 255;

/// Balancers at most, of one listener: every connection is compared with each of them.
pub const BALANCERS_MAX: usize = 64;

/// An address clients connect to, with the key and the suites they find there.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The name, 1–32 bytes.
    pub name: String,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// The static private key clients must know: its own, or that of `[keys]`.
    pub key: StaticKey,
    /// Public keys it will have, at most [`NEXT_KEYS_MAX`](super::NEXT_KEYS_MAX); clients learn them.
    pub next: Vec<NextKey>,
    /// Public keys it had before.
    pub retired: Vec<PublicKey>,
    /// Suites clients may use. Never empty, and the same for all listeners with one key.
    pub suites: Suites,
    /// Those that clients are told of: without the ones that will be taken off.
    pub suites_announced: Suites,
    /// Connections the kernel keeps per worker until they are accepted.
    pub backlog: usize,
    /// `SO_SNDBUF` of each link.
    pub send_buffer: usize,
    /// `SO_RCVBUF` of each link.
    pub receive_buffer: usize,
    /// Links from one address that are not authenticated, at a time.
    pub strangers_per_address: usize,
    /// Connections from one address.
    pub accepts_per_address: Rate,
    /// Links from one address that are authenticated, at a time.
    pub links_per_address: usize,
    /// Connections by this listener, if they are bounded apart from those by all.
    pub accepts: Option<Rate>,
    /// Hundredths of a core for handshakes of those who come here, if that is less than for all.
    pub handshake_share: Option<usize>,
    /// What links may say here whose users are of no class.
    pub rates: LinkRates,
    /// Guards that are on trial here.
    pub dry_run: Guards,
    /// Whether balancers say whose a connection is.
    pub proxy_protocol: ProxyProtocol,
    /// Who they are: [`BALANCERS_MAX`] at most, and some unless [`Listener::proxy_protocol`] is off.
    pub balancers: Vec<IpNet>,
}

impl Listener {
    /// Names of the suites clients may use, as the file has them.
    #[must_use]
    pub fn suite_names(&self) -> Vec<String> {
        Suite::ALL.into_iter().filter(|suite| self.suites.contains(*suite)).map(suite_name).collect()
    }

    /// Whether a header of a balancer is read, and of whom: `off`, or `required from 10.0.0.0/8`.
    #[must_use]
    pub fn balancing(&self) -> String {
        if self.proxy_protocol == ProxyProtocol::Off {
            return self.proxy_protocol.word().to_owned();
        }
        let balancers: Vec<_> = self.balancers.iter().map(IpNet::to_string).collect();
        format!("{} from {}", self.proxy_protocol.word(), balancers.join(", "))
    }
}
