//! The keys of the file, table by table. Everything about a key stands here and nowhere else.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use driver::Endpoint;
use ipnet::IpNet;
use protocol::noise::{PublicKey, Suite};

use super::NextKey;
use super::block::AddressBlock;
use super::capabilities::Capability;
use super::guarding::{BytesOf, RateOf, Trials};
use super::keys_and_suites::{LinkSuite, NextKeyFrom, PublicHex, StreamSuite};
use super::section::section;
use super::value::{
    Address, AddressOrOff, Backend, Count, File, Flag, ListOf, Name, OneOf, Optional, ShortSpan, Size,
    SocketFile, Span, Text, Word,
};
use crate::counters::guard::Guards;
use crate::rate::Rate;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600_000;

/// What listeners may have of their own lies within the same bounds as what all have.
const STRANGERS_PER_ADDRESS: RangeInclusive<u64> = 1..=255;
const HANDSHAKE_SHARE: RangeInclusive<u64> = 1..=100;
const LINKS_PER_ADDRESS: RangeInclusive<u64> = 1..=1_048_575;

/// Slots of a worker at most: a link id has 20 bits for them.
pub(super) const SLOTS_MAX: u64 = 1 << 20;
/// Workers at most: a link id has 12 bits for them.
pub(super) const WORKERS_MAX: u64 = 1 << 12;

/// What one core may have of its own lies within the same bounds as what all have.
const SUBMISSIONS: RangeInclusive<u64> = 16..=32_768;
const COMPLETIONS: RangeInclusive<u64> = 16..=65_536;
const BATCH_WAIT: RangeInclusive<u64> = 0..=10_000;
const BATCH_LEAST: RangeInclusive<u64> = 2..=1024;
const LINK_BUFFERS: RangeInclusive<u64> = 16..=32_768;
const LINK_BUFFER_LEN: RangeInclusive<u64> = KIB..=64 * KIB;
const STREAM_BUFFERS: RangeInclusive<u64> = 4..=4096;
const STREAM_BUFFER_LEN: RangeInclusive<u64> = 4 * KIB..=MIB;
const PARKED_ACCEPTS: RangeInclusive<u64> = 1..=64;
const HANDSHAKES_PER_TURN: RangeInclusive<u64> = 1..=1024;

section! {
    /// Keys that stand above the first table.
    pub(super) Node {
        /// Number of workers, each a thread with its own ring. 0 means one per `[[core]]`, or, without any, one
        /// per CPU this process may use. Only the slots of a worker cost memory.
        workers: usize as Count = "0" in 0..=WORKERS_MAX, Restart, "see [[core]] slots";
    }
}

section! {
    /// One worker's place, and what it has that others have not.
    pub(super) CoreKeys {
        /// CPU the worker's thread is bound to. Absent: CPUs in turn.
        cpu: Option<usize> as Optional<Count> = "" in 0..=65_535, Restart, "none";
        /// Sockets of this worker: links, parked accepts and streams together. Absent: the limit of open files
        /// (`RLIMIT_NOFILE`), at most 20000, because the kernel bounds each ring's table by it.
        slots: Option<usize> as Optional<Count> = "" in 64..=SLOTS_MAX, Restart, "750 B of state and 4.2 KiB of kernel memory each";
        /// Names of the listeners this worker accepts from. Absent: all.
        listeners: Option<Vec<String>> as Optional<ListOf<Name>> = "", Restart, "none";
        /// Absent: `submissions` of `[ring]`.
        submissions: Option<usize> as Optional<Count> = "" in SUBMISSIONS, Restart, "as there";
        /// Absent: `completions` of `[ring]`.
        completions: Option<usize> as Optional<Count> = "" in COMPLETIONS, Restart, "as there";
        /// Absent: `batch_wait` of `[ring]`.
        batch_wait: Option<Duration> as Optional<ShortSpan> = "" in BATCH_WAIT, Restart, "none";
        /// Absent: `batch_least` of `[ring]`.
        batch_least: Option<usize> as Optional<Count> = "" in BATCH_LEAST, Restart, "none";
        /// Absent: `link_buffers` of `[receive]`.
        link_buffers: Option<usize> as Optional<Count> = "" in LINK_BUFFERS, Restart, "as there";
        /// Absent: `link_buffer_len` of `[receive]`.
        link_buffer_len: Option<usize> as Optional<Size> = "" in LINK_BUFFER_LEN, Restart, "as there";
        /// Absent: `stream_buffers` of `[receive]`.
        stream_buffers: Option<usize> as Optional<Count> = "" in STREAM_BUFFERS, Restart, "as there";
        /// Absent: `stream_buffer_len` of `[receive]`.
        stream_buffer_len: Option<usize> as Optional<Size> = "" in STREAM_BUFFER_LEN, Restart, "as there";
        /// Absent: `parked_accepts` of `[receive]`.
        parked_accepts: Option<usize> as Optional<Count> = "" in PARKED_ACCEPTS, Restart, "as there";
        /// Absent: `handshakes_per_turn` of `[limits]`.
        handshakes_per_turn: Option<usize> as Optional<Count> = "" in HANDSHAKES_PER_TURN, Live, "none";
    }
}

section! {
    /// An address clients connect to, with the key and the suites they find there.
    pub(super) ListenerKeys {
        /// The name cores, metrics and `gateway status` use.
        name: String as Name = "", Restart, "none";
        /// Address and port. All workers that accept from it share one socket, so that whoever has room takes the next client.
        address: SocketAddr as Address = "'0.0.0.0:7400'", Restart, "none";
        /// File with a static private key of this listener's own, as `gateway keygen` writes it. Absent: `server` of `[keys]`.
        key: Option<PathBuf> as Optional<File> = "", Restart, "none";
        /// Suites clients may use here. Absent: `allowed` of `[suites]`. Listeners with different suites need different keys. XX, for
        /// clients without a server key, stands alone: on a listener and for a key that serve nothing else, for tokens that name
        /// the client's key.
        suites: Option<Vec<Suite>> as Optional<ListOf<LinkSuite>> = "", Live, "none";
        /// What `next` of `[keys]` is, for the listener's own key.
        next: Vec<NextKey> as ListOf<NextKeyFrom> = "[]", Live, "40 B each";
        /// What `retired` of `[keys]` is, for the listener's own key.
        retired: Vec<PublicKey> as ListOf<PublicHex> = "[]", Live, "200 B each";
        /// Connections the kernel keeps until a worker accepts them; `net.core.somaxconn` caps it.
        backlog: usize as Count = "65535" in 1..=65_535, Restart, "1 KiB of kernel memory each";
        /// `SO_SNDBUF` of each link; the kernel doubles it for its own bookkeeping.
        send_buffer: usize as Size = "'64KiB'" in 4 * KIB..=16 * MIB, Restart, "twice this per link whose peer reads slowly, in the kernel";
        /// `SO_RCVBUF` of each link; the kernel doubles it for its own bookkeeping.
        receive_buffer: usize as Size = "'64KiB'" in 4 * KIB..=16 * MIB, Restart, "twice this per link that sends faster than it is read, in the kernel";
        /// Absent: `strangers_per_address` of `[admission]`.
        strangers_per_address: Option<usize> as Optional<Count> = "" in STRANGERS_PER_ADDRESS, Live, "none";
        /// Absent: `accepts_per_address` of `[admission]`.
        accepts_per_address: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Absent: `links_per_address` of `[admission]`.
        links_per_address: Option<usize> as Optional<Count> = "" in LINKS_PER_ADDRESS, Live, "none";
        /// Connections by this listener, of those that do not come to authenticate. Absent: only `accepts` of `[admission]` counts.
        accepts: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Hundredths of a core for handshakes of those who come here; not more than `handshake_share` of `[limits]`. Absent: as much.
        handshake_share: Option<usize> as Optional<Count> = "" in HANDSHAKE_SHARE, Live, "none";
        /// Absent: `frames_per_link` of `[rates]`.
        frames_per_link: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Absent: `control_per_link` of `[rates]`.
        control_per_link: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Absent: `bytes_per_link` of `[rates]`.
        bytes_per_link: Option<Rate> as Optional<BytesOf> = "", Live, "none";
        /// Absent: `frames_per_user` of `[rates]`.
        frames_per_user: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Absent: `bytes_per_user` of `[rates]`.
        bytes_per_user: Option<Rate> as Optional<BytesOf> = "", Live, "none";
        /// Absent: `overruns_per_link` of `[rates]`.
        overruns_per_link: Option<Rate> as Optional<RateOf> = "", Live, "none";
        /// Absent: `dry_run` of `[admission]`.
        dry_run: Option<Guards> as Optional<Trials> = "", Live, "none";
        /// Whether balancers say whose a connection is, in a header of the PROXY protocol, version 2. "required": only they may
        /// connect, and each connection begins with one. "optional": they may send one, and others come without.
        proxy_protocol: ProxyProtocol as OneOf<ProxyProtocol> = "'off'", Live, "a header that is not complete, of at most 1072 B, in stranger_bytes";
        /// Addresses and blocks of those balancers, 64 at most. Whoever sends from one of them may say that it is anybody.
        balancers: Vec<IpNet> as ListOf<AddressBlock> = "[]", Live, "18 B each, per worker";
    }
}

/// The only listener of a file that has none.
pub(super) const LISTENER_UNWRITTEN: &str = "name = 'clients'";

section! {
    /// Keys of this gateway.
    pub(super) KeyFiles {
        /// File with the gateway's static private key, as `gateway keygen` writes it: that of every listener without one of
        /// its own. Clients pin its public half.
        server: PathBuf as File = "", Restart, "none";
        /// Public keys this gateway will have, each with the time from which on it is used: every client that logs in learns
        /// them and accepts them from then on. List a new key here for as long as clients stay away, then make it `server`,
        /// and list the old one as retired.
        next: Vec<NextKey> as ListOf<NextKeyFrom> = "[]", Live, "40 B each";
        /// Public keys this gateway had before: a client that still uses one is told the current key's id.
        retired: Vec<PublicKey> as ListOf<PublicHex> = "[]", Live, "200 B each";
        /// Files with keys that seal tickets; the first seals, all open. Several nodes that share them accept each
        /// other's tickets. Without any, a key is made at start and tickets end with the process.
        tickets: Vec<PathBuf> as ListOf<File> = "[]", Live, "100 B each";
    }
}

section! {
    /// What clients may propose.
    pub(super) SuiteKeys {
        /// Handshake suites clients may use, unless the listener says otherwise. Without the NNpsk0 suites no tickets are given out.
        allowed: Vec<Suite> as ListOf<LinkSuite> = "['NK_ChaChaPoly', 'NK_AESGCM', 'IK_ChaChaPoly', 'IK_AESGCM', 'NNpsk0_ChaChaPoly', 'NNpsk0_AESGCM']", Live, "none";
        /// Suites that will be taken off `allowed` and off those of listeners. Clients are told of the others, and never use a
        /// worse one than the best they were told of: list a suite here for as long as clients stay away, then take it off
        /// all lists.
        leaving: Vec<Suite> as ListOf<LinkSuite> = "[]", Live, "none";
    }
}

section! {
    /// What one link, and all links of a worker together, may take.
    pub Limits {
        /// Longest frame a client may send. Backends may send 4 KiB more, and 68 KiB at least where outbox_hard and letter_bytes are more.
        frame_len_max: usize as Size = "'64KiB'" in 4 * KIB..=MIB, Restart, "one per link whose frame is incomplete, bounded by partial_bytes";
        /// Longest record (ciphertext) an authenticated client may send; before that it is 4 KiB.
        record_len_max: usize as Size = "'16KiB'" in 4 * KIB..=65_535, Restart, "one per link whose record is incomplete, bounded by partial_bytes";
        /// Bytes of buffers with incomplete records and frames that a worker keeps of authenticated links; over it the link
        /// of the oldest one is closed.
        partial_bytes: usize as Size = "'8MiB'" in 64 * KIB..=4 * GIB, Restart, "itself, per worker";
        /// Links of a worker that are not authenticated yet; over it the one that has waited longest is closed.
        strangers: usize as Count = "4096" in 16..=SLOTS_MAX, Restart, "bounded by stranger_bytes";
        /// Bytes of buffers with what they have sent: hellos, and frames held until authentication. Over it the oldest one is
        /// closed.
        stranger_bytes: usize as Size = "'8MiB'" in 64 * KIB..=4 * GIB, Restart, "itself, per worker";
        /// Time from accept to a complete hello.
        handshake_deadline: Duration as Span = "'5s'" in 100..=60 * SECOND, Live, "none";
        /// Handshakes a worker computes per turn, unless its `[[core]]` says otherwise; the rest wait, so that established
        /// links keep their latency.
        handshakes_per_turn: usize as Count = "4" in HANDSHAKES_PER_TURN, Live, "none";
        /// Hundredths of a core that handshakes may take, at what they cost nominally, while messages come: where one was heard in
        /// the last 50 ms. Any other core makes as many as it can.
        handshake_share: usize as Count = "30" in HANDSHAKE_SHARE, Live, "none";
        /// Completions of the kernel a worker learns of per turn; the rest waits for the next one, so that a storm does not make
        /// a turn long. Nothing ends for silence before all is learned that had come by then.
        completions_per_turn: usize as Count = "2048" in 64..=65_536, Live, "none";
        /// Complete hellos of a worker that wait for their handshake; over it clients are asked to come back later.
        handshakes_waiting: usize as Count = "4096" in 16..=SLOTS_MAX, Restart, "none beyond their links";
        /// Handshakes of XX of a worker that wait for the client's second message; over it the oldest one's link is closed. Only for
        /// listeners with XX suites.
        xx_handshakes: usize as Count = "256" in 1..=65_536, Restart, "2 KiB each, on workers with such listeners";
        /// Time from the handshake to a successful authentication.
        auth_deadline: Duration as Span = "'5s'" in 100..=300 * SECOND, Live, "none";
        /// Bytes queued behind what is on its way to a link, above which it must not stand still for `outbox_soft_time`.
        outbox_soft: usize as Size = "'64KiB'" in 4 * KIB..=64 * MIB, Live, "bounded by outbox_pool";
        /// How long a link with more than `outbox_soft` in its queue may take no byte before it is closed as a slow reader.
        outbox_soft_time: Duration as Span = "'10s'" in 100..=HOUR, Live, "none";
        /// Whether pushes that are delivered at most once make no slow reader: where they would have to wait above `outbox_soft`, the
        /// oldest that have not begun to be sent are dropped, unreported, and counted (`gateway_pushes_dropped_total`).
        outbox_drops_oldest: bool as Flag = "false", Live, "none";
        /// Bytes queued for a link at most behind what is on its way to it; one more byte closes it as a slow reader. An eighth of it, 1 KiB
        /// at most, is kept for what carries no payload.
        outbox_hard: usize as Size = "'256KiB'" in 8 * KIB..=64 * MIB, Live, "bounded by outbox_pool";
        /// Bytes of buffers with what is queued for all links of a worker or on its way; over it the links with the most are
        /// closed until an eighth of it is free.
        outbox_pool: usize as Size = "'64MiB'" in MIB..=64 * GIB, Restart, "itself, per worker";
        /// How long the kernel still tries to deliver what a closed link or stream has not taken: its `TCP_USER_TIMEOUT`, set
        /// when it is closed. None is set before: it would end living peers that stop reading for a while.
        close_timeout: Duration as Span = "'5s'" in SECOND..=HOUR, Restart, "send_buffer of each closed link that does not read";
        /// Unknown frames and other oddities a link may send before it is closed.
        glitches: usize as Count = "100" in 1..=255, Live, "none";
        /// Closing links of a worker whose input is still read, so that their close frame arrives. When the gateway
        /// stops it is all of them.
        lingering: usize as Count = "1024" in 1..=SLOTS_MAX, Restart, "none beyond their slots";
        /// Devices of one user that may be linked at once, each once; one more replaces the one that logged in first.
        devices: usize as Count = "16" in 1..=1024, Restart, "none beyond their links";
        /// Replaced logins a worker remembers, so that the loser of a takeover does not take over again.
        tombstones: usize as Count = "16384" in 16..=16_777_216, Restart, "88 B each";
        /// How long a replaced login is remembered.
        tombstone_time: Duration as Span = "'10m'" in 600 * SECOND..=24 * HOUR, Restart, "none beyond their number";
        /// Users whose logins of the past are revoked that a worker remembers, each for as long as a ticket can be good, or a token
        /// that the gateway verifies itself (`token_lifetime_max` of `[auth]`).
        revocations: usize as Count = "16384" in 16..=16_777_216, Restart, "128 B each";
        /// Single logins that are revoked, by a token's id or the name a backend gave them, that a worker remembers for as long.
        revoked_logins: usize as Count = "16384" in 16..=16_777_216, Restart, "128 B each";
        /// Users whom backends have slowed down that are remembered, per worker. One more than that is not slowed down.
        throttles: usize as Count = "4096" in 16..=1_048_576, Restart, "288 B each";
        /// Hellos with tickets a worker remembers, so that a recorded one is not answered again.
        replay_filter: usize as Count = "65536" in 64..=16_777_216, Restart, "32 B each";
        /// Letters of other workers that may wait for one worker; one more is not sent, and its push is undelivered.
        letters: usize as Count = "16384" in 64..=1_048_576, Restart, "384 B each";
        /// Bytes of pushes among them; one push more is not sent either.
        letter_bytes: usize as Size = "'8MiB'" in 64 * KIB..=GIB, Restart, "itself, per worker";
        /// Bytes of idle message buffers a worker keeps for the next messages.
        idle_buffers: usize as Size = "'8MiB'" in 0..=GIB, Restart, "itself, per worker";
        /// Peers on loopback addresses are exempt from `strangers`, from all limits per address and from `logins_per_user`. For
        /// development and load tests on one machine.
        loopback_exempt: bool as Flag = "false", Live, "strangers are bounded by the slots then";
    }
}

section! {
    /// What addresses may cost before they authenticate. One address is an IPv4 address or an IPv6 /64. A connection that comes to
    /// authenticate costs nothing in the end, so that a crowd of users behind one address gets in; whatever is too much is
    /// closed at once.
    pub Admission {
        /// Links from one address that are not authenticated, at a time.
        strangers_per_address: usize as Count = "64" in STRANGERS_PER_ADDRESS, Live, "none";
        /// Connections from one address, of those that do not come to authenticate.
        accepts_per_address: Rate as RateOf = "'20/s burst 40'", Live, "none";
        /// What the /24 (IPv6: /48) around an address may have of both, as a multiple of that.
        prefix_factor: usize as Count = "16" in 1..=16, Live, "none";
        /// Links from one address that are authenticated, at a time.
        links_per_address: usize as Count = "16384" in LINKS_PER_ADDRESS, Live, "none";
        /// Number of such links of one address at which it is told that it has become a crowd.
        crowd: usize as Count = "1000" in LINKS_PER_ADDRESS, Live, "none";
        /// Connections from everywhere by all listeners, of those that do not come to authenticate.
        accepts: Rate as RateOf = "'20000/s burst 40000'", Live, "none";
        /// Addresses that are known at a time; for those that had to make room, the block around them counts. A quarter as many
        /// blocks are known.
        addresses: usize as Count = "65536" in 1024..=16_777_216, Restart, "20 B each";
        /// Logins of one user, over all of its devices; one more is told to try later.
        logins_per_user: Rate as RateOf = "'10/m burst 20'", Restart, "none";
        /// For how long a user is banned who tries to log in ten times as often. Links that stand are not ended.
        login_ban: Duration as Span = "'5m'" in SECOND..=24 * HOUR, Live, "none";
        /// Users of whom a worker knows how often they log in; for one more, the one it has known for longest is forgotten.
        logins_remembered: usize as Count = "16384" in 16..=16_777_216, Restart, "96 B each";
        /// Guards that count whom they would keep out, and let them in: `true` for all that can be tried out.
        dry_run: Guards as Trials = "false", Live, "none";
    }
}

section! {
    /// Which addresses may come in. Of all blocks that hold an address, the one with the longest prefix decides; of equally
    /// long ones, the one that denies.
    pub Lists {
        /// Files of addresses that are let in without being counted: one address or block a line, behind it `until` and a day
        /// if it is to end, and behind # whatever you like.
        allow: Vec<PathBuf> as ListOf<File> = "[]", Restart, "about 16 B for each block, and as much again while they are read again";
        /// Files of addresses that are not let in, written like those of `allow`.
        deny: Vec<PathBuf> as ListOf<File> = "[]", Restart, "about 16 B for each block, and as much again while they are read again";
        /// Files of users, one id a line: if there are any, nobody else may log in.
        allow_users: Vec<PathBuf> as ListOf<File> = "[]", Restart, "about 100 B for each user, and as much again while they are read again";
        /// Files of users who may not log in.
        deny_users: Vec<PathBuf> as ListOf<File> = "[]", Restart, "about 100 B for each user, and as much again while they are read again";
        /// Folder of the journal in which bans are kept that are set while the gateway runs. It has to be there, and is this
        /// gateway's alone. Absent: such bans are forgotten when the gateway ends.
        journal: Option<PathBuf> as Optional<File> = "", Restart, "none";
        /// Bans that may be set while the gateway runs.
        bans: usize as Count = "65536" in 16..=1_048_576, Restart, "1700 B each";
        /// Shortest prefix of IPv4 that a backend may ban or throttle: by mistake that is one network and not everybody.
        backend_prefix_v4: usize as Count = "16" in 1..=32, Restart, "none";
        /// Shortest prefix of IPv6 that a backend may ban or throttle.
        backend_prefix_v6: usize as Count = "32" in 1..=128, Restart, "none";
        /// Blocks of addresses that backends may have slowed down at a time. One more than that is not slowed down. They are
        /// forgotten when the gateway ends.
        throttled_blocks: usize as Count = "1024" in 16..=65_536, Restart, "1700 B each";
    }
}

section! {
    /// How often clients show that they live.
    pub Heartbeat {
        /// Shortest interval a client may choose.
        min: Duration as Span = "'60s'" in SECOND..=HOUR, Live, "none";
        /// Longest interval a client may choose. A link is closed after twice its interval without a frame.
        max: Duration as Span = "'300s'" in SECOND..=HOUR, Live, "none";
        /// Interval of clients that choose none.
        default: Duration as Span = "'120s'" in SECOND..=HOUR, Live, "none";
    }
}

section! {
    /// The ring between a worker and the kernel, unless its `[[core]]` says otherwise.
    pub(super) RingKeys {
        /// Entries of the queue of operations; a power of two. What one flush makes of requests at most.
        submissions: usize as Count = "512" in SUBMISSIONS, Restart, "320 B of kernel memory each, per worker";
        /// Entries of the queue of completions; a power of two, and not less than `submissions`. A storm of reconnects is what
        /// it is sized for: what does not fit is kept by the kernel, slowly.
        completions: usize as Count = "16384" in COMPLETIONS, Restart, "16 B of kernel memory each, per worker";
        /// How long a worker that had much to do waits for `batch_least` completions before one is enough: fewer system calls
        /// for that much more latency. 0us: not at all. Takes Linux 6.12, and pays only while workers do not share CPUs.
        batch_wait: Duration as ShortSpan = "'0us'" in BATCH_WAIT, Restart, "none";
        /// Completions that make a turn a busy one, and that the wait after it hopes for.
        batch_least: usize as Count = "8" in BATCH_LEAST, Restart, "none";
    }
}

section! {
    /// How workers accept and receive, the buffers and accepts unless the `[[core]]` says otherwise.
    pub Receive {
        /// Receive buffers for links, per worker; a power of two, as the kernel wants it.
        link_buffers: usize as Count = "1024" in LINK_BUFFERS, Restart, "itself × link_buffer_len, per worker";
        /// Bytes of each.
        link_buffer_len: usize as Size = "'2KiB'" in LINK_BUFFER_LEN, Restart, "see link_buffers";
        /// Receive buffers for streams, per worker; a power of two.
        stream_buffers: usize as Count = "64" in STREAM_BUFFERS, Restart, "itself × stream_buffer_len, per worker";
        /// Bytes of each.
        stream_buffer_len: usize as Size = "'64KiB'" in STREAM_BUFFER_LEN, Restart, "see stream_buffers";
        /// Messages in a row after which a link's receive stays armed.
        promote_after: usize as Count = "4" in 1..=255, Live, "600 B of kernel memory per link so promoted";
        /// Silence after which such a link falls back to a poll.
        demote_after: Duration as Span = "'30s'" in SECOND..=HOUR, Live, "none";
        /// Accepts each worker keeps waiting in the kernel on each of its listeners, and fewer the fuller it is. A worker that
        /// stands still swallows so many connections.
        parked_accepts: usize as Count = "8" in PARKED_ACCEPTS, Restart, "one slot and 250 B each";
    }
}

section! {
    /// Requests under way from clients to backends.
    pub Requests {
        /// Requests a link may have in flight; granted in `Welcome`.
        link_count: usize as Count = "32" in 1..=65_535, Live, "bounded by node_count";
        /// Their bytes.
        link_bytes: usize as Size = "'256KiB'" in KIB..=64 * MIB, Live, "none here: they are at the backend";
        /// Requests in flight on one stream; more are refused as busy.
        stream_count: usize as Count = "16384" in 1..=1_048_576, Live, "bounded by node_count";
        /// Requests in flight on the whole node, divided evenly among the workers.
        node_count: usize as Count = "131072" in 1..=16_777_216, Restart, "96 B each";
        /// Bytes of requests that wait for credit, per route and worker; over it they are refused as busy.
        parked_bytes: usize as Size = "'1MiB'" in 0..=GIB, Restart, "itself, per route and worker";
        /// Time a backend has to answer, unless the route says otherwise; then the outcome is unknown.
        deadline: Duration as Span = "'10s'" in 10..=HOUR, Live, "none";
    }
}

section! {
    /// Who decides whether a token is good.
    pub(super) AuthKeys {
        /// "development": one shared token, and every client asserts its own user. "delegated": a backend decides. "jwt": the
        /// gateway verifies signed tokens (RFC 7519) itself.
        mode: AuthMode as OneOf<AuthMode> = "", Restart, "none";
        /// Name of the users' realm. Nodes that share keys of tickets take each other's tickets only if it is the same: users
        /// of two realms have nothing in common but perhaps their names.
        realm: String as Name = "'default'", Restart, "none";
        /// Name of the route whose backends decide, in "delegated" mode.
        route: Option<String> as Optional<Name> = "", Restart, "none";
        /// Time they have; then the client is told to try later.
        deadline: Duration as Span = "'3s'" in 10..=60 * SECOND, Live, "none";
        /// Authentications under way per worker; over it clients are told to try later.
        in_flight_max: usize as Count = "1024" in 1..=SLOTS_MAX, Restart, "192 B each; 4 KiB each in \"jwt\" mode";
        /// File with the keys that verify tokens, in "jwt" mode: a JSON Web Key Set (RFC 7517). Algorithms are EdDSA, ES256, RS256
        /// and HS256, one for each key. When the file changes its keys are in force within two seconds; one with an error changes nothing.
        keys: Option<PathBuf> as Optional<File> = "", Live, "1 KiB for each key";
        /// Who must have issued a token (`iss`). Absent: anybody whose key is in the set.
        issuer: Option<String> as Optional<Text> = "", Restart, "none";
        /// For whom a token must be (`aud`): one of these. None: only tokens that are for nobody in particular.
        audience: Vec<String> as ListOf<Text> = "[]", Restart, "none";
        /// Name of the claim that is the user's id.
        user_claim: String as Text = "'sub'", Restart, "none";
        /// Name of the claim that says what the device is: "phone", "tablet", "desktop", "web" or "other".
        device_class_claim: String as Text = "'device_class'", Restart, "none";
        /// Name of the claim that is the name of the account's `[[class]]`.
        limit_class_claim: String as Text = "'limit_class'", Restart, "none";
        /// How far the clocks of whoever issues tokens may be off.
        skew: Duration as Span = "'30s'" in 0..=600 * SECOND, Restart, "none";
        /// The longest life of tokens that whoever issues them means, from `iat` (or `nbf`, or when it is first seen) to `exp`. One
        /// that is good for longer is refused, as revocations are not remembered for longer than that.
        token_lifetime_max: Duration as Span = "'24h'" in 60 * SECOND..=8784 * HOUR, Restart, "none beyond the number of revocations";
        /// Verified tokens that a worker remembers until they end, so that a reconnect need not verify them again.
        remembered: usize as Count = "4096" in 0..=1_048_576, Restart, "512 B each, in \"jwt\" mode";
    }
}

section! {
    /// A name clients send requests to.
    pub(super) RouteKeys {
        /// The name.
        name: String as Name = "", Live, "none";
        /// Names of the endpoints that serve it.
        endpoints: Vec<String> as ListOf<Name> = "", Live, "none";
        /// Which endpoint takes a request: "user" by hash of the user, "key" by hash of the request's key, "least"
        /// the one with the fewest in flight.
        balance: Balance as OneOf<Balance> = "'user'", Live, "none";
        /// Whether one of its endpoints is told when a link opens and closes.
        presence: bool as Flag = "false", Live, "none";
        /// Time a backend has to answer. Absent: `deadline` of `[requests]`.
        deadline: Option<Duration> as Optional<Span> = "" in 10..=HOUR, Live, "none";
    }
}

section! {
    /// A backend.
    pub(super) EndpointKeys {
        /// The name routes use.
        name: String as Name = "", Live, "none";
        /// Where it listens. Each worker keeps one stream to it.
        address: Endpoint as Backend = "", Live, "none";
        /// Its public key: the stream is encrypted and both sides are proved.
        key: Option<PublicKey> as Optional<PublicHex> = "", Live, "none";
        /// No encryption. Only for Unix sockets on which the gateway's own user or root listens, and for loopback with `clear_on_loopback` of `[upstream]`.
        clear: bool as Flag = "false", Live, "none";
        /// Suite of an encrypted stream.
        suite: Suite as StreamSuite = "'KK_AESGCM'", Live, "none";
        /// What it may do: "serve", "push", "kick", "ban", "authenticate". Its stream ends if it does anything else. Absent: all but "ban",
        /// which lets it keep users and addresses out, and slow users down.
        capabilities: Option<Vec<Capability>> as Optional<ListOf<OneOf<Capability>>> = "", Live, "none";
        /// Credit for payloads the backend may have under way to each worker.
        credit_window: usize as Size = "'1MiB'" in 256 * KIB..=256 * MIB, Live, "itself per stream, in link queues, bounded by outbox_pool";
    }
}

section! {
    /// Streams to backends.
    pub(super) UpstreamKeys {
        /// File with the private key that proves this gateway to backends. Required when an endpoint has a key.
        key: Option<PathBuf> as Optional<File> = "", Restart, "none";
        /// Allows `clear` for endpoints on 127.0.0.0/8 and ::1: every local process may then pose as a backend.
        clear_on_loopback: bool as Flag = "false", Restart, "none";
        /// Bytes on their way to one backend that the gateway keeps at most, whatever credit the backend gives.
        outbox: usize as Size = "'4MiB'" in 256 * KIB..=256 * MIB, Restart, "four times itself, per stream: waiting and on its way, in buffers up to twice as large";
        /// Time from dialling to an open stream.
        dial_deadline: Duration as Span = "'5s'" in 100..=60 * SECOND, Live, "none";
        /// First pause before a lost stream is dialled again; it doubles, with jitter.
        redial_min: Duration as Span = "'100ms'" in 1..=60 * SECOND, Live, "none";
        /// Longest pause.
        redial_max: Duration as Span = "'5s'" in 10..=HOUR, Live, "none";
        /// Failures in a row (missed heartbeats, passed deadlines) after which an endpoint is left out.
        eject_after: usize as Count = "3" in 1..=1000, Live, "none";
        /// How long it is left out.
        eject_time: Duration as Span = "'10s'" in 100..=HOUR, Live, "none";
        /// Interval of heartbeats on a stream; two missed ones end it.
        heartbeat: Duration as Span = "'5s'" in 100..=HOUR, Live, "none";
    }
}

section! {
    /// How the gateway is watched and told what to do.
    pub Admin {
        /// Unix socket for `gateway status`; only the gateway's own user and root may use it. Absent: none.
        socket: Option<PathBuf> as Optional<SocketFile> = "", Restart, "none";
        /// Address of /metrics, /healthz and /readyz, or "off". It is not encrypted: keep it on loopback.
        http: Option<SocketAddr> as AddressOrOff = "'127.0.0.1:7480'", Restart, "none";
        /// Connections to each of the two; for one more, the one that has done nothing for the longest time is ended.
        connections: usize as Count = "16" in 1..=1024, Restart, "144 KiB each, for both";
        /// Time one of them has for a request and its answer.
        deadline: Duration as Span = "'5s'" in 100..=60 * SECOND, Restart, "none";
    }
}

section! {
    /// What is told on standard error.
    pub Log {
        /// "error", "warning" or "info".
        level: Level as OneOf<Level> = "'info'", Live, "none";
        /// What a core file of the gateway holds, if the system makes one: "registers" of each thread and no memory, because
        /// in memory are payload, tokens and private keys; or "memory", what `coredump_filter` said at the start (core(5)).
        core_dumps: CoreDumps as OneOf<CoreDumps> = "'registers'", Restart, "none";
    }
}

/// A closed set of words with their meanings.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $written:literal { $($(#[$doc:meta])* $word:literal $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl Word for $name {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];
            const WRITTEN: &'static str = $written;
        }

        impl $name {
            /// The word that stands for it in the file.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// Which endpoint of a route takes a request.
    Balance, "\"user\", \"key\" or \"least\"" {
        /// By hash of the user.
        "user" User,
        /// By hash of the request's key, or of the user if it has none.
        "key" Key,
        /// The one with the fewest requests in flight.
        "least" Least,
    }
}

words! {
    /// Whether balancers say whose a connection is.
    ProxyProtocol, "\"off\", \"required\" or \"optional\"" {
        /// They don't: whoever connects is a client.
        "off" Off,
        /// Only they connect, and they always do.
        "required" Required,
        /// They may, and others connect as well.
        "optional" Optional,
    }
}

words! {
    /// Who decides about tokens.
    AuthMode, "\"development\", \"delegated\" or \"jwt\"" {
        /// One shared token.
        "development" Development,
        /// A backend.
        "delegated" Delegated,
        /// The gateway, by signed tokens.
        "jwt" Jwt,
    }
}

words! {
    /// How much is told.
    Level, "\"error\", \"warning\" or \"info\"" {
        /// What needs a person.
        "error" Error,
        /// What may need one.
        "warning" Warning,
        /// Starts, stops, and state changes of backends.
        "info" Info,
    }
}

words! {
    /// What a core file holds.
    CoreDumps, "\"registers\" or \"memory\"" {
        /// No memory, which holds secrets.
        "registers" Registers,
        /// What the system would have it hold.
        "memory" Memory,
    }
}
