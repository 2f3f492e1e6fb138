//! Rust sources as words and signs.

/// A word or a sign, and its line.
#[derive(Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Words, numbers, lifetimes and signs; no comments, no strings, no characters.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut found, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let mut len = first.len_utf8();
        let mut is_token = false;
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if rest.starts_with("//") {
            len = rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            len = comment(rest);
        } else if let Some(string) = string(rest) {
            len = string;
        } else if first == '\'' {
            let lifetime = rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1) + 1;
            let quoted = lifetime > 1 && !rest[lifetime..].starts_with('\'');
            (len, is_token) = if quoted { (lifetime, true) } else { (character(rest), false) };
        } else if is_word(first) {
            (len, is_token) = (word, true);
        } else if !first.is_whitespace() {
            let pair = ["::", "->", "=>"].into_iter().find(|pair| rest.starts_with(pair));
            (len, is_token) = (pair.map_or(len, str::len), true);
        }
        if is_token {
            found.push(Token { line, text: rest[..len].to_owned() });
        }
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    found
}

/// Length of a comment that may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        let step = rest.chars().next().map_or(0, char::len_utf8);
        (depth, at) = match rest {
            _ if rest.starts_with("/*") => (depth + 1, at + 2),
            _ if rest.starts_with("*/") => (depth - 1, at + 2),
            _ => (depth, at + step),
        };
        if depth == 0 || at >= text.len() {
            return at;
        }
    }
}

/// Length of a string, raw or not, of bytes or not.
fn string(text: &str) -> Option<usize> {
    let start = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - start.len();
    let hashes = start.strip_prefix('r').map(|raw| raw.len() - raw.trim_start_matches('#').len());
    if prefix > 1 {
        return None;
    }
    if let Some(hashes) = hashes {
        let inside = start[1 + hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let len = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + len);
    }
    let inside = start.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(prefix + 1 + end.map_or(inside.len(), |at| at + 1))
}

/// Length of a character in quotes.
fn character(text: &str) -> usize {
    let escaped = text[1..].starts_with('\\');
    let from = 1 + if escaped { 2 } else { text[1..].chars().next().map_or(0, char::len_utf8) };
    text[from..].find('\'').map_or(text.len(), |at| from + at + 1)
}

/// Where the parentheses opened here are closed.
pub(crate) fn close_of(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

/// Unit tests may look wherever they like.
pub(crate) fn without_tests(mut tokens: Vec<Token>) -> Vec<Token> {
    let head = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    while let Some(start) = tokens.windows(10).position(|window| {
        window.iter().zip(head).all(|(token, word)| token.text == word) && window[9].text == "{"
    }) {
        let end = close_of(&tokens, start + 9);
        tokens.drain(start..=end.min(tokens.len() - 1));
    }
    tokens
}

mod tests {
    use super::*;

    #[test]
    fn words_and_signs() {
        let words = |text| tokens(text).into_iter().map(|token| token.text).collect::<Vec<_>>();
        assert_eq!(
            words("a::b->'c 'd' '\\'' b'e' \"f\\\"\" g br\"h\" 'static"),
            ["a", "::", "b", "->", "'c", "b", "g", "'static"]
        );
        assert_eq!(tokens("/* \n */ a\nb").iter().map(|token| token.line).collect::<Vec<_>>(), [2, 3]);
    }
}
