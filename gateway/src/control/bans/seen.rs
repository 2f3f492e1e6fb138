//! In which states the operator's files were seen, so that it is known when they are to be read again.

use std::path::PathBuf;

use super::files;
use crate::config::Lists;
use crate::control::file_state::FileState;

/// The states of all files, in the order of the config; `None` of one that is not to be seen.
type States = Vec<Option<FileState>>;

/// What was seen of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    paths: Vec<PathBuf>,
    /// In which states they were when they were read last.
    read: States,
    /// In which states they were at the last look.
    last: States,
}

impl Seen {
    /// Whether there is no file.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// To be made before the files are read for the first time, so that no change is missed.
    pub(super) fn new(lists: &Lists) -> Self {
        let paths: Vec<PathBuf> = files::paths(lists).cloned().collect();
        let states = look(&paths);
        Self { paths, read: states.clone(), last: states }
    }

    /// Whether they are to be read again: when they have changed, and not since the last look. An editor that writes a file in
    /// several steps is waited for, as half of a list of those who may come in would end the links of the others.
    pub(super) fn has_changed(&mut self) -> bool {
        let states = look(&self.paths);
        let has_settled = states == self.last;
        self.last = states;
        if has_settled && self.last != self.read {
            self.read.clone_from(&self.last);
            return true;
        }
        false
    }
}

fn look(paths: &[PathBuf]) -> States {
    paths.iter().map(|path| FileState::of(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_read_again_when_they_have_changed_and_then_rest() {
        let path = |name| std::env::temp_dir().join(format!("gateway-seen-{name}-{}", std::process::id()));
        let (first, second) = (path("first"), path("second"));
        fs::write(&first, "192.0.2.7\n").unwrap();
        fs::write(&second, "alice\n").unwrap();
        let states = look(&[first.clone(), second.clone()]);
        let mut seen =
            Seen { paths: vec![first.clone(), second.clone()], read: states.clone(), last: states };
        assert_eq!([seen.has_changed(), seen.has_changed()], [false; 2]);
        fs::write(&second, "alice\nbob\n").unwrap();
        assert!(!seen.has_changed(), "it may not be whole yet");
        fs::write(&second, "alice\nbob\ncarol\n").unwrap();
        let looks = [seen.has_changed(), seen.has_changed(), seen.has_changed()];
        assert_eq!(looks, [false, true, false], "once it rests, and once");
        fs::remove_file(&first).unwrap();
        assert_eq!([seen.has_changed(), seen.has_changed(), seen.has_changed()], [false, true, false]);
        fs::remove_file(&second).unwrap();
    }
}
