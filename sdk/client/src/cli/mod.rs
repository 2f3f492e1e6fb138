//! The command line and its verbs.

mod chat;
mod editor;
mod screen;
mod target;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use client::{Client, Config, Outcome};

use target::Target;

/// What was typed in the shell.
#[derive(Debug, Parser)]
#[command(name = "client", version, about = "Talks to a gateway as an application would")]
pub(crate) struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Chats with other users: what you type goes to somebody, what others send appears
    Chat {
        /// Who you are; 1 to 64 bytes, no colon, white space or control character
        #[arg(long)]
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Sends a text to the route "echo" and prints what comes back
    Echo {
        /// The text
        #[arg(default_value = "hello")]
        text: String,
        #[command(flatten)]
        target: Target,
    },
}

/// Does what the line asks for.
pub(crate) fn run(line: Line) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            match line.verb {
                Verb::Chat { name, target } => {
                    chat::check_name(&name)?;
                    chat::chat(&name, target.config(&name)?).await
                }
                Verb::Echo { text, target } => echo(text, target.config("echo")?).await,
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("client: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn echo(text: String, config: Config) -> Result<(), String> {
    let (client, _) = Client::connect(config).await.map_err(|error| error.to_string())?;
    let outcome = client.request("echo", b"", text.into_bytes()).await;
    client.close().await;
    match outcome {
        Outcome::Answered { status: 0, payload } => {
            writeln!(io::stdout(), "{}", screen::printable(&payload)).map_err(|error| error.to_string())
        }
        Outcome::Answered { status, .. } => Err(format!("the service answers {status}")),
        Outcome::Refused { reason, .. } => Err(format!("refused: {reason}")),
        Outcome::Unknown { doubt } => Err(format!("nobody knows what became of the request: {doubt}")),
    }
}
