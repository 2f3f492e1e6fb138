//! The command line: `gateway VERB …`. Each verb is a function that ends in an exit code.

mod bans;
mod keys;
mod print;
mod status;
mod token;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use driver::signals::Held;

use self::print::print;
use crate::clock::Clock;
use crate::config::{Auth, Ceiling, Checked, Config, Level, Overrides, Problems, load, show_span};
use crate::control::{
    DevOptions, Exit, Options, Signals, Trial, Writer, dev, machine, read_key_file, reference_service,
    remedy, run, spawn, tell, tell_as_it_is, try_out, withhold,
};
use crate::doctor;

/// Holds many encrypted client links and connects them to a few backends.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, after_help = EXIT_CODES)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done or stopped as asked · 1 failed while running · 2 wrong command line · \
                          3 config has errors · 4 io_uring can't be used here · 5 couldn't start, or `check`: could not";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a gateway.
    Run {
        /// The config file.
        #[arg(long)]
        config: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Run a gateway for development, with keys, a token and a reference service made at start.
    Dev {
        #[command(flatten)]
        place: Place,
        /// Protect it from peers on this machine as from all others: every limit as it is by default.
        #[arg(long)]
        protect: bool,
        /// Folder in which its keys are kept: at the next start with it, clients know the gateway again. Without, keys are made at
        /// each start.
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// Check a config file, try what it binds, and print what it amounts to.
    Check {
        /// The config file.
        file: PathBuf,
    },
    /// Print every key of the config file with its meaning, default and cost.
    Keys,
    /// Make a private key.
    Keygen {
        /// File to write, readable by its owner only; standard output if absent. An existing file is kept.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Make a key that signs tokens instead, for tests: write it to this file, and print the key set that verifies
        /// them.
        #[arg(long, value_name = "FILE", conflicts_with = "out")]
        tokens: Option<PathBuf>,
    },
    /// Print a token for tests: that of a gateway in development mode, or one that is signed.
    Token {
        /// The config file.
        #[arg(long)]
        config: PathBuf,
        #[command(flatten)]
        wanted: token::Wanted,
    },
    /// Look at this machine: what is needed, what was found, and what to do about it.
    Doctor {
        /// Compare with what this config needs.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Ask a running gateway for its state.
    Status {
        /// Its admin socket.
        #[arg(long)]
        socket: PathBuf,
        /// In JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let nobody in from an address or a block, or not this user, and end the links there are.
    Ban {
        #[command(flatten)]
        asked: bans::Asked,
        #[command(flatten)]
        whom: bans::Whom,
        #[command(flatten)]
        terms: bans::Terms,
    },
    /// End exactly this ban.
    Unban {
        #[command(flatten)]
        asked: bans::Asked,
        #[command(flatten)]
        whom: bans::Whom,
    },
    /// End the links of a user, of one of its devices, or of one of its logins, which may be made worthless.
    Kick {
        #[command(flatten)]
        asked: bans::Asked,
        #[command(flatten)]
        kick: bans::Kicked,
    },
    /// List the bans in force.
    Bans {
        #[command(flatten)]
        asked: bans::Asked,
    },
    /// List the blocks of addresses and the users that backends have slowed down.
    Throttles {
        #[command(flatten)]
        asked: bans::Asked,
    },
    /// Show what is in force at each listener, and whom it has kept out or, on trial, would have.
    Limits {
        #[command(flatten)]
        asked: bans::Asked,
    },
    /// List the addresses and users that keep it busiest, roughly.
    Busiest {
        #[command(flatten)]
        asked: bans::Asked,
    },
    /// Show the overload ladder, or force a level for a drill.
    Ladder {
        #[command(flatten)]
        asked: bans::Asked,
        /// No worker below this level, 1 to 5.
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5), conflicts_with = "off")]
        level: Option<u8>,
        /// For how long: 5m if absent, 1h at most.
        #[arg(long = "for", requires = "level", value_parser = bans::span)]
        time: Option<Duration>,
        /// No level is forced any more.
        #[arg(long)]
        off: bool,
    },
    /// A service with the routes "echo", "chat", "push" and "outcomes", to try a gateway with; `dev` starts one by itself.
    #[command(name = crate::control::SERVICE_VERB)]
    ReferenceService {
        /// The Unix socket to listen on.
        socket: PathBuf,
        /// End when standard input does.
        #[arg(long, hide = true)]
        until_input_ends: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Address for clients, instead of that of the config's only listener. Port 0 takes a free one.
    #[arg(long, value_parser = Config::address)]
    listen: Option<SocketAddr>,
    /// Number of workers, instead of the config's.
    #[arg(long)]
    workers: Option<usize>,
    /// Written when every worker serves: JSON with pid, listen, server_key, listeners, token (`dev` only) and admin.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> Exit {
    // Before anything else: a signal that comes from now on finds a gateway that knows what to do about it.
    let held = match Held::hold() {
        Ok(held) => held,
        Err(error) => {
            tell(Level::Error, &format!("the signals: {error}"));
            return Exit::Failed;
        }
    };
    withhold();
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            held.release();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Clean };
            let _ = error.print();
            return exit;
        }
    };
    match line.verb {
        Verb::Run { config, place } => serve(held, |signals| run_verb(&config, place, signals)),
        Verb::Dev { place, protect, state } => {
            let Place { listen, workers, ready_file } = place;
            let options = DevOptions { listen, workers, ready_file, protect, state };
            serve(held, |signals| dev(options, signals, spawn::spawn))
        }
        verb => {
            held.release();
            at_once(verb)
        }
    }
}

/// A gateway: its signals are listened to, and its lines wait for nobody.
fn serve(held: Held, gateway: impl FnOnce(Signals) -> Exit) -> Exit {
    let _writer = Writer::start();
    match Signals::listen(held) {
        Ok(signals) => gateway(signals),
        Err(error) => {
            tell(Level::Error, &format!("the thread for signals: {error}"));
            Exit::Start
        }
    }
}

/// A verb that does one thing and ends; any signal ends it, too.
fn at_once(verb: Verb) -> Exit {
    match verb {
        Verb::Run { .. } | Verb::Dev { .. } => unreachable!("those are gateways"),
        Verb::Check { file } => check(&file),
        Verb::Keys => print(&keys::reference()),
        Verb::Keygen { out: _, tokens: Some(file) } => keys::token_key(&file),
        Verb::Keygen { out, tokens: None } => keys::keygen(out.as_deref()),
        Verb::Token { config, wanted } => token_verb(&config, &wanted),
        Verb::Doctor { config } => doctor_verb(config.as_deref()),
        Verb::Status { socket, json } => status::status(&socket, json),
        Verb::Ban { asked, whom, terms } => status::put(&asked.socket, &bans::set(&asked, &whom, &terms)),
        Verb::Unban { asked, whom } => status::put(&asked.socket, &bans::lift(&asked, &whom)),
        Verb::Kick { asked, kick } => status::put(&asked.socket, &bans::kick(&asked, &kick)),
        Verb::Bans { asked } => status::put(&asked.socket, &bans::list(&asked)),
        Verb::Throttles { asked } => status::put(&asked.socket, &bans::throttles(&asked)),
        Verb::Busiest { asked } => status::put(&asked.socket, &bans::busiest(&asked)),
        Verb::Ladder { asked, level, time, off } => {
            status::put(&asked.socket, &bans::ladder(&asked, level, time, off))
        }
        Verb::Limits { asked } => status::put(&asked.socket, &bans::limits(&asked)),
        Verb::ReferenceService { socket, until_input_ends } => reference_service(&socket, until_input_ends),
    }
}

fn run_verb(file: &Path, place: Place, signals: Signals) -> Exit {
    let overrides = Overrides { listen: place.listen, workers: place.workers };
    match read_config(file, overrides) {
        Ok(config) => {
            let options = Options { ready_file: place.ready_file, ..Options::default() };
            run(config, options, signals, spawn::spawn)
        }
        Err(exit) => exit,
    }
}

fn check(file: &Path) -> Exit {
    let config = match read_config(file, Overrides::default()) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let Trial { obstacles, notes } = try_out(&config);
    let printed = print(&summary(&config));
    notes.iter().for_each(|note| tell(Level::Info, note));
    obstacles.iter().for_each(|obstacle| tell(Level::Error, obstacle));
    if obstacles.is_empty() { printed } else { Exit::Start }
}

/// What a config amounts to.
fn summary(config: &Config) -> String {
    let slots: u64 = config.cores.iter().map(|core| u64::from(core.slots)).sum();
    let links: u64 = config.cores.iter().map(|core| u64::from(config.links_max(core.slots))).sum();
    let addresses: Vec<_> = config.listeners.iter().map(|listener| listener.address).collect();
    format!(
        "{}, {}: at most {}\n{}, {}, {}\n{}\n\n{}\n{}\n{}\n",
        counted(config.cores.len() as u64, "worker"),
        counted(slots, "slot"),
        counted(links, "link"),
        counted(config.routes.len() as u64, "route"),
        counted(config.endpoints.len() as u64, "endpoint"),
        counted((config.cores.len() * config.endpoints.len()) as u64, "stream"),
        remembered(config),
        config.cores_table(),
        config.listeners_table(&addresses),
        Ceiling::of(config)
    )
}

/// For how long what is revoked stays so.
fn remembered(config: &Config) -> String {
    let time = show_span(config.auth.revocation_time());
    match &config.auth {
        Auth::Jwt { verifier, .. } => {
            let most = show_span(verifier.terms().lifetime_max);
            format!(
                "revocations are remembered for {time}, and tokens are good for {most} at most (auth.token_lifetime_max)"
            )
        }
        Auth::Development { .. } | Auth::Delegated { .. } => format!("revocations are remembered for {time}"),
    }
}

/// A number and what it counts.
fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn token_verb(file: &Path, wanted: &token::Wanted) -> Exit {
    match read_config(file, Overrides::default()) {
        Ok(config) => token::token(&config, wanted, Clock::start().unix().0),
        Err(exit) => exit,
    }
}

fn doctor_verb(file: Option<&Path>) -> Exit {
    let config = match file.map(|file| read_config(file, Overrides::default())) {
        Some(Err(exit)) => return exit,
        Some(Ok(config)) => Some(config),
        None => None,
    };
    let findings = doctor::findings(&doctor::Facts::look(), config.as_deref());
    let printed = print(&doctor::report(&findings));
    if printed == Exit::Clean { doctor::verdict(&findings) } else { printed }
}

/// Reads and checks a config; problems go to standard error.
fn read_config(file: &Path, overrides: Overrides) -> Result<Checked<Config>, Exit> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        tell(Level::Error, &format!("{name}: {error}; {}", remedy::for_reading(file, &error)));
        Exit::Config
    })?;
    let show = |problems: &Problems| tell_as_it_is(&problems.to_string());
    // Files named in the config are meant relative to it, wherever the gateway was started.
    let folder = file.parent().unwrap_or(Path::new(""));
    let beside = |path: &Path| read_key_file(&folder.join(path));
    match load(&name, &text, overrides, &machine(), &beside) {
        Ok((config, warnings)) => {
            show(&warnings);
            Ok(config.beside(folder))
        }
        Err(problems) => {
            show(&problems);
            Err(Exit::Config)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_takes_what_scripts_give() {
        use clap::CommandFactory;
        Line::command().debug_assert();
        let words = "gateway run --config g.toml --listen 127.0.0.1:0 --workers 2 --ready-file r.json";
        let line = Line::try_parse_from(words.split(' ')).unwrap();
        let Verb::Run { place, .. } = line.verb else { panic!("the verb is run") };
        assert_eq!((place.workers, place.ready_file), (Some(2), Some(PathBuf::from("r.json"))));
        assert!(Line::try_parse_from(["gateway", "dev", "--listen", "localhost"]).is_err());
        assert!(Line::try_parse_from(["gateway", "reference-service", "/s"]).is_ok());
    }
}
