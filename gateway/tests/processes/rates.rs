//! Those who are in and say too much, with every rate as it is by default.

use protocol::wire::frame::{Frame, Outcome, Ping, Request};
use protocol::{CloseCode, Refusal};

use crate::client::{Client, Heard};
use crate::stage::{Stage, wait_until};

fn requests(many: u8) -> Vec<Frame<'static>> {
    let one = |number: u8| {
        Frame::Request(Request { id: [number; 16], route: "echo", payload: b"x", ..Request::default() })
    };
    (0..many).map(one).collect()
}

/// What it hears until it is closed.
fn until_closed(client: &mut Client) -> Vec<Heard> {
    let mut all = Vec::new();
    while !all.last().is_some_and(|heard| matches!(heard, Heard::Close(_) | Heard::End)) {
        all.push(client.hear_one(|_| true));
    }
    all
}

#[test]
fn a_flood_is_refused_warned_and_closed_and_a_neighbour_is_served() {
    let Some(stage) = Stage::set("") else { return };
    let mut bob = Client::login(&stage.target, "bob");
    bob.wait_until_answered();
    let mut mallory = Client::login(&stage.target, "mallory");
    let pings: Vec<_> = (0..600).map(|_| Frame::Ping(Ping::default())).collect();
    mallory.send(&pings);
    let heard = until_closed(&mut mallory);
    assert_eq!(heard.last(), Some(&Heard::Close(CloseCode::RateExceeded.number())), "{heard:?}");
    let pongs = heard.iter().filter(|heard| **heard == Heard::Other("pong")).count();
    assert!((100..=200).contains(&pongs), "{pongs} pings of 600 were answered");
    assert_eq!(heard.iter().filter(|heard| **heard == Heard::Other("warning")).count(), 1);
    assert!(stage.target.sum("gateway_kept_out_total", "guard=\"control_per_link\"") >= 100);
    assert_eq!(stage.target.metric("gateway_warnings_total"), 1);
    bob.request("echo", b"?");
    assert_eq!(bob.hear(1), [Heard::Response(Outcome::Answered, 0, b"?".to_vec())]);
}

#[test]
fn requests_beyond_a_burst_and_a_pause_are_refused_and_may_come_back() {
    let settings = "rates.frames_per_link = '10/s burst 20'\nrates.overruns_per_link = '1000/s'\n";
    let Some(stage) = Stage::set(settings) else { return };
    let mut alice = Client::login(&stage.target, "alice");
    alice.send(&requests(60));
    let heard = alice.hear(60);
    let refused = Heard::Response(Outcome::Refused, Refusal::Rate.number(), Vec::new());
    let refused = heard.iter().filter(|heard| **heard == refused).count();
    let answered = Heard::Response(Outcome::Answered, 0, b"x".to_vec());
    let answered = heard.iter().filter(|heard| **heard == answered).count();
    assert_eq!((answered, refused), (30, 30), "the burst, and what a second makes up for: {heard:?}");
    assert_eq!(stage.target.sum("gateway_refusals_total", "reason=\"rate\""), 30);
    wait_until("it is heard again", || stage.target.metric("gateway_links_paused") == 0);
    assert_eq!(alice.ask("echo", b"?"), Heard::Response(Outcome::Answered, 0, b"?".to_vec()));
}

#[test]
fn on_trial_a_flood_is_served_and_counted() {
    let Some(stage) =
        Stage::set("admission.dry_run = ['frames_per_link', 'control_per_link', 'rates_per_user']\n")
    else {
        return;
    };
    let mut mallory = Client::login(&stage.target, "mallory");
    let pings: Vec<_> = (0..600).map(|_| Frame::Ping(Ping::default())).collect();
    mallory.send(&pings);
    let heard = mallory.hear(600);
    assert!(heard.iter().all(|heard| *heard == Heard::Other("pong")), "{heard:?}");
    assert!(stage.target.sum("gateway_would_keep_out_total", "guard=\"control_per_link\"") >= 400);
    assert_eq!(stage.target.sum("gateway_kept_out_total", "guard=\"control_per_link\""), 0);
    assert_eq!(stage.target.metric("gateway_pauses_total"), 0);
}

#[test]
fn whoever_says_what_nobody_knows_is_warned_and_then_closed() {
    let Some(stage) = Stage::set("limits.glitches = 8\n") else { return };
    let mut client = Client::login(&stage.target, "alice");
    client.send_unknown(5);
    assert_eq!(client.ask("echo", b"?"), Heard::Response(Outcome::Answered, 0, b"?".to_vec()));
    client.send_unknown(3);
    assert_eq!(client.hear(1), [Heard::Other("warning")], "once, at three quarters");
    client.send_unknown(1);
    assert_eq!(client.hear(1), [Heard::Close(CloseCode::Glitches.number())]);
}

#[test]
fn too_many_bytes_make_a_link_wait_and_never_end_it() {
    let settings = "rates.bytes_per_link = '64KiB/s burst 128KiB'\n";
    let Some(stage) = Stage::set(settings) else { return };
    let mut alice = Client::login(&stage.target, "alice");
    alice.wait_until_answered();
    for _ in 0..17 {
        alice.request("echo", &[7; 8000]);
    }
    let answered = Heard::Response(Outcome::Answered, 0, vec![7; 8000]);
    assert!(alice.hear(17).iter().all(|heard| *heard == answered), "a pause makes up for all of it");
    for _ in 0..30 {
        alice.request("echo", &[7; 8000]);
    }
    let heard = alice.hear(30);
    let refused = Heard::Response(Outcome::Refused, Refusal::Rate.number(), Vec::new());
    assert!(heard.iter().all(|heard| *heard == answered || *heard == refused), "{heard:?}");
    assert!(stage.target.metric("gateway_pauses_total") > 0);
    assert_eq!(stage.target.metric("gateway_warnings_total"), 0);
}
