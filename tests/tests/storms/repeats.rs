//! What a client sends again: requests that were refused, and those whose link was lost, in their order.

use std::collections::BTreeMap;

use protocol::Refusal;
use protocol::wire::frame::RequestId;

use crate::client::Asked;

/// Requests that wait to be sent again. Their names grow in the order in which they were sent first.
#[derive(Default)]
pub(crate) struct Repeats(BTreeMap<RequestId, Asked>);

/// So often one is sent.
const TRIES: u32 = 5;

impl Repeats {
    /// A link is lost, and with it the answers to these.
    pub(crate) fn lose(&mut self, open: &mut BTreeMap<RequestId, Asked>) {
        self.0.append(open);
    }

    /// One is refused: whether it will come again, `always` or a few times.
    pub(crate) fn refused(
        &mut self,
        id: RequestId,
        mut asked: Asked,
        refusal: Refusal,
        always: bool,
    ) -> bool {
        let is_final = matches!(refusal, Refusal::TooLarge | Refusal::NoRoute | Refusal::Malformed);
        asked.tries += 1;
        let again = (always || asked.tries < TRIES) && !is_final;
        if again {
            self.0.insert(id, asked);
        }
        again
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Option<(RequestId, Asked)> {
        self.0.pop_first()
    }

    /// Another session begins, in which nothing is sent again: how many are given up.
    pub(crate) fn give_up(&mut self) -> u64 {
        std::mem::take(&mut self.0).len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
