//! Who is measured: address, key, token and process of the gateway, from options or from its ready file.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use protocol::noise::PublicKey;
use serde::Deserialize;

/// The gateway to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens; the unspecified address when it listens on all of them.
    pub address: SocketAddr,
    /// Its key.
    pub server_key: PublicKey,
    /// The development token.
    pub token: String,
    /// Where it shows its metrics, if it is known to.
    pub http: Option<SocketAddr>,
    /// Its process, if it is to be watched.
    pub pid: Option<u32>,
    /// Why the ready file's process is not.
    pub unwatched: Option<String>,
}

/// What a gateway writes when it is ready. Fields this version does not know are left alone.
#[derive(Debug, Deserialize)]
pub struct ReadyFile {
    /// The process.
    pub pid: u32,
    /// Address and port.
    pub listen: SocketAddr,
    /// 64 hex digits.
    pub server_key: String,
    /// In development only.
    #[serde(default)]
    pub token: Option<String>,
    /// The address of /metrics, if it has one.
    #[serde(default)]
    pub http: Option<SocketAddr>,
}

impl ReadyFile {
    /// Reads the file.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// A key from 64 hex digits.
///
/// # Errors
/// One line that says what a key looks like.
pub fn parse_key(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|_| "a server key is 64 hex digits".to_owned())
}

/// The range of ports the kernel draws on for connects.
///
/// # Errors
/// When the kernel does not tell.
pub fn ports() -> io::Result<u32> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut ends = text.split_ascii_whitespace().map_while(|end| end.parse::<u32>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) if first <= last => Ok(last - first + 1),
        _ => Err(io::Error::other("ip_local_port_range has another form than expected")),
    }
}

/// Where `links` links are to go. A pair of source and destination address has room for `ports` links, so a target that
/// listens on all addresses is reached at several of 127.0.0.0/8. Half of a pair's ports are used, because the kernel
/// searches longer and longer for the last ones.
///
/// # Errors
/// One line when a single address has too few ports.
pub fn destinations(address: SocketAddr, links: u32, ports: u32) -> Result<Vec<SocketAddr>, String> {
    if !address.ip().is_unspecified() {
        if links > ports {
            return Err(format!(
                "{links} links to one address need {links} ports, and there are {ports}: let the gateway listen on \
                 0.0.0.0 and give that address"
            ));
        }
        return Ok(vec![address]);
    }
    let needed = links.div_ceil((ports / 2).max(1)).max(1);
    let loopback = u32::from(Ipv4Addr::LOCALHOST);
    let at = |n| SocketAddr::new(IpAddr::V4(Ipv4Addr::from(loopback + n)), address.port());
    Ok((0..needed).map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_spread_only_over_a_target_that_listens_everywhere() {
        let everywhere = "0.0.0.0:7000".parse().unwrap();
        let spread = destinations(everywhere, 100_000, 28_232).unwrap();
        assert_eq!(spread.len(), 8);
        assert_eq!(
            (spread[0], spread[7]),
            ("127.0.0.1:7000".parse().unwrap(), "127.0.0.8:7000".parse().unwrap())
        );
        assert_eq!(destinations("[::]:7000".parse().unwrap(), 1, 28_232).unwrap(), spread[..1]);
        let one = "127.0.0.1:7000".parse().unwrap();
        assert_eq!(destinations(one, 28_232, 28_232).unwrap(), [one]);
        assert!(destinations(one, 28_233, 28_232).is_err());
    }

    #[test]
    fn keys_have_64_digits() {
        assert_eq!(parse_key(&"0a".repeat(32)), Ok(PublicKey([10; 32])));
        for wrong in ["", "0a", &"0a".repeat(33), &"xx".repeat(32), &"0a".repeat(32)[1..]] {
            assert!(parse_key(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ready_file_may_lack_the_token_and_hold_more() {
        let text =
            r#"{"pid": 7, "listen": "0.0.0.0:7000", "server_key": "ab", "admin": "/tmp/a", "more": 1}"#;
        let file: ReadyFile = serde_json::from_str(text).unwrap();
        assert_eq!((file.pid, file.token, file.http), (7, None, None));
    }

    #[test]
    fn this_machine_has_ports() {
        assert!(ports().unwrap() > 0);
    }
}
