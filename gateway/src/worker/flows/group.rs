//! A push to several users: one letter to each owner of some of them, and from there one to each worker of their links, with the list of
//! whom it is for behind what it says. A worker has it once for all sessions that one letter names.
//!
//! ```text
//! push ─┬► owner of some ──┬► worker of some links ─► each link, or each session that is to be owed it
//!       └► owner of others ┴► worker of other links ─► …
//! ```
//!
//! Whoever finds no room, or is not there, is reported by itself, and none of the others is touched.

use protocol::Undelivered;
use protocol::wire::sequenced;
use protocol::wire::stream::{StreamPush, Users};

use crate::collections::Identity;
use crate::delivery::members::{self, ForLink, ForUser, MEMBER_LEN};
use crate::delivery::packages::Spot;
use crate::upstream::StreamIndex;
use crate::worker::parts::Parts;
use crate::worker::post::{Parcel, Recipient, Sender, ToKeep};
use crate::worker::turn::Addressed;

use super::push::{AT_LEAST_ONCE, FIELDS_LEN, said};

impl Parts {
    /// A backend's push to several users.
    pub(super) fn push_to_users(&mut self, stream: StreamIndex, push: &StreamPush<'_>) {
        let (sender, kept) = if push.class == AT_LEAST_ONCE {
            let Some((sender, keep)) = self.accept_push(stream, push) else { return };
            (sender, Some(keep))
        } else {
            (self.sender(stream, push.number), None)
        };
        if !self.is_of_our_realm(push.realm) {
            return self.lose_users(sender, kept, push.users);
        }
        let part = push.package.as_ref().map(Spot::of);
        let mut body = self.turn.buffers.take(push.payload.len() + FIELDS_LEN);
        sequenced::encode_body(&said(push), &mut body);
        let mut named = std::mem::take(&mut self.turn.named);
        named.extend(push.users.iter().map(|user| self.sessions.name_of(user)));
        for worker in 0..self.turn.settings.workers {
            self.send_to_owner(worker, &body, &named, push.users, (sender, kept, part.as_ref()));
        }
        named.clear();
        self.turn.named = named;
        self.turn.buffers.give(body);
    }

    /// To the owner of some of the users, unless it owns none.
    fn send_to_owner(
        &mut self,
        worker: u32,
        body: &[u8],
        named: &[Identity],
        users: Users<'_>,
        (sender, kept, part): (Sender, Option<ToKeep>, Option<&Spot>),
    ) {
        let all = (1..).zip(named.iter().copied().zip(users.iter()));
        let its = all.filter(|&(_, (user, _))| self.sessions.owner_of(user) == worker);
        let count = its.clone().count();
        if count == 0 {
            return;
        }
        let mut frame = self.letters.spare(&mut self.turn, worker, body.len() + count * MEMBER_LEN);
        frame.extend_from_slice(body);
        let mut parcel = Parcel::new(Recipient::Users, sender, frame, kept).part_of(part);
        for (place, (user, name)) in its {
            // Of what is kept the stream's worker knows the names.
            let name = if kept.is_some() || sender.number == 0 { &[] } else { name };
            ForUser { user, place, name }.encode(&mut parcel.frame);
        }
        if worker == self.turn.settings.worker && !self.letters.has_own() {
            self.push_to_owned(parcel);
        } else {
            self.push_away(worker, parcel);
        }
    }

    /// Owner's side: the push goes on to the links of its users.
    pub(super) fn push_to_owned(&mut self, parcel: Parcel) {
        let mut addressed = std::mem::take(&mut self.turn.addressed);
        for (member, user) in (0..).zip(members::users(parcel.parts().1)) {
            let before = addressed.len();
            let links = self.sessions.lookup(user.user, None);
            addressed.extend(links.map(|link| Addressed { link, member, devices: 0, is_first: false }));
            let its = &mut addressed[before..];
            let devices = u16::try_from(its.len()).unwrap_or(u16::MAX);
            its.iter_mut().for_each(|link| link.devices = devices);
            match its.first_mut() {
                Some(first) => first.is_first = true,
                None => self.lose_member(
                    (parcel.sender, parcel.kept),
                    user.place,
                    1,
                    user.name,
                    Undelivered::NoUser,
                ),
            }
        }
        for worker in 0..self.turn.settings.workers {
            self.send_to_links(worker, &parcel, &addressed);
        }
        addressed.clear();
        self.turn.addressed = addressed;
        self.letters.give_spare(&mut self.turn, parcel.frame);
    }

    /// To the worker of some of the links, unless it has none. Of a push that is not kept only the first link of a user is reported.
    fn send_to_links(&mut self, worker: u32, parcel: &Parcel, addressed: &[Addressed]) {
        let count = addressed.iter().filter(|to| to.link.worker() == worker).count();
        if count == 0 {
            return;
        }
        let (body, list) = parcel.parts();
        let mut frame = self.letters.spare(&mut self.turn, worker, body.len() + count * MEMBER_LEN);
        frame.extend_from_slice(body);
        let onward = Parcel::new(Recipient::Links, parcel.sender, frame, parcel.kept);
        let mut onward = onward.part_of(parcel.part.as_deref());
        let mut rest = addressed;
        for (member, ForUser { place, name, .. }) in (0..).zip(members::users(list)) {
            let (its, others) = rest.split_at(rest.partition_point(|to| to.member <= member));
            for &Addressed { link, devices, is_first, .. } in its {
                let (place, name) =
                    if is_first || parcel.kept.is_some() { (place, name) } else { (0, &[][..]) };
                if link.worker() == worker {
                    ForLink { link, place, devices, name }.encode(&mut onward.frame);
                }
            }
            rest = others;
        }
        if worker == self.turn.settings.worker {
            self.push_to_links(onward);
        } else {
            self.push_away(worker, onward);
        }
    }

    /// The push for the links of a list, which are of this worker, or were.
    pub(super) fn push_to_links(&mut self, parcel: Parcel) {
        let (body, list) = parcel.parts();
        match parcel.kept {
            Some(keep) => self.keep_for_links(parcel.sender, body, list, keep, parcel.part.as_deref()),
            None => {
                for ForLink { link, place, name, .. } in members::links(list) {
                    let number = if place == 0 { 0 } else { parcel.sender.number };
                    let sender = Sender { number, ..parcel.sender };
                    self.give(link, sender, (place, name), body, parcel.part.as_deref());
                }
            }
        }
        self.letters.give_spare(&mut self.turn, parcel.frame);
    }

    fn keep_for_links(
        &mut self,
        sender: Sender,
        body: &[u8],
        list: &[u8],
        keep: ToKeep,
        part: Option<&Spot>,
    ) {
        let mut copy = self.turn.buffers.take(body.len());
        copy.extend_from_slice(body);
        let kept = self.sessions.keep_body(copy).map_err(|copy| self.turn.buffers.give(copy)).ok();
        for ForLink { link, place, devices, .. } in members::links(list) {
            let keep = ToKeep { place, devices, ..keep };
            let link = self.followed(link);
            match (self.own(link), kept) {
                (None, _) => self.send_to_keep(link, sender, body, keep, part),
                (Some(_), Some(body)) => self.owe(link, body, sender, keep, part),
                (Some(_), None) => self.lose_push(keep.owed(sender), Undelivered::QueueFull),
            }
        }
        if let Some(body) = kept {
            self.drop_unowed(body);
        }
    }

    /// A push that found no way to anybody of its list.
    pub(super) fn lose_members(&mut self, parcel: &Parcel, reason: Undelivered) {
        let (of, (_, list)) = ((parcel.sender, parcel.kept), parcel.parts());
        if parcel.to == Recipient::Users {
            members::users(list).for_each(|user| self.lose_member(of, user.place, 1, user.name, reason));
        } else {
            for ForLink { place, devices, name, .. } in members::links(list) {
                self.lose_member(of, place, devices, name, reason);
            }
        }
    }

    fn lose_member(
        &mut self,
        (sender, kept): (Sender, Option<ToKeep>),
        place: u16,
        devices: u16,
        name: &[u8],
        reason: Undelivered,
    ) {
        match kept {
            Some(keep) => self.lose_push(ToKeep { place, devices, ..keep }.owed(sender), reason),
            None => {
                let number = if place == 0 { 0 } else { sender.number };
                self.report_undelivered(Sender { number, ..sender }, reason, name);
            }
        }
    }

    /// None of the users is of this realm. Of a push that is not kept that is said once, for all of them.
    fn lose_users(&mut self, sender: Sender, kept: Option<ToKeep>, users: Users<'_>) {
        let reason = Undelivered::NoUser;
        match kept {
            Some(keep) => {
                for (place, _) in (1..).zip(users.iter()) {
                    self.lose_push(ToKeep { place, ..keep }.owed(sender), reason);
                }
            }
            None => self.report_undelivered(sender, reason, &[]),
        }
    }
}
