//! The reference service: routes to show, test and measure a gateway with. docs/CHAT.md and docs/PUSHES.md say the same for
//! whoever writes a client, the first with an example in Python.
//!
//! * `echo` answers with the request's payload.
//! * `chat` delivers text to a user. Request payload: the receiver's name, a line feed, the text, all of it UTF-8.
//!   The receiver gets a push: the sender's name, a line feed, the text; its id is the request's. Neither name holds
//!   a colon, white space or a control character, with which it could be shown as something else, and the text is not
//!   empty. The answer's status says what happened: [`DELIVERED`], [`OFFLINE`] or [`MALFORMED`]; its payload is
//!   empty. When none of the receiver's gateways can take more, the request is refused as busy.
//! * `push` sends the asking device as many pushes as it likes, of either class, and `outcomes` says what became of them.
//!
//! `chat` knows who is online from the gateway's link events, so its route needs `presence = true`. *Delivered*
//! means handed to the gateway the receiver is linked to; at most once is what this version of the protocol gives.

pub mod pushes;
mod runs;

use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use protocol::Refusal;
use protocol::wire::stream::StreamRequest;
use tokio::signal::unix::{SignalKind, signal};

use self::runs::Runs;
use crate::directory::Directory;
use crate::listen::{Listen, Security};
use crate::push::{Push, PushError, Target};
use crate::reply::Answer;
use crate::server::{Builder, Server};
use crate::service::OrderBy;

/// Status of `chat`: handed to a gateway of the receiver's, though perhaps not to all of them.
pub const DELIVERED: u32 = 0;
/// Status of `chat`: the receiver has no link.
pub const OFFLINE: u32 = 1;
/// Status of `chat`: the payload is not a name, a line feed and a text, or the receiver's or the sender's name is none
/// that a chat can show. Nothing has happened, and the same request again changes nothing.
pub const MALFORMED: u32 = 2;

/// Runs the service on this thread until `stop` is over; `ready` is called when it listens.
///
/// # Errors
/// Whatever the system or `ready` says at the start.
pub fn run(
    listen: &Listen,
    security: Security,
    ready: impl FnOnce(&Listen) -> io::Result<()>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = pin!(stop);
        // Before it listens it can be asked to stop: whoever sees that it does may do so at once.
        let asked = poll_fn(|context| Poll::Ready(stop.as_mut().poll(context).is_ready())).await;
        if asked {
            return Ok(());
        }
        let server = service().bind(listen, security)?;
        ready(&server.place()?)?;
        server.serve(stop).await;
        Ok(())
    })
}

/// Over when SIGTERM or SIGINT comes: for [`run`], whose runtime it needs.
pub async fn asked_to_stop() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// The service without a place, to be bound with other numbers.
#[must_use]
pub fn service() -> Builder {
    let online = Arc::new(Directory::new(LINKS_MAX));
    let ear = Arc::clone(&online);
    let runs = Arc::new(Runs::default());
    let begun = Arc::clone(&runs);
    Server::builder()
        .route_now("echo", |request, _, answer| answer.payload().extend_from_slice(request.payload))
        .route_now("chat", move |request, _, answer| chat(&online, request, answer))
        // Pushes are numbered, so those of one request do not get between those of another.
        .route_ordered("push", OrderBy::User, move |request| pushes::push(Arc::clone(&begun), request))
        .route_now("outcomes", move |request, _, answer| pushes::outcomes(&runs, request.payload, answer))
        .events(move |event, gateway| ear.hear(&event, gateway))
}

/// Links of which it knows at most.
const LINKS_MAX: usize = 4_000_000;

fn chat(online: &Directory, request: &StreamRequest<'_>, answer: &mut Answer) {
    let sender = std::str::from_utf8(request.user).is_ok_and(is_name);
    let Some((to, text)) = parse(request.payload).filter(|_| sender) else {
        return answer.set_status(MALFORMED);
    };
    let mut payload = Vec::with_capacity(request.user.len() + 1 + text.len());
    payload.extend_from_slice(request.user);
    payload.push(b'\n');
    payload.extend_from_slice(text.as_bytes());
    let target = Target::User(Bytes::copy_from_slice(to.as_bytes()));
    let push = Push { id: Bytes::copy_from_slice(&request.id), ..Push::new(target, payload) };
    match online.try_push(&push) {
        Ok(0) | Err(PushError::Closed) => answer.set_status(OFFLINE),
        Ok(_) => answer.set_status(DELIVERED),
        Err(PushError::Full) => answer.refuse(Refusal::Busy, Duration::from_millis(100)),
        Err(PushError::TooLarge) => answer.refuse(Refusal::TooLarge, Duration::ZERO),
        // At most once every gateway delivers.
        Err(PushError::Invalid | PushError::NotServed) => answer.set_status(MALFORMED),
    }
}

/// Receiver and text.
fn parse(payload: &[u8]) -> Option<(&str, &str)> {
    let (to, text) = std::str::from_utf8(payload).ok()?.split_once('\n')?;
    (is_name(to) && !text.is_empty()).then_some((to, text))
}

/// Whether it reads as one name, whatever is written before and behind it.
fn is_name(text: &str) -> bool {
    let is_odd = |char: char| char == ':' || char.is_whitespace() || char.is_control();
    !text.is_empty() && !text.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_payload_is_a_name_and_a_text() {
        assert_eq!(parse(b"bob\nhi\nthere"), Some(("bob", "hi\nthere")));
        assert_eq!(parse("böb\n hi".as_bytes()), Some(("böb", " hi")));
        assert_eq!(parse(b"bob\n "), Some(("bob", " ")));
        assert_eq!(parse(b"bob\n"), None);
        assert_eq!(parse(b"\nhi"), None);
        assert_eq!(parse(b"bob"), None);
        assert_eq!(parse(b"\xff\nhi"), None);
    }
}
