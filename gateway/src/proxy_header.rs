//! The header that a balancer puts in front of a connection to say whose it is: the PROXY protocol, version 2.
//!
//! ```text
//!  0              12      13       14     16
//! [ signature     | 2 cmd | family | len  | source, destination, ports | type, length, value | … ]
//!                                         └────────────────── len bytes ────────────────────────┘
//! ```
//!
//! Nothing is known here of sockets, of time, or of who may send one. Bytes come in as they arrive, and nothing behind the header
//! is looked at.

use std::net::{IpAddr, SocketAddr};

/// What every header begins with. A link's hello begins with another byte, and so does a header of version 1.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
const FIXED_LEN: usize = 16;

/// Longest header, all told, in bytes. A sender must keep to 536, which one segment carries everywhere; twice as much leaves room
/// for those who add names of certificates all the same, and is a quarter of what one record of a stranger may hold.
pub const HEADER_LEN_MAX: usize = 1072;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's, at this address. IPv4 is IPv4, however it was written.
    Client(SocketAddr),
    /// A client's whose address the balancer does not know, or that has none: one of a Unix socket.
    Unknown,
    /// The balancer's own: it looks whether anybody is here.
    Balancer,
}

/// How far a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// So far it is one. More is known when this many bytes are there, counted from its first.
    Part {
        /// More than there are, and [`HEADER_LEN_MAX`] at most.
        wanted: usize,
    },
    /// It is complete.
    Whole {
        /// How many bytes it has.
        len: usize,
        /// What it says.
        origin: Origin,
    },
}

/// Why bytes are no header, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They do not begin like one.
    Signature,
    /// It is of another version.
    Version,
    /// It says neither that the connection is a client's nor that it is the balancer's.
    Command,
    /// It is of a family of addresses, or of a transport, that the protocol does not have.
    Family,
    /// It is longer than [`HEADER_LEN_MAX`].
    TooLong,
    /// It is shorter than the addresses of its family.
    TooShort,
    /// What stands behind the addresses does not end where the header ends.
    Extension,
    /// It was damaged: the checksum is that of something else.
    Checksum,
}

/// Reads a header off the front of what has arrived so far.
///
/// # Errors
/// The first [`Flaw`], as soon as the byte is there that shows it.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Flaw> {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err(Flaw::Signature);
    }
    let is_local = match bytes.get(12) {
        Some(byte) if byte >> 4 != 2 => return Err(Flaw::Version),
        Some(byte) if byte & 0xf > 1 => return Err(Flaw::Command),
        byte => byte.is_some_and(|byte| byte & 0xf == 0),
    };
    let family = bytes.get(13).copied();
    let addresses = match family.map(addresses_len) {
        // What a balancer's own connection has behind the command says nothing, whatever it is.
        _ if is_local => 0,
        Some(None) => return Err(Flaw::Family),
        Some(Some(len)) => len,
        None => 0,
    };
    let Some(fixed) = bytes.first_chunk::<FIXED_LEN>() else { return Ok(Parsed::Part { wanted: FIXED_LEN }) };
    let len = FIXED_LEN + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if len > HEADER_LEN_MAX {
        return Err(Flaw::TooLong);
    }
    if len < FIXED_LEN + addresses {
        return Err(Flaw::TooShort);
    }
    let Some(header) = bytes.get(..len) else { return Ok(Parsed::Part { wanted: len }) };
    if is_local {
        return Ok(Parsed::Whole { len, origin: Origin::Balancer });
    }
    check_extensions(header, FIXED_LEN + addresses)?;
    let source = match family {
        Some(TCP4 | UDP4) => source::<4>(header),
        Some(TCP6 | UDP6) => source::<16>(header),
        _ => None,
    };
    Ok(Parsed::Whole { len, origin: source.map_or(Origin::Unknown, Origin::Client) })
}

/// Families of addresses with their transports. How a client has reached the balancer is the balancer's affair.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const UDP4: u8 = 0x12;
const TCP6: u8 = 0x21;
const UDP6: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;

/// How many bytes two addresses of this family take, with their ports.
const fn addresses_len(family: u8) -> Option<usize> {
    match family {
        UNSPECIFIED => Some(0),
        TCP4 | UDP4 => Some(2 * 4 + 4),
        TCP6 | UDP6 => Some(2 * 16 + 4),
        UNIX_STREAM | UNIX_DATAGRAM => Some(2 * 108),
        _ => None,
    }
}

/// The source, with addresses of so many bytes; `None` for `0.0.0.0` and `::`, from which nobody connects.
fn source<const LEN: usize>(header: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; LEN]>,
{
    let (ip, rest) = header.get(FIXED_LEN..)?.split_first_chunk::<LEN>()?;
    let port = rest.get(LEN..)?.first_chunk()?;
    let ip = IpAddr::from(*ip).to_canonical();
    (!ip.is_unspecified()).then(|| SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// The extension that holds a checksum of the header, computed as if the checksum were zero.
const CHECKSUM: u8 = 0x03;

/// Goes over what stands from `at` on to the end of the header, and skips it, but for a checksum.
fn check_extensions(header: &[u8], mut at: usize) -> Result<(), Flaw> {
    while let Some(extension) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(&[kind, high, low]) = extension.first_chunk() else { return Err(Flaw::Extension) };
        let (from, len) = (at + 3, usize::from(u16::from_be_bytes([high, low])));
        let value = header.get(from..from + len).ok_or(Flaw::Extension)?;
        if kind == CHECKSUM {
            let said = u32::from_be_bytes(value.try_into().map_err(|_| Flaw::Checksum)?);
            let zeroed = header[..from].iter().chain(&[0; 4]).chain(&header[from + 4..]);
            if crc32c(zeroed) != said {
                return Err(Flaw::Checksum);
            }
        }
        at = from + len;
    }
    Ok(())
}

/// CRC-32C, of RFC 3720, section 12.1.
fn crc32c<'b>(bytes: impl Iterator<Item = &'b u8>) -> u32 {
    !bytes.fold(!0, |crc: u32, byte| crc >> 8 ^ CRC32C[usize::from(crc as u8 ^ byte)])
}

/// The remainder of each byte, with all bits in reverse order.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with this command, family and content.
    fn header(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let len = (content.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, content].concat()
    }

    /// Of a client at 192.0.2.7:4000.
    fn over_ipv4(more: &[u8]) -> Vec<u8> {
        header(0x21, TCP4, &[&[192, 0, 2, 7, 10, 0, 0, 1, 0x0f, 0xa0, 0x1c, 0xe8], more].concat())
    }

    fn over_ipv6(source: &str) -> Vec<u8> {
        let source: std::net::Ipv6Addr = source.parse().unwrap();
        header(0x21, TCP6, &[&source.octets()[..], &[1; 16], &[0x0f, 0xa0, 0x1c, 0xe8]].concat())
    }

    fn whole(bytes: &[u8]) -> Origin {
        match parse(bytes) {
            Ok(Parsed::Whole { len, origin }) if len == bytes.len() => origin,
            other => panic!("{other:?} of {} bytes", bytes.len()),
        }
    }

    fn client(address: &str) -> Origin {
        Origin::Client(address.parse().unwrap())
    }

    #[test]
    fn a_header_names_the_client() {
        assert_eq!(whole(&over_ipv4(&[])), client("192.0.2.7:4000"));
        assert_eq!(whole(&over_ipv6("2001:db8::7")), client("[2001:db8::7]:4000"));
        assert_eq!(whole(&over_ipv6("::ffff:192.0.2.7")), client("192.0.2.7:4000"));
        let mut by_udp = over_ipv4(&[]);
        by_udp[13] = UDP4;
        assert_eq!(whole(&by_udp), client("192.0.2.7:4000"));
    }

    #[test]
    fn a_client_without_an_address_is_one_all_the_same() {
        for content in [&[][..], &[4, 0, 1, 0]] {
            assert_eq!(whole(&header(0x21, UNSPECIFIED, content)), Origin::Unknown);
        }
        assert_eq!(whole(&header(0x21, UNIX_STREAM, &[b'/'; 216])), Origin::Unknown);
        assert_eq!(whole(&over_ipv6("::")), Origin::Unknown);
        assert_eq!(whole(&header(0x21, TCP4, &[0; 12])), Origin::Unknown);
    }

    #[test]
    fn what_is_the_balancers_own_is_so_whatever_else_it_says() {
        for (family, content) in [(UNSPECIFIED, &[][..]), (TCP4, &[1; 12]), (TCP6, &[1; 3]), (0xff, &[3, 0])]
        {
            assert_eq!(whole(&header(0x20, family, content)), Origin::Balancer);
        }
    }

    /// Cut anywhere, it asks for what will tell more, and what stands behind it is left alone.
    #[test]
    fn a_header_comes_in_pieces_and_nothing_behind_it_is_looked_at() {
        let checked =
            [&[4, 0, 0][..], &checksum_of(&over_ipv4(&[4, 0, 0, CHECKSUM, 0, 4, 0, 0, 0, 0]))].concat();
        for header in [over_ipv4(&[]), over_ipv6("2001:db8::7"), over_ipv4(&checked), header(0x20, 0, &[])] {
            for cut in 0..header.len() {
                let Ok(Parsed::Part { wanted }) = parse(&header[..cut]) else { panic!("at {cut}") };
                assert_eq!(wanted, if cut < FIXED_LEN { FIXED_LEN } else { header.len() });
            }
            let origin = whole(&header);
            let more = [&header[..], &SIGNATURE].concat();
            assert_eq!(parse(&more), Ok(Parsed::Whole { len: header.len(), origin }));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_byte_that_shows_it() {
        for (at, byte, flaw) in [
            (0, 0xac, Flaw::Signature),
            (11, b'\r', Flaw::Signature),
            (12, 0x11, Flaw::Version),
            (12, 0x31, Flaw::Version),
            (12, 0x22, Flaw::Command),
            (12, 0x2f, Flaw::Command),
            (13, 0x10, Flaw::Family),
            (13, 0x01, Flaw::Family),
            (13, 0x13, Flaw::Family),
            (13, 0x41, Flaw::Family),
            (15, 11, Flaw::TooShort),
            (14, 5, Flaw::TooLong),
        ] {
            let mut wrong = over_ipv4(&[]);
            wrong[at] = byte;
            // The length is known with its last byte.
            let shown = at.max(if at == 14 { 15 } else { at });
            assert!(matches!(parse(&wrong[..shown]), Ok(Parsed::Part { .. })), "{flaw:?}");
            assert_eq!(parse(&wrong[..=shown]), Err(flaw));
            assert_eq!(parse(&wrong), Err(flaw));
        }
        assert_eq!(parse(b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 7400\r\n"), Err(Flaw::Signature));
    }

    #[test]
    fn the_longest_header_is_read_and_one_byte_more_is_too_long() {
        let room = HEADER_LEN_MAX - FIXED_LEN - 12 - 3;
        let padded = |len: usize| {
            let value = [&[4][..], &(len as u16).to_be_bytes(), &vec![0; len]].concat();
            over_ipv4(&value)
        };
        assert_eq!((whole(&padded(room)), padded(room).len()), (client("192.0.2.7:4000"), HEADER_LEN_MAX));
        assert_eq!(parse(&padded(room + 1)), Err(Flaw::TooLong));
    }

    #[test]
    fn extensions_are_skipped_and_end_with_the_header() {
        assert_eq!(
            whole(&over_ipv4(&[1, 0, 2, b'h', b'2', 4, 0, 0, 0xee, 0, 1, 9])),
            client("192.0.2.7:4000")
        );
        for cut_off in [&[1][..], &[1, 0], &[1, 0, 1], &[1, 0, 0, 4, 0, 2, 0], &[1, 0xff, 0xff, 0]] {
            assert_eq!(parse(&over_ipv4(cut_off)), Err(Flaw::Extension));
        }
    }

    /// The checksum extension of a header that ends with one.
    fn checksum_of(header: &[u8]) -> [u8; 7] {
        let [a, b, c, d] = crc32c(header.iter()).to_be_bytes();
        [CHECKSUM, 0, 4, a, b, c, d]
    }

    #[test]
    fn a_checksum_has_to_be_that_of_the_header() {
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283, "the check value of CRC-32C");
        let good = over_ipv4(&checksum_of(&over_ipv4(&[CHECKSUM, 0, 4, 0, 0, 0, 0])));
        assert_eq!(whole(&good), client("192.0.2.7:4000"));
        // One bit more of its kind makes it an extension like others, which nothing vouches for.
        for at in (FIXED_LEN..good.len()).filter(|at| good[*at] != CHECKSUM) {
            let mut damaged = good.clone();
            damaged[at] ^= 0x10;
            assert!(parse(&damaged).is_err(), "byte {at}");
        }
        assert_eq!(parse(&over_ipv4(&[CHECKSUM, 0, 2, 0, 0])), Err(Flaw::Checksum));
    }
}
