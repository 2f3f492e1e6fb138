//! Files with keys: read, or what to do about them.

use std::path::Path;

use crate::config::section::Reader;
use crate::config::{ReadFile, Secret};

/// The key in a file that this key of the config names.
pub(super) fn secret(reader: &mut Reader<'_>, key: &str, path: &Path, read: ReadFile<'_>) -> Option<Secret> {
    let shown = path.display();
    let make = format!("make one with `gateway keygen --out {shown}` in the directory of the config");
    let (reason, fix) = match read(path).map(|text| Secret::from_file(&text)) {
        Ok(Ok(secret)) => return Some(secret),
        Ok(Err(reason)) => (format!("the key file {shown}: {reason}"), format!("move it away and {make}")),
        // Whatever it is, it must not be repeated.
        Err(_) if protocol::hex::decode_array::<32>(&path.to_string_lossy()).is_some() => {
            let fix =
                "write the key into a file that only the gateway may read, and name that file".to_owned();
            ("this is a key, and a file is wanted".to_owned(), fix)
        }
        Err(reason) => (format!("the key file {shown}: {reason}"), make),
    };
    reader.error(key, reason, fix);
    None
}
