//! Which gateway is meant: the ready file it writes.

use std::fs;
use std::path::{Path, PathBuf};

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
    let key = key(field("server_key")?).ok_or("its server_key is not 64 hex digits")?;
    let token = field("token").map_err(|_| "it holds no token; only `gateway dev` writes one")?;
    Ok(Config::new(field("listen")?, key, Credentials::token(token.to_owned()), "", ""))
}

fn key(text: &str) -> Option<PublicKey> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16)).map(|digit| digit.map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok().map(PublicKey))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hex_digits() {
        assert_eq!(key(&"0a".repeat(32)), Some(PublicKey([10; 32])));
        for wrong in ["", "0a", &"zz".repeat(32), &"0a".repeat(33), &"é".repeat(32)] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }
}
