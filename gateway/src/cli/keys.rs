//! `keygen`, which makes key files, and `keys`, which explains the config.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use protocol::hex;

use super::print::print;
use crate::config::{Config, Key, Secret};
use crate::control::{Exit, remedy, tell};
use crate::tokens::Signer;

/// Makes a private key and prints its public half.
pub(super) fn keygen(out: Option<&Path>) -> Exit {
    let mut bytes = [0; 32];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tell(crate::config::Level::Error, &format!("the system has no randomness: {error}"));
        return Exit::Failed;
    }
    let secret = Secret::new(bytes);
    let (text, public) = key_file(&secret);
    let Some(path) = out else { return print(&text) };
    match write_new(path, &text) {
        Exit::Clean => print(&format!("{public}\n")),
        failed => failed,
    }
}

/// Makes a key that signs tokens, and prints the key set that verifies them.
pub(super) fn token_key(path: &Path) -> Exit {
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        tell(crate::config::Level::Error, &format!("the system has no randomness: {error}"));
        return Exit::Failed;
    }
    let signer = Signer::new(seed);
    match write_new(path, &signer.private()) {
        Exit::Clean => print(&signer.key_set()),
        failed => failed,
    }
}

/// Writes a secret into a file that was not there, and says why not.
fn write_new(path: &Path, text: &str) -> Exit {
    // create_new: overwriting a gateway's key would lock out every client that pinned it.
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        // Half a key is worse than none.
        .and_then(|mut file| file.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(path))));
    let Err(error) = written else { return Exit::Clean };
    let fix = match error.kind() {
        ErrorKind::AlreadyExists => KEPT.to_owned(),
        _ => remedy::for_making(path, &error),
    };
    tell(crate::config::Level::Error, &format!("{}: {error}; {fix}", path.display()));
    Exit::Failed
}

const KEPT: &str = "it is kept, as whoever has pinned its key would be locked out: give another --out, or move the file \
                    away if it is not in use";

/// The text of a key file, and the public key in hex.
fn key_file(secret: &Secret) -> (String, String) {
    let public = secret.prepare().public();
    let (key, id) = (hex::encode(&public.0), hex::encode(&public.key_id().0));
    let secret = hex::encode(secret.bytes());
    (
        format!(
            "# X25519 private key of an access gateway: keep it secret\n# public key {key}\n# key id {id}\n{secret}\n"
        ),
        key,
    )
}

/// What is true of every key.
const HEAD: &str = "Every change takes effect at the next start: this version cannot reload its config.\n\n";

/// Every key of the config file.
pub(super) fn reference() -> String {
    let mut text = HEAD.to_owned();
    for (table, keys) in Config::keys() {
        match table {
            "" => {}
            "core" | "listener" | "route" | "endpoint" => {
                writeln!(text, "[[{table}]]").expect("a string takes everything")
            }
            _ => writeln!(text, "[{table}]").expect("a string takes everything"),
        }
        for key in keys {
            explain(&mut text, key);
        }
        text.push('\n');
    }
    text
}

fn explain(text: &mut String, key: &Key) {
    let default = match (key.default, key.required) {
        ("", true) => "required".to_owned(),
        ("", false) => "absent".to_owned(),
        (default, _) => format!("default {}", default.replace('\'', "\"")),
    };
    let bounds = key.bounds.first().map_or(String::new(), |bounds| {
        format!("; {} to {}", (key.show)(*bounds.start()), (key.show)(*bounds.end()))
    });
    let Key { name, doc, written, memory, .. } = key;
    let written = writeln!(
        text,
        "{name}  ({default}{bounds})\n   {}\n    write {written}; memory: {memory}",
        doc.trim_end()
    );
    written.expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_reads_back_and_names_its_public_key() {
        let secret = Secret::new([9; 32]);
        let (text, public) = key_file(&secret);
        assert_eq!(Secret::from_file(&text), Ok(secret.clone()));
        assert!(text.contains(&public));
        assert_eq!(public, hex::encode(&secret.prepare().public().0));
    }

    #[test]
    fn the_reference_names_every_key() {
        let text = reference();
        for (_, keys) in Config::keys() {
            for key in keys {
                assert!(text.contains(&format!("\n{}  (", key.name)), "{}", key.name);
            }
        }
        assert!(text.contains("frame_len_max  (default \"64KiB\"; 4KiB to 1MiB)"));
    }

    #[test]
    fn the_reference_says_once_and_for_every_key_that_a_change_takes_a_start() {
        let text = reference();
        let (first, rest) = text.split_once("\n\n").expect("a head");
        assert_eq!(
            first,
            "Every change takes effect at the next start: this version cannot reload its config."
        );
        for word in ["restart", "reload", "live)"] {
            assert!(!rest.contains(word), "a key of its own mind: {word}");
        }
    }
}
