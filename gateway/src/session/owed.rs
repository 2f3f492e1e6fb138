//! The pushes a session is owed, and when its client is asked how far it is.
//!
//! TCP delivers what was sent, or the link is dead; so nothing is sent again blindly. Without any word for a while the client
//! is asked. One that does not answer has a dead link; one that says it lacks something gets it again, and each time it is asked after twice
//! as long.

use std::time::Duration;

use protocol::Time;

use crate::delivery::packages::Held;
use crate::delivery::tails::Tail;
use crate::id::LinkId;

/// What a session is owed.
#[derive(Debug, Default)]
pub struct Owed {
    /// The pushes.
    pub tail: Tail,
    /// Packages whose parts are not all there.
    pub held: Held,
    /// The link that is sent them, while it is there.
    pub link: Option<LinkId>,
    /// When the first of them may be over; it may be later.
    pub expiry: Option<Time>,
    /// Since when nothing was heard while something was on its way.
    quiet_since: Time,
    /// It was asked since.
    is_asked: bool,
    /// And has said something since.
    is_heard: bool,
    tries: u8,
}

const _: () =
    assert!(size_of::<Owed>() <= 128, "the memory ceiling counts 136 bytes for what a session is owed");

/// What is to be done about a client that has not said for a while how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// It is asked.
    Ask,
    /// It lacks something, which is sent again.
    Again,
    /// Its link is of no use.
    GiveUp,
}

impl Owed {
    /// Something is sent. Whether there was nothing on its way before.
    pub fn sends(&mut self, now: Time) -> bool {
        let is_first = !self.tail.is_unreceived();
        if is_first {
            (self.quiet_since, self.is_asked, self.is_heard, self.tries) = (now, false, false, 0);
        }
        is_first
    }

    /// The client has said how far it is; whether that is further than before.
    pub const fn hears(&mut self, progressed: bool, now: Time) {
        self.is_heard = true;
        if progressed {
            (self.quiet_since, self.is_asked, self.is_heard, self.tries) = (now, false, false, 0);
        }
    }

    /// What is to be done at this moment, with this much patience.
    pub fn due(&mut self, patience: Duration, tries_max: u8, now: Time) -> Due {
        let waits =
            self.tail.is_unreceived() && self.deadline(patience).is_some_and(|deadline| deadline <= now);
        if !waits {
            return Due::Nothing;
        }
        self.quiet_since = now;
        if !self.is_asked {
            (self.is_asked, self.is_heard) = (true, false);
            return Due::Ask;
        }
        if !self.is_heard || self.tries >= tries_max {
            return Due::GiveUp;
        }
        self.tries += 1;
        (self.is_asked, self.is_heard) = (false, false);
        Due::Again
    }

    /// When [`Owed::due`] is next worth calling, while its link lives.
    #[must_use]
    pub fn deadline(&self, patience: Duration) -> Option<Time> {
        let longer = if self.is_asked { 0 } else { self.tries };
        self.tail.is_unreceived().then(|| self.quiet_since + patience * (1 << longer.min(16)))
    }

    /// Another link goes on with it.
    pub const fn begin(&mut self, now: Time) {
        (self.quiet_since, self.is_asked, self.is_heard, self.tries) = (now, false, false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Bounds;
    use crate::delivery::tails::Pushes;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    /// One push was sent at the time zero.
    fn sent() -> (Pushes, Owed) {
        let bounds = Bounds { session_count: 8, session_bytes: 1000, count: 8, bytes: 1000 };
        let (mut pushes, mut owed) = (Pushes::new(bounds), Owed::default());
        let body = pushes.bodies().insert(b"hello".to_vec()).expect("there is room");
        pushes.add(&mut owed.tail, body, None, at(999)).expect("there is room");
        assert!(owed.sends(at(0)));
        pushes.advance(&mut owed.tail);
        (pushes, owed)
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_client_that_says_nothing_is_asked_once_and_given_up() {
        let (_, mut owed) = sent();
        assert_eq!(owed.due(PATIENCE, 3, at(9)), Due::Nothing);
        assert_eq!(owed.due(PATIENCE, 3, at(10)), Due::Ask);
        assert_eq!(owed.due(PATIENCE, 3, at(19)), Due::Nothing);
        assert_eq!(owed.due(PATIENCE, 3, at(20)), Due::GiveUp);
    }

    #[test]
    fn one_that_lacks_something_gets_it_again_each_time_later_and_not_for_ever() {
        let (_, mut owed) = sent();
        let mut times = Vec::new();
        for second in 1..400 {
            match owed.due(PATIENCE, 3, at(second)) {
                Due::Ask => owed.hears(false, at(second)),
                Due::Again => times.push(second),
                Due::GiveUp => return assert_eq!((times, second), (vec![20, 50, 100], 190)),
                Due::Nothing => {}
            }
        }
        panic!("for ever");
    }

    #[test]
    fn whoever_has_all_is_not_asked() {
        let (pushes, mut owed) = sent();
        pushes.acknowledge(&mut owed.tail, 1);
        owed.hears(true, at(5));
        assert_eq!((owed.due(PATIENCE, 3, at(900)), owed.deadline(PATIENCE)), (Due::Nothing, None));
        assert!(pushes.next(&owed.tail).is_none());
    }
}
