//! Files and functions fit on a screen, and every file says what it is for.

use crate::sources::sources;

#[test]
fn files_and_functions_fit_on_a_screen() {
    let mut long = Vec::new();
    for source in sources() {
        let lines = source
            .code()
            .filter(|(_, line)| !line.trim().is_empty() && !line.trim().starts_with("//"))
            .count();
        if lines > FILE_LINES_MAX && !FILES_EXCEPTED.contains(&source.name().as_str()) {
            long.push(format!("{}: {lines} lines of code", source.name()));
        }
        for (name, start, lines) in source.functions() {
            let full = format!("{}::{name}", source.name());
            if lines > FUNCTION_LINES_MAX && !FUNCTIONS_EXCEPTED.contains(&full.as_str()) {
                long.push(format!("{}:{start}: fn {name} has {lines} lines", source.name()));
            }
        }
    }
    assert!(
        long.is_empty(),
        "too long (limits {FILE_LINES_MAX} and {FUNCTION_LINES_MAX}):\n{}",
        long.join("\n")
    );
}

#[test]
fn exceptions_are_still_needed() {
    let sources: Vec<_> = sources().collect();
    for name in FILES_EXCEPTED {
        let source = sources.iter().find(|source| source.name() == *name).expect("the excepted file exists");
        let lines =
            source.code().filter(|(_, l)| !l.trim().is_empty() && !l.trim().starts_with("//")).count();
        assert!(lines > FILE_LINES_MAX, "{name} fits now: take it off the list");
    }
    for name in FUNCTIONS_EXCEPTED {
        let found = sources.iter().flat_map(|source| {
            source
                .functions()
                .into_iter()
                .map(move |(f, _, lines)| (format!("{}::{f}", source.name()), lines))
        });
        let lines = found.filter(|(full, _)| full == name).map(|(_, lines)| lines).max().expect("it exists");
        assert!(lines > FUNCTION_LINES_MAX, "{name} fits now: take it off the list");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources().filter(|source| !source.text.starts_with("//!")).map(|source| source.name()).collect();
    assert!(silent.is_empty(), "files without a module doc: {silent:?}");
}

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Shrinks only.
const FILES_EXCEPTED: &[&str] = &[];
/// Shrinks only.
const FUNCTIONS_EXCEPTED: &[&str] = &[];
