//! What crosses parts, a file each, in the order of the way of a message and back:
//!
//! * `newcomers` — curve work, in the order in which they wait for it;
//! * `login` — who a client is: `Auth`, verdict, claim, welcome;
//! * `resume` — a session outlives its link, and goes on with the next one;
//! * `read` — a client's frames: the one match over their kinds;
//! * `request` — route, grant, credit; parked or handed over;
//! * `event` — a backend's frames: the one match over their kinds;
//! * `response` — what became of a request;
//! * `push` — receivers are found, here or on another worker;
//! * `group` — a push to several users;
//! * `keep` — a push that is kept until its application has taken it;
//! * `package` — a part waits for those before it;
//! * `presence` — backends learn of links that open and close;
//! * `kick` — links and users that a backend ends;
//! * `sanction` — users and addresses that a backend keeps out or slows down;
//! * `letter` — what other workers want: the one match over letters;
//! * `lists` — lists of addresses change;
//! * `busiest` — who keeps the worker busy;
//! * `overload` — how full everything is, and what is given up for it;
//! * `time` — deadlines of everything;
//! * `end` — the marked are buried: the only place where anything ends.
//!
//! Nothing here has a state. A flow may call parts and flows further down the way, never one that led to it; a test reads
//! that off the compiled program.

mod busiest;
mod end;
mod event;
mod group;
mod keep;
mod kick;
mod letter;
mod lists;
mod login;
mod newcomers;
mod overload;
mod package;
mod presence;
mod push;
mod read;
mod request;
mod response;
mod resume;
mod sanction;
mod time;
