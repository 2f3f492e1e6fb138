//! A backend that decides who a token is: delegated login. Its gateway's config is beside it, `judge.toml`.
//!
//! The tokens of this one are lines of a file, `TOKEN USER`; it might as well ask a database or another service.
//!
//! ```sh
//! cargo run --release -p gateway -- keygen --out sdk/backend/examples/server.key
//! echo "a-long-random-word alice" > tokens
//! cargo run -p backend --example judge -- /tmp/judge.sock tokens &
//! cargo run --release -p gateway -- run --config sdk/backend/examples/judge.toml --ready-file ready.json
//! ```
//!
//! And in another terminal a client, whom nobody believes that it is `nobody`:
//!
//! ```sh
//! TOKEN=a-long-random-word cargo run -p client --example echo -- ready.json nobody hello
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use backend::protocol::CloseCode;
use backend::{Ask, Listen, Login, Reply, Security, Server, Tickets, Verdict};

/// For so long a client comes back without being judged again.
const TICKETS: Duration = Duration::from_secs(600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(socket), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: judge SOCKET TOKENS".into());
    };
    let text = std::fs::read_to_string(file)?;
    let users: HashMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(token, user)| (token.to_owned(), user.trim().to_owned()))
        .collect();

    let server = Server::builder()
        // A judge may take its time, up to `Ask::deadline`. Meanwhile the link waits, and nobody else does.
        .authenticate(move |ask| std::future::ready(judge(&users, &ask)))
        // From here on `user` is what the judge has said, whatever the client claimed to be.
        .route("echo", |request| async move {
            Reply::ok([&request.user[..], b": ", &request.payload[..]].concat())
        })
        .bind(&Listen::Unix(socket.into()), Security::Clear)?;
    server.serve(backend::reference::asked_to_stop()).await;
    Ok(())
}

fn judge(users: &HashMap<String, String>, ask: &Ask) -> Verdict {
    let user = std::str::from_utf8(&ask.token).ok().and_then(|token| users.get(token));
    match user {
        // With `expires` the link would end with its token, and `name` is what a single login is revoked by. The judge is not asked
        // about tickets: how long they are good is how long a client may go on whose token is gone.
        Some(user) => {
            Verdict::Accepted(Login { tickets: Tickets::AtMost(TICKETS), ..Login::of(user.clone()) })
        }
        // The client gets another token, if it can, and comes back.
        None => Verdict::refused(CloseCode::AuthFailed),
    }
}
