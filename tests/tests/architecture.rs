//! The documents tell the truth: every file that they or comments name is there, docs/ARCHITECTURE.md names every file of the worker, and the
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
    let documents = documents();
    let named: Vec<(&str, String)> = documents
        .iter()
        .flat_map(|name| named_in(name).into_iter().map(move |path| (name.as_str(), path)))
        .collect();
    assert!(named.len() > 40, "the documents name files: {named:?}");
    let missing: Vec<_> = named.iter().filter(|(_, path)| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "files that are not there: {missing:#?}");
}

#[test]
fn every_link_in_the_documents_leads_to_a_file() {
    let documents = documents();
    let links: Vec<(&str, String)> = documents
        .iter()
        .flat_map(|name| links_in(name).into_iter().map(move |link| (name.as_str(), link)))
        .collect();
    assert!(links.len() > 10, "the documents link to files: {links:?}");
    let lead = |(document, link): &&(&str, String)| {
        let folder = root().join(document).parent().expect("a document lies in a folder").to_owned();
        folder.join(link.split('#').next().unwrap_or_default()).exists()
    };
    let broken: Vec<_> = links.iter().filter(|link| !lead(link)).collect();
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

#[test]
fn every_source_file_a_comment_names_is_there() {
    let files: Vec<PathBuf> = ["rs", "toml", "sh", "py"].into_iter().flat_map(files_of_ours).collect();
    let names: BTreeSet<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let mut seen = 0;
    let mut missing = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path).expect("sources are text");
        for line in text.lines().filter(|line| line.trim_start().starts_with(['/', '#'])) {
            for word in line.split('`').skip(1).step_by(2).filter(|word| is_source(word)) {
                seen += 1;
                let named = expanded(word);
                let is_there = |name: &String| names.contains(name.rsplit('/').next().unwrap_or_default());
                if !named.iter().all(is_there) {
                    missing.push(format!("{}: {word}", path.display()));
                }
            }
        }
    }
    assert!(seen > 10, "comments name files");
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

/// Whether a word of a document is the name of a Rust source file.
fn is_source(word: &str) -> bool {
    word.ends_with(".rs") && !word.contains([' ', '<', '*'])
}

/// All documents, as paths from the root.
fn documents() -> Vec<String> {
    let found = files_of_ours("md");
    let from_root = |path: &PathBuf| path.strip_prefix(root()).expect("below the root").display().to_string();
    found.iter().map(from_root).collect()
}

/// All files with this ending but those of builds, of foreign environments and of hidden folders.
fn files_of_ours(ending: &str) -> Vec<PathBuf> {
    let mut waiting = vec![root().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = waiting.pop() {
        for path in entries(&folder) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                waiting.push(path);
            } else if path.extension().is_some_and(|own| own == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Where the links of a document to other files lead.
fn links_in(document: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).expect("the document exists");
    let text: String = text.split("```").step_by(2).collect();
    let ends = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let ends = ends.map(|(link, _)| link).filter(|link| !link.contains(' '));
    ends.filter(|link| !link.starts_with('#') && !link.contains("://")).map(str::to_owned).collect()
}

/// Paths from the root of everything in backticks in a document that looks like a source file.
fn named_in(document: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(document)).expect("the document exists");
    // Every other piece is a fenced block.
    let text: String = text.split("```").step_by(2).collect();
    let words = text.split('`').skip(1).step_by(2).filter(|word| is_source(word));
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
