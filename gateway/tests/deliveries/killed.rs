//! Backends and gateways are killed with much under way, and come back.

use std::time::Duration;

use crate::scene::{Scene, Size, sized};
use crate::stage::wait_until;

#[test]
fn whatever_a_killed_backend_has_under_way_comes_to_its_end_once() {
    let size = Size {
        clients: 275,
        requests: 4,
        pushes: 4,
        think: Duration::from_millis(600),
        hold: Duration::from_millis(300),
        idle: Duration::ZERO,
    };
    let Some(mut scene) = Scene::set("killed-backend", size, "") else { return };
    let clients = scene.all_clients();
    for _ in 0..sized(2, 20) {
        scene.wait_until_under_way(1_000, 1_000);
        scene.let_pass(Duration::from_millis(500));
        scene.kill_backend();
        wait_until("the streams are open", || scene.target.metric("gateway_streams") == 2);
        // As much is answered in between as keeps what is asked again rare.
        let answered = scene.target.metric("gateway_responses_total");
        wait_until("traffic goes on", || scene.target.metric("gateway_responses_total") > answered + 5_500);
    }
    scene.settle(vec![clients], "1.2");
}

#[test]
fn whatever_a_killed_gateway_has_under_way_comes_to_its_end_once_and_its_clients_come_back_with_tickets() {
    let count = sized(200, 2_000);
    let size = Size {
        clients: count,
        requests: 1,
        pushes: 1,
        think: Duration::from_millis(sized(300, 1_000)),
        hold: Duration::from_millis(sized(150, 500)),
        idle: Duration::from_millis(sized(300, 4_000)),
    };
    let Some(mut scene) = Scene::set("killed-gateway", size, "") else { return };
    let clients = scene.all_clients();
    for _ in 0..sized(1, 5) {
        scene.wait_until_under_way(count as u64 / 8, count as u64 / 8);
        scene.let_pass(Duration::from_millis(500));
        scene.kill_gateway();
        wait_until("all are linked again", || scene.target.metric("gateway_sessions") == count as u64);
        // One whose ticket was used up by an attempt that came to nothing has its token.
        let resumed = scene.target.metric("gateway_handshakes_resumed_total");
        assert!(resumed >= count as u64 / 2, "{resumed} came back with tickets");
        let enough = 8 * count as u64;
        wait_until("traffic goes on", || scene.target.metric("gateway_responses_total") > enough);
    }
    scene.settle(vec![clients], "1.2");
}
