//! Headers of balancers, beside another hand's reading of them: the crate `proxy-header`.
//!
//! ```text
//! mode 0  bytes as they are
//! mode 1  command, family, addresses (bytes), extensions (bytes), flags, place, bits, more
//! ```
//!
//! In mode 1 a header is put together. Flag 1 adds a checksum that is right, flag 2 makes the header as long as its family wants,
//! and then `bits` of the byte at `place` are flipped. `more` stands behind it.

use std::net::SocketAddr;

use gateway::proxy_header::{Flaw, HEADER_LEN_MAX, Origin, Parsed, SIGNATURE, parse};
use proxy_header::{Error, ParseConfig, ProxyHeader};

use super::Seed;
use super::script::{Script, Writer};

/// The body of this target: whether a header was read.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    let bytes = if script.byte().is_multiple_of(2) { script.rest().to_vec() } else { built(&mut script) };
    let parsed = parse(&bytes);
    check_pieces(&bytes, parsed);
    judge(&bytes, parsed);
    usize::from(matches!(parsed, Ok(Parsed::Whole { .. })))
}

/// However the bytes are cut, what comes of them is the same, and is known no later than it was asked for.
fn check_pieces(bytes: &[u8], whole: Result<Parsed, Flaw>) {
    let mut wanted_before = 0;
    for len in 0..=bytes.len().min(HEADER_LEN_MAX + 1) {
        match parse(&bytes[..len]) {
            Ok(Parsed::Part { wanted }) => {
                assert!((len + 1..=HEADER_LEN_MAX).contains(&wanted), "{wanted} of {len}");
                assert!(wanted == wanted_before || len >= wanted_before, "{wanted} at {len}");
                wanted_before = wanted;
            }
            known => {
                assert_eq!(known, whole, "at {len}");
                assert!(known.is_err() || len == wanted_before, "known at {len} and wanted {wanted_before}");
                return;
            }
        }
    }
    assert!(matches!(whole, Ok(Parsed::Part { .. })), "{whole:?} of all and of no part");
}

/// What the other hand makes of it has to be the same, but for what we say more strictly or leave out.
fn judge(bytes: &[u8], ours: Result<Parsed, Flaw>) {
    let config = ParseConfig { allow_v1: false, ..ParseConfig::default() };
    let theirs = ProxyHeader::parse(bytes, ParseConfig { include_tlvs: true, ..config });
    match ours {
        Ok(Parsed::Part { .. }) => assert!(matches!(theirs, Err(Error::BufferTooShort)), "{theirs:?}"),
        Ok(Parsed::Whole { len, origin: Origin::Balancer }) => match theirs {
            Ok((header, their_len)) => assert!(header.proxied_address().is_none() && their_len == len),
            // Of what is the balancer's own, nothing but the length counts.
            Err(error) => {
                assert!(
                    matches!(error, Error::Invalid | Error::BufferTooShort) && bytes[12] == 0x20,
                    "{error:?}"
                );
            }
        },
        Ok(Parsed::Whole { len, origin }) => {
            let (header, their_len) = theirs.expect("both read it");
            assert_eq!(their_len, len);
            let source = header.proxied_address().map(|address| address.source);
            assert_eq!(client(origin), source.and_then(canonical));
            let extensions = split(extensions(&bytes[..len])).expect("they end where the header does");
            assert_eq!(extensions.len(), header.tlvs().count());
            assert!(
                extensions
                    .iter()
                    .all(|&(kind, at, value)| kind != CHECKSUM || is_right(&bytes[..len], at, value))
            );
        }
        Err(Flaw::TooLong) => {
            let said = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
            assert!(16 + said > HEADER_LEN_MAX, "{said} bytes are not too many");
        }
        Err(Flaw::Extension | Flaw::Checksum) => {
            let (header, len) = theirs.expect("they do not look at what is wrong");
            let found = split(extensions(&bytes[..len]));
            let is_wrong =
                |&(kind, at, value): &Extension<'_>| kind == CHECKSUM && !is_right(&bytes[..len], at, value);
            let has_wrong = found.as_ref().is_some_and(|found| found.iter().any(is_wrong));
            assert!(found.is_none() || has_wrong, "{ours:?} of {found:?}");
            assert!(has_wrong || header.tlvs().any(|extension| extension.is_err()), "{ours:?}");
        }
        Err(flaw) => assert!(theirs.is_err(), "{flaw:?} of {theirs:?}"),
    }
}

fn client(origin: Origin) -> Option<SocketAddr> {
    match origin {
        Origin::Client(address) => Some(address),
        Origin::Unknown | Origin::Balancer => None,
    }
}

/// As we write it; nobody connects from the address of nobody.
fn canonical(address: SocketAddr) -> Option<SocketAddr> {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    (!address.ip().is_unspecified()).then_some(address)
}

const CHECKSUM: u8 = 3;
/// Its kind, where its value begins, and that.
type Extension<'b> = (u8, usize, &'b [u8]);

/// What stands behind the addresses.
fn extensions(header: &[u8]) -> (usize, &[u8]) {
    let at = 16 + addresses_len(header[13]);
    (at, &header[at..])
}

const fn addresses_len(family: u8) -> usize {
    match family {
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => 0,
    }
}

/// One by one; nothing if the last one is cut off.
fn split((mut at, mut bytes): (usize, &[u8])) -> Option<Vec<Extension<'_>>> {
    let mut all = Vec::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let (value, behind) = rest.split_at_checked(usize::from(*high) << 8 | usize::from(*low))?;
        all.push((*kind, at + 3, value));
        (at, bytes) = (at + 3 + value.len(), behind);
    }
    bytes.is_empty().then_some(all)
}

/// Whether a checksum, whose value begins there, is that of the header.
fn is_right(header: &[u8], at: usize, value: &[u8]) -> bool {
    let mut header = header.to_vec();
    header[at..at + value.len()].fill(0);
    value == checksum(&header)
}

/// Bit by bit, as the polynomial is divided on paper.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut remainder = u32::MAX;
    for bit in bytes.iter().flat_map(|byte| (0..8).map(move |at| byte >> at & 1)) {
        let is_odd = (remainder >> 31 != 0) != (bit != 0);
        remainder = remainder << 1 ^ if is_odd { 0x1edc_6f41 } else { 0 };
    }
    (!remainder.reverse_bits()).to_be_bytes()
}

fn built(script: &mut Script<'_>) -> Vec<u8> {
    let [command, family] = script.array();
    let mut content = script.bytes().to_vec();
    let more = script.bytes().to_vec();
    let [flags, high, low, bits] = script.array();
    if flags & FITS != 0 {
        content.resize(addresses_len(family), 0);
    }
    content.extend(more);
    let at = 16 + content.len() + 3;
    if flags & SUMMED != 0 {
        content.extend([CHECKSUM, 0, 4, 0, 0, 0, 0]);
    }
    content.truncate(u16::MAX.into());
    let len = (content.len() as u16).to_be_bytes();
    let mut header = [&SIGNATURE[..], &[command, family], &len, &content].concat();
    if flags & SUMMED != 0 && at + 4 == header.len() {
        let sum = checksum(&header);
        header[at..].copy_from_slice(&sum);
    }
    let place = usize::from(u16::from_be_bytes([high, low])) % header.len();
    header[place] ^= bits;
    header.extend_from_slice(script.rest());
    header
}

const SUMMED: u8 = 1;
const FITS: u8 = 2;

/// Headers of each family, whole, cut off and damaged.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let raw = |bytes: &[u8]| Writer::default().byte(0).rest(bytes).done();
    let made =
        |[command, family]: [u8; 2], addresses: &[u8], extensions: &[u8], [flags, place, bits]: [u8; 3]| {
            let head =
                Writer::default().byte(1).byte(command).byte(family).bytes(addresses).bytes(extensions);
            head.byte(flags).byte(0).byte(place).byte(bits).rest(b"\xac\xce\x55\x0a").done()
        };
    let (tcp4, tcp6) = ([0x21, 0x11], [0x21, 0x21]);
    let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x0f, 0xa0, 0x1c, 0xe8];
    let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[1; 16], &[0x0f, 0xa0, 0x1c, 0xe8]].concat();
    let mapped = [&[0; 10][..], &[0xff; 2], &[192, 0, 2, 7], &[1; 16], &[0x0f, 0xa0, 0x1c, 0xe8]].concat();
    let named = b"\x02\0\x0achat.local\x01\0\x02h2\x04\0\x03\0\0\0";
    let plain = [0, 0, 0];
    vec![
        ("tcp4", made(tcp4, &four, &[], plain)),
        ("tcp6", made(tcp6, &six, &[], plain)),
        ("tcp6-mapped", made(tcp6, &mapped, &[], plain)),
        ("udp4", made([0x21, 0x12], &four, &[], plain)),
        ("extensions", made(tcp4, &four, named, plain)),
        ("summed", made(tcp4, &four, named, [SUMMED, 0, 0])),
        ("summed-tcp6", made(tcp6, &six, &[], [SUMMED, 0, 0])),
        ("summed-damaged", made(tcp4, &four, named, [SUMMED, 18, 1])),
        ("summed-twice", made(tcp4, &four, &[3, 0, 4, 0, 0, 0, 0], [SUMMED, 0, 0])),
        ("sum-cut-off", made(tcp4, &four, &[3, 0, 2, 0, 0], plain)),
        ("extension-cut-off", made(tcp4, &four, &[4, 0, 9, 0], plain)),
        ("unspecified", made([0x21, 0], &[], named, [SUMMED, 0, 0])),
        ("from-nowhere", made(tcp6, &[], &[], [FITS, 0, 0])),
        ("unix", made([0x21, 0x31], b"/run/client", &[], [FITS, 0, 0])),
        ("local", made([0x20, 0], &[], &[], plain)),
        ("local-with-content", made([0x20, 0x11], &four, named, plain)),
        ("local-with-anything", made([0x20, 0xff], &[3, 0], &[], plain)),
        ("local-too-short", made([0x20, 0x21], &[0], &[], plain)),
        ("too-short", made(tcp6, &four, &[], plain)),
        ("too-long", made(tcp4, &four, &[0; 1100], plain)),
        ("other-version", made([0x31, 0x11], &four, &[], plain)),
        ("other-command", made([0x22, 0x11], &four, &[], plain)),
        ("other-family", made([0x21, 0x41], &four, &[], plain)),
        ("signature-alone", raw(&SIGNATURE)),
        ("cut-off", raw(&[&SIGNATURE[..], &[0x21, 0x11, 0, 12, 192]].concat())),
        ("version-1", raw(b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 7400\r\n")),
        ("hello", raw(b"\xac\xce\x55\x0a\x01\x01")),
        ("nothing", raw(&[])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judges_checksum_has_its_check_value() {
        assert_eq!(checksum(b"123456789"), 0xe306_9283_u32.to_be_bytes());
    }
}
