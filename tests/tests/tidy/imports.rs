//! Imports point down, run in no circle, and name what they take.
//!
//! What is seen are names. A method called on a value whose type is not named goes unseen, since only a compiler knows
//! where it is defined.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::circles::Edges;
use crate::layers::Layers;
use crate::sources::{ROOMS, root, sources};
use crate::tree::{Mention, ModulePath, Target, Tree};

#[test]
fn imports_point_down() {
    let layers = Layers::read();
    let mut wrong = Vec::new();
    for krate in crates() {
        for tree in krate.trees() {
            for mention in tree.mentions() {
                let said = krate.may_not_use(tree, &mention, &layers);
                let place = || format!("{}:{}", tree.file_of(mention.module).display(), mention.line);
                wrong.extend(said.map(|said| format!("{}: {said}", place())));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let layers = Layers::read();
    let mut homeless = BTreeSet::new();
    for krate in crates() {
        for tree in krate.trees() {
            for (path, module) in tree.modules() {
                let name = krate.room(tree, path);
                if layers.has_modules(&krate.name) && layers.layer(&krate.name, name).is_none() {
                    homeless.insert(format!("{}: {}::{name}", module.file.display(), krate.name));
                }
            }
        }
    }
    assert!(homeless.is_empty(), "modules without a layer in docs/ARCHITECTURE.md: {homeless:#?}");
}

#[test]
fn no_circle_of_imports() {
    let mut found = Vec::new();
    for krate in crates() {
        for tree in krate.trees() {
            let mut edges = Edges::of(tree);
            for folder in CIRCLES_EXCEPTED {
                edges.leave_out(Path::new(folder));
            }
            found.extend(edges.circles().into_iter().map(|circle| circle.join("\n")));
        }
    }
    assert!(found.is_empty(), "circles of imports:\n{}", found.join("\n\n"));
}

#[test]
fn circles_excepted_are_still_there() {
    for folder in CIRCLES_EXCEPTED {
        let open = |tree: &Tree| {
            let mut edges = Edges::of(tree);
            edges.keep_only(Path::new(folder));
            edges.circles().is_empty()
        };
        let all_open = crates().iter().all(|krate| krate.trees().all(open));
        assert!(!all_open, "no circle is left in {folder}: take it off the list");
    }
}

#[test]
fn nothing_of_ours_is_imported_by_a_star() {
    let mut found = Vec::new();
    for krate in crates() {
        for tree in krate.trees() {
            let lines = tree.globs().into_iter();
            found.extend(lines.map(|(at, line)| format!("{}:{line}", tree.file_of(at).display())));
        }
    }
    assert!(found.is_empty(), "imports that hide what they take:\n{}", found.join("\n"));
}

/// The parser cannot pass by seeing nothing: every file is reached, and every path that begins in a crate of ours is
/// understood.
#[test]
fn every_file_and_every_path_is_seen() {
    let mut files = BTreeSet::new();
    let mut missed = Vec::new();
    for krate in crates() {
        let mut edges = 0;
        for tree in krate.trees() {
            files.extend(tree.modules().map(|(_, module)| module.file.clone()));
            edges += Edges::of(tree).len();
            for mention in tree.mentions().iter().filter(|mention| mention.target == Target::Missing) {
                let file = tree.file_of(mention.module).display();
                missed.push(format!("{file}:{}: {}", mention.line, mention.path.join("::")));
            }
        }
        assert!(edges > 10, "{} has only {edges} imports between its files", krate.name);
    }
    let texts: Vec<_> = sources().map(|source| source.text).collect();
    let is_for_tests = |file: &Path| {
        let stem = file.file_stem().expect("a file has a name").to_string_lossy();
        texts.iter().any(|text| text.contains(&format!("#[cfg(test)]\nmod {stem};")))
    };
    let mut unseen: Vec<_> = sources().map(|source| PathBuf::from(source.name())).collect();
    unseen.retain(|file| !files.contains(file) && !is_for_tests(file));
    assert!(missed.is_empty(), "paths that lead nowhere:\n{}", missed.join("\n"));
    assert!(unseen.is_empty(), "files that no root declares outside of tests: {unseen:#?}");
}

/// Shrinks only: folders whose circles among their own files are not open yet.
const CIRCLES_EXCEPTED: &[&str] = &[];

/// The library of a crate and its binaries, each a tree of modules of its own.
struct Crate {
    name: String,
    library: Tree,
    /// With the name their root has among the layers.
    binaries: Vec<(&'static str, Tree)>,
}

impl Crate {
    fn trees(&self) -> impl Iterator<Item = &Tree> {
        std::iter::once(&self.library).chain(self.binaries.iter().map(|(_, tree)| tree))
    }

    /// What of its crate a module belongs to: the topmost module, or the root.
    fn room<'p>(&'p self, tree: &Tree, module: &'p ModulePath) -> &'p str {
        let binary = self.binaries.iter().find(|(_, binary)| std::ptr::eq(binary, tree));
        let root = binary.map_or("lib", |(name, _)| name);
        module.first().map_or(root, String::as_str)
    }

    /// Says what is wrong with a mention, if anything is.
    fn may_not_use(&self, tree: &Tree, mention: &Mention<'_>, layers: &Layers) -> Option<String> {
        let (target, there) = match &mention.target {
            // A binary names its own library.
            Target::Foreign if mention.path[0] == self.name => {
                match self.library.resolve(&ModulePath::new(), &mention.path[1..]) {
                    // What the root itself defines is there for its binaries.
                    Target::Item(at) if at.is_empty() => return None,
                    // What it only hands on is named where it takes it.
                    Target::Foreign => return None,
                    target => (target, &self.library),
                }
            }
            target => (target.clone(), tree),
        };
        match target {
            Target::Foreign => {
                let used = mention.path[0].as_str();
                let allowed = !layers.crates.contains_key(used) || layers.may_use(&self.name, used);
                (!allowed).then(|| format!("crate {} may not use crate {used}", self.name))
            }
            Target::Item(at) | Target::Module(at) => {
                let (user, used) = (self.room(tree, mention.module), self.room(there, &at));
                let mine = layers.layer(&self.name, user)?;
                let theirs = layers.layer(&self.name, used)?;
                let wrong = (user != used || !std::ptr::eq(tree, there)) && theirs >= mine;
                wrong.then(|| format!("{user} (layer {mine}) uses {used} ({theirs})"))
            }
            Target::Missing => None,
        }
    }
}

fn crates() -> Vec<Crate> {
    let tree = |path: &str| Tree::read(Path::new(path), &|file| fs::read_to_string(root().join(file)).ok());
    let read = |room: &&str| {
        let mut binaries = Vec::new();
        let main = format!("{room}/main.rs");
        if root().join(&main).exists() {
            binaries.push(("main", tree(&main)));
        }
        for entry in fs::read_dir(root().join(room).join("bin")).into_iter().flatten().flatten() {
            let file = format!("{room}/bin/{}", entry.file_name().to_string_lossy());
            binaries.push(("bin", tree(&file)));
        }
        let name = room.rsplit('/').nth(1).expect("a crate's folder and src").to_owned();
        Crate { name, library: tree(&format!("{room}/lib.rs")), binaries }
    };
    ROOMS.iter().map(read).collect()
}
