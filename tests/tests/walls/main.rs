//! Walls inside the worker: no field of a part can be reached from outside it.
//!
//! A part of the worker is a folder below `gateway/src/worker/`. Rust keeps private fields private to the module they
//! are declared in and to those below it, so it is enough to show that no field says otherwise, that no part names
//! another one, and that what joins the parts (`worker/flows/`) keeps nothing itself. The sources are read as
//! words and signs, without comments and strings; fields that a macro would make are not seen, and neither is a reference
//! that a function of a part hands out.

mod source;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, items_of_worker};

/// The parts, each a folder with a `mod.rs`.
const PARTS: &[&str] = &["door", "slots", "links", "identity", "sessions", "requests", "streams", "post"];

/// What joins the parts.
const FLOWS: &str = "flows";

/// Structs of parts and flows that are plain values, carried between parts and kept by none: folder, name, reason. Only
/// these may have fields that reach outside their part, and only these may be declared with fields in a flow. An entry
/// that is not needed fails.
const VALUES: &[(&str, &str, &str)] = &[
    ("links", "Census", "a count, made for whoever asks"),
    ("links", "Introduced", "whose a link is, on its way to the door"),
    ("links", "Parted", "what a link leaves behind for the others when it is buried"),
    ("identity", "Verdict", "what a backend has said, on its way to the session that begins"),
    ("identity", "Proved", "part of a verdict"),
    ("requests", "Way", "where a request goes, on its way through the parts"),
    ("requests", "Asking", "the same before an endpoint is chosen"),
    ("post", "Resolved", "what became of a request, on its way to the link that its session has now"),
    ("post", "Parcel", "a push between workers"),
    ("post", "ToKeep", "how one is kept"),
    ("post", "HandedOver", "a session between workers"),
    ("post", "Lost", "a session that waits, as other workers' backends are told"),
    ("post", "Reported", "what became of a push, on its way to the stream it came by"),
    ("post", "Sender", "where a push came from, carried back with its report"),
];

#[test]
fn every_part_is_held_to_the_walls() {
    let entries = fs::read_dir(worker()).expect("the worker has a folder").flatten();
    let folders = entries.filter(|entry| entry.path().join("mod.rs").exists());
    let mut unknown: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    unknown.retain(|name| name != FLOWS && !PARTS.contains(&name.as_str()));
    assert!(unknown.is_empty(), "parts that are missing here: {unknown:?}");
}

#[test]
fn no_field_reaches_outside_its_part() {
    let mut wrong = Vec::new();
    for part in PARTS {
        for source in sources(part) {
            for found in source.structs() {
                let open = found.fields.iter().filter(|field| source.reaches_outside(field, &found.module));
                let names: Vec<_> = open.map(|field| field.name.as_str()).collect();
                if !names.is_empty() && !is_value(part, &found.name) {
                    wrong.push(format!(
                        "{}:{}: {}: {}",
                        source.name,
                        found.line,
                        found.name,
                        names.join(", ")
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "fields that can be reached from outside their part:\n{}", wrong.join("\n"));
}

#[test]
fn no_part_names_another() {
    let items = items_of_worker(&Source::read("mod.rs"));
    let wrong: Vec<_> =
        PARTS.iter().flat_map(|part| sources(part)).flat_map(|source| source.strangers(&items)).collect();
    assert!(wrong.is_empty(), "parts that name what is not theirs:\n{}", wrong.join("\n"));
}

#[test]
fn flows_keep_nothing() {
    let wrong: Vec<_> = sources(FLOWS).iter().flat_map(Source::state).collect();
    assert!(wrong.is_empty(), "state in flows:\n{}", wrong.join("\n"));
}

#[test]
fn values_are_still_needed() {
    for (folder, name, reason) in VALUES {
        assert!(!reason.is_empty(), "{name} has a reason");
        let needed = sources(folder).iter().any(|source| {
            source.structs().iter().any(|found| {
                let needs = |field| *folder == FLOWS || source.reaches_outside(field, &found.module);
                found.name == *name && found.fields.iter().any(needs)
            })
        });
        assert!(needed, "{folder}: {name} is not there or needs no exception: take it off the list");
    }
}

fn is_value(folder: &str, name: &str) -> bool {
    VALUES.iter().any(|(at, value, _)| *at == folder && *value == name)
}

fn worker() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root");
    root.join("gateway/src/worker")
}

/// All files of a folder below the worker but tests.
fn sources(folder: &str) -> Vec<Source> {
    let mut names = Vec::new();
    collect(folder, &mut names);
    names.sort();
    assert!(names.contains(&format!("{folder}/mod.rs")), "gateway/src/worker/{folder}/ has a mod.rs");
    names.iter().map(|name| Source::read(name)).collect()
}

fn collect(folder: &str, names: &mut Vec<String>) {
    let entries = fs::read_dir(worker().join(folder));
    let entries = entries.unwrap_or_else(|error| {
        panic!("gateway/src/worker/{folder}/ is among the folders that tests/tests/walls knows: {error}")
    });
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            if name != "tests" {
                collect(&path, names);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            names.push(path);
        }
    }
}
