//! What becomes of requests and messages when backends, gateways and links are killed, cut, stopped and slowed down: everybody writes
//! down what it promises, hears and does, and tests/ledger/check.py holds that against each other. Nothing that was acknowledged
//! is lost, nothing is done or shown twice, and all is resolved within seconds of when both ends are there again.
//!
//! `DELIVERIES_SEED=n` repeats a run, as far as processes repeat; `DELIVERIES=full` takes the sizes of the requirements, and
//! minutes.

mod broken;
mod killed;
mod proxy;
mod scene;
mod slow;
#[path = "../processes/stage.rs"]
#[expect(dead_code, reason = "the other tests of processes stand on all of it")]
mod stage;
mod stopped;
