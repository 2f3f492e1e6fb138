//! Packages: parts that come in any order, maybe over several streams, and are delivered in the order of their index.
//!
//! ```text
//!                      ┌ in its turn ────────────────────────────────► delivered, and those behind it that wait
//! part ──► its package │
//!                      └ ahead of others ──► waits ─┬ they come ─────► delivered in its turn
//!                                                   └ time is over ──► delivered behind the gap, or lost
//! ```
//!
//! A package begins with the first of its parts that comes, and is over when all have come or its time has passed. One whose time has passed
//! is remembered for as long again: what is late fills no hole that its client was told of. Nothing here knows a body or a clock; a
//! part is whatever it is for the caller.

use std::time::Duration;

use protocol::limits::PACKAGE_ID_LEN_MAX;
use protocol::wire::stream::Package as Said;
use protocol::{Time, Undelivered};

use crate::collections::Slab;

/// What bounds the packages of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a package waits for its parts.
    pub wait: Duration,
    /// Packages of one session.
    pub session_packages: u32,
    /// Parts of one session that wait.
    pub session_parts: u32,
    /// Bytes of memory of them.
    pub session_bytes: usize,
    /// Parts of all sessions that wait, and packages.
    pub parts: u32,
    /// Bytes of memory of these parts.
    pub bytes: usize,
}

/// Which part of which package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    id: PackageId,
    index: u32,
    count: u32,
    /// Whether those that wait are lost when the time is over.
    drops: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackageId {
    len: u8,
    /// Zeros behind its length.
    bytes: [u8; PACKAGE_ID_LEN_MAX],
}

/// The packages of all sessions of a worker, of parts that are `T` for it.
#[derive(Debug)]
pub struct Packages<T> {
    packages: Slab<Package>,
    parts: Slab<Part<T>>,
    bytes: usize,
    limits: Limits,
}

/// Those of one session.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    first: u32,
    packages: u32,
    parts: u32,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Package {
    id: PackageId,
    count: u32,
    /// Index of the part that is in its turn.
    next: u32,
    drops: bool,
    /// Whether its parts are kept for the session until they are taken.
    is_kept: bool,
    /// Whether its time has passed.
    is_over: bool,
    /// In milliseconds: of its time, or of its being remembered.
    end: u64,
    /// Its first part that waits; in the order of the index.
    first: u32,
    /// The session's next package.
    after: u32,
}

#[derive(Clone, Copy, Debug)]
struct Part<T> {
    index: u32,
    bytes: usize,
    after: u32,
    part: T,
}

/// A part that waits no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released<T> {
    /// The part.
    pub part: T,
    /// How many before it are missing for good.
    pub gap: u32,
    /// Whether it is not delivered, as some are missing.
    pub is_lost: bool,
    /// Whether it is kept until it is taken.
    pub is_kept: bool,
}

/// A package on its way to another worker.
#[derive(Debug)]
pub struct Packed<T> {
    package: Package,
    /// Its parts that wait, by index, with their bytes of memory.
    pub parts: Vec<(u32, usize, T)>,
}

impl Spot {
    /// As a backend says it; its id has at most 16 bytes.
    #[must_use]
    pub fn of(said: &Said<'_>) -> Self {
        let mut bytes = [0; PACKAGE_ID_LEN_MAX];
        let len = said.id.len().min(PACKAGE_ID_LEN_MAX);
        bytes[..len].copy_from_slice(&said.id[..len]);
        let id = PackageId { len: len as u8, bytes };
        Self { id, index: said.index, count: said.count, drops: said.drops_on_gap() }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self { first: NOBODY, packages: 0, parts: 0, bytes: 0 }
    }
}

impl Held {
    /// Whether there is no package.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first == NOBODY
    }
}

impl<T: Copy> Packages<T> {
    /// None, within these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { packages: Slab::new(limits.parts), parts: Slab::new(limits.parts), bytes: 0, limits }
    }

    /// A part comes, which takes so many bytes of memory while it waits. Whether it is in its turn: then it is the caller's, and it may have
    /// been what others waited for, which [`Packages::next`] gives out.
    ///
    /// # Errors
    /// [`Undelivered::Gap`] where the time of its package has passed; [`Undelivered::Malformed`] where it does not fit to what its package is
    /// or that part was there before; [`Undelivered::QueueFull`] where there is no room for it to wait.
    pub fn place(
        &mut self,
        held: &mut Held,
        (spot, is_kept): (&Spot, bool),
        (part, bytes): (T, usize),
        now: Time,
    ) -> Result<bool, Undelivered> {
        if spot.count == 1 {
            return Ok(true);
        }
        let at = match self.find(held, spot.id) {
            Some(at) => at,
            None => self.begin(held, spot, is_kept, now)?,
        };
        let Some(package) = self.package(at).copied() else { return Err(Undelivered::QueueFull) };
        if package.is_over {
            return Err(Undelivered::Gap);
        }
        if package.count != spot.count || package.is_kept != is_kept || spot.index < package.next {
            return Err(Undelivered::Malformed);
        }
        if spot.index == package.next {
            self.advance(held, at, spot.index + 1);
            return Ok(true);
        }
        self.wait(held, at, spot.index, (part, bytes)).map(|()| false)
    }

    /// A part of the session that waits no more; called until `None`.
    pub fn next(&mut self, held: &mut Held) -> Option<Released<T>> {
        let mut at = held.first;
        while let Some(&package) = self.package(at) {
            let index = self.parts.at(package.first).map(|(_, part)| part.index);
            if let Some(index) = index.filter(|&index| index == package.next || package.is_over) {
                let part = self.pop(held, at)?;
                let is_lost = package.is_over && package.drops;
                let gap = if is_lost { 0 } else { index - package.next };
                self.advance(held, at, index + 1);
                return Some(Released { part, gap, is_lost, is_kept: package.is_kept });
            }
            at = package.after;
        }
        None
    }

    /// Time passes: [`Packages::next`] gives out what waits in packages whose time is over.
    pub fn expire(&mut self, held: &mut Held, now: Time) {
        let mut at = held.first;
        while let Some(&package) = self.package(at) {
            if package.end <= now.as_millis() {
                if package.is_over && package.first == NOBODY {
                    self.remove(held, at);
                } else {
                    let end = (now + self.limits.wait).as_millis();
                    if let Some(package) = self.package_mut(at) {
                        (package.is_over, package.end) = (true, end);
                    }
                }
            }
            at = package.after;
        }
    }

    /// When [`Packages::expire`] is next worth calling for a session.
    #[must_use]
    pub fn next_deadline(&self, held: &Held) -> Option<Time> {
        let end = self.chain(held).map(|package| package.end).min()?;
        Some(Time::from_nanos(end.saturating_mul(1_000_000)))
    }

    /// Takes out a part of those packages that are kept, or of those that are not; called until `None`, when these packages are gone too.
    pub fn take_out(&mut self, held: &mut Held, is_kept: bool) -> Option<T> {
        let mut at = held.first;
        while let Some(&package) = self.package(at) {
            if package.is_kept == is_kept {
                match self.pop(held, at) {
                    Some(part) => return Some(part),
                    None => self.remove(held, at),
                }
            }
            at = package.after;
        }
        None
    }

    /// The parts that wait in packages that are kept.
    pub fn kept(&self, held: &Held) -> impl Iterator<Item = &T> {
        let firsts = self.chain(held).filter(|package| package.is_kept).map(|package| package.first);
        firsts.flat_map(move |mut at| {
            std::iter::from_fn(move || {
                let (_, part) = self.parts.at(at)?;
                at = part.after;
                Some(&part.part)
            })
        })
    }

    /// Takes all packages of a session out of here.
    pub fn pack<U>(&mut self, held: &mut Held, mut carry: impl FnMut(T) -> U) -> Vec<Packed<U>> {
        let mut packed = Vec::with_capacity(held.packages as usize);
        while let Some(&package) = self.package(held.first) {
            let (mut parts, at) = (Vec::new(), held.first);
            while let Some(&Part { index, bytes, .. }) =
                self.package(at).and_then(|package| self.part(package.first))
                && let Some(part) = self.pop(held, at)
            {
                parts.push((index, bytes, carry(part)));
            }
            self.remove(held, at);
            packed.push(Packed { package, parts });
        }
        packed
    }

    /// Whether there is room for these.
    #[must_use]
    pub fn fits<U>(&self, packed: &[Packed<U>]) -> bool {
        let parts: usize = packed.iter().map(|package| package.parts.len()).sum();
        let bytes: usize = packed.iter().flat_map(|package| &package.parts).map(|(_, bytes, _)| bytes).sum();
        let most = self.limits.parts as usize;
        self.packages.len() + packed.len() <= most
            && self.parts.len() + parts <= most
            && self.bytes + bytes <= self.limits.bytes
    }

    /// Puts packages of a session in here that [fit](Packages::fits). One that is here as well goes on where either has got to; what of it
    /// has come twice, or is behind that, is given to `lose`.
    pub fn unpack<U>(
        &mut self,
        held: &mut Held,
        packed: Vec<Packed<U>>,
        mut put: impl FnMut(U) -> Option<T>,
        mut lose: impl FnMut(T),
    ) {
        for Packed { package, parts } in packed {
            let here = self.find(held, package.id).filter(|&at| {
                self.package(at)
                    .is_some_and(|here| (here.is_kept, here.count) == (package.is_kept, package.count))
            });
            let Some(at) = here.or_else(|| self.add(held, package).ok()) else { continue };
            if let Some(here) = self.package_mut(at) {
                here.next = here.next.max(package.next);
                here.is_over |= package.is_over;
                here.end = here.end.min(package.end);
            }
            for (index, bytes, part) in parts {
                let Some(part) = put(part) else { continue };
                let is_ahead = self.package(at).is_some_and(|here| index >= here.next);
                if !is_ahead || self.wait(held, at, index, (part, bytes)).is_err() {
                    lose(part);
                }
            }
        }
    }

    /// How many parts wait, and their bytes of memory.
    #[must_use]
    pub fn census(&self) -> (usize, usize) {
        (self.parts.len(), self.bytes)
    }

    fn begin(&mut self, held: &mut Held, spot: &Spot, is_kept: bool, now: Time) -> Result<u32, Undelivered> {
        if held.packages >= self.limits.session_packages {
            self.forget_one(held);
        }
        if held.packages >= self.limits.session_packages {
            return Err(Undelivered::QueueFull);
        }
        let Spot { id, count, drops, .. } = *spot;
        let end = (now + self.limits.wait).as_millis();
        self.add(
            held,
            Package { id, count, next: 0, drops, is_kept, is_over: false, end, first: NOBODY, after: NOBODY },
        )
    }

    fn add(&mut self, held: &mut Held, package: Package) -> Result<u32, Undelivered> {
        let package = Package { first: NOBODY, after: held.first, ..package };
        let key = self.packages.insert(package).map_err(|_| Undelivered::QueueFull)?;
        held.first = key.index;
        held.packages += 1;
        Ok(key.index)
    }

    /// A package whose time has passed and of which nothing waits makes room.
    fn forget_one(&mut self, held: &mut Held) {
        let mut at = held.first;
        while let Some(&package) = self.package(at) {
            if package.is_over && package.first == NOBODY {
                return self.remove(held, at);
            }
            at = package.after;
        }
    }

    /// A part waits, in the order of the index.
    fn wait(
        &mut self,
        held: &mut Held,
        at: u32,
        index: u32,
        (part, bytes): (T, usize),
    ) -> Result<(), Undelivered> {
        let limits = &self.limits;
        let is_full = held.parts >= limits.session_parts
            || held.bytes + bytes > limits.session_bytes
            || self.bytes + bytes > limits.bytes;
        let first = self.package(at).map_or(NOBODY, |package| package.first);
        let (mut before, mut after) = (NOBODY, first);
        while let Some(part) = self.part(after).filter(|part| part.index < index) {
            (before, after) = (after, part.after);
        }
        if self.part(after).is_some_and(|part| part.index == index) {
            return Err(Undelivered::Malformed);
        }
        let entry = Part { index, bytes, after, part };
        let key = Some(entry).filter(|_| !is_full).and_then(|entry| self.parts.insert(entry).ok());
        let key = key.ok_or(Undelivered::QueueFull)?;
        match self.part_mut(before) {
            Some(before) => before.after = key.index,
            None => {
                if let Some(package) = self.package_mut(at) {
                    package.first = key.index;
                }
            }
        }
        held.parts += 1;
        held.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// The first part of a package that waits.
    fn pop(&mut self, held: &mut Held, at: u32) -> Option<T> {
        let (key, part) = self.parts.at(self.package(at)?.first).map(|(key, part)| (key, *part))?;
        self.parts.remove(key);
        if let Some(package) = self.package_mut(at) {
            package.first = part.after;
        }
        held.parts -= 1;
        held.bytes -= part.bytes;
        self.bytes -= part.bytes;
        Some(part.part)
    }

    /// A package has got to a part; it is gone with its last one.
    fn advance(&mut self, held: &mut Held, at: u32, next: u32) {
        let Some(package) = self.package_mut(at) else { return };
        package.next = next;
        if package.next >= package.count && !package.is_over {
            self.remove(held, at);
        }
    }

    fn remove(&mut self, held: &mut Held, at: u32) {
        let Some((key, after)) = self.packages.at(at).map(|(key, package)| (key, package.after)) else {
            return;
        };
        if held.first == at {
            held.first = after;
        } else {
            let mut before = held.first;
            while let Some(package) = self.package_mut(before) {
                if package.after == at {
                    package.after = after;
                    break;
                }
                before = package.after;
            }
        }
        self.packages.remove(key);
        held.packages -= 1;
    }

    fn find(&self, held: &Held, id: PackageId) -> Option<u32> {
        let mut at = held.first;
        while let Some(package) = self.package(at) {
            if package.id == id {
                return Some(at);
            }
            at = package.after;
        }
        None
    }

    fn chain(&self, held: &Held) -> impl Iterator<Item = &Package> {
        let mut at = held.first;
        std::iter::from_fn(move || {
            let package = self.package(at)?;
            at = package.after;
            Some(package)
        })
    }

    fn package(&self, at: u32) -> Option<&Package> {
        self.packages.at(at).map(|(_, package)| package)
    }

    fn package_mut(&mut self, at: u32) -> Option<&mut Package> {
        let key = self.packages.at(at)?.0;
        self.packages.get_mut(key)
    }

    fn part(&self, at: u32) -> Option<&Part<T>> {
        self.parts.at(at).map(|(_, part)| part)
    }

    fn part_mut(&mut self, at: u32) -> Option<&mut Part<T>> {
        let key = self.parts.at(at)?.0;
        self.parts.get_mut(key)
    }
}

/// No package, or no part.
const NOBODY: u32 = u32::MAX;

const _: () = assert!(size_of::<Package>() <= 48, "the memory ceiling counts 64 bytes for a package");

#[cfg(test)]
mod tests;
