//! Links between sockets of the simulation: order, ends and limits.

use super::*;
use crate::Errno;
use crate::sim::{Faults, State};

fn pair(seed: u64) -> (Net, Socket, Socket) {
    let net = Net::new(seed);
    let backlog = net.listen(&place(1), Buffers { send: 100, receive: 100 });
    let near = net.connect(&place(1), peer(7), Buffers { send: 100, receive: 100 });
    assert_eq!(near.state(), State::Connecting);
    assert_eq!(near.write(b"too early"), 0);
    net.carry_all();
    let far = backlog.accept().unwrap();
    assert_eq!((near.state(), far.state()), (State::Open, State::Open));
    assert_eq!((near.peer(), far.peer()), (None, Some(peer(7))));
    (net, near, far)
}

fn read(socket: &Socket) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read(&mut bytes, usize::MAX);
    bytes
}

const BROKEN: State = State::Broken(Errno(libc::ECONNRESET));

#[test]
fn bytes_arrive_in_order_however_they_are_split() {
    let mut sizes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (net, near, far) = pair(seed);
        let sent: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let (mut written, mut got) = (0, Vec::new());
        while got.len() < sent.len() {
            written += near.write(&sent[written..]);
            net.step();
            sizes.insert(far.read(&mut got, usize::MAX));
            assert!(net.bytes_held() <= 200);
        }
        assert_eq!(got, sent);
    }
    assert!(sizes.len() > 20 && sizes.contains(&1) && sizes.contains(&100), "splits of all sizes: {sizes:?}");
}

#[test]
fn an_orderly_end_comes_after_the_last_byte() {
    let (net, near, far) = pair(1);
    near.write(b"last words");
    near.shutdown();
    assert_eq!(near.write(b"more"), 0);
    while far.state() == State::Open {
        net.step();
        if far.state() == State::Open {
            read(&far);
        }
    }
    assert_eq!(far.state(), State::Eof);
    assert_eq!(far.write(b"still heard"), 11);
    net.carry_all();
    assert_eq!(read(&near), b"still heard");
}

#[test]
fn closing_with_unread_input_breaks_the_link() {
    let (net, near, far) = pair(1);
    near.write(b"never read");
    net.carry_all();
    far.write(b"lost on the way");
    drop(far);
    net.carry_all();
    assert_eq!((near.state(), read(&near)), (BROKEN, vec![]));
    drop(near);
    assert_eq!(net.links(), 0);
}

#[test]
fn closing_with_nothing_unread_is_orderly_and_later_data_is_answered_by_a_reset() {
    let (net, near, far) = pair(1);
    far.write(b"bye");
    drop(far);
    net.carry_all();
    assert_eq!((read(&near), near.state()), (b"bye".to_vec(), State::Eof));
    assert_eq!(near.write(b"anybody there"), 13);
    net.carry_all();
    assert_eq!(near.write(b"anybody there"), 0);
}

#[test]
fn a_reset_spares_what_has_arrived_and_nothing_else() {
    let (net, near, far) = pair(1);
    near.write(b"there");
    net.carry_all();
    near.write(b"lost");
    near.reset();
    assert_eq!(near.state(), BROKEN);
    assert_eq!(far.state(), State::Open);
    net.carry_all();
    assert_eq!(read(&far), b"there");
    assert_eq!((far.state(), far.write(b"no")), (BROKEN, 0));
}

#[test]
fn a_dial_is_refused_where_nobody_listens_and_those_who_wait_are_reset_when_the_listener_goes() {
    let net = Net::new(1);
    let refused = net.connect(&place(9), peer(1), Buffers::default());
    net.carry_all();
    assert_eq!(refused.state(), State::Refused(Errno(libc::ECONNREFUSED)));
    let backlog = net.listen(&place(9), Buffers::default());
    let waiting = net.connect(&place(9), peer(1), Buffers::default());
    net.carry_all();
    assert_eq!((waiting.state(), backlog.endpoint()), (State::Open, place(9)));
    drop(backlog);
    net.carry_all();
    assert_eq!(waiting.state(), BROKEN);
    drop((refused, waiting));
    assert_eq!(net.links(), 0);
}

#[test]
fn a_cut_place_hears_nothing_until_it_is_mended_and_dials_to_it_time_out() {
    let (net, near, far) = pair(1);
    net.cut(&place(1));
    near.write(b"into the void");
    let late = net.connect(&place(1), peer(2), Buffers::default());
    for _ in 0..300 {
        net.step();
    }
    assert_eq!(late.state(), State::Refused(Errno(libc::ETIMEDOUT)));
    assert_eq!((read(&far), near.unsent(), net.is_quiet()), (vec![], 13, true));
    net.mend(&place(1));
    assert!(!net.is_quiet());
    net.carry_all();
    assert_eq!(read(&far), b"into the void");
    assert!(net.is_quiet());
}

#[test]
fn a_dial_given_up_leaves_nothing_behind() {
    let net = Net::new(1);
    let backlog = net.listen(&place(1), Buffers::default());
    drop(net.connect(&place(1), peer(1), Buffers::default()));
    let other = net.connect(&place(1), peer(2), Buffers::default());
    net.carry_all();
    assert_eq!(backlog.accept().unwrap().peer(), Some(peer(2)));
    assert!(backlog.accept().is_none());
    drop(other);
}

#[test]
fn links_overtake_each_other() {
    let overtakes = |seed| {
        let net = Net::new(seed);
        let backlog = net.listen(&place(1), Buffers::default());
        let [first, second] = [1, 2].map(|port| net.connect(&place(1), peer(port), Buffers::default()));
        net.carry_all();
        let far: Vec<Socket> = std::iter::from_fn(|| backlog.accept()).collect();
        first.write(b"1");
        second.write(b"2");
        let arrived = loop {
            net.step();
            match (read(&far[0]).len(), read(&far[1]).len()) {
                (0, 0) => {}
                arrived => break arrived,
            }
        };
        (arrived, far[0].peer() == Some(peer(1)))
    };
    let seen: std::collections::BTreeSet<_> = (0..40).map(overtakes).collect();
    assert!(seen.iter().any(|seen| seen.0 == (0, 1)) && seen.iter().any(|seen| seen.0 == (1, 0)), "{seen:?}");
}

#[test]
fn a_clogged_direction_waits_and_goes_on_when_faults_end() {
    let (net, near, far) = pair(3);
    net.set_faults(Faults { clog: 1, clog_steps_max: 100_000, ..Faults::none() });
    for _ in 0..20 {
        net.step();
    }
    near.write(b"stuck");
    for _ in 0..50 {
        net.step();
    }
    assert_eq!(read(&far), b"");
    net.faults_off();
    while !net.is_quiet() {
        net.step();
    }
    assert_eq!(read(&far), b"stuck");
}

#[test]
fn broken_links_are_heard_of_at_both_ends() {
    let (net, near, far) = pair(3);
    net.set_faults(Faults { reset: 1, ..Faults::none() });
    for _ in 0..50 {
        net.step();
    }
    assert!(matches!((near.state(), far.state()), (State::Broken(_), State::Broken(_))));
}
