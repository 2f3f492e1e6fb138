//! A kernel made of lists. It refuses whatever a driver's rules forbid.

use driver::{Armed, Mode, Op, Pool};

use super::*;

/// What a driver knows, and what it would not take.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) reads: BTreeMap<Token, Read>,
    pub(super) sends: BTreeMap<Token, Batch>,
    /// Sockets that are being closed.
    pub(super) closes: BTreeSet<Token>,
    pub(super) trace: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Poll,
    Once,
    Multishot,
}

impl Kernel {
    pub(super) fn submit(&mut self, op: Op) {
        let (said, token) = match op {
            Op::Poll { token } => (self.arm(token, Read::Poll), token),
            Op::Receive { token, pool: Pool::Links, mode: Mode::Once } => {
                (self.arm(token, Read::Once), token)
            }
            Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot } => {
                (self.arm(token, Read::Multishot), token)
            }
            Op::Send { token, batch } => {
                assert!(!batch.rest().is_empty(), "there is something to send");
                assert!(self.sends.insert(token, batch).is_none(), "one send is in flight");
                ("send", token)
            }
            Op::Cancel { token, armed } => {
                let read = self.reads.get(&token);
                let (is_armed, said) = match armed {
                    Armed::Poll => (read == Some(&Read::Poll), "cancel poll"),
                    Armed::Receive => (read.is_some_and(|&read| read != Read::Poll), "cancel receive"),
                    Armed::Send => (self.sends.contains_key(&token), "cancel send"),
                };
                assert!(is_armed, "{said} {}: nothing is armed", token.slot);
                (said, token)
            }
            Op::Close { token } => {
                assert!(!self.reads.contains_key(&token) && !self.sends.contains_key(&token), "all is over");
                assert!(self.closes.insert(token), "a socket is closed once");
                self.trace.push(format!("close {}", token.slot));
                return;
            }
            other => panic!("{other:?} is not a link's"),
        };
        assert!(!self.closes.contains(&token), "{said} {}: it is being closed", token.slot);
        self.trace.push(format!("{said} {}", token.slot));
    }

    fn arm(&mut self, token: Token, read: Read) -> &'static str {
        assert!(self.reads.insert(token, read).is_none(), "one thing waits for the next bytes");
        match read {
            Read::Poll => "poll",
            Read::Once => "receive",
            Read::Multishot => "multishot",
        }
    }
}
