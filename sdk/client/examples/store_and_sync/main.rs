//! A chat that keeps in SQLite what it has taken and what it is to send: kill it at any moment, and nothing is lost or doubled.
//!
//! Lines and routes are those of the example `chat`, and the service is `sdk/backend/examples/chat-service.rs`:
//!
//! ```sh
//! cargo run -p client --example store_and_sync -- ready.json alice alice.db
//! ```
//!
//! * What comes in is written, and only then taken: until then it comes again, at the next start as well.
//! * What is to go out is written first, with the id under which it will be sent: at the next start it is sent again under that.
#![allow(clippy::print_stdout, reason = "that is what this program is for")]

mod database;
#[path = "../keyboard/mod.rs"]
mod keyboard;
#[path = "../ready_file/mod.rs"]
mod ready_file;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Config, Doubt, FileStore, Outcome, Reason};
use tokio::sync::Notify;

use database::Database;

/// After this it is only asked anew.
const PATIENCE: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ready_file, name, file] = &arguments[..] else {
        return Err("usage: store_and_sync READY_FILE NAME DATABASE".into());
    };
    let database = Arc::new(Database::open(file)?);
    database.inbox()?.iter().for_each(|said| println!("{said}"));

    // The session goes on over a start of the process: so what came in between is still there.
    let store = Arc::new(FileStore::new(format!("{file}.session"), &database.key()?));
    let config =
        Config { store: Some(store), seen: database.clone(), ..ready_file::config(ready_file, name)? };
    // Without a link it waits for one.
    let (client, mut pushes) = Client::start(config)?;
    let (more, mut typed) = (Arc::new(Notify::new()), keyboard::lines());
    let mut sending = tokio::spawn(send(client.clone(), database.clone(), more.clone()));
    loop {
        tokio::select! {
            push = pushes.next() => {
                let Some(push) = push else { return Err(client.ended().await.into()) };
                let said = String::from_utf8_lossy(&push.payload).replace(char::is_control, " ");
                if database.keep(&push.id, &said)? {
                    println!("{said}");
                }
            }
            Some(line) = typed.recv() => {
                let Some((to, text)) = line.split_once(' ') else { continue };
                let request = client.prepare("chat", b"", format!("{to}\n{text}"))?;
                database.to_send(request.id(), &format!("{to}\n{text}"))?;
                println!("(kept: {text})");
                more.notify_one();
            }
            done = &mut sending => return done?.map_err(Into::into),
        }
    }
}

/// Sends what waits, one after the other.
async fn send(client: Client, database: Arc<Database>, more: Arc<Notify>) -> rusqlite::Result<()> {
    loop {
        let Some(request) = database.next()? else {
            more.notified().await;
            continue;
        };
        let state = match client.send_until_answered(&request, PATIENCE).await {
            Outcome::Answered { status: 0, .. } | Outcome::Unknown { doubt: Doubt::AnsweredBefore } => {
                "sent".to_owned()
            }
            Outcome::Answered { status, .. } => format!("failed: the service says {status}"),
            Outcome::Refused { reason: Reason::Ended, .. } => return Ok(()),
            Outcome::Refused { reason, .. } if reason.is_final() => format!("failed: {reason}"),
            // It waits on.
            Outcome::Refused { .. } | Outcome::Unknown { .. } => continue,
        };
        database.settle(request.id(), &state)?;
        println!("({state})");
    }
}
