//! What to write instead: for the mistakes that people make, the very text that would be right.

use std::net::{IpAddr, SocketAddr};

use super::unit::show_unit;

/// For a number with a fraction and one of these units: the same without the fraction, if there is a unit small enough.
pub(super) fn without_fraction(text: &str, units: &[(&str, u64)]) -> Option<String> {
    let (whole, rest) = text.split_once(['.', ','])?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let (fraction, unit) = rest.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let number = format!("{whole}{fraction}").parse::<u64>().ok()?.checked_mul(*factor)?;
    let mut units = units.to_vec();
    units.sort_unstable_by_key(|(_, factor)| std::cmp::Reverse(*factor));
    number.is_multiple_of(scale).then(|| format!("write \"{}\"", show_unit(number / scale, &units)))
}

/// For what is no address with a port.
pub(super) fn address(text: &str) -> Option<String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => return Some(format!("add the port: \"{ip}:7400\"")),
        // Which of its groups is a port, if any, nobody can tell.
        Ok(IpAddr::V6(_)) => {
            return Some("write the IP address in brackets before the port: \"[::1]:7400\"".to_owned());
        }
        Err(_) => {}
    }
    let port = text.rsplit(':').next()?.parse::<u16>().ok()?;
    let name = text.rsplit_once(':').map_or("", |(name, _)| name);
    match name {
        "" | "*" => Some(format!("write \"0.0.0.0:{port}\" for all addresses, or \"127.0.0.1:{port}\"")),
        "localhost" => {
            Some(format!("write \"127.0.0.1:{port}\" or \"[::1]:{port}\": names are not looked up"))
        }
        _ if name.parse::<IpAddr>().is_ok() => Some(format!("write \"[{name}]:{port}\"")),
        _ if is_host(name) => {
            Some(format!("write its IP address (`getent hosts {name}` prints it): names are not looked up"))
        }
        _ => None,
    }
}

/// For what says neither "unix:" nor "tcp:" rightly.
pub(super) fn endpoint(text: &str) -> Option<String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let relative = !path.is_empty() && !path.starts_with('/');
        return relative.then(|| format!("write the whole path, such as \"unix:/run/{path}\""));
    }
    if let Some(rest) = text.strip_prefix("tcp:") {
        let rest = rest.trim_start_matches('/');
        return if rest.parse::<SocketAddr>().is_ok() {
            Some(format!("write \"tcp:{rest}\""))
        } else {
            address(rest)
        };
    }
    if text.starts_with('/') {
        return Some(format!("write \"unix:{text}\""));
    }
    if text.parse::<SocketAddr>().is_ok() {
        return Some(format!("write \"tcp:{text}\""));
    }
    address(text).map(|advice| format!("{advice}; and \"tcp:\" before it"))
}

/// For an address in the place of a name.
pub(super) fn name(text: &str) -> Option<String> {
    text.contains([':', '/'])
        .then(|| "write the name of the table, and the address into that table's `address`".to_owned())
}

fn is_host(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_fraction_is_written_in_a_smaller_unit() {
        let times = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
        let sizes = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
        let time = |text| without_fraction(text, &times);
        assert_eq!(time("1.5s").as_deref(), Some("write \"1500ms\""));
        assert_eq!(time("0,5 h").as_deref(), Some("write \"30m\""));
        assert_eq!(time("0.5ms"), None, "no unit is smaller");
        assert_eq!(without_fraction("1.5MiB", &sizes).as_deref(), Some("write \"1536KiB\""));
        for other in ["1.s5", "1.5", "1.5 parsecs", ".s", "1.99999999999999999999s", "a.5s"] {
            assert_eq!(time(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_what_would_be_one() {
        for (text, right) in [
            ("127.0.0.1", "\"127.0.0.1:7400\""),
            (":7400", "\"0.0.0.0:7400\""),
            ("7400", "\"127.0.0.1:7400\""),
            ("localhost:7400", "\"127.0.0.1:7400\""),
            ("db.example.com:9", "`getent hosts db.example.com`"),
            ("::1:7400", "in brackets before the port: \"[::1]:7400\""),
            ("1:2:3:4:5:6:7:8:9", "\"[1:2:3:4:5:6:7:8]:9\""),
        ] {
            assert!(address(text).is_some_and(|advice| advice.contains(right)), "{text}");
        }
        assert_eq!(address("`rm`:9"), None, "nothing is pasted into a command that could be one");
        for (text, right) in [
            ("/run/b.sock", "write \"unix:/run/b.sock\""),
            ("unix:b.sock", "write the whole path, such as \"unix:/run/b.sock\""),
            ("10.0.0.1:9", "write \"tcp:10.0.0.1:9\""),
            ("tcp://10.0.0.1:9", "write \"tcp:10.0.0.1:9\""),
        ] {
            assert_eq!(endpoint(text).as_deref(), Some(right), "{text}");
        }
        for text in ["tcp:backend:9", "backend:9"] {
            assert!(endpoint(text).is_some_and(|advice| advice.contains("`getent hosts backend`")), "{text}");
        }
    }
}
