//! The documents tell the truth: every file they name is there, docs/ARCHITECTURE.md names every file of the worker, and the
//! folders say what is in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Paths in the table of the way are below this one, unless they begin with one of [`ROOMS`].
const WORKER: &str = "gateway/src/worker/";
const ROOMS: [&str; 8] =
    ["protocol/", "driver/", "gateway/", "sdk/", "loadgen/", "tests/", "benches/", "docs/"];

#[test]
fn every_file_the_documents_name_is_there() {
    let documents = ["README.md", "docs/ARCHITECTURE.md", "docs/PERFORMANCE.md"];
    let named: Vec<(&str, String)> =
        documents.iter().flat_map(|name| named_in(name).into_iter().map(move |path| (*name, path))).collect();
    assert!(named.len() > 40, "the documents name files: {named:?}");
    let missing: Vec<_> = named.iter().filter(|(_, path)| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "files that are not there: {missing:#?}");
}

#[test]
fn every_step_and_file_of_the_worker_is_named_where_a_reader_looks_for_it() {
    let named = named_in("docs/ARCHITECTURE.md");
    let mut unnamed = Vec::new();
    for folder in folders(&root().join(WORKER)) {
        let head = head_of(&folder.join("mod.rs"));
        for entry in entries(&folder) {
            let stem = entry.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let path = entry.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            let is_test = stem == "tests";
            if stem != "mod" && !is_test && !head.contains(&format!("`{stem}`")) && !named.contains(&path) {
                unnamed.push(path);
            }
        }
    }
    assert!(
        unnamed.is_empty(),
        "neither the head of their mod.rs nor docs/ARCHITECTURE.md names: {unnamed:#?}"
    );
}

#[test]
fn steps_are_numbered_without_a_gap() {
    let numbers: Vec<usize> =
        table().filter_map(|row| row.split('|').nth(1)?.trim().parse::<usize>().ok()).collect();
    assert!(numbers.len() >= 10 && numbers.iter().copied().eq(1..=numbers.len()), "{numbers:?}");
}

#[test]
fn braces_stand_for_several_files() {
    assert_eq!(expanded("a/{b,c}.rs"), ["a/b.rs", "a/c.rs"]);
    assert_eq!(expanded("a.rs"), ["a.rs"]);
}

/// Rows of the table of the way.
fn table() -> impl Iterator<Item = String> {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the document exists");
    let rest = text.split("## The way of a message").nth(1).expect("its section").to_owned();
    let section = rest.split("\n## ").next().unwrap_or_default().to_owned();
    section.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Paths from the root of everything in backticks in a document that looks like a source file.
fn named_in(document: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(document)).expect("the document exists");
    // Every other piece is a fenced block.
    let text: String = text.split("```").step_by(2).collect();
    let words =
        text.split('`').skip(1).step_by(2).filter(|word| word.ends_with(".rs") && !word.contains(' '));
    words.flat_map(expanded).map(|path| from_root(&path)).collect()
}

/// A path as a reader takes it: from the root, from the worker's folder, or from that of its crate.
fn from_root(path: &str) -> String {
    if ROOMS.iter().any(|room| path.starts_with(room)) {
        return path.to_owned();
    }
    let places = [WORKER, "gateway/src/", "protocol/src/"];
    let found = places.iter().map(|place| format!("{place}{path}")).find(|path| root().join(path).exists());
    found.unwrap_or_else(|| format!("{WORKER}{path}"))
}

fn expanded(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (names, after) = rest.split_once('}').expect("braces come in pairs");
    names.split(',').map(|name| format!("{before}{name}{after}")).collect()
}

/// The module comment at the head of a file.
fn head_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
}

/// A folder and all below it that hold modules.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let below = entries(folder).into_iter().filter(|path| path.is_dir() && path.join("mod.rs").exists());
    let mut all: Vec<_> = below.flat_map(|path| folders(&path)).collect();
    all.push(folder.to_owned());
    all
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder of ours").flatten().map(|entry| entry.path()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root")
}
