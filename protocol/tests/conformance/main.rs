//! Writes `vectors/*.json`: what a client or backend in any language can be held to. SPEC.md, section 18.1.
//!
//! All values come from the code, with fixed keys, salts and times; every expected outcome is what the machines of this
//! crate do. The files must be what they say; after a change that is meant,
//! `VECTORS=write cargo test -p protocol --test conformance` writes them again.

mod answers;
mod ends;
mod hellos;
mod json;
mod keys;
mod link_fields;
mod link_frames;
mod listeners;
mod malformed;
mod malformed_links;
mod malformed_streams;
mod parts;
mod recipe;
mod records;
mod replies;
mod resumptions;
mod schema;
mod stream_cases;
mod stream_fields;
mod stream_frames;
mod tickets;

use std::path::{Path, PathBuf};

use json::Json;

/// What makes a file.
type Make = fn() -> Json;

/// Every file and what it holds.
const FILES: [(&str, Make); 8] = [
    ("hellos.json", hellos::file),
    ("link-frames.json", link_frames::file),
    ("malformed.json", malformed::file),
    ("records.json", records::file),
    ("replies.json", replies::file),
    ("resumptions.json", resumptions::file),
    ("stream-frames.json", stream_frames::file),
    ("tickets.json", tickets::file),
];

#[test]
fn every_file_is_what_the_code_says() {
    for (name, make) in FILES {
        let (path, made) = (directory().join(name), make().to_file());
        if std::env::var_os("VECTORS").is_some_and(|wish| wish == "write") {
            std::fs::write(&path, made).expect("the file can be written");
        } else {
            let there = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("there is no {name}"));
            same(name, &there, &made);
        }
    }
}

/// Shows the first line that differs, as a whole file tells nothing.
fn same(name: &str, there: &str, made: &str) {
    for (number, (there, made)) in there.lines().zip(made.lines()).enumerate() {
        assert_eq!(there, made, "{name}, line {}: see the head of this test", number + 1);
    }
    assert_eq!(there.len(), made.len(), "{name} is longer or shorter: see the head of this test");
}

#[test]
fn nothing_else_lies_there_and_all_of_it_is_small() {
    let mut names: Vec<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.push("README.md".to_owned());
    names.sort();
    let there = std::fs::read_dir(directory()).expect("the directory is there");
    let (mut found, mut bytes) = (Vec::new(), 0);
    for entry in there {
        let entry = entry.expect("it can be read");
        bytes += entry.metadata().expect("it has a length").len();
        found.push(entry.file_name().into_string().expect("a plain name"));
    }
    found.sort();
    assert_eq!(found, names);
    assert!(bytes < 1_500_000, "{bytes} bytes");
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}
