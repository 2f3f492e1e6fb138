//! Links break, stand still and take their time, one after the other and at random.

use std::time::Duration;

use crate::proxy::{Cut, Ways};
use crate::scene::{Scene, Size, pass, sized};
use crate::stage::{now, wait_until};

/// Clients, each with a way of its own.
const CLIENTS: usize = 40;
/// The pause between two disturbances, at most.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a link stands still, and what stays on its way, at most.
const FREEZE_MAX: usize = 1_500;
const DELAY_MAX: usize = 60;

#[test]
fn whatever_is_under_way_on_links_that_break_comes_to_its_end_once() {
    let size = Size {
        clients: CLIENTS,
        requests: 2,
        pushes: 3,
        think: Duration::from_millis(100),
        hold: Duration::from_millis(50),
        idle: Duration::ZERO,
    };
    let Some(mut scene) = Scene::set("broken-links", size, "") else { return };
    let ways = Ways::open(scene.target.address, CLIENTS);
    let clients = scene.clients(0, CLIENTS, &ways.addresses, &[]);
    wait_until("all are linked", || scene.target.metric("gateway_sessions") == CLIENTS as u64);
    let end = now() + Duration::from_secs(sized(5, 60));
    let mut frozen = Vec::new();
    let mut cuts = 0;
    while now() < end {
        let way = scene.rng.below(CLIENTS);
        match scene.rng.below(8) {
            0..3 => {
                let cut = [Cut::Fin, Cut::Reset, Cut::Silence][scene.rng.below(3)];
                ways.cut(way, cut);
                cuts += 1;
            }
            3..5 => {
                ways.change(way, |mood| mood.is_frozen = true);
                frozen.push((now() + Duration::from_millis(scene.rng.below(FREEZE_MAX) as u64), way));
            }
            _ => {
                let delay = Duration::from_millis(scene.rng.below(DELAY_MAX) as u64);
                ways.change(way, |mood| mood.delay = delay);
            }
        }
        scene.let_pass(PAUSE);
        frozen.retain(|&(until, way)| {
            let stays = now() < until;
            if !stays {
                thaw(&scene, &ways, way);
            }
            stays
        });
    }
    frozen.iter().for_each(|&(_, way)| thaw(&scene, &ways, way));
    // What is still delayed is no slower for that than it was.
    pass(PAUSE);
    assert!(cuts > 20, "links are cut, and not only said to be: {cuts}");
    let resumed = scene.target.metric("gateway_sessions_resumed_total");
    assert!(resumed > cuts / 4, "sessions go on: {resumed} after {cuts} cuts");
    scene.settle(vec![clients], "1.2");
}

fn thaw(scene: &Scene, ways: &Ways, way: usize) {
    ways.change(way, |mood| mood.is_frozen = false);
    scene.released(Some(way));
}
