//! The sum of all limits: the memory a gateway can take at worst.

use std::fmt;

use protocol::buffer::Partials;
use protocol::limits::UNFINISHED_LEN_MAX;

use super::{Auth, Config, Core, Listener};

/// Bytes of state of one link in user space: link 272 and session 232, claim and maps 160, what it is owed 136, its places in the timers,
/// the driver's table and the queues of its requests 60, 40 in the list of those that are to end, and 16 in that of those
/// that are read again after a pause.
pub const LINK_BYTES: u64 = 664 + 136 + 60 + 40 + 16;
/// Bytes of one session that waits for its next link, with its claim, what it is owed, its places among those that wait, and where it
/// went in the end.
const DETACHED_BYTES: u64 = 232 + 160 + 136 + 108 + 40;
/// Bytes of one push that a session is owed, and of its body's place.
const OWED_BYTES: u64 = 48 + 48;
/// Bytes of one part of a package that waits, of its body's place, and of a package.
const PART_BYTES: u64 = 96 + 64 + 64;
/// Bytes of one report that a backend does not know.
const REPORT_BYTES: u64 = 128;
/// Bytes of a slot for reports, and of the push that has it, in the map where that is emptiest.
const SLOT_BYTES: u64 = 288;
/// Bytes of one request in flight, with its place in the tables.
const REQUEST_BYTES: u64 = 96;
/// Bytes of one authentication in flight, its device's id included.
const AUTH_BYTES: u64 = 192;
/// Bytes of one token that waits to be verified, with what stands beside it.
const TOKEN_BYTES: u64 = 4096;
/// Bytes of one verified token that is remembered: its hash twice, and what it says.
const REMEMBERED_BYTES: u64 = 512;
/// Kernel: one established TCP socket without queued bytes, and one armed poll.
const SOCKET_BYTES: u64 = 3_900 + 320;
/// Kernel: one entry of a ring's queue of operations, and the request it becomes.
const SUBMISSION_BYTES: u64 = 64 + 256;
/// Kernel: one entry of a ring's queue of completions.
const COMPLETION_BYTES: u64 = 16;
/// Stack, maps and everything else of a worker that no key governs.
const WORKER_BYTES: u64 = 4 << 20;
/// Bytes of one remembered takeover, in the map and in the order of ends.
const TOMBSTONE_BYTES: u64 = 88;
/// Bytes of one handshake that waits for its third message, with its places among them.
const BEGUN_BYTES: u64 = UNFINISHED_LEN_MAX as u64 + 128;
/// Bytes of one remembered hello.
const HELLO_BYTES: u64 = 32;
/// Bytes of one remembered revocation, in the map and twice in the order of ends.
const REVOCATION_BYTES: u64 = 128;
/// Bytes of one user who is throttled, in the map where it is emptiest and in the order, and of its id.
const THROTTLE_BYTES: u64 = 288;
/// Bytes of one user who has logged in lately, in the map and in the order.
const LOGIN_BYTES: u64 = 96;
/// Bytes of one request that is remembered, beside its answer.
const ANSWER_BYTES: u64 = 96;
/// Bytes of a session's window.
const WINDOW_BYTES: u64 = 72;
/// Bytes of one letter with its place in the queue, and its share of the buffers kept for pushes.
const LETTER_BYTES: u64 = 128 + 4096 / 16;
/// Bytes of one ban: its place in the book, its reason and whom it concerns, and twice its place in a list, where that is emptiest, as the former one is
/// freed when the last worker has the next.
const BAN_BYTES: u64 = 1700;
/// Bytes of one block that is slowed down: its place in the book and in the order of ends, by whom, and twice its place in what is
/// looked up in, for the same reason.
const SLOWED_BYTES: u64 = 1700;
/// Bytes of what workers have to tell that is not read yet: 1024 reports, of which each may have a name, a user and a reason.
const REPORTS_BYTES: u64 = 1024 * 512;
/// Bytes of a cell for an address, and of a quarter of one for the block around it.
const ADDRESS_BYTES: u64 = 16 + 4;
/// Bytes of a user's two buckets.
const RATED_BYTES: u64 = 32;
/// Buffers of one admin connection.
const ADMIN_BYTES: u64 = 72 << 10;

/// The memory a gateway can take at worst, by what takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// User space: what takes it, and its bytes over all workers.
    pub parts: Vec<(&'static str, u64)>,
    /// Kernel: sockets and rings with empty queues.
    pub kernel_idle: u64,
    /// Kernel: the same when every queue of every link is full, which takes peers that conspire.
    pub kernel_full: u64,
}

impl Ceiling {
    /// Computes it.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let workers = wide(config.cores.len());
        let streams = workers.saturating_mul(wide(config.endpoints.len()));
        let limits = &config.limits;
        let idle = wide(Partials::IDLE_BYTES_MAX);
        let of_cores = |of: &dyn Fn(&Core) -> u64| -> u64 { config.cores.iter().map(of).sum() };
        let slots = of_cores(&|core| core.slots.into());
        let receive = of_cores(&|core| {
            let pool = |count: u32, len: u32| u64::from(count) * u64::from(len);
            pool(core.link_buffers, core.link_buffer_len) + pool(core.stream_buffers, core.stream_buffer_len)
        });
        let memories = wide(limits.tombstones)
            .saturating_mul(TOMBSTONE_BYTES)
            .saturating_add(wide(limits.replay_filter).saturating_mul(HELLO_BYTES))
            .saturating_add(wide(limits.revocations + limits.revoked_logins).saturating_mul(REVOCATION_BYTES))
            .saturating_add(wide(limits.throttles).saturating_mul(THROTTLE_BYTES))
            .saturating_add(wide(config.admission.logins_remembered).saturating_mul(LOGIN_BYTES));
        let per_worker = |bytes: u64| workers.saturating_mul(bytes);
        let parts = vec![
            ("links", slots.saturating_mul(LINK_BYTES)),
            ("strangers", per_worker(wide(limits.stranger_bytes) + idle)),
            ("handshakes of XX", begun(config).saturating_mul(BEGUN_BYTES)),
            ("partial records and frames", per_worker(wide(limits.partial_bytes) + idle)),
            ("link queues", per_worker(wide(limits.outbox_pool))),
            ("receive buffers", receive),
            ("requests in flight", wide(config.requests.node_count).saturating_mul(REQUEST_BYTES)),
            (
                "parked requests",
                per_worker(wide(config.routes.len()).saturating_mul(wide(config.requests.parked_bytes))),
            ),
            ("stream queues", streams.saturating_mul(wide(config.upstream.outbox)).saturating_mul(4)),
            ("authentications in flight", per_worker(authentications(&config.auth))),
            ("links that backends know of", slots.saturating_mul(wide(config.endpoints.len())) / 8),
            ("takeovers, hellos, revocations, throttles and logins", per_worker(memories)),
            (
                "letters between workers",
                per_worker(
                    wide(limits.letters)
                        .saturating_mul(LETTER_BYTES)
                        .saturating_add(wide(limits.letter_bytes)),
                ),
            ),
            ("sessions that wait", per_worker(wide(config.sessions.detached).saturating_mul(DETACHED_BYTES))),
            ("pushes to be acknowledged", per_worker(owed(config))),
            ("requests remembered", remembered(config, slots)),
            ("parts of packages", per_worker(parts(config))),
            ("reports of pushes", streams.saturating_mul(reports(config))),
            ("idle message buffers", per_worker(wide(limits.idle_buffers))),
            ("addresses", wide(config.admission.addresses).next_power_of_two().saturating_mul(ADDRESS_BYTES)),
            ("rates of users", wide(config.users_rated).next_power_of_two().saturating_mul(RATED_BYTES)),
            ("bans", wide(config.lists.bans).saturating_mul(BAN_BYTES).saturating_add(REPORTS_BYTES)),
            ("blocks that are slowed down", wide(config.lists.throttled_blocks).saturating_mul(SLOWED_BYTES)),
            ("admin", wide(config.admin.connections).saturating_mul(2 * ADMIN_BYTES)),
            ("workers themselves", per_worker(WORKER_BYTES)),
        ];
        let queues = |listener: &Listener| 2 * (wide(listener.send_buffer) + wide(listener.receive_buffer));
        // All links of a worker may be of the listener that grants them most.
        let queues = of_cores(&|core| {
            let most = core.listeners.iter().map(|at| queues(&config.listeners[*at])).max();
            u64::from(core.slots).saturating_mul(most.unwrap_or(0))
        });
        let rings = of_cores(&|core| {
            u64::from(core.submissions) * SUBMISSION_BYTES + u64::from(core.completions) * COMPLETION_BYTES
        });
        let kernel_idle = slots.saturating_mul(SOCKET_BYTES).saturating_add(rings);
        Self { parts, kernel_idle, kernel_full: kernel_idle.saturating_add(queues) }
    }

    /// User space in all.
    #[must_use]
    pub fn user(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
}

/// Bytes of the authentications of one worker that are in flight, and of verified tokens.
fn authentications(auth: &Auth) -> u64 {
    match auth {
        Auth::Development { .. } => 0,
        Auth::Delegated { in_flight_max, .. } => (*in_flight_max as u64).saturating_mul(AUTH_BYTES),
        Auth::Jwt { in_flight_max, remembered, .. } => (*in_flight_max as u64)
            .saturating_mul(TOKEN_BYTES)
            .saturating_add((*remembered as u64).saturating_mul(REMEMBERED_BYTES)),
    }
}

/// Bytes of what the sessions of one worker are owed.
fn owed(config: &Config) -> u64 {
    let pushes = &config.pushes;
    (pushes.count as u64).saturating_mul(OWED_BYTES).saturating_add(pushes.bytes as u64)
}

/// Bytes of what is remembered of requests, those that run among them, in the windows of all sessions.
fn remembered(config: &Config, slots: u64) -> u64 {
    let (answers, workers) = (&config.answers, config.cores.len() as u64);
    let windows = slots.saturating_add(workers.saturating_mul(config.sessions.detached as u64));
    let running = (config.requests.node_count as u64).saturating_mul(1 + config.routes.len() as u64);
    workers
        .saturating_mul(
            (answers.count as u64).saturating_mul(ANSWER_BYTES).saturating_add(answers.bytes as u64),
        )
        .saturating_add(windows.saturating_mul(WINDOW_BYTES))
        .saturating_add(running.saturating_mul(ANSWER_BYTES))
}

/// Bytes of the parts of packages that wait on one worker.
fn parts(config: &Config) -> u64 {
    let pushes = &config.pushes;
    (pushes.package_parts as u64).saturating_mul(PART_BYTES).saturating_add(pushes.package_bytes as u64)
}

/// Bytes of the reports that the backend of one stream does not know.
fn reports(config: &Config) -> u64 {
    let of_slot = (config.limits.devices as u64).saturating_mul(REPORT_BYTES).saturating_add(SLOT_BYTES);
    (config.pushes.report_slots as u64).saturating_mul(of_slot)
}

/// How many handshakes wait for their third message at most, on all workers that have a listener with such.
fn begun(config: &Config) -> u64 {
    let serves = |core: &&Core| core.listeners.iter().any(|at| config.listeners[*at].suites.are_unpinned());
    let workers = config.cores.iter().filter(serves).count();
    (workers as u64).saturating_mul(config.limits.xx_handshakes as u64)
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "memory at worst (the sum of all limits)")?;
        for (what, bytes) in &self.parts {
            writeln!(f, "  {what:<32} {:>12}", mebibytes(*bytes))?;
        }
        writeln!(f, "  {:<32} {:>12}", "user space in all", mebibytes(self.user()))?;
        writeln!(f, "  {:<32} {:>12}", "kernel, all links idle", mebibytes(self.kernel_idle))?;
        write!(f, "  {:<32} {:>12}", "kernel, all queues full", mebibytes(self.kernel_full))
    }
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
