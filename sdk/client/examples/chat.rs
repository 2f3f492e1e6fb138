//! Two users talk. What is typed as `bob hello` goes to Bob, and what others say appears.
//!
//! ```sh
//! cargo run --release -p gateway -- dev --ready-file ready.json
//! cargo run -p client --example chat -- ready.json alice
//! cargo run -p client --example chat -- ready.json bob
//! ```
//!
//! `sdk/backend/examples/chat-service.rs` is a service for it, and docs/CHAT.md says what the payloads are.
#![allow(clippy::print_stdout, reason = "that is what this program is for")]

mod keyboard;
mod ready_file;

use std::error::Error;
use std::time::Duration;

use client::{Client, Outcome, Push};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// For so long it is tried to bring a message to its receiver.
const PATIENCE: Duration = Duration::from_secs(30);

/// What this program waits for.
enum Happened {
    Said(Push),
    Typed(String),
    /// The input is over, or the client is.
    Done,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ready_file, name] = &arguments[..] else { return Err("usage: chat READY_FILE NAME".into()) };
    let (client, pushes) = Client::connect(ready_file::config(ready_file, name)?).await?;

    // Pushes are a stream like any other. Asking for the next one says that the one before was taken: only then it is delivered.
    let done = || tokio_stream::once(Happened::Done);
    let said = pushes.map(Happened::Said).chain(done());
    let mut events = said.merge(ReceiverStream::new(keyboard::lines()).map(Happened::Typed).chain(done()));
    let mut sending = tokio::task::JoinSet::new();
    while let Some(event) = events.next().await {
        match event {
            Happened::Said(push) => {
                let said = String::from_utf8_lossy(&push.payload);
                let (from, text) = said.split_once('\n').unwrap_or(("somebody", &said));
                // What comes from others must not write anywhere else on this screen.
                println!("{from}: {}", text.replace(char::is_control, " "));
            }
            Happened::Typed(line) => match line.split_once(' ') {
                // In a task of its own: while it is waited for, others may speak.
                Some((to, text)) => drop(sending.spawn(say(client.clone(), to.to_owned(), text.to_owned()))),
                None => println!("(type a name, a blank and a text)"),
            },
            Happened::Done => break,
        }
    }
    while sending.join_next().await.is_some() {}
    client.close().await;
    Ok(())
}

async fn say(client: Client, to: String, text: String) {
    // Messages of one key keep their order. This one is sent until it is answered, under one id, so that it arrives once.
    let payload = format!("{to}\n{text}");
    match client.request_until_answered("chat", to.as_bytes(), payload, PATIENCE).await {
        Outcome::Answered { status: 0, .. } => println!("({to} has it)"),
        Outcome::Answered { .. } => println!("({to} is not there)"),
        Outcome::Refused { reason, .. } => println!("({to} does not have it: {reason})"),
        Outcome::Unknown { doubt } => println!("({to} may have it: {doubt})"),
    }
}
