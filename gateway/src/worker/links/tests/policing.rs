//! Links that say too much are not read for a while.

use super::*;
use crate::admission::rates::Rates;
use crate::rate::Rate;

/// Two links that have said so much together that both of them are paused.
fn two_paused() -> (Rig, [Token; 2]) {
    let mut settings = settings();
    let rates = Rates { control: Rate::new(10, millis(1000), 2), ..Rates::ample() };
    settings.listeners[0].rates = vec![rates.into()];
    let mut rig = Rig::new(settings);
    let both = [rig.live(0), rig.live(1)];
    for token in both {
        rig.links.meter(&rig.turn, token, 0);
        let pings = rig.say(token, &[PING; 6]);
        rig.settle();
        rig.arrive(token, &pings);
        assert_eq!(rig.ops(), [format!("receive {}", token.slot)], "nothing waits for more of it");
    }
    assert_eq!(rig.links.census().paused, 2);
    (rig, both)
}

#[test]
fn links_whose_pauses_end_together_are_read_again_one_per_turn() {
    let (mut rig, both) = two_paused();
    rig.pass(millis(100));
    rig.flush();
    assert!(rig.ops().is_empty() && !rig.links.has_work(), "it is too early");
    rig.pass(millis(600));
    for slot in 0..2 {
        assert!(rig.links.has_work(), "the worker must not sleep");
        rig.flush();
        assert_eq!(rig.ops(), [format!("poll {slot}")]);
    }
    assert!(!rig.links.has_work());
    rig.flush();
    assert!(rig.ops().is_empty());
    assert_eq!(rig.links.census().paused, 0);
    for token in both {
        let ping = rig.say(token, &[PING]);
        assert_eq!(rig.arrive(token, &ping), ["ping"]);
    }
}

#[test]
fn a_link_that_has_gone_takes_nobodys_turn() {
    let (mut rig, [first, _]) = two_paused();
    rig.pass(millis(700));
    rig.links.mark(first, Cause::Silent);
    rig.bury();
    assert_eq!((rig.ops(), rig.links.census().paused), (vec!["close 0".to_owned()], 1));
    rig.flush();
    assert_eq!((rig.ops(), rig.links.census().paused), (vec!["poll 1".to_owned()], 0));
    assert!(!rig.links.has_work());
}

#[test]
fn a_link_that_is_told_to_go_while_it_waits_to_be_read_again_is_heard_out_at_once() {
    let (mut rig, [_, second]) = two_paused();
    rig.pass(millis(700));
    rig.links.mark(second, Cause::Close(CloseCode::Kicked.into()));
    rig.bury();
    assert!(rig.ops().contains(&"receive 1".to_owned()), "or what it still says would reset the connection");
}

#[test]
fn a_pause_that_ends_before_its_receive_does_is_over_when_that_is() {
    let mut settings = settings();
    settings.promote_after = 1;
    let rates = Rates { control: Rate::new(10, millis(1000), 2), ..Rates::ample() };
    settings.listeners[0].rates = vec![rates.into()];
    let mut rig = Rig::new(settings);
    let token = rig.live(0);
    let ping = rig.say(token, &[PING]);
    rig.arrive(token, &ping);
    assert_eq!(rig.ops().last().map(String::as_str), Some("multishot 0"));
    rig.links.meter(&rig.turn, token, 0);
    let pings = rig.say(token, &[PING; 6]);
    rig.settle();
    rig.arrive(token, &pings);
    assert_eq!(rig.ops().last().map(String::as_str), Some("cancel receive 0"));
    rig.pass(millis(700));
    assert_eq!((rig.links.census().paused, rig.links.has_work()), (0, false));
    rig.ended(token, End::Cancelled);
    assert_eq!(rig.ops(), ["poll 0"]);
}
