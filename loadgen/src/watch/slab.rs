//! Kernel memory by what it is for, from `/proc/slabinfo` (readable by root).
//!
//! A kernel is never still: caches grow and shrink for reasons of their own. Only what grew along with the sockets is
//! theirs, so a cache counts when it gained at least one object per `SHARE` TCP sockets, and by its name it is
//!
//! * **sockets**: `TCP`, `sock_inode_cache`, `filp`, `dentry` and the like. Of caches that files use too, at most one
//!   object per socket counts.
//! * **io_uring**: `io_kiocb`, one per armed operation, and the `kmalloc-*` classes: that is where io_uring takes the
//!   companions from (the node of each direct descriptor, poll entry and header of a multishot receive), while a TCP
//!   socket at rest takes nothing there.
//! * **other**: the rest.
//!
//! Connections being opened or ended (`request_sock_TCP`, `tw_sock_TCP`) belong to no live link and never count. An
//! object counts with its share of its slab's pages.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// All caches at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Slab(BTreeMap<String, Cache>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Cache {
    used: i64,
    object_len: f64,
}

/// Growth by kind, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// TCP sockets gained, whoever they belong to.
    pub count: i64,
    /// For sockets.
    pub sockets: f64,
    /// For operations of rings.
    pub io_uring: f64,
    /// What one idle link costs a ring that waits for it with a poll, as this process does: an `io_kiocb`, and the node
    /// of its direct descriptor.
    pub poll: f64,
    /// For anything else.
    pub other: f64,
}

/// A cache that gained fewer than one object per so many sockets grew for another reason.
const SHARE: i64 = 5;
const PAGE_LEN: f64 = 4096.0;

const TCP: [&str; 2] = ["TCP", "TCPv6"];
const SOCKET_CACHES: [&str; 2] = ["sock_inode_cache", "tcp_"];
const FILE_CACHES: [&str; 4] = ["filp", "dentry", "lsm_file_cache", "lsm_inode_cache"];
const IO_URING_CACHES: [&str; 2] = ["io_", "kmalloc-"];
const PASSING_CACHES: [&str; 2] = ["request_sock_", "tw_sock_"];

impl Slab {
    /// Reads the caches.
    ///
    /// # Errors
    /// `PermissionDenied` for anybody but root.
    pub fn read() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/slabinfo")?)
            .ok_or_else(|| io::Error::other("/proc/slabinfo has another form than expected"))
    }

    /// What has grown since `earlier` along with the sockets.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Spent {
        let gained =
            |name: &str, cache: &Cache| cache.used - earlier.0.get(name).map_or(0, |cache| cache.used);
        let count = TCP.iter().filter_map(|&name| Some(gained(name, self.0.get(name)?))).sum();
        let len = |name: &str| self.0.get(name).map_or(0.0, |cache| cache.object_len);
        let mut spent = Spent { count, poll: len("io_kiocb") + len("kmalloc-32"), ..Spent::default() };
        for (name, cache) in &self.0 {
            let objects = gained(name, cache);
            let is_one_of = |caches: &[&str]| caches.iter().any(|cache| name.starts_with(cache));
            if objects * SHARE < count.max(1) || is_one_of(&PASSING_CACHES) {
                continue;
            }
            let bytes = |objects: i64| objects as f64 * cache.object_len;
            if TCP.contains(&name.as_str()) || is_one_of(&SOCKET_CACHES) {
                spent.sockets += bytes(objects);
            } else if is_one_of(&FILE_CACHES) {
                spent.sockets += bytes(objects.min(count));
            } else if is_one_of(&IO_URING_CACHES) {
                spent.io_uring += bytes(objects);
            } else {
                spent.other += bytes(objects);
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
            let numbers: Vec<i64> = fields.take(5).map_while(|field| field.parse().ok()).collect();
            let &[used, _, _, per_slab @ 1..=i64::MAX, pages] = numbers.as_slice() else { return None };
            let object_len = pages as f64 * PAGE_LEN / per_slab as f64;
            caches.insert(name.to_owned(), Cache { used, object_len });
        }
        Some(Self(caches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects in use of five caches, whose objects have 256 bytes each.
    fn slab([tcp, dentry, kiocb, kmalloc, page]: [u32; 5], passing: u32) -> Slab {
        let rest = "300 256 16 1 : tunables 0 0 0 : slabdata 10 10 0";
        let text = format!(
            "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>\n\
             TCP {tcp} {rest}\ndentry {dentry} {rest}\nio_kiocb {kiocb} {rest}\nkmalloc-64 {kmalloc} {rest}\n\
             radix_tree_node {page} {rest}\ntw_sock_TCP {passing} {rest}\n"
        );
        Slab::parse(&text).unwrap()
    }

    #[test]
    fn growth_along_with_the_sockets_is_told_apart_by_what_it_is_for() {
        let spent = slab([116, 120, 100, 50, 20], 0).since(&slab([16, 20, 0, 0, 0], 0));
        let want = Spent { count: 100, sockets: 51_200.0, io_uring: 38_400.0, poll: 256.0, other: 5120.0 };
        assert_eq!(spent, want);
    }

    #[test]
    fn what_files_take_and_what_moves_a_little_or_passes_is_left_out() {
        let spent = slab([100, 900, 3, 12, 12], 500).since(&slab([0; 5], 0));
        assert_eq!(spent, Spent { count: 100, sockets: 51_200.0, poll: 256.0, ..Spent::default() });
    }

    #[test]
    fn a_text_of_another_form_is_refused() {
        assert_eq!(Slab::parse(""), None);
        assert_eq!(Slab::parse("slabinfo - version: 2.1\nTCP 1 2\n"), None);
        assert_eq!(Slab::parse("slabinfo - version: 2.1\nTCP 1 2 3 0 1\n"), None);
    }
}
