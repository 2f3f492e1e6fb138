//! The modules of one binary or library, read from its root, and where each path it names is defined.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::outline::{Import, Outline, Scope};

/// Names of modules from the root down; the root itself is empty.
pub(crate) type ModulePath = Vec<String>;

/// All modules of one root file, without those that are compiled for tests only.
pub(crate) struct Tree {
    modules: BTreeMap<ModulePath, Module>,
}

pub(crate) struct Module {
    pub(crate) file: PathBuf,
    scope: Scope,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Something defined in this module, after all re-exports.
    Item(ModulePath),
    /// A module, named as such. Whoever goes on to name something in it names its definition as well.
    Module(ModulePath),
    /// Nothing of this tree: another crate, the prelude, something local.
    Foreign,
    /// It begins in this tree and leads nowhere: the parser has not understood the file.
    Missing,
}

/// One place where a module names something.
#[derive(Debug)]
pub(crate) struct Mention<'t> {
    pub(crate) module: &'t ModulePath,
    pub(crate) line: usize,
    pub(crate) path: &'t [String],
    pub(crate) target: Target,
}

impl Tree {
    /// Reads the root and every file it declares.
    ///
    /// # Panics
    /// When `read` knows no file for a declared module.
    pub(crate) fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Tree {
        let mut tree = Tree { modules: BTreeMap::new() };
        let folder = root.parent().expect("a file lies in a folder").to_owned();
        let mut waiting = vec![(ModulePath::new(), root.to_owned(), folder)];
        while let Some((path, file, folder)) = waiting.pop() {
            let text = read(&file).unwrap_or_else(|| panic!("{} is declared and missing", file.display()));
            for (inside, scope) in Outline::of(&text).scopes {
                let folder = inside.iter().fold(folder.clone(), |folder, name| folder.join(name));
                let path = [path.as_slice(), &inside].concat();
                for name in &scope.files {
                    let flat = folder.join(format!("{name}.rs"));
                    let file = if read(&flat).is_some() { flat } else { folder.join(name).join("mod.rs") };
                    waiting.push((below(&path, name), file, folder.join(name)));
                }
                tree.modules.insert(path, Module { file: file.clone(), scope });
            }
        }
        tree
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = (&ModulePath, &Module)> {
        self.modules.iter()
    }

    pub(crate) fn file_of(&self, module: &ModulePath) -> &Path {
        &self.modules[module].file
    }

    /// Everything every module names. A module that only declares `pub use` of what lies below it does not name it.
    pub(crate) fn mentions(&self) -> Vec<Mention<'_>> {
        let mut found = Vec::new();
        for (module, Module { scope, .. }) in &self.modules {
            for Import { path, line, public, .. } in &scope.imports {
                let target = self.resolve(module, path);
                let re_exports = *public
                    && match &target {
                        Target::Item(at) | Target::Module(at) => at.starts_with(module),
                        _ => false,
                    };
                if !re_exports {
                    found.push(Mention { module, line: *line, path, target });
                }
            }
            for named in &scope.named {
                if named.path.len() == 1 && !scope.imports.iter().any(|import| import.name == named.path[0]) {
                    continue;
                }
                let target = self.resolve(module, &named.path);
                found.push(Mention { module, line: named.line, path: &named.path, target });
            }
        }
        found
    }

    /// Lines that import everything of a module of this tree, which hides what they name.
    pub(crate) fn globs(&self) -> Vec<(&ModulePath, usize)> {
        let globs = self.modules.iter().flat_map(|(module, own)| {
            let globs = own.scope.imports.iter().filter(|import| import.name == "*");
            globs.map(move |import| (module, import))
        });
        let own = globs.filter(|(module, import)| self.resolve(module, &import.path) != Target::Foreign);
        own.map(|(module, import)| (module, import.line)).collect()
    }

    /// Follows a path from a module through re-exports to where its thing is defined. What comes behind an item (a
    /// variant, a method) changes nothing.
    pub(crate) fn resolve(&self, from: &ModulePath, path: &[String]) -> Target {
        self.follow(from, path, 0)
    }

    fn follow(&self, from: &ModulePath, path: &[String], depth: usize) -> Target {
        let mut at = from.clone();
        let mut is_ours = false;
        let mut rest = path.iter().peekable();
        while let Some(word) = rest.next_if(|word| matches!(word.as_str(), "crate" | "self" | "super")) {
            is_ours = true;
            match word.as_str() {
                "crate" => at.clear(),
                "super" if at.pop().is_none() => return Target::Missing,
                _ => {}
            }
        }
        while let Some(word) = rest.next() {
            match self.look_up(&at, word, rest.peek().is_none(), depth) {
                Some(Target::Module(next)) => (at, is_ours) = (next, true),
                Some(end) => return end,
                None => return if is_ours { Target::Missing } else { Target::Foreign },
            }
        }
        Target::Module(at)
    }

    /// One step: the name of an item, of a module, or of what an import has brought.
    fn look_up(&self, at: &ModulePath, word: &str, is_last: bool, depth: usize) -> Option<Target> {
        let scope = &self.modules.get(at)?.scope;
        let is_module = scope.files.contains(word) || scope.inline.contains(word);
        let import = scope.imports.iter().find(|import| import.name == word);
        // A function may be called like its module: only the last word of a path can be the function.
        if is_module && (!is_last || !(scope.defined.contains(word) || import.is_some())) {
            return Some(Target::Module(below(at, word)));
        }
        if scope.defined.contains(word) {
            return Some(Target::Item(at.clone()));
        }
        match import {
            // An import may have the name of the crate or module it begins with.
            Some(import) if import.path[0] == word && import.path.len() == 1 => Some(Target::Foreign),
            Some(import) if depth < IMPORTS_MAX => Some(self.follow(at, &import.path, depth + 1)),
            Some(_) => Some(Target::Missing),
            None => scope.generated.then(|| Target::Item(at.clone())),
        }
    }
}

fn below(module: &[String], name: &str) -> ModulePath {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// Re-exports of re-exports; more can only be one that leads to itself.
const IMPORTS_MAX: usize = 16;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tree out of names and texts, with its root in `src/lib.rs`.
    pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
        let read = |path: &Path| {
            files.iter().find(|(name, _)| path == Path::new(name)).map(|(_, text)| (*text).to_owned())
        };
        Tree::read(Path::new("src/lib.rs"), &read)
    }

    fn resolved(tree: &Tree, from: &str, path: &str) -> Target {
        let words =
            |path: &str| path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let (from, path): (ModulePath, Vec<_>) = (words(from), words(path));
        tree.resolve(&from, &path)
    }

    fn item(path: &str) -> Target {
        Target::Item(path.split("::").map(str::to_owned).collect())
    }

    fn example() -> Tree {
        tree(&[
            ("src/lib.rs", "mod a; pub mod b; pub use a::{A, c::C as D}; pub struct Own;"),
            ("src/a/mod.rs", "pub mod c; pub(crate) use c::C; pub struct A; fn probe() {} mod probe;"),
            ("src/a/c.rs", "pub struct C; mod deep { pub struct E; }"),
            ("src/a/probe.rs", "pub fn probe() {}"),
            ("src/b.rs", "mod f; codes! { enum Code {} }"),
            ("src/b/f.rs", "use crate::a; use super::Code; use std::io; use crate::D as Renamed;"),
        ])
    }

    #[test]
    fn declared_files_are_found_in_both_places() {
        let tree = example();
        let files: Vec<_> = tree.modules().map(|(_, module)| module.file.to_str().unwrap()).collect();
        assert_eq!(
            files,
            [
                "src/lib.rs",
                "src/a/mod.rs",
                "src/a/c.rs",
                "src/a/c.rs",
                "src/a/probe.rs",
                "src/b.rs",
                "src/b/f.rs"
            ]
        );
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_its_thing() {
        let tree = example();
        for (from, path, expected) in [
            ("b::f", "crate::a::C", "a::c"),
            ("b::f", "crate::D", "a::c"),
            ("b::f", "Renamed::new", "a::c"),
            ("b::f", "super::super::a::c::C::new", "a::c"),
            ("b::f", "a::c::deep::E", "a::c::deep"),
            ("b::f", "a::A", "a"),
            ("b::f", "super::Code::X", "b"),
            ("a", "probe", "a"),
            ("a", "probe::probe", "a::probe"),
            ("a::c::deep", "super::C", "a::c"),
        ] {
            assert_eq!(resolved(&tree, from, path), item(expected), "{path} in {from}");
        }
        assert_eq!(resolved(&tree, "a", "crate::Own"), Target::Item(Vec::new()));
        assert_eq!(resolved(&tree, "b::f", "crate::a::c"), Target::Module(vec!["a".into(), "c".into()]));
    }

    #[test]
    fn what_is_not_ours_is_foreign_and_what_should_be_is_missing() {
        let tree = example();
        for (from, path) in [("b::f", "std::io"), ("b::f", "io::Error"), ("b::f", "A"), ("a", "Vec::new")] {
            assert_eq!(resolved(&tree, from, path), Target::Foreign, "{path} in {from}");
        }
        for path in ["crate::nothing", "super::super::super::x", "crate::a::c::Gone", "a::Gone"] {
            assert_eq!(resolved(&tree, "b::f", path), Target::Missing, "{path}");
        }
    }

    #[test]
    fn an_import_that_leads_to_itself_ends() {
        let tree = tree(&[("src/lib.rs", "mod a; mod b;"), ("src/a.rs", "use super::b::X;"), {
            ("src/b.rs", "use super::a::X;")
        }]);
        assert_eq!(resolved(&tree, "a", "X"), Target::Missing);
    }

    #[test]
    fn globs_of_our_own_modules_are_seen_and_foreign_ones_are_not() {
        let tree = tree(&[("src/lib.rs", "mod a; use std::io::prelude::*;\nuse a::*;"), {
            ("src/a.rs", "use super::*; #[cfg(test)] mod tests { use super::*; }")
        }]);
        let lines: Vec<_> =
            tree.globs().into_iter().map(|(module, line)| (module.join("::"), line)).collect();
        assert_eq!(lines, [(String::new(), 2), ("a".to_owned(), 1)]);
    }
}
