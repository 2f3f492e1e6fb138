//! What operators are told of those who come: that an address has become a crowd, that most of those who are kept out
//! come from a few addresses, and that their tokens are good for longer than tokens are meant to be.

use std::sync::Arc;

use crate::config::{Config, Level};
use crate::counters::Counters;
use crate::tokens::Flaw;

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Doorstep {
    crowds: u64,
    /// Whether the others were told: they are, once.
    told_of_few: bool,
    told_of_lifetime: bool,
}

impl Doorstep {
    /// The lines about what has happened since the last look.
    pub(super) fn look(&mut self, config: &Config, counters: &[Arc<Counters>]) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        let crowds = counters.iter().map(|its| its.crowds.get()).sum();
        if crowds > std::mem::replace(&mut self.crowds, crowds) {
            let (crowd, most) = (config.admission.crowd, config.admission.links_per_address);
            lines.push((
                Level::Warning,
                format!(
                    "an address has come to have {crowd} authenticated links: a carrier's or an office's, or one \
                     program that opens many; at {most} it gets no more (links_per_address of [admission])"
                ),
            ));
        }
        let few = counters.iter().any(|its| its.kept_out_of_few.get() > 0);
        if few && !std::mem::replace(&mut self.told_of_few, true) {
            let line = "most of the connections that are kept out come from four addresses or fewer: if a balancer of \
                        yours stands in front, let it send headers of the PROXY protocol, version 2, and set \
                        `proxy_protocol` and `balancers` of [[listener]]; if not, `gateway ban` keeps them out \
                        for good";
            lines.push((Level::Warning, line.to_owned()));
        }
        let too_long = counters.iter().any(|its| its.token_flaws.of(Flaw::Lifetime).get() > 0);
        if too_long && !std::mem::replace(&mut self.told_of_lifetime, true) {
            let line = "a token with a good signature was refused, as it lives longer than revocations are remembered: \
                        let tokens be issued for less, or raise `token_lifetime_max` of [auth] \
                        (gateway_token_flaws_total counts them by flaw \"lifetime\")";
            lines.push((Level::Warning, line.to_owned()));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::config;
    use super::*;

    #[test]
    fn each_new_crowd_is_told_of_and_everything_else_once() {
        let config = config();
        let counters = [Arc::new(Counters::new(1, 2)), Arc::new(Counters::new(1, 2))];
        let mut doorstep = Doorstep::default();
        let mut look =
            || doorstep.look(&config, &counters).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        assert!(look().is_empty());
        counters[1].crowds.add(1);
        let lines = look();
        assert!(lines.len() == 1 && lines[0].contains("1000 authenticated links"), "{lines:?}");
        assert!(look().is_empty());
        counters[0].crowds.add(1);
        counters[0].kept_out_of_few.add(1);
        let lines = look();
        assert!(
            lines.len() == 2 && lines[1].contains("`proxy_protocol` and `balancers` of [[listener]]"),
            "{lines:?}"
        );
        counters[1].kept_out_of_few.add(1);
        assert!(look().is_empty());
        counters[1].token_flaws.of(Flaw::Expired).add(1);
        assert!(look().is_empty());
        counters[1].token_flaws.of(Flaw::Lifetime).add(1);
        let lines = look();
        assert!(lines.len() == 1 && lines[0].contains("`token_lifetime_max` of [auth]"), "{lines:?}");
        counters[0].token_flaws.of(Flaw::Lifetime).add(1);
        assert!(look().is_empty());
    }
}
