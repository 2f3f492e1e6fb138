//! Banned words stay out.

use crate::sources::sources;

#[test]
fn banned_words_stay_out() {
    let mut found = Vec::new();
    for source in sources() {
        let name = source.name();
        for (number, line) in source.code() {
            let line = line.split("//").next().unwrap_or(line);
            for (word, homes) in BANNED {
                if line.contains(word) && !homes.iter().any(|home| name.starts_with(home)) {
                    found.push(format!("{name}:{number}: {word}"));
                }
            }
            for word in identifiers(line) {
                let parts = word.split('_').map(str::to_lowercase);
                if parts.clone().any(|part| NAMES_BANNED.contains(&part.as_str())) {
                    found.push(format!("{name}:{number}: the name {word}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "banned:\n{}", found.join("\n"));
}

/// Words of code, and the path prefixes where they are at home.
const BANNED: &[(&str, &[&str])] = &[
    ("Instant::now", &["gateway/src/clock.rs", "sdk/", "loadgen/", "driver/examples/", "driver/src/uring/"]),
    ("SystemTime::now", &["gateway/src/clock.rs", "sdk/", "loadgen/"]),
    ("unsafe ", &["driver/"]),
    ("thread::sleep", &[]),
    ("todo!", &[]),
    ("unimplemented!", &[]),
    ("dbg!", &[]),
];

/// Words that say nothing, as parts of names.
const NAMES_BANNED: &[&str] = &["conn", "util", "utils", "common", "helper", "helpers", "manager", "misc"];

fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}
