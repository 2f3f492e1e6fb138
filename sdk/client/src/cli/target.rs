//! Which gateway is meant: the ready file it writes, or options that say the same.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use client::protocol::noise::PublicKey;
use client::{Config, Credentials};

/// Where to connect, and as which device.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The gateway's ready file: gives address and key and, if `gateway dev` wrote it, the token. Without it --addr,
    /// --server-key and --token-file are needed
    #[arg(long)]
    target_file: Option<PathBuf>,
    /// Where the gateway listens, host:port
    #[arg(long, value_parser = parse_address)]
    addr: Option<String>,
    /// The gateway's public key, 64 hex digits; `gateway keygen` prints it, and the key file names it
    #[arg(long, value_parser = parse_key)]
    server_key: Option<PublicKey>,
    /// A file that holds the token and nothing else; `gateway token` prints that of development mode
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Names this installation; a second one of the same user and device replaces the first
    #[arg(long, default_value = "terminal")]
    device: String,
}

impl Target {
    /// How to connect there as this user.
    pub(crate) fn config(self, user: &str) -> Result<Config, String> {
        let file = self.target_file.as_deref().map(ReadyFile::read).transpose()?;
        let (addr, key) = match &file {
            Some(file) => (self.addr.or(file.listen()), self.server_key.map(Ok).or(file.key()).transpose()?),
            None => (self.addr, self.server_key),
        };
        let credentials = match self.token_file {
            Some(path) => Some(token_of(path)?),
            None => file.as_ref().and_then(ReadyFile::token).map(Credentials::token),
        };
        let missing: Vec<&str> = [
            (addr.is_some(), "--addr"),
            (key.is_some(), "--server-key"),
            (credentials.is_some(), "--token-file"),
        ]
        .into_iter()
        .filter_map(|(has, option)| (!has).then_some(option))
        .collect();
        match (addr, key, credentials) {
            (Some(addr), Some(key), Some(credentials)) => {
                Ok(Config::new(addr, key, credentials, user.to_owned(), self.device))
            }
            _ => Err(explain(&missing.join(", "), file.as_ref())),
        }
    }
}

/// What is missing, and where it comes from.
fn explain(missing: &str, file: Option<&ReadyFile<'_>>) -> String {
    match file {
        None => format!("missing: {missing}; or --target-file with a ready file, as `gateway dev` names one"),
        Some(file) if missing == "--token-file" => format!(
            "{}: it holds no token, as only `gateway dev` writes one; give --token-file with a file that holds it \
             (in development mode: gateway token --config FILE > token)",
            file.path.display()
        ),
        Some(file) => format!("missing: {missing}; {} does not say", file.path.display()),
    }
}

/// What a gateway writes when it is ready.
struct ReadyFile<'p> {
    path: &'p Path,
    fields: serde_json::Value,
}

impl<'p> ReadyFile<'p> {
    fn read(path: &'p Path) -> Result<Self, String> {
        let told = |what: String| format!("{}: {what}", path.display());
        let text = fs::read_to_string(path)
            .map_err(|error| told(format!("{error}; a gateway writes it when it is ready")))?;
        let fields = serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
        Ok(Self { path, fields })
    }

    fn field(&self, name: &str) -> Option<String> {
        self.fields[name].as_str().map(str::to_owned)
    }

    fn listen(&self) -> Option<String> {
        self.field("listen")
    }

    fn key(&self) -> Option<Result<PublicKey, String>> {
        let key = parse_key(&self.field("server_key")?);
        Some(key.map_err(|error| format!("{}: server_key: {error}", self.path.display())))
    }

    fn token(&self) -> Option<String> {
        self.field("token")
    }
}

/// Reads the file whenever a token is wanted, as it may be replaced by a fresh one; and once now, to tell what is wrong
/// with it before anything is tried.
fn token_of(path: PathBuf) -> Result<Credentials, String> {
    read_token(&path)?;
    Ok(Credentials::ask(move |_| std::future::ready(read_token(&path).map(Bytes::from))))
}

/// The token in a file, without the end of its line.
fn read_token(path: &Path) -> Result<String, String> {
    let told = |what: String| format!("--token-file {}: {what}", path.display());
    let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    match text.trim_end() {
        "" => Err(told("there is no token in it".to_owned())),
        token => Ok(token.to_owned()),
    }
}

fn parse_address(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(text.to_owned()),
        _ => Err("wanted host:port, as in 127.0.0.1:7400".to_owned()),
    }
}

fn parse_key(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|_| "a server key is 64 hex digits".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// A command line with nothing but a target.
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        target: Target,
    }

    fn config(line: &[&str]) -> Result<Config, String> {
        let line = Line::try_parse_from(["client"].iter().chain(line)).map_err(|error| error.to_string())?;
        line.target.config("alice")
    }

    fn file(name: &str, text: &str) -> String {
        let path = std::env::temp_dir().join(format!("client-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    const KEY: &str = "0b00000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn options_are_enough_without_a_file() {
        let token = file("token", "secret\n");
        let line = ["--addr", "localhost:7400", "--server-key", KEY, "--token-file", &token];
        let config = config(&line).unwrap();
        assert_eq!((config.addresses, &config.user[..]), (vec!["localhost:7400".to_owned()], &b"alice"[..]));
        fs::remove_file(token).unwrap();
    }

    #[test]
    fn a_ready_file_without_a_token_takes_one_from_a_file_of_its_own() {
        let ready = file("ready", &format!(r#"{{"listen":"127.0.0.1:7400","server_key":"{KEY}"}}"#));
        let token = file("its-token", "secret");
        let told = config(&["--target-file", &ready]).unwrap_err();
        assert!(told.contains(&ready) && told.contains("--token-file"), "{told}");
        let line = ["--target-file", &ready, "--token-file", &token, "--addr", "[::1]:7401"];
        assert_eq!(config(&line).unwrap().addresses, ["[::1]:7401"], "an option comes before the file");
        [ready, token].iter().for_each(|file| fs::remove_file(file).unwrap());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let empty = file("empty", "\n");
        let bare = file("bare", "{}");
        for (line, named) in [
            (&[][..], &["--addr", "--server-key", "--token-file", "--target-file"][..]),
            (&["--addr", "a:1", "--server-key", KEY], &["missing: --token-file"]),
            (&["--target-file", &bare], &["--addr, --server-key, --token-file", &bare]),
            (&["--target-file", "/nowhere/ready"], &["/nowhere/ready", "when it is ready"]),
            (&["--token-file", &empty], &[&empty, "no token in it"]),
            (&["--token-file", "/nowhere/token"], &["/nowhere/token"]),
            (&["--addr", "127.0.0.1"], &["host:port"]),
            (&["--addr", "127.0.0.1:0"], &["host:port"]),
            (&["--server-key", "0b"], &["64 hex digits"]),
        ] {
            let told = config(line).unwrap_err();
            assert!(named.iter().all(|part| told.contains(part)), "{line:?}: {told}");
        }
        [empty, bare].iter().for_each(|file| fs::remove_file(file).unwrap());
    }
}
