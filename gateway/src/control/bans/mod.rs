//! Which addresses may come in: the operator's files, and bans set while the gateway runs, which last and reach every
//! worker within a second.
//!
//! * `files` — what the operator keeps;
//! * `folder` — the few things that are asked of a file system;
//! * `record` — one line of the journal;
//! * `journal` — all bans: what was acknowledged lasts;
//! * `keeper` — carries changes out and tells the workers;
//! * `automatic` — bans that the gateway sets by itself, and those that backends want;
//! * `verbs` — what is said at the admin socket.

mod automatic;
mod files;
mod folder;
mod journal;
mod keeper;
mod record;
mod verbs;

pub(super) use automatic::heed;
pub(super) use keeper::{Keeper, Opened, open, try_out};
pub(super) use verbs::{HELP, answer, parse};
