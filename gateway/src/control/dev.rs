//! `gateway dev`: a whole gateway from nothing. Keys live in memory, unless they are to be kept, files in a private folder that goes with the
//! process, and the reference service runs as a process of its own, so that the gateway's figures are its own.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use protocol::hex;

use super::kept::{Kept, random};
use super::{Exit, Options, Ready, Signals, Workers, cannot_use, machine, run, tell, tell_as_it_is};
use crate::admission::lists::Lists;
use crate::clock::Clock;
use crate::config::{Checked, Config, Development, DevelopmentToken, Level, SOCKET_PATH_MAX, Secret};

/// The verb by which this binary starts itself as the reference service; followed by the socket's path.
pub const SERVICE_VERB: &str = "reference-service";
/// The option with which it ends with its standard input.
const SERVICE_TIED: &str = "--until-input-ends";

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct DevOptions {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--workers`.
    pub workers: Option<usize>,
    /// `--protect`: peers on loopback addresses are not exempt from limits.
    pub protect: bool,
    /// `--ready-file`; in the private folder if absent.
    pub ready_file: Option<PathBuf>,
    /// `--state`: the folder with the keys that this gateway has at each start; new ones if absent.
    pub state: Option<PathBuf>,
}

/// Runs a gateway for development until a signal ends it.
pub fn dev<S>(options: DevOptions, signals: Signals, spawn: S) -> Exit
where
    S: FnOnce(&Arc<Checked<Config>>, Clock, Lists) -> Result<Workers, String>,
{
    // Before anything is left behind that a failed start would have to clean up.
    if let Err(blocked) = driver::probe() {
        return cannot_use(&blocked);
    }
    match prepare(options) {
        Ok(Prepared { config, options, service, folder }) => {
            let exit = run(config, options, signals, spawn);
            drop(service);
            drop(folder);
            exit
        }
        Err((exit, lines)) => {
            tell_as_it_is(&lines);
            exit
        }
    }
}

struct Prepared {
    config: Checked<Config>,
    options: Options,
    service: Service,
    folder: Folder,
}

fn prepare(options: DevOptions) -> Result<Prepared, (Exit, String)> {
    let one_line = |reason: &str| format!("gateway: {}: {reason}\n", Level::Error.word());
    let start = |what: &str, error: io::Error| (Exit::Start, one_line(&format!("{what}: {error}")));
    let (server, tickets) = match &options.state {
        Some(folder) => {
            let kept = Kept::in_folder(folder).map_err(|reason| (Exit::Start, one_line(&reason)))?;
            (kept.server, Some(kept.tickets))
        }
        None => (Secret::new(random().map_err(|error| start("randomness", error))?), None),
    };
    let folder = Folder::create().map_err(|reason| (Exit::Start, one_line(&reason)))?;
    let with = Development {
        listen: options.listen,
        workers: options.workers,
        exempt: !options.protect,
        server: server.clone(),
        tickets,
        service: folder.0.join(SERVICE_SOCKET),
        admin: Some(folder.0.join("admin.sock")),
        http: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
    };
    let socket = with.service.clone();
    let config =
        Config::development(with, &machine()).map_err(|problems| (Exit::Config, problems.to_string()))?;
    let service = Service::start(&socket).map_err(|error| start("the reference service", error))?;
    let ready_file = options.ready_file.unwrap_or_else(|| folder.0.join("target.json"));
    let hints = Hints {
        exempt: !options.protect,
        target: ready_file.clone(),
        service: service.pid,
        folder: folder.0.clone(),
    };
    let options = Options {
        ready_file: Some(ready_file),
        token: Some(DevelopmentToken::new(&server).text()),
        when_ready: Some(Box::new(move |ready| hints.print(ready))),
    };
    Ok(Prepared { config, options, service, folder })
}

/// A folder only this user can enter; removed with everything in it when dropped.
struct Folder(PathBuf);

impl Folder {
    /// Under the user's runtime folder, or the temporary one, or `/tmp` where those are too deep for sockets.
    fn create() -> Result<Self, String> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let preferred = runtime.unwrap_or_else(std::env::temp_dir);
        let name = random::<4>().map_err(|error| format!("randomness: {error}"))?;
        let path = |parent: &Path| parent.join(format!("gateway-dev-{}", hex::encode(&name)));
        let deepest = path(&preferred).join(SERVICE_SOCKET).as_os_str().len();
        let parent = if deepest > SOCKET_PATH_MAX {
            let text = format!("{} is too deep for sockets: using {SHALLOW}", preferred.display());
            tell(Level::Info, &text);
            Path::new(SHALLOW)
        } else {
            &preferred
        };
        let path = path(parent);
        // Fails if somebody was there first: nothing of a stranger's is trusted.
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            format!(
                "a private folder in {}: {error}; set TMPDIR to a folder you may write to",
                parent.display()
            )
        })?;
        Ok(Self(path))
    }
}

/// A folder that everybody has.
const SHALLOW: &str = "/tmp";
const SERVICE_SOCKET: &str = "service.sock";

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The reference service's process. It lives exactly as long as its standard input stays open, so it ends with
/// this process even if nobody gets to say so.
struct Service {
    pid: u32,
    input: Option<ChildStdin>,
    stopping: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Service {
    fn start(socket: &Path) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([SERVICE_VERB, SERVICE_TIED])
            .arg(socket)
            .stdin(Stdio::piped())
            // Ctrl-C in the terminal is for the gateway, which ends the service last.
            .process_group(0)
            .spawn()?;
        let (pid, input) = (child.id(), child.stdin.take());
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopping);
        let watcher = std::thread::Builder::new().name("service-watch".to_owned());
        let watcher = watcher.spawn(move || watch(&mut child, &flag))?;
        Ok(Self { pid, input, stopping, watcher: Some(watcher) })
    }
}

fn watch(child: &mut Child, stopping: &AtomicBool) {
    let ended = child.wait();
    if !stopping.load(Ordering::Acquire) {
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        tell(
            Level::Error,
            &format!(
                "the reference service ended ({how}); requests will be refused: end this gateway and start it again"
            ),
        );
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        drop(self.input.take());
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// Runs the reference service on a Unix socket until it is asked to stop. `tied`: it ends with its standard input as well,
/// which is how it ends with the process that started it.
#[must_use]
pub fn reference_service(socket: &Path, tied: bool) -> Exit {
    let watched = std::thread::Builder::new().name("parent-watch".to_owned());
    let watched = if tied { watched.spawn(end_with_input).map(drop) } else { Ok(()) };
    match watched.and_then(|()| serve(socket, tied)) {
        Ok(()) => Exit::Clean,
        Err(error) => {
            tell(Level::Error, &format!("the reference service on {}: {error}", socket.display()));
            Exit::Start
        }
    }
}

fn end_with_input() {
    let mut byte = [0];
    while io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
    std::process::exit(0);
}

fn serve(socket: &Path, tied: bool) -> io::Result<()> {
    let listen = backend::Listen::Unix(socket.to_owned());
    let ready = |place: &backend::Listen| {
        if !tied {
            tell(
                Level::Info,
                &format!(
                    "the reference service serves routes \"echo\", \"chat\", \"push\" and \"outcomes\" on {place}"
                ),
            );
        }
        Ok(())
    };
    backend::reference::run(&listen, backend::Security::Clear, ready, backend::reference::asked_to_stop())
}

/// What is printed when everything runs: lines to paste.
struct Hints {
    target: PathBuf,
    service: u32,
    folder: PathBuf,
    /// Whether peers on this machine are exempt from limits.
    exempt: bool,
}

impl Hints {
    fn print(&self, ready: &Ready) {
        let text = self.text(ready);
        // Nobody may be reading; the gateway runs all the same, and does not wait for it.
        let _ = std::thread::Builder::new().name("hints".to_owned()).spawn(move || {
            let _ = io::stdout().write_all(text.as_bytes());
        });
    }

    fn text(&self, ready: &Ready) -> String {
        let target = self.target.display();
        let admin = self.folder.join("admin.sock");
        let http = ready
            .http
            .map_or(String::new(), |address| format!("\nMetrics:\n  curl http://{address}/metrics\n"));
        format!(
            "\nThe gateway serves on {listen}. Routes \"echo\", \"chat\", \"push\" and \"outcomes\" go to the reference\n\
             service, process {service}. For development only: whoever has the token can be any user{exempt}.\n\
             \nChat, in two more terminals:\n\
             \x20 cargo run --release -p client -- chat --target-file {target} --name alice\n\
             \x20 cargo run --release -p client -- chat --target-file {target} --name bob\n\
             \nLoad:\n\
             \x20 cargo run --release -p loadgen -- echo --target-file {target} --links 100 --duration 10s\n\
             \nState:\n\
             \x20 cargo run --release -p gateway -- status --socket {admin}\n{http}\
             \nCtrl-C ends everything.\n\n",
            listen = ready,
            service = self.service,
            exempt =
                if self.exempt { ", and peers on\nloopback addresses are exempt from limits" } else { "" },
            admin = admin.display(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_private_folder_is_private_and_goes_away() {
        let folder = Folder::create().unwrap();
        let path = folder.0.clone();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::write(path.join("target.json"), "{}").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_hints_name_the_target_file_and_what_is_not_protected() {
        let hints =
            Hints { exempt: true, target: "/run/t.json".into(), service: 42, folder: "/run/x".into() };
        let ready = Ready { listeners: vec!["127.0.0.1:7400".parse().unwrap()], http: None };
        let text = hints.text(&ready);
        assert!(text.contains("chat --target-file /run/t.json --name alice"));
        assert!(text.contains("status --socket /run/x/admin.sock"));
        assert!(text.contains("exempt from limits.") && !text.contains("curl"));
        let protected = Hints { exempt: false, ..hints }.text(&ready);
        assert!(protected.contains("any user.") && !protected.contains("exempt"), "{protected}");
    }
}
