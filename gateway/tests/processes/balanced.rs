//! Behind HAProxy, as Debian has it: clients come through, bans hold for them, and its health checks see the gateway.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use protocol::CloseCode;

use crate::client::{Client, Heard};
use crate::stage::{Folder, PATIENCE, Process, Stage, gateway, path, wait_until};

/// From where HAProxy connects to the gateway.
const BALANCER: &str = "127.0.0.9";

/// HAProxy, with one server behind it.
struct Balancer {
    /// Where it takes clients, who say who they are in a header of version 1.
    address: SocketAddr,
    /// Where it tells how it is.
    socket: PathBuf,
    _process: Process,
}

impl Balancer {
    /// Before this server.
    fn start(program: &str, folder: &Path, server: SocketAddr) -> Self {
        let (config, socket) = (folder.join("haproxy.cfg"), folder.join("haproxy.sock"));
        // Ports of an address that is this process's own are free: one of 127.128.0.0/9, by its number.
        static NEXT: AtomicU16 = AtomicU16::new(7400);
        let own = u32::from(Ipv4Addr::new(127, 128, 0, 0)) | std::process::id() & 0x7f_ffff;
        let address = SocketAddr::from((Ipv4Addr::from(own), NEXT.fetch_add(1, Ordering::Relaxed)));
        let text = format!(
            "global\n stats socket {}\n\
             defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
             listen clients\n bind {address} accept-proxy\n source {BALANCER}\n \
             server gateway {server} send-proxy-v2 proxy-v2-options crc32c check check-send-proxy inter 100ms\n",
            path(&socket)
        );
        std::fs::write(&config, text).expect("a folder of the test");
        let mut command = Command::new(program);
        let process = Process::start(command.args(["-db", "-q", "-f", path(&config)]).stdout(Stdio::null()));
        wait_until("HAProxy listens", || socket.exists() && TcpStream::connect(address).is_ok());
        Self { address, socket, _process: process }
    }

    /// What it thinks of its server: `UP`, `DOWN`, or on the way to one of them; nothing, if it broke off what it said.
    fn status(&self) -> String {
        let mut socket = UnixStream::connect(&self.socket).expect("it told so in its config");
        socket.set_read_timeout(Some(PATIENCE)).expect("more than zero");
        socket.write_all(b"show stat\n").expect("connected");
        let mut table = String::new();
        if socket.read_to_string(&mut table).is_err() {
            return String::new();
        }
        let mut rows = table.trim_start_matches("# ").lines().map(|row| row.split(',').collect::<Vec<_>>());
        let column = rows.next().and_then(|head| head.iter().position(|name| *name == "status"));
        let server = rows.find(|row| row[..2] == ["clients", "gateway"]).expect("it has one server");
        server[column.expect("a column of that name")].to_owned()
    }

    /// A connection of a client at this address.
    fn connect(&self, address: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).expect("it listens");
        let (family, here) = if address.contains(':') { ("TCP6", "::1") } else { ("TCP4", "127.0.0.1") };
        let header = format!("PROXY {family} {address} {here} 4000 7400\r\n");
        socket.write_all(header.as_bytes()).expect("connected");
        socket.set_read_timeout(Some(PATIENCE)).expect("more than zero");
        socket
    }

    /// The same, of a user.
    fn login(&self, stage: &Stage, address: &str, user: &str) -> Client {
        let client = Client::dial_over(self.connect(address), &stage.target, None);
        let mut client = client.expect("whoever may come in is answered");
        client.authenticate(user, &stage.target.token);
        client
    }
}

/// HAProxy's program. Where Debian has it, not everybody looks.
fn program() -> Option<&'static str> {
    let runs = |program: &&str| {
        let tried = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let found = ["haproxy", "/usr/sbin/haproxy"].into_iter().find(runs);
    if found.is_none() {
        eprintln!("NOT RUN: there is no haproxy here; `apt-get install haproxy` brings it");
    }
    found
}

/// A gateway behind a balancer, the socket of its verbs, and the balancer.
fn stage(proxy_protocol: &str) -> Option<(Stage, String, Balancer)> {
    let program = program()?;
    let folder = Folder::new()?;
    let admin = path(&folder.file("admin.sock")).to_owned();
    let listener = format!(
        "listener = [{{ name = 'clients', address = '127.0.0.1:0', proxy_protocol = '{proxy_protocol}', \
         balancers = ['{BALANCER}'] }}]\n"
    );
    let stage = Stage::set_in(folder, &format!("{listener}admin.socket = '{admin}'\n"));
    let balancer = Balancer::start(program, &stage.folder(), stage.target.address);
    Some((stage, admin, balancer))
}

/// Whether a connection is ended without a word.
fn is_turned_away(mut socket: TcpStream) -> bool {
    match socket.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn kept_out(stage: &Stage, guard: &str) -> u64 {
    stage.target.sum("gateway_kept_out_total", &format!("guard=\"{guard}\""))
}

#[test]
fn clients_come_through_a_balancer_and_bans_hold_for_them_and_not_for_it() {
    let Some((mut stage, admin, balancer)) = stage("required") else { return };
    wait_until("the balancer sees the gateway", || {
        balancer.status() == "UP" && stage.target.metric("gateway_balancer_checks_total") >= 3
    });
    let mut near = balancer.login(&stage, "198.51.100.7", "alice");
    let mut far = balancer.login(&stage, "2001:db8::7", "bob");
    far.wait_until_answered();
    near.wait_until_answered();
    assert_eq!(stage.target.metric("gateway_links_forwarded_total"), 2);

    let banned = gateway(&["ban", "--socket", &admin, "--ip", "198.51.100.0/24"]);
    assert!(banned.status.success(), "{}", String::from_utf8_lossy(&banned.stderr));
    let close = near.hear_one(|heard| matches!(heard, Heard::Close(_)));
    assert_eq!(close, Heard::Close(CloseCode::Banned.number()));
    assert!(is_turned_away(balancer.connect("198.51.100.9")));
    wait_until("it is counted", || kept_out(&stage, "lists") == 1);
    balancer.login(&stage, "203.0.113.9", "carol").wait_until_answered();
    far.wait_until_answered();

    // Nobody goes around the balancer.
    let around = TcpStream::connect(stage.target.address).expect("the kernel takes it");
    around.set_read_timeout(Some(PATIENCE)).expect("more than zero");
    assert!(is_turned_away(around));
    wait_until("it is counted", || kept_out(&stage, "not_a_balancer") == 1);

    let checks = stage.target.metric("gateway_balancer_checks_total");
    wait_until("checks go on", || stage.target.metric("gateway_balancer_checks_total") > checks + 3);
    assert_eq!(balancer.status(), "UP");
    assert_eq!((kept_out(&stage, "proxy_header"), stage.target.metric("gateway_kept_out_total")), (0, 2));
    stage.gateway.signal("TERM");
    assert!(stage.gateway.ended().success());
    wait_until("the balancer misses the gateway", || balancer.status() == "DOWN");
}

#[test]
fn where_headers_are_optional_clients_come_with_and_without_a_balancer() {
    let Some((stage, _, balancer)) = stage("optional") else { return };
    wait_until("the balancer sees the gateway", || balancer.status() == "UP");
    balancer.login(&stage, "198.51.100.7", "alice").wait_until_answered();
    Client::login(&stage.target, "bob").wait_until_answered();
    assert_eq!(stage.target.metric("gateway_links_forwarded_total"), 1);
    assert_eq!(stage.target.metric("gateway_kept_out_total"), 0);
}
