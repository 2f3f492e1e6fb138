//! Kernel memory by what it is for, from `/proc/slabinfo` (readable by root).
//!
//! A cache belongs to a kind by its name. Objects in use count with their share of their slab's pages, so that a slab
//! half empty from an earlier run distorts nothing.
//!
//! * **sockets**: `TCP`, `sock_inode_cache`, `filp`, `dentry` and what else the kernel allocates per TCP socket.
//! * **io_uring**: `io_kiocb`, one per armed operation, and the `kmalloc-*` classes. io_uring takes its companions (the
//!   node of a direct descriptor, poll entries and headers of a receive) from those, and a TCP socket at rest takes
//!   nothing from them; other growth of the kernel ends up here too, so the figure is an upper bound.
//! * **other**: all other caches together.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Bytes in use per cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slab(BTreeMap<String, u64>);

/// Growth by kind in bytes; negative when more was freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// For sockets.
    pub sockets: i64,
    /// For operations of rings.
    pub io_uring: i64,
    /// For anything else.
    pub other: i64,
}

const PAGE_LEN: u64 = 4096;

/// Caches of which every TCP socket takes objects, or whose names begin so.
const SOCKET_CACHES: &[&str] = &[
    "TCP",
    "MPTCP",
    "sock_inode_cache",
    "filp",
    "dentry",
    "lsm_file_cache",
    "lsm_inode_cache",
    "request_sock_TCP",
    "tw_sock_TCP",
    "tcp_",
    "skbuff_",
];
const IO_URING_CACHES: &[&str] = &["io_", "kmalloc-"];

impl Slab {
    /// Reads the caches.
    ///
    /// # Errors
    /// `PermissionDenied` for anybody but root.
    pub fn read() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/slabinfo")?)
            .ok_or_else(|| io::Error::other("/proc/slabinfo has another form than expected"))
    }

    /// What has grown since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Spent {
        let mut spent = Spent::default();
        for (name, &bytes) in &self.0 {
            let before = earlier.0.get(name).copied().unwrap_or_default();
            let grown = bytes.cast_signed() - before.cast_signed();
            let starts_with_one_of = |caches: &[&str]| caches.iter().any(|cache| name.starts_with(cache));
            if starts_with_one_of(SOCKET_CACHES) {
                spent.sockets += grown;
            } else if starts_with_one_of(IO_URING_CACHES) {
                spent.io_uring += grown;
            } else {
                spent.other += grown;
            }
        }
        spent
    }

    /// Two lines of header, then per cache: name, objects in use, objects, object size, objects per slab, pages per
    /// slab, and more. See slabinfo(5).
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if !lines.next()?.starts_with("slabinfo - version: 2.") {
            return None;
        }
        let mut caches = BTreeMap::new();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next()?;
            let numbers: Vec<u64> = fields.take(5).map_while(|field| field.parse().ok()).collect();
            let &[used, _, _, per_slab @ 1..=u64::MAX, pages] = numbers.as_slice() else { return None };
            caches.insert(name.to_owned(), used * pages * PAGE_LEN / per_slab);
        }
        Some(Self(caches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slab(tcp: u64, kiocb: u64, kmalloc: u64, other: u64) -> Slab {
        let text = format!(
            "slabinfo - version: 2.1\n\
             # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables\n\
             TCP {tcp} 200 2368 13 8 : tunables 0 0 0 : slabdata 10 10 0\n\
             io_kiocb {kiocb} 200 256 16 1 : tunables 0 0 0 : slabdata 10 10 0\n\
             kmalloc-64 {kmalloc} 640 64 64 1 : tunables 0 0 0 : slabdata 10 10 0\n\
             vm_area_struct {other} 200 160 16 1 : tunables 0 0 0 : slabdata 10 10 0\n"
        );
        Slab::parse(&text).unwrap()
    }

    #[test]
    fn growth_is_told_apart_by_what_it_is_for() {
        let spent = slab(26, 32, 64, 16).since(&slab(13, 16, 0, 32));
        assert_eq!(spent, Spent { sockets: 8 * 4096, io_uring: 2 * 4096, other: -4096 });
    }

    #[test]
    fn a_text_of_another_form_is_refused() {
        assert_eq!(Slab::parse(""), None);
        assert_eq!(Slab::parse("slabinfo - version: 2.1\nTCP 1 2\n"), None);
        assert_eq!(Slab::parse("slabinfo - version: 2.1\nTCP 1 2 3 0 1\n"), None);
    }
}
