//! The layers of crates and modules, parsed out of docs/ARCHITECTURE.md, so that picture and code cannot drift apart.

use std::collections::BTreeMap;
use std::fs;

use crate::sources::root;

/// What docs/ARCHITECTURE.md says.
pub(crate) struct Layers {
    pub(crate) crates: BTreeMap<String, Vec<String>>,
    modules: BTreeMap<String, BTreeMap<String, u32>>,
}

impl Layers {
    pub(crate) fn read() -> Self {
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
        assert!(layers.crates.len() >= 6 && layers.modules.len() >= 2, "the block is complete");
        layers
    }

    pub(crate) fn may_use(&self, krate: &str, used: &str) -> bool {
        self.crates[krate].iter().any(|name| name == used)
    }

    pub(crate) fn has_modules(&self, krate: &str) -> bool {
        self.modules.contains_key(krate)
    }

    /// The layer of a topmost module. The root of a library, which re-exports from everywhere, stands above all.
    pub(crate) fn layer(&self, krate: &str, module: &str) -> Option<u32> {
        let modules = self.modules.get(krate)?;
        if module == "lib" { Some(u32::MAX) } else { modules.get(module).copied() }
    }
}
