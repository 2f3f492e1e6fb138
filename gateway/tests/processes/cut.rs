//! Connections that end without a word, and a gateway that ends while requests are under way.

use std::io::Read;
use std::net::TcpStream;

use protocol::CloseCode;
use protocol::wire::frame::{Close, Frame, Request};

use crate::client::{Client, Heard, with_requests_under_way};
use crate::stage::{PATIENCE, Stage, wait_until};

#[test]
fn whoever_stops_in_the_middle_of_a_frame_is_lost_and_the_frame_never_was() {
    let Some(stage) = Stage::set("") else { return };
    let target = &stage.target;
    let mut bystander = Client::login(target, "bob");
    let mut lost = 0;
    for end in [Client::finished, Client::reset] {
        for cut in [Cut::Length, Cut::Record, Cut::Frame] {
            let mut client = Client::login(target, "alice");
            client.wait_until_answered();
            bystander.wait_until_answered();
            let requests = target.metric("gateway_requests_total");
            // Its answer stays unread; that is what makes the kernel reset the connection.
            client.request("echo", b"unread");
            let frame = Frame::Request(Request {
                id: [7; 16],
                route: "echo",
                payload: &[0; 20_000],
                ..Request::default()
            });
            let records = client.seal(&[frame]);
            client.write(cut.of(&records));
            wait_until("the part has arrived", || target.metric("gateway_partial_bytes") > 0);
            end(client);
            lost += 1;
            wait_until("the link is lost", || target.metric("gateway_links_lost_total") == lost);
            wait_until("its slot is free", || target.metric("gateway_links") == 1);
            assert_eq!(target.metric("gateway_partial_bytes"), 0, "{cut:?}");
            assert_eq!(target.metric("gateway_requests_total"), requests + 1, "{cut:?}");
            bystander.wait_until_answered();
        }
    }
    assert_eq!(target.metric("gateway_closed_total"), 0, "nobody was told anything");
    assert_eq!(target.metric("gateway_errors_total"), 0, "a connection may break");
}

impl Client {
    /// Ends its direction of the connection; the gateway does the same, without a close frame.
    fn finished(mut self) {
        self.finish();
        assert!(matches!(self.hear_one(|heard| !matches!(heard, Heard::Response(..))), Heard::End));
    }
}

/// Where a client stops.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Between the two bytes of a record's length.
    Length,
    /// Inside a record.
    Record,
    /// Between two records of a frame.
    Frame,
}

impl Cut {
    fn of(self, records: &[u8]) -> &[u8] {
        let first = 2 + usize::from(u16::from_be_bytes([records[0], records[1]]));
        assert!(first < records.len(), "the frame needs more than one record");
        match self {
            Cut::Length => &records[..1],
            Cut::Record => &records[..first / 2],
            Cut::Frame => &records[..first],
        }
    }
}

/// A client with requests at a service that does nothing for now; what ends requests by itself is out of reach.
fn with_a_stopped_service() -> Option<(Stage, Client)> {
    let stage = Stage::set("requests.deadline = '1h'\nupstream.heartbeat = '1h'\n")?;
    let mut client = Client::login(&stage.target, "alice");
    client.wait_until_answered();
    stage.service.signal("STOP");
    for _ in 0..UNDER_WAY {
        client.request("echo", b"under way");
    }
    wait_until("all are in flight", || stage.target.metric("gateway_requests_in_flight") == UNDER_WAY);
    Some((stage, client))
}

#[test]
fn the_requests_of_a_lost_link_go_on_and_their_answers_wait_for_whoever_goes_on_with_its_session() {
    let Some((stage, mut client)) = with_a_stopped_service() else { return };
    let remembered = stage.target.metric("gateway_answers_remembered");
    client.finish();
    assert_eq!(client.hear(1), [Heard::End]);
    wait_until("its session waits", || stage.target.metric("gateway_sessions_detached") == 1);
    assert_eq!(stage.target.metric("gateway_requests_in_flight"), UNDER_WAY);
    stage.service.signal("CONT");
    wait_until("all are answered", || stage.target.metric("gateway_requests_in_flight") == 0);
    assert_eq!(stage.target.metric("gateway_answers_remembered"), remembered + UNDER_WAY);
}

#[test]
fn the_requests_of_a_session_that_is_over_leave_the_gateway_and_their_answers_reach_nobody() {
    let Some((stage, mut client)) = with_a_stopped_service() else { return };
    let responses = stage.target.metric("gateway_responses_total");
    client.send(&[Frame::Close(Close { code: CloseCode::Normal.number(), ..Close::default() })]);
    wait_until("none is in flight", || stage.target.metric("gateway_requests_in_flight") == 0);
    let mut again = Client::login(&stage.target, "alice");
    stage.service.signal("CONT");
    // The service answers in order, so this answer comes behind the others if it takes their way.
    again.wait_until_answered();
    assert_eq!(stage.target.metric("gateway_responses_total"), responses + 1);
}

#[test]
fn a_gateway_that_is_terminated_with_requests_under_way_says_goodbye_and_ends_cleanly() {
    let Some(mut stage) = Stage::set("limits.handshake_deadline = '60s'\n") else { return };
    let mut clients = with_requests_under_way(&stage, 4, UNDER_WAY as usize);
    let mut stranger = TcpStream::connect(stage.target.address).expect("the gateway listens");
    stranger.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    wait_until("the stranger is seen", || stage.target.metric("gateway_strangers") == 1);
    stage.gateway.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.hear(2), [Heard::Close(CloseCode::GoingAway.number()), Heard::End]);
    }
    assert!(matches!(stranger.read(&mut [0]), Ok(0)), "to a stranger nothing is said");
    assert!(stage.gateway.ended().success());
}

/// Requests of a client, fewer than it may have in flight.
const UNDER_WAY: u64 = 16;
