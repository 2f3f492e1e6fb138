//! What happened, counted once per worker and summed when somebody asks. Never counted per link.
//!
//! A worker's cells are written by that worker alone, so adding is a load and a store without a lock prefix;
//! the control thread reads them whenever it likes and sees each cell whole.

mod cell;
pub mod flaw;
pub mod guard;
pub mod health;

use protocol::{CloseCode, Error, Refusal, Undelivered};

use self::flaw::Flaw;
use self::guard::KeptOut;
use self::health::Health;

pub use self::cell::{Cell, Family, Label};

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Only grows; its metric ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// What one field of [`Counters`] is.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name in metrics, without the prefix `gateway_` and without `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether it only grows.
    pub form: Form,
}

/// A field's values: one, or one per label value.
#[derive(Debug)]
pub enum Sample {
    /// A single number.
    One(u64),
    /// Label name, then label value and number each.
    Split(&'static str, Vec<(&'static str, u64)>),
}

/// How a kind of field is read.
trait Field {
    fn sample(&self) -> Sample;
}

impl Field for Cell {
    fn sample(&self) -> Sample {
        Sample::One(self.get())
    }
}

impl<L: Label> Field for Family<L> {
    fn sample(&self) -> Sample {
        let mut values = Vec::new();
        self.each(|name, value| values.push((name, value)));
        Sample::Split(L::LABEL, values)
    }
}

/// Declares the cells: one line per number, `name: Form, "help";` or `name: Form by Label, "help";`.
macro_rules! counters {
    ($($name:ident: $form:ident $(by $label:ty)?, $help:literal;)+) => {
        /// All numbers of one worker.
        #[derive(Debug, Default)]
        #[repr(align(128))] // two cache lines of its own, so that no worker's stores slow another
        pub struct Counters {
            $(#[doc = $help] pub $name: counters!(@type $($label)?),)+
            /// How the worker fares with each endpoint, in the order of the config.
            pub endpoints: Box<[Health]>,
            /// Whom it has kept out of each listener, in the order of the config.
            pub listeners: Box<[KeptOut]>,
        }

        impl Counters {
            /// The numbers of a worker of a gateway with so many endpoints and listeners.
            #[must_use]
            pub fn new(endpoints: usize, listeners: usize) -> Self {
                Self {
                    endpoints: (0..endpoints).map(|_| Health::default()).collect(),
                    listeners: (0..listeners).map(|_| KeptOut::default()).collect(),
                    ..Self::default()
                }
            }

            /// What the fields are, in their order.
            pub const METRICS: &'static [Metric] =
                &[$(Metric { name: stringify!($name), help: $help, form: Form::$form },)+];

            /// The values now, in the same order.
            #[must_use]
            pub fn samples(&self) -> Vec<Sample> {
                vec![$(Field::sample(&self.$name),)+]
            }
        }
    };
    (@type) => { Cell };
    (@type $label:ty) => { Family<$label> };
}

counters! {
    turns: Counter, "Turns of the worker's loop.";
    links_accepted: Counter, "Connections accepted from clients.";
    accepts_parked: Gauge, "Accepts that wait in the kernel for connections.";
    links_max: Gauge, "Links a worker has places for.";
    link_places_left: Gauge, "Places for links that are left.";
    links_forwarded: Counter, "Links of which a balancer has said whose they are.";
    balancer_checks: Counter, "Connections that a balancer made for itself, to see whether the gateway is there.";
    links_banned: Counter, "Links ended because a list has come to deny their address or user.";
    crowds: Counter, "Times an address came to have so many authenticated links as admission.crowd says.";
    kept_out_of_few: Counter, "Times that most of a thousand connections that were kept out had come from four addresses or fewer.";
    accept_failures: Counter, "Accepts that the kernel refused.";
    links_lost: Counter, "Links whose peer ended or broke them without a close frame.";
    links_closed: Counter, "Links whose socket was closed, for whatever reason.";
    links: Gauge, "Links with a socket, strangers included.";
    strangers: Gauge, "Links that are not authenticated yet, without those that loopback_exempt exempts.";
    links_lingering: Gauge, "Closing links whose input is still read.";
    sessions: Gauge, "Authenticated sessions.";
    sessions_detached: Gauge, "Sessions whose link is gone and that wait for the next one.";
    sessions_resumed: Counter, "Sessions that went on with another link.";
    sessions_not_resumed: Counter, "Links that asked for a session and got a new one: it was over, or they did not know it.";
    sessions_outrun: Counter, "Links that came for a session after a later one of their client.";
    sessions_expired: Counter, "Sessions that waited in vain.";
    sessions_evicted: Counter, "Sessions ended while they waited, because there were sessions.detached.";
    pushes_owed: Gauge, "Pushes of class 1 that sessions are owed.";
    pushes_owed_bytes: Gauge, "Bytes of memory of their bodies, and of those of parts of packages that wait.";
    pushes_delivered: Counter, "Pushes of class 1 that applications have taken.";
    pushes_again: Counter, "Pushes of class 1 that were sent again.";
    answers_remembered: Gauge, "Requests that have ended and are remembered, for clients that send them again.";
    answers_remembered_bytes: Gauge, "Bytes of memory of their answers.";
    answers_forgotten: Counter, "Such requests forgotten, to make room.";
    requests_repeated: Counter, "Requests sent again that ran still or had been answered: no backend saw them once more.";
    requests_answered_before: Counter, "Requests sent again whose answer was no longer kept.";
    acks_asked: Counter, "Clients asked how far they are.";
    takeovers_remembered: Gauge, "Replaced logins that may not come back yet.";
    takeovers_forgotten: Counter, "Replaced logins forgotten early, to make room.";
    logins_remembered: Gauge, "Users of whom it is known how often they log in.";
    revocations_remembered: Gauge, "Users whose earlier tickets are worth nothing.";
    revocations_forgotten: Counter, "Such users forgotten early, to make room: their tickets are good again.";
    revoked_logins_remembered: Gauge, "Single logins that are worth nothing.";
    revoked_logins_forgotten: Counter, "Such logins forgotten early, to make room: they are good again.";
    throttles: Gauge, "Users slowed down by backends.";
    throttles_refused: Counter, "Users that were not slowed down, as limits.throttles are already.";
    handshakes: Counter, "Handshakes that succeeded.";
    handshakes_resumed: Counter, "Handshakes that succeeded by ticket.";
    handshakes_waiting: Gauge, "Complete hellos that wait for the handshake budget.";
    xx_handshakes: Gauge, "Handshakes of XX that wait for the client's second message.";
    xx_handshakes_evicted: Counter, "Such handshakes whose links were closed because there were limits.xx_handshakes.";
    clear_replies: Counter, "Hellos answered in clear: a version, suite or ticket not served here, or a retired key.";
    clear_replies_busy: Counter, "Complete hellos whose clients were asked to come back later.";
    handshakes_over_share: Counter, "Turns that left complete hellos waiting, as the share for handshakes was used up.";
    hellos_remembered: Gauge, "Hellos with tickets that would not be answered again.";
    strangers_evicted: Counter, "Strangers closed because their pool was full.";
    authentications: Counter, "Authentications that succeeded.";
    authentications_in_flight: Gauge, "Tokens at a backend that judges them.";
    authentications_failed: Counter, "Authentications that were refused.";
    tokens_verified: Counter, "Signed tokens whose signature was verified.";
    tokens_waiting: Gauge, "Signed tokens that wait to be verified.";
    tokens_remembered: Gauge, "Signed tokens that need not be verified again.";
    token_flaws: Counter by Flaw, "Signed tokens that were refused for this reason.";
    tokens_renewed: Counter, "Tokens that prolonged a link.";
    sends_out: Counter, "Sends to clients: the frames of one turn leave in one.";
    bytes_in: Counter, "Bytes received from clients.";
    bytes_out: Counter, "Bytes sent to clients.";
    frames_in: Counter, "Frames received from clients.";
    frames_out: Counter, "Frames queued for clients.";
    pings: Counter, "Pings answered.";
    overload_level: Gauge, "Level of the overload ladder: 0 calm to 5, which accepts nothing.";
    overload_changes: Counter, "Changes of that level.";
    overload_memory_percent: Gauge, "Memory of the process in hundredths of its ceiling, as the ladder sees it.";
    overload_lag_percent: Gauge, "Length of turns in hundredths of `lag` of `[overload]`.";
    overload_queues_percent: Gauge, "The fullest of the queues that all links share, in hundredths.";
    limit_classes_unknown: Counter, "Logins of a class of accounts that the config does not know.";
    warnings: Counter, "Warnings to clients that they will be closed if they go on like this.";
    links_paused: Gauge, "Links that are not read for a while since they have said too much.";
    pauses: Counter, "Links that were not read for a while since they had said too much.";
    glitches: Counter, "Frames of kinds that are unknown or not served.";
    requests: Counter, "Requests received.";
    requests_in_flight: Gauge, "Requests at backends.";
    requests_parked: Gauge, "Requests that wait for credit.";
    requests_parked_bytes: Gauge, "Bytes of requests that wait for credit.";
    responses: Counter, "Responses handed to links.";
    requests_unknown: Counter, "Requests whose outcome is unknown: their stream broke or their time passed.";
    pushes: Counter, "Pushes queued for links.";
    package_parts: Gauge, "Parts of packages that wait for those before them.";
    package_parts_bytes: Gauge, "Bytes of memory of their bodies.";
    package_gaps: Counter, "Parts delivered although some before them were missing.";
    pushes_dropped: Counter, "Pushes of class 0 dropped from the queue of a link that reads slowly, to make room for later ones.";
    backend_flaws: Counter, "Frames of backends about one link that had a field out of its bounds.";
    backend_oversteps: Counter, "Frames of backends beyond their capabilities: each ended its stream.";
    sanctions: Counter, "Bans, ends of bans and throttles that backends asked for.";
    sanctions_lost: Counter, "Bans and ends of bans that were dropped, as too many waited to be written down.";
    outbox_bytes: Gauge, "Bytes of buffers with what is queued for links or on its way to them.";
    partial_bytes: Gauge, "Bytes of buffers with incomplete records and frames of authenticated links.";
    stranger_bytes: Gauge, "Bytes of buffers with what links that are not authenticated have sent.";
    idle_buffer_bytes: Gauge, "Bytes of idle message buffers.";
    streams: Gauge, "Streams to backends that are open.";
    streams_opened: Counter, "Streams opened.";
    streams_lost: Counter, "Streams that ended.";
    stream_outbox_bytes: Gauge, "Bytes queued for backends.";
    stream_bytes_in: Counter, "Bytes received from backends.";
    stream_bytes_out: Counter, "Bytes sent to backends.";
    letters_out: Counter, "Letters sent to other workers.";
    letters_full: Counter, "Letters that found the other worker's queue full.";
    letters_dropped: Counter, "Kicks, throttles and reports of undelivered pushes dropped because too many letters waited.";
    letters_waiting: Gauge, "Letters in this worker's queue, and to itself.";
    letters_unsent: Gauge, "Letters that wait for room in another worker's queue.";
    closed: Counter by CloseCode, "Links closed with this code.";
    closed_other: Counter, "Links closed with a code that a backend or client gave and this version does not know.";
    errors: Counter by Error, "Rules broken by peers.";
    refusals: Counter by Refusal, "Requests refused for this reason.";
    undelivered: Counter by Undelivered, "Pushes not delivered for this reason, of all classes.";
    undelivered_kept: Counter by Undelivered, "Pushes of class 1 among them.";
    driver_system_calls: Counter, "System calls on the data path.";
    driver_completions: Counter, "Completions taken from the kernel.";
    driver_starved: Counter, "Receives that ended because the pool was empty.";
    driver_overflows: Counter, "Overflows of the completion queue.";
}

/// Labels whose values are a table of codes.
macro_rules! code_label {
    ($name:ident, $label:literal) => {
        impl Label for $name {
            const LABEL: &'static str = $label;

            fn names() -> Vec<&'static str> {
                Self::ALL.iter().map(|code| code.name()).collect()
            }

            #[inline]
            fn index(&self) -> usize {
                // Codes are numbered from 1 without gaps; a test holds them to it.
                *self as usize - 1
            }
        }
    };
}

code_label!(CloseCode, "code");
code_label!(Refusal, "reason");
code_label!(Undelivered, "reason");

/// Names of [`Error`]; one that is missing here counts as the last.
const ERRORS: &[&str] = &[
    "magic",
    "preamble",
    "gate",
    "version",
    "suite",
    "retired_key",
    "handshake_length",
    "handshake",
    "ticket",
    "replay",
    "downgrade",
    "rejected",
    "early",
    "record_empty",
    "record_length",
    "record",
    "frame_length",
    "frame_empty",
    "frame_encoding",
    "field",
    "unexpected",
    "credit",
    "glitches",
    "partial_evicted",
    "handshake_timeout",
    "auth_timeout",
    "heartbeat_timeout",
    "stalled",
    "other",
];

impl Label for Error {
    const LABEL: &'static str = "error";

    fn names() -> Vec<&'static str> {
        ERRORS.to_vec()
    }

    fn index(&self) -> usize {
        let name = self.name();
        ERRORS.iter().position(|known| *known == name).unwrap_or(ERRORS.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_counts_in_its_own_cell() {
        fn check<L: Label + Copy>(all: &[L], name: impl Fn(L) -> &'static str) {
            let family = Family::<L>::default();
            for (i, code) in all.iter().enumerate() {
                family.of(*code).add(i as u64 + 1);
            }
            let Sample::Split(_, samples) = family.sample() else { panic!("a family is split") };
            let expected: Vec<_> = all.iter().enumerate().map(|(i, c)| (name(*c), i as u64 + 1)).collect();
            assert_eq!(samples, expected);
        }
        check(CloseCode::ALL, CloseCode::name);
        check(Refusal::ALL, Refusal::name);
        check(Undelivered::ALL, Undelivered::name);
    }

    #[test]
    fn errors_count_by_name() {
        let counters = Counters::default();
        counters.errors.of(Error::Gate).add(2);
        counters.errors.of(Error::RecordLength(70_000)).add(3);
        let at = Counters::METRICS.iter().position(|metric| metric.name == "errors").unwrap();
        let Sample::Split("error", samples) = &counters.samples()[at] else { panic!("errors are split") };
        assert_eq!(samples.iter().filter(|(_, n)| *n != 0).count(), 2);
        assert!(samples.contains(&("gate", 2)) && samples.contains(&("record_length", 3)));
    }

    #[test]
    fn names_are_unique_and_match_the_samples() {
        let mut names: Vec<_> = Counters::METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), Counters::default().samples().len());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Counters::METRICS.len());
    }

    #[test]
    fn gauges_go_down_again() {
        let counters = Counters::default();
        counters.links.add(5);
        counters.links.sub(2);
        assert_eq!(counters.links.get(), 3);
    }
}
