//! What does a record cost, sealed or opened in place, by cipher and size: alone, with its key expanded for it, and
//! as one of eight in a batch that expands it once?

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::noise::{Cipher, Secrets, Suite, Transport};

const SIZES: [usize; 2] = [64, 1024];
const BATCH: usize = 8;

/// One end of a link that talks to itself: what it seals it opens.
fn transport(cipher: Cipher) -> Transport {
    let suite = match cipher {
        Cipher::ChaChaPoly => Suite::NkChaChaPoly,
        Cipher::AesGcm => Suite::NkAesGcm,
    };
    Transport::new(&Secrets { suite, send: [1; 32], receive: [1; 32], h: [0; 32], peer: None })
}

fn aead(criterion: &mut Criterion) {
    for cipher in [Cipher::ChaChaPoly, Cipher::AesGcm] {
        seal(criterion, cipher);
        open(criterion, cipher);
    }
}

fn seal(criterion: &mut Criterion, cipher: Cipher) {
    let mut group = criterion.benchmark_group(format!("seal/{cipher:?}"));
    for size in SIZES {
        let mut transport = transport(cipher);
        let plaintext = vec![2; size + 2];
        let mut out = Vec::with_capacity(BATCH * (size + 18));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("one", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(&plaintext));
                transport.seal_records(&mut out, 0, size);
                out.len()
            });
        });
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::new("batch of 8", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                let mut sealer = transport.sealer();
                for _ in 0..BATCH {
                    let start = out.len();
                    out.extend_from_slice(black_box(&plaintext));
                    sealer.seal_records(&mut out, start, size);
                }
                out.len()
            });
        });
    }
    group.finish();
}

/// A record opens once, and at its place in the sequence; so each iteration begins with fresh copies of the records
/// and of the transport's 81 bytes, which are in the figure. Records are copied one by one, just
/// before they are opened: with one copy of the whole batch first, AES-GCM at 1 KiB measured twice as slow as sealing.
fn open(criterion: &mut Criterion, cipher: Cipher) {
    let mut group = criterion.benchmark_group(format!("open/{cipher:?}"));
    for size in SIZES {
        let packed = transport(cipher).pack();
        let mut sealed = vec![2; 2 + BATCH * size];
        transport(cipher).seal_records(&mut sealed, 0, size);
        let mut records = sealed.clone();
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("one", size), |bencher| {
            bencher.iter(|| {
                let record = &mut records[2..size + 18];
                record.copy_from_slice(&sealed[2..size + 18]);
                let mut transport = Transport::unpack(black_box(&packed)).expect("it was packed");
                transport.open_in_place(record).expect("it was just sealed").len()
            });
        });
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::new("batch of 8", size), |bencher| {
            bencher.iter(|| {
                let mut transport = Transport::unpack(black_box(&packed)).expect("it was packed");
                let mut opener = transport.opener();
                for (record, source) in records.chunks_mut(size + 18).zip(sealed.chunks(size + 18)) {
                    record.copy_from_slice(source);
                    opener.open_in_place(&mut record[2..]).expect("it was just sealed");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, aead);
criterion_main!(benches);
