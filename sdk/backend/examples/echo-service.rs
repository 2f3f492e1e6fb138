//! A backend of ten lines: it serves the route `echo` to a gateway.
//!
//! It stands in the place of `reference-service` under "Run your own" in the README, for that gateway's route `echo`:
//!
//! ```sh
//! cargo run -p backend --example echo-service -- service.sock
//! ```

use std::error::Error;

use backend::{Listen, Reply, Security, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args_os().nth(1).ok_or("usage: echo-service SOCKET")?;
    // Who asks, on which device and under which id, is in the request as well, and the gateway has made sure of it.
    let server = Server::builder().route("echo", |request| async move { Reply::ok(request.payload) });
    // Streams without encryption are for a Unix socket; over a network it is `Security::Kk`, with a key at each end.
    let server = server.bind(&Listen::Unix(socket.into()), Security::Clear)?;
    // It ends in peace: requests that came are answered, and new ones are refused so that they go elsewhere.
    server.serve(backend::reference::asked_to_stop()).await;
    Ok(())
}
