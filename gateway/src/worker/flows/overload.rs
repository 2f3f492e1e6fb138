//! How full everything is: the worker gives up what its level says.

use crate::admission::ladder::Level;
use crate::worker::parts::Parts;

impl Parts {
    /// Looks at the load now and then, and acts on what comes of it.
    pub(in crate::worker) fn look_at_load(&mut self) {
        if !self.overload.is_due(self.turn.now) {
            return;
        }
        let queues = self.fullest_queue();
        self.overload.look(&mut self.turn, queues);
        let idle = self.turn.settings.buffers_idle_max;
        let is_thrifty = self.turn.level >= Level::Thrifty;
        self.turn.buffers.keep_at_most(if is_thrifty { idle / 2 } else { idle });
        if self.turn.level >= Level::Shedding {
            self.links.shed_largest(&self.turn);
        }
    }

    /// How full the fullest of the queues is that all links share, in hundredths. Requests in flight are none of them: a slow
    /// backend is no reason to keep clients out.
    fn fullest_queue(&self) -> u8 {
        let settings = &self.turn.settings;
        let links = self.links.census();
        let (letters, _, _) = self.letters.census();
        let fills = [
            (links.outgoing_bytes, settings.outgoing_bytes_max),
            (links.partial_bytes, settings.partial_bytes_max),
            (letters, self.letters.most()),
        ];
        let percent = |(used, most): (usize, usize)| (used * 100 / most.max(1)).min(255) as u8;
        fills.into_iter().map(percent).max().unwrap_or(0)
    }
}
