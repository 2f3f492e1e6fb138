//! Compiles `proto/*.proto` with protox, so that no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/link.proto", "proto/stream.proto"], ["proto"])?;
    // `wire/shown.rs` shows these without payload, tokens and secrets.
    let link = ["Auth", "Resume", "Request", "Ticket", "Welcome", "Response", "Push"];
    let stream = ["Request", "Response", "Push", "Authenticate"];
    let shown = link.map(|name| format!(".gateway.link.v1.{name}"));
    let shown = shown.into_iter().chain(stream.map(|name| format!(".gateway.stream.v1.{name}")));
    prost_build::Config::new().bytes(["."]).skip_debug(shown).compile_fds(files)?;
    Ok(())
}
