//! How a result is judged: whose fault it is that a plan was not kept, what went wrong, and what the process ends with.

use std::time::Duration;

use super::abuse::Abuse;
use super::pushes::Pushes;
use super::{Generator, Latency, Messages, Report, part};
use crate::tally::{LegTally, REFUSED};
use crate::units::Micros;

/// Above this part of missed sends the generator is the limit.
const MISSED_MAX: f64 = 0.01;
/// Above this part of planned sends that never left the gateway is.
const UNSENT_MAX: f64 = 0.01;

/// Above this part of the time that its workers stood still, the generator of a closed loop is the limit. More than in
/// an open loop: what was not asked meanwhile is in no latency, and a shared machine takes a percent or two.
const STALLED_MAX: f64 = 0.05;
/// A worker that uses so much of a processor has no time left,
const OWN_BUSY_MAX: f64 = 0.95;
/// and a gateway whose busiest thread uses less than this has.
const GATEWAY_BUSY_MIN: f64 = 0.85;

/// The part of a processor each end's busiest thread used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Busy {
    /// Absent if the gateway is not watched.
    pub(crate) gateway: Option<f64>,
    pub(crate) own: Option<f64>,
}

/// The exit code of a run that a signal ended early.
pub(crate) const INTERRUPTED: u8 = 4;

impl Report {
    /// Says whether the generator kept up with its plan.
    pub(crate) fn judge_generator(&mut self, leg: &LegTally) {
        let generator = &mut self.generator;
        generator.planned = Some(leg.planned);
        generator.missed = Some(leg.missed);
        // Who kept a plan that ended in the middle is not known.
        generator.limited =
            self.deserted_after_s.is_none().then_some(leg.missed as f64 > MISSED_MAX * leg.planned as f64);
        generator.late_us_p99 = Latency::of(&leg.late).map(|late| late.p99);
        generator.count_stalls(leg);
    }

    /// Closed loop: says whether it was this process that let the answers wait. That its workers have much to do is no
    /// sign of it as long as they wait for the gateway now and then.
    pub(crate) fn judge_closed(&mut self, leg: &LegTally, busy: Busy, measured: Duration) {
        let worker_time = measured * self.setup.workers;
        let stalled = part(leg.stalled, worker_time).is_some_and(|part| part > STALLED_MAX);
        if stalled {
            self.warnings.push(format!(
                "the generator was the limit: {} turns of its workers began more than 10 ms late, {} in all, since it \
                 did not get the processor or had too much to do",
                leg.late_turns,
                Micros::from(leg.stalled)
            ));
        }
        let full = busy.own.filter(|&own| {
            own >= OWN_BUSY_MAX && busy.gateway.is_none_or(|gateway| gateway < GATEWAY_BUSY_MIN)
        });
        if let Some(own) = full {
            let gateway =
                busy.gateway.map_or("is not known".to_owned(), |part| format!("{:.0} %", part * 100.0));
            self.warnings.push(format!(
                "the generator was the limit: its busiest worker used {:.0} % of a processor; the gateway's: {gateway}",
                own * 100.0
            ));
        }
        let generator = &mut self.generator;
        generator.count_stalls(leg);
        generator.busy = generator.busy.into_iter().chain(busy.own).reduce(f64::max);
        generator.limited = Some(generator.limited == Some(true) || stalled || full.is_some());
    }

    /// Open loop: says whether the gateway let out what was planned. `what` is planned.
    pub(crate) fn judge_gateway(&mut self, legs: &[LegTally], what: &str) {
        if let Some(messages) = &mut self.messages {
            messages.unsent = Some(legs.iter().map(|leg| leg.unsent).sum());
        }
        // Without a link nothing leaves, which is told as that.
        if self.deserted_after_s.is_some() {
            return;
        }
        let cause = if self.links.lost > 0 { " or ended links" } else { "" };
        for &LegTally { planned, unsent, .. } in legs {
            if unsent as f64 > UNSENT_MAX * planned as f64 {
                let problem = format!(
                    "the gateway did not keep up{cause}: {unsent} of {planned} planned {what} never left"
                );
                self.problems.push(problem);
            }
        }
    }

    /// Says what went wrong that only an attack can show.
    pub(crate) fn judge_abuse(&mut self) {
        let Some(Abuse { attack, honest, .. }) = &self.abuse else { return };
        // A run that ended before its time has its own explanation.
        let is_whole = self.interrupted_after_s.or(self.deserted_after_s).is_none();
        if attack.attempted == 0 && is_whole {
            self.problems.push("nobody attacked".to_owned());
        }
        if honest.connects.failed > 0 {
            self.problems.push(format!("{} honest connects under attack failed", honest.connects.failed));
        }
        if attack.unmade > 0 {
            self.warnings.push(format!(
                "{} attempts could not be made on this machine, most for want of a free port: take more --sources, or fewer of \
                 --rate or --duration",
                attack.unmade
            ));
        }
    }

    /// Says what went wrong with pushes: nothing may be doubled or out of order, and who keeps up loses nothing.
    pub(crate) fn judge_pushes(&mut self) {
        let Some(all) = &self.push else { return };
        let quick = self.slow.as_ref().map_or(all, |slow| &slow.quick);
        // A run that ended before its time has its own explanation.
        let is_whole = self.interrupted_after_s.or(self.deserted_after_s).is_none();
        let mut problems = Vec::new();
        for (count, what) in all.breaches().into_iter().chain(quick.losses()) {
            if count > 0 {
                problems.push(format!("{count} pushes {what}"));
            }
        }
        if is_whole && !all.is_told {
            problems.push("the service did not say what became of the pushes".to_owned());
        }
        if is_whole && quick.received == 0 {
            problems.push("no push was received".to_owned());
        }
        self.problems.extend(problems);
        self.warnings.extend(self.slow.as_ref().and_then(|slow| still_open(&slow.slow.pushes)));
    }

    /// Says what went wrong with pushes where everybody was to go on with the session it had. With a session that is gone go
    /// the pushes that it was owed: their service knows.
    pub(crate) fn judge_storm(&mut self, goes_on: bool) {
        let Some(pushes) = self.storm.as_ref().and_then(|storm| storm.pushes.as_ref()) else { return };
        let lost = (if goes_on { pushes.lost } else { 0 }, "lost");
        for (count, what) in [lost, (pushes.all.duplicated, "duplicated"), pushes.all.unseen()] {
            if count > 0 {
                self.problems.push(format!("{count} pushes {what}"));
            }
        }
        if pushes.all.received == 0 && self.interrupted_after_s.or(self.deserted_after_s).is_none() {
            self.problems.push("no push came".to_owned());
        }
    }

    /// Lists what went wrong.
    pub(crate) fn judge(mut self) -> Self {
        self.problems.extend(self.deserted_after_s.map(|after| self.explain_desertion(after)));
        let messages = self.messages.unwrap_or_default().troubles();
        let warmup = self.warmup.unwrap_or_default().troubles();
        let of_messages = messages.into_iter().zip(warmup).map(|((count, what), (early, _))| {
            let early_part =
                if early > 0 { format!(", {early} of them in the warm-up") } else { String::new() };
            (count + early, format!("messages {what}{early_part}"))
        });
        let unanswered = self.heartbeats.map_or(0, |heartbeats| heartbeats.unanswered);
        let of_links = [(self.links.failed, "links failed"), (self.links.lost, "links lost")];
        let own = |(count, what): (u64, &str)| (count, what.to_owned());
        let troubles = of_links.map(own).into_iter().chain(of_messages);
        for (count, what) in troubles.chain([own((unanswered, "heartbeats unanswered"))]) {
            if count > 0 {
                self.problems.push(format!("{count} {what}"));
            }
        }
        match self.interrupted_after_s {
            _ if self.deserted_after_s.is_some() => {}
            Some(after) => {
                let measured = self.measured_s.unwrap_or_default();
                self.problems
                    .push(format!("interrupted after {after:.1} s, {measured:.1} s of them measured"));
            }
            None if self.messages.is_some_and(|messages| messages.received == 0) => {
                self.problems.push("no message was answered".to_owned());
            }
            None => {}
        }
        self
    }

    /// Why the run ended before its time without any signal.
    fn explain_desertion(&self, after: f64) -> String {
        let none =
            if self.links.up + self.links.lost > 0 { "no link was left" } else { "no link was opened" };
        // Refusals are of requests and end no link.
        let of_links = self.reasons.iter().filter(|(reason, _)| !reason.starts_with(REFUSED));
        let cause = of_links.max_by_key(|&(_, count)| count);
        let cause = cause.map_or(String::new(), |(reason, count)| format!("; {count} × {reason}"));
        format!("{none}, so the run ended after {after:.1} s{cause}")
    }

    /// What the process ends with: 0 well, 1 something went wrong, 3 the generator was the limit, 4 a signal ended the
    /// run early, whatever else there is to say.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.interrupted_after_s.is_some() {
            return INTERRUPTED;
        }
        match (self.problems.is_empty(), self.generator.limited) {
            (false, _) => 1,
            (true, Some(true)) => 3,
            (true, _) => 0,
        }
    }
}

/// What is to be said of slow readers' pushes whose outcome is not known yet.
fn still_open(slow: &Pushes) -> Option<String> {
    let open = slow.open;
    (open > 0).then(|| {
        format!(
            "what became of {open} pushes to slow links is not known yet, since their sessions wait for other links; a longer \
             --drain waits for it"
        )
    })
}

impl Messages {
    /// What must not happen to a message, and how often it did.
    const fn troubles(&self) -> [(u64, &'static str); 6] {
        [
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.misordered, "misordered"),
            (self.corrupted, "corrupted"),
            (self.refused, "refused"),
            (self.unknown, "unknown"),
        ]
    }
}

impl Generator {
    /// Adds those of a leg.
    fn count_stalls(&mut self, leg: &LegTally) {
        self.late_turns = Some(self.late_turns.unwrap_or_default() + leg.late_turns);
        self.stalled_ms = Some(self.stalled_ms.unwrap_or_default() + leg.stalled.as_secs_f64() * 1000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::abuse::{Attack, Connects, Honest};

    #[test]
    fn anything_wrong_is_a_problem_and_comes_before_a_limited_generator() {
        let limited = Generator { limited: Some(true), ..Generator::default() };
        let well = Report { generator: limited, ..Report::default() }.judge();
        assert_eq!((well.exit_code(), well.problems.len()), (3, 0));
        let messages = Messages { received: 1, misordered: 2, ..Messages::default() };
        let wrong = Report { messages: Some(messages), ..well }.judge();
        assert_eq!((wrong.exit_code(), wrong.problems), (1, vec!["2 messages misordered".to_owned()]));
        assert_eq!(Report::default().judge().exit_code(), 0);
    }

    #[test]
    fn more_than_one_percent_held_back_is_a_problem_of_the_gateway() {
        for (unsent, problems) in [(10, 0), (11, 1)] {
            let messages = Messages { received: 1, ..Messages::default() };
            let mut report = Report { messages: Some(messages), ..Report::default() };
            let leg = LegTally { planned: 1000, unsent, ..LegTally::default() };
            report.judge_gateway(&[LegTally::default(), leg], "messages");
            assert_eq!(report.messages.and_then(|messages| messages.unsent), Some(unsent));
            let text = report.text();
            assert!(text.contains(&format!("unsent     {unsent} were planned")), "{text}");
            let report = report.judge();
            assert_eq!((report.problems.len(), report.exit_code()), (problems, problems as u8));
        }
    }

    #[test]
    fn a_closed_loop_is_limited_by_turns_that_begin_late_or_by_a_full_worker() {
        let measured = Duration::from_secs(10);
        let judged = |stalled_ms, gateway, own| {
            let mut report = Report::default();
            report.setup.workers = 2;
            let stalled = Duration::from_millis(stalled_ms);
            let leg = LegTally { late_turns: 3, stalled, ..LegTally::default() };
            report.judge_closed(&leg, Busy { gateway, own }, measured);
            assert_eq!(report.generator.late_turns, Some(3));
            (report.generator.limited, report.warnings.len())
        };
        let (well, limited) = ((Some(false), 0), (Some(true), 1));
        assert_eq!(judged(1000, Some(0.5), Some(0.5)), well);
        assert_eq!(judged(1001, Some(0.5), Some(0.5)), limited, "5 % of two workers' time is a second");
        assert_eq!(judged(0, Some(0.3), Some(0.94)), well, "busy, and still waiting for the gateway");
        assert_eq!(judged(0, Some(0.3), Some(0.96)), limited);
        assert_eq!(judged(0, Some(0.99), Some(0.99)), well, "the gateway has no time left either");
        assert_eq!(judged(0, None, Some(0.99)), limited);
        assert_eq!(judged(0, None, None), well);
    }

    #[test]
    fn an_early_end_has_its_own_exit_code_and_excuses_what_is_not_there() {
        let messages = Some(Messages::default());
        let cut =
            Report { interrupted_after_s: Some(2.5), measured_s: Some(1.0), messages, ..Report::default() };
        let cut = cut.judge();
        assert_eq!(cut.problems, ["interrupted after 2.5 s, 1.0 s of them measured"]);
        assert_eq!(cut.exit_code(), 4);
        let limited = Generator { limited: Some(true), ..Generator::default() };
        assert_eq!(Report { generator: limited, ..cut }.exit_code(), 4);
    }

    #[test]
    fn the_generator_is_limited_above_one_percent() {
        for (missed, limited) in [(10, false), (11, true)] {
            let mut report = Report::default();
            report.judge_generator(&LegTally { planned: 1000, missed, ..LegTally::default() });
            assert_eq!(report.generator.limited, Some(limited), "{missed} of 1000");
        }
    }

    fn after(attack: Attack, connects: Connects) -> Report {
        let abuse = Abuse { attack, honest: Honest { connects }, ..Abuse::default() };
        let mut report = Report { abuse: Some(abuse), ..Report::default() };
        report.judge_abuse();
        report
    }

    #[test]
    fn honest_users_who_do_not_get_in_are_a_problem_and_attackers_are_none() {
        let well = Attack { attempted: 9, refused: 5, accepted: 4, closed: 4, ..Attack::default() };
        assert_eq!(after(well.clone(), Connects::default()).problems, [""; 0]);
        let failed = after(well, Connects { ok: 98, failed: 2, ..Connects::default() });
        assert_eq!(failed.problems, ["2 honest connects under attack failed"]);
        let mut nobody = after(Attack::default(), Connects::default());
        assert_eq!(nobody.problems, ["nobody attacked"]);
        (nobody.problems, nobody.interrupted_after_s) = (Vec::new(), Some(1.0));
        nobody.judge_abuse();
        assert_eq!(nobody.problems, [""; 0], "it was not their turn yet");
    }

    #[test]
    fn quick_readers_lose_nothing_and_nobody_gets_anything_twice() {
        use crate::result::pushes::{Slow, SlowLinks};
        let whole =
            Pushes { sent: 5, received: 5, delivered: 5, asked: 5, is_told: true, ..Pushes::default() };
        let judged = |push: &Pushes, slow| {
            let mut report = Report { push: Some(push.clone()), slow, ..Report::default() };
            report.judge_pushes();
            (report.problems, report.warnings.len())
        };
        assert_eq!(judged(&whole, None), (vec![], 0));
        let lossy = Pushes { received: 4, ..whole.clone() };
        assert_eq!(judged(&lossy, None).0, ["1 pushes lost"]);
        let beside = |pushes: Pushes| {
            let slow = SlowLinks { pushes, ..SlowLinks::default() };
            Some(Slow { quick: whole.clone(), slow, ..Slow::default() })
        };
        assert_eq!(judged(&lossy, beside(lossy.clone())), (vec![], 0), "the slow may lose");
        let open = Pushes { unknown: 1, open: 1, ..lossy.clone() };
        assert_eq!(judged(&open, beside(open.clone())), (vec![], 1));
        let doubled = Pushes { duplicated: 2, ..lossy.clone() };
        assert_eq!(judged(&doubled, beside(doubled.clone())).0, ["2 pushes duplicated"]);
        let untold = Pushes { is_told: false, ..whole.clone() };
        assert_eq!(judged(&untold, None).0, ["the service did not say what became of the pushes"]);
    }

    #[test]
    fn pushes_that_a_session_was_owed_are_lost_with_it_alone() {
        use crate::result::storm;
        let judged = |pushes: &storm::Pushes, goes_on| {
            let storm = storm::Storm { pushes: Some(pushes.clone()), ..storm::Storm::default() };
            let mut report = Report { storm: Some(storm), ..Report::default() };
            report.judge_storm(goes_on);
            report.problems
        };
        let well = storm::Pushes { all: Pushes { received: 9, ..Pushes::default() }, lost: 0 };
        assert_eq!(judged(&well, true), [""; 0]);
        let wrong = storm::Pushes { all: Pushes { duplicated: 1, ..well.all }, lost: 2 };
        assert_eq!(judged(&wrong, true), ["2 pushes lost", "1 pushes duplicated"]);
        assert_eq!(judged(&wrong, false), ["1 pushes duplicated"]);
        assert_eq!(judged(&storm::Pushes::default(), true), ["no push came"]);
    }

    #[test]
    fn what_this_machine_could_not_do_is_told_with_a_remedy() {
        let report = after(Attack { attempted: 9, unmade: 2, ..Attack::default() }, Connects::default());
        assert!(report.warnings[0].starts_with("2 attempts") && report.warnings[0].contains("--sources"));
    }
}
