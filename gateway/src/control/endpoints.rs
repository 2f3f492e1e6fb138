//! What operators are told of the backends: a line whenever one comes or goes, never one per dial.

use std::sync::Arc;

use crate::config::{Endpoint, Level};
use crate::counters::Counters;
use crate::counters::health::Reason;

/// What was last told of each endpoint.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    told: Vec<Option<(State, Option<Reason>)>>,
}

/// How many workers have a stream to an endpoint, and how many of those leave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Open streams.
    pub(super) open: u64,
    /// Of them those that are left out.
    pub(super) left_out: u64,
}

impl State {
    /// The present state of the endpoint at this place of the config.
    pub(super) fn of(endpoint: usize, counters: &[Arc<Counters>]) -> Self {
        let sum = |cell: fn(&Counters, usize) -> u64| counters.iter().map(|its| cell(its, endpoint)).sum();
        Self {
            open: sum(|its, at| its.endpoints[at].open.get()),
            left_out: sum(|its, at| its.endpoints[at].left_out.get()),
        }
    }
}

/// Why an endpoint has fewer streams than workers: of the first worker without one that knows.
pub(super) fn reason(endpoint: usize, counters: &[Arc<Counters>]) -> Option<Reason> {
    let down = counters.iter().map(|its| &its.endpoints[endpoint]).filter(|health| health.open.get() == 0);
    down.filter_map(|health| health.reason()).next()
}

impl Endpoints {
    /// The lines about everything that has changed since the last look: how many streams there are, or why no more.
    pub(super) fn look(
        &mut self,
        endpoints: &[Endpoint],
        counters: &[Arc<Counters>],
    ) -> Vec<(Level, String)> {
        self.told.resize(endpoints.len(), None);
        let mut lines = Vec::new();
        for (at, (endpoint, told)) in endpoints.iter().zip(&mut self.told).enumerate() {
            let (state, reason) = (State::of(at, counters), reason(at, counters));
            if told.replace((state, reason)) != Some((state, reason)) {
                lines.push(describe(&endpoint.name, state, reason, counters.len() as u64));
            }
        }
        lines
    }
}

fn describe(name: &str, state: State, reason: Option<Reason>, all: u64) -> (Level, String) {
    let State { open, left_out } = state;
    // Nothing has failed yet, and the first dial has its deadline.
    let reason = reason.map_or("; still dialling".to_owned(), |reason| format!(": {reason}"));
    if open == 0 {
        (Level::Warning, format!("endpoint {name}: no stream is open{reason}"))
    } else if open < all {
        (Level::Warning, format!("endpoint {name}: {open} of {all} streams are open{reason}"))
    } else if left_out > 0 {
        let text =
            format!("endpoint {name}: left out by {left_out} of {all} workers, as it answers too late");
        (Level::Warning, text)
    } else {
        (Level::Info, format!("endpoint {name}: all streams are open"))
    }
}

#[cfg(test)]
mod tests {
    use driver::Errno;

    use super::super::snapshot::tests::config;
    use super::*;

    #[test]
    fn each_change_is_told_once_and_with_its_reason() {
        let config = config();
        let counters = [Arc::new(Counters::new(1, 2)), Arc::new(Counters::new(1, 2))];
        let mut endpoints = Endpoints::default();
        let mut look = || endpoints.look(&config.endpoints, &counters);
        let [first, second] = [0, 1].map(|worker: usize| &counters[worker].endpoints[0]);
        let none = |why: &str| [(Level::Warning, format!("endpoint chat: no stream is open{why}"))];
        assert_eq!(look(), none("; still dialling"));
        first.failed(Reason::Errno(Errno(libc::ECONNREFUSED)));
        assert_eq!(look(), none(": Connection refused (os error 111)"), "a reason that was not known");
        first.failed(Reason::Errno(Errno(libc::ECONNREFUSED)));
        assert_eq!(look(), [], "nothing has changed");
        first.failed(Reason::Errno(Errno(libc::ETIMEDOUT)));
        assert_eq!(look(), none(": Connection timed out (os error 110)"), "another reason");
        first.opened();
        second.ended(Reason::Ended);
        let (level, partly) = look().remove(0);
        assert!(
            level == Level::Warning && partly.contains("1 of 2 streams") && partly.contains("public key?"),
            "{partly}"
        );
        second.opened();
        assert_eq!(look(), [(Level::Info, "endpoint chat: all streams are open".to_owned())]);
        second.left_out.set(1);
        assert!(look()[0].1.contains("left out by 1 of 2 workers"));
    }
}
