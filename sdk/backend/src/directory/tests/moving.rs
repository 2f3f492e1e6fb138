//! Sessions that lose their links and go on with others, also at other workers, whose streams are read side by side.

use std::collections::{BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::wire::stream::{LinkDetached, Resumed};

use super::*;

const UNTIL: UnixMillis = UnixMillis(1_700_000_060_000);

impl Peer {
    fn detaches(&self, directory: &Directory, link: u64) {
        let detached = LinkDetached { link, until_ms: UNTIL.0, link_epoch: 100 + link, ..Default::default() };
        directory.hear(&Event::LinkDetached(detached), &self.handle);
    }

    /// A session goes on, with the number that its new link has.
    fn resumes(&self, directory: &Directory, old_link: u64, link: u64) {
        let resumed = Resumed { old_link, link, link_epoch: 100 + link };
        directory.hear(&Event::LinkResumed(resumed), &self.handle);
    }

    fn ends(&self, directory: &Directory) {
        directory.hear(&Event::Closed(Ended::Broken), &self.handle);
    }

    /// The worker's next stream.
    fn returns(&self, directory: &Directory, id: u64) -> Self {
        let peer = Self::new(id, self.handle.boot_id()[0], self.handle.worker());
        directory.hear(&Event::Opened, &peer.handle);
        peer
    }

    fn announces(&self, directory: &Directory) {
        directory.hear(&Event::Announced, &self.handle);
    }
}

#[test]
fn a_session_that_goes_on_does_so_where_its_new_link_is() {
    let directory = Directory::new(10);
    let peers = three(&directory);
    peers[0].opens(&directory, 1, "ann", "phone");
    peers[0].detaches(&directory, 1);
    peers[1].resumes(&directory, 1, 2);
    let [linked] = &directory.links(b"ann")[..] else { panic!("one link") };
    assert_eq!((linked.link, &linked.device[..], linked.epoch), (2, &b"phone"[..], 102));
    assert_eq!((linked.gateway.id(), linked.detached_until, directory.len()), (2, None, 1));
    peers[0].ends(&directory);
    assert_eq!(links(&directory, "ann"), [2], "it has moved");
    peers[1].closes(&directory, 2, "ann");
    assert!(directory.is_empty());
}

#[test]
fn a_session_that_waits_can_be_delivered_to_and_is_not_linked() {
    let directory = Directory::new(10);
    let mut peers = three(&directory);
    peers[0].opens(&directory, 1, "ann", "phone");
    peers[0].detaches(&directory, 1);
    assert_eq!(directory.links(b"ann")[0].detached_until, Some(UNTIL));
    assert!(!directory.is_linked(b"ann"));
    assert_eq!(directory.try_push(&Push::new(user("ann"), "hi")), Ok(0), "nobody would get it");
    let delivered = |directory: &Directory| {
        let push = Push::new(user("ann"), "hi");
        let mut delivering =
            Box::pin(async move { directory.deliver(&push, Rule::Any).await.map(|all| all.len()) });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        delivering.as_mut().poll(&mut context)
    };
    assert_eq!(delivered(&directory), std::task::Poll::Ready(Ok(1)));
    assert!(peers[0].parcels.try_recv().is_ok());
    peers[0].resumes(&directory, 1, 4);
    assert!(directory.is_linked(b"ann"));
    assert_eq!(directory.try_push(&Push::new(user("ann"), "hi")), Ok(1));
    peers[0].detaches(&directory, 4);
    peers[0].closes(&directory, 4, "ann");
    assert!(directory.is_empty(), "it has waited for as long as it may");
}

#[test]
fn what_is_earlier_than_what_was_seen_of_a_device_is_dropped() {
    let directory = Directory::new(10);
    let peers = three(&directory);
    peers[0].opens(&directory, 5, "ann", "phone");
    peers[1].opens(&directory, 4, "ann", "phone");
    assert_eq!(links(&directory, "ann"), [5], "an earlier link is told of late");
    peers[1].opens(&directory, 6, "ann", "phone");
    assert_eq!((links(&directory, "ann"), directory.len()), (vec![6], 1), "the latest counts");
    peers[0].closes(&directory, 5, "ann");
    assert_eq!(links(&directory, "ann"), [6]);
    let late = LinkDetached { link: 6, link_epoch: 105, ..Default::default() };
    directory.hear(&Event::LinkDetached(late), &peers[1].handle);
    let resumed = Resumed { old_link: 6, link: 3, link_epoch: 103 };
    directory.hear(&Event::LinkResumed(resumed), &peers[1].handle);
    assert_eq!((links(&directory, "ann"), directory.is_linked(b"ann")), (vec![6], true));
    peers[2].opens(&directory, 1, "ann", "phone");
    peers[1].opens(&directory, 7, "ann", "desk");
    assert_eq!(links(&directory, "ann"), [7, 6, 1], "another gateway, another device");
}

#[test]
fn a_number_that_is_not_said_is_never_earlier() {
    let directory = Directory::new(10);
    let peers = three(&directory);
    let opens = |link, link_epoch| {
        let opened = LinkOpened { link, user: b"ann", device: b"phone", link_epoch, ..Default::default() };
        directory.hear(&Event::LinkOpened(opened), &peers[0].handle);
    };
    opens(1, 9);
    opens(2, 0);
    opens(3, 0);
    assert_eq!(directory.len(), 3);
    directory.hear(&Event::LinkResumed(Resumed { old_link: 1, link: 4, link_epoch: 0 }), &peers[1].handle);
    assert_eq!((directory.len(), directory.links(b"ann").iter().any(|linked| linked.link == 4)), (3, true));
}

#[test]
fn what_one_stream_says_of_links_that_another_has_not_told_yet_is_kept_for_then() {
    let directory = Directory::new(10);
    let peers = three(&directory);
    // 1 goes on as 2, then as 3, which is lost again; of 7 the end is heard first.
    peers[0].resumes(&directory, 2, 3);
    peers[0].detaches(&directory, 3);
    peers[1].resumes(&directory, 1, 2);
    peers[1].resumes(&directory, 6, 7);
    peers[1].closes(&directory, 7, "bob");
    assert!(directory.is_empty());
    peers[0].opens(&directory, 6, "bob", "phone");
    assert!(directory.is_empty(), "it has come and gone");
    peers[0].opens(&directory, 1, "ann", "phone");
    let linked = directory.links(b"ann").pop().expect("it is there");
    assert_eq!((linked.link, linked.detached_until, linked.gateway.id()), (3, Some(UNTIL), 1));
    // It waits, so the worker's next stream has no link to tell of.
    peers[0].ends(&directory);
    peers[0].returns(&directory, 10).announces(&directory);
    peers[1].resumes(&directory, 3, 4);
    assert_eq!(links(&directory, "ann"), [4]);
}

#[test]
fn a_session_whose_stream_has_ended_is_there_again_when_it_goes_on_elsewhere() {
    let directory = Directory::new(10);
    let peers = three(&directory);
    for (link, user) in [(1, "ann"), (2, "bob"), (3, "eve")] {
        peers[0].opens(&directory, link, user, "phone");
    }
    peers[0].announces(&directory);
    peers[0].detaches(&directory, 3);
    peers[0].ends(&directory);
    assert!(directory.is_empty(), "nobody sees what is lost");
    peers[1].resumes(&directory, 1, 4);
    assert_eq!((links(&directory, "ann"), directory.len()), (vec![4], 1));

    let back = peers[0].returns(&directory, 10);
    back.announces(&directory);
    peers[1].resumes(&directory, 2, 5);
    assert!(!directory.is_linked(b"bob"), "it was not told of again, so it is gone");
    peers[1].resumes(&directory, 3, 6);
    assert_eq!(links(&directory, "eve"), [6], "a session that waits has no link that could be told of");
}

#[test]
fn what_is_told_of_again_is_lost_no_more() {
    let directory = Directory::new(10);
    let peers = three(&directory);
    peers[0].opens(&directory, 1, "ann", "phone");
    peers[0].opens(&directory, 2, "bob", "phone");
    peers[0].announces(&directory);
    peers[0].ends(&directory);
    let back = peers[0].returns(&directory, 10);
    back.opens(&directory, 1, "ann", "phone");
    // It breaks again before all have been told.
    back.ends(&directory);
    peers[1].resumes(&directory, 2, 5);
    assert_eq!(links(&directory, "bob"), [5], "what the first stream had told of is not forgotten");
    peers[1].closes(&directory, 5, "bob");
    let back = peers[0].returns(&directory, 11);
    back.opens(&directory, 1, "ann", "phone");
    back.announces(&directory);
    assert_eq!((links(&directory, "ann"), directory.len()), (vec![1], 1));
    back.closes(&directory, 1, "ann");
    peers[1].resumes(&directory, 1, 4);
    assert!(directory.is_empty());
}

/// A gateway may dial again before this end has noticed that the stream before is dead.
#[test]
fn a_link_that_two_streams_of_a_worker_tell_of_is_one_and_the_later_stream_has_it() {
    let directory = Directory::new(10);
    let peers = three(&directory);
    let opened = LinkOpened { link: 1, user: b"ann", device: b"phone", ..Default::default() };
    directory.hear(&Event::LinkOpened(opened), &peers[0].handle);
    let back = peers[0].returns(&directory, 10);
    directory.hear(&Event::LinkOpened(opened), &back.handle);
    assert_eq!(directory.len(), 1);
    peers[0].ends(&directory);
    assert_eq!(directory.links(b"ann").iter().map(|linked| linked.gateway.id()).collect::<Vec<_>>(), [10]);
}

#[test]
fn what_is_lost_is_bounded_and_ends_with_its_gateways_start() {
    let directory = Directory::new(2);
    let peers = three(&directory);
    for (peer, link, user) in [(0, 1, "ann"), (1, 2, "bob"), (2, 3, "eve")] {
        peers[peer].opens(&directory, link, user, "phone");
        peers[peer].announces(&directory);
        peers[peer].ends(&directory);
    }
    let lost = |directory: &Directory| directory.lock().lost();
    assert_eq!(lost(&directory), 2, "the first one lost is gone");
    // The same place, another start.
    let new = Peer::new(10, 17, 2);
    directory.hear(&Event::Opened, &new.handle);
    assert_eq!(lost(&directory), 1);
    peers[2].returns(&directory, 11).announces(&directory);
    assert_eq!((lost(&directory), directory.len()), (0, 0));
}

/// What a gateway says of one session, event by event: at which worker, and what.
#[derive(Clone, Copy, Debug)]
enum Said {
    Opened(u64),
    Detached(u64),
    Resumed(u64, u64),
    Closed(u64),
}

/// A session's way: its first worker, then each worker where it goes on, and whether it is detached or closed in the end.
type Way = (bool, Vec<bool>, u8);

/// What is said on both streams of a session, and what is true in the end: the link, and whether it is there.
fn say(way: &Way, number: u64, streams: &mut [VecDeque<Said>; 2]) -> Option<(u64, bool)> {
    let (first, moves, end) = way;
    let (mut at, mut link) = (usize::from(*first), number * 100);
    streams[at].push_back(Said::Opened(link));
    for next in moves {
        streams[at].push_back(Said::Detached(link));
        at = usize::from(*next);
        streams[at].push_back(Said::Resumed(link, link + 1));
        link += 1;
    }
    match end {
        0 => Some((link, true)),
        1 => {
            streams[at].push_back(Said::Detached(link));
            Some((link, false))
        }
        _ => {
            streams[at].push_back(Said::Closed(link));
            None
        }
    }
}

proptest! {
    /// However the streams of two workers are read side by side, the directory comes to the same in the end.
    #[test]
    fn the_order_in_which_streams_are_read_makes_no_difference(
        ways in vec((any::<bool>(), vec(any::<bool>(), 0..5), 0..3_u8), 1..4), order in vec(any::<bool>(), 0..60),
    ) {
        let directory = Directory::new(10);
        let peers = three(&directory);
        let mut streams = [VecDeque::new(), VecDeque::new()];
        let truth: Vec<_> = (1..).zip(&ways).map(|(number, way)| say(way, number, &mut streams)).collect();
        let mut order = order.into_iter();
        while streams.iter().any(|said| !said.is_empty()) {
            let wished = usize::from(order.next().unwrap_or(false));
            let at = if streams[wished].is_empty() { 1 - wished } else { wished };
            let peer = &peers[at];
            match streams[at].pop_front() {
                Some(Said::Opened(link)) => peer.opens(&directory, link, &(link / 100).to_string(), "phone"),
                Some(Said::Detached(link)) => peer.detaches(&directory, link),
                Some(Said::Resumed(old, link)) => peer.resumes(&directory, old, link),
                Some(Said::Closed(link)) => peer.closes(&directory, link, &(link / 100).to_string()),
                None => {}
            }
        }
        for (number, truth) in (1..).zip(&truth) {
            let user: String = u64::to_string(&number);
            let found: BTreeSet<_> =
                directory.links(user.as_bytes()).iter().map(|held| (held.link, held.detached_until.is_none())).collect();
            prop_assert_eq!(found, truth.iter().copied().collect(), "{:?}", ways[number as usize - 1]);
        }
        prop_assert_eq!(directory.len(), truth.iter().flatten().count());
    }
}
