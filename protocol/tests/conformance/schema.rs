//! Fields by their names: what the bytes of a message say, in the words of `proto/*.proto`.
//!
//! A case is written down once, as a generated struct. Its fields in JSON are read back from its bytes here, so that
//! names and values cannot differ from what is encoded.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use protocol::wire::cursor::{Fields, Value};
use protocol::wire::varint;

use crate::json::Json;

/// The messages and enums of one `.proto` file.
pub(crate) struct Schema {
    messages: BTreeMap<String, Vec<Field>>,
    enums: BTreeMap<String, Vec<(String, u32)>>,
}

struct Field {
    number: u32,
    name: String,
    kind: String,
    repeated: bool,
}

impl Schema {
    /// Reads the little of the language that the two files use.
    pub(crate) fn parse(text: &str) -> Self {
        let mut tokens = tokens(text).into_iter().peekable();
        let mut this = Self { messages: BTreeMap::new(), enums: BTreeMap::new() };
        while let Some(word) = tokens.next() {
            match word.as_str() {
                "message" => {
                    let (name, fields) = (name(&mut tokens), fields(&mut tokens));
                    this.messages.insert(name, fields);
                }
                "enum" => {
                    let (name, values) = (name(&mut tokens), values(&mut tokens));
                    this.enums.insert(name, values);
                }
                _ => tokens.by_ref().take_while(|token| token != ";").for_each(drop),
            }
        }
        this
    }

    /// Name and number of every kind of frame.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&str, u32)> {
        self.messages["Frame"].iter().map(|field| (field.name.as_str(), field.number))
    }

    /// The kind of a frame and its fields, from the frame's body.
    pub(crate) fn frame(&self, body: &[u8]) -> (String, Json) {
        match self.message("Frame", body) {
            Json::Object(kinds) if kinds.len() == 1 => kinds.into_iter().next().expect("there is one"),
            other => panic!("a frame has one kind: {other:?}"),
        }
    }

    /// The fields of a message in the order of the `.proto` file. Those that are not there are left out.
    fn message(&self, message: &str, bytes: &[u8]) -> Json {
        let of = |field: &Field| {
            let mut values = self.values(field, bytes);
            let value = if field.repeated {
                (!values.is_empty()).then_some(Json::List(values))
            } else {
                values.pop()
            };
            value.map(|value| (field.name.clone(), value))
        };
        Json::Object(self.messages[message].iter().filter_map(of).collect())
    }

    fn values(&self, field: &Field, bytes: &[u8]) -> Vec<Json> {
        let (mut all, mut found) = (Fields::new(bytes), Vec::new());
        while let Some((number, value)) = all.next().expect("only whole messages are shown") {
            if number == field.number {
                self.value(&field.kind, value, &mut found);
            }
        }
        found
    }

    fn value(&self, kind: &str, value: Value<'_>, to: &mut Vec<Json>) {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).expect("strings are UTF-8").to_owned();
        to.push(match (kind, value) {
            ("bytes", Value::Bytes(bytes)) => Json::hex(bytes),
            ("string", Value::Bytes(bytes)) => Json::Text(text(bytes)),
            ("uint32", Value::Varint(number)) => Json::Number(number as u32),
            ("uint64", Value::Varint(number)) | ("fixed64", Value::Fixed64(number)) => Json::long(number),
            ("bool", Value::Varint(flag)) => Json::Flag(flag != 0),
            ("uint64" | "fixed64", Value::Bytes(packed)) => return to.extend(unpacked(kind, packed)),
            (other, Value::Bytes(bytes)) if self.messages.contains_key(other) => self.message(other, bytes),
            (other, Value::Varint(number)) => {
                let named = self.enums[other].iter().find(|(_, value)| u64::from(*value) == number);
                named.map_or(Json::Number(number as u32), |(name, _)| Json::Text(name.clone()))
            }
            (other, value) => panic!("{other} as {value:?}"),
        });
    }
}

/// Repeated numbers lie behind each other in one field.
fn unpacked(kind: &str, mut packed: &[u8]) -> Vec<Json> {
    let mut numbers = Vec::new();
    while !packed.is_empty() {
        let (number, len) = match kind {
            "fixed64" => (u64::from_le_bytes(*packed.first_chunk().expect("eight bytes each")), 8),
            _ => varint::decode(packed).expect("a varint").expect("a whole one"),
        };
        numbers.push(Json::long(number));
        packed = &packed[len..];
    }
    numbers
}

type Tokens = Peekable<IntoIter<String>>;

fn tokens(text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("//").next().expect("a first part"));
    let spaced = |c: char| if "{};=".contains(c) { format!(" {c} ") } else { c.to_string() };
    let code: String = code.collect::<Vec<_>>().join("\n").chars().map(spaced).collect();
    code.split_whitespace().map(str::to_owned).collect()
}

/// A name and the brace behind it.
fn name(tokens: &mut Tokens) -> String {
    let name = tokens.next().expect("a name");
    assert_eq!(tokens.next().as_deref(), Some("{"));
    name
}

fn next(tokens: &mut Tokens) -> String {
    tokens.next().expect("the file goes on")
}

/// Fields up to the closing brace; those of a `oneof` are fields of the message.
fn fields(tokens: &mut Tokens) -> Vec<Field> {
    let mut all = Vec::new();
    loop {
        match next(tokens).as_str() {
            "}" => return all,
            "oneof" => {
                name(tokens);
                all.extend(fields(tokens));
            }
            "repeated" => {
                let kind = next(tokens);
                all.push(field(kind, true, tokens));
            }
            kind => all.push(field(kind.to_owned(), false, tokens)),
        }
    }
}

fn field(kind: String, repeated: bool, tokens: &mut Tokens) -> Field {
    let (name, number) = entry(next(tokens), tokens);
    Field { number, name, kind, repeated }
}

fn values(tokens: &mut Tokens) -> Vec<(String, u32)> {
    let mut all = Vec::new();
    loop {
        match next(tokens).as_str() {
            "}" => return all,
            name => all.push(entry(name.to_owned(), tokens)),
        }
    }
}

/// `name = number;`, of which the name has been read.
fn entry(name: String, tokens: &mut Tokens) -> (String, u32) {
    let rest = [next(tokens), next(tokens), next(tokens)];
    assert_eq!((rest[0].as_str(), rest[2].as_str()), ("=", ";"), "{name}");
    (name, rest[1].parse().expect("a field number"))
}
