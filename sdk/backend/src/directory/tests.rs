//! Who is linked, as streams tell it, come and go.

mod moving;

use protocol::wire::proto::stream::Hello;
use protocol::wire::stream::{LinkClosed, LinkOpened};
use tokio::sync::mpsc;

use super::*;
use crate::gateway::{Handles, Order};
use crate::push::Parcel;
use crate::service::Ended;

/// A stream of a gateway, and what comes out of it.
struct Peer {
    handle: Gateway,
    pushes: mpsc::Receiver<Push>,
    parcels: mpsc::Receiver<Parcel>,
    orders: mpsc::Receiver<Order>,
}

impl Peer {
    fn new(id: u64, boot: u8, worker: u32) -> Self {
        let (handles, pushes, parcels, orders) = Handles::open(2);
        let (boot_id, gateway) = (vec![boot; 16].into(), format!("gate-{}", boot % 10));
        let hello = Hello { boot_id, gateway, worker, report_slots: 9, ..Hello::default() };
        let handle = Gateway::new(id, &hello, None, handles);
        Self { handle, pushes, parcels, orders }
    }

    fn opens(&self, directory: &Directory, link: u64, user: &str, device: &str) {
        let (user, device) = (user.as_bytes(), device.as_bytes());
        let opened = LinkOpened { link, user, device, link_epoch: 100 + link, ..LinkOpened::default() };
        directory.hear(&Event::LinkOpened(opened), &self.handle);
    }

    fn closes(&self, directory: &Directory, link: u64, user: &str) {
        let closed = LinkClosed { link, user: user.as_bytes(), ..LinkClosed::default() };
        directory.hear(&Event::LinkClosed(closed), &self.handle);
    }

    fn pushed(&mut self) -> usize {
        std::iter::from_fn(|| self.pushes.try_recv().ok()).count()
    }
}

fn user(name: &'static str) -> Target {
    Target::User(Bytes::from_static(name.as_bytes()))
}

fn links(directory: &Directory, user: &str) -> Vec<u64> {
    directory.links(user.as_bytes()).iter().map(|linked| linked.link).collect()
}

/// Two workers of one gateway, and another gateway.
fn three(directory: &Directory) -> [Peer; 3] {
    let peers = [(1, 7, 1), (2, 7, 2), (3, 8, 1)].map(|(id, boot, worker)| Peer::new(id, boot, worker));
    for peer in &peers {
        directory.hear(&Event::Opened, &peer.handle);
    }
    peers
}

#[test]
fn a_user_is_pushed_to_once_at_each_gateway_where_it_has_a_link() {
    let directory = Directory::new(10);
    let mut peers = three(&directory);
    assert_eq!(directory.try_push(&Push::new(user("ann"), "hi")), Ok(0), "not linked");
    for (peer, link, device) in [(0, 1, "phone"), (1, 2, "desk"), (2, 3, "watch")] {
        peers[peer].opens(&directory, link, "ann", device);
    }
    peers[2].opens(&directory, 4, "bob", "phone");
    assert_eq!((links(&directory, "ann"), links(&directory, "bob")), (vec![3, 2, 1], vec![4]));
    assert_eq!(directory.try_push(&Push::new(user("ann"), "hi")), Ok(2));
    let pushed = peers.each_mut().map(Peer::pushed);
    assert_eq!((pushed[0] + pushed[1], pushed[2]), (1, 1));
    let watch = Target::Device(Bytes::from_static(b"ann"), Bytes::from_static(b"watch"));
    assert_eq!(directory.try_push(&Push::new(watch, "hi")), Ok(1));
    assert_eq!(peers.each_mut().map(Peer::pushed), [0, 0, 1]);
}

#[test]
fn what_closes_is_gone_and_a_stream_takes_its_links_with_it() {
    let directory = Directory::new(10);
    let peers = three(&directory);
    for (peer, link, device) in [(0, 1, "phone"), (1, 2, "desk"), (2, 3, "phone")] {
        peers[peer].opens(&directory, link, "ann", device);
    }
    peers[0].opens(&directory, 1, "ann", "phone");
    assert_eq!(directory.len(), 3, "one is told of again");
    peers[1].closes(&directory, 2, "ann");
    peers[1].closes(&directory, 9, "ann");
    assert_eq!((links(&directory, "ann"), directory.len()), (vec![3, 1], 2));
    directory.hear(&Event::Closed(Ended::Broken), &peers[2].handle);
    assert_eq!((links(&directory, "ann"), directory.len()), (vec![1], 1));
    peers[0].closes(&directory, 1, "ann");
    assert!(!directory.is_linked(b"ann") && directory.is_empty());
    peers[2].opens(&directory, 4, "ann", "phone");
    assert!(directory.is_empty(), "its stream is over");
}

#[test]
fn it_is_complete_when_each_stream_has_told_of_all() {
    let directory = Directory::new(10);
    assert!(directory.is_complete(), "nobody can be missing");
    let peers = three(&directory);
    for peer in &peers {
        assert!(!directory.is_complete());
        directory.hear(&Event::Announced, &peer.handle);
    }
    assert!(directory.is_complete());
}

#[test]
fn no_more_links_are_kept_than_there_may_be() {
    let directory = Directory::new(2);
    let peers = three(&directory);
    for (link, device) in [(1, "phone"), (2, "desk"), (3, "watch"), (4, "car")] {
        peers[0].opens(&directory, link, "ann", device);
    }
    assert_eq!((directory.len(), directory.left_out()), (2, 2));
    peers[0].closes(&directory, 4, "ann");
    peers[0].closes(&directory, 1, "ann");
    assert_eq!(links(&directory, "ann"), [2]);
    peers[0].opens(&directory, 5, "ann", "phone");
    assert_eq!((links(&directory, "ann"), directory.left_out()), (vec![5, 2], 2));
}

#[test]
fn an_error_is_told_only_if_no_gateway_took_it() {
    let directory = Directory::new(10);
    let mut peers = three(&directory);
    peers[0].opens(&directory, 1, "ann", "phone");
    peers[2].opens(&directory, 3, "ann", "desk");
    let push = Push::new(user("ann"), "hi");
    assert_eq!([(); 2].map(|()| directory.try_push(&push)), [Ok(2), Ok(2)]);
    assert_eq!(directory.try_push(&push), Err(PushError::Full), "both are full");
    assert_eq!(peers[2].pushed(), 2);
    assert_eq!(directory.try_push(&push), Ok(1), "one has room again");
    peers[2].pushes.close();
    assert_eq!(directory.try_push(&push), Err(PushError::Full));
    peers[0].pushes.close();
    assert_eq!(directory.try_push(&push), Ok(0), "both are over, though that was not told yet");
    let numbered = Push { number: 1, ..push };
    for wrong in [numbered, Push::new(Target::Link(1), "hi"), Push::new(Target::Room("r".into()), "hi")] {
        assert_eq!(directory.try_push(&wrong), Err(PushError::Invalid), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_push_is_delivered_through_each_gateway_where_the_user_is() {
    let directory = Directory::new(10);
    let mut peers = three(&directory);
    let deliver = async |name| {
        let deliveries = directory.deliver(&Push::new(user(name), "hi"), Rule::Any).await;
        deliveries.map(|all| all.iter().map(Delivery::number).collect::<Vec<_>>())
    };
    peers[1].opens(&directory, 1, "ann", "phone");
    peers[2].opens(&directory, 3, "ann", "desk");
    assert_eq!(deliver("bob").await, Ok(vec![]), "not linked");
    let numbers = deliver("ann").await.unwrap();
    let mut sent = peers.each_mut().map(|peer| peer.parcels.try_recv().ok());
    assert!(sent[0].is_none() && numbers.len() == 2);
    assert_eq!(sent[2].take().map(|parcel| parcel.push.target), Some(user("ann")));
    peers[1].parcels.close();
    assert_eq!(deliver("ann").await.map(|numbers| numbers.len()), Ok(1), "one is over");
    peers[2].parcels.close();
    assert_eq!(deliver("ann").await, Ok(vec![]));
    let room = Push::new(Target::Room("lobby".into()), "hi");
    assert_eq!(directory.deliver(&room, Rule::Any).await.err(), Some(PushError::Invalid));
}

#[tokio::test]
async fn a_kick_goes_to_each_gateway_where_the_user_is() {
    let directory = Directory::new(10);
    let mut peers = three(&directory);
    peers[1].opens(&directory, 1, "ann", "phone");
    peers[2].opens(&directory, 3, "ann", "desk");
    assert_eq!(directory.kick(&user("bob"), CloseCode::Kicked, false).await, Ok(0));
    assert_eq!(directory.kick(&user("ann"), CloseCode::Kicked, true).await, Ok(2));
    for peer in &mut peers[1..] {
        let Ok(Order::Kick(kick)) = peer.orders.try_recv() else { panic!("a kick") };
        assert_eq!((kick.target, peer.orders.is_empty()), (user("ann"), true));
    }
    assert!(peers[0].orders.is_empty());
    assert_eq!(directory.kick(&Target::Link(1), CloseCode::Kicked, false).await, Err(PushError::Invalid));
}
