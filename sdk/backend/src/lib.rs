//! The SDK of a backend service: accept the streams of gateways, answer requests, push to links and users.
//!
//! A thin Tokio shell around [`protocol::stream::BackendStream`], which holds all the rules; this crate adds sockets,
//! a clock, randomness and tasks.
//!
//! ```no_run
//! use backend::{Listen, Reply, Security, Server};
//!
//! # async fn run() -> std::io::Result<()> {
//! let server = Server::builder()
//!     .route("upper", |request| async move { Reply::ok(request.payload.to_ascii_uppercase()) })
//!     .route_now("echo", |request, _gateway, answer| answer.payload().extend_from_slice(request.payload))
//!     .bind(&Listen::Unix("/run/service.sock".into()), Security::Clear)?;
//! server.serve(async { _ = tokio::signal::ctrl_c().await }).await;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here queues without bound. A request's credit is given back when it has been answered, so what is under
//! way on a stream never exceeds its window. Answers that wait for a gateway's credit are bounded in bytes: above
//! `pending_bytes_max` of the stream's [`Params`](protocol::stream::Params) no handler is called any more and requests
//! are refused as busy; only the handlers already at work, at most [`Bounds::handlers_max`], add an answer each.
//! Pushes wait in a bounded queue, and [`Gateway::push`] waits with them. Those that are to arrive at least once
//! ([`Gateway::deliver`]) have a queue of their own, and each comes to exactly one [`Outcome`].
//!
//! Who pushes to users keeps a [`Directory`] of who is linked, and where.
//!
//! A panic of a handler, a judge or the ear costs its own request, token or event and is counted, see
//! [`Server::watch_counts`]; it ends no stream. That takes a build with `panic = "unwind"`, which is Cargo's default.

#![forbid(unsafe_code)]

mod backlog;
mod bounds;
mod clock;
mod counters;
mod deliveries;
mod directory;
mod drain;
mod gateway;
mod handed;
mod ledger;
mod listen;
mod newcomers;
mod outcome;
mod push;
mod random;
pub mod reference;
mod reply;
mod sanction;
mod server;
mod service;
mod shared;
mod stream;
mod turns;
mod work;

pub use bounds::Bounds;
pub use counters::Counts;
pub use directory::{Directory, Linked};
pub use gateway::Gateway;
pub use listen::{Listen, Security};
pub use outcome::{Outcome, Rule};
pub use protocol;
pub use push::{Delivery, OnGap, Package, Push, PushError, Target};
pub use reply::{Answer, IntoReply, Refused, Reply, STATUS_REPLY_TOO_LARGE};
pub use sanction::Whom;
pub use server::{Builder, Server};
pub use service::{Ask, Ended, Event, Login, OrderBy, Request, Tickets, Verdict};
