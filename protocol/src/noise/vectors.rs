//! The published vectors of our suites, through our own handshake and records.
//!
//! The vectors have payloads in message 1, which the product refuses. They enter by the functions that
//! [`Initiator::create`] and [`Responder::respond`] call after their checks, so that everything else is the same
//! code.

use serde_json::Value;

use super::handshake::{Material, Role, finish};
use super::{Initiator, PublicKey, Responder, StaticKey, Suite, Transport};

#[test]
fn every_suite_gives_the_published_bytes() {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/cacophony.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    for suite in Suite::ALL {
        let vector = vectors.iter().find(|vector| vector["protocol_name"] == suite.name());
        Vector(vector.unwrap_or_else(|| panic!("no vector of {suite:?}"))).run(suite);
    }
    assert_eq!(vectors.len(), Suite::ALL.len());
}

/// Messages of a handshake of this suite.
const fn handshake_len(suite: Suite) -> usize {
    if suite.is_unpinned() { 3 } else { 2 }
}

struct Vector<'v>(&'v Value);

impl Vector<'_> {
    fn run(&self, suite: Suite) {
        let (client_key, server_key) = (self.key("init_static"), self.key("resp_static"));
        let (server_known, client_known) =
            (self.public("init_remote_static"), self.public("resp_remote_static"));
        let (client_psk, server_psk) = (self.psk("init_psks"), self.psk("resp_psks"));
        let (client_prologue, server_prologue) = (self.bytes("init_prologue"), self.bytes("resp_prologue"));

        let [(payload_1, message_1), (payload_2, message_2)] = [self.message(0), self.message(1)];
        let material = Material {
            local: client_key.as_ref(),
            remote: server_known.as_ref(),
            psk: client_psk.as_ref(),
            prologue: &client_prologue,
        };
        let mut out = Vec::new();
        let ephemeral = self.array("init_ephemeral").unwrap();
        let waiting = Initiator::run(suite, &material, ephemeral, &payload_1, &mut out).unwrap();
        assert_eq!(out, message_1, "message 1 of {suite:?}");

        let responder = Responder {
            suite,
            key: server_key.as_ref(),
            peer: client_known.as_ref(),
            psk: server_psk.as_ref(),
            prologue: &server_prologue,
            ephemeral: self.array("resp_ephemeral").unwrap(),
        };
        let mut received_1 = vec![0; payload_1.len()];
        out.clear();
        let mut server = responder.run(&message_1, &mut received_1, &payload_2, &mut out).unwrap();
        assert_eq!(out, message_2, "message 2 of {suite:?}");
        assert_eq!(received_1, payload_1, "payload 1 of {suite:?}");

        let mut received_2 = Vec::new();
        let payload_3 = if suite.is_unpinned() { self.message(2).0 } else { Vec::new() };
        out.clear();
        let client = waiting.run_on(&message_2, &mut received_2, &payload_3, &mut out).unwrap();
        assert_eq!(received_2, payload_2, "payload 2 of {suite:?}");
        if suite.is_unpinned() {
            assert_eq!(out, self.message(2).1, "message 3 of {suite:?}");
            let mut received_3 = vec![0; payload_3.len()];
            server.read_message(&out, &mut received_3).unwrap();
            assert_eq!(received_3, payload_3, "payload 3 of {suite:?}");
        }
        let server = finish(suite, Role::Responder, server).unwrap();
        assert_eq!(client.h.as_slice(), self.bytes("handshake_hash"), "hash of {suite:?}");
        assert_eq!(server.h, client.h, "hash of {suite:?}");
        let (client, server) = (Transport::new(&client), Transport::new(&server));
        // After three messages it is the server's turn.
        let (sender, receiver) = if suite.is_unpinned() { (server, client) } else { (client, server) };
        self.run_records(suite, sender, receiver);
    }

    /// The messages after the handshake; the two sides take turns.
    fn run_records(&self, suite: Suite, mut sender: Transport, mut receiver: Transport) {
        let count = self.0["messages"].as_array().unwrap().len();
        assert!(count > 3, "both directions are tried");
        for index in handshake_len(suite)..count {
            let (payload, ciphertext) = self.message(index);
            let mut out = [&[0, 0], payload.as_slice()].concat();
            sender.seal_records(&mut out, 0, 1000);
            assert_eq!(out[2..], ciphertext, "message {index} of {suite:?}");
            assert_eq!(receiver.open_in_place(&mut out[2..]).unwrap(), payload);
            std::mem::swap(&mut sender, &mut receiver);
        }
    }

    fn message(&self, index: usize) -> (Vec<u8>, Vec<u8>) {
        let message = &self.0["messages"][index];
        (hex(message["payload"].as_str().unwrap()), hex(message["ciphertext"].as_str().unwrap()))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex(self.0[name].as_str().unwrap())
    }

    fn array(&self, name: &str) -> Option<[u8; 32]> {
        self.0[name].as_str().map(|text| hex(text).try_into().unwrap())
    }

    fn key(&self, name: &str) -> Option<StaticKey> {
        self.array(name).map(StaticKey::from_secret)
    }

    fn public(&self, name: &str) -> Option<PublicKey> {
        self.array(name).map(PublicKey)
    }

    fn psk(&self, name: &str) -> Option<[u8; 32]> {
        self.0[name][0].as_str().map(|text| hex(text).try_into().unwrap())
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
