//! A backend that brings text from one user to another, and answers when the other one's application has taken it.
//!
//! It stands in the place of `reference-service` under "Run your own" in the README, for that gateway's route `chat`, which
//! has `presence = true`: so the gateway tells who is linked. Payloads are those of docs/CHAT.md.
//!
//! ```sh
//! cargo run -p backend --example chat-service -- service.sock
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use backend::protocol::Refusal;
use backend::{
    Directory, Listen, OrderBy, Outcome, Push, PushError, Refused, Reply, Request, Rule, Security, Server,
    Target,
};

/// Of how many links it knows at most.
const LINKS_MAX: usize = 100_000;
/// Status of an answer: the request is not a name, a line feed and a text. 0 means that the text was taken.
const MALFORMED: u32 = 2;
/// When whoever found the receiver away may ask again, and the pause between two attempts here.
const PAUSE: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args_os().nth(1).ok_or("usage: chat-service SOCKET")?;
    // Who is linked, through which gateway. It learns that from what the gateways' streams tell.
    let directory = Arc::new(Directory::new(LINKS_MAX));
    let ear = Arc::clone(&directory);
    let server = Server::builder()
        .events(move |event, gateway| ear.hear(&event, gateway))
        // The client gives the receiver as key: what one user says to another keeps its order.
        .route_ordered("chat", OrderBy::UserAndKey, move |request| say(Arc::clone(&directory), request))
        .bind(&Listen::Unix(socket.into()), Security::Clear)?;
    server.serve(backend::reference::asked_to_stop()).await;
    Ok(())
}

/// Brings a text to its receiver. The request may have been here before: a client that was not told of its outcome asks again, under
/// the same id. No book is kept of that here, because the id goes on with the text, and the receiver knows by it what it has.
async fn say(directory: Arc<Directory>, request: Request) -> Result<Reply, Refused> {
    let Some((to, text)) = std::str::from_utf8(&request.payload).ok().and_then(|said| said.split_once('\n'))
    else {
        return Ok(Reply::status(MALFORMED, ""));
    };
    let said = [&request.user[..], b"\n", text.as_bytes()].concat();
    let push = Push {
        id: request.id.to_vec().into(),
        // Nobody waits here for longer.
        ttl: request.deadline,
        ..Push::new(Target::User(to.to_owned().into()), said)
    };
    let mut handed_over = false;
    // Until the deadline, at which this task is dropped where it stands: the client hears that nobody knows, and may ask again.
    loop {
        // At least once (class 1): the gateway keeps it until the application has taken it, over lost links as well.
        match directory.deliver(&push, Rule::Any).await {
            Ok(deliveries) => {
                handed_over |= !deliveries.is_empty();
                for delivery in deliveries {
                    if delivery.await == Outcome::Delivered {
                        return Ok(Reply::ok(""));
                    }
                }
            }
            Err(PushError::TooLarge) => return Err(Refusal::TooLarge.into()),
            Err(PushError::Invalid) => return Ok(Reply::status(MALFORMED, "")),
            // The gateway has no room at the moment, say.
            Err(_) => {}
        }
        // A refusal says that nothing has happened, so it must not come after a push that may have arrived.
        if !handed_over {
            return Err(Refused { reason: Refusal::Busy, retry_after: PAUSE });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
