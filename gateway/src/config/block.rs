//! How addresses and blocks of them are written.

use std::net::IpAddr;

use ipnet::IpNet;
use toml::de::DeValue;

use super::value::{Kind, text};

/// An address, or a block of them. Bits behind the prefix may be set, and are zero in what is read.
pub(super) struct AddressBlock;

impl Kind for AddressBlock {
    type Out = IpNet;
    const WRITTEN: &'static str = "a list of addresses and blocks such as [\"10.0.0.7\", \"2001:db8::/48\"]";

    fn read(value: &DeValue<'_>) -> Result<IpNet, String> {
        let text = text(value)?;
        let block = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        block
            .map(|block| block.trunc())
            .map_err(|_| format!("has \"{}\", which is no address and no block", text.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_as_people_write_it() {
        let read = |literal: &str| AddressBlock::read(DeValue::parse(literal).unwrap().get_ref());
        for (literal, block) in [
            ("'10.1.2.3/8'", "10.0.0.0/8"),
            ("'10.1.2.3'", "10.1.2.3/32"),
            ("'2001:db8::7/48'", "2001:db8::/48"),
            ("'2001:db8::7'", "2001:db8::7/128"),
        ] {
            assert_eq!(read(literal).unwrap().to_string(), block);
        }
        for wrong in ["'10.0.0.0/33'", "'10.0.0'", "'balancer.example'", "''"] {
            assert!(read(wrong).unwrap_err().ends_with("which is no address and no block"), "{wrong}");
        }
        assert_eq!(read("8"), Err("is a whole number".to_owned()));
    }
}
