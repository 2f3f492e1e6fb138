//! A backend stands still for a while, and goes on as if nothing had happened.

use std::time::Duration;

use crate::scene::{Scene, Size, pass, sized};

#[test]
fn whatever_waits_for_a_backend_that_stands_still_comes_to_its_end_once() {
    let size = Size {
        clients: 50,
        requests: 2,
        pushes: 2,
        think: Duration::from_millis(100),
        hold: Duration::from_millis(100),
        idle: Duration::ZERO,
    };
    let Some(scene) = Scene::set("stopped-backend", size, "") else { return };
    let clients = scene.all_clients();
    scene.wait_until_under_way(50, 50);
    scene.backend.signal("STOP");
    pass(Duration::from_secs(sized(3, 30)));
    scene.backend.signal("CONT");
    scene.released(None);
    let before = scene.target.metric("gateway_responses_total");
    crate::stage::wait_until("traffic goes on", || {
        scene.target.metric("gateway_responses_total") > before + 1_000
    });
    scene.settle(vec![clients], "1.2");
}
