//! Tables of the file: each key is declared once, with its kind, default, bounds and documentation, and from
//! that come the struct, the reader, the messages and `gateway keys`.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::former::{FORMER, plain};
use super::problem::{Problem, nearest};
use super::value::Kind;

/// What a change of a key asks of a process by the key's nature. This version cannot reload its config, so that every
/// change takes a restart, and nobody is told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The value alone: nothing is bound, sized or started from it.
    Live,
    /// A new process: memory, threads or sockets are made from it at the start.
    Restart,
}

/// What is known about one key without any file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name inside its table.
    pub name: &'static str,
    /// What it means, in sentences.
    pub doc: &'static str,
    /// How its value is written.
    pub written: &'static str,
    /// The default, as TOML; empty when the key is required or optional without one.
    pub default: &'static str,
    /// Least and greatest value, as numbers `show` can print; empty without bounds.
    pub bounds: &'static [RangeInclusive<u64>],
    /// Shows a number in the key's unit.
    pub show: fn(u64) -> String,
    /// Whether the file must give it.
    pub required: bool,
    /// What a change asks for.
    pub takes: Takes,
    /// The memory it can cost at worst.
    pub memory: &'static str,
}

/// A bound as it is in force, from the file or by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The key with its table, such as `limits.outbox_pool`; of the second route `route[1].deadline`.
    pub key: String,
    /// Whose it is, of the numbers that each worker has its own of.
    pub worker: Option<u32>,
    /// What is counted: "bytes", "milliseconds", or "1" for things.
    pub unit: &'static str,
    /// The number.
    pub number: u64,
}

/// A table whose keys are declared by [`section!`].
pub(super) trait Section: Sized {
    /// All keys.
    const KEYS: &'static [Key];
    /// Reads every key, so that all problems of a table are found at once.
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self>;
}

/// Declares a table: `name: Type as Kind = "default as TOML" in bounds, Live | Restart, "worst-case memory";`. An empty
/// default means that the kind decides what an absent key stands for.
macro_rules! section {
    ($(#[$meta:meta])* $vis:vis $section:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty as $kind:ty = $default:literal $(in $bounds:expr)?, $takes:ident, $memory:literal;)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $vis struct $section {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl $crate::config::section::Section for $section {
            const KEYS: &'static [$crate::config::section::Key] = &[$($crate::config::section::Key {
                name: stringify!($field),
                doc: concat!($($doc),+),
                written: <$kind as $crate::config::value::Kind>::WRITTEN,
                default: $default,
                bounds: &[$($bounds)?],
                show: <$kind as $crate::config::value::Kind>::show,
                required: $crate::config::section::required::<$kind>($default),
                takes: $crate::config::section::Takes::$takes,
                memory: $memory,
            },)+];

            fn read(fields: &mut $crate::config::section::Fields<'_, '_>) -> Option<Self> {
                $(let $field = fields.value::<$kind>(stringify!($field), $default, [$($bounds)?].first());)+
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
}
pub(super) use section;

/// Where keys stand in the file, what is in force, and what is wrong so far.
pub(super) struct Reader<'t> {
    text: &'t str,
    places: BTreeMap<String, Range<usize>>,
    pub(super) bounds: Vec<Bound>,
    pub(super) problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, places: BTreeMap::new(), bounds: Vec::new(), problems: Vec::new() }
    }

    /// Reads a table that may be absent.
    pub(super) fn table<S: Section>(&mut self, root: &DeTable<'_>, name: &str) -> Option<S> {
        let table = match find(root, name) {
            None => None,
            Some((span, value)) => {
                self.places.insert(name.to_owned(), span);
                let Some(table) = value.as_table() else {
                    self.error(
                        name,
                        format!("[{name}] must be a table"),
                        format!("write [{name}] on a line"),
                    );
                    return None;
                };
                Some(table)
            }
        };
        self.fields(table, name, &[])
    }

    /// Reads an array of tables that may be absent; each is named `name[i]` in messages.
    pub(super) fn tables<S: Section>(&mut self, root: &DeTable<'_>, name: &str) -> Option<Vec<S>> {
        let Some((span, value)) = find(root, name) else { return Some(Vec::new()) };
        self.places.insert(name.to_owned(), span);
        let Some(items) = value.as_array() else {
            self.error(name, format!("[[{name}]] must be an array of tables"), format!("write [[{name}]]"));
            return None;
        };
        let mut read = Some(Vec::new());
        for (i, item) in items.iter().enumerate() {
            let path = format!("{name}[{i}]");
            self.places.insert(path.clone(), item.span());
            let section = match item.get_ref().as_table() {
                Some(table) => self.fields::<S>(Some(table), &path, &[]),
                None => {
                    self.error(&path, "is not a table".to_owned(), format!("write [[{name}]]"));
                    None
                }
            };
            read = read.zip(section).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        read
    }

    /// The same, but where the file has none there is one all the same, which reads like `unwritten`.
    pub(super) fn tables_or<S: Section>(
        &mut self,
        root: &DeTable<'_>,
        name: &str,
        unwritten: &str,
    ) -> Option<Vec<S>> {
        if find(root, name).is_some() {
            return self.tables(root, name);
        }
        let path = format!("{name}[0]");
        let table = DeTable::parse(unwritten).expect("a test reads it");
        let read = self.fields(Some(table.get_ref()), &path, &[]);
        // Where it stands is no place of the file.
        self.places.retain(|key, _| !key.starts_with(&path));
        read.map(|one| vec![one])
    }

    /// Reads the keys of one table. `others` are names that belong to somebody else.
    pub(super) fn fields<S: Section>(
        &mut self,
        table: Option<&DeTable<'_>>,
        path: &str,
        others: &[&str],
    ) -> Option<S> {
        for (key, value) in table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref().as_ref();
            let full = join(path, name);
            self.places.insert(full.clone(), key.span());
            if others.contains(&name) || S::KEYS.iter().any(|known| known.name == name) {
                continue;
            }
            if let Some((_, reason, fix)) = FORMER.iter().find(|(former, ..)| *former == plain(&full)) {
                self.error(&full, (*reason).to_owned(), (*fix).to_owned());
                continue;
            }
            let words = S::KEYS.iter().map(|known| known.name).chain(others.iter().copied());
            let fix = match nearest(name, words.clone()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("remove it; known here: {}", words.collect::<Vec<_>>().join(", ")),
            };
            let what = if value.get_ref().is_table() { "table" } else { "key" };
            self.error(&full, format!("unknown {what}"), fix);
        }
        S::read(&mut Fields { reader: self, table, path })
    }

    /// Notes something that keeps the gateway from starting.
    pub(super) fn error(&mut self, key: &str, reason: String, fix: String) {
        self.note(true, key, reason, fix);
    }

    /// Notes something that deserves a look.
    pub(super) fn warning(&mut self, key: &str, reason: String, fix: String) {
        self.note(false, key, reason, fix);
    }

    fn note(&mut self, fatal: bool, key: &str, reason: String, fix: String) {
        let line = self.places.get(key).map(|span| line(self.text, span.start));
        self.problems.push(Problem { fatal, key: key.to_owned(), line, reason, fix });
    }
}

/// The keys of one table, while they are read.
pub(super) struct Fields<'r, 't> {
    reader: &'r mut Reader<'t>,
    table: Option<&'r DeTable<'r>>,
    path: &'r str,
}

impl Fields<'_, '_> {
    /// Reads one key, or takes its default.
    pub(super) fn value<K: Kind>(
        &mut self,
        name: &str,
        default: &str,
        bounds: Option<&RangeInclusive<u64>>,
    ) -> Option<K::Out> {
        let path = join(self.path, name);
        let Some((_, value)) = self.table.and_then(|table| find(table, name)) else {
            let out = self.absent::<K>(name, default)?;
            self.note::<K>(path, &out);
            return Some(out);
        };
        let out = match K::read(value) {
            Ok(out) => out,
            Err(reason) => {
                // What may be a secret is not repeated.
                let advice = K::advice(value).map(|advice| without_keys(&advice));
                let fix = advice.unwrap_or_else(|| format!("write {}", K::WRITTEN));
                self.reader.error(&path, format!("the value {reason}"), fix);
                return None;
            }
        };
        if let (Some(bounds), Some(number)) = (bounds, K::measure(&out))
            && !bounds.contains(&number)
        {
            let (least, most) = (K::show(*bounds.start()), K::show(*bounds.end()));
            let reason = format!("{} is out of bounds", K::show(number));
            self.reader.error(&path, reason, format!("choose a value from {least} to {most}"));
            return None;
        }
        self.note::<K>(path, &out);
        Some(out)
    }

    fn note<K: Kind>(&mut self, key: String, out: &K::Out) {
        if let Some(number) = K::measure(out) {
            self.reader.bounds.push(Bound { key, worker: None, unit: K::UNIT, number });
        }
    }

    fn absent<K: Kind>(&mut self, name: &str, default: &str) -> Option<K::Out> {
        if default.is_empty() {
            let absent = K::absent();
            if absent.is_none() {
                // The table's own line is the best place to point at.
                let fix = format!("add `{name}`: {}", K::WRITTEN);
                self.reader.error(self.path, format!("`{name}` is missing"), fix);
            }
            return absent;
        }
        let value = DeValue::parse(default).expect("a test parses every default");
        Some(K::read(value.get_ref()).expect("a test reads every default"))
    }
}

/// Whether a key of this kind and default must be given.
pub(super) const fn required<K: Kind>(default: &str) -> bool {
    default.is_empty() && !K::OPTIONAL
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn find<'a>(table: &'a DeTable<'_>, name: &str) -> Option<(Range<usize>, &'a DeValue<'a>)> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(key, value)| (key.span(), value.get_ref()))
}

/// Number, from 1, and text of the line that holds this byte.
pub(super) fn line(text: &str, at: usize) -> (usize, String) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let number = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let whole = text.lines().nth(number - 1).unwrap_or("");
    (number, without_keys(whole).chars().take(120).collect())
}

/// A line in which whatever may be a key is not repeated: a secret may have been pasted into the wrong place.
fn without_keys(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for part in line.split_inclusive(|c: char| !is_base64(c)) {
        let word = part.trim_end_matches(|c: char| !is_base64(c));
        if is_like_base64(word) {
            shown.push_str("***")
        } else {
            shown.push_str(&without_hex(word))
        }
        shown.push_str(&part[word.len()..]);
    }
    shown
}

fn without_hex(word: &str) -> String {
    let mut shown = String::with_capacity(word.len());
    for part in word.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        shown.push_str(if digits.len() >= SECRET_LEN_MIN { "***" } else { digits });
        shown.push_str(&part[digits.len()..]);
    }
    shown
}

/// Whether this word, as it stands in the file, may be a key or a token rather than a name.
pub(super) fn may_be_key(word: &str) -> bool {
    without_keys(word) == "***"
}

/// Letters of both alphabets of RFC 4648.
fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_+/".contains(c)
}

/// Random bytes have several letters of each kind. A name or a path that has them, too, is not shown either, and loses little.
fn is_like_base64(word: &str) -> bool {
    let count = |kind: fn(&u8) -> bool| word.bytes().filter(kind).count();
    word.len() >= SECRET_LEN_MIN
        && count(u8::is_ascii_lowercase) >= OF_EACH_KIND
        && count(u8::is_ascii_uppercase) >= OF_EACH_KIND
}

/// Fewer than these among 43 random letters of base64 come about once in a million keys.
const OF_EACH_KIND: usize = 4;
/// 16 bytes in hex, 24 in base64.
const SECRET_LEN_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_key_is_not_repeated_and_all_else_is() {
        let (hex, base64) = ("5a".repeat(16), "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=");
        for (line, shown) in [
            (format!("server = '{hex}' # old"), "server = '***' # old"),
            (format!("server = 'x{hex}'"), "server = 'x***'"),
            (format!("k = \"{base64}\""), "k = \"***=\""),
            ("address = '/Users/Alice/some/long/path/to/server.key'".to_owned(), ""),
            ("key = '203.0.113.0/24' # ABCDEF0123456789".to_owned(), ""),
        ] {
            let shown = if shown.is_empty() { line.clone() } else { shown.to_owned() };
            assert_eq!(without_keys(&line), shown);
        }
        assert!(may_be_key(&hex) && may_be_key(base64.trim_end_matches('=')) && !may_be_key("server.key"));
    }
}
