use super::*;
use proptest::prelude::*;

fn key() -> HashKey {
    HashKey::new([3; 16])
}

/// Bounds in which nobody logs in too often.
fn bounds() -> Bounds {
    Bounds {
        links: 8,
        devices: Allowed { most: 4, ..Allowed::default() },
        tombstones_max: 100,
        tombstone: Duration::from_secs(600),
        revocations_max: 10,
        revoked_logins_max: 2,
        revocation: Duration::from_hours(24),
        throttles_max: 10,
        logins: Rate::new(1000, Duration::from_secs(1), 1000),
        logins_max: 100,
    }
}

fn claims(devices_max: u32) -> Claims {
    Claims::new(key(), &Bounds { devices: Allowed { most: devices_max, ..Allowed::default() }, ..bounds() })
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// The time of day.
const TODAY: UnixMillis = UnixMillis(1_790_000_000_000);

/// A login of its own for each slot, at a time of its own.
fn claim(user: &str, device: &str, slot: u32) -> Claim {
    Claim {
        user: key().identity(user.as_bytes()),
        device: key().identity(device.as_bytes()),
        link: LinkId::new(0, slot, 1),
        login: 1_000 + u64::from(slot),
        login_time: UnixMillis(5_000 + u64::from(slot)),
        class: DeviceClass::Other,
        is_login: true,
        on_trial: Guards::NONE,
        session: [slot as u8; SESSION_ID_LEN],
        resume: None,
    }
}

fn links(claims: &Claims, user: &str, device: Option<&str>) -> Vec<u32> {
    let device = device.map(|device| key().identity(device.as_bytes()));
    let mut slots: Vec<_> =
        claims.lookup(key().identity(user.as_bytes()), device).map(|link| link.slot()).collect();
    slots.sort_unstable();
    slots
}

/// Made-up devices of somebody who has a user's token do not push the user's own out.
#[test]
fn whoever_logs_in_too_often_replaces_nobody_and_a_renewal_is_no_login() {
    let few = Bounds {
        devices: Allowed { most: 2, ..Allowed::default() },
        logins: Rate::new(10, Duration::from_secs(60), 3),
        ..bounds()
    };
    let mut claims = Claims::new(key(), &few);
    let phone = claim("alice", "phone", 1);
    claims.claim(&phone, at(0), TODAY);
    let outcomes: Vec<_> = (2..40)
        .map(|slot| claims.claim(&claim("alice", &format!("made up {slot}"), slot), at(1), TODAY))
        .map(|claimed| (claimed.outcome == Outcome::TooOften, claimed.pace))
        .collect();
    assert_eq!(outcomes[..2], [(false, Pace::Fine); 2]);
    assert_eq!((outcomes[2], outcomes[37]), ((true, Pace::Fast), (true, Pace::Flood)));
    assert_eq!(links(&claims, "alice", None).len(), 2);
    assert!(matches!(claims.claim(&claim("bob", "phone", 50), at(1), TODAY).outcome, Outcome::Granted));

    let held = claim("alice", "made up 3", 3);
    let renewed = Claim { is_login: false, ..held };
    assert_eq!(claims.claim(&renewed, at(1), TODAY).outcome, Outcome::Granted);
    let tried =
        Claim { on_trial: Guards::NONE.with(Guard::LoginsPerUser), ..claim("alice", "made up 41", 41) };
    let claimed = claims.claim(&tried, at(1), TODAY);
    assert!(matches!(claimed.outcome, Outcome::Replaced { .. }) && claimed.pace == Pace::Flood);
}

/// With policies for phones and desktops; three devices in all.
fn with_policies(beyond: Beyond, names_logins: bool) -> Claims {
    let mut classes = [DevicePolicy::Allow; 6];
    classes[DeviceClass::Phone as usize] = DevicePolicy::Replace(1);
    classes[DeviceClass::Desktop as usize] = DevicePolicy::Refuse(1);
    Claims::new(key(), &Bounds { devices: Allowed { most: 3, beyond, classes, names_logins }, ..bounds() })
}

fn of(class: DeviceClass, device: &str, slot: u32) -> Claim {
    Claim { class, ..claim("alice", device, slot) }
}

#[test]
fn each_class_of_devices_has_its_policy_and_all_together_have_one() {
    use DeviceClass::{Desktop, Other, Phone, Web};
    let mut claims = with_policies(Beyond::Refuse, true);
    let mut outcome = |claim: &Claim| claims.claim(claim, at(0), TODAY).outcome;
    assert_eq!(outcome(&of(Phone, "old phone", 1)), Outcome::Granted);
    assert_eq!(outcome(&of(Desktop, "office", 2)), Outcome::Granted);
    let replaced = |slot| Outcome::Replaced { loser: LinkId::new(0, slot, 1), same_login: false };
    assert_eq!(outcome(&of(Phone, "new phone", 3)), replaced(1));
    assert_eq!(outcome(&of(Phone, "old phone", 4)), replaced(3), "with another login it may come back");
    assert_eq!(outcome(&of(Phone, "new phone", 3)), Outcome::Superseded);
    assert_eq!(outcome(&of(Desktop, "home", 5)), Outcome::NoMoreDevices);
    assert_eq!(outcome(&of(Desktop, "office", 6)), replaced(2), "a device is not one more than itself");
    assert_eq!(outcome(&of(Web, "browser", 7)), Outcome::Granted);
    assert_eq!(outcome(&of(Other, "watch", 8)), Outcome::NoMoreDevices, "four in all");
    assert_eq!(outcome(&of(Phone, "third phone", 9)), replaced(4), "there was a phone");
    // A device that says that it is something else now is still the same one.
    assert_eq!(outcome(&of(Desktop, "browser", 10)), replaced(7));
}

#[test]
fn a_policy_on_trial_lets_one_more_in_and_says_so() {
    let mut claims = with_policies(Beyond::Refuse, true);
    let on_trial = Guards::NONE.with(Guard::Devices);
    let claimed = [1, 2].map(|slot| {
        let claim = Claim { on_trial, ..of(DeviceClass::Desktop, &format!("desk {slot}"), slot) };
        let claimed = claims.claim(&claim, at(0), TODAY);
        (claimed.outcome, claimed.is_one_too_many)
    });
    assert_eq!(claimed, [(Outcome::Granted, false), (Outcome::Granted, true)]);
    assert_eq!(links(&claims, "alice", None), [1, 2]);
}

/// Whoever has stolen a token makes devices up: they push out each other, and none of those that are real.
#[test]
fn devices_of_one_login_push_out_each_other_before_those_of_others() {
    let made_up = |slot| Claim { login: 1_001, ..claim("alice", &format!("made up {slot}"), slot) };
    let mut claims = with_policies(Beyond::Replace, true);
    for (device, slot) in [("phone", 1), ("tablet", 2)] {
        claims.claim(&claim("alice", device, slot), at(0), TODAY);
    }
    for slot in 10..30 {
        claims.claim(&made_up(slot), at(1), TODAY);
    }
    assert_eq!(links(&claims, "alice", None), [1, 2, 29]);
    // Where all have the same login, or its name says nothing, the first one goes.
    let mut claims = with_policies(Beyond::Replace, false);
    for slot in 1..=4 {
        claims.claim(&made_up(slot), at(0), TODAY);
    }
    assert_eq!(links(&claims, "alice", None), [2, 3, 4]);
}

#[test]
fn a_revoked_login_has_no_claim_and_a_later_one_has() {
    let mut claims = claims(4);
    let early = claim("alice", "phone", 1);
    claims.revoke(early.user, Revoked::UpTo(early.login_time), at(0));
    assert_eq!(claims.claim(&early, at(1), TODAY).outcome, Outcome::Revoked);
    assert!(claims.is_empty());
    let late = Claim { login_time: UnixMillis(early.login_time.0 + 1), ..early };
    assert!(matches!(claims.claim(&late, at(1), TODAY).outcome, Outcome::Granted));
    let other = claim("bob", "phone", 2);
    assert!(matches!(claims.claim(&other, at(1), TODAY).outcome, Outcome::Granted));
}

#[test]
fn one_revoked_login_has_no_claim_on_any_device_however_late_it_comes_and_all_others_have() {
    let mut claims = claims(4);
    let phone = claim("alice", "phone", 1);
    claims.revoke(phone.user, Revoked::Login(phone.login), at(0));
    let late = UnixMillis(u64::MAX);
    for again in
        [phone, Claim { login_time: late, ..phone }, Claim { login: 1001, ..claim("alice", "desk", 2) }]
    {
        assert_eq!(claims.claim(&again, at(1), TODAY).outcome, Outcome::Revoked, "{again:?}");
    }
    assert!(claims.is_empty());
    let others = [claim("alice", "phone", 3), Claim { login: phone.login, ..claim("bob", "phone", 4) }];
    for other in others {
        assert_eq!(claims.claim(&other, at(1), TODAY).outcome, Outcome::Granted, "{other:?}");
    }
    // A link whose token is renewed is of that login from then on.
    assert_eq!(
        claims.claim(&Claim { login: phone.login, ..others[0] }, at(1), TODAY).outcome,
        Outcome::Revoked
    );
    let day = 24 * 3600;
    assert_eq!(
        claims.claim(&Claim { login: phone.login, ..others[0] }, at(day), TODAY).outcome,
        Outcome::Granted
    );
}

#[test]
fn the_links_of_a_login_are_found_and_so_it_is_after_a_renewal() {
    let mut claims = claims(4);
    let [phone, desk, tablet] = [("phone", 1, 7), ("desk", 2, 7), ("tablet", 3, 8)]
        .map(|(device, slot, login)| Claim { login, ..claim("alice", device, slot) });
    for claim in [phone, desk, tablet, Claim { login: 7, ..claim("bob", "phone", 4) }] {
        assert_eq!(claims.claim(&claim, at(0), TODAY).outcome, Outcome::Granted);
    }
    let found = |claims: &Claims, login| {
        let mut slots: Vec<_> = claims.lookup_login(phone.user, login).map(|link| link.slot()).collect();
        slots.sort_unstable();
        slots
    };
    assert_eq!([7, 8, 9].map(|login| found(&claims, login)), [vec![1, 2], vec![3], vec![]]);
    claims.claim(&Claim { login: 8, is_login: false, ..phone }, at(1), TODAY);
    assert_eq!([7, 8].map(|login| found(&claims, login)), [vec![2], vec![1, 3]]);
    claims.release(&tablet);
    assert_eq!(found(&claims, 8), [1]);
}

#[test]
fn single_logins_and_users_take_no_room_of_each_other() {
    let mut claims = claims(4);
    let [first, second, third] = [1, 2, 3].map(|slot| claim("alice", "phone", slot));
    claims.revoke(key().identity(b"bob"), Revoked::UpTo(UnixMillis(9)), at(0));
    for one in [first, second, third] {
        claims.revoke(one.user, Revoked::Login(one.login), at(0));
    }
    let counts = |of: &Revocations| (of.len(), of.evicted());
    assert_eq!((counts(claims.revocations()), counts(claims.revoked_logins())), ((1, 0), (2, 1)));
    assert_eq!(claims.claim(&first, at(1), TODAY).outcome, Outcome::Granted, "forgotten early");
    assert_eq!(claims.claim(&third, at(1), TODAY).outcome, Outcome::Revoked);
}

#[test]
fn a_user_is_found_by_each_of_its_devices_and_no_other_user_is() {
    let mut claims = claims(4);
    for (device, slot) in [("phone", 1), ("desk", 2)] {
        let claimed = claims.claim(&claim("alice", device, slot), at(0), TODAY);
        assert_eq!(
            claimed,
            Claimed {
                link: LinkId::new(0, slot, 1),
                outcome: Outcome::Granted,
                pace: Pace::Fine,
                percent: 100,
                epoch: (TODAY.0 << 12) + u64::from(slot) - 1,
                is_one_too_many: false
            }
        );
    }
    claims.claim(&claim("bob", "phone", 3), at(0), TODAY);
    assert_eq!(links(&claims, "alice", None), [1, 2]);
    assert_eq!(links(&claims, "alice", Some("desk")), [2]);
    assert!(links(&claims, "alice", Some("watch")).is_empty());
    assert!(links(&claims, "carol", None).is_empty());
    assert_eq!((claims.len(), claims.users(), claims.is_empty()), (3, 2, false));
}

#[test]
fn the_later_login_of_a_device_replaces_the_earlier_one_which_cannot_come_back() {
    let mut claims = claims(4);
    claims.claim(&claim("alice", "phone", 1), at(0), TODAY);
    let claimed = claims.claim(&claim("alice", "phone", 2), at(10), TODAY);
    assert_eq!(claimed.outcome, Outcome::Replaced { loser: LinkId::new(0, 1, 1), same_login: false });
    assert_eq!(links(&claims, "alice", None), [2]);

    let again = Claim { link: LinkId::new(0, 7, 1), ..claim("alice", "phone", 1) };
    assert_eq!(claims.claim(&again, at(11), TODAY).outcome, Outcome::Superseded);
    let later = Claim { login_time: UnixMillis(9_000), ..again };
    assert_eq!(
        claims.claim(&later, at(12), TODAY).outcome,
        Outcome::Superseded,
        "nor with its token once more"
    );
    assert_eq!(links(&claims, "alice", None), [2], "the winner stays");

    let fresh = claim("alice", "phone", 8);
    assert!(
        matches!(claims.claim(&fresh, at(13), TODAY).outcome, Outcome::Replaced { .. }),
        "a fresh login may"
    );
    assert!(
        matches!(claims.claim(&again, at(610), TODAY).outcome, Outcome::Replaced { .. }),
        "and so may time"
    );
}

#[test]
fn a_client_that_comes_back_before_its_old_link_is_noticed_dead_is_not_locked_out() {
    let mut claims = claims(4);
    let first = claim("alice", "phone", 1);
    claims.claim(&first, at(0), TODAY);
    let by_token = Claim { link: LinkId::new(1, 4, 9), login_time: UnixMillis(8_000), ..first };
    let outcome = claims.claim(&by_token, at(1), TODAY).outcome;
    assert_eq!(outcome, Outcome::Replaced { loser: first.link, same_login: true });
    let by_ticket = Claim { link: LinkId::new(1, 5, 9), login_time: first.login_time, ..by_token };
    let outcome = claims.claim(&by_ticket, at(2), TODAY).outcome;
    assert_eq!(outcome, Outcome::Replaced { loser: by_token.link, same_login: true });
    assert!(claims.tombstones().is_empty());
}

#[test]
fn a_late_or_second_release_does_not_remove_a_newer_claim() {
    let mut claims = claims(4);
    let (old, new) = (claim("alice", "phone", 1), claim("alice", "phone", 2));
    claims.claim(&old, at(0), TODAY);
    claims.claim(&new, at(1), TODAY);
    assert!(!claims.release(&old));
    assert_eq!(links(&claims, "alice", None), [2]);
    assert!(claims.release(&new));
    assert!(!claims.release(&new));
    assert!(claims.is_empty() && claims.users() == 0);
    // The same slot with another generation is another link.
    let reborn = Claim { link: LinkId::new(0, 2, 2), ..new };
    claims.claim(&reborn, at(2), TODAY);
    assert!(!claims.release(&new));
    assert_eq!(claims.len(), 1);
}

#[test]
fn one_device_too_many_takes_the_place_of_the_first_login() {
    let mut claims = claims(2);
    claims.claim(&claim("alice", "phone", 5), at(0), TODAY);
    claims.claim(&claim("alice", "desk", 2), at(1), TODAY);
    let claimed = claims.claim(&claim("alice", "watch", 7), at(2), TODAY);
    assert_eq!(claimed.outcome, Outcome::Replaced { loser: LinkId::new(0, 2, 1), same_login: false });
    assert_eq!(links(&claims, "alice", None), [5, 7]);
    assert!(links(&claims, "alice", Some("desk")).is_empty());
    assert_eq!(claims.claim(&claim("alice", "desk", 2), at(3), TODAY).outcome, Outcome::Superseded);
}

#[test]
fn one_login_with_two_devices_is_replaced_per_device() {
    let mut claims = claims(1);
    let phone = claim("alice", "phone", 1);
    claims.claim(&phone, at(0), TODAY);
    let desk = Claim { login: phone.login, ..claim("alice", "desk", 2) };
    assert!(matches!(claims.claim(&desk, at(1), TODAY).outcome, Outcome::Replaced { .. }));
    assert_eq!(claims.claim(&phone, at(2), TODAY).outcome, Outcome::Superseded);
}

#[test]
fn claiming_again_keeps_the_claim_and_takes_the_new_login() {
    let mut claims = claims(4);
    claims.claim(&claim("alice", "phone", 1), at(0), TODAY);
    let refreshed = Claim { login: 4, login_time: UnixMillis(9_000), ..claim("alice", "phone", 1) };
    assert_eq!(claims.claim(&refreshed, at(1), TODAY).outcome, Outcome::Granted);
    assert_eq!(claims.len(), 1);
    claims.claim(&claim("alice", "phone", 2), at(2), TODAY);
    assert_eq!(claims.claim(&refreshed, at(3), TODAY).outcome, Outcome::Superseded);
}

#[test]
fn released_places_are_used_again() {
    let mut claims = claims(4);
    for round in 0..100 {
        for slot in 0..8 {
            claims.claim(&claim(&format!("user{slot}"), "phone", slot), at(round), TODAY);
        }
        for slot in 0..8 {
            assert!(claims.release(&claim(&format!("user{slot}"), "phone", slot)));
        }
    }
    assert_eq!(claims.claims.len(), 8);
}

proptest! {
    /// Against a plain list of claims, with tombstones out of the way: same links, same losers.
    #[test]
    fn behaves_like_a_list(steps in prop::collection::vec((0..3u8, 0..4u32, 0..4u32), 1..200)) {
        let tombstone = Duration::ZERO;
        let bounds =
            Bounds { links: 4, devices: Allowed { most: 3, ..Allowed::default() }, tombstones_max: 0, tombstone, revocations_max: 0, ..bounds() };
        let mut claims = Claims::new(key(), &bounds);
        let mut model: Vec<Claim> = Vec::new();
        let mut seen: Vec<Claim> = Vec::new();
        for (number, (kind, user, device)) in steps.into_iter().enumerate() {
            if kind > 0 {
                let new = claim(&user.to_string(), &device.to_string(), number as u32);
                let same_device = model.iter().position(|held| (held.user, held.device) == (new.user, new.device));
                let of_user = || model.iter().enumerate().filter(|(_, held)| held.user == new.user);
                let crowded = of_user().count() == 3;
                let oldest = of_user().min_by_key(|(_, held)| held.login_time).map(|(place, _)| place);
                let loser = same_device.or(oldest.filter(|_| crowded)).map(|place| model.remove(place).link);
                let out = match claims.claim(&new, at(0), TODAY).outcome {
                    Outcome::Replaced { loser, .. } => Some(loser),
                    _ => None,
                };
                prop_assert_eq!(out, loser);
                model.push(new);
                seen.push(new);
            } else if let Some(&old) = seen.get((user * 4 + device) as usize) {
                let place = model.iter().position(|held| *held == old);
                prop_assert_eq!(claims.release(&old), place.is_some());
                place.map(|place| model.remove(place));
            }
            prop_assert_eq!(claims.len(), model.len());
            for user in 0..4u32 {
                let name = key().identity(user.to_string().as_bytes());
                let mut expected: Vec<_> =
                    model.iter().filter(|held| held.user == name).map(|held| held.link.slot()).collect();
                expected.sort_unstable();
                prop_assert_eq!(links(&claims, &user.to_string(), None), expected);
            }
        }
    }
}

#[test]
fn each_link_of_a_user_has_a_larger_number_than_those_before_also_after_a_restart_and_when_the_clock_is_set_back()
 {
    let mut claims = claims(4);
    let mut numbers = Vec::new();
    let mut log_in = |claims: &mut Claims, device: &str, slot, wall| {
        numbers.push(claims.claim(&claim("alice", device, slot), at(0), wall).epoch);
    };
    log_in(&mut claims, "phone", 1, TODAY);
    log_in(&mut claims, "phone", 2, TODAY);
    log_in(&mut claims, "desk", 3, UnixMillis(TODAY.0 - 3_600_000));
    log_in(&mut claims, "phone", 4, UnixMillis(TODAY.0 + 1));
    log_in(&mut self::claims(4), "phone", 5, UnixMillis(TODAY.0 + 5_000));
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert_eq!(numbers[0], TODAY.0 << 12);
    assert_eq!(numbers[1..3], [numbers[0] + 1, numbers[0] + 2]);
    let again = claims.claim(&claim("alice", "phone", 4), at(1), UnixMillis(TODAY.0 + 9_000));
    assert_eq!(again.epoch, numbers[3], "a renewal is no new link");
    let lost = claims.claim(&claim("alice", "phone", 1), at(1), TODAY);
    assert_eq!((lost.outcome, lost.epoch), (Outcome::Superseded, 0));
}

/// The client of a claim comes back by another link, with its session, for this time.
fn again(claim: &Claim, slot: u32, attempt: u32) -> Claim {
    let attempt = NonZeroU32::new(attempt).expect("tries are counted from one");
    let resume = Some(Resumption { session: claim.session, attempt, last_sequence: 0 });
    Claim { link: LinkId::new(0, slot, 1), session: [slot as u8; SESSION_ID_LEN], resume, ..*claim }
}

#[test]
fn whoever_goes_on_logs_in_no_more_often_and_a_session_that_began_anew_counts_its_tries_anew() {
    let few = Bounds { logins: Rate::new(10, Duration::from_secs(60), 3), ..bounds() };
    let mut claims = Claims::new(key(), &few);
    let phone = claim("alice", "phone", 1);
    claims.claim(&phone, at(0), TODAY);
    for slot in 2..40 {
        let claimed = claims.claim(&again(&phone, slot, slot), at(1), TODAY);
        assert_eq!(
            (claimed.outcome, claimed.pace),
            (Outcome::Resumed { from: LinkId::new(0, slot - 1, 1) }, Pace::Fine)
        );
        assert!(claimed.epoch > 0);
    }
    assert_eq!(claims.claim(&again(&phone, 40, 39), at(1), TODAY).outcome, Outcome::Outrun);
    assert!(claims.tombstones().is_empty(), "nobody was replaced");
    // Its session was over after all: the link keeps the one that has begun with it, under the claim that it has.
    let anew = Claim { is_login: false, resume: None, ..again(&phone, 39, 39) };
    assert_eq!(claims.claim(&anew, at(1), TODAY).outcome, Outcome::Granted);
    let next = claims.claim(&again(&anew, 41, 1), at(1), TODAY);
    assert_eq!(next.outcome, Outcome::Resumed { from: anew.link });
}

#[test]
fn a_device_whose_session_waits_keeps_nobody_away_and_goes_before_any_that_is_linked() {
    use DeviceClass::{Desktop, Other, Phone, Web};
    for beyond in [Beyond::Refuse, Beyond::Replace] {
        let mut claims = with_policies(beyond, true);
        let [phone, office, browser] =
            [of(Phone, "phone", 1), of(Desktop, "office", 2), of(Web, "browser", 3)];
        for one in [&phone, &office, &browser] {
            assert_eq!(claims.claim(one, at(0), TODAY).outcome, Outcome::Granted);
        }
        let replaced = |slot| Outcome::Replaced { loser: LinkId::new(0, slot, 1), same_login: false };
        claims.detach(&office);
        assert_eq!(claims.claim(&of(Desktop, "home", 4), at(1), TODAY).outcome, replaced(2));
        claims.detach(&browser);
        assert_eq!(claims.claim(&of(Other, "watch", 5), at(1), TODAY).outcome, replaced(3));
    }
}
