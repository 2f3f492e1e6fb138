//! A link is held to its rates: what it says is charged, it is not read for a while, or ends.

use std::time::Duration;

use driver::{Armed, Op, Token};
use protocol::wire::frame::Frame;
use protocol::{CloseCode, Time};

use super::Links;
use super::cause::Cause;
use super::link::{Link, Reading, from_tenths, to_tenths};
use crate::admission::ladder::Level;
use crate::admission::rates::{Charge, Due, Judged, Meter, Rates, Refused, Score, WARN_AT, pause_max};
use crate::worker::settings::Settings;
use crate::worker::turn::Turn;

/// What is in force for a link: half of its rates while there is too much to do.
fn rates_of<'s>(settings: &'s Settings, level: Level, link: &Link) -> &'s Rates {
    let of_listener = &settings.listeners[usize::from(link.listener.0)].rates;
    let of_class = &of_listener[usize::from(link.class).min(of_listener.len() - 1)];
    if level >= Level::Thrifty { &of_class.halved } else { &of_class.whole }
}

/// What a frame is charged as.
fn charge(frame: &Frame<'_>) -> Charge {
    match frame {
        Frame::Request(_) => Charge::Payload,
        Frame::Ack { .. } | Frame::Leave { .. } | Frame::Close(_) | Frame::Pong { .. } => Charge::Relief,
        _ => Charge::Control,
    }
}

/// So many hundredths of its rates hold for a link, or those of its user if they are fewer.
fn hold(turn: &Turn, link: &mut Link, of_address: u8) {
    let percent = link.user_percent.min(of_address);
    if percent != link.meter.percent() {
        let rates = rates_of(&turn.settings, turn.level, link);
        link.meter.throttle(percent, rates, turn.now);
    }
}

impl Links {
    /// From now on a link is held to its rates; `class` is its user's.
    pub(in crate::worker) fn meter(&mut self, turn: &Turn, token: Token, class: u8) {
        if let Some(link) = self.table.living(token) {
            (link.class, link.meter) = (class, Meter::new(turn.now));
        }
    }

    /// From now on a link's user has so many hundredths of its rates, and its address so many; the fewer hold for the link,
    /// unless nothing is asked of it.
    pub(in crate::worker) fn throttle(&mut self, turn: &Turn, token: Token, of_user: u8, of_address: u8) {
        if let Some(link) = self.table.living(token) {
            link.user_percent = of_user;
            hold(turn, link, of_address);
        }
    }

    /// The same where only those of its address have changed.
    pub(in crate::worker) fn throttle_address(&mut self, turn: &Turn, token: Token, of_address: u8) {
        if let Some(link) = self.table.living(token) {
            hold(turn, link, of_address);
        }
    }

    /// The user of a link is of this class from now on.
    pub(in crate::worker) fn reclass(&mut self, token: Token, class: u8) {
        if let Some(link) = self.table.living(token) {
            link.class = class;
        }
    }

    /// Charges a link for bytes that have arrived.
    pub(super) fn charge_bytes(turn: &mut Turn, link: &mut Link, len: usize) {
        if link.meter.is_metered() {
            let rates = rates_of(&turn.settings, turn.level, link);
            link.meter.bytes(len, rates, grace(link), &mut turn.small_change, turn.now);
        }
    }

    /// Charges a link for a frame: whether it is refused.
    pub(super) fn charge_frame(turn: &mut Turn, link: &mut Link, frame: &Frame<'_>) -> Option<Refused> {
        if !link.meter.is_metered() {
            return None;
        }
        let rates = rates_of(&turn.settings, turn.level, link);
        let judged = link.meter.frame(charge(frame), rates, grace(link), &mut turn.small_change, turn.now);
        if judged == Judged::default() {
            return None;
        }
        let counted = turn.kept_out(link.listener);
        judged.on_trial.each(|guard| counted.on_trial.of(guard).add(1));
        if let Some(refused) = judged.refused {
            counted.refused.of(refused.guard).add(1);
        }
        judged.refused
    }

    /// A link has said too much again: it is warned, or ends, if that was too often.
    pub(in crate::worker) fn note_overrun(&mut self, turn: &mut Turn, token: Token, score: Score) {
        match score {
            Score::Counted => {}
            Score::Warned => self.warn(turn, token, CloseCode::RateExceeded),
            Score::Over => self.mark(token, Cause::Close(CloseCode::RateExceeded.into())),
        }
    }

    /// Tells a client that it will be closed with this code if it goes on like this.
    pub(super) fn warn(&mut self, turn: &mut Turn, token: Token, code: CloseCode) {
        turn.counters.warnings.add(1);
        self.send(turn, token, &Frame::Warning { code: code.number(), score: WARN_AT });
    }

    /// What the user of a link is to be charged for, now that a chunk of it is used up.
    pub(in crate::worker) fn due(&mut self, turn: &Turn, token: Token) -> Option<Due> {
        let link = self.table.living(token)?;
        let rates = rates_of(&turn.settings, turn.level, link);
        let lot = link.meter.is_metered().then(|| link.meter.due(rates))??;
        // A block that is slowed down is no matter of those of the user's links that come from elsewhere.
        Some(Due { lot, rates: *rates, percent: link.user_percent, grace: grace(link) })
    }

    /// The user of a link has said more than it may, by so much time: the link is not read for as long as that, or the longest
    /// pause.
    pub(in crate::worker) fn user_is_over(
        &mut self,
        turn: &mut Turn,
        token: Token,
        due: &Due,
        over: Duration,
    ) {
        let Some(link) = self.table.living(token) else { return };
        let time = link.meter.user_is_over(over, &due.rates, due.grace);
        self.pause(turn, token, time);
    }

    /// A chunk of a link is used up: it is not read for as long as it has to wait.
    pub(super) fn police(&mut self, turn: &mut Turn, token: Token) {
        let Some(link) = self.table.living(token).filter(|link| link.meter.is_metered()) else { return };
        let rates = rates_of(&turn.settings, turn.level, link);
        let pause = link.meter.pause(rates, grace(link), turn.now);
        if pause.time.is_zero() {
            return;
        }
        let more = self.pause(turn, token, pause.time);
        if let Some(link) = self.table.living(token).filter(|_| pause.is_for_frames && !more.is_zero()) {
            let rates = rates_of(&turn.settings, turn.level, link);
            let score = link.meter.paused(more, rates, &mut turn.small_change, turn.now);
            self.note_overrun(turn, token, score);
        }
    }

    /// Nothing more of a link is read for this time; by how much longer that is than it would not have been anyway. What is
    /// armed may still bring something.
    fn pause(&mut self, turn: &mut Turn, token: Token, time: Duration) -> Duration {
        let Some(link) = self.table.living(token).filter(|_| !time.is_zero()) else { return Duration::ZERO };
        let before = from_tenths(link.paused_until).max(turn.now);
        let until = to_tenths(turn.now + time) + 1;
        if until <= link.paused_until {
            return Duration::ZERO;
        }
        if link.paused_until == 0 {
            self.paused += 1;
            turn.counters.pauses.add(1);
        }
        link.paused_until = until;
        // It is polled afterwards, until it is seen to speak a lot and no longer too much.
        (link.recent, link.recent_since) = (0, to_tenths(turn.now));
        if link.reading == Reading::Multishot {
            link.reading = Reading::Demoting;
            turn.submit(Op::Cancel { token, armed: Armed::Receive });
        }
        self.schedule(turn, token);
        from_tenths(until).since(before)
    }

    /// Notes that the pause of a link is over, if it is. The frame that led to it was heard a quarter of an interval ago at most,
    /// so that its silence does not count for a long while.
    pub(super) fn end_pause(&mut self, turn: &Turn, token: Token) {
        let Some(link) = self.table.living(token).filter(|link| is_over(link, turn.now)) else { return };
        match link.reading {
            Reading::Resuming => {}
            Reading::Idle | Reading::Starved => {
                link.reading = Reading::Resuming;
                self.resuming.push_back(token);
            }
            // It is armed already, or will be once its receive is cancelled.
            Reading::Poll | Reading::Once | Reading::Multishot | Reading::Demoting => self.unpause(token),
        }
    }

    /// Reads one link again whose pause is over. Pauses end together, as deadlines are rounded, and all these links have had time
    /// to say more than they may: one per turn, so that what others say meanwhile stands behind one of them and not behind all.
    pub(in crate::worker) fn resume_one(&mut self, turn: &mut Turn) {
        while let Some(token) = self.resuming.pop_front() {
            let is_resuming = |link: &&mut Link| link.reading == Reading::Resuming;
            let Some(link) = self.table.living(token).filter(is_resuming) else { continue };
            link.reading = Reading::Idle;
            if is_over(link, turn.now) {
                self.unpause(token);
                return self.arm(turn, token);
            }
        }
    }

    /// Whether links wait to be read again.
    pub(in crate::worker) fn has_work(&self) -> bool {
        !self.resuming.is_empty()
    }

    fn unpause(&mut self, token: Token) {
        if let Some(link) = self.table.living(token).filter(|link| link.paused_until != 0) {
            link.paused_until = 0;
            self.paused -= 1;
        }
    }
}

/// Whether the link was paused and need not be any longer.
fn is_over(link: &Link, now: Time) -> bool {
    link.paused_until != 0 && from_tenths(link.paused_until) <= now
}

/// The longest pause of a link.
fn grace(link: &Link) -> Duration {
    pause_max(link.machine.heartbeat())
}
