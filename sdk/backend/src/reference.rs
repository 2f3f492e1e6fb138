//! The reference service: two routes to show, test and measure a gateway with. docs/CHAT.md says the same for whoever
//! writes a client, with an example in Python.
//!
//! * `echo` answers with the request's payload.
//! * `chat` delivers text to a user. Request payload: the receiver's name, a line feed, the text, all of it UTF-8.
//!   The receiver gets a push: the sender's name, a line feed, the text; its id is the request's. Neither name holds
//!   a colon, white space or a control character, with which it could be shown as something else, and the text is not
//!   empty. The answer's status says what happened: [`DELIVERED`], [`OFFLINE`] or [`MALFORMED`]; its payload is
//!   empty. When none of the receiver's gateways can take more, the request is refused as busy.
//!
//! `chat` knows who is online from the gateway's link events, so its route needs `presence = true`. *Delivered*
//! means handed to the gateway the receiver is linked to; at most once is what this version of the protocol gives.

use std::collections::HashMap;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use protocol::Refusal;
use protocol::wire::stream::StreamRequest;
use tokio::signal::unix::{SignalKind, signal};

use crate::gateway::{Gateway, Push, PushError, Target};
use crate::listen::{Listen, Security};
use crate::server::{Builder, Server};
use crate::service::{Answer, Event};

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
    let chat = Arc::new(Online::default());
    let ear = Arc::clone(&chat);
    Server::builder()
        .route_now("echo", |request, _, answer| answer.payload().extend_from_slice(request.payload))
        .route_now("chat", move |request, _, answer| chat.chat(request, answer))
        .events(move |event, gateway| ear.hear(&event, gateway))
}

/// Who is linked, for each stream by itself: one that ends takes its users with it, and neither its end nor the growth of a
/// table takes long enough to let the others wait, with however many users there are.
#[derive(Default)]
struct Online(Mutex<HashMap<u64, Stream>>);

/// A stream, and how many links of each user are behind it.
struct Stream {
    gateway: Gateway,
    links: HashMap<Bytes, usize>,
}

impl Online {
    fn hear(&self, event: &Event<'_>, gateway: &Gateway) {
        match event {
            Event::Opened => {
                let stream = Stream { gateway: gateway.clone(), links: HashMap::new() };
                self.lock().insert(gateway.id(), stream);
            }
            Event::LinkOpened(opened) => {
                if let Some(stream) = self.lock().get_mut(&gateway.id()) {
                    *stream.links.entry(Bytes::copy_from_slice(opened.user)).or_default() += 1;
                }
            }
            Event::LinkClosed(closed) => {
                let mut online = self.lock();
                let Some(stream) = online.get_mut(&gateway.id()) else { return };
                let Some(links) = stream.links.get_mut(closed.user) else { return };
                *links -= 1;
                if *links == 0 {
                    stream.links.remove(closed.user);
                }
            }
            Event::Closed(_) => {
                let ended = self.lock().remove(&gateway.id());
                drop(ended);
            }
            Event::Announced
            | Event::LinkDetached(_)
            | Event::Report(_)
            | Event::KickUnknown(_)
            | Event::SanctionUnknown(_) => {}
        }
    }

    fn chat(&self, request: &StreamRequest<'_>, answer: &mut Answer) {
        let sender = std::str::from_utf8(request.user).is_ok_and(is_name);
        let Some((to, text)) = parse(request.payload).filter(|_| sender) else {
            return answer.set_status(MALFORMED);
        };
        let mut payload = Vec::with_capacity(request.user.len() + 1 + text.len());
        payload.extend_from_slice(request.user);
        payload.push(b'\n');
        payload.extend_from_slice(text.as_bytes());
        let (id, payload) = (Bytes::copy_from_slice(&request.id), Bytes::from(payload));
        let delivered = self.deliver(to, |gateway| {
            let target = Target::User(Bytes::copy_from_slice(to.as_bytes()));
            gateway.try_push(Push { target, id: id.clone(), payload: payload.clone(), number: 0 })
        });
        match delivered {
            Ok(true) => answer.set_status(DELIVERED),
            Ok(false) | Err(PushError::Closed) => answer.set_status(OFFLINE),
            Err(PushError::Full) => answer.refuse(Refusal::Busy, Duration::from_millis(100)),
            Err(PushError::TooLarge) => answer.refuse(Refusal::TooLarge, Duration::ZERO),
            Err(PushError::Invalid) => answer.set_status(MALFORMED),
        }
    }

    /// Pushes once per gateway: a push by user reaches all links the user has there. Whether one took it; an error
    /// only if none did, as who is refused sends again, and one device would get the message twice.
    fn deliver(
        &self,
        user: &str,
        push: impl Fn(&Gateway) -> Result<(), PushError>,
    ) -> Result<bool, PushError> {
        let online = self.lock();
        let (mut delivered, mut failed) = (false, None);
        let mut asked = Vec::new();
        for stream in online.values().filter(|stream| stream.links.contains_key(user.as_bytes())) {
            let boot_id = stream.gateway.boot_id();
            if asked.contains(&boot_id) {
                continue;
            }
            match push(&stream.gateway) {
                Ok(()) => delivered = true,
                // Its links are gone with it.
                Err(PushError::Closed) => continue,
                Err(error) => failed = Some(error),
            }
            asked.push(boot_id);
        }
        match failed {
            Some(error) if !delivered => Err(error),
            _ => Ok(delivered),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Stream>> {
        // Every change is one call that does not panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
