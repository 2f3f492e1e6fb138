//! What a shell does with sockets that behave in ways no real one can be made to.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use protocol::stream::gateway::Introduction;
use protocol::stream::{Access, GatewayStream, Mode, Params, ToGateway};
use protocol::wire::stream::StreamRequest;
use tokio::io::{AsyncReadExt, DuplexStream, ReadBuf};

use super::*;
use crate::bounds::Bounds;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::gateway::Registry;
use crate::ledger::Ledger;
use crate::service::Service;

const PARAMS: Params = Params {
    frame_len_max: 4096,
    window: 1 << 20,
    heartbeat: Duration::from_millis(300),
    handshake_deadline: Duration::from_secs(60),
    pending_bytes_max: 1 << 20,
};

/// What a socket takes at a time in which the gateway reads slowly.
const PIECE: usize = 1024;

fn shared() -> Shared {
    let mut service = Service::default();
    let echo = |request: &StreamRequest<'_>, _: &Gateway, answer: &mut Answer| {
        answer.payload().extend_from_slice(request.payload);
    };
    service.routes.push(("echo".into(), Handler::Now(Box::new(echo))));
    Shared {
        service,
        access: Arc::new(Access::clear()),
        params: PARAMS,
        bounds: Bounds::default(),
        instance: b"b".to_vec(),
        boot: [5; 16],
        gateways: Registry::default(),
        ledger: Ledger::new(&Bounds::default()),
        clock: Clock::start(),
        counters: Counters::default(),
        streams: 1.into(),
    }
}

fn gateway() -> GatewayStream {
    let introduction = Introduction { boot_id: [1; 16], gateway: "g".into(), worker: 0, report_slots: 0 };
    GatewayStream::new(&Mode::Clear, PARAMS, introduction, [2; 32], Time::ZERO).unwrap()
}

fn request(call: u64, payload: &[u8]) -> StreamRequest<'_> {
    let (link, id, user, device) = (1, [1; 16], b"u", b"d");
    StreamRequest { call, link, id, user, device, route: "echo", payload, ..StreamRequest::default() }
}

/// What the gateway wants to send.
fn sealed(gateway: &mut GatewayStream) -> Vec<u8> {
    let mut batch = Vec::new();
    assert!(gateway.seal(&mut batch));
    batch
}

/// Reads until the gateway is told what is looked for; `None` when the backend has hung up.
async fn until(
    far: &mut DuplexStream,
    gateway: &mut GatewayStream,
    is_it: impl Fn(ToGateway<'_>) -> bool,
) -> Option<()> {
    loop {
        let mut chunk = vec![0; 4096];
        let len = far.read(&mut chunk).await.ok().filter(|len| *len > 0)?;
        let (mut input, mut found) = (gateway.input(&mut chunk[..len]), false);
        while let Some(event) = gateway.receive(&mut input, Time::ZERO).unwrap() {
            found |= is_it(event);
        }
        gateway.keep(input);
        if found {
            return Some(());
        }
    }
}

/// A socket whose last bytes are in the kernel in time, of which the runtime knows only in its next turn.
#[derive(Clone)]
struct Slow(Arc<Mutex<Kernel>>);

struct Kernel {
    clock: Clock,
    hello: Vec<u8>,
    greeted: Option<Time>,
    last: Vec<u8>,
    is_known: bool,
    /// How much was asked for at once: before the hello, and behind it.
    asked: [usize; 2],
}

impl AsyncRead for Slow {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut kernel = self.0.lock().unwrap();
        let now = kernel.clock.now();
        let is_greeted = usize::from(kernel.greeted.is_some() && kernel.hello.is_empty());
        kernel.asked[is_greeted] = kernel.asked[is_greeted].max(buffer.remaining());
        let since = *kernel.greeted.get_or_insert(now);
        if !kernel.hello.is_empty() {
            buffer.put_slice(&std::mem::take(&mut kernel.hello));
            return Poll::Ready(Ok(()));
        }
        if kernel.last.is_empty() || now < since + 2 * PARAMS.heartbeat {
            return Poll::Pending;
        }
        if kernel.is_known {
            buffer.put_slice(&std::mem::take(&mut kernel.last));
            return Poll::Ready(Ok(()));
        }
        // Runs when the shell's own task has had its turn.
        let (kernel, waker) = (Arc::clone(&self.0), context.waker().clone());
        tokio::spawn(async move {
            kernel.lock().unwrap().is_known = true;
            waker.wake();
        });
        Poll::Pending
    }
}

#[tokio::test]
async fn what_waits_unread_is_read_before_a_gateway_is_given_up() {
    let (shared, mut gateway) = (shared(), gateway());
    let hello = sealed(&mut gateway);
    let kernel = Kernel {
        clock: shared.clock,
        hello,
        greeted: None,
        last: Vec::new(),
        is_known: false,
        asked: [0; 2],
    };
    let kernel = Arc::new(Mutex::new(kernel));
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let (_stop, stopped) = watch::channel(false);
    let reader = Slow(Arc::clone(&kernel));
    let task = tokio::spawn(async move { serve(reader, near, &shared, Newcomer::default(), stopped).await });

    let ready = until(&mut far, &mut gateway, |event| event == ToGateway::Ready).await;
    assert_eq!(ready, Some(()));
    gateway.request(&request(1, b"")).unwrap();
    kernel.lock().unwrap().last = sealed(&mut gateway);
    let answered = until(&mut far, &mut gateway, |event| matches!(event, ToGateway::Response(_))).await;
    assert_eq!(answered, Some(()), "the request was there in time");
    let [before, behind] = kernel.lock().unwrap().asked;
    assert!(before <= 4096 && behind >= 1 << 16, "memory comes after the hello: {before} {behind}");

    // Nothing comes any more, and the backend hangs up.
    assert_eq!(until(&mut far, &mut gateway, |_| false).await, None);
    task.abort();
}

#[tokio::test]
async fn a_gateway_that_takes_what_it_is_told_is_not_given_up_and_one_that_takes_nothing_is() {
    let (mut shared, mut gateway) = (shared(), gateway());
    let (ends, mut ended) = tokio::sync::mpsc::unbounded_channel();
    shared.service.ear = Some(Box::new(move |event, _| {
        if let Event::Closed(how) = event {
            ends.send(how).unwrap();
        }
    }));
    let (near, mut far) = tokio::io::duplex(PIECE);
    let (reader, writer) = tokio::io::split(near);
    let (_stop, stopped) = watch::channel(false);
    let task =
        tokio::spawn(async move { serve(reader, writer, &shared, Newcomer::default(), stopped).await });
    far.write_all(&sealed(&mut gateway)).await.unwrap();
    assert_eq!(until(&mut far, &mut gateway, |event| event == ToGateway::Ready).await, Some(()));
    for call in 1..=16 {
        gateway.request(&request(call, &[0; 4000])).unwrap();
    }
    far.write_all(&sealed(&mut gateway)).await.unwrap();

    // From now on the gateway says nothing. It reads a piece at a time of 64 KiB of answers, for twice as long as silence may be.
    let mut piece = [0; PIECE];
    for _ in 0..12 {
        tokio::time::sleep(PARAMS.heartbeat / 3).await;
        let len = far.read(&mut piece).await.unwrap();
        assert!(len > 0, "{:?}", ended.try_recv());
    }
    assert!(ended.try_recv().is_err(), "it reads");
    // And then nothing more.
    assert_eq!(ended.recv().await, Some(Ended::Breach(Error::HeartbeatTimeout)));
    task.await.unwrap();
}
