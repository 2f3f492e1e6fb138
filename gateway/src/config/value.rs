//! Kinds of values a key can have: how each is written, read, measured and shown.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use driver::Endpoint;
use toml::de::DeValue;

use super::socket::SOCKET_PATH_MAX;
use super::unit::show_unit;
use super::{advice, socket};

/// One kind of value. `Out` is what the worker sees.
pub(super) trait Kind {
    /// The checked value.
    type Out;
    /// How to write one, for messages: "a size such as \"64KiB\"".
    const WRITTEN: &'static str;
    /// Whether the key may be absent without a default.
    const OPTIONAL: bool = false;
    /// What [`Self::measure`] counts in: "bytes", "milliseconds", or "1" for things.
    const UNIT: &'static str = "1";

    /// Reads a value, or says what is wrong with it.
    fn read(value: &DeValue<'_>) -> Result<Self::Out, String>;

    /// What to do about a value that cannot be read, where more can be said than how one is written.
    fn advice(_: &DeValue<'_>) -> Option<String> {
        None
    }

    /// What stands for a key that is absent and has no default; `None` where the key is required.
    fn absent() -> Option<Self::Out> {
        None
    }

    /// The number that bounds apply to, in [`Self::UNIT`].
    fn measure(_: &Self::Out) -> Option<u64> {
        None
    }

    /// Shows such a number as one would write it.
    fn show(number: u64) -> String {
        number.to_string()
    }
}

/// Bytes, written with a unit.
pub(super) struct Size;

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Kind for Size {
    type Out = usize;
    const WRITTEN: &'static str = "a size such as \"64KiB\" (units B, KiB, MiB, GiB)";
    const UNIT: &'static str = "bytes";

    fn read(value: &DeValue<'_>) -> Result<usize, String> {
        let bytes = with_unit(value, &SIZE_UNITS)?;
        usize::try_from(bytes).map_err(|_| "is too large".to_owned())
    }

    fn advice(value: &DeValue<'_>) -> Option<String> {
        advice::without_fraction(value.as_str()?, &SIZE_UNITS)
    }

    fn measure(out: &usize) -> Option<u64> {
        u64::try_from(*out).ok()
    }

    fn show(number: u64) -> String {
        show_unit(number, &SIZE_UNITS)
    }
}

/// A span of time, written with a unit.
pub(super) struct Span;

const SPAN_UNITS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl Kind for Span {
    type Out = Duration;
    const WRITTEN: &'static str = "a time such as \"30s\" (units ms, s, m, h)";
    const UNIT: &'static str = "milliseconds";

    fn read(value: &DeValue<'_>) -> Result<Duration, String> {
        with_unit(value, &SPAN_UNITS).map(Duration::from_millis)
    }

    fn advice(value: &DeValue<'_>) -> Option<String> {
        advice::without_fraction(value.as_str()?, &SPAN_UNITS)
    }

    fn measure(out: &Duration) -> Option<u64> {
        u64::try_from(out.as_millis()).ok()
    }

    fn show(number: u64) -> String {
        show_unit(number, &[("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)])
    }
}

/// A span of time too short for a whole number of milliseconds.
pub(super) struct ShortSpan;

const SHORT_SPAN_UNITS: [(&str, u64); 2] = [("ms", 1_000), ("us", 1)];

impl Kind for ShortSpan {
    type Out = Duration;
    const WRITTEN: &'static str = "a short time such as \"50us\" (units us, ms)";
    const UNIT: &'static str = "microseconds";

    fn read(value: &DeValue<'_>) -> Result<Duration, String> {
        with_unit(value, &SHORT_SPAN_UNITS).map(Duration::from_micros)
    }

    fn advice(value: &DeValue<'_>) -> Option<String> {
        advice::without_fraction(value.as_str()?, &SHORT_SPAN_UNITS)
    }

    fn measure(out: &Duration) -> Option<u64> {
        u64::try_from(out.as_micros()).ok()
    }

    fn show(number: u64) -> String {
        show_unit(number, &SHORT_SPAN_UNITS)
    }
}

/// A time as it is given on a command line: with the units of the file, or in days.
pub(super) fn span(text: &str) -> Option<Duration> {
    let units = [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    with_unit(&DeValue::String(text.into()), &units).ok().map(Duration::from_millis)
}

fn with_unit(value: &DeValue<'_>, units: &[(&str, u64)]) -> Result<u64, String> {
    let text = match value {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(_) => return Err("has no unit".to_owned()),
        other => return Err(format!("is {}", described(other))),
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("does not begin with a whole number".to_owned());
    }
    if unit.is_empty() {
        return Err("has no unit".to_owned());
    }
    if unit.starts_with(['.', ',']) {
        return Err("has a fraction".to_owned());
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit.trim_start()) else {
        return Err(format!("has the unknown unit \"{}\"", unit.trim_start()));
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or_else(|| "is too large".to_owned())
}

/// A whole number.
pub(super) struct Count;

impl Kind for Count {
    type Out = usize;
    const WRITTEN: &'static str = "a whole number";

    fn read(value: &DeValue<'_>) -> Result<usize, String> {
        let DeValue::Integer(integer) = value else {
            return Err(format!("is {}", described(value)));
        };
        usize::from_str_radix(integer.as_str(), integer.radix())
            .map_err(|_| "is negative or too large".to_owned())
    }

    fn advice(value: &DeValue<'_>) -> Option<String> {
        let number = value.as_str()?.trim().parse::<u64>().ok()?;
        Some(format!("write it without quotes: {number}"))
    }

    fn measure(out: &usize) -> Option<u64> {
        u64::try_from(*out).ok()
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Kind for Flag {
    type Out = bool;
    const WRITTEN: &'static str = "true or false";

    fn advice(value: &DeValue<'_>) -> Option<String> {
        let flag = value.as_str()?.parse::<bool>().ok()?;
        Some(format!("write it without quotes: {flag}"))
    }

    fn read(value: &DeValue<'_>) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| format!("is {}", described(value)))
    }
}

/// A name: 1–32 bytes of lower-case letters, digits, `-`, `_` and `.`.
pub(super) struct Name;

impl Kind for Name {
    type Out = String;
    const WRITTEN: &'static str = "a name of at most 32 letters a-z, digits, '-', '_' or '.'";

    fn advice(value: &DeValue<'_>) -> Option<String> {
        advice::name(value.as_str()?)
    }

    fn read(value: &DeValue<'_>) -> Result<String, String> {
        let text = text(value)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > protocol::limits::ROUTE_LEN_MAX || !text.bytes().all(plain) {
            return Err("is not a valid name".to_owned());
        }
        Ok(text.to_owned())
    }
}

/// A text that is not empty.
pub(super) struct Text;

impl Kind for Text {
    type Out = String;
    const WRITTEN: &'static str = "a text of at most 256 bytes";

    fn read(value: &DeValue<'_>) -> Result<String, String> {
        match text(value)? {
            "" => Err("is empty".to_owned()),
            text if text.len() > 256 => Err(format!("has {} bytes", text.len())),
            text => Ok(text.to_owned()),
        }
    }
}

/// A path of a file or socket.
pub(super) struct File;

impl Kind for File {
    type Out = PathBuf;
    const WRITTEN: &'static str = "a path";

    fn read(value: &DeValue<'_>) -> Result<PathBuf, String> {
        match text(value)? {
            "" => Err("is empty".to_owned()),
            path => Ok(PathBuf::from(path)),
        }
    }
}

/// The path at which a socket is made.
pub(super) struct SocketFile;

impl Kind for SocketFile {
    type Out = PathBuf;
    const WRITTEN: &'static str = "a path of at most 107 bytes";

    fn advice(value: &DeValue<'_>) -> Option<String> {
        socket::check(File::read(value).ok()?.as_path()).err().map(|(_, fix)| fix)
    }

    fn read(value: &DeValue<'_>) -> Result<PathBuf, String> {
        let path = File::read(value)?;
        socket::check(&path).map_err(|(reason, _)| reason)?;
        Ok(path)
    }
}

/// An IP address with a port.
pub(super) struct Address;

impl Kind for Address {
    type Out = SocketAddr;
    const WRITTEN: &'static str = "an IP address with a port such as \"0.0.0.0:7400\" or \"[::]:7400\"";

    fn advice(value: &DeValue<'_>) -> Option<String> {
        advice::address(value.as_str()?)
    }

    fn read(value: &DeValue<'_>) -> Result<SocketAddr, String> {
        text(value)?.parse().map_err(|_| "is not an IP address with a port".to_owned())
    }
}

/// An IP address with a port, or "off".
pub(super) struct AddressOrOff;

impl Kind for AddressOrOff {
    type Out = Option<SocketAddr>;
    const WRITTEN: &'static str = "an IP address with a port such as \"127.0.0.1:7480\", or \"off\"";

    fn advice(value: &DeValue<'_>) -> Option<String> {
        advice::address(value.as_str()?)
    }

    fn read(value: &DeValue<'_>) -> Result<Self::Out, String> {
        if text(value)? == "off" { Ok(None) } else { Address::read(value).map(Some) }
    }
}

/// Where a backend listens.
pub(super) struct Backend;

impl Kind for Backend {
    type Out = Endpoint;
    const WRITTEN: &'static str = "\"unix:/path/of/socket\" or \"tcp:IP:PORT\"";

    fn advice(value: &DeValue<'_>) -> Option<String> {
        advice::endpoint(value.as_str()?)
    }

    fn read(value: &DeValue<'_>) -> Result<Endpoint, String> {
        let text = text(value)?;
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err("is not an absolute path".to_owned());
            }
            if path.len() > SOCKET_PATH_MAX {
                let len = path.len();
                return Err(format!(
                    "is a path of {len} bytes, and a Unix socket's has at most {SOCKET_PATH_MAX}"
                ));
            }
            return Ok(Endpoint::Unix(PathBuf::from(path)));
        }
        let Some(address) = text.strip_prefix("tcp:") else {
            return Err("begins neither with \"unix:\" nor with \"tcp:\"".to_owned());
        };
        address.parse().map(Endpoint::Tcp).map_err(|_| "is not an IP address with a port".to_owned())
    }
}

/// A closed set of words.
pub(super) trait Word: Copy + 'static {
    /// The words and what they mean.
    const ALL: &'static [(&'static str, Self)];
    /// How to choose one, for messages.
    const WRITTEN: &'static str;
}

/// One word of a closed set.
pub(super) struct OneOf<W>(PhantomData<W>);

impl<W: Word> Kind for OneOf<W> {
    type Out = W;
    const WRITTEN: &'static str = W::WRITTEN;

    fn read(value: &DeValue<'_>) -> Result<W, String> {
        let text = text(value)?;
        W::ALL.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words = W::ALL.iter().map(|(word, _)| *word);
            match super::problem::nearest(text, words) {
                Some(word) => format!("is unknown; did you mean \"{word}\"?"),
                None => "is unknown".to_owned(),
            }
        })
    }
}

/// An array of one kind.
pub(super) struct ListOf<K>(PhantomData<K>);

impl<K: Kind> Kind for ListOf<K> {
    type Out = Vec<K::Out>;
    const WRITTEN: &'static str = K::WRITTEN;

    fn read(value: &DeValue<'_>) -> Result<Self::Out, String> {
        let Some(items) = value.as_array() else {
            return Err(format!("is {}, not a list", described(value)));
        };
        items.iter().map(|item| K::read(item.get_ref())).collect()
    }

    fn advice(value: &DeValue<'_>) -> Option<String> {
        match value {
            DeValue::Array(items) => items
                .iter()
                .map(|item| item.get_ref())
                .find(|item| K::read(item).is_err())
                .and_then(K::advice),
            DeValue::String(text) => Some(format!("write it in brackets: [\"{text}\"]")),
            _ => Some(format!("write a list in brackets; in it, {}", K::WRITTEN)),
        }
    }
}

/// A key that may be absent.
pub(super) struct Optional<K>(PhantomData<K>);

impl<K: Kind> Kind for Optional<K> {
    type Out = Option<K::Out>;
    const WRITTEN: &'static str = K::WRITTEN;
    const OPTIONAL: bool = true;
    const UNIT: &'static str = K::UNIT;

    fn advice(value: &DeValue<'_>) -> Option<String> {
        K::advice(value)
    }

    fn read(value: &DeValue<'_>) -> Result<Self::Out, String> {
        K::read(value).map(Some)
    }

    fn absent() -> Option<Self::Out> {
        Some(None)
    }

    fn measure(out: &Self::Out) -> Option<u64> {
        out.as_ref().and_then(K::measure)
    }

    fn show(number: u64) -> String {
        K::show(number)
    }
}

pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("is {}", described(value)))
}

pub(super) fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<K: Kind>(literal: &str) -> Result<K::Out, String> {
        K::read(DeValue::parse(literal).unwrap().get_ref())
    }

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        assert_eq!(read::<Size>("'64KiB'"), Ok(65_536));
        assert_eq!(read::<Size>("'3 MiB'"), Ok(3 << 20));
        assert_eq!(read::<Size>("'0B'"), Ok(0));
        assert_eq!(read::<Span>("'30s'"), Ok(Duration::from_secs(30)));
        assert_eq!(read::<Span>("'1500ms'"), Ok(Duration::from_millis(1500)));
        assert_eq!(read::<Span>("'2h'"), Ok(Duration::from_secs(7200)));
        assert_eq!(read::<ShortSpan>("'50us'"), Ok(Duration::from_micros(50)));
        assert_eq!(read::<ShortSpan>("'2ms'"), Ok(Duration::from_millis(2)));
        assert!(read::<ShortSpan>("'2s'").is_err());
    }

    #[test]
    fn a_number_without_unit_or_with_a_foreign_one_is_refused() {
        assert_eq!(read::<Size>("65536"), Err("has no unit".to_owned()));
        assert_eq!(read::<Size>("'65536'"), Err("has no unit".to_owned()));
        assert_eq!(read::<Size>("'64kb'"), Err("has the unknown unit \"kb\"".to_owned()));
        assert_eq!(read::<Span>("'5 minutes'"), Err("has the unknown unit \"minutes\"".to_owned()));
        assert_eq!(read::<Span>("'1.5s'"), Err("has a fraction".to_owned()));
        assert_eq!(read::<Span>("'-5s'"), Err("does not begin with a whole number".to_owned()));
        assert_eq!(read::<Span>("'99999999999999999999h'"), Err("is too large".to_owned()));
        assert_eq!(read::<Size>("'99999999999999GiB'"), Err("is too large".to_owned()));
    }

    #[test]
    fn numbers_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(Size::show(65_536), "64KiB");
        assert_eq!(Size::show(65_537), "65537B");
        assert_eq!(Size::show(0), "0B");
        assert_eq!(Span::show(90_000), "90s");
        assert_eq!(Span::show(120_000), "2m");
        assert_eq!(Span::show(1), "1ms");
        assert_eq!((ShortSpan::show(50), ShortSpan::show(3000)), ("50us".to_owned(), "3ms".to_owned()));
    }

    #[test]
    fn backends_are_unix_paths_or_tcp_addresses() {
        assert_eq!(read::<Backend>("'unix:/run/b.sock'"), Ok(Endpoint::Unix(PathBuf::from("/run/b.sock"))));
        assert_eq!(read::<Backend>("'tcp:[::1]:9'"), Ok(Endpoint::Tcp("[::1]:9".parse().unwrap())));
        assert!(read::<Backend>("'unix:b.sock'").is_err());
        assert!(read::<Backend>(&format!("'unix:/{}'", "x".repeat(107))).is_err());
        assert!(read::<Backend>("'10.0.0.1:9'").is_err());
        assert!(read::<Backend>("'tcp:host:9'").is_err());
    }

    #[test]
    fn names_and_counts_keep_their_bounds() {
        assert_eq!(read::<Name>("'chat.v2'"), Ok("chat.v2".to_owned()));
        assert!(read::<Name>("''").is_err());
        assert!(read::<Name>("'Chat'").is_err());
        assert!(read::<Name>(&format!("'{}'", "a".repeat(33))).is_err());
        assert_eq!(read::<Count>("0x10"), Ok(16));
        assert!(read::<Count>("-1").is_err());
        assert!(read::<Count>("1.5").is_err());
    }
}
