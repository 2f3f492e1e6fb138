//! A node with fewer places than clients: nobody waits for a place while there is one, and nobody waits when there is
//! none.

use std::io::Read;
use std::net::TcpStream;

use crate::client::Client;
use crate::stage::{PATIENCE, Stage, wait_until};

/// Two workers of 64 slots.
const FEW: &str = "\
limits.loopback_exempt = true
limits.handshake_deadline = '60s'
[[core]]
slots = 64
[[core]]
slots = 64
";

#[test]
fn with_room_in_the_process_every_client_is_served_and_without_it_is_told_at_once() {
    let Some(stage) = Stage::set(FEW) else { return };
    let target = &stage.target;
    wait_until("both workers have their stream", || target.metric("gateway_streams") == 2);
    let places = target.metric("gateway_links_max");
    assert!((90..=126).contains(&places), "{places} places");
    let mut clients: Vec<Client> =
        (0..places).map(|user| Client::login(target, &format!("user{user}"))).collect();
    assert_eq!((target.metric("gateway_links"), target.metric("gateway_link_places_left")), (places, 0));
    let full = "listener clients is full";
    wait_until("probes hear of it", || {
        let said = target.get("/readyz");
        said.starts_with("HTTP/1.1 503") && said.contains(full)
    });

    for _ in 0..3 {
        let mut late = TcpStream::connect(target.address).expect("the kernel takes it");
        late.set_read_timeout(Some(PATIENCE)).expect("more than zero");
        assert!(matches!(late.read(&mut [0; 1]), Ok(0) | Err(_)), "closed at once, and not after a minute");
    }
    wait_until("they are counted", || target.sum("gateway_kept_out_total", "guard=\"places\"") == 3);

    drop(clients.swap_remove(clients.len() / 2));
    wait_until("its place is free", || target.metric("gateway_link_places_left") == 1);
    clients.push(Client::login(target, "late"));
    for client in &mut clients {
        client.wait_until_answered();
    }
}
