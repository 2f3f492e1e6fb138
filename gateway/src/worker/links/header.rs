//! What a balancer says first: whose connection it is.

use driver::{Listener, Peer, Token};
use protocol::Error;
use protocol::buffer::{Input, Place, Rest};

use super::Links;
use super::cause::Cause;
use crate::address::Address;
use crate::admission::balancers::Introduction;
use crate::counters::guard::Guard;
use crate::proxy_header::{self, Flaw, Origin, Parsed, SIGNATURE};
use crate::worker::acceptors::Acceptors;
use crate::worker::turn::Turn;

/// Whose a link is, now that this is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Introduced {
    /// How it is known.
    pub(in crate::worker) introduction: Introduction,
    /// The client's address, or the balancer's.
    pub(in crate::worker) peer: Address,
    /// By which listener it came.
    pub(in crate::worker) listener: Listener,
    /// How many bytes of the chunk said so. Those behind them are the client's.
    pub(in crate::worker) used: usize,
}

impl Links {
    /// Bytes of a link of which it is not known yet whose it is; whose it is, once they have said so. Whether that one may
    /// stay is still to be decided; if so, it is a [stranger](Self::note_stranger) like others, even if its balancer was none.
    pub(in crate::worker) fn introduce(
        &mut self,
        turn: &mut Turn,
        token: Token,
        bytes: &mut [u8],
        acceptors: &Acceptors,
    ) -> Option<Introduced> {
        let link = self.table.living(token)?;
        let has_begun = link.place != Place::NONE;
        if link.introduction == Introduction::Optional && !has_begun && bytes.first() != SIGNATURE.first() {
            return self.settle(turn, token, Origin::Unknown, 0);
        }
        let mut rest = match self.rests.take(link) {
            Ok(rest) => rest,
            Err(error) => {
                self.mark(token, Cause::Fault(error));
                return None;
            }
        };
        let (parsed, used) = gather(bytes, &mut rest);
        let Ok(Parsed::Whole { origin, .. }) = parsed else {
            self.wait_for_header(turn, token, rest, parsed.err());
            self.mark_evicted(turn, acceptors);
            return None;
        };
        self.rests.release(link);
        self.rests.spare(rest);
        self.settle(turn, token, origin, used)
    }

    /// Keeps what has come of a header, unless it never will be one.
    fn wait_for_header(&mut self, turn: &mut Turn, token: Token, rest: Rest, flaw: Option<Flaw>) {
        let Some(link) = self.table.living(token) else { return self.rests.spare(rest) };
        let kept: Result<(), Error> = match flaw {
            None => self.rests.keep(link, rest),
            Some(_) => {
                turn.kept_out(link.listener).refused.of(Guard::ProxyHeader).add(1);
                self.rests.spare(rest);
                return self.mark(token, Cause::Silent);
            }
        };
        match kept {
            Ok(()) => self.receive_once(turn, token),
            Err(error) => self.mark(token, Cause::Fault(error)),
        }
    }

    /// It is known whose a link is.
    fn settle(&mut self, turn: &Turn, token: Token, origin: Origin, used: usize) -> Option<Introduced> {
        let link = self.table.living(token)?;
        match origin {
            Origin::Client(address) => {
                link.introduction = Introduction::Forwarded;
                link.peer = Peer::Tcp(address).into();
                turn.counters.links_forwarded.add(1);
            }
            // Somebody has to pay for a client that nobody knows.
            Origin::Unknown => link.introduction = Introduction::Direct,
            Origin::Balancer => {
                link.introduction = Introduction::Balancer;
                turn.counters.balancer_checks.add(1);
            }
        }
        Some(Introduced { introduction: link.introduction, peer: link.peer, listener: link.listener, used })
    }
}

/// Takes as many bytes of the chunk as belong to the header that `rest` began with, and no more; how many those were.
fn gather(bytes: &mut [u8], rest: &mut Rest) -> (Result<Parsed, Flaw>, usize) {
    let mut used = 0;
    loop {
        let parsed = proxy_header::parse(rest.gathered());
        let Ok(Parsed::Part { wanted }) = parsed else { return (parsed, used) };
        let missing = wanted - rest.gathered().len();
        let taken = missing.min(bytes.len() - used);
        if taken == 0 {
            return (parsed, used);
        }
        *rest = Input::new(&mut bytes[used..used + taken], std::mem::take(rest)).into_rest();
        used += taken;
    }
}
