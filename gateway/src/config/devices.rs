//! How many devices of each class a user may have linked at once, and what becomes of one more.

use toml::de::DeValue;

use super::section::section;
use super::value::{Kind, OneOf, Word, text};

section! {
    /// How many devices of each class a user may have linked at once. What a device is says its token, else the backend that judges
    /// it, else the client. `devices` of `[limits]` bounds all of them together.
    pub Devices {
        /// Phones.
        phone: DevicePolicy as PolicyOf = "'allow'", Restart, "none";
        /// Tablets.
        tablet: DevicePolicy as PolicyOf = "'allow'", Restart, "none";
        /// Programs on desktop computers.
        desktop: DevicePolicy as PolicyOf = "'allow'", Restart, "none";
        /// Pages in browsers.
        web: DevicePolicy as PolicyOf = "'allow'", Restart, "none";
        /// Others, and those of which nobody says what they are.
        other: DevicePolicy as PolicyOf = "'allow'", Restart, "none";
        /// What becomes of one device more than all classes together may have: "replace" or "refuse".
        beyond: Beyond as OneOf<Beyond> = "'replace'", Restart, "none";
    }
}

/// How many devices of a class a user may have linked at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DevicePolicy {
    /// As many as all classes together may have.
    #[default]
    Allow,
    /// So many; one more takes the place of another one.
    Replace(u32),
    /// So many; one more is not let in.
    Refuse(u32),
}

/// What becomes of one device too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beyond {
    /// It takes the place of another one.
    #[default]
    Replace,
    /// It is not let in.
    Refuse,
}

impl Word for Beyond {
    const ALL: &'static [(&'static str, Self)] = &[("replace", Self::Replace), ("refuse", Self::Refuse)];
    const WRITTEN: &'static str = "\"replace\" or \"refuse\"";
}

impl Devices {
    /// The policy of each class, by its number in the protocol (SPEC.md, section "Classes of devices").
    #[must_use]
    pub const fn by_class(&self) -> [DevicePolicy; 6] {
        [self.other, self.phone, self.tablet, self.desktop, self.web, self.other]
    }
}

/// "allow", "replace 1", "refuse 2".
pub(super) struct PolicyOf;

/// As many as `devices` of `[limits]` may be.
const DEVICES_MAX: u32 = 1024;

impl Kind for PolicyOf {
    type Out = DevicePolicy;
    const WRITTEN: &'static str =
        "\"allow\", \"replace N\" or \"refuse N\", where N is a number from 1 to 1024";

    fn read(value: &DeValue<'_>) -> Result<DevicePolicy, String> {
        let text = text(value)?.trim();
        if text == "allow" {
            return Ok(DevicePolicy::Allow);
        }
        let (word, number) = text.split_once(' ').unwrap_or((text, ""));
        let number = number.trim();
        let Some(count) = number.parse().ok().filter(|count| (1..=DEVICES_MAX).contains(count)) else {
            return Err(match word {
                "replace" | "refuse" if number.is_empty() => "does not say how many there may be".to_owned(),
                "replace" | "refuse" => {
                    format!("has \"{number}\" where a number from 1 to {DEVICES_MAX} belongs")
                }
                _ => format!("has the unknown word \"{}\"", word.escape_debug()),
            });
        };
        match word {
            "replace" => Ok(DevicePolicy::Replace(count)),
            "refuse" => Ok(DevicePolicy::Refuse(count)),
            _ => Err(format!("has the unknown word \"{}\"", word.escape_debug())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_word_and_mostly_a_number() {
        let read = |literal: &str| PolicyOf::read(DeValue::parse(literal).unwrap().get_ref());
        assert_eq!(read("'allow'"), Ok(DevicePolicy::Allow));
        assert_eq!(read("'replace 1'"), Ok(DevicePolicy::Replace(1)));
        assert_eq!(read("'refuse  1024'"), Ok(DevicePolicy::Refuse(1024)));
        for (wrong, said) in [
            ("'replace'", "does not say how many"),
            ("'refuse 0'", "where a number from 1 to 1024 belongs"),
            ("'replace 1025'", "where a number from 1 to 1024 belongs"),
            ("'alow'", "unknown word \"alow\""),
            ("'kick 3'", "unknown word \"kick\""),
            ("1", "number"),
        ] {
            let problem = read(wrong).expect_err(wrong);
            assert!(problem.contains(said), "{wrong}: {problem}");
        }
    }
}
