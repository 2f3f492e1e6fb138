//! Rates of links and classes of accounts: what the numbers must be to each other.

use std::time::Duration;

use super::names::unique;
use super::tables::Tables;
use crate::config::rates::{CLASSES_MAX, Class, LinkRates, OwnRates};
use crate::config::section::Reader;
use crate::config::value::{Kind, Size};

/// A bucket that takes longer to fill would outlast what is known of a link.
const SPAN_MAX: Duration = Duration::from_secs(3600);

/// Resolves and checks the classes, and what all others have.
pub(super) fn classes(reader: &mut Reader<'_>, tables: &Tables) -> Option<Vec<Class>> {
    let all = tables.rates.rates();
    let mut sound = check(reader, "rates", all, None, tables.limits.frame_len_max);
    let mut classes: Vec<Class> = Vec::new();
    if tables.classes.len() > CLASSES_MAX {
        let reason = format!("there are {} classes", tables.classes.len());
        reader.error("class", reason, format!("remove some: {CLASSES_MAX} are possible"));
        return None;
    }
    for (i, keys) in tables.classes.iter().enumerate() {
        let (path, own) = (format!("class[{i}]"), keys.rates());
        if classes.iter().any(|other| other.name == keys.name) {
            unique(reader, &path, &keys.name);
            sound = false;
        }
        sound &= check(reader, &path, all.with(&own), Some(&own), tables.limits.frame_len_max);
        classes.push(Class { name: keys.name.clone(), rates: own });
    }
    sound.then_some(classes)
}

/// What a listener or a class has in the end. `own` says what of it stands in its table.
pub(super) fn check(
    reader: &mut Reader<'_>,
    path: &str,
    rates: LinkRates,
    own: Option<&OwnRates>,
    frame_len_max: usize,
) -> bool {
    let mut sound = true;
    let is_own = own.map_or([true; 6], OwnRates::are_set);
    for ((key, rate), _) in rates.each().into_iter().zip(is_own).filter(|(_, is_own)| *is_own) {
        let is_bytes = key.starts_with("bytes");
        let key = format!("{path}.{key}");
        if rate.span() > SPAN_MAX {
            let reason = format!("takes {} s to fill up: an hour is possible", rate.span().as_secs());
            reader.error(&key, reason, "lower the burst, or raise the rate".to_owned());
            sound = false;
        }
        let least = frame_len_max + FRAMED_MORE;
        if is_bytes && (rate.burst() as usize) < least {
            let longest = Size::show(frame_len_max as u64);
            let reason = format!("has a burst below one frame of frame_len_max ({longest}) as it arrives");
            let fix = format!("write \"burst {}\" or more, or lower frame_len_max", Size::show(least as u64));
            reader.error(&key, reason, fix);
            sound = false;
        }
    }
    sound
}

/// What a frame is longer by at most when it arrives: the lengths and tags of its records.
const FRAMED_MORE: usize = 4096;
