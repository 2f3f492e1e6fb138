//! Links to a gateway, asks its route `echo` once, and prints the answer.
//!
//! ```sh
//! cargo run --release -p gateway -- dev --ready-file ready.json
//! cargo run -p client --example echo -- ready.json alice hello
//! ```
#![allow(clippy::print_stdout, reason = "that is what this program is for")]

mod ready_file;

use std::error::Error;

use client::{Client, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ready_file, user, text] = &arguments[..] else {
        return Err("usage: echo READY_FILE USER TEXT".into());
    };
    let (client, _pushes) = Client::connect(ready_file::config(ready_file, user)?).await?;
    // It is sent once. `request_until_answered` sends again under the same id, over lost links as well.
    let outcome = client.request("echo", b"", text.clone()).await;
    client.close().await;
    match outcome {
        Outcome::Answered { status: 0, payload } => {
            println!("{}", String::from_utf8_lossy(&payload));
            Ok(())
        }
        Outcome::Answered { status, .. } => Err(format!("the backend answers {status}").into()),
        Outcome::Refused { reason, .. } => Err(format!("nothing has happened: {reason}").into()),
        Outcome::Unknown { doubt } => Err(format!("it may have been done: {doubt}").into()),
    }
}
