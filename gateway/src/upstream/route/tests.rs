use super::*;
use proptest::prelude::*;

fn key() -> HashKey {
    HashKey::new(*b"a key of 16 byte")
}

fn route(name: &str, streams: &[u16], balance: Balance) -> Route {
    Route {
        name: name.to_owned(),
        streams: streams.iter().copied().map(StreamIndex).collect(),
        balance,
        presence: false,
        deadline: Duration::from_secs(10),
    }
}

fn ready(endpoints: u16, balance: Balance) -> Routes {
    let names: Vec<String> = (0..endpoints).map(|number| format!("backend-{number}")).collect();
    let all: Vec<u16> = (0..endpoints).collect();
    let mut routes =
        Routes::new(&key(), names.iter().map(String::as_str), vec![route("chat", &all, balance)]);
    for stream in all {
        routes.set_ready(StreamIndex(stream), true);
    }
    routes
}

fn user(number: u64) -> Affinity {
    Affinity { user: key().hash(&number.to_le_bytes()), key: None, held_by: None }
}

const CHAT: RouteIndex = RouteIndex(0);

fn idle(_: StreamIndex) -> u32 {
    0
}

#[test]
fn routes_are_found_by_name() {
    let routes = vec![
        route("echo", &[0], Balance::Least),
        route("chat", &[], Balance::User),
        route("a", &[0], Balance::Key),
    ];
    let routes = Routes::new(&key(), ["one"].into_iter(), routes);
    for name in ["a", "chat", "echo"] {
        let index = routes.find(name.as_bytes()).expect("it is there");
        assert_eq!(routes.route(index).name, name);
    }
    for name in ["", "cha", "chatt", "zoo", "\u{ff}"] {
        assert_eq!(routes.find(name.as_bytes()), Err(Refusal::NoRoute));
    }
}

#[test]
fn without_a_ready_endpoint_there_is_no_backend() {
    for balance in [Balance::User, Balance::Key, Balance::Least] {
        let mut routes = ready(2, balance);
        routes.set_ready(StreamIndex(0), false);
        assert_eq!(routes.choose(CHAT, user(1), idle), Ok(StreamIndex(1)));
        assert!(routes.is_last_ready(StreamIndex(1)));
        routes.set_ready(StreamIndex(1), false);
        assert_eq!(routes.choose(CHAT, user(1), idle), Err(Refusal::NoBackend));
        assert_eq!(routes.presence(1).count(), 0);
    }
}

#[test]
fn users_spread_evenly_and_stay() {
    let routes = ready(8, Balance::User);
    let mut shares = [0; 8];
    for number in 0..8_000 {
        let chosen = routes.choose(CHAT, user(number), idle).expect("all are ready");
        assert_eq!(routes.choose(CHAT, user(number), idle), Ok(chosen));
        shares[usize::from(chosen.0)] += 1;
    }
    assert!(shares.iter().all(|share| (850..1150).contains(share)), "{shares:?}");
}

#[test]
fn only_the_users_of_a_lost_endpoint_move_and_they_move_back() {
    let mut routes = ready(5, Balance::User);
    let choose = |routes: &Routes| -> Vec<StreamIndex> {
        (0..2_000).map(|number| routes.choose(CHAT, user(number), idle).expect("some are ready")).collect()
    };
    let before = choose(&routes);
    routes.set_ready(StreamIndex(3), false);
    let during = choose(&routes);
    let mut heirs = [0; 5];
    for (before, during) in before.iter().zip(&during) {
        if before.0 == 3 {
            heirs[usize::from(during.0)] += 1;
        } else {
            assert_eq!(before, during);
        }
    }
    assert_eq!(heirs[3], 0);
    assert!([0, 1, 2, 4].iter().all(|&heir: &usize| heirs[heir] > 60), "its share is shared: {heirs:?}");
    routes.set_ready(StreamIndex(3), true);
    assert_eq!(choose(&routes), before);
}

#[test]
fn the_order_of_the_config_does_not_matter() {
    let routes = ready(3, Balance::User);
    let mut turned = Routes::new(
        &key(),
        ["backend-2", "backend-0", "backend-1"].into_iter(),
        vec![route("chat", &[2, 0, 1], Balance::User)],
    );
    for stream in 0..3 {
        turned.set_ready(StreamIndex(stream), true);
    }
    for number in 0..200 {
        let place = routes.choose(CHAT, user(number), idle).expect("ready").0;
        let other = turned.choose(CHAT, user(number), idle).expect("ready").0;
        assert_eq!([1, 2, 0][usize::from(place)], other);
    }
}

#[test]
fn an_overloaded_endpoint_is_passed_over_unless_a_key_asks_for_order() {
    let routes = ready(4, Balance::User);
    let at_home = routes.choose(CHAT, user(1), idle).expect("all are ready");
    let busy = |stream: StreamIndex| if stream == at_home { 100 } else { 10 };
    let elsewhere = routes.choose(CHAT, user(1), busy).expect("all are ready");
    assert_ne!(elsewhere, at_home);
    let ordered = Affinity { key: Some(5), ..user(1) };
    assert_eq!(routes.choose(CHAT, ordered, busy), Ok(at_home));
    // A little work is not overload, whatever the others have.
    let calm = |stream: StreamIndex| if stream == at_home { LOAD_FREE as u32 } else { 0 };
    assert_eq!(routes.choose(CHAT, user(1), calm), Ok(at_home));
}

/// As many as a quarter more than the average, this request counted.
#[test]
fn an_endpoint_is_overloaded_from_a_quarter_more_than_its_share_on() {
    let routes = ready(2, Balance::User);
    let at_home = routes.choose(CHAT, user(1), idle).expect("all are ready");
    for (has, stays) in [(101, true), (102, false)] {
        let load = |stream: StreamIndex| if stream == at_home { has } else { 60 };
        assert_eq!(routes.choose(CHAT, user(1), load) == Ok(at_home), stays, "{has} beside 60");
    }
}

#[test]
fn a_key_goes_where_its_hash_says_or_where_its_last_request_still_is() {
    let mut routes = ready(4, Balance::Key);
    let keyed = |user, key| Affinity { user, key: Some(key), held_by: None };
    let chosen = routes.choose(CHAT, keyed(1, 9), idle).expect("all are ready");
    assert_eq!(routes.choose(CHAT, keyed(2, 9), idle), Ok(chosen), "the user does not matter");
    let other = StreamIndex((chosen.0 + 1) % 4);
    let held = Affinity { held_by: Some(other), ..keyed(1, 9) };
    assert_eq!(routes.choose(CHAT, held, idle), Ok(other));
    routes.set_ready(other, false);
    assert_eq!(routes.choose(CHAT, held, idle), Ok(chosen), "a stream that takes nothing holds nobody");
}

#[test]
fn least_in_flight_wins_and_equals_are_spread() {
    let routes = ready(4, Balance::Least);
    assert_eq!(routes.choose(CHAT, user(1), |stream| 9 - u32::from(stream.0)), Ok(StreamIndex(3)));
    let mut seen = [false; 4];
    for number in 0..100 {
        seen[usize::from(routes.choose(CHAT, user(number), idle).expect("all are ready").0)] = true;
    }
    assert_eq!(seen, [true; 4]);
}

#[test]
fn presence_goes_to_one_endpoint_of_each_route_that_asks() {
    let asks = |route: Route| Route { presence: true, ..route };
    let routes = vec![
        asks(route("a", &[0, 1], Balance::Least)),
        route("b", &[2], Balance::User),
        asks(route("c", &[1, 2], Balance::User)),
    ];
    let mut routes = Routes::new(&key(), ["x", "y", "z"].into_iter(), routes);
    for stream in 0..3 {
        routes.set_ready(StreamIndex(stream), true);
    }
    for number in 0..50 {
        let told: Vec<_> = routes.presence(user(number).user).map(|stream| stream.0).collect();
        assert!(told.len() == 2 && told[0] <= 1 && told[1] >= 1, "{told:?}");
        assert!(routes.presence(user(number).user).map(|stream| stream.0).eq(told), "the same at every call");
    }
}

proptest! {
    /// Whatever is ready and however loads lie: a ready endpoint is chosen if there is one, without a key never
    /// one above the bound, and with a key always the same.
    #[test]
    fn choices_are_ready_and_bounded(
        up in prop::collection::vec(any::<bool>(), 1..9),
        loads in prop::collection::vec(0..500u32, 9),
        balance in prop_oneof![Just(Balance::User), Just(Balance::Key), Just(Balance::Least)],
        who: u64,
        key: Option<u64>,
    ) {
        let mut routes = ready(up.len() as u16, balance);
        for (stream, &up) in up.iter().enumerate() {
            routes.set_ready(StreamIndex(stream as u16), up);
        }
        let load = |stream: StreamIndex| loads[usize::from(stream.0)];
        let affinity = Affinity { user: who, key, held_by: None };
        let Ok(chosen) = routes.choose(CHAT, affinity, load) else {
            prop_assert!(up.iter().all(|up| !up));
            return Ok(());
        };
        prop_assert!(up[usize::from(chosen.0)]);
        let live: Vec<u32> = up.iter().zip(&loads).filter(|(up, _)| **up).map(|(_, load)| *load).collect();
        match (balance, key) {
            (Balance::Least, _) => prop_assert_eq!(Some(load(chosen)), live.iter().copied().min()),
            (_, Some(_)) => prop_assert_eq!(routes.choose(CHAT, affinity, idle), Ok(chosen)),
            (_, None) => {
                let average = (live.iter().sum::<u32>() + 1) as f64 / live.len() as f64;
                prop_assert!(f64::from(load(chosen)) <= (average * 1.25).max(LOAD_FREE as f64));
            }
        }
    }
}
