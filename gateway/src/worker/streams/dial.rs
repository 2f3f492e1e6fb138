//! A stream begins: its socket is asked for, and comes, or does not.

use driver::{Errno, Mode, Op, Pool, Token, Trust};
use protocol::stream::GatewayStream;
use protocol::stream::gateway::Introduction;

use super::Streams;
use super::stream::{Ending, Socket};
use crate::counters::health::Reason;
use crate::upstream::StreamIndex;
use crate::worker::turn::Turn;

impl Streams {
    /// Asks for a socket to an endpoint.
    pub(super) fn dial(&mut self, turn: &mut Turn, stream: StreamIndex) {
        if self.stopping || self.see(stream).socket.is_some() {
            return;
        }
        let own = self.at(stream);
        own.dials = own.dials.wrapping_add(1);
        let tag = self.tag(stream);
        let endpoint = &turn.settings.endpoints[usize::from(stream.0)];
        let (to, trust) = (Box::new(endpoint.address.clone()), endpoint.trust());
        turn.submit(Op::Connect { tag, from: None, to, trust });
    }

    /// Names the last dial of a stream: the stream, and which one of its dials.
    pub(super) fn tag(&self, stream: StreamIndex) -> u32 {
        u32::from(self.see(stream).dials) << 16 | u32::from(stream.0)
    }

    /// Whose dial it is that a tag names.
    pub(in crate::worker) const fn dialled(tag: u32) -> StreamIndex {
        StreamIndex(tag as u16)
    }

    /// A dial is over.
    pub(in crate::worker) fn connected(&mut self, turn: &mut Turn, tag: u32, result: Result<Token, Errno>) {
        let stream = Self::dialled(tag);
        let is_served = self.see(stream).socket.is_some();
        match result {
            // A dial that was given up and is over now says nothing about the stream that came after it.
            Ok(token) if is_served || self.stopping => turn.submit(Op::Close { token }),
            Err(_) if is_served => {}
            Ok(token) => self.begin(turn, stream, token),
            Err(errno) => {
                let trust = turn.settings.endpoints[usize::from(stream.0)].trust();
                let reason = match errno {
                    Errno::OTHER_USER if trust == Trust::OwnUser => Reason::OtherUser,
                    errno => Reason::Errno(errno),
                };
                turn.counters.endpoints[usize::from(stream.0)].failed(reason);
                // Nor does it say anything about a dial that came after it.
                if tag == self.tag(stream) {
                    self.failed(turn, stream);
                }
            }
        }
    }

    fn begin(&mut self, turn: &mut Turn, stream: StreamIndex, token: Token) {
        let ephemeral = turn.random();
        let settings = &turn.settings;
        let endpoint = &settings.endpoints[usize::from(stream.0)];
        let introduction = Introduction {
            boot_id: settings.boot_id,
            gateway: settings.gateway.clone(),
            worker: settings.worker,
            report_slots: settings.pushes.report_slots,
        };
        let machine = GatewayStream::new(&endpoint.mode, endpoint.params, introduction, ephemeral, turn.now);
        let own = self.at(stream);
        own.epoch = own.epoch.wrapping_add(1);
        let machine = match machine {
            Ok(machine) => Box::new(machine),
            Err(error) => {
                // The keys of its endpoint cannot be used.
                turn.submit(Op::Close { token });
                turn.counters.endpoints[usize::from(stream.0)].failed(Reason::broke(error));
                return self.failed(turn, stream);
            }
        };
        own.socket = Some(Socket { token, machine, receiving: true, sending: false, ending: Ending::No });
        turn.submit(Op::Receive { token, pool: Pool::Streams, mode: Mode::Multishot });
        self.dirty(stream);
        self.schedule(stream);
    }

    /// The dial failed or the stream ended: it will be dialled again.
    pub(super) fn failed(&mut self, turn: &mut Turn, stream: StreamIndex) {
        let (now, random, rules) = (turn.now, turn.random_number(), turn.settings.redial);
        self.at(stream).redial.failed(now, random, &rules);
        self.schedule(stream);
    }
}
