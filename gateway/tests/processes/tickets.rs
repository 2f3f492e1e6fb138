//! Tickets outlive the gateway that gave them as long as their key is known, and no longer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::client::{Client, Ticket, Unheard};
use crate::stage::{Folder, PATIENCE, Stage};

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
    let refused = Client::resume(&stage.target, "alice", spare).err();
    assert_eq!(refused, Some(Unheard { reason: Some(5) }), "nothing opens it any more, and it is told so");
    assert_eq!(stage.target.sum("gateway_errors_total", "error=\"ticket\""), 1);
    let mut third = Client::resume(&stage.target, "alice", &late).expect("sealed under the new key");
    third.wait_until_answered();
    assert_eq!(stage.target.metric("gateway_handshakes_resumed_total"), 1);
    // Whose secret is wrong is met with silence; whose ticket is refused gets in with a full handshake and the token.
    let wrong = Ticket { psk: [1; 32], ..late };
    assert_eq!(Client::resume(&stage.target, "alice", &wrong).err(), Some(Unheard { reason: None }));
    Client::login(&stage.target, "bob").wait_until_answered();
}

#[test]
fn without_a_key_in_the_config_tickets_end_with_the_process() {
    let Some(mut stage) = Stage::set("") else { return };
    let mut client = Client::login(&stage.target, "alice");
    let [ticket, spare] = &std::mem::take(&mut client.tickets)[..] else { panic!("not two tickets") };
    drop(client);
    assert!(Client::resume(&stage.target, "alice", ticket).is_ok());
    stage.replace_gateway("");
    assert_eq!(Client::resume(&stage.target, "alice", spare).err(), Some(Unheard { reason: Some(5) }));
    assert_eq!(stage.target.metric("gateway_handshakes_total"), 0);
}

/// The name of the key that a ticket is sealed under: its first four bytes.
fn key_id(ticket: &[u8]) -> &[u8] {
    &ticket[..4]
}

#[test]
fn no_ticket_is_given_out_that_would_be_refused() {
    for (allowed, count) in
        [("'NK_AESGCM'", 0), ("'NK_AESGCM', 'NNpsk0_ChaChaPoly'", 0), ("'NK_AESGCM', 'NNpsk0_AESGCM'", 2)]
    {
        let Some(stage) = Stage::set(&format!("suites.allowed = [{allowed}]\n")) else { return };
        assert_eq!(Client::login(&stage.target, "alice").tickets.len(), count, "{allowed}");
    }
}

#[test]
fn only_a_hello_that_has_opened_is_remembered_and_then_its_copy_is_silence() {
    let Some(stage) = Stage::set("") else { return };
    let mut tickets = Client::login(&stage.target, "alice").tickets;
    let ticket = tickets.pop().expect("two tickets");
    let errors = |stage: &Stage| {
        ["handshake", "replay"]
            .map(|name| stage.target.sum("gateway_errors_total", &format!("error=\"{name}\"")))
    };
    // Whoever lacks the secret could crowd out what is remembered, if such a hello were remembered as well.
    let wrong = Ticket { psk: [1; 32], ticket: ticket.ticket.clone() };
    let (_, hello) = Client::hello(&stage.target, Some(&wrong));
    for times in 1..=8 {
        assert_eq!(answer(&stage, &hello).len(), 0);
        assert_eq!(errors(&stage), [times, 0], "each is tried");
    }
    // Each worker remembers for itself, and there are two.
    let (_, hello) = Client::hello(&stage.target, Some(&ticket));
    let answered = (0..8).filter(|_| !answer(&stage, &hello).is_empty()).count();
    assert!((1..=2).contains(&answered), "{answered}");
    assert_eq!(errors(&stage), [8, 8 - answered as u64]);
}

/// What is answered to these bytes, when nothing follows them.
fn answer(stage: &Stage, hello: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(stage.target.address).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    socket.write_all(hello).expect("connected");
    socket.shutdown(Shutdown::Write).expect("connected");
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).expect("it ends");
    heard
}

#[test]
fn tickets_are_worth_nothing_once_their_server_key_or_their_suite_is_gone() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("group.key");
    folder.make_key("next.key");
    let keep = "keys.tickets = ['group.key']\n";
    let mut stage = Stage::set_in(folder, keep);
    let mut client = Client::login(&stage.target, "alice");
    let [first, second] = &std::mem::take(&mut client.tickets)[..] else { panic!("not two tickets") };
    drop(client);
    let refused = Some(Unheard { reason: Some(5) });
    // A node that has tightened its suites to those that prove the device.
    stage.replace_gateway(&format!("{keep}suites.allowed = ['IK_AESGCM', 'NNpsk0_AESGCM']\n"));
    assert_eq!(Client::resume(&stage.target, "alice", first).err(), refused, "it was born in NK");
    stage.replace_gateway(&format!("{keep}auth.realm = 'other'\n"));
    assert_eq!(Client::resume(&stage.target, "alice", first).err(), refused, "alice of another realm");
    stage.replace_gateway(keep);
    Client::resume(&stage.target, "alice", first).expect("with all as it was").wait_until_answered();
    stage.rekey("next.key");
    stage.replace_gateway(keep);
    assert_eq!(Client::resume(&stage.target, "alice", second).err(), refused, "of another server key");
}
