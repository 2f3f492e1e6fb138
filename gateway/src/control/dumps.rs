//! What a core file of this process would hold. The heap has payload, tokens and keys in it, so by default a core file has no
//! memory in it at all: what is told of a crash are the registers of each thread and the panic's own line.
//!
//! `PR_SET_DUMPABLE` would keep core files from being made, too, but it also hands /proc/self to root: `perf` and
//! a debugger would be lost to the very user who runs the gateway.

use std::io;

use driver::memory::{allow_in_dumps, withhold_from_dumps};

use crate::config::{CoreDumps, Level};

/// Keeps memory out of the core files of this process and of those it starts. Every verb begins with it, before a key is
/// read; a gateway hears from `settle` when it fails.
pub fn withhold() {
    let _told_by_settle = withhold_from_dumps();
}

/// Does what the config says; what a person should know about it.
pub(super) fn settle(wanted: CoreDumps) -> Option<(Level, String)> {
    match wanted {
        CoreDumps::Registers => told(withhold_from_dumps()),
        CoreDumps::Memory => Some(match allow_in_dumps() {
            Ok(()) => (Level::Warning, ALLOWED.to_owned()),
            Err(error) => (Level::Warning, format!("{FILTER}: {error}; {NOT_ALLOWED}")),
        }),
    }
}

fn told(withheld: io::Result<()>) -> Option<(Level, String)> {
    let error = withheld.err()?;
    Some((Level::Warning, format!("{FILTER}: {error}; {NOT_WITHHELD}")))
}

const FILTER: &str = "/proc/self/coredump_filter";
const ALLOWED: &str = "a core file of this process holds payload, tokens and private keys, as `core_dumps` of [log] says \
                       \"memory\"; keep such a file like a key, and set \"registers\" when it is no longer needed";
const NOT_ALLOWED: &str = "a core file of this process will hold no memory, although `core_dumps` of [log] says \"memory\"; \
                           make /proc/self writable, or set CoredumpFilter= in the unit";
const NOT_WITHHELD: &str = "a core file of this process would hold payload, tokens and private keys; mount /proc, or allow no \
                            core files with LimitCORE=0 in the unit or `ulimit -c 0`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_withheld_is_told_with_cause_and_remedy() {
        assert_eq!(told(Ok(())), None);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let (level, text) = told(Err(missing)).expect("it is told");
        assert_eq!(level, Level::Warning);
        for words in ["/proc/self/coredump_filter: ", "not found", "would hold", "LimitCORE=0"] {
            assert!(text.contains(words), "{text}");
        }
    }
}
