//! Pushes that are delivered at least once: slots, reports, and gateways that break and come back.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use backend::protocol::wire::stream::{PushOutcome, Report};
use backend::protocol::{DeviceClass, Undelivered};
use backend::{Bounds, Builder, Delivery, Event, Gateway, Outcome, Push, PushError, Rule, Server, Target};
use tokio::sync::mpsc;

use crate::peer::{PARAMS, Peer, Running, Said, answer, run, start};

/// A server whose streams and reports are told of.
struct Stage {
    server: Running,
    events: mpsc::UnboundedReceiver<(String, Gateway)>,
}

impl Stage {
    fn new(builder: Builder) -> Self {
        let (ear, events) = mpsc::unbounded_channel();
        let builder = builder.route_now("echo", |_, _, _| {});
        let server = start(builder.events(move |event, gateway| {
            let told = match event {
                Event::Opened => "opened".to_owned(),
                Event::Closed(_) => "closed".to_owned(),
                other => format!("{other:?}"),
            };
            ear.send((told, gateway.clone())).unwrap();
        }));
        Self { server, events }
    }

    /// A gateway dials, and its stream is live at both ends.
    async fn dial(&mut self, boot: u8, slots: u32) -> (Peer, Gateway) {
        let peer = Peer::dial_with_slots(&self.server.place, boot, slots).await;
        let (told, gateway) = self.events.recv().await.unwrap();
        assert_eq!(told, "opened");
        (peer, gateway)
    }

    /// The gateway is gone, and that was noticed.
    async fn hang_up(&mut self, peer: Peer) {
        drop(peer);
        assert_eq!(self.events.recv().await.unwrap().0, "closed");
    }
}

fn stage() -> Stage {
    Stage::new(Server::builder())
}

fn to_ann(payload: &'static str) -> Push {
    Push::new(Target::User("ann".into()), payload)
}

/// The number of the next push, which has to be one of class 1.
async fn delivered(peer: &mut Peer) -> u64 {
    match peer.next().await {
        Some(Said::Delivery { number, .. }) => number,
        other => panic!("{other:?}"),
    }
}

/// A device took the push of this number.
fn took(report: u64, number: u64, devices: u32) -> Report<'static> {
    Report { number, report, devices, device: b"phone", ..Report::default() }
}

/// What is known already, without waiting for it.
async fn known(delivery: &mut Delivery) -> Option<Outcome> {
    poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *delivery).poll(context) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        })
    })
    .await
}

/// Reports name the users, and what is not accepted at all is told of once.
#[tokio::test]
async fn a_push_to_several_users_comes_to_an_outcome_for_each_and_to_one_for_all() {
    let mut stage = stage();
    let (mut peer, gateway) = stage.dial(1, 3).await;
    let users = |names: &[&'static str]| {
        let names = names.iter().map(|name| (*name).into());
        Push::new(Target::Users(names.collect()), "hi")
    };
    for wrong in [&[][..], &["ann", "ann"], &["ann", ""], &["a", "b", "c", "d"]] {
        let refused = gateway.deliver(users(wrong), Rule::All).await;
        assert_eq!(refused.err(), Some(PushError::Invalid), "{wrong:?}");
    }
    let mut first = gateway.deliver(users(&["ann", "bob"]), Rule::All).await.unwrap();
    let number = delivered(&mut peer).await;
    assert_eq!(first.number(), number);
    let second = gateway.deliver(users(&["ann", "cid"]), Rule::All).await.unwrap();
    let of = |user: &'static str, report| Report { user: user.as_bytes(), ..took(report, number, 2) };
    peer.stream.report(&of("bob", 1));
    peer.stream.report(&of("ann", 2));
    peer.stream.report(&of("ann", 3));
    assert_eq!(peer.next().await, Some(Said::ReportAck(3)));
    assert_eq!(known(&mut first).await, None, "one of the devices of bob has said nothing");
    // One of its slots is free again, and so the next one, which takes two, finds room.
    let number = delivered(&mut peer).await;
    assert_eq!(second.number(), number);
    let (outcome, reason) = (PushOutcome::Undelivered, Undelivered::Expired.number());
    peer.stream.report(&Report { outcome, reason, ..of("bob", 4) });
    let (outcome, reason) = (PushOutcome::Undelivered, Undelivered::Busy.number());
    peer.stream.report(&Report { number, outcome, reason, ..Report::default() });
    peer.flush().await;
    let [expired, busy] = [Undelivered::Expired, Undelivered::Busy].map(Outcome::Undelivered);
    let each = [("ann".into(), Outcome::Delivered), ("bob".into(), expired)];
    assert_eq!(first.of_users().await, each);
    assert_eq!(second.await, busy);
}

#[tokio::test]
async fn a_push_comes_to_its_outcome_by_the_rule_its_caller_picks() {
    let (mut stage, phone) = (stage(), DeviceClass::Phone);
    let (mut peer, gateway) = stage.dial(1, 10).await;
    let expired = Outcome::Undelivered(Undelivered::Expired);
    let rules = [
        (Rule::Any, Outcome::Delivered),
        (Rule::All, expired),
        (Rule::Primary(phone), Outcome::Delivered),
        (Rule::Primary(DeviceClass::Tablet), expired),
    ];
    let mut reports = 0;
    for (rule, outcome) in rules {
        let push = Push { ttl: Duration::from_secs(60), ..to_ann("hi") };
        let delivery = gateway.deliver(push, rule).await.unwrap();
        let number = delivery.number();
        let payload = b"hi".to_vec();
        let said = Said::Delivery { number, user: b"ann".to_vec(), ttl_ms: 60_000, payload };
        assert_eq!(peer.next().await, Some(said));
        let reason = Undelivered::Expired.number();
        let tablet = DeviceClass::Tablet.number();
        let not = Report {
            outcome: PushOutcome::Undelivered,
            reason,
            class: tablet,
            ..took(reports + 1, number, 2)
        };
        peer.stream.report(&not);
        peer.stream.report(&Report { class: phone.number(), ..took(reports + 2, number, 2) });
        reports += 2;
        assert_eq!(peer.next().await, Some(Said::ReportAck(reports)), "both came together");
        assert_eq!(delivery.await, outcome, "{rule:?}");
    }
    let delivery = gateway.deliver(to_ann("hi"), Rule::Any).await.unwrap();
    let number = delivered(&mut peer).await;
    peer.stream.report(&Report { outcome: PushOutcome::Unknown, ..took(9, number, 1) });
    peer.flush().await;
    assert_eq!(delivery.await, Outcome::Unknown, "the gateway does not know");
}

#[tokio::test]
async fn with_no_slot_free_pushes_wait_and_others_overtake_them() {
    let bounds = Bounds { deliveries_max: 1, ..Bounds::default() };
    let mut stage = Stage::new(Server::builder().bounds(bounds));
    let (mut peer, gateway) = stage.dial(1, 2).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(gateway.deliver(to_ann("first"), Rule::All).await.unwrap());
        assert_eq!(delivered(&mut peer).await, open.last().unwrap().number());
    }
    let waiting = gateway.deliver(to_ann("third"), Rule::Any).await.unwrap();
    gateway.push(to_ann("at most once")).await.unwrap();
    assert!(matches!(peer.next().await, Some(Said::Push { number: 0, .. })));
    // The first that waits may have been taken from the queue; no more than one more has a place there.
    let more = std::iter::from_fn(|| gateway.try_deliver(to_ann("more"), Rule::Any).ok()).count();
    assert!(more <= 1, "{more}");
    assert_eq!(gateway.try_deliver(to_ann("more"), Rule::Any).err(), Some(PushError::Full));

    peer.stream.report(&took(1, open[0].number(), 2));
    assert_eq!(peer.next().await, Some(Said::ReportAck(1)));
    peer.ask(1, "echo", b"");
    assert_eq!(peer.next().await, answer(1, 0, b""), "one device is still owed");
    peer.stream.report(&took(2, open[0].number(), 2));
    let mut said = [peer.next().await.unwrap(), peer.next().await.unwrap()];
    said.sort_by_key(|said| matches!(said, Said::Delivery { .. }));
    assert_eq!(said[0], Said::ReportAck(2));
    assert!(matches!(said[1], Said::Delivery { number, .. } if number == waiting.number()), "{:?}", said[1]);
    assert_eq!(open.remove(0).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_slot_comes_back_whoever_waits_for_the_outcome() {
    let mut stage = stage();
    let (mut peer, gateway) = stage.dial(1, 1).await;
    for report in 1..=20 {
        drop(gateway.deliver(to_ann("hi"), Rule::Any).await.unwrap());
        let number = delivered(&mut peer).await;
        peer.stream.report(&took(report, number, 1));
        assert_eq!(peer.next().await, Some(Said::ReportAck(report)));
    }
}

#[tokio::test]
async fn what_cannot_be_delivered_is_refused_at_once() {
    let mut stage = stage();
    let (_peer, gateway) = stage.dial(1, 0).await;
    assert_eq!(gateway.deliver(to_ann("hi"), Rule::Any).await.err(), Some(PushError::NotServed));
    assert_eq!(gateway.try_deliver(to_ann("hi"), Rule::Any).err(), Some(PushError::NotServed));
    let (_peer, gateway) = stage.dial(2, 1).await;
    let refused = async |push| gateway.deliver(push, Rule::Any).await.err();
    assert_eq!(refused(Push { number: 1, ..to_ann("") }).await, Some(PushError::Invalid));
    assert_eq!(refused(Push::new(Target::Room("lobby".into()), "")).await, Some(PushError::Invalid));
    assert_eq!(refused(Push::new(Target::User("".into()), "")).await, Some(PushError::Invalid));
    let long = Push::new(Target::User("ann".into()), vec![0; PARAMS.frame_len_max]);
    assert_eq!(refused(long).await, Some(PushError::TooLarge));
    let numbered = |number| gateway.try_push(Push { number, ..to_ann("") });
    assert_eq!([(1 << 48) - 1, 1 << 48].map(numbered), [Ok(()), Err(PushError::Invalid)]);
}

/// The gateway is out of slots after all: it says so in a report of no number, which needs no acknowledgement.
#[tokio::test]
async fn a_report_without_a_number_counts_and_is_not_acknowledged() {
    let mut stage = stage();
    let (mut peer, gateway) = stage.dial(1, 5).await;
    let delivery = gateway.deliver(to_ann("hi"), Rule::All).await.unwrap();
    let number = delivered(&mut peer).await;
    let reason = Undelivered::Busy.number();
    peer.stream.report(&Report { outcome: PushOutcome::Undelivered, reason, ..took(0, number, 0) });
    peer.ask(1, "echo", b"");
    assert_eq!(peer.next().await, answer(1, 0, b""));
    assert_eq!(delivery.await, Outcome::Undelivered(Undelivered::Busy));
}

#[tokio::test]
async fn after_a_redial_reports_come_again_and_each_counts_once() {
    let mut stage = stage();
    let (mut peer, gateway) = stage.dial(1, 5).await;
    let mut delivery = gateway.deliver(to_ann("hi"), Rule::All).await.unwrap();
    let number = delivered(&mut peer).await;
    peer.stream.report(&took(1, number, 3));
    assert_eq!(peer.next().await, Some(Said::ReportAck(1)));
    stage.hang_up(peer).await;

    let (mut peer, gateway) = stage.dial(1, 5).await;
    peer.stream.report(&took(1, number, 3));
    assert_eq!(peer.next().await, Some(Said::ReportAck(1)), "the last one was lost");
    peer.stream.report(&took(2, number, 3));
    assert_eq!(peer.next().await, Some(Said::ReportAck(2)));
    assert_eq!(known(&mut delivery).await, None, "two of three devices have been reported");
    peer.stream.report(&took(3, number, 3));
    assert_eq!(peer.next().await, Some(Said::ReportAck(3)));
    assert_eq!(delivery.await, Outcome::Delivered);

    let next = gateway.deliver(to_ann("hi"), Rule::All).await.unwrap();
    assert!(next.number() > number, "numbers go on");
}

#[tokio::test]
async fn another_start_of_the_gateway_leaves_open_pushes_unknown() {
    let mut stage = stage();
    let (mut peer, gateway) = stage.dial(1, 5).await;
    let mut delivery = gateway.deliver(to_ann("hi"), Rule::Any).await.unwrap();
    let number = delivered(&mut peer).await;
    stage.hang_up(peer).await;
    assert_eq!(known(&mut delivery).await, None, "it may come back");
    let (mut peer, gateway) = stage.dial(2, 5).await;
    assert_eq!(known(&mut delivery).await, Some(Outcome::Unknown));
    assert!(gateway.deliver(to_ann("hi"), Rule::Any).await.unwrap().number() > number);
    delivered(&mut peer).await;
}

#[tokio::test]
async fn a_gateway_that_does_not_come_back_in_time_leaves_them_unknown_and_its_late_reports_are_only_acknowledged()
 {
    let mut stage = stage();
    let (mut peer, gateway) = stage.dial(1, 5).await;
    let delivery = gateway.deliver(to_ann("hi"), Rule::Any).await.unwrap();
    let number = delivered(&mut peer).await;
    stage.hang_up(peer).await;
    assert_eq!(delivery.await, Outcome::Unknown);
    let (mut peer, _gateway) = stage.dial(1, 5).await;
    peer.stream.report(&took(4, number, 1));
    assert_eq!(peer.next().await, Some(Said::ReportAck(4)));
    assert!(stage.events.try_recv().is_err(), "nobody is told");
}

#[tokio::test]
async fn a_push_that_had_not_left_is_unknown_with_its_stream() {
    let mut stage = stage();
    let (mut peer, gateway) = stage.dial(1, 50).await;
    peer.generous = false;
    let fit = PARAMS.window / (500 + 64);
    let mut open = Vec::new();
    for _ in 0..fit + 3 {
        let push = Push::new(Target::User("ann".into()), vec![0; 500]);
        open.push(gateway.deliver(push, Rule::Any).await.unwrap());
    }
    for _ in 0..fit {
        delivered(&mut peer).await;
    }
    stage.hang_up(peer).await;
    let mut left = Vec::new();
    for delivery in &mut open {
        left.push(known(delivery).await);
    }
    let (waiting, unknown) = left.split_at(fit as usize);
    assert!(waiting.iter().all(Option::is_none), "they have left");
    assert_eq!(unknown, [Some(Outcome::Unknown); 3], "they waited for credit");
    assert_eq!(gateway.deliver(to_ann("hi"), Rule::Any).await.err(), Some(PushError::Closed));
}

#[tokio::test]
async fn nobody_waits_for_an_outcome_longer_than_the_server_lives() {
    for stops in [true, false] {
        let mut stage = stage();
        let (mut peer, gateway) = stage.dial(1, 5).await;
        let delivery = gateway.deliver(to_ann("hi"), Rule::Any).await.unwrap();
        delivered(&mut peer).await;
        if stops {
            stage.server.stop.send(()).unwrap();
            assert!(matches!(peer.next().await, Some(Said::Close { .. })));
            drop(peer);
        } else {
            // Dropped where it stands.
            stage.server.task.abort();
        }
        assert_eq!(delivery.await, Outcome::Unknown);
    }
}

#[tokio::test]
async fn reports_of_the_applications_own_pushes_are_told_as_ever() {
    let mut stage = stage();
    let (mut peer, gateway) = stage.dial(1, 5).await;
    let delivery = gateway.deliver(to_ann("hi"), Rule::Any).await.unwrap();
    let number = delivered(&mut peer).await;
    gateway.push(Push { number: 7, ..to_ann("hi") }).await.unwrap();
    assert!(matches!(peer.next().await, Some(Said::Push { number: 7, .. })));
    let reason = Undelivered::NoUser.number();
    peer.stream.report(&Report { number: 7, outcome: PushOutcome::Undelivered, reason, ..Report::default() });
    peer.stream.report(&took(1, number, 1));
    peer.flush().await;
    let (told, _) = stage.events.recv().await.unwrap();
    assert!(told.starts_with("Report(Report { number: 7, outcome: Undelivered, reason: 2"), "{told}");
    assert_eq!(delivery.await, Outcome::Delivered);
    assert!(stage.events.try_recv().is_err());
}

/// Whoever has a watch on a server keeps nothing alive but the watch.
#[tokio::test]
async fn a_watch_on_a_server_that_is_over_holds_up_no_outcome() {
    let server = Server::builder().bind(&crate::peer::place(), backend::Security::Clear).unwrap();
    let watch = server.watch();
    let server = run(server);
    let mut peer = Peer::dial_with_slots(&server.place, 1, 5).await;
    let delivery = watch().pop().unwrap().deliver(to_ann("hi"), Rule::Any).await.unwrap();
    delivered(&mut peer).await;
    server.task.abort();
    assert_eq!(delivery.await, Outcome::Unknown);
    while !watch().is_empty() {
        tokio::task::yield_now().await;
    }
}
