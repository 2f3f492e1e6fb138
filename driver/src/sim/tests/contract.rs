//! Workers that break the rules are caught.

use super::*;
use crate::Batch;

fn submit(driver: &mut SimDriver, op: Op) {
    driver.submit(op).unwrap();
}

fn send(token: Token, bytes: &[u8]) -> Op {
    Op::Send { token, batch: Batch { bytes: bytes.to_vec(), sent: 0 } }
}

#[test]
#[should_panic(expected = "while its Receive is armed")]
fn a_close_while_a_receive_is_armed() {
    let (_net, mut driver, _client, token) = linked(1);
    submit(&mut driver, receive(token, Mode::Once));
    submit(&mut driver, Op::Close { token });
}

#[test]
#[should_panic(expected = "while its Send is armed")]
fn a_close_before_the_completion_of_a_send_was_taken() {
    let (_net, mut driver, _client, token) = linked(1);
    submit(&mut driver, send(token, b"x"));
    driver.wait(0, None).unwrap();
    submit(&mut driver, Op::Close { token });
}

#[test]
#[should_panic(expected = "while its Poll is armed")]
fn a_close_before_a_cancelled_poll_has_ended() {
    let (_net, mut driver, _client, token) = linked(1);
    submit(&mut driver, Op::Poll { token });
    submit(&mut driver, Op::Cancel { token, armed: crate::Armed::Poll });
    submit(&mut driver, Op::Close { token });
}

#[test]
#[should_panic(expected = "a second Send")]
fn two_sends_in_flight() {
    let (_net, mut driver, _client, token) = linked(1);
    submit(&mut driver, send(token, b"x"));
    submit(&mut driver, send(token, b"y"));
}

#[test]
#[should_panic(expected = "a second Receive")]
fn arming_again_what_is_still_armed() {
    let (net, mut driver, client, token) = linked(1);
    submit(&mut driver, receive(token, Mode::Multishot));
    client.write(b"x");
    net.carry_all();
    for completion in turn(&mut driver) {
        take(&mut driver, completion);
    }
    submit(&mut driver, receive(token, Mode::Multishot));
}

#[test]
#[should_panic(expected = "a send of nothing")]
fn a_send_of_nothing() {
    let (_net, mut driver, _client, token) = linked(1);
    submit(&mut driver, send(token, b""));
}

#[test]
#[should_panic(expected = "1 chunks not recycled")]
fn a_chunk_kept_over_the_end_of_the_turn() {
    let (net, mut driver, client, token) = linked(1);
    submit(&mut driver, receive(token, Mode::Once));
    client.write(b"x");
    net.carry_all();
    let kept = turn(&mut driver);
    assert_eq!((kept.len(), driver.chunks_out()), (1, 1));
    turn(&mut driver);
}

#[test]
#[should_panic(expected = "after its close")]
fn closing_twice_in_one_turn() {
    let (_net, mut driver, _client, token) = linked(1);
    submit(&mut driver, Op::Close { token });
    submit(&mut driver, Op::Close { token });
}

#[test]
#[should_panic(expected = "a close on the dead token")]
fn closing_twice() {
    let (_net, mut driver, _client, token) = linked(1);
    submit(&mut driver, Op::Close { token });
    turn(&mut driver);
    submit(&mut driver, Op::Close { token });
}

#[test]
#[should_panic(expected = "an operation on the dead token")]
fn an_operation_for_the_former_tenant_of_a_slot() {
    let net = Net::new(1);
    let mut driver = SimDriver::new(&net, Config { slots: 1, ..config() });
    let (_client, token) = link(&net, &mut driver);
    submit(&mut driver, Op::Close { token });
    turn(&mut driver);
    let (_client, next) = link(&net, &mut driver);
    assert_eq!(next.slot, token.slot);
    submit(&mut driver, send(token, b"for somebody else"));
}

#[test]
#[should_panic(expected = "a cancel on the dead token")]
fn a_token_nobody_ever_had() {
    let (_net, mut driver, _client, _token) = linked(1);
    let token = Token { slot: 99, generation: 1 };
    submit(&mut driver, Op::Cancel { token, armed: crate::Armed::Poll });
}

#[test]
#[should_panic(expected = "with 1 listeners")]
fn parking_on_a_listener_that_is_not_there() {
    let (_net, mut driver, _client, _token) = linked(1);
    submit(&mut driver, Op::Park { listener: Listener(1) });
}

#[test]
#[should_panic(expected = "a ring for worker 3")]
fn ringing_for_nobody() {
    let (_net, mut driver, _client, _token) = linked(1);
    submit(&mut driver, Op::Ring { worker: 3 });
    turn(&mut driver);
}
