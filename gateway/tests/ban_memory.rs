//! What bans take, counted at the allocator and held against the ceiling that `gateway check` prints. The dearest are single
//! addresses of IPv6 that have nothing in common, each with an end and the longest reason.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicIsize, Ordering};

use gateway::admission::lists::{Author, Ban, Bans, Block, Prefixes, REASON_LEN_MAX, Subject};
use gateway::collections::HashKey;
use gateway::config::{Ceiling, Config, Development, Machine, Secret};
use protocol::{Time, UnixMillis};

/// Bans of the default config.
const BANS: usize = 65_536;

#[test]
fn the_ceiling_holds_for_the_dearest_bans_however_many_there_are() {
    let with = Development {
        listen: None,
        workers: Some(1),
        exempt: true,
        server: Secret::new([3; 32]),
        tickets: None,
        service: "/tmp/service.sock".into(),
        admin: None,
        http: None,
    };
    let machine = Machine { cpus: vec![0], open_files: 1024, memory: 0 };
    let config = Config::development(with, &machine).expect("the config of development is sound");
    assert_eq!(config.lists.bans, BANS);
    let ceiling = Ceiling::of(&config);
    let part = ceiling.parts.iter().find(|(name, _)| *name == "bans").expect("it is one of them");

    let (before, hash) = (live(), HashKey::new([7; 16]));
    let mut bans = Bans::new(BANS);
    let mut most = 0;
    for number in 0..BANS as u64 {
        let [high, low] = [0, 1].map(|half| hash.hash(&(2 * number + half).to_le_bytes()));
        let address = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
        let ban = Ban {
            end: Time::from_nanos((1 << 60) + number),
            until: Some(UnixMillis(1 << 50)),
            since: UnixMillis(0),
            by: Author::Operator(0),
            reason: "x".repeat(REASON_LEN_MAX),
        };
        bans.set(Subject::Addresses(Block::of(address.into())), ban, Time::ZERO).expect("there is room");
        // Tables double, and are emptiest then: those of the list are looked at on the way there.
        if number.is_multiple_of(5000) || number + 1 == BANS as u64 {
            // Workers hold the former list for a while yet.
            let lists: [Prefixes; 2] = [bans.prefixes(false), bans.prefixes(false)];
            most = most.max(live() - before);
            drop(lists);
        }
    }
    let most = u64::try_from(most).expect("more than there was before");
    assert!(most <= part.1, "{most} B of {}", part.1);
    assert!(most >= part.1 / 2, "the ceiling is not much more than that: {most} B of {}", part.1);
}

/// Bytes that are in use.
fn live() -> isize {
    LIVE.load(Ordering::Relaxed)
}

static LIVE: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, which counts what is in use.
struct Counting;

// SAFETY: everything is handed to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: `at` came from `alloc` above with the same layout, as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
