//! What probes, metrics and the log tell of a gateway: whether it is ready, and why not.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use crate::stage::{Folder, Process, Stage, Target, gateway, path, wait_until};

#[test]
fn silent_connections_do_not_keep_a_probe_out() {
    let Some(stage) = Stage::set("") else { return };
    let http = stage.target.http.expect("HTTP is on");
    wait_until("there is a stream", || stage.target.get("/readyz").starts_with("HTTP/1.1 200"));
    let _silent: Vec<_> = (0..40).map(|_| TcpStream::connect(http).expect("it listens")).collect();
    for page in ["/healthz", "/readyz", "/metrics"] {
        assert!(stage.target.get(page).starts_with("HTTP/1.1 200"), "{page}");
    }
    assert!(stage.target.sum("gateway_admin_evicted_total", "http") >= 24);
}

#[test]
fn a_route_without_a_stream_is_named_with_its_reason_and_the_gateway_is_not_ready() {
    let Some(mut stage) = Stage::set("upstream.dial_deadline = '500ms'\n") else { return };
    wait_until("there is a stream", || stage.target.get("/readyz").starts_with("HTTP/1.1 200"));
    assert_eq!(stage.target.metric("gateway_ready"), 1);
    stage.service.signal("KILL");
    let refused = "not ready: route echo has no stream (endpoint service: Connection refused (os error 111)); \
                   route chat has no stream";
    wait_until("it is not ready", || {
        let said = stage.target.get("/readyz");
        said.starts_with("HTTP/1.1 503") && said.contains(refused)
    });
    assert_eq!(stage.target.metric("gateway_ready"), 0);
    stage.replace_service();
    wait_until("it is ready again", || stage.target.get("/readyz").ends_with("\r\n\r\nready\n"));
}

#[test]
fn why_there_is_no_stream_is_told_when_it_becomes_known() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    // One takes connections and says nothing, the other takes none.
    let _mute = UnixListener::bind(folder.file("mute.sock")).expect("the test's own");
    let (deaf, _queued) = deaf();
    let (admin, file) = (folder.file("admin.sock"), folder.file("ready.json"));
    let settings = format!(
        "auth.mode = 'development'\nadmin.socket = '{}'\nupstream.dial_deadline = '2500ms'\n\
         upstream.clear_on_loopback = true\n\
         [[endpoint]]\nname = 'mute'\naddress = 'unix:{}'\nclear = true\n\
         [[endpoint]]\nname = 'deaf'\naddress = 'tcp:{}'\nclear = true\n",
        path(&admin),
        path(&folder.file("mute.sock")),
        deaf.local_addr().expect("it is bound")
    );
    let config = folder.write_config(&settings);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["run", "--config", path(&config), "--ready-file", path(&file)]).stderr(Stdio::piped());
    let mut gateway_process = Process::start(&mut command);
    let said = gateway_process.said();
    let target = Target::read(&file);
    let whys =
        [("mute", "no answer to the handshake in time"), ("deaf", "Connection timed out (os error 110)")];
    for (name, why) in whys {
        let reason = |line: &str| {
            line.starts_with("gateway_endpoint_reason{")
                && line.contains(&format!("endpoint=\"{name}\",reason=\"{why}\""))
        };
        wait_until("the reason is known", || target.get("/metrics").lines().any(reason));
    }
    let status = gateway(&["status", "--socket", path(&admin)]);
    let status = String::from_utf8(status.stdout).expect("text");
    whys.iter()
        .for_each(|(name, why)| said.wait_for(&format!("endpoint {name}: no stream is open: {why}\n")));
    gateway_process.signal("TERM");
    assert!(gateway_process.ended().success());
    let said = said.whole();
    for (name, why) in whys {
        let first = format!("gateway: warning: endpoint {name}: no stream is open; still dialling\n");
        let then = format!("gateway: warning: endpoint {name}: no stream is open: {why}\n");
        let (first, then) = (said.find(&first), said.find(&then));
        assert!(first.is_some() && first < then, "{name}: {said}");
        assert!(
            status.lines().any(|line| line.starts_with(&format!("endpoint {name} ")) && line.ends_with(why))
        );
    }
}

/// A listener whose queue is full, so that the kernel leaves whoever else comes without an answer.
fn deaf() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    // SAFETY: listen takes no memory.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let first = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("there is one place");
    (listener, vec![first])
}
