//! Paths of sockets, which the kernel bounds, and the name a file has while it is made.

use std::path::{Path, PathBuf};

/// Longest path of a Unix socket: `sockaddr_un` holds 108 bytes with the terminating zero; unix(7).
pub const SOCKET_PATH_MAX: usize = 107;

/// Bytes of the longest [name](beside) a file has while it is made: a dot, and five digits for each process there may be.
const WORKING_NAME_MAX: usize = 6;

/// Where a file is made before it is renamed: in the same folder, under a name of this process's own.
#[must_use]
pub fn beside(path: &Path, process: u32) -> PathBuf {
    let mut name = Vec::with_capacity(WORKING_NAME_MAX);
    let mut rest = process;
    while rest > 0 {
        name.push(char::from_digit(rest % 36, 36).expect("a digit of that base"));
        rest /= 36;
    }
    path.with_file_name(format!(".{}", name.iter().rev().collect::<String>()))
}

/// Whether a socket can be made at this path; why not, and what to do.
pub(super) fn check(path: &Path) -> Result<(), (String, String)> {
    let Some(name) = path.file_name() else {
        return Err(("does not end with the name of a file".to_owned(), "name the socket itself".to_owned()));
    };
    let whole = path.as_os_str().len();
    let longest = whole + WORKING_NAME_MAX.saturating_sub(name.len());
    if longest <= SOCKET_PATH_MAX {
        return Ok(());
    }
    let made = if longest > whole { format!(" ({longest} while it is made)") } else { String::new() };
    Err((
        format!("is a path of {whole} bytes{made}, and that of a Unix socket has at most {SOCKET_PATH_MAX}"),
        "choose a folder with a shorter path, such as \"/run/gateway\"".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_every_process_is_short_and_its_own() {
        let name = |process| beside(Path::new("/run/g/admin.sock"), process);
        assert_eq!(name(1), Path::new("/run/g/.1"));
        assert_eq!(beside(Path::new("admin.sock"), 37), Path::new(".11"));
        // The kernel's bound of process ids.
        let most = 4_194_304;
        assert!(name(most).file_name().is_some_and(|name| name.len() <= WORKING_NAME_MAX));
        assert_ne!(name(most), name(most - 1));
    }

    #[test]
    fn a_path_is_as_long_as_it_may_be_with_the_name_the_socket_is_made_under() {
        let path = |len: usize, name: &str| format!("/{}/{name}", "x".repeat(len - 2 - name.len()));
        for (len, name, fits) in [
            (107, "admin.sock", true),
            (108, "admin.sock", false),
            (107, "a.sock", true),
            (102, "s", true),
            (103, "s", false),
        ] {
            assert_eq!(check(Path::new(&path(len, name))).is_ok(), fits, "{len}, {name}");
        }
        let (reason, _) = check(Path::new(&path(105, "s"))).unwrap_err();
        assert!(reason.contains("105 bytes (110 while it is made)"), "{reason}");
        assert!(check(Path::new("/run/..")).is_err());
    }
}
