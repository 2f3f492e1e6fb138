//! Whom a push to several users is for: a list that stands behind the body of the push in the letter that takes it to them.
//!
//! ```text
//! to the owner of users   │ hash of a user 16 │ place 2 │ length 1 ‖ name │ the next one …
//! to the worker of links  │ link 8 │ place 2 │ devices 2 │ length 1 ‖ name │ the next one …
//! ```
//!
//! The place says which of its users one is, from 1; 0 where nobody waits for a report of it. The name stands there only where whoever
//! reports has no other way to know it. Lists are written and read by workers of one process: what cannot be read is the end.

use crate::collections::Identity;
use crate::id::LinkId;

/// A user whom a push is for, on its way to the user's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForUser<'m> {
    /// Hash of the user's id.
    pub user: Identity,
    /// Which of the users of the push.
    pub place: u16,
    /// The user's id, at most 64 bytes; empty where it need not be said.
    pub name: &'m [u8],
}

/// A link of such a user, on its way to the link's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForLink<'m> {
    /// The link.
    pub link: LinkId,
    /// Which of the users of the push; 0 where nobody waits for a report.
    pub place: u16,
    /// How many devices of the user owe a report.
    pub devices: u16,
    /// The user's id, at most 64 bytes; empty where it need not be said.
    pub name: &'m [u8],
}

/// Most bytes that one of them takes without its name.
pub const MEMBER_LEN: usize = 16 + 2 + 1;

impl ForUser<'_> {
    /// Appends it to a list.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.user.bytes());
        out.extend_from_slice(&self.place.to_le_bytes());
        encode_name(self.name, out);
    }
}

impl ForLink<'_> {
    /// Appends it to a list.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.link.number().to_le_bytes());
        out.extend_from_slice(&self.place.to_le_bytes());
        out.extend_from_slice(&self.devices.to_le_bytes());
        encode_name(self.name, out);
    }
}

/// The users of a list.
pub fn users(mut list: &[u8]) -> impl Iterator<Item = ForUser<'_>> {
    std::iter::from_fn(move || {
        let user = Identity::from_bytes(*take(&mut list)?);
        let place = u16::from_le_bytes(*take(&mut list)?);
        Some(ForUser { user, place, name: take_name(&mut list)? })
    })
}

/// The links of a list.
pub fn links(mut list: &[u8]) -> impl Iterator<Item = ForLink<'_>> {
    std::iter::from_fn(move || {
        let link = LinkId::from_number(u64::from_le_bytes(*take(&mut list)?));
        let place = u16::from_le_bytes(*take(&mut list)?);
        let devices = u16::from_le_bytes(*take(&mut list)?);
        Some(ForLink { link, place, devices, name: take_name(&mut list)? })
    })
}

fn encode_name(name: &[u8], out: &mut Vec<u8>) {
    // A user's id has at most 64 bytes, as the stream has looked.
    out.push(name.len() as u8);
    out.extend_from_slice(name);
}

fn take_name<'l>(list: &mut &'l [u8]) -> Option<&'l [u8]> {
    let [len] = *take(list)?;
    let (name, rest) = list.split_at_checked(usize::from(len))?;
    *list = rest;
    Some(name)
}

fn take<'l, const LEN: usize>(list: &mut &'l [u8]) -> Option<&'l [u8; LEN]> {
    let (bytes, rest) = list.split_first_chunk()?;
    *list = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::HashKey;
    use proptest::prelude::*;

    fn names() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=64), 0..20)
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(names in names(), place: u16, devices: u16, number: u64) {
            let key = HashKey::new([3; 16]);
            let (link, mut to_users, mut to_links) = (LinkId::from_number(number), Vec::new(), Vec::new());
            for name in &names {
                ForUser { user: key.identity(name), place, name }.encode(&mut to_users);
                ForLink { link, place, devices, name }.encode(&mut to_links);
            }
            let all: Vec<_> = users(&to_users).collect();
            prop_assert!(all.iter().map(|member| member.name).eq(names.iter().map(|name| &name[..])));
            prop_assert!(all.iter().all(|it| (it.user, it.place) == (key.identity(it.name), place)));
            let all: Vec<_> = links(&to_links).collect();
            prop_assert!(all.iter().map(|member| member.name).eq(names.iter().map(|name| &name[..])));
            prop_assert!(all.iter().all(|it| (it.link, it.place, it.devices) == (link, place, devices)));
        }

        #[test]
        fn what_was_cut_off_ends_the_list(bytes: Vec<u8>) {
            prop_assert!(users(&bytes).count() * MEMBER_LEN <= bytes.len());
            prop_assert!(links(&bytes).count() * 13 <= bytes.len());
        }
    }
}
