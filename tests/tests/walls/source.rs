//! What a file of the worker declares and what it names.

use std::collections::BTreeMap;
use std::fs;

use super::tokens::{Token, close_of, tokens, without_tests};
use super::{FLOWS, PARTS, is_value, worker};

/// A file below the worker, as words and signs.
pub(crate) struct Source {
    /// Path below `gateway/src/worker/`.
    pub(crate) name: String,
    /// The module it is, from the crate's root.
    module: Vec<String>,
    tokens: Vec<Token>,
}

pub(crate) struct Struct {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) module: Vec<String>,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) name: String,
    /// `pub` and what stands in its parentheses.
    visibility: Vec<String>,
    is_borrowed: bool,
}

/// A path that a file names, as it stands there; `*` is a segment.
struct Named {
    line: usize,
    at: usize,
    segments: Vec<String>,
    alias: Option<String>,
}

impl Source {
    /// The module follows from the name: `links/table.rs` is `worker::links::table`.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let inside = name.strip_suffix("mod.rs").or(name.strip_suffix(".rs")).expect("a Rust file");
        let below = inside.split('/').filter(|step| !step.is_empty());
        let module = ["worker"].into_iter().chain(below).map(str::to_owned).collect();
        Self { name: name.to_owned(), module, tokens: without_tests(tokens(text)) }
    }

    pub(crate) fn read(name: &str) -> Self {
        let text = fs::read_to_string(worker().join(name));
        Self::new(name, &text.unwrap_or_else(|error| panic!("gateway/src/worker/{name}: {error}")))
    }

    fn at(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// The module a token stands in: the file's, or one that the file holds.
    fn module_at(&self, index: usize) -> Vec<String> {
        let mut module = self.module.clone();
        for start in 0..index {
            let opens = self.at(start) == "mod" && self.at(start + 2) == "{";
            if opens && close_of(&self.tokens, start + 2) > index {
                module.push(self.at(start + 1).to_owned());
            }
        }
        module
    }

    pub(crate) fn structs(&self) -> Vec<Struct> {
        let declares = |index: &usize| matches!(self.at(*index), "struct" | "union");
        let is_name = |text: &str| text.starts_with(|c: char| c.is_alphabetic());
        (0..self.tokens.len())
            .filter(declares)
            .filter(|index| is_name(self.at(index + 1)))
            .map(|index| {
                let name = self.at(index + 1).to_owned();
                let (line, module) = (self.tokens[index].line, self.module_at(index));
                Struct { line, name, module, fields: self.fields(index + 2) }
            })
            .collect()
    }

    /// The fields of a struct whose name has just been read.
    fn fields(&self, mut index: usize) -> Vec<Field> {
        // Past generics; a list in their bounds has parentheses of its own.
        let mut depth = 0;
        while depth > 0 || !matches!(self.at(index), "{" | "(" | ";" | "") {
            match self.at(index) {
                "<" => depth += 1,
                ">" => depth -= 1,
                "where" => {
                    while !matches!(self.at(index + 1), "{" | ";" | "") {
                        index += 1;
                    }
                }
                _ => {}
            }
            index += 1;
        }
        if matches!(self.at(index), ";" | "") {
            return Vec::new();
        }
        let end = close_of(&self.tokens, index);
        let is_tuple = self.at(index) == "(";
        let mut fields: Vec<Field> = Vec::new();
        index += 1;
        while index < end {
            while self.at(index) == "#" {
                index = close_of(&self.tokens, index + 1) + 1;
            }
            let visibility = self.visibility(index);
            index += tokens_of(&visibility);
            let name = if is_tuple { fields.len().to_string() } else { self.at(index).to_owned() };
            let kind = if is_tuple { index } else { index + 2 };
            fields.push(Field { name, visibility, is_borrowed: self.at(kind) == "&" });
            index = self.after_comma(index, end);
        }
        fields
    }

    /// Past the next comma that is in no parentheses and no generics.
    fn after_comma(&self, mut index: usize, end: usize) -> usize {
        let mut depth = 0;
        while index < end && !(depth == 0 && self.at(index) == ",") {
            match self.at(index) {
                "<" => depth += 1,
                ">" => depth -= 1,
                "(" | "[" | "{" => index = close_of(&self.tokens, index),
                _ => {}
            }
            index += 1;
        }
        index + 1
    }

    /// `pub`, `pub(super)`: its words without the parentheses, none if there is none.
    fn visibility(&self, index: usize) -> Vec<String> {
        if self.at(index) != "pub" {
            return Vec::new();
        }
        let mut words = vec!["pub".to_owned()];
        if self.at(index + 1) == "(" && matches!(self.at(index + 2), "crate" | "self" | "super" | "in") {
            let inside = index + 2..close_of(&self.tokens, index + 1);
            words.extend(inside.map(|at| self.at(at).to_owned()));
        }
        words
    }

    /// Whether a field can be named outside the part this file belongs to. That its struct may be invisible there does
    /// not count: a function can hand out what nobody can name.
    pub(crate) fn reaches_outside(&self, field: &Field, module: &[String]) -> bool {
        let words: Vec<_> = field.visibility.iter().filter(|word| *word != "::" && *word != "in").collect();
        match words[..] {
            [] => false,
            [_] => true,
            [_, ref path @ ..] => !resolve(module, path).starts_with(&self.module[..2]),
        }
    }

    /// All paths that begin at a module above, at this one or at the crate, and all imports.
    fn paths(&self) -> Vec<Named> {
        let mut paths = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            let imports = self.at(index) == "use";
            let begins = matches!(self.at(index), "crate" | "super" | "self") && self.at(index + 1) == "::";
            index = match self.at(index) {
                "pub" => index + tokens_of(&self.visibility(index)),
                _ if imports || begins => self.path(index + usize::from(imports), &[], &mut paths),
                _ => index + 1,
            };
        }
        paths
    }

    /// Reads a path, or a tree of them; what comes behind it.
    fn path(&self, mut index: usize, prefix: &[String], paths: &mut Vec<Named>) -> usize {
        let (at, line) = (index, self.tokens.get(index).map_or(0, |token| token.line));
        let mut segments = prefix.to_vec();
        loop {
            if self.at(index) == "{" {
                let end = close_of(&self.tokens, index);
                index += 1;
                while index < end {
                    index = self.path(index, &segments, paths).max(index + 1);
                    index += usize::from(self.at(index) == ",");
                }
                return end + 1;
            }
            if self.at(index) != "::" {
                segments.push(self.at(index).to_owned());
            }
            index += 1;
            if self.at(index) != "::" && self.at(index - 1) != "::" {
                break;
            }
        }
        let alias = (self.at(index) == "as").then(|| self.at(index + 1).to_owned());
        index += if alias.is_some() { 2 } else { 0 };
        paths.push(Named { line, at, segments, alias });
        index
    }

    /// What this file of a part names of the worker that is not its own.
    pub(crate) fn strangers(&self, items: &BTreeMap<String, String>) -> Vec<String> {
        let part = &self.module[1];
        let mut wrong = Vec::new();
        for named in self.paths() {
            let first = named.segments.first().map(String::as_str);
            if !matches!(first, Some("crate" | "super" | "self")) {
                continue;
            }
            let segments: Vec<_> = named.segments.iter().collect();
            let path = resolve(&self.module_at(named.at), &segments);
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            let what = match path[..] {
                [] | ["*"] => "the whole crate".to_owned(),
                ["worker"] | ["worker", "*"] => "the whole worker".to_owned(),
                ["worker", name, ..] if name == part => continue,
                ["worker", name, ..] if PARTS.contains(&name) || name == FLOWS => format!("worker/{name}"),
                ["worker", name, ..] if items.get(name).is_some_and(|home| home != part) => {
                    format!("{name} of {}", items[name])
                }
                _ => continue,
            };
            wrong.push(format!("{}:{}: {} is {what}", self.name, named.line, named.segments.join("::")));
        }
        for pair in self.tokens.windows(3).filter(|pair| pair[0].text == "#") {
            if pair[2].text == "path" {
                wrong.push(format!("{}:{}: a module that lies elsewhere", self.name, pair[0].line));
            }
        }
        wrong
    }

    /// What this file of a flow could keep. A struct of nothing but references keeps nothing.
    pub(crate) fn state(&self) -> Vec<String> {
        let kept = self.structs().into_iter().filter(|found| {
            found.fields.iter().any(|field| !field.is_borrowed) && !is_value(FLOWS, &found.name)
        });
        let structs = kept.map(|found| format!("{}:{}: struct {}", self.name, found.line, found.name));
        let statics = self.tokens.iter().filter(|token| matches!(&*token.text, "static" | "thread_local"));
        structs.chain(statics.map(|token| format!("{}:{}: {}", self.name, token.line, token.text))).collect()
    }
}

/// How many tokens a visibility takes: its parentheses are not among its words.
fn tokens_of(visibility: &[String]) -> usize {
    visibility.len() + if visibility.len() > 1 { 2 } else { 0 }
}

/// Names in the worker's own module that open a way around the walls, and where they come from: what it imports from
/// parts, and its own structs, whose private fields every module below it may use.
pub(crate) fn items_of_worker(source: &Source) -> BTreeMap<String, String> {
    let own = "worker/mod.rs".to_owned();
    let mut items: BTreeMap<_, _> =
        source.structs().into_iter().map(|found| (found.name, own.clone())).collect();
    for named in source.paths() {
        let segments: Vec<_> = named.segments.iter().collect();
        let from_child = PARTS.contains(&named.segments[0].as_str()) || named.segments[0] == FLOWS;
        let path = if from_child {
            named.segments.clone()
        } else {
            resolve(&source.module, &segments)[1..].to_vec()
        };
        let is_part = path.first().is_some_and(|name| PARTS.contains(&name.as_str()) || name == FLOWS);
        if is_part && let Some(name) = named.alias.or(named.segments.last().cloned()) {
            items.insert(name, path[0].clone());
        }
    }
    items
}

/// The path from the crate's root of a path that begins in a module.
fn resolve(module: &[String], segments: &[&String]) -> Vec<String> {
    let mut path = module.to_vec();
    for segment in segments {
        match segment.as_str() {
            "crate" => path.clear(),
            "self" => {}
            "super" => drop(path.pop()),
            _ => path.push((*segment).clone()),
        }
    }
    path
}

mod tests {
    use super::*;

    fn open_fields(name: &str, text: &str) -> Vec<String> {
        let source = Source::new(name, text);
        let structs = source.structs();
        let open = structs.iter().flat_map(|found| {
            let open = found.fields.iter().filter(|field| source.reaches_outside(field, &found.module));
            open.map(|field| format!("{}.{}", found.name, field.name))
        });
        open.collect()
    }

    fn strangers(name: &str, text: &str) -> usize {
        let worker = "pub(crate) struct Core { links: Links } pub use post::{Mailbox, Post as Way}; \
                      use self::links::Links; use crate::worker::slots::Slot; type Random = u8; use crate::link::Table;";
        let items = items_of_worker(&Source::new("mod.rs", worker));
        assert_eq!(items.into_keys().collect::<Vec<_>>(), ["Core", "Links", "Mailbox", "Slot", "Way"]);
        Source::new(name, text).strangers(&items_of_worker(&Source::new("mod.rs", worker))).len()
    }

    #[test]
    fn fields_of_a_part_by_where_they_reach() {
        let text = "pub(super) struct Links<'a, F: Fn(u8) -> Vec<u8>> where F: Send {
            /// pub no: u8
            #[allow(dead_code, reason = \"pub no: u8\")]
            private: BTreeMap<u8, (u8, Vec<F>)>,
            pub(self) own: &'a u8, pub(in self::below) below: u8,
            pub(super) up: u8, pub(crate) everywhere: u8, pub open: u8, pub(in crate::worker) worker: u8,
            pub(in crate::worker::links) here: u8,
        }";
        let open = ["Links.up", "Links.everywhere", "Links.open", "Links.worker"];
        assert_eq!(open_fields("links/mod.rs", text), open);
        // One module further down, `super` is the part.
        assert_eq!(open_fields("links/table.rs", text), open[1..]);
        assert_eq!(open_fields("links/table/mod.rs", text), open[1..]);
        assert_eq!(open_fields("links/table/row.rs", text), open[1..]);
        assert_eq!(open_fields("links/mod.rs", &format!("mod inner {{ {text} }}")), open[1..]);
        let text = "mod inner { pub(in super::super) struct A { pub(in super::super) a: u8 } }";
        assert_eq!(open_fields("links/mod.rs", text), ["A.a"]);
        assert!(open_fields("links/table.rs", text).is_empty());
    }

    #[test]
    fn fields_without_names() {
        let text =
            "struct A(u8, pub (u8, u8), pub(super) Vec<(u8, u8)>, #[x] pub(crate) u8); struct B; struct C();
            struct D<T>(pub T) where T: Fn(u8) -> u8; fn f() { let pub_a = 'x'; } union E { pub a: u8 }";
        let open = ["A.1", "A.2", "A.3", "D.0", "E.a"];
        assert_eq!(open_fields("links/mod.rs", text), open);
        assert_eq!(open_fields("links/a.rs", text), ["A.1", "A.3", "D.0", "E.a"]);
    }

    #[test]
    fn ways_to_name_another_part() {
        for (text, count) in [
            ("use super::slots::Slot;", 1),
            ("use super::{settings, slots, post::{self, Mailbox as M}};", 3),
            ("use crate::worker::slots;", 1),
            ("use crate::{id, worker::{flows, settings::Settings}};", 1),
            ("fn f() { super::super::worker::slots::f(super::post::g(1)) }", 2),
            ("use super::Core; use super::Mailbox; use super::Slot; use super::Way;", 4),
            ("use super::*;", 1),
            ("use super::{self as w};", 1),
            ("use crate::worker;", 1),
            ("use crate as all;", 1),
            ("#[path = \"../slots/mod.rs\"] mod other;", 1),
            ("mod inner { use super::super::slots; use super::table; }", 1),
            ("pub(super) struct A; pub(in super::super) fn a() {} pub(crate) struct B;", 0),
            (
                "use super::settings::Settings; use super::Random; use super::links::table; use self::table::Row;",
                0,
            ),
            ("use super::Links; use crate::link::slots; use slots::A; fn f(&self) { self.slots.post() }", 0),
            (
                "//! [`super::slots`]\n/* super::slots /* */ super::slots */ const A: &str = r#\"super::slots\"#;",
                0,
            ),
            ("#[cfg(test)]\nmod tests { use super::super::slots; }", 0),
        ] {
            assert_eq!(strangers("links/mod.rs", text), count, "{text}");
        }
        for (text, count) in [
            ("use super::super::slots;", 1),
            ("use super::slots; use super::*;", 0),
            ("use super::super::{Core, settings};", 1),
        ] {
            assert_eq!(strangers("links/table.rs", text), count, "{text}");
        }
    }

    #[test]
    fn what_a_flow_may_hold() {
        let state = |text| Source::new("flows/close.rs", text).state().len();
        assert_eq!(
            state("struct A; struct B<'a> { links: &'a mut Links, slots: &'static Slots } enum E { A(u8) }"),
            0
        );
        assert_eq!(state("struct A { at: u8 } struct B(Vec<u8>); struct C<'a>(&'a u8, u8);"), 3);
        assert_eq!(state("static A: AtomicU8 = AtomicU8::new(0); thread_local! { }"), 2);
    }
}
