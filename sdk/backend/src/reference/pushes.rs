//! The routes `push` and `outcomes`: a client asks for pushes to itself, and what became of them. docs/PUSHES.md has the same
//! for whoever writes a client.

use std::sync::Arc;

use bytes::Bytes;

use super::runs::{RUN_LEN, Run, RunId, Runs};
use crate::clock::unix_nanos;
use crate::outcome::Rule;
use crate::push::{Push, PushError, Target};
use crate::reply::{Answer, Reply};
use crate::service::Request;

/// Status of `push`: all of them were handed to the gateway.
pub const HANDED: u32 = 0;
/// Status of `outcomes`: no such run is kept.
pub const NO_RUN: u32 = 1;
/// Status of both: the payload is not what is written down, or over its bounds. Nothing has happened.
pub const MALFORMED: u32 = 2;
/// Status of `push`: the gateway delivers nothing at least once to this service, or takes no push of this size. Those before it
/// have been handed out; the payload says how many.
pub const NOT_SERVED: u32 = 3;

/// Bytes of every push before its filling: run, number, stamp, moment.
pub const HEAD_LEN: usize = RUN_LEN + 8 + 8 + 8;
/// Pushes of one request at most.
pub const COUNT_MAX: u32 = 4096;
/// Bytes of a push's payload at most.
pub const SIZE_MAX: u32 = 60_000;
/// Bytes of the payloads of one request's pushes together at most.
pub const BYTES_MAX: u64 = 4 << 20;

/// What a request of `push` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ask {
    run: RunId,
    class: Class,
    /// Number of the first push within the run.
    first: u64,
    count: u32,
    size: u32,
    /// Comes back in every push.
    stamp: [u8; 8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    AtMostOnce,
    AtLeastOnce,
}

impl Ask {
    /// `None` for anything that is not exactly one, within its bounds.
    fn decode(payload: &[u8]) -> Option<Self> {
        let (run, rest) = payload.split_first_chunk()?;
        let ([class], rest) = rest.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (stamp, []) = rest.split_first_chunk()? else { return None };
        let class = match class {
            0 => Class::AtMostOnce,
            1 => Class::AtLeastOnce,
            _ => return None,
        };
        let (first, count) = (u64::from_be_bytes(*first), u32::from_be_bytes(*count));
        let size = u32::from_be_bytes(*size);
        let is_bounded = (1..=COUNT_MAX).contains(&count)
            && (HEAD_LEN as u32..=SIZE_MAX).contains(&size)
            && u64::from(count) * u64::from(size) <= BYTES_MAX
            && first.checked_add(count.into()).is_some();
        is_bounded.then_some(Self { run: *run, class, first, count, size, stamp: *stamp })
    }

    /// The payload of push `number`, which leaves at `now_nanos` of Unix time.
    fn payload(&self, number: u64, now_nanos: u64) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.size as usize);
        payload.extend_from_slice(&self.run);
        payload.extend_from_slice(&number.to_be_bytes());
        payload.extend_from_slice(&self.stamp);
        payload.extend_from_slice(&now_nanos.to_be_bytes());
        payload.resize(self.size as usize, number as u8);
        payload
    }

    /// The name of push `number`: no other push of the run to the same device has it.
    fn id(&self, number: u64) -> Bytes {
        let mut id = self.run;
        id[8..].copy_from_slice(&number.to_be_bytes());
        Bytes::copy_from_slice(&id)
    }
}

/// Serves `push`. Whoever waits too long for the gateway is dropped with its request; what was handed out until then is
/// counted all the same.
pub(super) async fn push(runs: Arc<Runs>, request: Request) -> Reply {
    let Some(ask) = Ask::decode(&request.payload) else { return Reply::status(MALFORMED, "") };
    let run = runs.begin(&ask.run);
    let mut handed: u32 = 0;
    for number in (ask.first..).take(ask.count as usize) {
        match hand_out(&ask, number, &request, &run).await {
            Ok(()) => handed += 1,
            // Nobody is left to be answered.
            Err(PushError::Closed) => break,
            Err(_) => return Reply::status(NOT_SERVED, handed.to_be_bytes().to_vec()),
        }
    }
    Reply::status(HANDED, handed.to_be_bytes().to_vec())
}

/// Hands one push to the gateway, behind those that wait for it.
async fn hand_out(ask: &Ask, number: u64, request: &Request, run: &Arc<Run>) -> Result<(), PushError> {
    let target = Target::Device(request.user.clone(), request.device.clone());
    let push = Push { id: ask.id(number), ..Push::new(target, ask.payload(number, unix_nanos())) };
    match ask.class {
        Class::AtMostOnce => {
            request.gateway.push(push).await?;
            run.sent_at_most_once();
        }
        Class::AtLeastOnce => {
            let delivery = request.gateway.deliver(push, Rule::Any).await?;
            run.sent_at_least_once();
            let run = Arc::clone(run);
            // As many as may be open at the gateway and wait for it: both are bounded.
            tokio::spawn(async move { run.settle(delivery.await) });
        }
    }
    Ok(())
}

/// Serves `outcomes`.
pub(super) fn outcomes(runs: &Runs, payload: &[u8], answer: &mut Answer) {
    let Ok(id) = RunId::try_from(payload) else { return answer.set_status(MALFORMED) };
    match runs.find(&id) {
        Some(run) => run.encode(answer.payload()),
        None => answer.set_status(NO_RUN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(class: u8, first: u64, count: u32, size: u32) -> Vec<u8> {
        let (first, count, size) = (first.to_be_bytes(), count.to_be_bytes(), size.to_be_bytes());
        [&[7; 16][..], &[class], &first, &count, &size, &[9; 8]].concat()
    }

    #[test]
    fn a_request_is_decoded_whole_and_within_its_bounds_or_not_at_all() {
        let good = request(1, 5, 3, 100);
        let ask = Ask::decode(&good).unwrap();
        assert_eq!((ask.class, ask.first, ask.count, ask.size), (Class::AtLeastOnce, 5, 3, 100));
        assert_eq!((ask.run, ask.stamp), ([7; 16], [9; 8]));
        for len in 0..good.len() {
            assert_eq!(Ask::decode(&good[..len]), None, "{len} bytes");
        }
        assert_eq!(Ask::decode(&[&good[..], &[0]].concat()), None, "a byte too many");
        for (class, first, count, size) in [
            (2, 0, 1, 100),
            (0, 0, 0, 100),
            (0, 0, COUNT_MAX + 1, 100),
            (0, 0, 1, HEAD_LEN as u32 - 1),
            (0, 0, 1, SIZE_MAX + 1),
            (0, 0, 100, SIZE_MAX),
            (0, u64::MAX, 1, 100),
        ] {
            assert_eq!(
                Ask::decode(&request(class, first, count, size)),
                None,
                "{class} {first} {count} {size}"
            );
        }
        assert!(Ask::decode(&request(0, u64::MAX - 1, 1, HEAD_LEN as u32)).is_some());
        assert!(Ask::decode(&request(0, 0, COUNT_MAX, 1024)).is_some(), "4 MiB exactly");
    }

    #[test]
    fn a_push_says_its_run_number_stamp_and_moment_and_is_filled_to_its_size() {
        let ask = Ask::decode(&request(0, 258, 1, 50)).unwrap();
        let head = [&[7; 16][..], &258_u64.to_be_bytes(), &[9; 8], &77_u64.to_be_bytes()].concat();
        assert_eq!(ask.payload(258, 77), [&head[..], &[2; 10]].concat());
        assert_eq!(ask.id(258), [&[7; 8][..], &258_u64.to_be_bytes()].concat());
    }
}
