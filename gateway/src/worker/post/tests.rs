//! Letters of one worker between the queues of others.

use super::*;
use crate::collections::HashKey;
use crate::directory::churn::Pace;
use crate::directory::claims::{Claimed, Outcome};
use crate::directory::revocations::Revoked;
use crate::id::LinkId;

const ME: u32 = 0;
const ANN: u32 = 1;
const BOB: u32 = 2;

/// One worker and the queues of two others.
struct Office {
    letters: Letters,
    ann: Mailbox,
    bob: Mailbox,
    turn: Turn,
    /// The way to this worker.
    to_me: Post,
}

/// A worker whose queue holds two letters; one letter, or a push of up to 100 bytes, fits into each of the others'.
fn office() -> Office {
    let settings =
        Settings { worker: ME, workers: 3, revocations_max: 2, revoked_logins_max: 1, ..Settings::small() };
    let [mine, ann, bob] = [(2, 100), (1, 100), (1, 100)].map(|(len, bytes)| Mailbox::new(len, bytes));
    let to_me = mine.post();
    let posts = vec![mine.post(), ann.post(), bob.post()];
    let letters = Letters::new(&settings, mine, posts);
    Office { letters, ann, bob, turn: Turn::of(settings), to_me }
}

/// A letter with a number, that must arrive.
fn numbered(number: u32) -> Letter {
    let link = LinkId::new(0, number, 1);
    Letter::Claimed(Claimed {
        link,
        outcome: Outcome::Granted,
        pace: Pace::Fine,
        percent: 100,
        epoch: 1,
        is_one_too_many: false,
    })
}

/// The number of such a letter.
fn number(letter: &Letter) -> u32 {
    match letter {
        Letter::Claimed(claimed) => claimed.link.slot(),
        other => panic!("{other:?}"),
    }
}

fn all(mailbox: &mut Mailbox) -> Vec<u32> {
    std::iter::from_fn(|| mailbox.take()).map(|letter| number(&letter)).collect()
}

fn push(len: usize) -> Parcel {
    let sender = Sender { worker: ME as u16, stream: 0, epoch: 1, number: 5 };
    Parcel::new(Recipient::Link(LinkId::new(1, 1, 1)), sender, vec![len as u8; len], None)
}

impl Office {
    fn send(&mut self, worker: u32, number: u32) {
        self.letters.send(&self.turn, worker, numbered(number));
    }

    fn send_if_room(&mut self, worker: u32, number: u32) -> Result<(), u32> {
        let sent = self.letters.send_if_room(&self.turn, worker, numbered(number));
        sent.map_err(|letter| self::number(&letter))
    }

    fn send_revocation(&mut self, worker: u32, number: u32) -> Result<(), u32> {
        let sent = self.letters.send_revocation(&self.turn, worker, numbered(number));
        sent.map_err(|letter| self::number(&letter))
    }

    fn rung(&mut self) -> Vec<u32> {
        self.letters.ring(&mut self.turn);
        let rings = self.turn.ops.drain(..).map(|op| match op {
            Op::Ring { worker } => worker,
            other => panic!("{other:?}"),
        });
        rings.collect()
    }

    fn unsent(&self) -> usize {
        self.letters.census().1
    }
}

#[test]
fn letters_to_oneself_wait_for_their_time_in_order() {
    let mut office = office();
    for number in 1..=5 {
        office.send(ME, number);
    }
    assert!(office.letters.take().is_none(), "they are not in the queue of others");
    assert!(!office.letters.may_sleep());
    assert_eq!(office.letters.census(), (5, 0, 0));
    let read: Vec<_> =
        std::iter::from_fn(|| office.letters.take_own()).map(|letter| number(&letter)).collect();
    assert_eq!(read, [1, 2, 3, 4, 5]);
    assert!(office.letters.may_sleep());
    assert_eq!(office.turn.counters.letters_out.get(), 0, "nobody else has one");
}

#[test]
fn it_is_crowded_where_as_many_wait_as_a_queue_holds() {
    for worker in [ME, ANN] {
        let mut office = office();
        // The first one to somebody else fits into its queue.
        let first = u32::from(worker == ANN);
        (0..=first).for_each(|number| office.send(worker, number));
        assert!(!office.letters.is_crowded());
        office.send(worker, 9);
        assert!(office.letters.is_crowded());
    }
}

#[test]
fn letters_of_others_come_by_the_queue() {
    let mut office = office();
    for number in [1, 2] {
        assert!(office.to_me.send(numbered(number)).is_ok());
    }
    assert!(office.letters.take_own().is_none() && !office.letters.may_sleep());
    office.letters.publish(&office.turn.counters);
    assert_eq!(office.turn.counters.letters_waiting.get(), 2);
    let read: Vec<_> = std::iter::from_fn(|| office.letters.take()).map(|letter| number(&letter)).collect();
    assert_eq!(read, [1, 2]);
    assert!(office.letters.may_sleep());
}

#[test]
fn a_letter_to_oneself_that_finds_no_room_comes_back() {
    let mut office = office();
    assert_eq!((office.send_if_room(ME, 1), office.send_if_room(ME, 2)), (Ok(()), Ok(())));
    assert_eq!(office.send_if_room(ME, 3), Err(3), "as many wait as its queue holds");
    assert_eq!(
        (3..=6).map(|number| office.send_revocation(ME, number)).collect::<Vec<_>>(),
        [Ok(()), Ok(()), Ok(()), Err(6)],
        "as many more as revocations are remembered"
    );
    office.send(ME, 7);
    assert_eq!(office.letters.census(), (6, 0, 0), "what must arrive has no bound");
    assert_eq!(office.turn.counters.letters_dropped.get(), 0);
}

#[test]
fn what_backends_ask_for_is_dropped_and_counted_when_too_much_waits() {
    let mut office = office();
    for number in 1..=5 {
        assert_eq!(office.send_if_room(ANN, number), Ok(()), "{number}");
    }
    assert_eq!((office.unsent(), office.turn.counters.letters_dropped.get()), (2, 2), "one is with Ann");
    for number in 6..=9 {
        assert_eq!(office.send_revocation(ANN, number), Ok(()), "{number}");
    }
    assert_eq!((office.unsent(), office.turn.counters.letters_dropped.get()), (5, 3));
    office.send(ANN, 10);
    office.letters.publish(&office.turn.counters);
    assert_eq!(office.turn.counters.letters_unsent.get(), 6, "what must arrive has no bound");
    assert_eq!(office.send_if_room(ME, 11), Ok(()));
    assert_eq!(office.letters.take_own().as_ref().map(number), Some(11), "it has room of its own");
    assert_eq!((all_in_the_end(&mut office), office.unsent()), (vec![1, 2, 3, 6, 7, 8, 10], 0));
}

/// What Ann reads in the turns until everything is sent.
fn all_in_the_end(office: &mut Office) -> Vec<u32> {
    let mut read = all(&mut office.ann);
    for _ in 0..office.unsent() {
        office.letters.send_unsent(&office.turn);
        read.extend(all(&mut office.ann));
    }
    read
}

#[test]
fn a_revocation_waits_for_room_and_arrives_when_there_is_some() {
    let mut office = office();
    office.send(ANN, 1);
    let user = HashKey::new([1; 16]).identity(b"eve");
    let revoked = Some(Revoked::Login(9));
    let farewell = protocol::CloseCode::Kicked.into();
    let letter = Letter::EndUser { user, device: None, farewell, revoked };
    assert!(office.letters.send_revocation(&office.turn, ANN, letter).is_ok());
    office.letters.send_unsent(&office.turn);
    assert_eq!((office.unsent(), office.ann.len()), (1, 1), "her queue is full");
    assert!(!office.letters.may_sleep(), "it is tried again in the next turn");
    assert_eq!(all(&mut office.ann), [1]);
    office.letters.send_unsent(&office.turn);
    assert!(office.unsent() == 0 && office.letters.may_sleep());
    let arrived = office.ann.take();
    assert!(
        matches!(arrived, Some(Letter::EndUser { user: of, revoked: Some(Revoked::Login(9)), .. }) if of == user),
        "{arrived:?}"
    );
}

#[test]
fn a_full_queue_holds_up_only_what_is_for_its_own_worker() {
    let mut office = office();
    for (worker, number) in [(ANN, 1), (ANN, 2), (BOB, 3), (ANN, 4), (BOB, 5)] {
        office.send(worker, number);
    }
    assert_eq!((office.unsent(), office.bob.len()), (4, 0), "behind the others, until the next turn");
    assert_eq!(office.turn.counters.letters_full.get(), 1);
    office.letters.send_unsent(&office.turn);
    assert_eq!(all(&mut office.bob), [3]);
    assert_eq!(office.turn.counters.letters_full.get(), 3, "once for each of them");
    assert_eq!(all(&mut office.ann), [1]);
    office.letters.send_unsent(&office.turn);
    assert_eq!((all(&mut office.ann), all(&mut office.bob)), (vec![2], vec![5]));
    office.letters.send_unsent(&office.turn);
    assert_eq!((all(&mut office.ann), office.unsent()), (vec![4], 0));
}

#[test]
fn a_letter_does_not_overtake_those_that_wait() {
    let mut office = office();
    for number in [1, 2, 3] {
        office.send(ANN, number);
    }
    assert_eq!(all(&mut office.ann), [1]);
    office.send(ANN, 4);
    assert_eq!(office.ann.len(), 0, "there is room, but 2 and 3 come first");
    assert_eq!(all_in_the_end(&mut office), [2, 3, 4]);
}

#[test]
fn a_push_that_finds_no_room_is_given_back_and_never_waits() {
    let mut office = office();
    let came_back = office.letters.send_push(&office.turn, BOB, push(60));
    assert!(came_back.is_ok() && office.bob.take().is_some());
    assert!(office.letters.send_push(&office.turn, ANN, push(60)).is_ok());
    let came_back = office.letters.send_push(&office.turn, ANN, push(41));
    assert!(came_back.is_err_and(|parcel| parcel.frame == [41; 41]), "more bytes than she takes");
    let came_back = office.letters.send_push(&office.turn, ANN, push(5));
    assert!(came_back.is_err_and(|parcel| parcel.frame == [5; 5] && parcel.sender.number == 5));
    assert_eq!((office.unsent(), office.turn.counters.letters_full.get()), (0, 2));
    assert_eq!(office.turn.counters.letters_out.get(), 2);
    assert!(matches!(office.ann.take(), Some(Letter::Push(parcel)) if parcel.frame.len() == 60));
}

#[test]
fn letters_to_workers_that_do_not_exist_hold_nobody_up() {
    let mut office = office();
    office.send(4095, 1);
    assert_eq!(office.send_if_room(3, 2), Ok(()));
    assert!(office.letters.send_push(&office.turn, 3, push(1)).is_ok());
    assert_eq!((office.letters.census(), office.turn.counters.letters_out.get()), ((0, 0, 0), 0));
}

#[test]
fn only_sleepers_are_rung_and_once_each() {
    let mut office = office();
    assert!(office.ann.may_sleep());
    office.send(ANN, 1);
    office.send(BOB, 2);
    // She reads and falls asleep again before the bell has rung.
    assert_eq!(all(&mut office.ann), [1]);
    assert!(office.ann.may_sleep());
    office.send(ANN, 3);
    assert_eq!(office.letters.census().2, 1);
    assert_eq!((office.rung(), office.rung()), (vec![ANN], vec![]), "Bob is awake");
    assert!(office.bob.take().is_some() && office.bob.may_sleep());
    assert!(office.letters.send_push(&office.turn, BOB, push(1)).is_ok());
    assert_eq!(office.rung(), [BOB], "of a push, too");
}

#[test]
fn a_letter_that_waited_rings_as_well() {
    let mut office = office();
    office.send(ANN, 1);
    office.send(ANN, 2);
    assert_eq!(all(&mut office.ann), [1]);
    assert!(office.ann.may_sleep() && office.rung().is_empty());
    office.letters.send_unsent(&office.turn);
    assert_eq!(office.rung(), [ANN]);
}

#[test]
fn whoever_is_awake_need_not_be_rung() {
    let mut office = office();
    assert!(office.letters.may_sleep());
    assert!(matches!(office.to_me.send(numbered(1)), Ok(true)), "it sleeps");
    assert!(!office.letters.may_sleep(), "a letter has come meanwhile");
    office.letters.wake();
    assert!(matches!(office.to_me.send(numbered(2)), Ok(false)), "it will look by itself");
}

#[test]
fn buffers_of_pushes_go_round_between_the_two() {
    let mut office = office();
    let before = office.turn.buffers.counters();
    let spare = office.letters.spare(&mut office.turn, ANN, 100);
    assert_eq!((spare.capacity(), spare.len()), (256, 0), "one that lay with Ann");
    assert_eq!(office.letters.spare(&mut office.turn, ANN, 300).capacity(), 512, "she has none of that size");
    let kept: Vec<u8> = Vec::with_capacity(1024);
    let place = kept.as_ptr();
    assert_eq!(office.ann.spare(kept), Ok(()));
    let [fresh, again] = [500, 513].map(|len| office.letters.spare(&mut office.turn, ANN, len));
    assert!(fresh.as_ptr() != place && again.as_ptr() == place, "it is more than twice as large as 500");
    assert_eq!(office.turn.buffers.counters(), before, "the pool is not drained");
    let large = office.letters.spare(&mut office.turn, ANN, 4097);
    assert_eq!((large.capacity(), office.turn.buffers.counters().taken), (8192, before.taken + 1));
}

#[test]
fn the_buffer_of_a_push_stays_with_its_reader_or_goes_to_the_pool() {
    let mut office = office();
    // This worker has use for that size.
    let _lent = office.turn.buffers.take(1024);
    for _ in 0..2 {
        office.letters.give_spare(&mut office.turn, Vec::with_capacity(1024));
    }
    assert_eq!(office.turn.buffers.idle_bytes(), 1024, "one is enough for the queue");
    office.letters.give_spare(&mut office.turn, Vec::with_capacity(700));
    assert_eq!(office.turn.buffers.idle_bytes(), 1024, "of no size that is kept anywhere");
}

#[test]
fn pushes_to_oneself_are_bounded_by_their_bytes_too() {
    let mut office = office();
    // Of the mailbox's bound, each time.
    let large = || Parcel { frame: Vec::with_capacity(4096), ..push(1) };
    assert!(office.letters.send_own_push(large()).is_ok(), "one finds room, or it would never go");
    assert!(office.letters.send_own_push(push(1)).is_err());
    assert!(matches!(office.letters.take_own(), Some(Letter::Push(_))));
    assert!(office.letters.send_own_push(push(1)).is_ok());
}
