//! A terminal chat over a gateway: what you type goes to somebody, what others send appears.
//!
//! It reads lines and prints lines, so it works as well with a pipe as with a keyboard.

#![forbid(unsafe_code)]

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use client::protocol::noise::PublicKey;
use client::{Client, Config, Credentials, Outcome, Push, State};
use tokio::sync::mpsc;

#[derive(Debug, Parser)]
#[command(version, about = "Talks to a gateway as a client would")]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Chats as a user with other users
    Chat {
        /// Who you are.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Sends one text to the route "echo" and prints what comes back
    Echo {
        /// The text.
        text: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The gateway's ready file: JSON with listen, server_key and token.
    #[arg(long)]
    target_file: PathBuf,
    /// Names this installation; another one of the same user and device replaces it.
    #[arg(long, default_value = "terminal")]
    device: String,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let result = runtime.block_on(run(Line::parse()));
        // A thread may still sit in a read of standard input, which nothing can interrupt.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("client: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn run(line: Line) -> Result<(), String> {
    match line.verb {
        Verb::Chat { name, target } => chat(&name, target.config(&name)?).await,
        Verb::Echo { text, target } => echo(text, target.config("echo")?).await,
    }
}

async fn echo(text: String, config: Config) -> Result<(), String> {
    let (client, _) = Client::connect(config).await.map_err(|error| error.to_string())?;
    let outcome = client.request("echo", b"", text.into_bytes()).await;
    client.close().await;
    match outcome {
        Outcome::Answered { status: 0, payload } => say(&String::from_utf8_lossy(&payload)),
        other => Err(format!("{other:?}")),
    }
}

async fn chat(name: &str, config: Config) -> Result<(), String> {
    let (client, mut pushes) = Client::connect(config).await.map_err(|error| error.to_string())?;
    say(&format!("you are {name}. \"bob: hello\" or \"/to bob\" and then just text; /quit ends."))?;
    let mut lines = lines();
    let mut states = client.states();
    states.mark_unchanged();
    let mut to = None;
    loop {
        tokio::select! {
            line = lines.recv() => match line.as_deref().map(|line| read(line, to.as_deref())) {
                None | Some(Typed::Quit) => break,
                Some(Typed::To(peer)) => {
                    say(&format!("to {peer}"))?;
                    to = Some(peer);
                }
                Some(Typed::Text(peer, text)) => deliver(&client, &peer, &text).await?,
                Some(Typed::Nothing) => {}
                Some(Typed::Nobody) => say("to whom? \"bob: hello\" or \"/to bob\"")?,
            },
            push = pushes.next() => match push {
                Some(push) => say(&received(&push))?,
                None => return Err(client.ended().await.to_string()),
            },
            changed = states.changed() => {
                let state = states.borrow_and_update().clone();
                match (changed, state) {
                    (Err(_), _) | (_, State::Ended(_)) => return Err(client.ended().await.to_string()),
                    (_, State::Up(_)) => say("(connected again)")?,
                    (_, State::Waiting { error, pause }) => {
                        say(&format!("(link lost: {error}; next attempt in {} ms)", pause.as_millis()))?;
                    }
                    (_, State::Connecting { .. }) => {}
                }
            }
        }
    }
    client.close().await;
    Ok(())
}

/// Sends one message and says what became of it.
async fn deliver(client: &Client, to: &str, text: &str) -> Result<(), String> {
    let outcome = client.request("chat", b"", format!("{to}\n{text}").into_bytes()).await;
    match outcome {
        Outcome::Answered { status: 0, .. } => say(&format!("(delivered to {to})")),
        Outcome::Answered { status: 1, .. } => say(&format!("({to} is offline)")),
        Outcome::Answered { status, .. } => say(&format!("(the service answers {status})")),
        Outcome::Refused { reason, .. } => say(&format!("(not sent: {reason})")),
        Outcome::Unknown => say("(nobody knows whether that arrived)"),
    }
}

/// What a line of input means.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Quit,
    /// From now on to this one.
    To(String),
    /// A message.
    Text(String, String),
    /// A message to nobody.
    Nobody,
    Nothing,
}

fn read(line: &str, to: Option<&str>) -> Typed {
    let line = line.trim();
    if line.is_empty() {
        return Typed::Nothing;
    }
    if line == "/quit" {
        return Typed::Quit;
    }
    if let Some(peer) = line.strip_prefix("/to ") {
        return Typed::To(peer.trim().to_owned());
    }
    match (line.split_once(": "), to) {
        (Some((peer, text)), _) if !peer.contains(' ') => Typed::Text(peer.to_owned(), text.to_owned()),
        (_, Some(to)) => Typed::Text(to.to_owned(), line.to_owned()),
        _ => Typed::Nobody,
    }
}

/// The service pushes who, a line feed, and what.
fn received(push: &Push) -> String {
    let text = String::from_utf8_lossy(&push.payload);
    let shown =
        text.split_once('\n').map_or_else(|| text.to_string(), |(from, text)| format!("{from}: {text}"));
    // Nobody may move the cursor of somebody else's terminal.
    shown.chars().filter(|shown| !shown.is_control()).collect()
}

/// Lines of standard input, read on a thread of their own; at most a few wait.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn say(line: &str) -> Result<(), String> {
    writeln!(io::stdout().lock(), "{line}").map_err(|error| error.to_string())
}

impl Target {
    fn config(&self, user: &str) -> Result<Config, String> {
        let place = self.target_file.display();
        let text = std::fs::read_to_string(&self.target_file).map_err(|error| format!("{place}: {error}"))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| format!("{place}: {error}"))?;
        let field = |name: &str| json[name].as_str().ok_or_else(|| format!("{place}: no {name}"));
        let key =
            key(field("server_key")?).ok_or_else(|| format!("{place}: server_key is not 64 hex digits"))?;
        let credentials = Credentials::token(field("token")?.to_owned());
        Ok(Config::new(field("listen")?, key, credentials, user.to_owned(), self.device.clone()))
    }
}

fn key(text: &str) -> Option<PublicKey> {
    let mut key = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(PublicKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_receiver_or_goes_to_the_one_chosen_before() {
        let text = |to: &str, what: &str| Typed::Text(to.into(), what.into());
        assert_eq!(read("bob: hello", None), text("bob", "hello"));
        assert_eq!(read("bob: hello: you", Some("eve")), text("bob", "hello: you"));
        assert_eq!(read("just text", Some("bob")), text("bob", "just text"));
        assert_eq!(read("look here: a colon", Some("bob")), text("bob", "look here: a colon"));
        assert_eq!(read("just text", None), Typed::Nobody);
        assert_eq!(read("/to bob ", None), Typed::To("bob".into()));
        assert_eq!((read(" ", None), read("/quit", None)), (Typed::Nothing, Typed::Quit));
    }

    #[test]
    fn a_key_is_64_hex_digits() {
        assert_eq!(key(&"0a".repeat(32)), Some(PublicKey([10; 32])));
        assert_eq!((key("0a"), key(&"zz".repeat(32))), (None, None));
    }
}
