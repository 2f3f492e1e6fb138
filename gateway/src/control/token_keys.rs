//! The keys that tokens are verified with, as their file has them: when it changes, all workers get the new ones, and while
//! something is wrong with it the former ones stay in force.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file_state::FileState;
use super::workers::TellVerifier;
use crate::config::{Auth, Level};
use crate::tokens::{KeySet, Verifier};

/// Longest file: that of 64 keys is a tenth of it.
const FILE_LEN_MAX: u64 = 1 << 20;

/// The keys in force, and the file they are from.
pub(super) struct TokenKeys {
    path: PathBuf,
    verifier: Arc<Verifier>,
    seen: Option<FileState>,
    /// Workers that have not been told yet, as their queues were full.
    owed: Vec<usize>,
    workers: usize,
    /// What was wrong with the file when that was told last.
    wrong: Option<String>,
}

impl TokenKeys {
    /// Those of the config, if tokens are verified here.
    pub(super) fn new(auth: &Auth, workers: usize) -> Option<Self> {
        let Auth::Jwt { verifier, keys, .. } = auth else { return None };
        let (path, verifier) = (keys.clone(), Arc::clone(verifier));
        // What has changed since the config was read is seen at the first look.
        Some(Self { path, verifier, seen: None, owed: Vec::new(), workers, wrong: None })
    }

    /// Looks at the file, and tells whoever has to know; what operators are to know.
    pub(super) fn look(&mut self, tell: &TellVerifier) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        match FileState::of(&self.path) {
            Ok(state) if self.seen == Some(state) => {}
            Ok(state) => {
                let is_first = self.seen.replace(state).is_none();
                lines.extend(self.take(is_first));
            }
            Err(error) => {
                self.seen = None;
                lines.extend(self.complain(error.to_string()));
            }
        }
        let verifier = &self.verifier;
        self.owed.retain(|&worker| !tell(worker, Arc::clone(verifier)));
        lines
    }

    fn take(&mut self, is_first: bool) -> Option<(Level, String)> {
        let read = read(&self.path).map_err(|error| error.to_string()).and_then(|text| KeySet::read(&text));
        match read {
            Ok(keys) => {
                let was_wrong = self.wrong.take().is_some();
                let count = keys.len();
                self.verifier = Arc::new(self.verifier.with_keys(keys));
                self.owed = (0..self.workers).collect();
                let is_news = !is_first || was_wrong;
                is_news.then(|| {
                    let line =
                        format!("{}: tokens are verified with its {count} keys now", self.path.display());
                    (Level::Info, line)
                })
            }
            Err(wrong) => self.complain(wrong),
        }
    }

    fn complain(&mut self, wrong: String) -> Option<(Level, String)> {
        if self.wrong.as_ref() == Some(&wrong) {
            return None;
        }
        let line = format!("{}: {wrong}; the keys it had before stay in force", self.path.display());
        self.wrong = Some(wrong);
        Some((Level::Warning, line))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_LEN_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::tokens::{Signer, Terms};

    #[test]
    fn a_file_that_changes_is_taken_over_and_one_that_is_wrong_changes_nothing() {
        let path = std::env::temp_dir().join(format!("gateway-keys-{}.json", std::process::id()));
        let [first, second] = [[1; 32], [2; 32]].map(|seed| Signer::new(seed).key_set());
        fs::write(&path, &first).unwrap();
        let terms = Terms {
            issuer: None,
            audience: Vec::new(),
            skew: Duration::ZERO,
            lifetime_max: Duration::MAX,
            names: crate::tokens::Names::default(),
        };
        let verifier = Arc::new(Verifier::new(KeySet::read(&first).unwrap(), terms));
        let auth = Auth::Jwt { verifier, keys: path.clone(), in_flight_max: 1, remembered: 1 };
        let mut keys = TokenKeys::new(&auth, 2).expect("tokens are verified here");
        let told = Arc::new(Mutex::new(Vec::new()));
        let full = Arc::new(AtomicBool::new(true));
        let (asked, is_full) = (Arc::clone(&told), Arc::clone(&full));
        let tell = move |worker, _: Arc<Verifier>| {
            asked.lock().unwrap().push(worker);
            worker != 1 || !is_full.load(Ordering::Relaxed)
        };
        let tell: TellVerifier = Box::new(tell);
        let mut look = || {
            let lines = keys.look(&tell);
            (
                lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>(),
                std::mem::take(&mut *told.lock().unwrap()),
            )
        };
        assert_eq!(look(), (vec![], vec![0, 1]));
        assert_eq!(look(), (vec![], vec![1]), "whose queue was full is told again");
        full.store(false, Ordering::Relaxed);
        assert_eq!((look().1, look().1), (vec![1], vec![]));
        fs::write(&path, "nonsense").unwrap();
        let (lines, to) = look();
        assert!(
            lines[0].contains("no JSON") && lines[0].ends_with("stay in force") && to.is_empty(),
            "{lines:?}"
        );
        assert_eq!(look(), (vec![], vec![]), "once");
        fs::remove_file(&path).unwrap();
        assert!(look().0[0].contains("No such file"));
        fs::write(&path, &second).unwrap();
        let (lines, to) = look();
        assert!(lines[0].ends_with("its 1 keys now") && to == [0, 1], "{lines:?}");
        fs::remove_file(&path).unwrap();
    }
}
