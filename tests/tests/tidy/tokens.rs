//! Cuts Rust text into tokens with their lines; comments and the insides of literals fall away, and so can tests.
//!
//! A whole compiler front end would know more, but not one thing the rules of this house ask for.

/// A word, a lifetime, `::`, one punctuation character, or [`LITERAL`] in place of any literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) text: &'t str,
    pub(crate) line: usize,
}

/// What stands for a string, a character or a number, of which no rule wants to know the value.
pub(crate) const LITERAL: &str = "0";

impl Token<'_> {
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(starts_word)
    }
}

pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut cut = Cutter { text, at: 0, line: 1, found: Vec::new() };
    while let Some(first) = cut.peek() {
        cut.step(first);
    }
    cut.found
}

/// The tokens without everything that is compiled for tests only.
pub(crate) fn without_tests<'t>(tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some(end) = attribute_end(tokens, at) else {
            kept.push(tokens[at]);
            at += 1;
            continue;
        };
        if !is_for_tests(&tokens[at..end]) {
            kept.extend(&tokens[at..end]);
            at = end;
        } else if tokens[at + 1].text == "!" {
            return Vec::new();
        } else {
            at = item_end(tokens, end);
        }
    }
    kept
}

/// Just behind the bracket that closes the one at `open`.
pub(crate) fn group_end(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth <= 1 => return at + 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

struct Cutter<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    found: Vec<Token<'t>>,
}

impl<'t> Cutter<'t> {
    fn step(&mut self, first: char) {
        let rest = &self.text[self.at..];
        if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(comment_len(rest));
        } else if let Some(len) = raw_string_len(rest) {
            self.literal(len);
        } else if let Some(open) = ["\"", "b\"", "c\""].iter().find(|open| rest.starts_with(**open)) {
            self.literal(open.len() + quoted_len(&rest[open.len()..], '"'));
        } else if let Some(inside) = rest.strip_prefix("b'") {
            self.literal(2 + quoted_len(inside, '\''));
        } else if first == '\'' {
            self.quote(rest);
        } else if starts_word(first) {
            let raw = if rest.starts_with("r#") { 2 } else { 0 };
            self.skip(raw);
            self.push(word_len(&rest[raw..]));
        } else if first.is_ascii_digit() {
            self.literal(word_len(rest));
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.push(if rest.starts_with("::") { 2 } else { first.len_utf8() });
        }
    }

    /// A lifetime or a character: only the latter has a quote behind the first character.
    fn quote(&mut self, rest: &str) {
        let mut inside = rest[1..].chars();
        let (first, second) = (inside.next(), inside.next());
        if first == Some('\\') || second == Some('\'') {
            self.literal(1 + quoted_len(&rest[1..], '\''));
        } else {
            self.push(1 + word_len(&rest[1..]));
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn push(&mut self, len: usize) {
        self.found.push(Token { text: &self.text[self.at..self.at + len], line: self.line });
        self.skip(len);
    }

    fn literal(&mut self, len: usize) {
        self.found.push(Token { text: LITERAL, line: self.line });
        self.skip(len);
    }

    fn skip(&mut self, len: usize) {
        let skipped = &self.text[self.at..self.at + len];
        self.line += skipped.matches('\n').count();
        self.at += len;
    }
}

fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn word_len(rest: &str) -> usize {
    rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
}

/// Length up to and with the closing quote.
fn quoted_len(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    inside.len()
}

fn raw_string_len(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"].iter().find(|prefix| rest.starts_with(**prefix))?.len();
    let fences = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
    let open = prefix + fences + 1;
    if !rest[prefix + fences..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(fences));
    let inside = &rest[open..];
    Some(inside.find(&close).map_or(rest.len(), |at| open + at + close.len()))
}

/// Block comments nest.
fn comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Just behind the attribute that begins at `at`, if one does.
fn attribute_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let text = |ahead: usize| tokens.get(at + ahead).map(|token| token.text);
    let open = match (text(0)?, text(1)?, text(2)) {
        ("#", "[", _) => at + 1,
        ("#", "!", Some("[")) => at + 2,
        _ => return None,
    };
    Some(group_end(tokens, open))
}

fn is_for_tests(attribute: &[Token<'_>]) -> bool {
    let words: Vec<_> = attribute.iter().filter(|token| token.is_word()).map(|token| token.text).collect();
    words == ["cfg", "test"] || words.starts_with(&["cfg", "all", "test"])
}

/// Just behind the item, field, arm or statement that begins at `at`, perhaps with more attributes.
fn item_end(tokens: &[Token<'_>], mut at: usize) -> usize {
    while let Some(end) = attribute_end(tokens, at) {
        at = end;
    }
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    if text(at) == "pub" {
        at = if text(at + 1) == "(" { group_end(tokens, at + 1) } else { at + 1 };
    }
    let head = text(at);
    let has_value = matches!(head, "use" | "static" | "type" | "let")
        || (head == "const" && !matches!(text(at + 1), "fn" | "unsafe" | "extern"));
    let is_item = has_value || ITEM_WORDS.contains(&head);
    while at < tokens.len() {
        match text(at) {
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            ")" | "]" | "}" => return at,
            "{" if !has_value => {
                let end = group_end(tokens, at);
                return if !is_item && text(end) == "," { end + 1 } else { end };
            }
            "(" | "[" | "{" => at = group_end(tokens, at),
            _ => at += 1,
        }
    }
    at
}

const ITEM_WORDS: &[&str] = &[
    "mod",
    "fn",
    "struct",
    "enum",
    "union",
    "trait",
    "impl",
    "unsafe",
    "async",
    "extern",
    "const",
    "macro_rules",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> String {
        tokens(text).iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
    }

    fn kept(text: &str) -> String {
        without_tests(&tokens(text)).iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_the_insides_of_literals_fall_away() {
        assert_eq!(texts("a /* b /* c */ d */ e // f\ng"), "a e g");
        assert_eq!(texts(r##"x("a::b \" c", r#"d " e"#, b"f", br"g", 'h', b'\'', '\\', 1_000u64)"##), {
            "x ( 0 , 0 , 0 , 0 , 0 , 0 , 0 , 0 )"
        });
        assert_eq!(texts("&'a str, 'x', r#type::y"), "& 'a str , 0 , type :: y");
    }

    #[test]
    fn tokens_know_their_lines() {
        let found: Vec<_> =
            tokens("a\n/*\n*/ b \"\n\" c").iter().map(|token| (token.text, token.line)).collect();
        assert_eq!(found, [("a", 1), ("b", 3), (LITERAL, 3), ("c", 4)]);
    }

    #[test]
    fn what_is_compiled_for_tests_only_is_taken_out_and_nothing_else() {
        assert_eq!(kept("a; #[cfg(test)] mod tests { use super::*; } b;"), "a ; b ;");
        assert_eq!(kept("#[cfg(test)] mod tests; b"), "b");
        assert_eq!(kept("#[cfg(test)] #[expect(x)] pub(crate) fn f<A, B>(a: [A; 2]) -> B { c } d"), "d");
        assert_eq!(kept("#[cfg(test)] use a::{b, c}; d"), "d");
        assert_eq!(kept("#[cfg(test)] const X: T = T { a }; d"), "d");
        assert_eq!(kept("struct S { #[cfg(test)] a: B<C>, d: E }"), "struct S { d : E }");
        assert_eq!(
            kept("match a { #[cfg(test)] B => { c } D => e }"),
            "match a { D => e }".replace("=>", "= >")
        );
        assert_eq!(kept("#[cfg(all(test, unix))] fn f() {} g"), "g");
        assert_eq!(kept("#[cfg(not(test))] a").split(' ').next_back(), Some("a"));
        assert_eq!(kept("#![cfg(test)] a"), "");
    }
}
