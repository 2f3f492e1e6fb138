//! A store in a file that only the owner of a key can read.
//!
//! ```text
//! file = "agclient" 8 ‖ format u8 (1) ‖ nonce 12 ‖ ChaCha20-Poly1305(key, nonce, aad = the first 9 bytes, state)
//! ```

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::clock::random;
use crate::store::Store;

/// A [`Store`] in a file, encrypted and authenticated with ChaCha20-Poly1305.
///
/// A save writes a new file beside the old one, with a fresh random nonce, and renames it; both the file and its folder reach the
/// disk before it returns. So after a crash there is what was saved last or what was saved before it. A file that is torn, that
/// another key wrote or that is none of ours counts as no state, and is overwritten.
///
/// Whoever can write to the folder can put an older file in its place. The gateway refuses what it says then, and a new
/// session begins.
pub struct FileStore {
    path: PathBuf,
    /// Where a new file is written.
    next: PathBuf,
    key: LessSafeKey,
}

const HEAD: [u8; 9] = *b"agclient\x01";
/// The longest file that is read. The client's own are shorter.
const FILE_LEN_MAX: usize = 64 * 1024;
/// The file is its owner's.
const MODE: u32 = 0o600;

impl FileStore {
    /// In the file at `path`, in a folder that exists. A second file is written beside it, of the same name and `.new`.
    ///
    /// `key` is 32 random bytes for this file alone, from wherever the system keeps secrets; or else from a password, by a
    /// function that is made for that.
    ///
    /// # Panics
    /// If `path` names no file, as `/` and `..` do.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, key: &[u8; 32]) -> Self {
        let path = path.into();
        let mut name: OsString = path.file_name().expect("a path to a file has a name").to_owned();
        name.push(".new");
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("its keys have 32 bytes");
        Self { next: path.with_file_name(name), path, key: LessSafeKey::new(key) }
    }

    fn seal(&self, state: &[u8]) -> io::Result<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = state.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(HEAD), &mut sealed)
            .map_err(|_| io::Error::other("the state is too long to be encrypted"))?;
        Ok([&HEAD[..], &nonce, &sealed].concat())
    }

    /// The state in a file, if it is ours and whole.
    fn open(&self, file: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = file.strip_prefix(&HEAD)?.split_first_chunk()?;
        let mut state = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self.key.open_in_place(nonce, Aad::from(HEAD), &mut state).ok()?.len();
        state.truncate(len);
        Some(state)
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// What happened to names in the folder reaches the disk.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.folder())?.sync_all()
    }
}

impl Store for FileStore {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(FILE_LEN_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(if bytes.len() > FILE_LEN_MAX { None } else { self.open(&bytes) })
    }

    fn save(&self, state: &[u8]) -> io::Result<()> {
        let sealed = self.seal(state)?;
        // One that a crash has left may belong to somebody else, or be a link to somewhere else.
        remove(&self.next)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&self.next)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(&self.next, &self.path)?;
        self.sync_folder()
    }

    fn erase(&self) -> io::Result<()> {
        remove(&self.next)?;
        remove(&self.path)?;
        self.sync_folder()
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A folder of the test's own, removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("client-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("state")
        }

        fn store(&self) -> FileStore {
            FileStore::new(self.file(), &[7; 32])
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn what_was_saved_last_is_loaded_by_whoever_has_the_key() {
        let folder = Folder::new("saved");
        let store = folder.store();
        assert_eq!(store.load().unwrap(), None);
        for state in [&b"first"[..], b"", b"last"] {
            store.save(state).unwrap();
            assert_eq!(folder.store().load().unwrap().as_deref(), Some(state));
        }
        let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(FileStore::new(folder.file(), &[8; 32]).load().unwrap(), None, "another key");
        store.erase().unwrap();
        store.erase().unwrap();
        assert_eq!((store.load().unwrap(), fs::read_dir(&folder.0).unwrap().count()), (None, 0));
    }

    #[test]
    fn no_two_files_are_alike_and_none_shows_what_is_in_it() {
        let folder = Folder::new("nonces");
        let store = folder.store();
        let mut files = std::collections::HashSet::new();
        for _ in 0..20 {
            store.save(b"CANARY").unwrap();
            let file = fs::read(folder.file()).unwrap();
            assert!(file.windows(6).all(|part| part != b"CANARY"));
            assert!(files.insert(file[HEAD.len()..][..NONCE_LEN].to_vec()), "a nonce for each");
        }
        assert_eq!(format!("{store:?}"), format!("FileStore {{ path: {:?}, .. }}", folder.file()));
    }

    #[test]
    fn a_torn_or_damaged_file_and_a_foreign_one_count_as_none() {
        let folder = Folder::new("torn");
        let store = folder.store();
        store.save(b"state").unwrap();
        let whole = fs::read(folder.file()).unwrap();
        for len in 0..whole.len() {
            fs::write(folder.file(), &whole[..len]).unwrap();
            assert_eq!(store.load().unwrap(), None, "cut at {len}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(folder.file(), &damaged).unwrap();
            assert_eq!(store.load().unwrap(), None, "byte {at}");
        }
        for foreign in [vec![b'x'; 40], [&whole[..], b"x"].concat(), vec![0; FILE_LEN_MAX + 1]] {
            fs::write(folder.file(), &foreign).unwrap();
            assert_eq!(store.load().unwrap(), None, "{} bytes", foreign.len());
        }
        store.save(b"afresh").unwrap();
        assert_eq!(store.load().unwrap().as_deref(), Some(&b"afresh"[..]));
    }

    #[test]
    fn what_a_crash_left_half_written_is_not_read_and_leads_nowhere_else() {
        let folder = Folder::new("crash");
        let store = folder.store();
        store.save(b"old").unwrap();
        let elsewhere = folder.0.join("elsewhere");
        fs::write(&elsewhere, b"precious").unwrap();
        symlink(&elsewhere, &store.next).unwrap();
        assert_eq!(store.load().unwrap().as_deref(), Some(&b"old"[..]));
        store.save(b"new").unwrap();
        assert_eq!(store.load().unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(fs::read(elsewhere).unwrap(), b"precious");
    }

    #[test]
    fn what_cannot_be_written_is_said_and_the_old_state_stays() {
        let nowhere = FileStore::new("/nowhere/at/all/state", &[7; 32]);
        assert_eq!(nowhere.save(b"x").map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        let folder = Folder::new("blocked");
        let store = folder.store();
        store.save(b"old").unwrap();
        fs::create_dir(&store.next).unwrap();
        assert!(store.save(b"new").is_err());
        assert_eq!(store.load().unwrap().as_deref(), Some(&b"old"[..]));
    }
}
