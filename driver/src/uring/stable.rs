//! Tables of values whose addresses are known to the kernel while an operation runs.

use std::ptr::NonNull;

/// Values that stay where they are until they are removed, whatever happens to the table.
///
/// Each lives in an allocation of its own that is kept for the next tenant of its place.
#[derive(Debug)]
pub(super) struct Stable<T> {
    places: Vec<NonNull<T>>,
    free: Vec<u32>,
}

impl<T> Stable<T> {
    pub(super) fn new() -> Stable<T> {
        Stable { places: Vec::new(), free: Vec::new() }
    }

    /// Stores a value and returns its place.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            // SAFETY: the place is free: its allocation is ours alone and holds an older value.
            unsafe { *self.places[place as usize].as_ptr() = value };
            return place;
        }
        self.places.push(NonNull::from(Box::leak(Box::new(value))));
        self.places.len() as u32 - 1
    }

    /// Where a value lies; for the kernel, which may write there until the place is freed.
    pub(super) fn address(&self, place: u32) -> *mut T {
        self.places[place as usize].as_ptr()
    }

    /// A value, to be changed.
    ///
    /// # Safety
    /// No operation that knows the value's address may be running.
    pub(super) unsafe fn get_mut(&mut self, place: u32) -> &mut T {
        // SAFETY: the place holds an initialised value; the caller keeps the kernel away and the borrow everybody else.
        unsafe { self.places[place as usize].as_mut() }
    }

    /// Frees a place; its operation must be over.
    pub(super) fn free(&mut self, place: u32) {
        debug_assert!(!self.free.contains(&place), "a place is freed once");
        self.free.push(place);
    }

    /// Number of values stored.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

impl<T: Copy> Stable<T> {
    /// A copy of a value.
    ///
    /// # Safety
    /// No operation that makes the kernel write to the value may be running.
    pub(super) unsafe fn read(&self, place: u32) -> T {
        // SAFETY: the place holds an initialised value, and the caller keeps writers away.
        unsafe { self.places[place as usize].read() }
    }
}

impl<T> Drop for Stable<T> {
    fn drop(&mut self) {
        for &place in &self.places {
            // SAFETY: each allocation was made by `Box` in `insert` and is freed here only. The owner drops the table
            // only after every operation that knows an address of it is over.
            drop(unsafe { Box::from_raw(place.as_ptr()) });
        }
    }
}
