//! What does it cost to look an address up in a list of a million blocks, and to build one?

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::admission::lists::{Block, Lists, NEVER, Prefixes};
use protocol::Time;

const BLOCKS: u64 = 1_000_000;
/// More addresses than any cache holds the way to.
const ADDRESSES: usize = 1 << 16;

/// Blocks of IPv6 lie in as many networks as there are that route some.
const NETWORKS: u64 = 30_000;

/// Numbers that look random and are the same in every run.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 7_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state >> 29
    })
}

/// Anywhere in IPv4; in IPv6 in one of the networks.
fn address(number: u64, v6: bool) -> IpAddr {
    if v6 {
        let network = (number % NETWORKS).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 36;
        let below = number >> 20 & 0xffff_ffff;
        Ipv6Addr::from(0x2 << 124 | u128::from(network) << 96 | u128::from(below) << 64 | 1).into()
    } else {
        Ipv4Addr::from(number as u32).into()
    }
}

/// Blocks as long as those that are routed and banned: /24 and single addresses, /48 and /64.
fn blocks(v6: bool) -> impl Iterator<Item = (Block, Time)> {
    let len = move |number: u64| match (v6, number % 3) {
        (false, 0) => 32,
        (false, _) => 24,
        (true, 0) => 64,
        (true, _) => 48,
    };
    let block = move |number| format!("{}/{}", address(number, v6), len(number)).parse().expect("a block");
    numbers().take(BLOCKS as usize).map(move |number| (block(number), NEVER))
}

/// Half of them are on the list.
fn addresses(v6: bool) -> Vec<IpAddr> {
    let pairs = numbers().step_by(2).zip(numbers().skip(BLOCKS as usize)).take(ADDRESSES / 2);
    pairs.flat_map(|(on, off)| [address(on, v6), address(off, v6)]).collect()
}

fn lists(criterion: &mut Criterion) {
    for (family, v6) in [("v4", false), ("v6", true)] {
        let entries: Vec<_> = blocks(v6).collect();
        let deny: Prefixes = entries.iter().copied().collect();
        eprintln!("{family}: {} blocks, {} bytes each", deny.len(), deny.bytes() / deny.len());
        let (lists, addresses) = (Lists { deny: deny.into(), ..Lists::default() }, addresses(v6));
        let mut group = criterion.benchmark_group(format!("lists/{family}"));
        group.throughput(Throughput::Elements(1));
        let mut next = 0;
        group.bench_function("at the door, of a million", |bencher| {
            bencher.iter(|| {
                next = (next + 1) % ADDRESSES;
                lists.at_the_door(black_box(addresses[next]), Time::ZERO)
            });
        });
        group.bench_function("the same address again, of a million", |bencher| {
            bencher.iter(|| lists.at_the_door(black_box(addresses[0]), Time::ZERO));
        });
        group.throughput(Throughput::Elements(BLOCKS));
        group.sample_size(10);
        group.bench_function("build of a million", |bencher| {
            bencher.iter(|| entries.iter().copied().collect::<Prefixes>().len());
        });
    }
    let (empty, addresses) = (Lists::default(), addresses(false));
    let mut next = 0;
    criterion.bench_function("lists/empty", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % ADDRESSES;
            empty.at_the_door(black_box(addresses[next]), Time::ZERO)
        });
    });
}

criterion_group!(benches, lists);
criterion_main!(benches);
