//! What other workers and control want: the one match over letters.

use crate::worker::parts::Parts;
use crate::worker::post::Letter;

impl Parts {
    /// Reads the letters of others.
    pub(in crate::worker) fn read_letters(&mut self) {
        for _ in 0..self.turn.settings.budgets.letters {
            let Some(letter) = self.letters.take() else { break };
            match letter {
                // One that its stream's worker has sent later than another one which waits here must not overtake that.
                Letter::Push(parcel) if self.letters.has_own() => {
                    self.push_away(self.turn.settings.worker, parcel);
                }
                letter => self.heed(letter),
            }
        }
        self.letters.send_unsent(&self.turn);
        self.letters.ring(&mut self.turn);
    }

    /// Does what a letter asks for.
    pub(super) fn heed(&mut self, letter: Letter) {
        match letter {
            Letter::Claim(claim) => self.decide_claim(&claim),
            Letter::Release(claim) => self.sessions.release(&claim),
            Letter::Detached(claim) => self.sessions.note_detached(&claim),
            Letter::HandOver(hand_over) => self.hand_over(&hand_over),
            Letter::Session(handed) => self.session_came(*handed),
            Letter::Claimed(claimed) => self.claimed(&claimed),
            Letter::EndUser { user, device, farewell, revoked } => {
                self.end_user(user, device, farewell, revoked);
            }
            Letter::ThrottleUser { user, throttle } => self.throttle_user(user, throttle),
            Letter::Throttle { link, percent } => self.throttle_own(link, percent),
            Letter::End { link, farewell } => self.end_own(link, farewell),
            Letter::Push(parcel) => self.push_letter(parcel),
            Letter::Undelivered { sender, reason, user } => {
                self.report_undelivered(sender, reason, user.bytes());
            }
            Letter::Resolved(resolved) => self.resolved(*resolved),
            Letter::Reported(reported) => self.report_fate(reported),
            Letter::Lost(lost) => self.tell_lost(&lost.0, &[], &lost.1),
            Letter::Lists(lists) => self.take_lists(lists),
            Letter::Verifier(verifier) => self.identity.replace_keys(verifier),
            Letter::Busiest(to) => self.list_busiest(&to),
            Letter::Throttled(to) => self.list_throttled(&to),
            Letter::TicketKey(key) => self.identity.rotate_tickets(&key, self.turn.wall),
            Letter::Stop => self.stop(),
        }
    }
}
