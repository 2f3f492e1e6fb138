//! Balancers: the header in front of a hello, whose link it is then, and what stays silent.

use super::*;
use crate::counters::guard::Guard;
use crate::proxy_header::{HEADER_LEN_MAX, SIGNATURE};

/// A header, of this command and family.
fn header(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], &[command, family], &(content.len() as u16).to_be_bytes(), content].concat()
}

/// Of a client at 203.0.113.9:1000.
fn of_client() -> Vec<u8> {
    header(0x21, 0x11, &[203, 0, 113, 9, 10, 0, 0, 1, 0x03, 0xe8, 0x1c, 0xe8])
}

fn of_balancer() -> Vec<u8> {
    header(0x20, 0, &[])
}

fn client() -> Option<Address> {
    Some(Peer::Tcp(([203, 0, 113, 9], 1000).into()).into())
}

fn rig(introduction: Introduction) -> Rig {
    let mut rig = Rig::new(settings());
    rig.introduction = introduction;
    rig
}

fn headers_refused(rig: &Rig) -> u64 {
    rig.turn.kept_out(FIRST).refused.of(Guard::ProxyHeader).get()
}

/// Wherever the bytes are cut: what stands behind the header is the client's hello.
#[test]
fn a_client_behind_a_balancer_is_who_the_header_names_and_its_hello_is_whole() {
    for introduction in [Introduction::Required, Introduction::Optional] {
        let header = of_client();
        for cut in 0..header.len() + 10 {
            let mut rig = rig(introduction);
            let token = rig.accept(0);
            assert_eq!((rig.ops(), rig.links.peer(token)), (vec!["receive 0".into()], Some(abroad().into())));
            let bytes = [&header[..], &rig.dial(token, Suite::NkChaChaPoly)].concat();
            for piece in [&bytes[..cut], &bytes[cut..]].into_iter().filter(|piece| !piece.is_empty()) {
                rig.arrive(token, piece);
            }
            assert_eq!((rig.links.peer(token), rig.links.is_hailed(token)), (client(), true), "{cut}");
            rig.shake_hands();
            rig.sent(token);
            assert!(rig.told(token).is_empty() && rig.clients[&token].link.is_open());
            assert_eq!(rig.counted(), ["handshakes", "links_accepted", "links_forwarded"]);
            assert_eq!(rig.stranger_bytes(), 0);
        }
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_alone() {
    let mut rig = rig(Introduction::Required);
    let token = rig.accept(0);
    for byte in of_client() {
        assert_eq!(rig.ops(), ["receive 0"]);
        rig.arrive(token, &[byte]);
    }
    assert_eq!((rig.ops(), rig.links.peer(token)), (vec!["receive 0".into()], client()));
    assert_eq!((rig.stranger_bytes(), rig.numbers()), (0, [1, 1, 0, 0, 0]));
}

#[test]
fn where_it_is_optional_a_hello_is_that_of_the_peer_itself() {
    let mut rig = rig(Introduction::Optional);
    let token = rig.hailed(0);
    assert_eq!((rig.links.peer(token), rig.links.is_hailed(token)), (Some(abroad().into()), true));
    assert_eq!(rig.counted(), ["links_accepted"]);
}

#[test]
fn what_is_no_header_is_met_with_silence_and_counted() {
    let too_long = [&SIGNATURE[..], &[0x21, 0x11], &(HEADER_LEN_MAX as u16).to_be_bytes()].concat();
    for (introduction, bytes) in [
        (Introduction::Required, b"\xac\xce\x55\x0a".to_vec()),
        (Introduction::Required, b"PROXY TCP4 ".to_vec()),
        (Introduction::Required, too_long.clone()),
        (Introduction::Optional, too_long),
        (Introduction::Optional, b"\r\n\r\r".to_vec()),
    ] {
        let mut rig = rig(introduction);
        let token = rig.accept(0);
        rig.settle();
        rig.arrive(token, &bytes);
        rig.bury();
        assert_eq!((rig.ops(), headers_refused(&rig)), (vec!["close 0".into()], 1));
        assert_eq!(rig.counted(), [""; 0]);
    }
}

#[test]
fn the_time_for_a_handshake_is_that_for_the_header_too() {
    let deadline = settings().rules.handshake_deadline;
    for (introduction, refused) in [(Introduction::Required, 1), (Introduction::Optional, 0)] {
        let mut rig = rig(introduction);
        let token = rig.accept(0);
        rig.pass(deadline - millis(200));
        rig.arrive(token, &of_client()[..20]);
        rig.settle();
        rig.pass(millis(400));
        rig.bury();
        assert_eq!((rig.ops(), headers_refused(&rig)), (vec!["cancel receive 0".into()], refused));
        assert_eq!(rig.counted(), ["errors handshake_timeout"]);
    }
    let mut rig = rig(Introduction::Required);
    let token = rig.accept(0);
    rig.pass(deadline - millis(200));
    rig.arrive(token, &of_client());
    rig.pass(millis(400));
    rig.bury();
    assert_eq!(headers_refused(&rig), 0, "it came in time, and only the hello did not");
}

#[test]
fn a_balancer_that_looks_whether_anybody_is_here_and_goes_is_no_link_that_was_lost() {
    for (introduction, said) in
        [(Introduction::Required, of_balancer()), (Introduction::Optional, of_balancer())]
    {
        for end in [End::Eof, End::Broken(RESET)] {
            let mut rig = rig(introduction);
            let token = rig.accept(0);
            rig.arrive(token, &said);
            assert_eq!(rig.links.peer(token), Some(abroad().into()));
            rig.ended(token, end);
            rig.bury();
            assert_eq!(rig.counted(), ["balancer_checks", "links_accepted"]);
        }
        let mut rig = rig(introduction);
        let token = rig.accept(0);
        rig.ended(token, End::Eof);
        rig.bury();
        assert_eq!(rig.counted(), ["links_accepted"], "it need not say so");
    }
    let mut rig = rig(Introduction::Required);
    let token = rig.accept(0);
    rig.arrive(token, &of_balancer()[..9]);
    rig.ended(token, End::Eof);
    rig.bury();
    assert_eq!(rig.counted(), ["links_accepted", "links_lost"], "it was about to say something");
}

#[test]
fn a_balancer_may_be_a_client_itself() {
    let mut rig = rig(Introduction::Required);
    let token = rig.accept(0);
    let bytes = [of_balancer(), rig.dial(token, Suite::NkChaChaPoly)].concat();
    rig.arrive(token, &bytes);
    assert_eq!((rig.links.peer(token), rig.links.is_hailed(token)), (Some(abroad().into()), true));
}

/// Where peers on this machine are exempt, a balancer on it is, and its clients are not.
#[test]
fn clients_are_strangers_wherever_their_balancer_is() {
    let here = Peer::Tcp(([127, 0, 0, 1], 4000).into());
    let local = header(0x21, 0x11, &[127, 0, 0, 1, 127, 0, 0, 1, 0x03, 0xe8, 0x1c, 0xe8]);
    for (said, strangers) in [(of_client(), 1), (local, 1), (of_balancer(), 0)] {
        let mut rig = Rig::new(Settings { loopback_exempt: true, ..settings() });
        rig.introduction = Introduction::Required;
        let token = rig.accept_from(0, FIRST, here);
        assert_eq!(rig.numbers()[..2], [1, 0]);
        rig.arrive(token, &said);
        assert_eq!(rig.numbers()[..2], [1, strangers]);
        assert_eq!(rig.links.is_local(token), strangers == 0);
    }
}

#[test]
fn strangers_who_push_out_the_rest_of_a_header_end_its_link() {
    let mut rig = Rig::new(Settings { stranger_bytes_max: 300, ..settings() });
    rig.introduction = Introduction::Required;
    for slot in 0..3 {
        let token = rig.accept(slot);
        rig.arrive(token, &of_client()[..20]);
    }
    assert_eq!((rig.links.peer(at(0)), rig.stranger_bytes()), (None, 256));
    rig.bury();
    assert!(rig.counted().contains(&"errors partial_evicted".to_owned()));
}
