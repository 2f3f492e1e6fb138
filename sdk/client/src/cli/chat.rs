//! The terminal chat. Nobody waits for anybody: what is typed, what arrives and what becomes of sent messages are told
//! as they happen.

use std::time::Duration;

use bytes::Bytes;
use client::protocol::limits::ID_LEN_MAX;
use client::{Client, Config, Error, Outcome, Push, State};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::editor::{Editor, Typed};
use super::screen::{self, Screen, printable};

/// Statuses of the reference service's route `chat`.
const DELIVERED: u32 = 0;
const OFFLINE: u32 = 1;

/// Messages whose outcome is awaited; with as many, no more is read from the keyboard.
const UNDER_WAY_MAX: usize = 32;
/// How long the last messages are waited for at the end of input.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Chats until input ends, `/quit`, a signal, or the gateway's last word.
pub(crate) async fn chat(name: &str, config: Config) -> Result<(), String> {
    let (client, mut pushes) = Client::connect(config).await.map_err(|error| error.to_string())?;
    let mut input = screen::input().map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut states = client.states();
    states.mark_unchanged();
    let mut chat = Chat {
        client: client.clone(),
        screen: Screen::open(),
        editor: Editor::default(),
        to: None,
        under_way: JoinSet::new(),
        lost: None,
    };
    chat.say(&format!(
        "(you are {name}; type \"bob: hello\", or \"/to bob\" and then only text; /quit ends)"
    ))?;
    // Whether what was sent last is waited for.
    let in_peace = loop {
        tokio::select! {
            typed = input.recv(), if chat.under_way.len() < UNDER_WAY_MAX => match typed {
                Some(bytes) if chat.typed(&bytes)? => {}
                Some(_) => break true,
                None => {
                    chat.end_of_input()?;
                    break true;
                }
            },
            push = pushes.next() => match push {
                Some(push) => chat.say(&received(&push))?,
                None => return Err(client.ended().await.to_string()),
            },
            Some(outcome) = chat.under_way.join_next() => chat.delivered(outcome.ok())?,
            // An error means that the client has ended, which the pushes tell.
            Ok(()) = states.changed() => chat.changed(&states.borrow_and_update().clone())?,
            _ = tokio::signal::ctrl_c() => break false,
            _ = terminate.recv() => break false,
        }
    };
    if in_peace && chat.lost.is_none() {
        chat.last_words().await?;
    }
    drop(chat);
    client.close().await;
    Ok(())
}

struct Chat {
    client: Client,
    screen: Screen,
    editor: Editor,
    /// To whom text without a name goes.
    to: Option<String>,
    under_way: JoinSet<(String, Outcome)>,
    /// Why there is no link, as the user was told last.
    lost: Option<Error>,
}

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning<'l> {
    Nothing,
    Quit,
    To(&'l str),
    Message {
        to: &'l str,
        text: &'l str,
    },
    ForNobody,
    /// A command with something that is no name.
    NoName,
    UnknownCommand,
}

impl Chat {
    /// Takes typed bytes; whether to go on.
    fn typed(&mut self, bytes: &[u8]) -> Result<bool, String> {
        for &byte in bytes {
            let more = match self.editor.take(byte) {
                None => true,
                Some(Typed::End) => false,
                Some(Typed::TooLong) => self.say("(that is too long)").map(|()| true)?,
                Some(Typed::Line(line)) => self.line(&line)?,
            };
            if !more {
                return Ok(false);
            }
        }
        self.draw().map(|()| true)
    }

    fn end_of_input(&mut self) -> Result<(), String> {
        match self.editor.end() {
            Some(Typed::Line(line)) => self.line(&line).map(drop),
            _ => Ok(()),
        }
    }

    /// Does what a line asks for; whether to go on.
    fn line(&mut self, line: &str) -> Result<bool, String> {
        let to = self.to.clone();
        match meaning(line, to.as_deref()) {
            Meaning::Nothing => {}
            Meaning::Quit => return Ok(false),
            Meaning::To(peer) => {
                self.to = Some(peer.to_owned());
                self.say(&format!("(to {peer} from now on)"))?;
            }
            Meaning::Message { to, text } => {
                if self.screen.is_terminal() {
                    self.say(&format!("to {to}: {text}"))?;
                }
                self.send(to, text);
                if self.lost.is_some() {
                    self.say("(it waits for the link)")?;
                }
            }
            Meaning::ForNobody => self.say("(to whom? type \"bob: hello\" or \"/to bob\")")?,
            Meaning::NoName => self.say(&format!("({NAME_RULE})"))?,
            Meaning::UnknownCommand => self.say("(there are /to NAME and /quit)")?,
        }
        Ok(true)
    }

    fn send(&mut self, to: &str, text: &str) {
        let (client, to) = (self.client.clone(), to.to_owned());
        let payload = Bytes::from(format!("{to}\n{text}"));
        self.under_way.spawn(async move {
            // One key per receiver: messages to one person keep their order.
            let outcome = client.request("chat", to.as_bytes(), payload).await;
            (to, outcome)
        });
    }

    fn delivered(&mut self, outcome: Option<(String, Outcome)>) -> Result<(), String> {
        let Some((to, outcome)) = outcome else { return Ok(()) };
        let text = match outcome {
            Outcome::Answered { status: DELIVERED, .. } => format!("(delivered to {to})"),
            Outcome::Answered { status: OFFLINE, .. } => format!("({to} is offline)"),
            Outcome::Answered { status, .. } => format!("(the service answers {status})"),
            Outcome::Refused { reason, .. } => format!("(not sent to {to}: {reason})"),
            Outcome::Unknown { doubt } => format!("(nobody knows whether that reached {to}: {doubt})"),
        };
        self.say(&text)
    }

    /// The link broke or is back.
    fn changed(&mut self, state: &State) -> Result<(), String> {
        match state {
            State::Up(_) if self.lost.take().is_some() => self.say("(linked again)"),
            State::Waiting { error, .. } | State::Connecting { after: Some(error) }
                if self.lost.as_ref() != Some(error) =>
            {
                let what = if self.lost.is_none() { "the link is gone" } else { "still no link" };
                self.lost = Some(error.clone());
                self.say(&format!("({what}: {error}; trying again)"))
            }
            State::Ended(error) if *error != Error::Stopped => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// What was sent last may still be on its way.
    async fn last_words(&mut self) -> Result<(), String> {
        let all = async {
            while let Some(outcome) = self.under_way.join_next().await {
                self.delivered(outcome.ok())?;
            }
            Ok(())
        };
        timeout(LAST_WORDS, all).await.unwrap_or(Ok(()))
    }

    fn say(&self, line: &str) -> Result<(), String> {
        self.screen.print(line, &self.prompt(), self.editor.text())
    }

    fn draw(&self) -> Result<(), String> {
        self.screen.draw(&self.prompt(), self.editor.text())
    }

    fn prompt(&self) -> String {
        self.to.as_ref().map_or_else(|| "> ".to_owned(), |to| format!("{to}> "))
    }
}

/// What a name is: a line ends it at a colon, the service at a line feed.
const NAME_RULE: &str = "a name has 1 to 64 bytes, and no colon, white space or control character";

/// Whether somebody can be called this.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) { Ok(()) } else { Err(NAME_RULE.to_owned()) }
}

fn is_name(text: &str) -> bool {
    let is_strange = |letter: char| letter == ':' || letter.is_whitespace() || letter.is_control();
    (1..=ID_LEN_MAX).contains(&text.len()) && !text.contains(is_strange)
}

/// A name ends at a colon. Once somebody was chosen, a space has to follow the colon, so that
/// text with a colon in it stays text.
fn meaning<'l>(line: &'l str, chosen: Option<&'l str>) -> Meaning<'l> {
    let line = line.trim();
    if let Some(command) = line.strip_prefix('/') {
        return match command.split_once(' ') {
            Some(("to", peer)) if is_name(peer.trim()) => Meaning::To(peer.trim()),
            Some(("to", _)) => Meaning::NoName,
            None if command == "quit" => Meaning::Quit,
            _ => Meaning::UnknownCommand,
        };
    }
    let separator = if chosen.is_some() { ": " } else { ":" };
    let named = line.split_once(separator).filter(|(name, _)| is_name(name));
    match (named, chosen) {
        _ if line.is_empty() => Meaning::Nothing,
        (Some((_, text)), _) if text.trim_start().is_empty() => Meaning::Nothing,
        (Some((to, text)), _) => Meaning::Message { to, text: text.trim_start() },
        (None, Some(to)) => Meaning::Message { to, text: line },
        (None, None) => Meaning::ForNobody,
    }
}

/// The service pushes who, a line feed, and what.
fn received(push: &Push) -> String {
    let end = push.payload.iter().position(|byte| *byte == b'\n');
    let (from, text) =
        end.map_or((&b"?"[..], &push.payload[..]), |at| (&push.payload[..at], &push.payload[at + 1..]));
    format!("{}: {}", printable(from), printable(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_receiver_or_goes_to_the_one_chosen_before() {
        let message = |to, text| Meaning::Message { to, text };
        assert_eq!(meaning("bob: hello", None), message("bob", "hello"));
        assert_eq!(meaning("bob:hello: you", None), message("bob", "hello: you"));
        assert_eq!(meaning("bob: hello", Some("eve")), message("bob", "hello"));
        assert_eq!(meaning("see http://x", Some("bob")), message("bob", "see http://x"));
        assert_eq!(meaning("http://x", Some("bob")), message("bob", "http://x"));
        assert_eq!(meaning("look here: there", Some("bob")), message("bob", "look here: there"));
        assert_eq!(meaning("hello", None), Meaning::ForNobody);
        assert_eq!(meaning(" ", Some("bob")), Meaning::Nothing);
    }

    #[test]
    fn a_message_without_a_text_is_none() {
        for (line, chosen) in
            [("bob:", None), ("bob: ", None), ("bob:  ", None), ("", None), ("", Some("bob"))]
        {
            assert_eq!(meaning(line, chosen), Meaning::Nothing, "{line:?}");
        }
    }

    #[test]
    fn a_name_can_be_typed_before_a_colon() {
        for name in ["a", "bob", "b.o-b_1", "你好", &"x".repeat(64)] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
            assert_eq!(
                meaning(&format!("{name}: hello"), None),
                Meaning::Message { to: name, text: "hello" }
            );
            assert_eq!(meaning(&format!("/to {name}"), None), Meaning::To(name));
        }
        for wrong in
            ["", "a:b", ":", "a b", " a", "a\tb", "a\nb", "a\u{2003}b", "a\u{7}", "a\u{9b}", &"x".repeat(65)]
        {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["/to a b", "/to a:b", &format!("/to {}", "x".repeat(65))] {
            assert_eq!(meaning(wrong, None), Meaning::NoName, "{wrong}");
        }
        assert_eq!(meaning(&format!("{}: hello", "x".repeat(65)), None), Meaning::ForNobody);
    }

    #[test]
    fn commands_begin_with_a_slash() {
        assert_eq!(meaning("/to  bob ", None), Meaning::To("bob"));
        assert_eq!(meaning("/quit", Some("bob")), Meaning::Quit);
        assert_eq!(meaning("/to", None), Meaning::UnknownCommand);
        assert_eq!(meaning("/quit now", Some("bob")), Meaning::UnknownCommand);
    }
}
