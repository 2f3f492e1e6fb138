//! Both machines against each other, and against peers that break the rules.

mod breaches;
mod conversations;
mod params;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::gateway::Introduction;
use super::*;
use crate::error::Error;
use crate::noise::{PublicKey, StaticKey, Suite};
use crate::time::Time;
use crate::wire::stream::{StreamFrame, StreamPush, StreamRequest, StreamResponse};

const START: Time = Time::from_nanos(1_000_000_000_000);
const PARAMS: Params = Params {
    frame_len_max: 4096,
    window: 2 * (4096 + 64),
    heartbeat: Duration::from_secs(5),
    handshake_deadline: Duration::from_secs(3),
    pending_bytes_max: 16 * 1024,
};

fn gateway_key() -> StaticKey {
    StaticKey::from_secret([3; 32])
}

fn backend_key() -> StaticKey {
    StaticKey::from_secret([5; 32])
}

fn kk(suite: Suite, remote: PublicKey) -> Mode {
    Mode::Kk { suite, local: gateway_key(), remote }
}

/// Both ends, and everything they were told, as text.
struct Pair {
    gateway: GatewayStream,
    backend: BackendStream,
    now: Time,
    /// What each end was told.
    at_gateway: Vec<String>,
    at_backend: Vec<String>,
    batch: Vec<u8>,
    /// Answers that wait for credit.
    unanswered: VecDeque<(u64, Vec<u8>)>,
}

fn gateway(mode: &Mode, params: Params) -> GatewayStream {
    let introduction =
        Introduction { boot_id: [9; 16], gateway: "gate-1".into(), worker: 2, report_slots: 1000 };
    GatewayStream::new(mode, params, introduction, [11; 32], START).unwrap()
}

fn backend(access: Access, params: Params) -> BackendStream {
    let routes = vec!["echo".into(), "chat".into()];
    BackendStream::new(Arc::new(access), params, b"b-1", routes, [13; 32], START).with_boot([6; 16])
}

impl Pair {
    fn new(mode: &Mode) -> Self {
        let access = match mode {
            Mode::Clear => Access::clear(),
            Mode::Kk { .. } => Access::kk(backend_key(), vec![PublicKey([1; 32]), gateway_key().public()]),
        };
        Self {
            gateway: gateway(mode, PARAMS),
            backend: backend(access, PARAMS),
            now: START,
            at_gateway: Vec::new(),
            at_backend: Vec::new(),
            batch: Vec::new(),
            unanswered: VecDeque::new(),
        }
    }

    fn live(mode: &Mode) -> Self {
        let mut pair = Self::new(mode);
        pair.settle();
        assert!(pair.gateway.is_ready() && pair.backend.is_live());
        pair
    }

    /// Carries bytes to and fro until nobody has any.
    fn settle(&mut self) {
        while self.up(usize::MAX) | self.down(usize::MAX) {}
    }

    /// Carries what the gateway has, in pieces of `piece` bytes; whether there was anything.
    fn up(&mut self, piece: usize) -> bool {
        self.batch.clear();
        let any = self.gateway.seal(&mut self.batch);
        for piece in std::mem::take(&mut self.batch).chunks_mut(piece) {
            self.tell_backend(piece).unwrap();
        }
        any
    }

    fn down(&mut self, piece: usize) -> bool {
        self.batch.clear();
        let any = self.backend.seal(&mut self.batch);
        for piece in std::mem::take(&mut self.batch).chunks_mut(piece) {
            self.tell_gateway(piece).unwrap();
        }
        any
    }

    /// The backend of all tests: echoes, as far as the credit reaches.
    fn tell_backend(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        let Self { backend, now, at_backend, unanswered, .. } = self;
        let mut input = backend.input(bytes);
        while let Some(event) = backend.receive(&mut input, *now)? {
            at_backend.push(shorten(&event));
            if let ToBackend::Request(request) = event {
                backend.consumed(request.payload.len());
                unanswered.push_back((request.call, request.payload.to_vec()));
            }
            while let Some((call, payload)) = unanswered.front() {
                match backend.response(&StreamResponse { call: *call, payload, ..Default::default() }) {
                    Ok(()) => _ = unanswered.pop_front(),
                    Err(Blocked::Credit) => break,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        backend.keep(input);
        Ok(())
    }

    fn tell_gateway(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        let Self { gateway, now, at_gateway, .. } = self;
        let mut input = gateway.input(bytes);
        while let Some(event) = gateway.receive(&mut input, *now)? {
            at_gateway.push(shorten(&event));
            match event {
                ToGateway::Response(response) => gateway.consumed(response.payload.len()),
                ToGateway::Push(push) => gateway.consumed(push.payload.len()),
                _ => {}
            }
        }
        gateway.keep(input);
        Ok(())
    }
}

/// The event as text, with payloads by length.
fn shorten(event: &impl std::fmt::Debug) -> String {
    let text = format!("{event:?}");
    if text.len() < 400 { text } else { format!("{} … {}", &text[..100], text.len()) }
}

fn request(call: u64, payload: &[u8]) -> StreamRequest<'_> {
    let id = [call as u8; 16];
    StreamRequest { call, id, route: "echo", user: b"ann", device: b"phone", payload, ..Default::default() }
}

/// A clear record that holds these frames.
fn clear_record(frames: &[StreamFrame<'_>]) -> Vec<u8> {
    let mut out = vec![0; 2];
    for frame in frames {
        frame.encode(&mut out);
    }
    let len = u16::try_from(out.len() - 2).unwrap();
    out[..2].copy_from_slice(&len.to_be_bytes());
    out
}

/// One of each mode.
fn modes() -> [Mode; 3] {
    let remote = backend_key().public();
    [Mode::Clear, kk(Suite::KkChaChaPoly, remote), kk(Suite::KkAesGcm, remote)]
}

fn push(number: u64, payload: &[u8]) -> StreamPush<'_> {
    StreamPush { number, user: b"bob", payload, ..Default::default() }
}
