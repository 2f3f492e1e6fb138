//! Where a client keeps what outlives it: its session and its tickets.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

/// Keeps the state of one client across starts of its process: what the client needs to go on with its session, and to come
/// back with a ticket.
///
/// The state is one string of bytes, at most 4,096, that only this crate reads, and **secret as a password**: whoever has it can
/// take the session over. [`FileStore`](crate::FileStore) encrypts it; a store of your own puts it where secrets are kept. It
/// belongs to one user and device, and to one client at a time; that of another user is not used, and overwritten.
///
/// The client calls this from a thread where it may block, once at a time. It writes before it says of a push that it was taken, and
/// before it says on a new link who it is: some times a second at most. Where it waits for that, it waits 3 s.
pub trait Store: fmt::Debug + Send + Sync {
    /// What was saved last; `None` if there is nothing, or nothing that makes sense. Then the client begins anew.
    ///
    /// # Errors
    /// When it cannot be read. The client begins anew, and says so: [`Client::store_errors`](crate::Client::store_errors).
    fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Puts `state` in the place of what was saved before, as a whole or not at all, so that it is still there after a crash of
    /// the machine.
    ///
    /// # Errors
    /// When it cannot be written. The client goes on without it, and says so.
    fn save(&self, state: &[u8]) -> io::Result<()>;

    /// Removes what was saved: the user has logged out.
    ///
    /// # Errors
    /// When it cannot be removed. The client says so.
    fn erase(&self) -> io::Result<()>;
}

/// Keeps a client's state in memory: for a client that is closed and made again in one process.
#[derive(Default)]
pub struct MemoryStore(Mutex<Option<Zeroizing<Vec<u8>>>>);

impl MemoryStore {
    fn with<R>(&self, change: impl FnOnce(&mut Option<Zeroizing<Vec<u8>>>) -> R) -> R {
        // Every change is whole, whoever panics.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.with(|saved| saved.as_deref().cloned()))
    }

    fn save(&self, state: &[u8]) -> io::Result<()> {
        self.with(|saved| *saved = Some(state.to_vec().into()));
        Ok(())
    }

    fn erase(&self) -> io::Result<()> {
        self.with(|saved| *saved = None);
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore(***)")
    }
}
