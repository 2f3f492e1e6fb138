//! The database: what came and what is to go out, each message with its id in one row. So there is no moment at which one of
//! them is there without the other.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use client::protocol::UnixMillis;
use client::{Request, SeenIds};
use rusqlite::{Connection, OptionalExtension as _, params};

/// `state` of a message that goes out: NULL while it waits, then what became of it. `sent` is when it was sent first.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS inbox (place INTEGER PRIMARY KEY, id BLOB UNIQUE, said TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS outbox (place INTEGER PRIMARY KEY, id BLOB UNIQUE NOT NULL, text TEXT NOT NULL, sent INTEGER, state TEXT);
    CREATE TABLE IF NOT EXISTS secret (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL);";

/// A write takes as long as the disk does. An app with more to do gives its database a thread of its own.
#[derive(Debug)]
pub(crate) struct Database(Mutex<Connection>);

impl Database {
    pub(crate) fn open(file: &str) -> rusqlite::Result<Self> {
        let database = Connection::open(file)?;
        database.execute_batch(TABLES)?;
        Ok(Self(Mutex::new(database)))
    }

    /// All that came, in its order.
    pub(crate) fn inbox(&self) -> rusqlite::Result<Vec<String>> {
        let database = self.lock();
        let mut all = database.prepare("SELECT said FROM inbox ORDER BY place")?;
        all.query_map([], |row| row.get(0))?.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a message that came; `false` if it was there. One statement is one transaction.
    pub(crate) fn keep(&self, id: &[u8], said: &str) -> rusqlite::Result<bool> {
        // Messages without an id are not told from each other, and each of them is kept.
        let id = Some(id).filter(|id| !id.is_empty());
        let rows = self
            .lock()
            .execute("INSERT OR IGNORE INTO inbox (id, said) VALUES (?1, ?2)", params![id, said])?;
        Ok(rows == 1)
    }

    /// Keeps a message that is to be sent, with the id under which it will be.
    pub(crate) fn to_send(&self, id: &[u8; 16], text: &str) -> rusqlite::Result<()> {
        self.lock().execute("INSERT INTO outbox (id, text) VALUES (?1, ?2)", params![id, text]).map(drop)
    }

    /// What became of one.
    pub(crate) fn settle(&self, id: &[u8; 16], state: &str) -> rusqlite::Result<()> {
        self.lock().execute("UPDATE outbox SET state = ?2 WHERE id = ?1", params![id, state]).map(drop)
    }

    /// The oldest message that waits to be sent. When it is sent first is written before that is done: backends know ids for a
    /// day, so the client sends nothing under an id that is older than half of one.
    pub(crate) fn next(&self) -> rusqlite::Result<Option<Request>> {
        let database = self.lock();
        let found = database.query_row(
            "SELECT id, text, sent FROM outbox WHERE state IS NULL ORDER BY place LIMIT 1",
            [],
            |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<i64>>(2)?)),
        );
        let Some((id, text, sent)) = found.optional()? else { return Ok(None) };
        database.execute("UPDATE outbox SET sent = coalesce(sent, ?2) WHERE id = ?1", params![id, now()])?;
        let sent = sent.map(|millis| UnixMillis(millis.unsigned_abs()));
        Ok(Some(Request::restore(id, "chat", "", text, sent)))
    }

    /// 32 random bytes that are made once. A real app has the system keep them.
    pub(crate) fn key(&self) -> Result<[u8; 32], Box<dyn Error>> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        self.lock().execute("INSERT OR IGNORE INTO secret VALUES (1, ?1)", params![key])?;
        Ok(self.lock().query_row("SELECT key FROM secret", [], |row| row.get(0))?)
    }
}

/// Pushes whose message is there do not come to the application any more.
impl SeenIds for Database {
    fn contains(&self, id: &[u8]) -> bool {
        // If it cannot be read the message comes, and is not kept twice.
        let found = self.lock().query_row("SELECT 1 FROM inbox WHERE id = ?1", params![id], |_| Ok(()));
        found.is_ok()
    }

    /// It was written with its message.
    fn insert(&self, _id: &[u8]) {}
}

#[expect(clippy::disallowed_methods, reason = "an application has a clock")]
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
