use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { session_count: 3, count: 8, bytes: 800, behind: Duration::from_secs(60) };

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn link(slot: u32) -> LinkId {
    LinkId::new(0, slot, 1)
}

fn windows() -> (Windows, WindowKey) {
    let mut windows = Windows::new(BOUNDS, 4, 16);
    let key = windows.open(link(1)).expect("there is room");
    (windows, key)
}

fn id(name: u8) -> [u8; REQUEST_ID_LEN] {
    [name; REQUEST_ID_LEN]
}

/// A client sends a request of this name, which is its number as well, and of this key; it may run until then.
fn send(windows: &mut Windows, key: WindowKey, name: u8, order: u32, again: bool, now: u64) -> Known {
    let id = id(name);
    let asked = Asked { id: &id, counter: name.into(), again, route: 1, order, until: at(now + 10) };
    windows.ask(key, link(1), &asked, at(now))
}

fn new(known: Known) -> EntryKey {
    match known {
        Known::New { entry: Some(entry), .. } => entry,
        other => panic!("it is known: {other:?}"),
    }
}

fn body(windows: &Windows, known: Known) -> Option<Vec<u8>> {
    match known {
        Known::Answered(at) => windows.answer_at(at).and_then(|wanted| wanted.body.map(<[u8]>::to_vec)),
        _ => None,
    }
}

#[test]
fn a_repeat_of_a_running_request_attaches_and_one_of_an_answered_one_is_answered() {
    let (mut windows, key) = windows();
    let first = new(send(&mut windows, key, 1, 0, false, 0));
    assert_eq!(send(&mut windows, key, 1, 0, true, 1), Known::Running(None));
    assert_eq!(windows.answer(first, 7, Some(b"hello")), Settled::Told);
    assert_eq!(windows.answer(first, 7, Some(b"hello")), Settled::Unknown, "once");
    let again = send(&mut windows, key, 1, 0, true, 2);
    assert_eq!(body(&windows, again), Some(b"hello".to_vec()));
    assert_eq!(windows.answer_at(first).map(|wanted| (wanted.id, wanted.status)), Some((id(1), 7)));
}

#[test]
fn refused_and_unknown_requests_are_not_remembered() {
    let (mut windows, key) = windows();
    let first = new(send(&mut windows, key, 1, 0, false, 0));
    assert_eq!(windows.fail(first, true, at(1)), Settled::Told);
    assert!(matches!(send(&mut windows, key, 1, 0, true, 2), Known::New { again: true, .. }));
}

#[test]
fn a_number_that_is_not_larger_than_all_before_is_a_repeat_even_if_it_does_not_say_so() {
    let (mut windows, key) = windows();
    for name in 1..=5 {
        let entry = new(send(&mut windows, key, name, 0, false, 0));
        windows.answer(entry, 0, Some(b""));
    }
    let is_again = |known| matches!(known, Known::New { again: true, .. });
    assert!(
        is_again(send(&mut windows, key, 1, 0, false, 1))
            && is_again(send(&mut windows, key, 2, 0, false, 1))
    );
    assert!(matches!(send(&mut windows, key, 3, 0, false, 1), Known::Answered(_)), "three are remembered");
    let refused = send(&mut windows, key, 6, 0, false, 1);
    assert!(matches!(refused, Known::New { again: false, .. }));
    windows.fail(new(refused), true, at(1));
    assert!(is_again(send(&mut windows, key, 6, 0, false, 1)), "it was refused, and is not remembered");
}

#[test]
fn an_answer_whose_bytes_are_gone_was_given_before() {
    let (mut windows, key) = windows();
    let large = new(send(&mut windows, key, 1, 0, false, 0));
    assert_eq!(
        windows.answer(large, 0, Some(&[1; 101])),
        Settled::Told,
        "an eighth of the bytes is kept at most"
    );
    assert_eq!(send(&mut windows, key, 1, 0, true, 1), Known::Forgotten);
    let small = new(send(&mut windows, key, 2, 0, false, 0));
    windows.answer(small, 0, Some(&[2; 100]));
    let other = windows.open(link(2)).expect("there is room");
    for name in 3..=10 {
        let entry = new(send(&mut windows, other, name, 0, false, 1));
        windows.answer(entry, 0, Some(&[3; 100]));
    }
    assert_eq!(send(&mut windows, key, 2, 0, true, 2), Known::Forgotten, "another one's took its place");
}

#[test]
fn a_worker_forgets_the_oldest_of_all() {
    let (mut windows, key) = windows();
    let others = [2, 3].map(|slot| windows.open(link(slot)).expect("there is room"));
    for (window, names) in [(key, 1..=3), (others[0], 4..=6), (others[1], 7..=9)] {
        for name in names {
            let entry = new(send(&mut windows, window, name, 0, false, 0));
            windows.answer(entry, 0, Some(b""));
        }
    }
    assert!(
        matches!(send(&mut windows, key, 1, 0, true, 1), Known::New { again: true, .. }),
        "the ninth pushed it out"
    );
    assert!(matches!(send(&mut windows, key, 2, 0, true, 1), Known::Answered(_)));
    assert_eq!((windows.census().0, windows.census().2), (8, 1));
}

#[test]
fn what_ran_when_the_link_ended_is_told_to_whoever_asks() {
    let (mut windows, key) = windows();
    let [asked, unasked] = [1, 2].map(|name| new(send(&mut windows, key, name, 0, false, 0)));
    windows.leave(key);
    assert_eq!(send(&mut windows, key, 1, 0, true, 1), Known::Running(Some(asked)));
    assert_eq!(windows.answer(asked, 0, Some(b"a")), Settled::Told);
    assert_eq!(windows.answer(unasked, 0, Some(b"b")), Settled::Kept);
    let fetched = send(&mut windows, key, 2, 0, true, 2);
    assert_eq!(body(&windows, fetched), Some(b"b".to_vec()));
}

#[test]
fn one_that_can_run_no_more_goes_again() {
    let (mut windows, key) = windows();
    let first = new(send(&mut windows, key, 1, 9, false, 0));
    windows.leave(key);
    assert!(windows.has_away(key, 1, 9, at(9)) && !windows.has_away(key, 1, 9, at(10)));
    assert_eq!(send(&mut windows, key, 1, 9, true, 10), Known::New { again: true, entry: Some(first) });
    assert_eq!(send(&mut windows, key, 1, 9, true, 11), Known::Running(None));
}

#[test]
fn whoever_has_asked_for_one_that_never_ends_hears_of_it() {
    let (mut windows, key) = windows();
    let [asked, unasked] = [1, 2].map(|name| new(send(&mut windows, key, name, 0, false, 0)));
    windows.leave(key);
    send(&mut windows, key, 1, 0, true, 1);
    assert_eq!(windows.until(asked), Some(at(10)));
    assert_eq!(windows.overdue(asked.index(), at(9)), None);
    assert_eq!(windows.overdue(asked.index(), at(10)), Some((link(1), id(1))));
    assert_eq!(
        (windows.overdue(asked.index(), at(10)), windows.overdue(unasked.index(), at(10))),
        (None, None)
    );
}

#[test]
fn later_ones_of_a_key_wait_behind_what_has_to_come_again_in_their_order() {
    let (mut windows, key) = windows();
    let first = new(send(&mut windows, key, 1, 9, false, 0));
    windows.fail(first, true, at(0));
    assert_eq!(send(&mut windows, key, 2, 9, false, 1), Known::Behind);
    new(send(&mut windows, key, 3, 8, false, 1));
    assert_eq!(send(&mut windows, key, 1, 9, true, 2), Known::New { again: true, entry: Some(first) });
    assert_eq!(send(&mut windows, key, 4, 9, false, 3), Known::Behind, "the second has not come yet");
    windows.fail(first, true, at(3));
    assert_eq!(send(&mut windows, key, 2, 9, true, 4), Known::Behind, "the first has failed again");
    new(send(&mut windows, key, 1, 9, true, 5));
    new(send(&mut windows, key, 2, 9, true, 5));
    new(send(&mut windows, key, 4, 9, true, 5));
    new(send(&mut windows, key, 5, 9, false, 5));
}

#[test]
fn what_never_can_come_again_and_what_did_not_come_for_a_while_holds_nothing_back() {
    let (mut windows, key) = windows();
    let first = new(send(&mut windows, key, 1, 9, false, 0));
    windows.fail(first, false, at(0));
    let second = new(send(&mut windows, key, 2, 9, false, 0));
    windows.fail(second, true, at(0));
    assert_eq!(send(&mut windows, key, 3, 9, false, 59), Known::Behind);
    let fourth = send(&mut windows, key, 4, 9, false, 60);
    assert_eq!(fourth, Known::Behind, "the third is behind, and must come first");
    new(send(&mut windows, key, 5, 9, false, 120));
}

#[test]
fn one_that_is_turned_away_holds_back_its_key_and_asks_for_nothing() {
    let (mut windows, key) = windows();
    let running = new(send(&mut windows, key, 1, 9, false, 0));
    windows.leave(key);
    let turn_away = |windows: &mut Windows, name| {
        let id = id(name);
        let asked = Asked { id: &id, counter: name.into(), again: false, route: 1, order: 9, until: at(10) };
        windows.turn_away(key, &asked, at(1));
    };
    turn_away(&mut windows, 1);
    assert_eq!(windows.answer(running, 0, Some(b"a")), Settled::Kept, "nobody has asked for it");
    turn_away(&mut windows, 2);
    assert_eq!(send(&mut windows, key, 3, 9, false, 1), Known::Behind);
}

#[test]
fn a_flood_behind_a_mark_does_not_push_it_out() {
    let (mut windows, key) = windows();
    let first = new(send(&mut windows, key, 1, 9, false, 0));
    windows.fail(first, true, at(0));
    for name in 2..=30 {
        assert_eq!(send(&mut windows, key, name, 9, false, 1), Known::Behind, "{name}");
    }
    let other = new(send(&mut windows, key, 31, 8, false, 1));
    windows.fail(other, true, at(1));
    assert_eq!(send(&mut windows, key, 32, 9, false, 2), Known::Behind);
    assert_eq!(send(&mut windows, key, 33, 8, false, 2), Known::Behind);
}

#[test]
fn an_answer_without_room_waits_and_is_said_once() {
    let (mut windows, key) = windows();
    let [first, second] = [1, 2].map(|name| new(send(&mut windows, key, name, 0, false, 0)));
    windows.answer(first, 0, Some(b"a"));
    windows.answer(second, 0, Some(&[0; 200]));
    assert_eq!((windows.want(first), windows.want(second)), (true, false), "the second is not kept");
    assert_eq!(
        windows.next_wanted(key).map(|wanted| (wanted.entry, wanted.body)),
        Some((first, Some(b"a".as_slice())))
    );
    windows.said(first);
    assert!(windows.next_wanted(key).is_none());
    windows.want(first);
    windows.leave(key);
    assert!(windows.next_wanted(key).is_none(), "nobody waits for it any more");
}

#[test]
fn a_window_goes_to_another_worker_as_it_is() {
    let (mut windows, key) = windows();
    let running = new(send(&mut windows, key, 1, 9, false, 0));
    let answered = new(send(&mut windows, key, 2, 0, false, 0));
    let marked = new(send(&mut windows, key, 3, 8, false, 0));
    windows.answer(answered, 5, Some(b"five"));
    windows.fail(marked, true, at(0));
    let carried = windows.pack(key);
    assert!(carried.bytes() > 4);
    assert_eq!((windows.running(), windows.census().0), ((0, 0), 0));
    assert!(!windows.is_at(key, running, &id(1)));
    let mut others = Windows::new(BOUNDS, 4, 16);
    let key = others.unpack(link(7), carried).expect("there is room");
    assert!(others.has_away(key, 1, 9, at(1)));
    assert_eq!(send(&mut others, key, 4, 8, false, 1), Known::Behind);
    let again = send(&mut others, key, 2, 0, true, 1);
    assert_eq!(body(&others, again), Some(b"five".to_vec()));
    let running = others.find(key, &id(1)).expect("it runs");
    assert_eq!(others.answer(running, 0, Some(b"one")), Settled::Kept);
    others.close(key);
    assert_eq!((others.running(), others.census().0), ((0, 0), 0));
}

#[test]
fn where_there_is_no_room_a_request_goes_unremembered() {
    let mut windows = Windows::new(Bounds { count: 0, ..BOUNDS }, 1, 1);
    let key = windows.open(link(1)).expect("there is room");
    assert!(windows.open(link(2)).is_none());
    let only = new(send(&mut windows, key, 1, 0, false, 0));
    assert_eq!(send(&mut windows, key, 2, 0, false, 0), Known::New { again: false, entry: None });
    assert_eq!(windows.answer(only, 0, Some(b"a")), Settled::Told);
    assert_eq!(windows.census().0, 0);
    new(send(&mut windows, key, 3, 0, false, 0));
}

/// What a plain list would know of a request.
#[derive(Clone, Debug, PartialEq)]
enum Model {
    Running,
    Away(bool),
    Answered(Vec<u8>),
    Marked,
}

proptest! {
    /// Against a list without bounds: what it says is never contradicted, only forgotten; and lists and counts hold together.
    #[test]
    fn says_what_a_list_would_say(steps in prop::collection::vec((0..8u8, 1..24u8, 0..3u32), 1..250)) {
        let (mut windows, mut key) = windows();
        let mut model: VecDeque<(u8, u32, Model)> = VecDeque::new();
        for (kind, name, order) in steps {
            let was_sent = model.iter().position(|(known, ..)| *known == name);
            let order = was_sent.map_or(order, |place| model[place].1);
            // What was forgotten comes as if it were new.
            let is_forgotten = |place: &usize| {
                matches!(model[*place].2, Model::Answered(_)) && windows.find(key, &id(name)).is_none()
            };
            if let Some(place) = was_sent.filter(is_forgotten) {
                model.remove(place);
            }
            let place = model.iter().position(|(known, ..)| *known == name);
            match kind {
                0..=2 => {
                    let known = send(&mut windows, key, name, order, was_sent.is_some(), 0);
                    let before = place.unwrap_or(model.len());
                    let waits = order != 0
                        && model.iter().take(before).any(|(_, other, state)| *other == order && *state == Model::Marked);
                    match (known, place.map(|place| model[place].2.clone())) {
                        (Known::New { .. }, None) => model.push_back((name, order, Model::Running)),
                        (Known::New { again, .. }, Some(Model::Marked)) => {
                            prop_assert!(again);
                            model[before].2 = Model::Running;
                        }
                        (Known::Running(None), Some(Model::Running)) => {}
                        (Known::Running(Some(_)), Some(Model::Away(_))) => model[before].2 = Model::Away(true),
                        (Known::Answered(_), Some(Model::Answered(expected))) => {
                            prop_assert_eq!(body(&windows, known), Some(expected));
                        }
                        (Known::Forgotten, Some(Model::Answered(_))) => {}
                        (Known::Behind, Some(Model::Marked)) => prop_assert!(waits),
                        (Known::Behind, None) => {
                            prop_assert!(waits);
                            model.push_back((name, order, Model::Marked));
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                3 | 4 if place.is_some() => {
                    let place = place.expect("it is known");
                    let Some(at) = windows.find(key, &id(name)) else { continue };
                    let said = vec![name; usize::from(name)];
                    let settled = match kind {
                        3 => windows.answer(at, 0, Some(&said)),
                        _ => windows.fail(at, true, Time::ZERO),
                    };
                    let expected = match model[place].2 {
                        Model::Running | Model::Away(true) => Settled::Told,
                        Model::Away(false) => Settled::Kept,
                        _ => Settled::Unknown,
                    };
                    prop_assert_eq!(settled, expected);
                    match (kind, order) {
                        _ if settled == Settled::Unknown => {}
                        (3, _) => model[place].2 = Model::Answered(said),
                        (_, 0) => drop(model.remove(place)),
                        _ => model[place].2 = Model::Marked,
                    }
                }
                5 | 6 => {
                    windows.leave(key);
                    for (_, _, state) in &mut model {
                        if matches!(state, Model::Running | Model::Away(_)) {
                            *state = Model::Away(false);
                        }
                    }
                    if kind == 6 {
                        let carried = windows.pack(key);
                        prop_assert_eq!((windows.running(), windows.census().0), ((0, 0), 0));
                        key = windows.unpack(link(1), carried).expect("there is room");
                    }
                }
                _ => {}
            }
            // Marks and answers may be forgotten, and requests that found no room; nothing else.
            model.retain(|(name, _, state)| *state != Model::Marked || windows.find(key, &id(*name)).is_some());
            let running = model.iter().filter(|(_, _, state)| matches!(state, Model::Running | Model::Away(_)));
            prop_assert_eq!(windows.running().1, running.count());
            prop_assert!(windows.census().0 <= BOUNDS.count);
        }
    }
}
