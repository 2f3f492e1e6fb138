//! An app that takes an SDK without its command line gets nothing of what only that needs.

use std::collections::BTreeSet;
use std::process::Command;

use crate::sources::root;

/// Each SDK, and what its command line alone needs.
const COMMAND_LINES: [(&str, &[&str]); 2] =
    [("client", &["clap", "rustix"]), ("backend", &["clap", "serde_json"])];

#[test]
fn the_library_of_an_sdk_needs_nothing_of_its_command_line() {
    for (sdk, needed) in COMMAND_LINES {
        let (whole, library) = (packages(sdk, &[]), packages(sdk, &["--no-default-features"]));
        for name in needed {
            assert!(whole.contains(*name), "{sdk}: its command line needs {name}: {whole:?}");
            assert!(!library.contains(*name), "{sdk}: its library needs {name}: {library:?}");
        }
        assert!(library.contains("protocol") && library.contains("tokio"), "{sdk}: {library:?}");
    }
}

#[test]
fn what_uses_an_sdk_as_a_library_takes_no_command_line() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    for (sdk, _) in COMMAND_LINES {
        let wanted = format!("{sdk} = {{ path = \"sdk/{sdk}\", default-features = false }}");
        assert!(manifest.lines().any(|line| line == wanted), "wanted: {wanted}");
    }
}

/// The packages that one of ours is built with, by name.
fn packages(name: &str, options: &[&str]) -> BTreeSet<String> {
    let mut tree = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.args(["tree", "--quiet", "--locked", "--package", name, "--edges", "normal", "--prefix", "none"]);
    let out = tree.args(options).current_dir(root()).output().expect("cargo runs the tests");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let lines = String::from_utf8(out.stdout).expect("names are text");
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
