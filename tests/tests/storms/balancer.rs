//! A balancer in front of the gateway: where connections come from then, and what they begin with.

use driver::Peer;
use gateway::config::ProxyProtocol;
use gateway::proxy_header::SIGNATURE;

use crate::settings::PORT;

/// Where balancers stand.
pub(crate) const BALANCERS: &str = "10.200.0.0/16";
/// Where one of them does.
const BALANCER: [u8; 4] = [10, 200, 0, 1];

/// The way to the gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way(pub(crate) ProxyProtocol);

impl Way {
    /// How the gateway sees somebody with this address who says this first. By `chance` it is told in one form or another, and
    /// where that may be, it comes without a balancer.
    pub(crate) fn carry(self, chance: u64, address: [u8; 4], said: Vec<u8>) -> (Peer, Vec<u8>) {
        let is_direct = match self.0 {
            ProxyProtocol::Off => true,
            ProxyProtocol::Optional => chance.is_multiple_of(2),
            ProxyProtocol::Required => false,
        };
        if is_direct {
            return (Peer::Tcp((address, PORT).into()), said);
        }
        (balancer(), [header(chance / 2, address), said].concat())
    }
}

/// The balancer as a peer.
pub(crate) fn balancer() -> Peer {
    Peer::Tcp((BALANCER, PORT).into())
}

/// A header that names this client: as IPv4, the same with something behind it, or in the form of IPv6.
pub(crate) fn header(form: u64, address: [u8; 4]) -> Vec<u8> {
    let port = PORT.to_be_bytes();
    let mapped = |address: [u8; 4]| [&[0; 10][..], &[0xff; 2], &address].concat();
    let (family, content) = match form % 3 {
        0 => (0x11, [&address[..], &BALANCER, &port, &port].concat()),
        1 => (0x11, [&address[..], &BALANCER, &port, &port, &[4, 0, 90], &[0; 90]].concat()),
        _ => (0x21, [&mapped(address)[..], &mapped(BALANCER), &port, &port].concat()),
    };
    whole(0x21, family, &content)
}

/// A header that says that the connection is the balancer's own.
pub(crate) fn check() -> Vec<u8> {
    whole(0x20, 0, &[])
}

fn whole(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], &[command, family], &(content.len() as u16).to_be_bytes(), content].concat()
}
