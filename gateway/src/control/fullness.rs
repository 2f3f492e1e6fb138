//! What operators are told when a listener's workers have no place left: a line when that begins, and one when it is over.

use std::sync::Arc;

use crate::config::{Config, Level};
use crate::counters::Counters;

/// What was last told.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    /// Whether each listener was full.
    told: Vec<bool>,
}

/// Whether each worker that accepts from a listener has all its places taken: who comes by it is turned away.
pub(super) fn is_full(config: &Config, counters: &[Arc<Counters>], listener: usize) -> bool {
    config.cores_of(listener).iter().all(|&core| counters[core].link_places_left.get() == 0)
}

/// A full listener, and what to do about it.
pub(super) fn describe(config: &Config, counters: &[Arc<Counters>], listener: usize) -> String {
    let cores = config.cores_of(listener);
    let links: u64 = cores.iter().map(|&core| counters[core].links.get()).sum();
    let name = &config.listeners[listener].name;
    format!("listener {name} is full: its workers hold {links} links and have no place left ({FIX})")
}

const FIX: &str = "raise slots and the limit of open files, or use more workers or nodes";

impl Fullness {
    /// The lines about everything that has changed since the last look.
    pub(super) fn look(&mut self, config: &Config, counters: &[Arc<Counters>]) -> Vec<(Level, String)> {
        self.told.resize(config.listeners.len(), false);
        let mut lines = Vec::new();
        for (at, told) in self.told.iter_mut().enumerate() {
            let is_now = is_full(config, counters, at);
            if std::mem::replace(told, is_now) != is_now {
                lines.push(if is_now {
                    (Level::Warning, describe(config, counters, at))
                } else {
                    let name = &config.listeners[at].name;
                    (Level::Info, format!("listener {name} has places again"))
                });
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::config;
    use super::*;

    #[test]
    fn a_full_listener_is_told_of_once_and_again_when_it_has_places() {
        let config = config();
        let counters = [Arc::new(Counters::new(1, 2)), Arc::new(Counters::new(1, 2))];
        let mut fullness = Fullness::default();
        let mut look = || fullness.look(&config, &counters);
        counters.iter().for_each(|its| its.link_places_left.set(3));
        assert_eq!(look(), []);
        // The second worker alone serves "web".
        counters[1].link_places_left.set(0);
        counters[1].links.set(630);
        let lines = look();
        let (level, line) = &lines[0];
        assert!(*level == Level::Warning && lines.len() == 1, "{lines:?}");
        assert!(line.starts_with("listener web is full: its workers hold 630 links"), "{line}");
        assert_eq!(look(), [], "nothing has changed");
        counters[0].link_places_left.set(0);
        assert!(look()[0].1.starts_with("listener app is full"));
        counters[1].link_places_left.set(1);
        let again = |name| (Level::Info, format!("listener {name} has places again"));
        assert_eq!(look(), [again("app"), again("web")]);
    }
}
