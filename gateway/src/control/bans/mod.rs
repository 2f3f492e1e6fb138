//! Which addresses may come in: the operator's files, and bans set while the gateway runs, which last and reach every
//! worker within a second.
//!
//! * `files` — what the operator keeps;
//! * `seen` — when that has changed;
//! * `folder` — the few things that are asked of a file system;
//! * `record` — one line of the journal;
//! * `journal` — all bans: what was acknowledged lasts;
//! * `keeper` — carries changes out and tells the workers;
//! * `watch` — follows what the operator keeps;
//! * `automatic` — bans that the gateway sets by itself, and those that backends want;
//! * `verbs` — what is said at the admin socket.

mod automatic;
mod files;
mod folder;
mod journal;
mod keeper;
mod record;
mod seen;
mod verbs;
mod watch;

pub(super) use automatic::heed;
pub(super) use keeper::{Keeper, Opened, open, try_out};
pub(super) use verbs::{HELP, answer, parse};
pub(super) use watch::watch;
