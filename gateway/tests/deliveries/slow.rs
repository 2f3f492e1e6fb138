//! Clients that read slowly or not at all, beside others who do not notice that.

use std::time::Duration;

use crate::proxy::Ways;
use crate::scene::{Scene, Size, pass, sized};
use crate::stage::wait_until;

/// Bytes a second that the slow ones read.
const RATES: [u32; 4] = [1024, 1024, 0, 0];
/// Clients that read as fast as they can.
const OTHERS: usize = 12;
/// Small buffers in the kernel, and small frames, as a queue must hold one.
const SMALL: &str = "listener = [{ name = 'clients', address = '127.0.0.1:0', send_buffer = '4KiB' }]\nlimits.frame_len_max = '4KiB'\n";

#[test]
fn who_reads_slowly_or_not_at_all_gets_all_in_the_end_and_nobody_else_waits_for_that() {
    let size = Size {
        clients: RATES.len() + OTHERS,
        requests: 2,
        pushes: 8,
        think: Duration::from_millis(50),
        hold: Duration::from_millis(50),
        idle: Duration::ZERO,
    };
    let Some(scene) = Scene::set("slow-readers", size, SMALL) else { return };
    let ways = Ways::open(scene.target.address, RATES.len());
    let slow = scene.clients(0, RATES.len(), &ways.addresses, &["--slow"]);
    let others = scene.clients(RATES.len(), OTHERS, &[scene.target.address], &[]);
    wait_until("all are linked", || scene.target.metric("gateway_sessions") == size.clients as u64);
    (0..).zip(RATES).for_each(|(way, rate)| ways.change(way, |mood| mood.rate = Some(rate)));
    let before = scene.target.metric("gateway_responses_total");
    pass(Duration::from_secs(sized(5, 60)));
    // Those who read nothing owe whatever was sent to them.
    scene.wait_until_under_way(0, 2 * size.pushes as u64);
    wait_until("the others are answered", || {
        scene.target.metric("gateway_responses_total") > before + sized(1_000, 10_000)
    });
    (0..RATES.len()).for_each(|way| ways.change(way, |mood| mood.rate = None));
    scene.released(None);
    scene.settle(vec![slow, others], "1.2");
}
