//! The fuzzers' corpus, without a fuzzer: every committed input runs through its target, and the seeds among them are
//! what the code makes today.
//!
//! After a change of the wire that is meant, `SEEDS=write cargo test -p tests --test corpus` writes the seeds again.
//! Inputs that once crashed a target lie beside them under names of their own and stay.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Once;

use tests::targets::{ALL, Target};

#[test]
fn every_committed_input_passes_its_target() {
    for target in &ALL {
        let mut files = 0;
        for entry in fs::read_dir(committed(target)).expect("the target has a corpus") {
            let path = entry.expect("the folder can be read").path();
            let bytes = fs::read(&path).expect("an input can be read");
            assert!(bytes.len() <= INPUT_LEN_MAX, "{} is not small", path.display());
            // A panic in here is named by the file printed last.
            eprintln!("{}", path.display());
            (target.run)(&bytes);
            files += 1;
        }
        assert!(files >= (target.seeds)().len(), "{} has lost seeds", target.name);
    }
}

#[test]
fn the_committed_seeds_are_those_of_today() {
    for target in &ALL {
        let seeds = (target.seeds)();
        let names: BTreeSet<_> = seeds.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), seeds.len(), "two seeds of {} share a name", target.name);
        for (name, bytes) in seeds {
            let path = committed(target).join(name);
            let there = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(there == bytes, "{} has changed: see the head of this test", path.display());
        }
    }
}

/// A fuzzer that starts in front of the cryptography never gets behind it.
#[test]
fn the_seeds_reach_what_lies_behind_the_cryptography() {
    for target in &ALL {
        let reached: Vec<_> =
            (target.seeds)().into_iter().map(|(name, bytes)| (name, (target.run)(&bytes))).collect();
        let far = reached.iter().filter(|(_, depth)| *depth > 0).count();
        assert!(far * 3 >= reached.len(), "{}: {reached:?}", target.name);
        assert!(far < reached.len(), "{}: a seed for what is refused is missing", target.name);
    }
}

/// The folder of a target's inputs, in which the seeds were written again if that is wished.
fn committed(target: &Target) -> PathBuf {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        if std::env::var_os("SEEDS").is_some_and(|wish| wish == "write") {
            ALL.iter().for_each(write_seeds);
        }
    });
    folder(target)
}

fn write_seeds(target: &Target) {
    fs::create_dir_all(folder(target)).expect("the folder can be made");
    for (name, bytes) in (target.seeds)() {
        fs::write(folder(target).join(name), bytes).expect("a seed can be written");
    }
}

fn folder(target: &Target) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target.name].iter().collect()
}

/// Seeds are small, so that the fuzzer changes what matters.
const INPUT_LEN_MAX: usize = 4096;
