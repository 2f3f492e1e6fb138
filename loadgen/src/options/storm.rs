//! What a storm is made of.

use clap::{Args, ValueEnum};

/// How links are cut, and come back.
#[derive(Clone, Debug, Args)]
pub struct Terms {
    /// How all links are cut at one moment.
    #[arg(long, value_enum, default_value_t = CutKind::Reset)]
    pub cut: CutKind,
    /// kill-gateway: what starts the gateway again, at the same address, with the same keys and ready file
    /// (`gateway dev --state`, or `gateway run`). A line for `sh -c`; what it says is thrown away, and the gateway lives on
    /// when this run is over. Without it somebody else has to start the gateway, within a minute.
    #[arg(long, value_name = "COMMAND")]
    pub restart: Option<String>,
    /// Have all come back by a full handshake and the token, as if they had kept nothing: what to compare with.
    #[arg(long)]
    pub full: bool,
    /// Links that may be between connect and welcome at once when they come back. Each waits up to half a second first, and
    /// longer with each attempt that fails.
    #[arg(long, value_name = "LINKS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub open_at_once: u32,
    /// Messages per second over all links, each sent back by a backend. Default: one per link in ten seconds.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Beside them, pushes per second over all links that are delivered at least once. Each is asked for by its receiver, on the
    /// route `push` of the reference service.
    #[arg(long, value_name = "RATE")]
    pub push: Option<f64>,
}

/// How links are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CutKind {
    /// Their sockets are closed at this end without a word, as by a network that is gone: sessions wait for their next link.
    Reset,
    /// A close frame (code `moving`) says that the client goes and wants its session kept.
    Close,
    /// The gateway of the ready file is killed with SIGKILL, and started again by --restart: it has forgotten all sessions,
    /// and where it kept its keys it knows the tickets.
    KillGateway,
}

impl CutKind {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Close => "close",
            Self::KillGateway => "kill-gateway",
        }
    }
}
