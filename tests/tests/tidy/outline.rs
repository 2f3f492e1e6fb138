//! What one file says about modules: which it declares, what it defines, what it imports and which paths it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::tokens::{Token, group_end, tokens, without_tests};

/// A file without its tests, by modules: the file's own under the empty path, inline ones under their names.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) scopes: BTreeMap<Vec<String>, Scope>,
}

/// What is written directly in one module.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Modules in files of their own.
    pub(crate) files: BTreeSet<String>,
    /// Modules written inline.
    pub(crate) inline: BTreeSet<String>,
    /// Names of items.
    pub(crate) defined: BTreeSet<String>,
    /// Whether a macro makes items here, whose names cannot be seen.
    pub(crate) generated: bool,
    pub(crate) imports: Vec<Import>,
    /// Paths named outside of imports.
    pub(crate) named: Vec<Named>,
}

/// One leaf of a `use`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The name it has here; `*` for a glob.
    pub(crate) name: String,
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// Whether it is `pub`, however far.
    pub(crate) public: bool,
}

/// A path of one or more words, such as `super::y::Z` or `Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

impl Outline {
    pub(crate) fn of(text: &str) -> Outline {
        let kept = without_tests(&tokens(text));
        let mut outline = Outline::default();
        outline.read(&kept, &[]);
        outline
    }

    fn read(&mut self, tokens: &[Token<'_>], path: &[String]) {
        let mut scope = Scope::default();
        let mut reader = Reader { tokens, at: 0, depth: 0 };
        let mut inline = Vec::new();
        while reader.at < tokens.len() {
            if let Some((name, inside)) = reader.step(&mut scope) {
                inline.push((name, inside));
            }
        }
        for (name, inside) in inline {
            self.read(inside, &[path, std::slice::from_ref(&name)].concat());
            scope.inline.insert(name);
        }
        self.scopes.insert(path.to_vec(), scope);
    }
}

struct Reader<'f, 't> {
    tokens: &'f [Token<'t>],
    at: usize,
    /// Braces that are open: definitions are items of the module only outside of all.
    depth: usize,
}

impl<'f, 't> Reader<'f, 't> {
    /// Reads one token or construct. An inline module is handed back unread.
    fn step(&mut self, scope: &mut Scope) -> Option<(String, &'f [Token<'t>])> {
        match self.text(0) {
            "{" => self.depth += 1,
            "}" => self.depth = self.depth.saturating_sub(1),
            "use" if self.text(1) != "<" => {
                let public = self.is_public();
                self.at += 1;
                self.import(&[], public, &mut scope.imports);
                return None;
            }
            "mod" if self.is_word(1) && matches!(self.text(2), ";" | "{") => return self.module(scope),
            _ if self.is_word(0) => return self.word(scope),
            _ => {}
        }
        self.at += 1;
        None
    }

    fn module(&mut self, scope: &mut Scope) -> Option<(String, &'f [Token<'t>])> {
        let name = self.text(1).to_owned();
        let open = self.at + 2;
        if self.text(2) == ";" {
            scope.files.insert(name);
            self.at = open + 1;
            return None;
        }
        let end = group_end(self.tokens, open);
        self.at = end;
        Some((name, &self.tokens[open + 1..end - 1]))
    }

    /// A definition, a macro that makes some, or a path.
    fn word(&mut self, scope: &mut Scope) -> Option<(String, &'f [Token<'t>])> {
        let word = self.text(0);
        if self.depth == 0 {
            if word == "macro_rules" {
                scope.defined.insert(self.text(2).to_owned());
                self.at += 3;
                return None;
            }
            if DEFINING.contains(&word) && self.is_word(1) && !BETWEEN.contains(&self.text(1)) {
                scope.defined.insert(self.text(1).to_owned());
                self.at += 2;
                return None;
            }
            let begins = matches!(self.text_before(), "" | "}" | ";" | "]");
            scope.generated |= begins && self.text(1) == "!";
        }
        let line = self.tokens[self.at].line;
        let is_range = self.text_before() == "." && self.at > 1 && self.tokens[self.at - 2].text == ".";
        let is_whole = is_range || !matches!(self.text_before(), "::" | ".");
        let path = self.path();
        if is_whole {
            scope.named.push(Named { path, line });
        }
        None
    }

    fn path(&mut self) -> Vec<String> {
        let mut path = vec![self.text(0).to_owned()];
        self.at += 1;
        while self.text(0) == "::" && self.is_word(1) {
            path.push(self.text(1).to_owned());
            self.at += 2;
        }
        path
    }

    /// One tree of a `use`, whose branches begin with what is before the braces.
    fn import(&mut self, before: &[String], public: bool, imports: &mut Vec<Import>) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut path = before.to_vec();
        if self.text(0) == "::" {
            // The path of another crate, as if its name stood alone.
            self.at += 1;
        }
        while self.is_word(0) {
            path.push(self.text(0).to_owned());
            self.at += 1;
            if self.text(0) != "::" {
                break;
            }
            self.at += 1;
        }
        match self.text(0) {
            "{" => {
                self.at += 1;
                while !matches!(self.text(0), "}" | "") {
                    self.import(&path, public, imports);
                    if self.text(0) == "," {
                        self.at += 1;
                    }
                }
                self.at += 1;
            }
            "*" => {
                self.at += 1;
                imports.push(Import { name: "*".to_owned(), path, line, public });
            }
            _ => {
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                let mut name = path.last().cloned().unwrap_or_default();
                if self.text(0) == "as" {
                    name = self.text(1).to_owned();
                    self.at += 2;
                }
                imports.push(Import { name, path, line, public });
                if !matches!(self.text(0), "," | "}" | ";") {
                    // Nothing a `use` may contain: go on rather than stand still.
                    self.at += 1;
                }
            }
        }
    }

    /// Whether `pub` or `pub(…)` stands before this place.
    fn is_public(&self) -> bool {
        let before = &self.tokens[..self.at];
        match self.text_before() {
            "pub" => true,
            ")" => {
                let open = before.iter().rposition(|token| token.text == "(");
                open.is_some_and(|open| open > 0 && before[open - 1].text == "pub")
            }
            _ => false,
        }
    }

    fn text(&self, ahead: usize) -> &'t str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }

    fn text_before(&self) -> &'t str {
        self.at.checked_sub(1).map_or("", |before| self.tokens[before].text)
    }

    fn is_word(&self, ahead: usize) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(Token::is_word)
    }
}

/// A name follows these, perhaps with a word of [`BETWEEN`] before it.
const DEFINING: &[&str] = &["struct", "enum", "union", "trait", "type", "fn", "const", "static", "mut"];
const BETWEEN: &[&str] = &["fn", "mut", "unsafe", "extern", "async"];

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Outline::of(text).scopes.remove(&Vec::new()).unwrap()
    }

    fn imports(text: &str) -> Vec<(String, String, bool)> {
        let imports = scope(text).imports.into_iter();
        imports.map(|import| (import.path.join("::"), import.name, import.public)).collect()
    }

    fn named(text: &str) -> Vec<String> {
        let named = scope(text).named.into_iter().map(|named| named.path.join("::"));
        named.filter(|path| path.contains("::")).collect()
    }

    #[test]
    fn a_nested_import_over_several_lines_is_seen_leaf_by_leaf() {
        let found =
            imports("use crate::{\n    a,\n    b::{self, c as d, e::F},\n    super_::g::*,\n};\nuse x;");
        let expected = [
            ("crate::a", "a"),
            ("crate::b", "b"),
            ("crate::b::c", "d"),
            ("crate::b::e::F", "F"),
            ("crate::super_::g", "*"),
            ("x", "x"),
        ];
        assert_eq!(found, expected.map(|(path, name)| (path.to_owned(), name.to_owned(), false)));
        let lines: Vec<_> =
            scope("use crate::{\n    a,\n    b,\n};").imports.iter().map(|import| import.line).collect();
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn imports_know_how_public_they_are() {
        for (text, public) in [
            ("use a::B;", false),
            ("pub use a::B;", true),
            ("pub(crate) use a::B;", true),
            ("pub(in crate::x) use a::B;", true),
            ("fn f() {} use a::B;", false),
            ("const X: u8 = f(); use a::B;", false),
        ] {
            assert_eq!(imports(text), [("a::B".to_owned(), "B".to_owned(), public)], "{text}");
        }
    }

    #[test]
    fn paths_are_seen_wherever_code_names_them() {
        assert_eq!(
            named("fn f(x: &crate::a::B) -> super::c::D { super::super::e::<u8>(1) }"),
            ["crate::a::B", "super::c::D", "super::super::e"]
        );
        assert_eq!(
            named("impl fmt::Display for X { fn f() { <T as a::B>::c(); d.e(); self::f!(g::H) } }"),
            ["fmt::Display", "a::B", "self::f", "g::H"]
        );
        assert_eq!(
            named("S { a: 1, ..a::S::new() }; for x in 0..b::MAX {} 1.5.c::d"),
            ["a::S::new", "b::MAX"]
        );
        assert_eq!(named("fn f() -> impl Fn() + use<'_> { crate::a() }"), ["crate::a"]);
        assert_eq!(named("macro_rules! m { () => { $crate::a::b() } }"), ["crate::a::b"]);
        assert_eq!(named("// crate::a::B\n/// super::c\nstatic S: &str = \"crate::d\";"), [""; 0]);
    }

    #[test]
    fn items_of_the_module_are_definitions_and_those_inside_others_are_not() {
        let scope = scope(
            "pub struct A { b: C } impl A { fn d() {} const E: u8 = 1; } const fn f() {} static mut G: u8 = 0;
             pub(crate) enum H { I } macro_rules! j { () => { struct K; } } trait L { type M; } unsafe fn n() {}
             unsafe impl Send for A {}",
        );
        let defined: Vec<_> = scope.defined.iter().map(String::as_str).collect();
        assert_eq!(defined, ["A", "G", "H", "L", "f", "j", "n"]);
        assert!(!scope.generated);
    }

    #[test]
    fn modules_are_seen_with_what_is_in_them() {
        let outline = Outline::of("mod a; pub mod b { use super::X; mod c { fn d() {} } } words! { E }");
        let names: Vec<_> = outline.scopes.keys().map(|path| path.join("::")).collect();
        assert_eq!(names, ["", "b", "b::c"]);
        let own = &outline.scopes[&Vec::new()];
        assert!(own.files.contains("a") && own.inline.contains("b") && own.generated);
        assert_eq!(outline.scopes[&vec!["b".to_owned()]].imports[0].path, ["super", "X"]);
    }
}
