//! Tickets outlive the gateway that gave them as long as their key is known, and no longer.

use crate::client::Client;
use crate::stage::{Folder, Stage};

const OLD: &str = "keys.tickets = ['old.key']\n";
const BOTH: &str = "keys.tickets = ['new.key', 'old.key']\n";
const NEW: &str = "keys.tickets = ['new.key']\n";

#[test]
fn a_ticket_key_is_replaced_without_anybody_logging_in_again() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("old.key");
    folder.make_key("new.key");
    let mut stage = Stage::set_in(folder, OLD);
    let mut first = Client::login(&stage.target, "alice");
    let [early, spare] = &std::mem::take(&mut first.tickets)[..] else { panic!("not two tickets") };
    assert_eq!(key_id(&early.ticket), key_id(&spare.ticket));
    drop(first);

    stage.replace_gateway(BOTH);
    let mut second = Client::resume(&stage.target, "alice", early).expect("the old key still opens");
    second.wait_until_answered();
    assert_eq!(stage.target.metric("gateway_handshakes_resumed_total"), 1);
    let late = second.tickets.pop().expect("a ticket gives tickets");
    assert_ne!(key_id(&late.ticket), key_id(&early.ticket), "the first key of the list seals");
    drop(second);

    stage.replace_gateway(NEW);
    assert!(Client::resume(&stage.target, "alice", spare).is_none(), "nothing opens it any more");
    assert_eq!(stage.target.sum("gateway_errors_total", "error=\"ticket\""), 1);
    let mut third = Client::resume(&stage.target, "alice", &late).expect("sealed under the new key");
    third.wait_until_answered();
    assert_eq!(stage.target.metric("gateway_handshakes_resumed_total"), 1);
    // Whose ticket met with silence gets in with a full handshake and the token.
    Client::login(&stage.target, "bob").wait_until_answered();
}

#[test]
fn without_a_key_in_the_config_tickets_end_with_the_process() {
    let Some(mut stage) = Stage::set("") else { return };
    let mut client = Client::login(&stage.target, "alice");
    let [ticket, spare] = &std::mem::take(&mut client.tickets)[..] else { panic!("not two tickets") };
    drop(client);
    assert!(Client::resume(&stage.target, "alice", ticket).is_some());
    stage.replace_gateway("");
    assert!(Client::resume(&stage.target, "alice", spare).is_none());
    assert_eq!(stage.target.metric("gateway_handshakes_total"), 0);
}

/// The name of the key that a ticket is sealed under: its first four bytes.
fn key_id(ticket: &[u8]) -> &[u8] {
    &ticket[..4]
}
