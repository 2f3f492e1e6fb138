//! What a person can do about a file that could not be read or written.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// About a file that was to be read.
#[must_use]
pub fn for_reading(path: &Path, error: &Error) -> String {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => "give the path of a file that is there".to_owned(),
        ErrorKind::PermissionDenied => format!("run as a user who may read it, or: chmod u+r {shown}"),
        ErrorKind::IsADirectory => "name a file in it".to_owned(),
        ErrorKind::InvalidData => {
            format!("save it as UTF-8: iconv -f UTF-16 -t UTF-8 {shown} shows whether it is UTF-16")
        }
        _ => "name another file".to_owned(),
    }
}

/// About a file or a socket that was to be made.
#[must_use]
pub fn for_making(path: &Path, error: &Error) -> String {
    let folder = folder(path);
    match error.kind() {
        ErrorKind::NotFound => format!("make the folder: mkdir -p {folder}"),
        ErrorKind::NotADirectory => format!("name a folder: a part of {folder} is a file"),
        ErrorKind::PermissionDenied => {
            format!("let the user who runs this write into {folder}, or choose another folder")
        }
        ErrorKind::ReadOnlyFilesystem => format!("{folder} is mounted read-only: choose another folder"),
        ErrorKind::StorageFull => format!("make room: df {folder}"),
        _ => "choose another path".to_owned(),
    }
}

fn folder(path: &Path) -> String {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.display().to_string(),
        _ => ".".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_remedy_that_names_the_place() {
        let path = Path::new("/run/g/server.key");
        let making = |kind: ErrorKind| for_making(path, &kind.into());
        assert_eq!(making(ErrorKind::NotFound), "make the folder: mkdir -p /run/g");
        assert!(making(ErrorKind::PermissionDenied).contains("write into /run/g"));
        assert!(making(ErrorKind::StorageFull).contains("df /run/g"));
        assert_eq!(for_making(Path::new("key"), &ErrorKind::NotFound.into()), "make the folder: mkdir -p .");
        let reading = |kind: ErrorKind| for_reading(path, &kind.into());
        assert!(reading(ErrorKind::PermissionDenied).contains("chmod u+r /run/g/server.key"));
        assert!(reading(ErrorKind::InvalidData).contains("UTF-8"));
    }
}
