//! Memory with a special need: prefaulted, page-aligned, kept out of core dumps.

use std::fs;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

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

/// Leaves all memory of this process out of its core dumps from now on, and of those of processes it starts: what is left
/// are the notes, with the registers of each thread. Doing it again changes nothing.
///
/// It belongs to the whole address space, whichever thread asks, and outlasts fork and exec (core(5)).
///
/// # Errors
/// What the system says: `NotFound` without /proc, or on a kernel that makes no core dumps.
pub fn withhold_from_dumps() -> io::Result<()> {
    withhold(DUMP_FILTER, &FORMER_FILTER)
}

/// Core dumps hold again what they held before [`withhold_from_dumps`], but for what is hidden page by page.
///
/// # Errors
/// What the system says.
pub fn allow_in_dumps() -> io::Result<()> {
    allow(DUMP_FILTER, &FORMER_FILTER)
}

/// Which kinds of mappings are dumped, a bit each, in hex.
const DUMP_FILTER: &str = "/proc/self/coredump_filter";
/// What it was at first. One process has one filter, so one place to remember it in.
static FORMER_FILTER: OnceLock<String> = OnceLock::new();

fn withhold(filter: &str, former: &OnceLock<String>) -> io::Result<()> {
    let found = fs::read_to_string(filter)?;
    former.get_or_init(|| found.trim().to_owned());
    fs::write(filter, "0")
}

fn allow(filter: &str, former: &OnceLock<String>) -> io::Result<()> {
    // It is read as hex only with the prefix, and shown without it.
    former.get().map_or(Ok(()), |bits| fs::write(filter, format!("0x{bits}")))
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

    #[test]
    fn what_was_withheld_is_allowed_again_as_it_was_at_first() {
        let filter = std::env::temp_dir().join(format!("coredump-filter-{}", std::process::id()));
        let path = filter.to_str().expect("a plain path");
        let former = OnceLock::new();
        let missing = withhold(path, &former).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        allow(path, &former).expect("nothing to undo");
        fs::write(path, "00000033\n").unwrap();
        withhold(path, &former).unwrap();
        withhold(path, &former).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "0");
        allow(path, &former).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "0x00000033");
        fs::remove_file(filter).unwrap();
    }

    #[test]
    fn the_kernel_takes_it_for_the_whole_process() {
        let bits = || {
            let found = fs::read_to_string(DUMP_FILTER).expect("Linux has it");
            u32::from_str_radix(found.trim(), 16).expect("hex")
        };
        let before = bits();
        std::thread::spawn(|| withhold_from_dumps().unwrap()).join().unwrap();
        assert_eq!(bits(), 0, "whichever thread asked");
        allow_in_dumps().unwrap();
        assert_eq!(bits(), before);
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
