//! How public keys and suites are written in the file.

use protocol::UnixMillis;
use protocol::noise::{PublicKey, Suite};
use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use super::NextKey;
use super::value::{Kind, text};

/// 32 bytes of a public key, in hex.
pub(super) struct PublicHex;

impl Kind for PublicHex {
    type Out = PublicKey;
    const WRITTEN: &'static str = "a public key: 64 hex digits, as `gateway keygen` prints it";

    fn read(value: &DeValue<'_>) -> Result<PublicKey, String> {
        protocol::hex::decode_array::<32>(text(value)?)
            .map(PublicKey)
            .ok_or_else(|| "is not 64 hex digits".to_owned())
    }
}

/// A public key, and from when on it is used.
pub(super) struct NextKeyFrom;

impl Kind for NextKeyFrom {
    type Out = NextKey;
    const WRITTEN: &'static str = "a public key of 64 hex digits and from when on it is used, such as \"0a…ff from 2030-12-24T06:00:00Z\"";

    fn read(value: &DeValue<'_>) -> Result<NextKey, String> {
        let Some((key, from)) = text(value)?.split_once(" from ") else {
            return Err("does not say from when on the key is used".to_owned());
        };
        let key = protocol::hex::decode_array(key.trim()).map(PublicKey);
        let not_before = from.trim().parse().ok().as_ref().and_then(unix_millis);
        Ok(NextKey {
            key: key.ok_or_else(|| "does not begin with 64 hex digits".to_owned())?,
            not_before: not_before.ok_or_else(|| "does not end with a date and time in UTC".to_owned())?,
        })
    }
}

/// A date and time that says its offset, if it is from 1970 on.
fn unix_millis(moment: &Datetime) -> Option<UnixMillis> {
    let (date, time) = (moment.date?, moment.time?);
    let offset = match moment.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // Days of the civil calendar, counted from a first of March, so that the leap day is the last of its year.
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + i64::from(date.day) - 1;
    let minutes = (days - DAYS_TO_1970) * 1440 + i64::from(time.hour) * 60 + i64::from(time.minute) - offset;
    let millis = (minutes * 60 + i64::from(time.second.unwrap_or(0))) * 1000;
    u64::try_from(millis).ok().map(UnixMillis)
}

/// From the first of March of the year 0.
const DAYS_TO_1970: i64 = 719_468;

/// A suite of client links, by its name without the parts that all suites share.
pub(super) struct LinkSuite;

impl Kind for LinkSuite {
    type Out = Suite;
    const WRITTEN: &'static str =
        "suite names: NK, IK, NNpsk0 or XX, then _ChaChaPoly or _AESGCM, such as \"NK_ChaChaPoly\"";

    fn read(value: &DeValue<'_>) -> Result<Suite, String> {
        suite(text(value)?, |suite| !suite.is_stream())
    }
}

/// A suite of encrypted streams, by its name without the parts that all suites share.
pub(super) struct StreamSuite;

impl Kind for StreamSuite {
    type Out = Suite;
    const WRITTEN: &'static str = "\"KK_ChaChaPoly\" or \"KK_AESGCM\"";

    fn read(value: &DeValue<'_>) -> Result<Suite, String> {
        suite(text(value)?, Suite::is_stream)
    }
}

fn suite(text: &str, fits: impl Fn(Suite) -> bool) -> Result<Suite, String> {
    let found = Suite::ALL.into_iter().find(|suite| fits(*suite) && suite_name(*suite) == text);
    found.ok_or_else(|| "is unknown".to_owned())
}

/// A suite's name as the file has it: without the parts that all suites share.
pub(super) fn suite_name(suite: Suite) -> String {
    suite.name().replace("Noise_", "").replace("_25519", "").replace("_SHA256", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<K: Kind>(literal: &str) -> Result<K::Out, String> {
        K::read(DeValue::parse(literal).unwrap().get_ref())
    }

    #[test]
    fn a_next_key_says_from_when_on_it_is_used() {
        let hex = "0a".repeat(32);
        let from =
            |text: &str| read::<NextKeyFrom>(&format!("'{hex} from {text}'")).map(|next| next.not_before.0);
        assert_eq!(from("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(from("2000-02-29T23:59:59Z"), Ok(951_868_799_000));
        assert_eq!(from("2026-11-27T02:00:00+02:00"), Ok(1_795_737_600_000));
        assert_eq!(from("2100-03-01T00:00:00Z"), Ok(4_107_542_400_000));
        for wrong in ["", "2026-11-27", "2026-11-27T02:00:00", "1969-12-31T23:59:59Z", "soon"] {
            assert!(from(wrong).is_err(), "{wrong}");
        }
        assert!(read::<NextKeyFrom>(&format!("'{hex}'")).is_err());
        assert!(read::<NextKeyFrom>("'0a from 2026-11-27T02:00:00Z'").is_err());
    }
}
