//! snow's own transport as oracle: the same handshake split once by us and once by snow, then compared byte for
//! byte, through two replacements of the key and the counters around them.

use snow::TransportState;

use super::handshake::{Material, Role, finish, start};
use super::{StaticKey, Suite, Transport};
use crate::limits::REKEY_INTERVAL;

/// The two sides of one handshake: ours and snow's, each twice.
struct Twins {
    client: Transport,
    server: Transport,
    snow_client: TransportState,
    snow_server: TransportState,
}

/// Runs the same handshake twice, since a split takes its state.
fn twins(suite: Suite) -> Twins {
    let [(client, server), (snow_client, snow_server)] = [states(suite), states(suite)];
    Twins {
        client: Transport::new(&finish(suite, Role::Initiator, client).unwrap()),
        server: Transport::new(&finish(suite, Role::Responder, server).unwrap()),
        snow_client: snow_client.into_transport_mode().unwrap(),
        snow_server: snow_server.into_transport_mode().unwrap(),
    }
}

fn states(suite: Suite) -> (snow::HandshakeState, snow::HandshakeState) {
    let key = StaticKey::from_secret([1; 32]);
    let public = key.public();
    let material =
        Material { local: Some(&key), remote: Some(&public), psk: Some(&[2; 32]), prologue: b"oracle" };
    let mut client = start(suite, Role::Initiator, &material, [3; 32]).unwrap();
    let mut server = start(suite, Role::Responder, &material, [4; 32]).unwrap();
    let (mut message, mut payload) = ([0; 512], [0; 512]);
    let len = client.write_message(&[], &mut message).unwrap();
    server.read_message(&message[..len], &mut payload).unwrap();
    let len = server.write_message(&[], &mut message).unwrap();
    client.read_message(&message[..len], &mut payload).unwrap();
    (client, server)
}

#[test]
fn records_equal_those_of_snow_through_two_rekeys_both_ways() {
    for suite in [Suite::NkChaChaPoly, Suite::NkAesGcm] {
        let Twins { mut client, mut server, mut snow_client, mut snow_server } = twins(suite);
        for counter in 0..2 * REKEY_INTERVAL + 3 {
            if counter != 0 && counter % REKEY_INTERVAL == 0 {
                snow_client.rekey_outgoing();
                snow_client.rekey_incoming();
                snow_server.rekey_outgoing();
                snow_server.rekey_incoming();
            }
            let plaintext = &counter.to_le_bytes()[..1 + counter as usize % 8];
            compare(plaintext, (&mut client, &mut server), (&mut snow_client, &mut snow_server));
            compare(plaintext, (&mut server, &mut client), (&mut snow_server, &mut snow_client));
        }
        for (ours, snow) in [(&client, &snow_client), (&server, &snow_server)] {
            let counters = format!("{}, {}", snow.sending_nonce(), snow.receiving_nonce());
            assert!(format!("{ours:?}").contains(&counters), "{ours:?} but snow has {counters}");
        }
    }
}

/// One record from the first of each pair to the second: sealed alike, and opened by either.
fn compare(
    plaintext: &[u8],
    (sender, receiver): (&mut Transport, &mut Transport),
    (snow_sender, snow_receiver): (&mut TransportState, &mut TransportState),
) {
    let mut record = [&[0, 0], plaintext].concat();
    sender.seal_records(&mut record, 0, 1000);
    let (mut sealed, mut opened) = ([0; 64], [0; 64]);
    let len = snow_sender.write_message(plaintext, &mut sealed).unwrap();
    assert_eq!(record[..2], u16::try_from(len).unwrap().to_be_bytes());
    assert_eq!(record[2..], sealed[..len]);
    let len = snow_receiver.read_message(&record[2..], &mut opened).unwrap();
    assert_eq!(opened[..len], *plaintext);
    assert_eq!(*receiver.open_in_place(&mut sealed[..record.len() - 2]).unwrap(), *plaintext);
}

#[test]
fn records_of_snow_are_opened_through_a_rekey() {
    for suite in [Suite::Nnpsk0ChaChaPoly, Suite::IkAesGcm, Suite::KkChaChaPoly] {
        let Twins { mut server, mut snow_client, .. } = twins(suite);
        let mut sealed = [0; 64];
        for counter in 0..REKEY_INTERVAL + 2 {
            if counter == REKEY_INTERVAL {
                snow_client.rekey_outgoing();
            }
            let len = snow_client.write_message(&counter.to_be_bytes(), &mut sealed).unwrap();
            let opened = server.open_in_place(&mut sealed[..len]).unwrap();
            assert_eq!(*opened, counter.to_be_bytes(), "{suite:?}");
        }
    }
}

/// Without its rekey snow must fail at the border; else the tests above would prove nothing about it.
#[test]
fn the_key_really_changes_at_the_border() {
    let Twins { mut client, mut snow_server, .. } = twins(Suite::NkChaChaPoly);
    let mut opened = [0; 64];
    for counter in 0..=REKEY_INTERVAL {
        let mut record = b"..x".to_vec();
        client.seal_records(&mut record, 0, 1000);
        let read = snow_server.read_message(&record[2..], &mut opened);
        assert_eq!(read.is_ok(), counter < REKEY_INTERVAL, "{counter}");
    }
}
