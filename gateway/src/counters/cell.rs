//! One number with one writer, and families of them, one for each value of a label.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number with one writer.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only the owning worker may call this: two writers would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away, of a gauge. Only the owning worker may call this.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets it. Only the owning worker may call this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Its value now.
    #[must_use]
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A closed set of values a family is split by.
pub trait Label {
    /// Name of the label.
    const LABEL: &'static str;
    /// How it is called in metrics.
    fn names() -> Vec<&'static str>;
    /// Its place in [`Label::names`].
    fn index(&self) -> usize;
}

/// One [`Cell`] per value of a label.
#[derive(Debug)]
pub struct Family<L> {
    cells: Box<[Cell]>,
    label: std::marker::PhantomData<fn(L)>,
}

impl<L: Label> Default for Family<L> {
    fn default() -> Self {
        Self { cells: L::names().iter().map(|_| Cell::default()).collect(), label: std::marker::PhantomData }
    }
}

impl<L: Label> Family<L> {
    /// Shows the name and value of each cell.
    pub fn each(&self, mut show: impl FnMut(&'static str, u64)) {
        for (name, cell) in L::names().into_iter().zip(&self.cells) {
            show(name, cell.get());
        }
    }

    /// The cell of one value.
    #[must_use]
    #[inline]
    pub fn of(&self, value: L) -> &Cell {
        &self.cells[value.index()]
    }
}
