//! What one link has said lately, held against what it may.

use std::time::Duration;

use protocol::Time;

use super::Rates;
use crate::counters::guard::{Guard, Guards};
use crate::rate::{Level, Moment, Rate, Remainder, nanos};

/// What one link has used of its rates. Plain data of 32 bytes.
#[derive(Debug)]
pub struct Meter {
    frames: Level,
    control: Level,
    bytes: Level,
    overruns: Level,
    /// Bytes that its user is still to be charged for.
    uncharged_bytes: u32,
    /// Frames that its user is still to be charged for.
    uncharged_frames: u16,
    /// Hundredths of its rates that it has; none hold for it at zero.
    percent: u8,
    flags: u8,
}

/// Its user has said more on all of its links than a pause makes up for.
const USER_OVER: u8 = 1;
/// It was warned, and has not been good since.
const WARNED: u8 = 2;

/// What a frame is charged as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Work for a backend.
    Payload,
    /// Work for the gateway alone.
    Control,
    /// The same, but to refuse it would make things worse.
    Relief,
}

/// What a frame comes to. By default nobody objects to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Why it is not heeded, if it is not.
    pub refused: Option<Refused>,
    /// Who would have refused it, were they not on trial.
    pub on_trial: Guards,
}

/// A frame that is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// By whom.
    pub guard: Guard,
    /// When there is room for another one.
    pub retry_after: Duration,
    /// What it means for the link.
    pub score: Score,
}

/// What it means for a link that it has said too much again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// It is held against it, and no more.
    Counted,
    /// Three quarters of what may be held against it are used up, and it was not warned since half of it was.
    Warned,
    /// It is once too often.
    Over,
}

/// How a link is kept from saying more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// How long nothing of it is to be read; zero if it may go on. Not more than the longest pause.
    pub time: Duration,
    /// Whether that is for the number of its frames.
    pub is_for_frames: bool,
}

/// Hundredths of the overruns that may be at which a link is warned.
pub const WARN_AT: u32 = 75;

/// A second that a link is paused for its frames weighs as much as so many frames that are refused. With the default, one
/// that sends too many all the time ends after two or three minutes, though not one of them is refused. Too many bytes weigh
/// nothing: a long upload may take as long as it takes.
const OVERRUNS_PER_SECOND: f64 = 2.0;

impl Meter {
    /// Of a link that nothing is asked of.
    #[must_use]
    pub fn unmetered(now: Time) -> Self {
        Self { percent: 0, ..Self::new(now) }
    }

    /// Of a link that has said nothing yet.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let full = Level::full(now.into());
        Self {
            frames: full,
            control: full,
            bytes: full,
            overruns: full,
            uncharged_bytes: 0,
            uncharged_frames: 0,
            percent: 100,
            flags: 0,
        }
    }

    /// Whether anything is asked of it.
    #[must_use]
    pub const fn is_metered(&self) -> bool {
        self.percent != 0
    }

    /// Hundredths of its rates that hold for it.
    #[must_use]
    pub const fn percent(&self) -> u8 {
        self.percent
    }

    /// So many hundredths of its rates hold for it from now on, one at least; none hold for one that nothing is asked of.
    ///
    /// What it has used stays used: buckets are times, and a time stands for less of a lower rate.
    pub fn throttle(&mut self, percent: u8, rates: &Rates, now: Time) {
        if !self.is_metered() {
            return;
        }
        let now = Moment::from(now);
        let (before, after) = (self.percent, percent.clamp(1, 100));
        self.percent = after;
        let levels = [&mut self.frames, &mut self.control, &mut self.bytes];
        for (level, rate) in levels.into_iter().zip([rates.frames, rates.control, rates.bytes]) {
            let (former, span) = (rate.percent(before).span_nanos(), rate.percent(after).span_nanos());
            let missing = level.missing(now);
            let used = missing.min(former) as f64 / former.max(1) as f64;
            let still_used = (span as f64 * used) as u64;
            *level = Level::full_after(still_used.saturating_add(missing.saturating_sub(former)), now);
        }
    }

    /// Bytes have arrived. They are charged whatever becomes of their frames.
    pub fn bytes(&mut self, len: usize, rates: &Rates, grace: Duration, small: &mut Remainder, now: Time) {
        if self.is_metered() {
            let rate = rates.bytes.percent(self.percent);
            let cost = rate.interval_nanos().saturating_mul(len as u64);
            self.bytes.take(cost, most(rate, nanos(grace)), small, now.into());
            self.uncharged_bytes =
                self.uncharged_bytes.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        }
    }

    /// A frame is to be heeded: whether it may be. `grace` is the longest pause.
    pub fn frame(
        &mut self,
        charge: Charge,
        rates: &Rates,
        grace: Duration,
        small: &mut Remainder,
        now: Time,
    ) -> Judged {
        let mut judged = Judged::default();
        if !self.is_metered() {
            return judged;
        }
        let (now, grace) = (Moment::from(now), nanos(grace));
        let frames = rates.frames.percent(self.percent);
        let control = rates.control.percent(self.percent);
        let is_control = charge != Charge::Payload;
        if charge != Charge::Relief {
            let bytes = rates.bytes.percent(self.percent);
            let of_frames = over(self.frames, frames, frames.interval_nanos(), grace, now);
            let of_control = over(self.control, control, control.interval_nanos(), grace, now);
            let asked = [
                (Guard::FramesPerLink, of_frames),
                (Guard::ControlPerLink, if is_control { of_control } else { 0 }),
                (Guard::BytesPerLink, over(self.bytes, bytes, 0, grace, now)),
                (Guard::RatesPerUser, if self.flags & USER_OVER != 0 { grace } else { 0 }),
            ];
            if asked.iter().any(|&(_, over)| over != 0) {
                judged = self.object(asked, rates, grace, small, now);
            }
        }
        if judged.refused.is_none() {
            self.frames.take(frames.interval_nanos(), most(frames, grace), small, now);
            if is_control {
                self.control.take(control.interval_nanos(), most(control, grace), small, now);
            }
            self.uncharged_frames = self.uncharged_frames.saturating_add(1);
        }
        judged
    }

    /// Some of those that were asked object to a frame: of those that are not on trial the first one refuses it. Beside each is
    /// how much longer than the longest pause one would have to wait.
    #[cold]
    fn object(
        &mut self,
        asked: [(Guard, u64); 4],
        rates: &Rates,
        grace: u64,
        small: &mut Remainder,
        now: Moment,
    ) -> Judged {
        let mut judged = Judged::default();
        for (guard, over) in asked.into_iter().filter(|&(_, over)| over != 0) {
            if rates.on_trial.contains(guard) {
                judged.on_trial = judged.on_trial.with(guard);
            } else if judged.refused.is_none() {
                let score = self.score(rates.overruns.interval_nanos(), rates.overruns, small, now);
                let retry_after = Duration::from_nanos(over + grace);
                judged.refused = Some(Refused { guard, retry_after, score });
            }
        }
        judged
    }

    /// Takes what an overrun weighs out of those that may be.
    fn score(&mut self, cost: u64, rate: Rate, small: &mut Remainder, now: Moment) -> Score {
        let span = rate.span_nanos();
        let before = self.overruns.missing(now);
        if before + cost > span {
            return Score::Over;
        }
        self.overruns.take(cost, span, small, now);
        if before < span / 2 {
            self.flags &= !WARNED;
        }
        if before + cost < span / 100 * u64::from(WARN_AT) || self.flags & WARNED != 0 {
            return Score::Counted;
        }
        self.flags |= WARNED;
        Score::Warned
    }

    /// A chunk is used up: how long nothing more of the link is to be read.
    pub fn pause(&mut self, rates: &Rates, grace: Duration, now: Time) -> Pause {
        if !self.is_metered() {
            return Pause::default();
        }
        let now = Moment::from(now);
        for level in [&mut self.frames, &mut self.control, &mut self.bytes, &mut self.overruns] {
            level.settle(now);
        }
        let owed = |guard, level: Level, rate: Rate| {
            let rate = rate.percent(self.percent);
            let is_held = !rates.on_trial.contains(guard);
            if is_held { level.missing(now).saturating_sub(rate.span_nanos()) } else { 0 }
        };
        let of_frames = owed(Guard::FramesPerLink, self.frames, rates.frames).max(owed(
            Guard::ControlPerLink,
            self.control,
            rates.control,
        ));
        let longest = of_frames.max(owed(Guard::BytesPerLink, self.bytes, rates.bytes));
        if longest == 0 {
            return Pause::default();
        }
        Pause { time: Duration::from_nanos(longest).min(grace), is_for_frames: of_frames != 0 }
    }

    /// The link is not read for so long for its frames.
    pub fn paused(&mut self, time: Duration, rates: &Rates, small: &mut Remainder, now: Time) -> Score {
        let cost = rates.overruns.interval().mul_f64(OVERRUNS_PER_SECOND * time.as_secs_f64());
        self.score(nanos(cost), rates.overruns, small, now.into())
    }

    /// What its user is to be charged now, as frames and bytes: once in a while a lot, so that what all workers share is not
    /// touched by every message.
    pub fn due(&mut self, rates: &Rates) -> Option<(u32, u32)> {
        let is_due = u32::from(self.uncharged_frames) > rates.user_frames.burst() / LOTS
            || self.uncharged_bytes > rates.user_bytes.burst() / LOTS
            || self.flags & USER_OVER != 0;
        is_due.then(|| {
            let frames = std::mem::take(&mut self.uncharged_frames);
            (frames.into(), std::mem::take(&mut self.uncharged_bytes))
        })
    }

    /// How long its user would have to be silent on all of its links, beyond what it may say: what the pause is then.
    pub fn user_is_over(&mut self, over: Duration, rates: &Rates, grace: Duration) -> Duration {
        if rates.on_trial.contains(Guard::RatesPerUser) {
            return Duration::ZERO;
        }
        self.flags = self.flags & !USER_OVER | if over > grace { USER_OVER } else { 0 };
        over.min(grace)
    }
}

/// Of so many lots a user's burst is.
const LOTS: u32 = 16;

/// What a bucket misses at most: what the longest pause makes up for, and as much again that was not refused.
const fn most(rate: Rate, grace: u64) -> u64 {
    rate.span_nanos().saturating_add(2 * grace)
}

/// How much longer than the longest pause one would have to wait for something of this cost.
fn over(level: Level, rate: Rate, cost: u64, grace: u64, now: Moment) -> u64 {
    level.missing(now).saturating_add(cost).saturating_sub(rate.span_nanos().saturating_add(grace))
}

const _: () = assert!(size_of::<Meter>() <= 24, "it is part of each link's 256 bytes");

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: Time = Time::from_nanos(5_000_000_000);

    /// Ten frames a second, twenty at once; half as many of control; a thousand bytes, four thousand at once; eight overruns.
    fn rates() -> Rates {
        Rates {
            frames: Rate::new(10, SECOND, 20),
            control: Rate::new(5, SECOND, 10),
            bytes: Rate::new(1000, SECOND, 4000),
            user_frames: Rate::new(20, SECOND, 160),
            user_bytes: Rate::new(2000, SECOND, 16_000),
            overruns: Rate::new(1, SECOND, 8),
            on_trial: Guards::NONE,
        }
    }

    fn pause(meter: &mut Meter, rates: &Rates, now: Time) -> Duration {
        meter.pause(rates, SECOND, now).time
    }

    fn send(meter: &mut Meter, charge: Charge, rates: &Rates, now: Time) -> Judged {
        meter.frame(charge, rates, SECOND, &mut Remainder::default(), now)
    }

    /// How many in a row are heeded.
    fn heeded(meter: &mut Meter, charge: Charge, rates: &Rates, now: Time) -> usize {
        (0..1000).take_while(|_| send(meter, charge, rates, now).refused.is_none()).count()
    }

    #[test]
    fn a_burst_is_heeded_then_what_a_pause_makes_up_for_and_the_rest_is_refused() {
        let rates = rates();
        let mut meter = Meter::new(START);
        for _ in 0..20 {
            assert_eq!(send(&mut meter, Charge::Payload, &rates, START).refused, None);
        }
        assert_eq!(pause(&mut meter, &rates, START), Duration::ZERO, "the burst");
        assert_eq!(send(&mut meter, Charge::Payload, &rates, START).refused, None);
        assert_eq!(pause(&mut meter, &rates, START), SECOND / 10);
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START), 9);
        assert_eq!(pause(&mut meter, &rates, START), SECOND);
        let refused = send(&mut meter, Charge::Payload, &rates, START).refused.expect("the 31st");
        assert_eq!((refused.guard, refused.retry_after.as_millis()), (Guard::FramesPerLink, 1100));
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START + SECOND), 10, "after the pause");
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START + 60 * SECOND), 30);
    }

    #[test]
    fn control_frames_have_a_budget_of_their_own_and_relief_is_charged_and_never_refused() {
        let rates = rates();
        let mut meter = Meter::new(START);
        assert_eq!(heeded(&mut meter, Charge::Relief, &rates, START), 1000);
        let refused = send(&mut meter, Charge::Control, &rates, START).refused.map(|refused| refused.guard);
        assert_eq!(refused, Some(Guard::FramesPerLink), "what was charged");
        assert_eq!(
            heeded(&mut meter, Charge::Control, &rates, START + 2 * SECOND),
            5,
            "and no more than that"
        );
        let mut meter = Meter::new(START);
        assert_eq!(heeded(&mut meter, Charge::Control, &rates, START), 15);
        let refused = send(&mut meter, Charge::Control, &rates, START).refused.map(|refused| refused.guard);
        assert_eq!(refused, Some(Guard::ControlPerLink));
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START), 15, "payload is another matter");
    }

    #[test]
    fn bytes_make_it_pause_and_beyond_that_its_frames_are_refused() {
        let rates = rates();
        let mut meter = Meter::new(START);
        let arrive = |meter: &mut Meter, len| {
            meter.bytes(len, &rates, SECOND, &mut Remainder::default(), START);
            let refused = send(meter, Charge::Payload, &rates, START).refused.map(|refused| refused.guard);
            (pause(meter, &rates, START).as_millis(), refused)
        };
        assert_eq!(arrive(&mut meter, 4000), (0, None));
        assert_eq!(arrive(&mut meter, 500), (500, None));
        assert_eq!(arrive(&mut meter, 501), (1000, Some(Guard::BytesPerLink)));
    }

    #[test]
    fn whoever_is_refused_too_often_is_warned_once_and_then_it_is_over() {
        let rates = rates();
        let mut meter = Meter::new(START);
        heeded(&mut meter, Charge::Payload, &rates, START); // and one that is not
        let mut scores =
            (0..8).map(|_| send(&mut meter, Charge::Payload, &rates, START).refused.map(|r| r.score));
        let (counted, warned, over) = (Some(Score::Counted), Some(Score::Warned), Some(Score::Over));
        let expected = [counted, counted, counted, counted, warned, counted, counted, over];
        assert!(scores.by_ref().eq(expected));
        // Eight seconds later nothing of it is held against it any more.
        let later = START + 8 * SECOND;
        heeded(&mut meter, Charge::Payload, &rates, later);
        let refused = send(&mut meter, Charge::Payload, &rates, later).refused.expect("the next burst");
        assert_eq!(refused.score, Score::Counted);
    }

    #[test]
    fn pauses_for_frames_are_held_against_a_link_and_those_for_bytes_are_not() {
        let rates = rates();
        let mut meter = Meter::new(START);
        meter.bytes(4500, &rates, SECOND, &mut Remainder::default(), START);
        let pause = meter.pause(&rates, SECOND, START);
        assert_eq!(pause, Pause { time: SECOND / 2, is_for_frames: false });
        while send(&mut meter, Charge::Payload, &rates, START).refused.is_none()
            && meter.pause(&rates, SECOND, START).time < SECOND
        {}
        assert_eq!(meter.pause(&rates, SECOND, START), Pause { time: SECOND, is_for_frames: true });
        let paused = |meter: &mut Meter, seconds| {
            meter.paused(SECOND, &rates, &mut Remainder::default(), START + seconds * SECOND)
        };
        // Two each second, of which one is forgiven: eight are too many.
        let scores: Vec<Score> = (0..8).map(|second| paused(&mut meter, second)).collect();
        let (counted, warned, over) = (Score::Counted, Score::Warned, Score::Over);
        assert_eq!(scores, [counted, counted, counted, counted, warned, counted, counted, over]);
    }

    /// Levels count modulo 74 hours: a link of which nothing but pings came for days has all of its other rates.
    #[test]
    fn what_is_not_used_for_days_is_full_all_the_same() {
        let rates = rates();
        let mut meter = Meter::new(START);
        for hour in 1..200 {
            let now = START + hour * 3600 * SECOND;
            assert_eq!(send(&mut meter, Charge::Relief, &rates, now).refused, None);
            assert_eq!(pause(&mut meter, &rates, now), Duration::ZERO, "after {hour} h");
            assert_eq!(send(&mut meter, Charge::Payload, &rates, now).refused, None, "after {hour} h");
        }
    }

    #[test]
    fn a_guard_on_trial_is_named_and_neither_refuses_nor_pauses() {
        let on_trial = Guards::NONE.with(Guard::FramesPerLink);
        let rates = Rates { on_trial, ..rates() };
        let mut meter = Meter::new(START);
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START), 1000);
        assert_eq!(send(&mut meter, Charge::Payload, &rates, START).on_trial, on_trial);
        assert_eq!(pause(&mut meter, &rates, START), Duration::ZERO);
    }

    #[test]
    fn of_an_unmetered_link_nothing_is_asked_and_a_throttled_one_has_less() {
        let rates = rates();
        let mut meter = Meter::unmetered(START);
        meter.bytes(1 << 20, &rates, SECOND, &mut Remainder::default(), START);
        assert_eq!(heeded(&mut meter, Charge::Control, &rates, START), 1000);
        assert_eq!(pause(&mut meter, &rates, START), Duration::ZERO);
        meter.throttle(50, &rates, START);
        assert!(!meter.is_metered(), "it stays so");
        let mut meter = Meter::new(START);
        meter.throttle(50, &rates, START);
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START), 25);
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START + SECOND), 5);
    }

    #[test]
    fn a_throttle_that_comes_or_goes_gives_nothing_back_and_holds_nothing_against_a_link() {
        let rates = rates();
        let mut meter = Meter::new(START);
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START), 30, "the burst, and a pause");
        meter.throttle(10, &rates, START);
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START), 0, "it is not new");
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, START + 10 * SECOND), 10);
        let then = START + 10 * SECOND;
        meter.throttle(100, &rates, then);
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, then), 0, "what was too much is so still");
        assert_eq!(heeded(&mut meter, Charge::Payload, &rates, then + SECOND), 10, "and no more than that");
    }

    #[test]
    fn a_user_is_charged_in_lots_and_its_links_pause_for_what_it_owes() {
        let rates = rates();
        let mut meter = Meter::new(START);
        for count in 0..11 {
            assert_eq!(meter.due(&rates), None, "{count}");
            send(&mut meter, Charge::Payload, &rates, START);
        }
        assert_eq!(meter.due(&rates), Some((11, 0)));
        meter.bytes(1001, &rates, SECOND, &mut Remainder::default(), START);
        assert_eq!(meter.due(&rates), Some((0, 1001)));
        assert_eq!(meter.user_is_over(SECOND / 2, &rates, SECOND), SECOND / 2);
        assert_eq!(send(&mut meter, Charge::Payload, &rates, START).refused, None);
        assert_eq!(meter.user_is_over(3 * SECOND, &rates, SECOND), SECOND);
        let refused = send(&mut meter, Charge::Payload, &rates, START).refused.map(|refused| refused.guard);
        assert_eq!(
            (refused, meter.due(&rates)),
            (Some(Guard::RatesPerUser), Some((1, 0))),
            "asked each time"
        );
    }
}
