//! How links are let in and how they end: strangers, broken frames, second logins, silence.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use protocol::CloseCode;
use protocol::wire::frame::{Auth, Frame, Ping};

use crate::client::{Client, Heard};
use crate::stage::{PATIENCE, Stage, wait_until};

#[test]
fn strangers_get_silence_and_nothing_of_theirs_reaches_a_backend() {
    let Some(stage) = Stage::set("") else { return };
    let mut random = [0; 512];
    getrandom::fill(&mut random).expect("the system is up");
    let inputs: [&[u8]; 6] = [
        &random,
        b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        // Our magic, then a preamble with a tag of zeros and a message 1 of zeros.
        &[&b"\xac\xce\x55\x0a\x01\x01"[..], &[0; 26], &[0, 48], &[0; 48]].concat(),
        // The magic alone, and then the end.
        b"\xac\xce\x55\x0a",
    ];
    for input in inputs {
        let mut socket = TcpStream::connect(stage.target.address).expect("the gateway listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        socket.write_all(input).expect("connected");
        socket.shutdown(Shutdown::Write).expect("connected");
        let mut answer = Vec::new();
        let end = socket.read_to_end(&mut answer).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{end:?}");
        assert!(answer.is_empty(), "a stranger is answered with silence");
    }
    wait_until("every stranger's slot is free again", || stage.target.metric("gateway_links") == 0);
    assert_eq!(stage.target.metric("gateway_requests_total"), 0);
    assert_eq!(stage.target.metric("gateway_handshakes_total"), 0);
}

#[test]
fn broken_frames_of_a_client_are_told_by_their_close_code() {
    let Some(stage) = Stage::set("") else { return };
    let before_auth = |frame: Frame<'_>| {
        let mut client = Client::connect(&stage.target);
        client.send(&[frame]);
        client.hear(2)
    };
    let unexpected = [Heard::Close(CloseCode::Unexpected.number()), Heard::End];
    assert_eq!(before_auth(Frame::Ping(Ping::default())), unexpected);
    let auth = Auth { token: b"wrong", user: b"u", device: b"d", ..Default::default() };
    assert_eq!(before_auth(Frame::Auth(auth)), [Heard::Close(CloseCode::AuthFailed.number()), Heard::End]);
    let mut client = Client::login(&stage.target, "alice");
    client.send(&[Frame::Pong { nonce: 1 }]);
    assert_eq!(client.hear(2), unexpected);
    let mut client = Client::login(&stage.target, "alice");
    client.send(&[Frame::Join { room: &[] }]);
    assert_eq!(client.hear(2), [Heard::Close(CloseCode::Malformed.number()), Heard::End]);
    let mut client = Client::login(&stage.target, "alice");
    client.request("echo", &[0; 64 * 1024]);
    assert_eq!(client.hear(2), [Heard::Close(CloseCode::TooLarge.number()), Heard::End]);
}

#[test]
fn a_second_login_of_a_device_replaces_the_first_one() {
    let Some(stage) = Stage::set("") else { return };
    let mut first = Client::login(&stage.target, "alice");
    let mut second = Client::login(&stage.target, "alice");
    assert_eq!(first.hear(2), [Heard::Close(CloseCode::Replaced.number()), Heard::End]);
    second.wait_until_answered();
    let mut other = Client::login(&stage.target, "bob");
    other.wait_until_answered();
    assert_eq!(stage.target.metric("gateway_sessions"), 2);
}

#[test]
fn whoever_stays_silent_is_told_that_the_time_is_over() {
    let impatient = "limits.auth_deadline = '1s'\nheartbeat.min = '1s'\nheartbeat.default = '1s'\n";
    let Some(stage) = Stage::set(impatient) else { return };
    let mut strange = Client::connect(&stage.target);
    let mut quiet = Client::login(&stage.target, "alice");
    let mut lively = Client::login(&stage.target, "bob");
    wait_until("the quiet one is closed", || {
        // A live link is not the one that times out.
        lively.wait_until_answered();
        stage.target.metric("gateway_sessions_detached") == 1
    });
    assert_eq!(quiet.hear(2), [Heard::Close(CloseCode::HeartbeatTimeout.number()), Heard::End]);
    assert_eq!(strange.hear(2), [Heard::Close(CloseCode::AuthTimeout.number()), Heard::End]);
}
