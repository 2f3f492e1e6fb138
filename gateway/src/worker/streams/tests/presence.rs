//! Which links backends are told of.

use super::*;

/// Links of a worker of 4096 slots are told to a stream that has just come up, which nobody was told of before.
fn many() -> Stage {
    let mut stage = Stage::of(Settings { slots: 4096, ..settings() });
    stage.expire();
    stage.rise(FIRST);
    stage
}

/// Everything that a stream that has just come up is to be told of, of so many slots.
fn catch_up(stage: &mut Stage, stream: StreamIndex, slots: u32) -> Vec<Range<u32>> {
    std::iter::from_fn(|| stage.streams.missed_by(stream, slots, 1024)).take(10).collect()
}

#[test]
fn a_backend_is_told_of_a_link_once_and_of_its_end_once() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    for _ in 0..2 {
        stage.streams.link_opened(FIRST, 5, &opened(50));
    }
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["opened 50"]));
    for _ in 0..2 {
        close(&mut stage.streams, 5, &closed(50));
    }
    close(&mut stage.streams, 6, &closed(60));
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["closed 50"]), "the other one never knew of it");
    stage.streams.link_opened(FIRST, 5, &opened(51));
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["opened 51"]), "the slot has a new tenant");
}

#[test]
fn all_who_know_of_a_link_are_told_of_its_end() {
    let mut stage = Stage::standing(&[FIRST, SECOND]);
    for stream in [FIRST, SECOND] {
        stage.streams.link_opened(stream, 5, &opened(50));
    }
    stage.carry();
    stage.taken_at_backend();
    close(&mut stage.streams, 5, &closed(50));
    stage.carry();
    let both = [told(FIRST, &["closed 50"]), told(SECOND, &["closed 50"])].concat();
    assert_eq!(stage.taken_at_backend(), both);
}

#[test]
fn a_backend_that_comes_back_knows_of_nobody() {
    let mut stage = Stage::standing(&[FIRST]);
    stage.streams.link_opened(FIRST, 5, &opened(50));
    stage.streams.link_opened(FIRST, 6, &opened(60));
    stage.fall(FIRST);
    stage.rise(FIRST);
    close(&mut stage.streams, 5, &closed(50));
    stage.carry();
    assert!(stage.taken_at_backend().is_empty());
    stage.streams.link_opened(FIRST, 6, &opened(60));
    stage.carry();
    assert_eq!(stage.taken_at_backend(), told(FIRST, &["opened 60"]));
}

#[test]
fn the_backend_of_a_users_presence_is_that_of_its_requests() {
    let mut stage = Stage::standing(&[SECOND]);
    let presence = |stage: &Stage, user: &[u8]| stage.streams.presence(user).collect::<Vec<_>>();
    assert_eq!(presence(&stage, b"ann"), [SECOND]);
    stage.rise(FIRST);
    for user in 0..50_u8 {
        let chosen = stage.choose(&[user]).expect("both are up");
        assert_eq!(presence(&stage, &[user]), [chosen]);
    }
    let routes = vec![
        route("echo", &[FIRST, SECOND]),
        Route { presence: false, ..route("quiet", &[FIRST]) },
        route("solo", &[FIRST]),
    ];
    let mut stage = Stage::of(Settings { routes, ..settings() });
    stage.expire();
    assert!(presence(&stage, b"ann").is_empty(), "nobody is up");
    stage.rise(FIRST);
    assert_eq!(presence(&stage, b"ann"), [FIRST, FIRST], "once for each route that asks");
}

#[test]
fn a_stream_that_has_come_up_is_told_of_the_links_before_it_a_range_at_a_time() {
    let mut stage = many();
    assert!(stage.streams.has_work());
    assert_eq!(stage.streams.missed_by(FIRST, 3000, 1024), Some(0..1024));
    assert_eq!(stage.streams.missed_by(FIRST, 3000, 1024), Some(1024..2048));
    assert!(stage.streams.has_work());
    assert_eq!(stage.streams.missed_by(FIRST, 3500, 1024), Some(2048..3072), "more slots are used meanwhile");
    assert_eq!(stage.streams.missed_by(FIRST, 3500, 1024), Some(3072..3500));
    assert_eq!((stage.streams.missed_by(FIRST, 4096, 1024), stage.streams.has_work()), (None, false));
    assert_eq!(stage.streams.missed_by(SECOND, 4096, 1024), None, "there is no stream");
}

#[test]
fn a_whole_range_that_ends_with_the_slots_is_the_last_one() {
    let mut stage = many();
    assert_eq!(catch_up(&mut stage, FIRST, 2048), [0..1024, 1024..2048]);
    let mut stage = many();
    assert!(catch_up(&mut stage, FIRST, 0).iter().all(Range::is_empty), "there are no links");
    assert!(!stage.streams.has_work());
}

#[test]
fn whoever_has_much_to_send_is_told_later() {
    let mut stage = many();
    stage.streams.request(FIRST, &request(1, &[7; 2100])).expect("there is room");
    assert_eq!(stage.streams.missed_by(FIRST, 1500, 1024), None, "more than a quarter of what may wait does");
    assert!(!stage.streams.has_work(), "the worker may sleep until its send is over");
    let (token, batch) = stage.flush().remove(0);
    assert!(stage.streams.has_work());
    assert_eq!(stage.streams.missed_by(FIRST, 1500, 1024), Some(0..1024));
    stage.sent(token, batch);
    stage.streams.request(FIRST, &request(2, &[7; 1900])).expect("there is room");
    assert_eq!(
        stage.streams.missed_by(FIRST, 1500, 1024),
        Some(1024..1500),
        "with less than that it goes on"
    );
}

#[test]
fn a_stream_that_ends_is_told_of_nobody_any_more() {
    let mut stage = many();
    assert_eq!(stage.streams.missed_by(FIRST, 3000, 1024), Some(0..1024));
    stage.streams.mark(FIRST, Reason::Ended);
    stage.bury();
    assert_eq!((stage.streams.missed_by(FIRST, 3000, 1024), stage.streams.has_work()), (None, false));
    stage.close();
    stage.until_ops();
    assert!(stage.dialled().contains(&0));
    stage.rise(FIRST);
    assert_eq!(catch_up(&mut stage, FIRST, 2000), [0..1024, 1024..2000], "and begins anew");
}
