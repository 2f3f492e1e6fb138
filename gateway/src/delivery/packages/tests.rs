//! Rule by rule, and against a plain list of what each package has got.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const WAIT: Duration = Duration::from_secs(1);
const LIMITS: Limits =
    Limits { wait: WAIT, session_packages: 3, session_parts: 6, session_bytes: 60, parts: 8, bytes: 70 };

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn spot(id: &[u8], index: u32, count: u32, on_gap: u32) -> Spot {
    Spot::of(&Said { id, index, count, on_gap })
}

/// A worker with one session.
struct Stage {
    packages: Packages<u32>,
    held: Held,
    now: u64,
}

impl Stage {
    fn new() -> Self {
        Self { packages: Packages::new(LIMITS), held: Held::default(), now: 0 }
    }

    /// A part that is its index, of a package of four that is kept.
    fn place(&mut self, index: u32, on_gap: u32) -> Result<bool, Undelivered> {
        self.place_of(spot(b"p", index, 4, on_gap), true)
    }

    fn place_of(&mut self, spot: Spot, is_kept: bool) -> Result<bool, Undelivered> {
        self.packages.place(&mut self.held, (&spot, is_kept), (spot.index, 10), at(self.now))
    }

    /// What waits no more: its index, the gap before it, and whether it is lost.
    fn released(&mut self) -> Vec<(u32, u32, bool)> {
        let Self { packages, held, .. } = self;
        let released = std::iter::from_fn(|| packages.next(held));
        released.map(|released| (released.part, released.gap, released.is_lost)).collect()
    }

    fn pass(&mut self, millis: u64) -> Vec<(u32, u32, bool)> {
        self.now += millis;
        self.packages.expire(&mut self.held, at(self.now));
        self.released()
    }
}

#[test]
fn parts_leave_in_the_order_of_their_index_and_nothing_is_left_of_their_package() {
    let mut stage = Stage::new();
    assert_eq!((stage.place(2, 0), stage.place(1, 0), stage.released()), (Ok(false), Ok(false), vec![]));
    assert_eq!((stage.place(0, 0), stage.released()), (Ok(true), vec![(1, 0, false), (2, 0, false)]));
    assert_eq!((stage.place(3, 0), stage.released()), (Ok(true), vec![]));
    assert!(stage.held.is_empty() && stage.packages.census() == (0, 0));
    assert_eq!(stage.place_of(spot(b"q", 0, 1, 0), true), Ok(true), "one alone waits for nobody");
    assert!(stage.held.is_empty());
}

#[test]
fn when_the_time_is_over_what_is_there_leaves_behind_the_gap_or_is_lost() {
    for (on_gap, expected) in [
        (0, [(1, 1, false), (3, 1, false)]),
        (7, [(1, 1, false), (3, 1, false)]),
        (1, [(1, 0, true), (3, 0, true)]),
    ] {
        let mut stage = Stage::new();
        assert_eq!((stage.place(3, on_gap), stage.place(1, on_gap)), (Ok(false), Ok(false)));
        assert_eq!(stage.packages.next_deadline(&stage.held), Some(at(1000)));
        assert_eq!((stage.pass(999), stage.pass(1)), (vec![], expected.to_vec()), "{on_gap}");
        assert_eq!(stage.place(2, on_gap), Err(Undelivered::Gap), "its client was told that it is missing");
        assert_eq!((stage.pass(1000), stage.held.is_empty()), (vec![], true), "and then it is forgotten");
    }
}

#[test]
fn what_does_not_fit_to_its_package_is_malformed_and_changes_nothing() {
    let mut stage = Stage::new();
    assert_eq!((stage.place(0, 0), stage.place(2, 0)), (Ok(true), Ok(false)));
    for wrong in [spot(b"p", 0, 4, 0), spot(b"p", 2, 4, 0), spot(b"p", 3, 5, 0)] {
        assert_eq!(stage.place_of(wrong, true), Err(Undelivered::Malformed), "{wrong:?}");
    }
    assert_eq!(stage.place_of(spot(b"p", 3, 4, 0), false), Err(Undelivered::Malformed), "of another class");
    assert_eq!((stage.place(1, 0), stage.released()), (Ok(true), vec![(2, 0, false)]));
}

#[test]
fn a_session_has_only_so_many_packages_parts_and_bytes_and_who_is_in_its_turn_needs_no_room() {
    let mut stage = Stage::new();
    for index in 1..=6 {
        assert_eq!(stage.place_of(spot(b"a", index, 20, 0), true), Ok(false));
    }
    assert_eq!(stage.place_of(spot(b"a", 7, 20, 0), true), Err(Undelivered::QueueFull));
    assert_eq!((stage.place_of(spot(b"a", 0, 20, 0), true), stage.released().len()), (Ok(true), 6));
    assert_eq!(stage.place_of(spot(b"b", 1, 2, 0), true), Ok(false));
    assert_eq!(stage.place_of(spot(b"c", 1, 2, 0), true), Ok(false));
    assert_eq!(stage.place_of(spot(b"d", 0, 2, 0), true), Err(Undelivered::QueueFull));
    stage.pass(1000);
    assert_eq!(stage.place_of(spot(b"d", 0, 2, 0), true), Ok(true), "one that is only remembered makes room");
    let long = (spot(b"d", 1, 2, 0), true);
    assert_eq!(stage.packages.place(&mut stage.held, (&long.0, true), (1, 61), at(stage.now)), Ok(true));
    let long = spot(b"e", 1, 2, 0);
    let placed = stage.packages.place(&mut stage.held, (&long, true), (1, 61), at(stage.now));
    assert_eq!(placed, Err(Undelivered::QueueFull), "more bytes than a session may have wait");
}

#[test]
fn of_a_session_that_ends_or_moves_packages_are_taken_out_by_their_class() {
    let mut stage = Stage::new();
    assert_eq!(stage.place_of(spot(b"k", 2, 9, 0), true), Ok(false));
    assert_eq!(stage.place_of(spot(b"n", 5, 9, 0), false), Ok(false));
    assert!(stage.packages.kept(&stage.held).eq([&2]));
    assert_eq!(stage.packages.take_out(&mut stage.held, false), Some(5));
    assert_eq!(stage.packages.take_out(&mut stage.held, false), None);
    let packed = stage.packages.pack(&mut stage.held, |part| part);
    assert!(stage.held.is_empty() && stage.packages.census() == (0, 0) && stage.packages.fits(&packed));
    // Meanwhile the part in front has come to where it goes.
    assert_eq!(stage.place_of(spot(b"k", 0, 9, 0), true), Ok(true));
    assert_eq!(stage.place_of(spot(b"k", 1, 9, 0), true), Ok(true));
    let Stage { packages, held, .. } = &mut stage;
    packages.unpack(held, packed, Some, |part| panic!("{part} has its place"));
    assert_eq!(stage.released(), [(2, 0, false)]);
}

/// What has come of one package.
#[derive(Default)]
struct Model {
    next: u32,
    waiting: BTreeSet<u32>,
    /// When its time is over, and whether it is.
    end: Option<u64>,
    is_over: bool,
}

const COUNTS: [u32; 3] = [3, 5, 7];

proptest! {
    /// No part is released twice, none out of its order, each gap is as long as what is missing, and what waits keeps its bounds. Over moves too.
    #[test]
    fn behaves_like_lists(steps in prop::collection::vec((0..6u8, 0..3usize, 0..7u32, 0..700u64), 1..150)) {
        let (mut stage, mut model) = (Stage::new(), BTreeMap::<usize, Model>::new());
        for (kind, which, index, millis) in steps {
            let (count, drops) = (COUNTS[which], which == 1);
            match kind {
                0..=3 if index < count => {
                    let waiting: usize = model.values().map(|package| package.waiting.len()).sum();
                    let package = model.entry(which).or_default();
                    let end = *package.end.get_or_insert(stage.now + 1000);
                    let expected = if package.is_over {
                        Err(Undelivered::Gap)
                    } else if index < package.next || package.waiting.contains(&index) {
                        Err(Undelivered::Malformed)
                    } else if index == package.next {
                        Ok(true)
                    } else if waiting == 6 {
                        Err(Undelivered::QueueFull)
                    } else {
                        Ok(false)
                    };
                    prop_assert!(end > stage.now || package.is_over);
                    let id = [which as u8];
                    prop_assert_eq!(stage.place_of(spot(&id, index, count, drops.into()), true), expected);
                    match expected {
                        Ok(true) => package.next += 1,
                        Ok(false) => _ = package.waiting.insert(index),
                        Err(_) => {}
                    }
                    let mut released = Vec::new();
                    while package.waiting.remove(&package.next) {
                        released.push((package.next, 0, false));
                        package.next += 1;
                    }
                    prop_assert_eq!(stage.released(), released);
                    if package.next == count && !package.is_over {
                        model.remove(&which);
                    }
                }
                4 => {
                    stage.now += millis;
                    let mut expected = Vec::new();
                    let now = stage.now;
                    model.retain(|_, package| {
                        let is_due = package.end.is_some_and(|end| end <= now);
                        let is_forgotten = is_due && package.is_over;
                        if is_due && !package.is_over {
                            (package.is_over, package.end) = (true, Some(now + 1000));
                        }
                        !is_forgotten
                    });
                    for (which, package) in model.iter_mut().filter(|(_, package)| package.is_over) {
                        for index in std::mem::take(&mut package.waiting) {
                            let gap = if *which == 1 { 0 } else { index - package.next };
                            expected.push((index, gap, *which == 1));
                            package.next = index + 1;
                        }
                    }
                    let mut released = stage.pass(0);
                    released.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(released, expected);
                }
                5 => {
                    let Stage { packages, held, .. } = &mut stage;
                    let packed = packages.pack(held, |part| part);
                    prop_assert_eq!(packages.census(), (0, 0));
                    prop_assert!(packages.fits(&packed));
                    packages.unpack(held, packed, Some, |part| panic!("{part} had its place"));
                    prop_assert!(packages.next(held).is_none());
                }
                _ => {}
            }
            let waiting: usize = model.values().map(|package| package.waiting.len()).sum();
            prop_assert_eq!(stage.packages.census(), (waiting, waiting * 10));
            let end = model.values().filter_map(|package| package.end).min().map(at);
            prop_assert_eq!(stage.packages.next_deadline(&stage.held), end);
        }
        while stage.packages.take_out(&mut stage.held, true).is_some() {}
        prop_assert!(stage.held.is_empty() && stage.packages.census() == (0, 0));
    }
}
