//! What does it cost to hold one message of a link against its rates: its bytes, its frame, whether it has to pause, and
//! whether its user is to be charged?

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gateway::admission::rates::{Charge, Meter, Rates};
use gateway::counters::guard::Guards;
use gateway::rate::{Rate, Remainder};
use protocol::Time;

/// Between two messages of a link.
const APART: Duration = Duration::from_millis(1);

fn rates() -> Rates {
    let ample = Rate::new(1_000_000, Duration::from_secs(1), 1_000_000);
    Rates {
        frames: ample,
        control: ample,
        bytes: ample.times(1000),
        user_frames: ample,
        user_bytes: ample.times(1000),
        overruns: ample,
        on_trial: Guards::NONE,
    }
}

fn message(criterion: &mut Criterion) {
    let (rates, grace) = (rates(), Duration::from_secs(1));
    let (mut meter, mut small_change) = (Meter::new(Time::ZERO), Remainder::default());
    let mut now = Time::ZERO;
    criterion.bench_function("rates/message", |bencher| {
        bencher.iter(|| {
            now = black_box(now + APART);
            meter.bytes(black_box(98), &rates, grace, &mut small_change, now);
            let judged = meter.frame(black_box(Charge::Payload), &rates, grace, &mut small_change, now);
            let pause = meter.pause(&rates, grace, now);
            (judged.refused.is_some(), pause.time, meter.due(&rates))
        });
    });
}

criterion_group!(benches, message);
criterion_main!(benches);
