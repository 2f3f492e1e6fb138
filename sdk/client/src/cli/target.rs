//! Which gateway is meant: the ready file it writes.

use std::fs;
use std::path::{Path, PathBuf};

use client::protocol::hex;
use client::protocol::noise::PublicKey;
use client::{Config, Credentials};

/// Where to connect, and as which device.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The gateway's ready file
    #[arg(long)]
    target_file: PathBuf,
    /// Names this installation; a second one of the same user and device replaces the first
    #[arg(long, default_value = "terminal")]
    device: String,
}

impl Target {
    /// How to connect there as this user.
    pub(crate) fn config(&self, user: &str) -> Result<Config, String> {
        let told = |what: String| format!("{}: {what}", self.target_file.display());
        let mut config = read(&self.target_file).map_err(told)?;
        config.user = user.to_owned().into();
        config.device = self.device.clone().into();
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Config, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{error}; `gateway dev` writes it, and removes it when it stops"))?;
    let file: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let field = |name: &str| file[name].as_str().ok_or_else(|| format!("it names no {name}"));
    let key = hex::decode_array(field("server_key")?)
        .map(PublicKey)
        .ok_or("its server_key is not 64 hex digits")?;
    let token = field("token").map_err(|_| "it holds no token; only `gateway dev` writes one")?;
    Ok(Config::new(field("listen")?, key, Credentials::token(token.to_owned()), "", ""))
}
