//! `busiest` at the admin socket: which addresses and users keep the gateway busy, as all workers count it together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use crate::admission::lists::UserId;
use crate::worker::{Listing, Measure};

/// Asks all workers whose queues have room. Must not block.
pub type AskBusiest = Box<dyn Fn(&Sender<Listing>) + Send>;

/// How it is written.
pub(super) const HELP: &str = "busiest [--json]                           addresses and users with most accepts, frames, bytes, refusals, roughly\n";

/// How many are listed of each.
const LISTED: usize = 10;

/// How long workers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a line asks for it, and whether for JSON.
pub(super) fn parse(line: &str) -> Option<bool> {
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["busiest"] => Some(false),
        ["busiest", "--json"] => Some(true),
        _ => None,
    }
}

/// The answer. A worker that stands still is left out, and that is said.
pub(super) async fn answer(ask: &AskBusiest, workers: usize, json: bool) -> String {
    let (to, from) = channel(workers.max(1));
    ask(&to);
    // The last worker that has answered, or that could not be asked, ends the wait.
    drop(to);
    let listings = gather(from).await;
    let missing = workers - listings.len();
    let (addresses, users) = merge(listings);
    if json { in_json(&addresses, &users, missing) } else { in_text(&addresses, &users, missing) }
}

async fn gather(mut from: Receiver<Listing>) -> Vec<Listing> {
    let mut listings = Vec::new();
    let all = async {
        while let Some(listing) = from.recv().await {
            listings.push(listing);
        }
    };
    let _too_late = timeout(PATIENCE, all).await;
    listings
}

/// What is listed of one kind, by measure and weight.
type Ranks = Vec<(Measure, Vec<(String, u64)>)>;

fn merge(listings: Vec<Listing>) -> (Ranks, Ranks) {
    let mut addresses: BTreeMap<(Measure, IpAddr), u64> = BTreeMap::new();
    let mut users: BTreeMap<(Measure, Vec<u8>), u64> = BTreeMap::new();
    for listing in listings {
        for (measure, address, weight) in listing.addresses {
            *addresses.entry((measure, address)).or_default() += weight;
        }
        for (measure, user, weight) in listing.users {
            *users.entry((measure, user)).or_default() += weight;
        }
    }
    let name = |user: &[u8]| UserId::of(user).map_or(String::new(), |id| id.to_string());
    let addresses =
        addresses.into_iter().map(|((measure, address), weight)| (measure, address.to_string(), weight));
    let users = users.into_iter().map(|((measure, user), weight)| (measure, name(&user), weight));
    (rank(addresses.collect()), rank(users.collect()))
}

fn rank(all: Vec<(Measure, String, u64)>) -> Ranks {
    let of = |measure| {
        let mut some: Vec<(String, u64)> = all
            .iter()
            .filter(|(its, ..)| *its == measure)
            .map(|(_, name, weight)| (name.clone(), *weight))
            .collect();
        some.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        some.truncate(LISTED);
        (measure, some)
    };
    Measure::ALL.map(of).into()
}

fn in_json(addresses: &Ranks, users: &Ranks, missing: usize) -> String {
    let ranks = |ranks: &Ranks, key: &str| {
        let of = |(measure, some): &(Measure, Vec<(String, u64)>)| {
            let rows: Vec<Value> =
                some.iter().map(|(name, weight)| json!({ key: name, "weight": weight })).collect();
            (measure.name().to_owned(), Value::from(rows))
        };
        Value::Object(ranks.iter().map(of).collect())
    };
    let told = json!({ "addresses": ranks(addresses, "address"), "users": ranks(users, "user"), "workers_missing": missing });
    format!("{told}\n")
}

fn in_text(addresses: &Ranks, users: &Ranks, missing: usize) -> String {
    let mut text = String::from("roughly, and half of it forgotten each minute\n");
    for (kind, ranks) in [("addresses", addresses), ("users", users)] {
        for (measure, some) in ranks.iter().filter(|(_, some)| !some.is_empty()) {
            text += &format!("{kind} by {}\n", measure.name());
            for (name, weight) in some {
                text += &format!("  {weight:>14}  {name}\n");
            }
        }
    }
    if missing > 0 {
        text += &format!("{missing} workers have not answered in time\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_say_is_added_up_and_the_busiest_come_first() {
        let of = |weight| Listing {
            addresses: vec![
                (Measure::Accepts, [192, 0, 2, 1].into(), weight),
                (Measure::Accepts, [192, 0, 2, 2].into(), 7),
            ],
            users: vec![(Measure::Bytes, b"e ve".to_vec(), weight)],
        };
        let (addresses, users) = merge(vec![of(5), of(4)]);
        let text = in_text(&addresses, &users, 1);
        assert!(
            text.contains("addresses by accepts\n              14  192.0.2.2\n               9  192.0.2.1\nusers by bytes\n"),
            "{text}"
        );
        assert!(text.contains("               9  hex:65207665\n1 workers have not answered"), "{text}");
        let told: Value = serde_json::from_str(&in_json(&addresses, &users, 0)).unwrap();
        assert_eq!(told["addresses"]["accepts"][1], json!({ "address": "192.0.2.1", "weight": 9 }));
        assert_eq!((&told["users"]["frames"], &told["workers_missing"]), (&json!([]), &json!(0)));
        let many = (0..40).map(|host| (Measure::Frames, [10, 0, 0, host].into(), u64::from(host)));
        let (ranks, _) = merge(vec![Listing { addresses: many.collect(), users: Vec::new() }]);
        assert_eq!((ranks[1].1.len(), &ranks[1].1[0]), (LISTED, &("10.0.0.39".to_owned(), 39)));
    }

    #[test]
    fn a_line_asks_for_it() {
        assert_eq!(
            [parse("busiest"), parse(" busiest  --json"), parse("busiest x")],
            [Some(false), Some(true), None]
        );
    }
}
