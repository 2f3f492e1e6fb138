//! House rules a machine can check: imports point down, files and functions fit, banned words stay out.
//!
//! The layers are parsed out of docs/ARCHITECTURE.md, so the picture and the code cannot drift apart.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn imports_point_down() {
    let layers = Layers::read();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((krate, module)) = source.room(&layers) else { continue };
        for (number, line) in source.code() {
            for used in crates_used(line) {
                let own = source.text.contains(&format!("mod {used};"));
                // A binary names its own library.
                let own = own || used == krate;
                let allowed = !layers.crates.contains_key(used) || own || layers.may_use(krate, used);
                if !allowed {
                    wrong.push(format!("{}:{number}: crate {krate} may not use crate {used}", source.name()));
                }
            }
            let Some(own) = layers.modules.get(krate) else { continue };
            for used in modules_used(line) {
                if let (Some(mine), Some(theirs)) = (own.get(module.as_str()), own.get(used))
                    && used != module
                    && theirs >= mine
                {
                    wrong.push(format!(
                        "{}:{number}: {module} (layer {mine}) uses {used} ({theirs})",
                        source.name()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let layers = Layers::read();
    let homeless: Vec<_> = sources()
        .filter_map(|source| {
            let (krate, module) = source.room(&layers)?;
            let known = layers.modules.get(krate)?.contains_key(module.as_str())
                || module == "lib"
                || module == "cli";
            (!known).then(|| format!("{}: {krate}::{module}", source.name()))
        })
        .collect();
    assert!(homeless.is_empty(), "modules without a layer in docs/ARCHITECTURE.md:\n{}", homeless.join("\n"));
}

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

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Shrinks only.
const FILES_EXCEPTED: &[&str] = &[];
/// Shrinks only.
const FUNCTIONS_EXCEPTED: &[&str] = &[];

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

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Path from the root, with forward slashes.
    fn name(&self) -> String {
        self.path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned()
    }

    /// Crate and top module this file belongs to.
    fn room<'l>(&self, layers: &'l Layers) -> Option<(&'l str, String)> {
        let name = self.name();
        let (folder, inside) = name.split_once("/src/")?;
        let krate = folder.rsplit('/').next()?;
        let (krate, _) = layers.crates.get_key_value(krate)?;
        let module = inside.split('/').next()?.trim_end_matches(".rs").to_owned();
        Some((krate, module))
    }

    /// Numbered lines before the unit tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        self.text[..end].lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Name, first line and length of each function.
    fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut found = Vec::new();
        let mut open: Vec<(String, usize, usize)> = Vec::new();
        for (number, line) in self.code() {
            let indent = line.len() - line.trim_start().len();
            let head = line.split("//").next().unwrap_or_default();
            if let Some(at) = head.find("fn ").filter(|&at| at == 0 || head[..at].ends_with(' ')) {
                let name: String =
                    head[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if !name.is_empty() && !head.trim_end().ends_with(';') {
                    open.push((name, number, indent));
                }
            }
            if line.trim() == "}" && open.last().is_some_and(|(_, _, at)| *at == indent) {
                let (name, start, _) = open.pop().expect("checked above");
                found.push((name, start, number - start + 1));
            }
        }
        found
    }
}

/// What docs/ARCHITECTURE.md says.
struct Layers {
    crates: BTreeMap<String, Vec<String>>,
    modules: BTreeMap<String, BTreeMap<String, u32>>,
}

impl Layers {
    fn read() -> Self {
        let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the document exists");
        let block = text.split("```layers\n").nth(1).and_then(|rest| rest.split("```").next());
        let mut layers = Self { crates: BTreeMap::new(), modules: BTreeMap::new() };
        for line in block.expect("a block marked `layers`").lines().filter(|line| !line.is_empty()) {
            let (head, names) = line.split_once(':').expect("head: names");
            let names = names.split_whitespace().filter(|name| *name != "-").map(str::to_owned);
            match head.split_once(' ').expect("two words before the colon") {
                ("crate", krate) => {
                    layers.crates.insert(krate.to_owned(), names.collect());
                }
                (krate, layer) => {
                    let layer: u32 = layer.parse().expect("a layer's number");
                    let modules = layers.modules.entry(krate.to_owned()).or_default();
                    modules.extend(names.map(|name| (name, layer)));
                }
            }
        }
        assert!(layers.crates.len() >= 6 && layers.modules.len() == 2, "the block is complete");
        layers
    }

    fn may_use(&self, krate: &str, used: &str) -> bool {
        self.crates[krate].iter().any(|name| name == used)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// All Rust sources of ours but tests and benches.
fn sources() -> impl Iterator<Item = Source> {
    let mut files = Vec::new();
    for room in
        ["protocol/src", "driver/src", "gateway/src", "sdk/client/src", "sdk/backend/src", "loadgen/src"]
    {
        collect(&root().join(room), &mut files);
    }
    files.sort();
    assert!(files.len() > 10, "the walk finds the sources");
    files
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs") && !path.components().any(|c| c.as_os_str() == "tests"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            Source { path, text }
        })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// First segments of paths in a line: crates it may name.
fn crates_used(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("::").filter_map(move |(at, _)| {
        let start = code[..at].rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |i| i + 1);
        let leading = !code[..start].ends_with("::") && start < at;
        leading.then_some(&code[start..at])
    })
}

/// Modules of the own crate a line names.
fn modules_used(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("crate::").map(move |(at, matched)| {
        let rest = &code[at + matched.len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    })
}

fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}
