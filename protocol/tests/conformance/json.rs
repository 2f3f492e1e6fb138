//! JSON as a person reads it: members in the order they were given, two blanks of indentation, bytes in hex.
//!
//! `serde_json` sorts the members of an object, so a value would stand far from what it is made of. It is asked all the
//! same whether what is written here is JSON.

use std::fmt::Write as _;

use protocol::hex;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Flag(bool),
    Number(u32),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object with these members.
    pub(crate) fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The same object with more members behind its own.
    pub(crate) fn and<const N: usize>(self, members: [(&str, Self); N]) -> Self {
        self.and_all(Self::object(members))
    }

    /// The same object with the members of another one behind its own.
    pub(crate) fn and_all(self, more: Self) -> Self {
        match (self, more) {
            (Self::Object(mut all), Self::Object(more)) => {
                all.extend(more);
                Self::Object(all)
            }
            (one, other) => panic!("no objects: {one:?} {other:?}"),
        }
    }

    /// Bytes in hex.
    pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> Self {
        Self::Text(hex::encode(bytes.as_ref()))
    }

    /// A number of 64 bits, as text: many readers of JSON keep 53 bits of a number.
    pub(crate) fn long(number: u64) -> Self {
        Self::Text(number.to_string())
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The whole file.
    pub(crate) fn to_file(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out.push('\n');
        serde_json::from_str::<serde_json::Value>(&out).expect("what is written is JSON");
        out
    }

    fn write(&self, depth: usize, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Flag(flag) => write!(out, "{flag}").expect("a string takes everything"),
            Self::Number(number) => write!(out, "{number}").expect("a string takes everything"),
            Self::Text(text) => write_text(text, out),
            Self::List(items) if items.iter().all(Self::is_number) => {
                let items: Vec<_> = items.iter().map(|item| item.to_file().trim_end().to_owned()).collect();
                write!(out, "[{}]", items.join(", ")).expect("a string takes everything");
            }
            Self::List(items) => {
                write_lines(('[', ']'), items, depth, out, |item, out| item.write(depth + 1, out));
            }
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::Object(members) => {
                write_lines(('{', '}'), members, depth, out, |(name, value), out| {
                    write_text(name, out);
                    out.push_str(": ");
                    value.write(depth + 1, out);
                });
            }
        }
    }

    const fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("every text can be quoted"));
}

/// Items between brackets, each on a line of its own.
fn write_lines<T>(
    (open, close): (char, char),
    items: &[T],
    depth: usize,
    out: &mut String,
    write_item: impl Fn(&T, &mut String),
) {
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        write_item(item, out);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Json {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl From<u8> for Json {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self::Number(u32::try_from(number).expect("lengths of vectors are small"))
    }
}

impl From<Vec<Json>> for Json {
    fn from(items: Vec<Json>) -> Self {
        Self::List(items)
    }
}
