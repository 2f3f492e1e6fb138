//! One line of the journal: a ban that was set, or a subject whose ban was lifted.
//!
//! ```text
//!   length (4 bytes, little-endian) · first 8 bytes of SHA-256 of length and body · body (JSON)
//! ```

use protocol::{Time, UnixMillis};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::admission::lists::{Author, Ban, NEVER, REASON_LEN_MAX, Subject};

/// What the journal says of a subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Set(Subject, Ban),
    Lifted(Subject),
}

/// What stands before a body.
pub(super) const HEAD_LEN: usize = 4 + SUM_LEN;
const SUM_LEN: usize = 8;
/// No record is longer, so a length beyond it is damage.
const BODY_LEN_MAX: usize = 4096;

impl Record {
    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let body = self.to_json().to_string();
        debug_assert!(body.len() <= BODY_LEN_MAX, "reasons and names are bounded");
        let len = (body.len() as u32).to_le_bytes();
        out.extend_from_slice(&len);
        out.extend_from_slice(&sum(len, body.as_bytes()));
        out.extend_from_slice(body.as_bytes());
    }

    /// The first record of these bytes and how long it is; `None` if it is not whole or damaged. Times of day become
    /// moments as seen from this one.
    pub(super) fn decode(bytes: &[u8], now: Time, wall: UnixMillis) -> Option<(Self, usize)> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (said, rest) = rest.split_first_chunk::<SUM_LEN>()?;
        let body_len = u32::from_le_bytes(*len) as usize;
        let body =
            rest.get(..body_len).filter(|body| body.len() <= BODY_LEN_MAX && sum(*len, body) == *said)?;
        let record = Self::from_json(&serde_json::from_slice(body).ok()?, now, wall)?;
        Some((record, HEAD_LEN + body_len))
    }

    fn to_json(&self) -> Value {
        let (subject, ban) = match self {
            Self::Set(subject, ban) => (subject, Some(ban)),
            Self::Lifted(subject) => (subject, None),
        };
        let mut value = match subject {
            Subject::Addresses(block) => json!({ "ip": block.to_string() }),
            Subject::User(user) => json!({ "user": user.to_string() }),
        };
        if let Some(ban) = ban {
            value["until"] = ban.until.map_or(Value::Null, |until| until.0.into());
            value["since"] = ban.since.0.into();
            value["reason"] = ban.reason.as_str().into();
            value["by"] = match &ban.by {
                Author::Operator(uid) => json!({ "uid": uid }),
                Author::Backend(name) => json!({ "backend": name }),
                Author::Gateway => "gateway".into(),
            };
        }
        value
    }

    fn from_json(value: &Value, now: Time, wall: UnixMillis) -> Option<Self> {
        let subject = match (&value["ip"], &value["user"]) {
            (Value::String(block), Value::Null) => Subject::Addresses(block.parse().ok()?),
            (Value::Null, Value::String(user)) => Subject::User(user.parse().ok()?),
            _ => return None,
        };
        if value["since"].is_null() {
            return Some(Self::Lifted(subject));
        }
        let until = match &value["until"] {
            Value::Null => None,
            until => Some(UnixMillis(until.as_u64()?)),
        };
        let by = match (&value["by"]["uid"], &value["by"]["backend"], &value["by"]) {
            (Value::Number(uid), ..) => Author::Operator(u32::try_from(uid.as_u64()?).ok()?),
            (_, Value::String(name), _) => Author::Backend(name.clone()),
            (.., Value::String(name)) if name == "gateway" => Author::Gateway,
            _ => return None,
        };
        let reason = value["reason"].as_str()?.to_owned();
        let since = UnixMillis(value["since"].as_u64()?);
        let ban = Ban { end: moment(until, now, wall), until, since, by, reason };
        (ban.reason.len() <= REASON_LEN_MAX).then_some(Self::Set(subject, ban))
    }
}

/// The moment at which a time of day comes, as far as is known now.
pub(super) fn moment(until: Option<UnixMillis>, now: Time, wall: UnixMillis) -> Time {
    until.map_or(NEVER, |until| now + std::time::Duration::from_millis(until.0.saturating_sub(wall.0)))
}

fn sum(len: [u8; 4], body: &[u8]) -> [u8; SUM_LEN] {
    let whole = digest(&SHA256, &[&len, body].concat());
    *whole.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Time = Time::from_nanos(5_000_000_000);
    const WALL: UnixMillis = UnixMillis(1_000_000);

    fn records() -> [Record; 5] {
        let block = |text: &str| Subject::Addresses(text.parse().unwrap());
        let ban = |by, until| Ban {
            end: moment(until, NOW, WALL),
            until,
            since: UnixMillis(7),
            by,
            reason: "\u{1f4a5} \"junk\"\n".to_owned(),
        };
        [
            Record::Set(block("192.0.2.0/24"), ban(Author::Operator(1000), None)),
            Record::Set(block("2001:db8::/48"), ban(Author::Gateway, Some(UnixMillis(1_300_000)))),
            Record::Set(
                Subject::User("hex:00ff".parse().unwrap()),
                ban(Author::Backend("mail".into()), Some(UnixMillis(0))),
            ),
            Record::Lifted(block("192.0.2.0/24")),
            Record::Lifted(Subject::User("eve".parse().unwrap())),
        ]
    }

    #[test]
    fn what_was_written_is_read() {
        let (mut bytes, mut read) = (Vec::new(), Vec::new());
        records().iter().for_each(|record| record.encode(&mut bytes));
        let mut rest = &bytes[..];
        while let Some((record, len)) = Record::decode(rest, NOW, WALL) {
            read.push(record);
            rest = &rest[len..];
        }
        assert_eq!((&read[..], rest.len()), (&records()[..], 0));
        let ends = |record: &Record| if let Record::Set(_, ban) = record { ban.end } else { Time::ZERO };
        assert_eq!(
            read[..3].iter().map(ends).collect::<Vec<_>>(),
            [NEVER, NOW + Duration::from_secs(300), NOW]
        );
    }

    #[test]
    fn no_part_and_no_flipped_bit_of_a_record_is_one() {
        for record in records() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            for len in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..len], NOW, WALL), None);
            }
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&bytes, NOW, WALL), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
