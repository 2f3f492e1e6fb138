//! The life of a gateway whose workers only count, and its sockets as clients see them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::sync::{Condvar, Mutex};

use driver::signals::Signal;

use super::*;
use crate::admission::buckets::Buckets;
use crate::collections::HashKey;
use crate::config::{Development, Machine, Secret};
use crate::counters::Counters;

/// A new folder for one test.
pub(super) fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("gateway-test-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

fn config(folder: &std::path::Path) -> Checked<Config> {
    let with = Development {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        workers: Some(2),
        exempt: true,
        server: Secret::new([5; 32]),
        tickets: None,
        service: folder.join("service.sock"),
        admin: Some(folder.join("admin.sock")),
        http: Some("127.0.0.1:0".parse().unwrap()),
    };
    Config::development(with, &Machine { cpus: vec![0], open_files: 1000, memory: 0 }).unwrap()
}

/// What a worker says that ends before it serves.
const STILLBORN: &str = "no ring for it";

/// Threads that serve at once and end when they are told to, or with `failure`.
fn idle_workers(
    failure: Option<&'static str>,
) -> impl FnOnce(&Arc<Checked<Config>>, Clock, Lists) -> Result<Workers, String> {
    move |config, _, _| {
        let progress = Arc::new(Progress::default());
        let told = Arc::new((Mutex::new(false), Condvar::new()));
        let mut threads = Vec::new();
        for _ in &config.cores {
            let (progress, told) = (Arc::clone(&progress), Arc::clone(&told));
            if failure != Some(STILLBORN) {
                progress.serving();
            }
            threads.push(std::thread::spawn(move || {
                let _until_ended = progress.until_ended();
                if let Some(reason) = failure {
                    return Err(reason.to_owned());
                }
                let stopped = told.0.lock().unwrap();
                drop(told.1.wait_while(stopped, |stopped| !*stopped).unwrap());
                Ok(())
            }));
        }
        let stop = Box::new(move || {
            *told.0.lock().unwrap() = true;
            told.1.notify_all();
        });
        let counters: Vec<_> = config
            .cores
            .iter()
            .map(|_| Arc::new(Counters::new(config.endpoints.len(), config.listeners.len())))
            .collect();
        counters[1].links.set(17);
        counters[1].link_places_left.set(1);
        counters[1].endpoints[0].opened();
        Ok(Workers {
            reports: Arc::default(),
            tell_verifier: Box::new(|_, _| true),
            pressure: Arc::default(),
            wake: Box::new(|| {}),
            ask_busiest: Box::new(|_| {}),
            ask_throttled: Box::new(|_| {}),
            buckets: Arc::new(Buckets::new(64, config.listeners.len(), HashKey::new([1; 16]))),
            listeners: vec!["127.0.0.1:9".parse().unwrap()],
            counters,
            progress,
            stop,
            rotate_tickets: None,
            tell_lists: Box::new(|_, _| true),
            kick_user: Box::new(|_, _| true),
            threads,
        })
    }
}

fn get(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut text = String::new();
    // A refusal may come with a reset, because the rest of the request was not read.
    let _ = stream.read_to_string(&mut text);
    text
}

fn ask(path: &std::path::Path, line: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(line.as_bytes()).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn a_gateway_becomes_ready_answers_and_ends_by_signal() {
    if let Err(blocked) = driver::probe() {
        eprintln!("NOT RUN: {}", blocked.cause);
        return;
    }
    let folder = folder("life");
    let (ready_file, admin) = (folder.join("ready.json"), folder.join("admin.sock"));
    fs::write(&ready_file, "{\"pid\": 4194305}").unwrap();
    let (sender, receiver) = mpsc::channel();
    let options = Options {
        ready_file: Some(ready_file.clone()),
        token: Some("dev1.x".to_owned()),
        when_ready: Some(Box::new(move |ready| sender.send(ready.http.unwrap()).unwrap())),
    };
    let config = config(&folder);
    let (signals, heard) = signals::tests::sent();
    let gateway = std::thread::spawn(move || run(config, options, heard, idle_workers(None)));
    let http = receiver.recv().unwrap();

    let written: serde_json::Value = serde_json::from_slice(&fs::read(&ready_file).unwrap()).unwrap();
    assert_eq!(written["pid"], std::process::id());
    assert_eq!(written["listen"], "127.0.0.1:9");
    assert_eq!(written["listeners"][0]["name"], "clients");
    assert_eq!(written["listeners"][0]["server_key"], written["server_key"]);
    assert_eq!(written["token"], "dev1.x");
    assert_eq!(written["admin"], admin.display().to_string());
    assert_eq!(written["server_key"].as_str().map(str::len), Some(64));

    assert!(get(http, b"GET /readyz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert!(get(http, b"GET /metrics HTTP/1.1\r\n\r\n").contains("gateway_links{worker=\"1\"} 17\n"));
    let silent: Vec<_> = (0..16).map(|_| TcpStream::connect(http).unwrap()).collect();
    assert!(get(http, b"GET /readyz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "), "the idlest makes room");
    let mut said = String::new();
    let _ = (&silent[0]).read_to_string(&mut said);
    assert!(said.starts_with("HTTP/1.1 503 "), "and is told: {said}");
    assert!(ask(&admin, "metrics\n").contains("gateway_admin_evicted_total{socket=\"http\"} 1\n"));
    let silent: Vec<_> = (0..16).map(|_| UnixStream::connect(&admin).unwrap()).collect();
    assert!(ask(&admin, "status\n").starts_with("gateway "), "there, too");
    let mut said = String::new();
    let _ = (&silent[0]).read_to_string(&mut said);
    assert_eq!(said, "error: too many connections at this socket; try again\n");
    assert!(get(http, b"BREW / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(get(http, &[b'x'; http::HEAD_LEN_MAX]).starts_with("HTTP/1.1 431 "));
    let status: serde_json::Value = serde_json::from_str(&ask(&admin, "status --json\n")).unwrap();
    assert_eq!(status["totals"]["links"], 17);
    assert_eq!(status["ready"], true);
    assert!(ask(&admin, "no\n").starts_with("error: "));
    assert!(ask(&admin, &"x".repeat(verbs::LINE_LEN_MAX)).starts_with("error: send one line"));

    signals.try_send(Signal::Hangup).unwrap();
    assert!(ask(&admin, "status\n").starts_with("gateway "), "there is nothing to reload, and nothing ends");
    signals.try_send(Signal::Terminate).unwrap();
    assert_eq!(gateway.join().unwrap(), Exit::Clean);
    assert!(!ready_file.exists() && !admin.exists());

    let of_another = format!("{{\"pid\": {}}}", std::os::unix::process::parent_id());
    fs::write(&ready_file, &of_another).unwrap();
    ready::remove_stale(&ready_file).unwrap();
    assert_eq!(fs::read_to_string(&ready_file).unwrap(), of_another, "a process that runs keeps its file");
    // One more than the largest id there may be.
    for gone in ["{\"pid\": 4194305}", "{}", ""] {
        fs::write(&ready_file, gone).unwrap();
        ready::remove_stale(&ready_file).unwrap();
        assert!(!ready_file.exists(), "{gone}");
    }
    fs::write(&ready_file, "somebody's letters").unwrap();
    assert!(ready::remove_stale(&ready_file).is_err_and(|said| said.contains("name another path")));
    fs::remove_file(&ready_file).unwrap();
    fs::remove_dir(&folder).unwrap();
}

/// In containers that share a folder, both may even have the same process number, as here.
#[test]
fn a_gateway_that_ends_leaves_the_ready_file_of_its_successor() {
    let folder = folder("successor");
    let (path, config) = (folder.join("ready.json"), config(&folder));
    let ready = Ready { listeners: vec!["127.0.0.1:9".parse().unwrap()], http: None };
    let former = ready::ReadyFile::write(&path, &config, &ready, None).unwrap();
    let successor = ready::ReadyFile::write(&path, &config, &ready, Some("its own")).unwrap();
    drop(former);
    assert!(fs::read_to_string(&path).unwrap().contains("its own"));
    drop(successor);
    assert!(!path.exists());
    fs::remove_dir(&folder).unwrap();
}

#[test]
fn a_worker_that_dies_ends_the_gateway_with_a_failure() {
    if let Err(blocked) = driver::probe() {
        eprintln!("NOT RUN: {}", blocked.cause);
        return;
    }
    let folder = folder("death");
    let life = |failure| {
        let (_signals, heard) = signals::tests::sent();
        run(config(&folder), Options::default(), heard, idle_workers(Some(failure)))
    };
    let exit = life("out of rings");
    assert_eq!(exit, Exit::Failed);
    let exit = life(STILLBORN);
    assert_eq!(exit, Exit::Start, "it never served");
    fs::remove_dir(&folder).unwrap();
}

#[test]
fn what_cannot_be_bound_keeps_the_gateway_from_starting() {
    if let Err(blocked) = driver::probe() {
        eprintln!("NOT RUN: {}", blocked.cause);
        return;
    }
    let folder = folder("taken");
    let _other = std::os::unix::net::UnixListener::bind(folder.join("admin.sock")).unwrap();
    let spawn =
        |_: &Arc<Checked<Config>>, _, _| -> Result<Workers, String> { panic!("nothing may be started") };
    let (_signals, heard) = signals::tests::sent();
    assert_eq!(run(config(&folder), Options::default(), heard, spawn), Exit::Start);
    fs::remove_dir_all(&folder).unwrap();
}
