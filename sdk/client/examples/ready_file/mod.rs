//! Where the gateway is.

use std::error::Error;
use std::{env, fs};

use client::{Config, Credentials};

/// A gateway writes its address and its public key into its ready file. An app has them built in: by the key it knows the gateway.
/// The token of `gateway dev` is there as well; another one is taken from the environment, as `TOKEN`.
pub(crate) fn config(ready_file: &str, user: &str) -> Result<Config, Box<dyn Error>> {
    let ready: serde_json::Value = serde_json::from_str(&fs::read_to_string(ready_file)?)?;
    let field = |name: &str| ready[name].as_str().ok_or(format!("{ready_file} holds no {name}"));
    let token = env::var("TOKEN").or_else(|_| field("token").map(str::to_owned))?;
    let server_key = field("server_key")?.parse().map_err(|_| "the server key is no key")?;
    // User and device name this installation: a second one of the same names takes its place.
    Ok(Config::new(field("listen")?, server_key, Credentials::token(token), user.to_owned(), "example"))
}
