//! Bans that last: whoever was told that one is set or lifted finds it so after any crash.
//!
//! ```text
//!   set, lift:  append → sync → told                       unsynced or torn: nobody was told
//!   compact:    new file → sync → rename → sync the names  before the rename the old file counts, after it the new one
//! ```
//!
//! When a sync has failed the kernel may have dropped what it could not write, and says so once only. So nothing is
//! written any more until the process has been started again and has read what is really there.

use std::fmt;
use std::io;

use protocol::{Time, UnixMillis};

use super::folder::Folder;
use super::record::{HEAD_LEN, Record};
use crate::admission::lists::{Ban, Bans, Full, Subject};

/// The book of bans and its file.
#[derive(Debug)]
pub(super) struct Journal<F> {
    folder: F,
    bans: Bans,
    /// Bytes of the file that are whole records.
    len: u64,
    /// The file is written anew when it is so long.
    compact_at: u64,
    compact_min: u64,
    /// Why nothing can be written any more.
    broken: Option<String>,
}

/// What was found in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Bytes in front of a whole record that are none. They are kept in a file of their own.
    pub(super) damaged: usize,
}

/// A ban was neither set nor lifted.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is no room for it.
    Full(Full),
    /// It could not be written, and another one may be.
    NotWritten(io::Error),
    /// Nothing is written any more until the gateway is started again.
    ReadOnly(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(full) => full.fmt(f),
            Self::NotWritten(error) => {
                write!(f, "{FILE} could not be written: {error}; make room and try again")
            }
            Self::ReadOnly(why) => {
                write!(f, "{why}; bans stay as they are until the gateway is started again")
            }
        }
    }
}

impl<F: Folder> Journal<F> {
    /// Reads what is there. At most `max` bans; the file is written anew when it has grown to four times what is in force,
    /// and to `compact_min` bytes at least.
    ///
    /// # Errors
    /// The file can't be read, or not be written.
    pub(super) fn open(
        folder: F,
        max: usize,
        compact_min: u64,
        now: Time,
        wall: UnixMillis,
    ) -> io::Result<(Self, Found)> {
        let mut journal =
            Self { folder, bans: Bans::new(max), len: 0, compact_at: 0, compact_min, broken: None };
        let Some(bytes) = journal.folder.read(FILE)? else {
            journal.folder.append(FILE, b"")?;
            journal.folder.sync(FILE)?;
            journal.folder.sync_names()?;
            journal.settle(now);
            return Ok((journal, Found::default()));
        };
        let found = journal.replay(&bytes, now, wall);
        journal.settle(now);
        if found.damaged > 0 {
            journal.folder.append(DAMAGED, &bytes)?;
            journal.folder.sync(DAMAGED)?;
            journal.compact().map_err(|refused| io::Error::other(refused.to_string()))?;
        } else if journal.len < bytes.len() as u64 {
            // What the last process was writing when it died.
            journal.folder.truncate(FILE, journal.len)?;
            journal.folder.sync(FILE)?;
        }
        Ok((journal, found))
    }

    /// All records that are whole, in their order.
    fn replay(&mut self, bytes: &[u8], now: Time, wall: UnixMillis) -> Found {
        let (mut at, mut torn, mut found) = (0, 0, Found::default());
        while at + torn < bytes.len() {
            let Some((record, len)) = Record::decode(&bytes[at + torn..], now, wall) else {
                torn += 1;
                continue;
            };
            found.damaged += torn;
            at += torn + len;
            torn = 0;
            match record {
                Record::Set(subject, ban) => self.bans.put(subject, ban),
                Record::Lifted(subject) => _ = self.bans.lift(&subject),
            }
        }
        self.len = at as u64;
        found
    }

    fn settle(&mut self, now: Time) {
        self.bans.forget_ended(now);
        self.compact_at = self.compact_min.max(4 * self.len);
    }

    /// The bans in force.
    pub(super) const fn bans(&self) -> &Bans {
        &self.bans
    }

    /// Why nothing can be written any more.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Sets a ban. When this returns, it lasts.
    ///
    /// # Errors
    /// [`Refused`]; the ban is not in force then.
    pub(super) fn set(&mut self, subject: Subject, ban: Ban, now: Time) -> Result<(), Refused> {
        if !self.bans.takes(&subject, &ban, now) {
            return Ok(());
        }
        self.bans.make_room(&subject, &ban.by, now).map_err(Refused::Full)?;
        self.write(&Record::Set(subject.clone(), ban.clone()))?;
        self.bans.put(subject, ban);
        self.compact_if_long()
    }

    /// Lifts a ban; whether there was one. When this returns, it is gone for good.
    ///
    /// # Errors
    /// [`Refused`]; the ban is in force still.
    pub(super) fn lift(&mut self, subject: &Subject) -> Result<bool, Refused> {
        if self.bans.get(subject).is_none() {
            return Ok(false);
        }
        self.write(&Record::Lifted(subject.clone()))?;
        self.bans.lift(subject);
        self.compact_if_long()?;
        Ok(true)
    }

    /// Forgets those that have ended; whether there were any. The file need not be told.
    pub(super) fn forget_ended(&mut self, now: Time) -> bool {
        self.bans.forget_ended(now)
    }

    fn write(&mut self, record: &Record) -> Result<(), Refused> {
        if let Some(why) = &self.broken {
            return Err(Refused::ReadOnly(why.clone()));
        }
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        if let Err(error) = self.folder.append(FILE, &bytes) {
            // A part of it may be there, and the next record must not stand behind that.
            return match self.folder.truncate(FILE, self.len) {
                Ok(()) => Err(Refused::NotWritten(error)),
                Err(error) => Err(self.give_up("written", &error)),
            };
        }
        self.folder.sync(FILE).map_err(|error| self.give_up("synced", &error))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// A ban that was set stays set, even if the file can't be made shorter.
    fn compact_if_long(&mut self) -> Result<(), Refused> {
        if self.len < self.compact_at {
            return Ok(());
        }
        match self.compact() {
            Err(Refused::NotWritten(_)) => {
                self.compact_at = self.len.saturating_mul(2);
                Ok(())
            }
            // What was to be said is in the file; what comes next can't be.
            _ => Ok(()),
        }
    }

    /// Writes the file anew, with nothing in it but what is in force.
    fn compact(&mut self) -> Result<(), Refused> {
        let mut bytes = Vec::new();
        for (subject, ban) in self.bans.iter() {
            Record::Set(subject.clone(), ban.clone()).encode(&mut bytes);
        }
        let written = self.folder.remove(NEW).and_then(|()| self.folder.append(NEW, &bytes));
        if let Err(error) = written.and_then(|()| self.folder.sync(NEW)) {
            // The old file counts. What is left of the new one is removed the next time.
            return Err(Refused::NotWritten(error));
        }
        let renamed = self.folder.rename(NEW, FILE).and_then(|()| self.folder.sync_names());
        // Which of the two files has the name after a crash is not known, and so not where to write.
        renamed.map_err(|error| self.give_up("replaced", &error))?;
        self.len = bytes.len() as u64;
        self.compact_at = self.compact_min.max(4 * self.len);
        Ok(())
    }

    fn give_up(&mut self, what: &str, error: &io::Error) -> Refused {
        let why = format!("{FILE} could not be {what}: {error}");
        self.broken = Some(why.clone());
        Refused::ReadOnly(why)
    }
}

/// The journal.
pub(super) const FILE: &str = "bans.journal";
/// The one that is to take its place.
const NEW: &str = "bans.journal.new";
/// A copy of one of which not everything could be read.
pub(super) const DAMAGED: &str = "bans.journal.damaged";

const _: () = assert!(HEAD_LEN == 12, "as the picture of a record says");

#[cfg(test)]
mod tests;
