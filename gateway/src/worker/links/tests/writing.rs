//! Frames of a turn become one record and one send; who does not read is closed.

use super::*;

fn pong(nonce: u32) -> Frame<'static> {
    Frame::Pong { nonce }
}

fn is_marked_as_slow(rig: &mut Rig, token: Token) -> bool {
    let marked = rig.links.next_marked();
    let is_slow = matches!(&marked, Some((found, Cause::Close(farewell)))
        if *found == token && *farewell == CloseCode::SlowReader.into());
    assert!(is_slow || marked.is_none(), "{marked:?}");
    is_slow
}

#[test]
fn the_frames_of_a_turn_become_one_record_and_one_send() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    for nonce in 0..3 {
        assert!(rig.send(token, &pong(nonce)));
    }
    rig.links.send_with(&mut rig.turn, token, 0, |out| pong(3).encode(out));
    assert!(rig.ops().is_empty(), "they wait for the flush");
    rig.flush();
    assert_eq!(rig.ops(), ["send 0"]);
    let bytes = &rig.kernel.sends[&token].bytes;
    assert_eq!(records(bytes), [bytes.len() - 18]);
    assert_eq!(rig.turn.counters.bytes_out.get() as usize, bytes.len() + welcome_len());
    rig.sent(token);
    assert_eq!(rig.told(token), ["pong 0", "pong 1", "pong 2", "pong 3"]);
    assert_eq!((rig.turn.counters.frames_out.get(), rig.turn.counters.sends_out.get()), (5, 2));
    rig.flush();
    assert!(rig.ops().is_empty(), "there is nothing more to say");
}

/// Plaintext bytes of each record.
fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes(*len));
        found.push(len - 16);
        bytes = &rest[len..];
    }
    found
}

fn welcome_len() -> usize {
    let mut plain = Vec::new();
    Frame::Welcome(&[]).encode(&mut plain);
    plain.len() + 18
}

#[test]
fn a_long_batch_becomes_several_records() {
    let mut rig = Rig::new(Settings { record_plain_max: 1000, ..settings() });
    let token = rig.live_sending(0, &response(&[0; 2500]));
    let lens = records(&rig.kernel.sends[&token].bytes);
    assert!(lens.len() == 3 && lens[..2] == [1000, 1000], "{lens:?}");
    rig.sent(token);
    assert_eq!(rig.told(token), ["response"]);
}

#[test]
fn nothing_is_sent_to_a_link_without_keys() {
    let mut rig = Rig::new(settings());
    let token = rig.hailed(0);
    assert!(!rig.send(token, &PONG));
    rig.settle();
    rig.flush();
    assert_eq!((rig.ops().len(), rig.outgoing_bytes()), (0, 0));
    let token = rig.open(1);
    assert!(rig.send(token, &PONG));
}

#[test]
fn while_a_send_is_in_flight_frames_wait_for_their_turn() {
    let mut rig = Rig::new(settings());
    let token = rig.live_sending(0, &pong(1));
    for nonce in 2..4 {
        rig.send(token, &pong(nonce));
        rig.flush();
        assert!(rig.ops().is_empty());
    }
    rig.sent(token);
    assert!(rig.ops().is_empty(), "the turn may have more to say");
    rig.send(token, &pong(4));
    rig.flush();
    assert_eq!(rig.ops(), ["send 0"]);
    rig.sent(token);
    rig.flush();
    assert_eq!(rig.told(token), ["pong 1", "pong 2", "pong 3", "pong 4"]);
    assert_eq!((rig.ops().len(), rig.outgoing_bytes()), (0, 0));
}

#[test]
fn a_send_that_is_cut_short_goes_on_where_it_stopped() {
    let mut rig = Rig::new(settings());
    let token = rig.live_sending(0, &pong(1));
    rig.send(token, &pong(2));
    rig.sent_part(token, 1);
    rig.flush();
    assert_eq!(rig.ops(), ["send 0"]);
    rig.unsent(token, Sent::Again);
    assert_eq!((rig.ops(), rig.kernel.sends[&token].sent), (vec!["send 0".into()], 1));
    rig.sent(token);
    assert_eq!((rig.ops().len(), rig.told(token)), (0, vec!["pong 1".into()]));
    rig.flush();
    rig.sent(token);
    assert_eq!(rig.told(token), ["pong 2"]);
}

#[test]
fn a_send_that_breaks_loses_the_link() {
    for why in [Sent::Broken(RESET), Sent::Cancelled] {
        let mut rig = Rig::new(settings());
        let token = rig.live_sending(0, &pong(1));
        rig.unsent(token, why);
        assert!(!rig.links.is_live(token), "{why:?}");
        rig.bury();
        assert_eq!((rig.ops(), rig.counted()), (vec!["cancel poll 0".into()], vec!["links_lost".into()]));
        rig.ended(token, End::Cancelled);
        rig.closed(token);
        rig.assert_empty();
    }
}

#[test]
fn bytes_count_from_the_queue_until_the_kernel_has_all_of_them() {
    let mut rig = Rig::new(settings());
    let (one, two) = (rig.live(0), rig.live(1));
    rig.send(one, &response(&[0; 600]));
    rig.send(two, &pong(1));
    assert_eq!(rig.outgoing_bytes(), 1024 + 512, "those of buffers");
    rig.flush();
    assert_eq!(rig.outgoing_bytes(), 1024 + 512);
    rig.send(one, &pong(1));
    rig.sent(two);
    rig.sent_part(one, 3);
    assert_eq!(rig.outgoing_bytes(), 1024 + 512);
    rig.sent(one);
    assert_eq!(rig.outgoing_bytes(), 512);
    rig.flush();
    rig.sent(one);
    assert_eq!(rig.outgoing_bytes(), 0);
    rig.links.publish(&rig.turn.counters);
    assert_eq!(rig.turn.counters.outbox_bytes.get(), 0);
}

/// A link of whose queue nothing leaves, since a send is in flight.
fn stuck(rig: &mut Rig, slot: u32) -> Token {
    rig.live_sending(slot, &PONG)
}

#[test]
fn over_the_soft_bound_a_link_has_some_time_to_read() {
    let mut rig = Rig::new(Settings { outgoing_soft_time: millis(1000), ..settings() });
    let token = stuck(&mut rig, 0);
    assert!(rig.send(token, &response(&[0; 900])));
    rig.pass(millis(5000));
    assert!(!is_marked_as_slow(&mut rig, token), "1000 bytes may wait as long as they like");
    assert!(rig.send(token, &response(&[0; 100])));
    assert!(rig.links.next_deadline(&rig.turn) <= Some(rig.turn.now + millis(1000)));
    rig.pass(millis(600));
    assert!(rig.send(token, &PONG), "more does not give it more time");
    rig.pass(millis(300));
    assert!(!is_marked_as_slow(&mut rig, token));
    rig.pass(millis(100));
    assert!(is_marked_as_slow(&mut rig, token));
}

#[test]
fn a_link_may_be_slow_from_the_first_moment_of_the_process_on() {
    let mut rig = Rig::new(Settings { outgoing_soft_time: millis(1000), ..settings() });
    rig.turn.now = Time::ZERO;
    rig.links = Links::new(&rig.turn.settings, HashKey::new([1; 16]), Time::ZERO);
    let token = stuck(&mut rig, 0);
    assert!(rig.send(token, &response(&[0; 1500])));
    rig.pass(millis(1100));
    assert!(is_marked_as_slow(&mut rig, token));
}

/// The payload of a response with which so many bytes wait for a link.
fn filling(len: usize) -> Vec<u8> {
    let mut payload = vec![0; len];
    loop {
        let mut batch = vec![0; 2];
        response(&payload).encode(&mut batch);
        match batch.len().checked_sub(len) {
            Some(0) => return payload,
            Some(more) => payload.truncate(payload.len() - more),
            None => panic!("no response is as long as that"),
        }
    }
}

#[test]
fn a_bound_may_be_reached() {
    let bounds = Settings { outgoing_len_soft: 900, outgoing_len_max: 2000, ..settings() };
    // A buffer for what is on its way to each of them, and those for what waits.
    let bytes = 3 * 512 + 1024 + 2048;
    let mut rig = Rig::new(Settings { outgoing_bytes_max: bytes, ..bounds });
    let (soft, hard, last) = (stuck(&mut rig, 0), stuck(&mut rig, 1), stuck(&mut rig, 2));
    assert!(rig.send(soft, &response(&filling(900))));
    rig.pass(millis(2000));
    assert!(rig.send(hard, &response(&filling(2000))));
    assert_eq!((rig.outgoing_bytes(), rig.has_work()), (bytes, false));
    assert!(rig.send(last, &PONG));
    assert!(is_marked_as_slow(&mut rig, hard), "with one byte more there is too much");
}

#[test]
fn a_link_that_reads_in_time_may_be_over_the_soft_bound_again() {
    let mut rig = Rig::new(Settings { outgoing_soft_time: millis(1000), ..settings() });
    let token = stuck(&mut rig, 0);
    for _ in 0..5 {
        assert!(rig.send(token, &response(&[0; 1100])));
        rig.pass(millis(900));
        rig.sent(token);
        rig.flush();
        rig.pass(millis(200));
        assert!(!is_marked_as_slow(&mut rig, token));
    }
}

#[test]
fn while_no_send_is_in_flight_nobody_reads_slowly() {
    let bounds = Settings { outgoing_len_soft: 900, outgoing_len_max: 2000, ..settings() };
    let mut rig =
        Rig::new(Settings { outgoing_bytes_max: 1 << 20, outgoing_soft_time: millis(1000), ..bounds });
    let token = rig.live(0);
    for _ in 0..2 {
        // All in one turn.
        for _ in 0..200 {
            assert!(rig.send(token, &response(&[0; 100])));
        }
        rig.flush();
        rig.pass(millis(2000));
        assert!(!is_marked_as_slow(&mut rig, token), "nothing waits behind what is on its way");
        rig.sent(token);
    }
    assert_eq!(rig.told(token).len(), 400);
}

#[test]
fn whoever_takes_a_byte_now_and_then_is_not_slow_yet() {
    let mut rig = Rig::new(Settings { outgoing_soft_time: millis(1000), ..settings() });
    let token = rig.live_sending(0, &response(&[0; 500]));
    assert!(rig.send(token, &response(&[0; 1500])));
    for _ in 0..5 {
        rig.pass(millis(900));
        rig.sent_part(token, 1);
        rig.unsent(token, Sent::Again);
        assert!(!is_marked_as_slow(&mut rig, token));
    }
    rig.pass(millis(500));
    rig.unsent(token, Sent::Again);
    rig.pass(millis(600));
    assert!(is_marked_as_slow(&mut rig, token), "it has taken nothing for a second");
}

#[test]
fn over_the_hard_bound_a_link_is_closed_and_told_so() {
    let mut rig = Rig::new(Settings { outgoing_len_max: 4000, ..settings() });
    let token = stuck(&mut rig, 0);
    assert!(rig.send(token, &response(&[0; 3900])));
    assert!(!rig.send(token, &response(&[0; 200])));
    assert_eq!((rig.outgoing_bytes(), rig.links.is_live(token)), (0, false));
    assert!(!rig.send(token, &PONG));
    assert_eq!(rig.bury_one().code, Some(CloseCode::SlowReader.number()));
    rig.pass(millis(1000));
    rig.flush();
    assert_eq!(rig.ops(), ["cancel poll 0", "cancel send 0"], "a second to read it, as for everybody");
}

#[test]
fn a_link_over_the_hard_bound_has_read_what_was_on_its_way() {
    let mut rig = Rig::new(Settings { outgoing_len_max: 4000, ..settings() });
    let token = rig.live_sending(0, &response(&[0; 3900]));
    assert!(!rig.send(token, &response(&[0; 4100])));
    rig.bury();
    // Of the time it had to read frames nothing is left over for the close.
    rig.pass(millis(900));
    rig.sent_part(token, 2000);
    rig.sent(token);
    rig.flush();
    rig.sent(token);
    assert_eq!(rig.told(token), ["response", "close slow_reader"]);
}

#[test]
fn when_all_links_together_have_too_much_the_largest_goes() {
    let mut rig = Rig::new(Settings { outgoing_bytes_max: 16 << 10, ..settings() });
    for slot in 0..4 {
        rig.live(slot);
    }
    // What is on its way counts as what waits.
    assert!(rig.send(at(1), &response(&[0; 3000])));
    rig.flush();
    for (slot, len) in [(0, 3000), (1, 1500), (2, 3000)] {
        assert!(rig.send(at(slot), &response(&vec![0; len])));
    }
    assert!(!rig.has_work());
    assert!(rig.send(at(3), &response(&[0; 2000])), "it is not the one");
    assert_eq!(rig.outgoing_bytes(), 4096 + 4096 + 4096);
    assert!(is_marked_as_slow(&mut rig, at(1)));
    assert!([0, 2, 3].iter().all(|&slot| rig.links.is_live(at(slot))));
}

#[test]
fn when_there_is_too_much_an_eighth_of_the_bound_is_freed_at_once() {
    let mut rig = Rig::new(Settings {
        outgoing_bytes_max: 64 << 10,
        buffers_idle_max: 1 << 20,
        slots: 200,
        ..settings()
    });
    // 120 of the smallest buffers and two larger ones fit.
    for slot in 0..123 {
        rig.live(slot);
    }
    for slot in 0..120 {
        assert!(rig.send(at(slot), &PONG));
    }
    for slot in 120..122 {
        assert!(rig.send(at(slot), &response(&[0; 1000])));
    }
    assert!(rig.send(at(122), &PONG), "the larger ones go, and it stays");
    let lives = |rig: &Rig| (0..123).filter(|&slot| rig.links.is_live(at(slot))).count();
    assert_eq!((rig.outgoing_bytes(), lives(&rig)), ((56 << 10), 112));
    assert!(!rig.links.is_live(at(120)) && !rig.links.is_live(at(121)));
}

#[test]
fn under_overload_the_largest_is_cut_off_where_queues_are_more_than_half_full() {
    let mut rig = Rig::new(Settings { outgoing_bytes_max: 16 << 10, ..settings() });
    for (slot, len) in [(0, 1000), (1, 3000)] {
        rig.live(slot);
        assert!(rig.send(at(slot), &response(&vec![0; len])));
    }
    rig.links.shed_largest(&rig.turn);
    assert!(!rig.has_work(), "it is not much");
    rig.live(2);
    assert!(rig.send(at(2), &response(&[0; 3500])));
    rig.links.shed_largest(&rig.turn);
    let marked = rig.links.next_marked().map(|(token, _)| token);
    assert!(marked == Some(at(1)) || marked == Some(at(2)), "{marked:?}");
    assert!(rig.links.is_live(at(0)) && !rig.has_work(), "one is enough");
}

#[test]
fn who_has_too_much_may_be_the_largest_itself() {
    let mut rig = Rig::new(Settings { outgoing_bytes_max: 6000, ..settings() });
    rig.live(0);
    rig.live(1);
    assert!(rig.send(at(0), &response(&[0; 1900])));
    assert!(!rig.send(at(1), &response(&[0; 3500])));
    assert!(is_marked_as_slow(&mut rig, at(1)));
    assert!(rig.send(at(0), &PONG), "there is room again");
}

#[test]
fn a_marked_link_is_not_the_largest() {
    let mut rig = Rig::new(Settings { outgoing_bytes_max: 8000, ..settings() });
    for slot in 0..3 {
        rig.live(slot);
    }
    assert!(rig.send(at(0), &response(&[0; 3900])));
    rig.links.mark(at(0), Cause::Close(CloseCode::Kicked.into()));
    assert!(rig.send(at(1), &response(&[0; 1900])), "what was for the other one counts no more");
    assert!(!rig.send(at(2), &response(&[0; 4100])));
    let marked: Vec<_> = std::iter::from_fn(|| rig.links.next_marked()).map(|(token, _)| token).collect();
    assert_eq!(marked, [at(0), at(2)]);
}

#[test]
fn a_pong_may_bring_a_new_heartbeat() {
    let mut rig = Rig::new(settings());
    let token = rig.live(0);
    rig.links.pong(&mut rig.turn, token, 5, Some(millis(3000)));
    rig.flush();
    rig.sent(token);
    assert_eq!((rig.told(token), rig.counted()), (vec!["pong 5".into()], vec!["pings".into()]));
    rig.pass(millis(5900));
    assert!(rig.links.is_live(token));
    rig.pass(millis(100));
    assert!(!rig.links.is_live(token));
}
