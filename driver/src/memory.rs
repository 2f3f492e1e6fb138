//! Memory with a special need: prefaulted, page-aligned, kept out of core dumps.

use std::io;
use std::ptr::{self, NonNull};

/// An anonymous mapping, zeroed, prefaulted and left out of core dumps.
///
/// Receive buffers live here: they hold plaintext once records are opened in place, and without prefaulting
/// their pages would be billed to the first links that happen to use them.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    len: usize,
}

impl Region {
    /// Maps at least `len` bytes (rounded up to whole pages).
    pub(crate) fn new(len: usize) -> io::Result<Region> {
        let len = len.max(1).next_multiple_of(page_size());
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is the mapping just made; the advice changes what a dump contains, not the memory.
        // A kernel that refuses it costs nothing but larger dumps.
        unsafe { libc::madvise(start, len, libc::MADV_DONTDUMP) };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Region { start, len })
    }

    /// Where the mapping begins; page-aligned.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are exactly the mapping made in `new`, and nobody else unmaps it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Keeps what a vector has room for out of core dumps, for tables that hold keys.
///
/// Only whole pages inside the allocation are affected, so that neighbours on the heap stay visible to a debugger.
/// The advice is lost when the vector grows: reserve first.
///
/// # Errors
/// What `madvise` says; the memory is unchanged either way.
pub fn hide_from_dumps<T>(room: &mut Vec<T>) -> io::Result<()> {
    let page = page_size();
    let start = room.as_mut_ptr() as usize;
    let end = start + room.capacity() * size_of::<T>();
    let (first, last) = (start.next_multiple_of(page), end - end % page);
    if first >= last {
        return Ok(());
    }
    // SAFETY: the range lies within the vector's own allocation, and the advice leaves every byte as it is.
    let done = unsafe { libc::madvise(first as *mut libc::c_void, last - first, libc::MADV_DONTDUMP) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes of a page of memory.
#[must_use]
pub fn page_size() -> usize {
    // SAFETY: sysconf reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_zeroed_page_aligned_and_writable() {
        let region = Region::new(10_000).unwrap();
        let start = region.start();
        assert_eq!(start.as_ptr() as usize % page_size(), 0);
        // SAFETY: the region is at least 10,000 bytes long and nobody else refers to it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), 10_000) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        bytes.fill(7);
    }

    #[test]
    fn what_is_hidden_is_left_alone_and_left_out() {
        let mut table = vec![0xA5_u8; 3 * page_size()];
        hide_from_dumps(&mut table).unwrap();
        assert!(table.iter().all(|&byte| byte == 0xA5));
        assert!(is_left_out(table.as_ptr() as usize + 2 * page_size() - 1), "a page in the middle");
        let mut small = vec![1_u8, 2, 3];
        hide_from_dumps(&mut small).unwrap();
        hide_from_dumps(&mut Vec::<u64>::new()).unwrap();
    }

    /// Whether the kernel leaves the page of this address out of core dumps: flag `dd` of proc_pid_smaps(5).
    fn is_left_out(address: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bounds =
                range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
            if let Some((Ok(from), Ok(to))) = bounds {
                inside = (from..to).contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                return flags.split(' ').any(|flag| flag == "dd");
            }
        }
        panic!("{address:x} is mapped")
    }
}
