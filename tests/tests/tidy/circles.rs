//! Circles among files that name each other's things.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::tree::{Target, Tree};

/// Which files a file names something of, each with the first line that does and the path written there.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    edges: BTreeMap<PathBuf, BTreeMap<PathBuf, (usize, String)>>,
}

impl Edges {
    pub(crate) fn of(tree: &Tree) -> Edges {
        let mut found = Edges::default();
        for mention in tree.mentions() {
            let Target::Item(at) = mention.target else { continue };
            let (from, to) = (tree.file_of(mention.module), tree.file_of(&at));
            if from == to {
                continue;
            }
            let why = (mention.line, mention.path.join("::"));
            let edges = found.edges.entry(from.to_owned()).or_default();
            let first = edges.entry(to.to_owned()).or_insert_with(|| why.clone());
            if why.0 < first.0 {
                *first = why;
            }
        }
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.edges.values().map(BTreeMap::len).sum()
    }

    /// Drops those inside of one folder.
    pub(crate) fn leave_out(&mut self, folder: &Path) {
        self.retain(|from, to| !(from.starts_with(folder) && to.starts_with(folder)));
    }

    /// Drops all but those inside of one folder.
    pub(crate) fn keep_only(&mut self, folder: &Path) {
        self.retain(|from, to| from.starts_with(folder) && to.starts_with(folder));
    }

    fn retain(&mut self, keep: impl Fn(&Path, &Path) -> bool) {
        for (from, edges) in &mut self.edges {
            edges.retain(|to, _| keep(from, to));
        }
    }

    /// The shortest circle of each knot of files, as lines `file:line: path it names`, in order and without end.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for start in self.edges.keys() {
            if seen.contains(start) {
                continue;
            }
            let reached = self.reached(start);
            let knot = reached.into_iter().filter(|file| self.reached(file).contains(start));
            let knot: BTreeSet<_> = knot.collect();
            let shortest = knot.iter().filter_map(|file| self.way_back(file)).min_by_key(Vec::len);
            seen.extend(knot);
            found.extend(shortest.map(|files| self.explained(&files)));
        }
        found
    }

    /// Every file that can be reached in one step or more.
    fn reached(&self, start: &Path) -> BTreeSet<PathBuf> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![start];
        while let Some(file) = waiting.pop() {
            for next in self.edges.get(file).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(next.clone()) {
                    waiting.push(next);
                }
            }
        }
        reached
    }

    /// The shortest way from a file to itself, which stands at both ends.
    fn way_back(&self, start: &Path) -> Option<Vec<PathBuf>> {
        let mut waiting = VecDeque::from([vec![start.to_owned()]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = waiting.pop_front() {
            for next in self.edges.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
                let way = [way.as_slice(), std::slice::from_ref(next)].concat();
                if next == start {
                    return Some(way);
                }
                if seen.insert(next) {
                    waiting.push_back(way);
                }
            }
        }
        None
    }

    fn explained(&self, files: &[PathBuf]) -> Vec<String> {
        let steps = files.windows(2).map(|step| {
            let (line, path) = &self.edges[&step[0]][&step[1]];
            format!("{}:{line}: {path} is defined in {}", step[0].display(), step[1].display())
        });
        steps.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        Edges::of(&tree(files)).circles()
    }

    #[test]
    fn a_planted_circle_is_found_with_the_lines_that_make_it() {
        let found = circles(&[
            ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
            ("src/a.rs", "use crate::{\n    d::D,\n    b::B,\n};\npub struct A;"),
            ("src/b.rs", "pub struct B;\n\nfn f() -> super::c::C {}"),
            ("src/c.rs", "use super::a; pub struct C;\nfn f() -> a::A {}"),
            ("src/d.rs", "pub struct D;"),
        ]);
        assert_eq!(
            found,
            [[
                "src/a.rs:3: crate::b::B is defined in src/b.rs",
                "src/b.rs:3: super::c::C is defined in src/c.rs",
                "src/c.rs:2: a::A is defined in src/a.rs"
            ]]
        );
    }

    #[test]
    fn a_circle_through_re_exports_is_one_of_the_files_that_define() {
        let found = circles(&[
            ("src/lib.rs", "mod a;"),
            ("src/a/mod.rs", "mod b; mod c; pub use b::B; pub(crate) use c::C;"),
            ("src/a/b.rs", "use super::C; pub struct B;"),
            ("src/a/c.rs", "use crate::a::B; pub struct C;"),
        ]);
        assert_eq!(
            found,
            [[
                "src/a/b.rs:1: super::C is defined in src/a/c.rs",
                "src/a/c.rs:1: crate::a::B is defined in src/a/b.rs"
            ]]
        );
    }

    #[test]
    fn a_parent_that_only_declares_and_re_exports_is_in_no_circle() {
        let found = circles(&[
            ("src/lib.rs", "mod a; pub use a::B; pub struct Own;"),
            ("src/a.rs", "mod b; pub use b::B; pub struct A;"),
            ("src/a/b.rs", "use super::A; use crate::Own; pub struct B;"),
        ]);
        assert_eq!(found, [[""; 0]; 0]);
    }

    #[test]
    fn a_parent_that_names_what_it_re_exports_is_in_one() {
        for naming in ["fn f(b: B) {}", "fn f() { B::new() }", "fn f() { b::g() }", "use b::g;", "impl B {}"]
        {
            let parent = format!("mod b; pub use b::B; pub struct A;\n{naming}");
            let found = circles(&[("src/lib.rs", "mod a;"), ("src/a.rs", &parent), {
                ("src/a/b.rs", "use super::A; pub struct B; pub fn g() {}")
            }]);
            assert_eq!(found.len(), 1, "{naming}");
            assert!(found[0][1].starts_with("src/a.rs:2: "), "{:?}", found[0]);
        }
    }

    #[test]
    fn each_knot_is_told_once_and_by_its_shortest_circle() {
        let found = circles(&[
            ("src/lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
            ("src/a.rs", "use crate::b::B; pub struct A;"),
            ("src/b.rs", "use crate::c::C; pub struct B;"),
            ("src/c.rs", "use crate::a::A; use crate::b::B; pub struct C;"),
            ("src/d.rs", "use crate::e::E; use crate::a::A; pub struct D;"),
            ("src/e.rs", "use crate::d::D; pub struct E;"),
        ]);
        let heads: Vec<_> = found.iter().map(|circle| (circle.len(), circle[0].split(':').next())).collect();
        assert_eq!(heads, [(2, Some("src/b.rs")), (2, Some("src/d.rs"))]);
    }

    #[test]
    fn tests_make_no_circle() {
        let found = circles(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b::B; pub struct A;"),
            (
                "src/b.rs",
                "pub struct B; #[cfg(test)] use crate::a::A; #[cfg(test)] mod tests { use super::*; use crate::a::A; }",
            ),
        ]);
        assert_eq!(found, [[""; 0]; 0]);
    }

    #[test]
    fn a_folder_left_out_hides_its_own_circles_only() {
        let tree = tree(&[
            ("src/lib.rs", "mod a; mod d;"),
            ("src/a/mod.rs", "mod b; mod c; pub use b::B;"),
            ("src/a/b.rs", "use super::c::C; pub struct B;"),
            ("src/a/c.rs", "use super::b::B; use crate::d::D; pub struct C;"),
            ("src/d.rs", "use crate::a::c::C; pub struct D;"),
        ]);
        let mut edges = Edges::of(&tree);
        assert_eq!((edges.len(), edges.circles().len()), (4, 1));
        let mut inside = Edges::of(&tree);
        inside.keep_only(Path::new("src/a"));
        assert_eq!((inside.len(), inside.circles().len()), (2, 1));
        edges.leave_out(Path::new("src/a"));
        assert_eq!(
            edges.circles(),
            [[
                "src/a/c.rs:1: crate::d::D is defined in src/d.rs",
                "src/d.rs:1: crate::a::c::C is defined in src/a/c.rs"
            ]]
        );
    }
}
