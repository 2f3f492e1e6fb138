//! Whom a service keeps out of a gateway, or slows down.

use std::net::IpAddr;

use bytes::Bytes;
use protocol::UnixMillis;
use protocol::limits::{BAN_REASON_LEN_MAX, ID_LEN_MAX};
use protocol::stream::BackendStream;
use protocol::wire::stream::{self, Throttle, Unban};

/// Whom a ban or a throttle concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Whom {
    /// A user, 1 to 64 bytes.
    User(Bytes),
    /// All addresses that begin like this one, with so many bits of it: at least one, and no more than it has.
    Addresses(IpAddr, u8),
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sanction {
    pub(crate) whom: Whom,
    pub(crate) measure: Measure,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Ban { until: Option<UnixMillis>, reason: String },
    Unban,
    Throttle { percent: u8, until: Option<UnixMillis> },
}

impl Sanction {
    /// Whether a gateway would heed it.
    pub(crate) fn is_valid(&self) -> bool {
        let names_somebody = match &self.whom {
            Whom::User(user) => (1..=ID_LEN_MAX).contains(&user.len()),
            Whom::Addresses(address, bits) => (1..=if address.is_ipv4() { 32 } else { 128 }).contains(bits),
        };
        names_somebody
            && match &self.measure {
                Measure::Ban { reason, .. } => reason.len() <= BAN_REASON_LEN_MAX,
                Measure::Unban => true,
                Measure::Throttle { percent, .. } => (1..=100).contains(percent),
            }
    }

    /// Hands it to a stream.
    pub(crate) fn say(&self, stream: &mut BackendStream) {
        let octets = match self.whom {
            Whom::Addresses(IpAddr::V4(address), _) => address.octets().to_vec(),
            Whom::Addresses(IpAddr::V6(address), _) => address.octets().to_vec(),
            Whom::User(_) => Vec::new(),
        };
        let whom = match &self.whom {
            Whom::User(user) => stream::Whom::User(user),
            Whom::Addresses(_, bits) => {
                stream::Whom::Addresses { prefix: &octets, prefix_len: (*bits).into() }
            }
        };
        let millis = |until: Option<UnixMillis>| until.map_or(0, |until| until.0);
        match &self.measure {
            Measure::Ban { until, reason } => {
                stream.ban(&stream::Ban { whom, until_ms: millis(*until), reason, realm: "" });
            }
            Measure::Unban => stream.unban(&Unban { whom, realm: "" }),
            Measure::Throttle { percent, until } => {
                let (percent, until_ms) = ((*percent).into(), millis(*until));
                stream.throttle(&Throttle { whom, percent, until_ms, realm: "" });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_would_skip_is_not_taken() {
        let valid = |whom: Whom, measure: Measure| Sanction { whom, measure }.is_valid();
        let user = |len| Whom::User(vec![b'a'; len].into());
        assert_eq!([0, 1, 64, 65].map(|len| valid(user(len), Measure::Unban)), [false, true, true, false]);
        let block = |address: &str, bits| Whom::Addresses(address.parse().unwrap(), bits);
        assert_eq!(
            [0, 1, 32, 33].map(|bits| valid(block("192.0.2.1", bits), Measure::Unban)),
            [false, true, true, false]
        );
        assert!(valid(block("::1", 128), Measure::Unban) && !valid(block("::1", 129), Measure::Unban));
        let throttle = |percent| valid(user(1), Measure::Throttle { percent, until: None });
        assert_eq!([0, 1, 100, 101].map(throttle), [false, true, true, false]);
        let ban = |len| valid(user(1), Measure::Ban { until: None, reason: "r".repeat(len) });
        assert_eq!([128, 129].map(ban), [true, false]);
    }
}
