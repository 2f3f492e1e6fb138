//! Secrets of which every piece could be recognised, and all that a gateway says while they pass through it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use protocol::wire::frame::{Auth, Frame, Outcome};
use protocol::{CloseCode, hex};

use crate::client::{Client, Heard};
use crate::stage::{Folder, Process, Target, gateway, path, wait_until};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// Secrets, found by any piece of this length in any form they are likely to be written in.
#[derive(Default)]
pub(crate) struct Canaries(BTreeMap<[u8; PIECE_LEN], &'static str>);

/// Letters or bytes: of hex it is eight bytes, and chance does not come upon those either.
const PIECE_LEN: usize = 16;

impl Canaries {
    /// Takes one in, and sees to it that it would be found.
    pub(crate) fn add(&mut self, name: &'static str, secret: &[u8]) {
        let mut forms =
            vec![secret.to_vec(), hex::encode(secret).into(), hex::encode(secret).to_uppercase().into()];
        // In base64 it matters how many bytes stand before.
        for skipped in 0..3 {
            forms.push(BASE64_STANDARD.encode(&secret[skipped..]).into());
            forms.push(BASE64_URL_SAFE.encode(&secret[skipped..]).into());
        }
        // As `{:?}` writes bytes.
        forms.push(format!("{secret:?}").into());
        for form in forms {
            self.0.extend(form.windows(PIECE_LEN).map(|piece| (piece.try_into().expect("as long"), name)));
            assert_eq!(self.found_in(&[b"<", &form[..], b">"].concat()), Some(name));
        }
    }

    /// The name of a secret of which there is a piece in these bytes.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        bytes.windows(PIECE_LEN).find_map(|piece| self.0.get(piece).copied())
    }

    fn assert_absent(&self, place: &str, said: &[u8]) {
        if let Some(name) = self.found_in(said) {
            panic!("{name} is in {place}:\n{}", String::from_utf8_lossy(said));
        }
    }

    /// Runs a verb to its end, and well or not; neither its answer nor what it complains of may have a piece.
    fn run(&self, arguments: &[&str], well: bool) {
        let done = gateway(arguments);
        let said = [done.stdout, done.stderr].concat();
        assert!(!said.is_empty(), "{arguments:?} says something");
        self.assert_absent(&format!("{arguments:?}"), &said);
        assert_eq!(done.status.success(), well, "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}

/// Random bytes that nothing else can have.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system is up");
    bytes
}

/// Starts the gateway's binary; all it says goes to a file.
fn start(folder: &Folder, said: &str, arguments: &[&str]) -> Process {
    let file =
        || Stdio::from(File::options().create(true).append(true).open(folder.file(said)).expect("ours"));
    let mut command = Command::new(GATEWAY);
    Process::start(command.args(arguments).stdin(Stdio::null()).stdout(file()).stderr(file()))
}

const SETTINGS: &str = "auth.mode = 'jwt'\nauth.keys = 'keys.json'\nauth.skew = '0ms'\nlog.level = 'info'\n\
                        limits.loopback_exempt = true\nlists.journal = 'state'\nkeys.tickets = ['group.key']\n\
                        upstream.key = 'upstream.key'\n";

#[test]
fn nothing_secret_is_said_by_a_gateway_at_work() {
    let Some(folder) = Folder::new() else { return };
    let mut canaries = Canaries::default();
    fs::create_dir(folder.file("state")).expect("a folder of the test");
    keys(&folder, &mut canaries);
    let socket = folder.file("admin.sock");
    let config = folder.write_config(&format!("{SETTINGS}admin.socket = '{}'\n", path(&socket)));
    let [good, bad] = [("a good token", "one.jwk"), ("a bad token", "other.jwk")].map(|(name, key)| {
        let password = hex::encode(&random::<16>());
        canaries.add("a claim", password.as_bytes());
        let token = mint(&folder, key, &format!("password={password}"));
        canaries.add(name, token.as_bytes());
        token
    });
    let service = start(&folder, "service.txt", &["reference-service", path(&folder.file("service.sock"))]);
    let ready = folder.file("ready.json");
    let run = ["run", "--config", path(&config), "--workers", "2", "--ready-file", path(&ready)];
    let mut running = start(&folder, "gateway.txt", &run);
    let target = Target { token: good, ..Target::read(&ready) };
    canaries.assert_absent("the ready file", &fs::read(&ready).expect("it is there"));

    let links = traffic(&target, &bad, &mut canaries);
    ask(&folder, &target, &canaries);
    operate(&folder, &canaries);
    drop(links);
    running.signal("TERM");
    assert!(running.ended().success());
    drop(service);
    for (file, words) in [("gateway.txt", "kicks user alice"), ("service.txt", "")] {
        let said = fs::read(folder.file(file)).expect("it was made");
        assert!(String::from_utf8_lossy(&said).contains(words), "{}", String::from_utf8_lossy(&said));
        canaries.assert_absent(file, &said);
    }
    let journal: Vec<_> = fs::read_dir(folder.file("state")).expect("the journal's").flatten().collect();
    assert!(!journal.is_empty());
    for file in journal {
        canaries.assert_absent("the journal", &fs::read(file.path()).expect("the journal's"));
    }
}

/// All keys that a gateway can have, in the folder.
fn keys(folder: &Folder, canaries: &mut Canaries) {
    for (name, file) in [
        ("the server's key", "server.key"),
        ("the group's key", "group.key"),
        ("the key before backends", "upstream.key"),
    ] {
        folder.make_key(file);
        let text = fs::read_to_string(folder.file(file)).expect("it was just made");
        let key: [u8; 32] = text.lines().find_map(hex::decode_array).expect("a line of it");
        canaries.add(name, &key);
    }
    for file in ["one.jwk", "other.jwk"] {
        let made = gateway(&["keygen", "--tokens", path(&folder.file(file))]);
        let mut set: serde_json::Value = serde_json::from_slice(&made.stdout).expect("a key set");
        let secret = random::<32>();
        canaries.add("the secret of an HMAC", &secret);
        let secret = BASE64_URL_SAFE.encode(secret);
        let secret = secret.trim_end_matches('=');
        let shared = serde_json::json!({ "kty": "oct", "alg": "HS256", "kid": "shared", "k": secret });
        set["keys"].as_array_mut().expect("a list").push(shared);
        if file == "one.jwk" {
            fs::write(folder.file("keys.json"), set.to_string()).expect("a folder of the test");
        }
    }
}

fn mint(folder: &Folder, key: &str, claim: &str) -> String {
    let (config, key) = (folder.file("gateway.toml"), folder.file(key));
    let words =
        ["token", "--config", path(&config), "--user", "alice", "--sign-with", path(&key), "--claim", claim];
    let minted = gateway(&words);
    assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
    String::from_utf8(minted.stdout).expect("text").trim().to_owned()
}

/// What clients do, well and badly; a link that stands.
fn traffic(target: &Target, bad: &str, canaries: &mut Canaries) -> Client {
    let (payload, text) = (random::<512>(), hex::encode(&random::<64>()));
    canaries.add("a request's payload", &payload);
    canaries.add("a push's payload", text.as_bytes());
    let mut client = Client::login(target, "alice");
    client.wait_until_answered();
    let answer = Heard::Response(Outcome::Answered, 0, payload.to_vec());
    assert_eq!(client.ask("echo", &payload), answer);
    client.request("chat", format!("alice\n{text}").as_bytes());
    client.hear_one(|heard| matches!(heard, Heard::Response(..)));
    let push = client.hear_one(|heard| matches!(heard, Heard::Push(_)));
    assert_eq!(push, Heard::Push(format!("alice\n{text}").into()));
    let nowhere = client.ask("nowhere", &payload);
    assert!(matches!(nowhere, Heard::Response(Outcome::Refused, ..)), "{nowhere:?}");
    for ticket in &client.tickets {
        canaries.add("a ticket's secret", &ticket.psk);
    }

    let mut refused = Client::connect(target);
    refused.say_who("alice", bad);
    assert_eq!(refused.hear_one(|_| true), Heard::Close(CloseCode::AuthFailed.number()));
    // No device: a field out of its bounds, beside a token that is good.
    let mut malformed = Client::connect(target);
    malformed.send(&[Frame::Auth(Auth { token: target.token.as_bytes(), ..Auth::default() })]);
    malformed.hear_one(|heard| *heard == Heard::End);
    let mut garbage = Client::connect(target);
    garbage.write(&[&[1, 0][..], &payload].concat());
    garbage.hear_one(|heard| *heard == Heard::End);
    wait_until("it was noticed", || target.metric("gateway_errors_total") >= 2);
    client
}

/// Everything that can be asked of a gateway.
fn ask(folder: &Folder, target: &Target, canaries: &Canaries) {
    let config = folder.file("gateway.toml");
    for page in ["/metrics", "/readyz", "/healthz", "/status", "/none"] {
        canaries.assert_absent(page, target.get(page).as_bytes());
    }
    let socket = folder.file("admin.sock");
    for words in [&["status"][..], &["status", "--json"], &["limits"], &["limits", "--json"]] {
        canaries.run(&[words, &["--socket", path(&socket)]].concat(), true);
    }
    canaries.run(&["check", path(&config)], true);
    canaries.run(&["doctor", "--config", path(&config)], true);
}

/// What operators do, and the mistakes they make with secrets.
fn operate(folder: &Folder, canaries: &Canaries) {
    let socket = folder.file("admin.sock");
    let subject = ["--user", "mallory", "--socket", path(&socket)];
    for words in [&["ban", "--reason", "spam"][..], &["ban", "--for", "1h"], &["unban"]] {
        canaries.run(&[words, &subject].concat(), true);
    }
    canaries.run(&[&["unban"][..], &subject].concat(), false);
    canaries.run(&["ban", "--ip", "192.0.2.7", "--socket", path(&socket)], true);
    for words in [&["bans"][..], &["bans", "--json"]] {
        canaries.run(&[words, &["--socket", path(&socket)]].concat(), true);
    }
    canaries.run(&["kick", "--user", "alice", "--revoke", "--socket", path(&socket)], true);
    canaries.run(&["kick", "--user", "alice", "--token-id", "login-1", "--socket", path(&socket)], true);

    let key = fs::read_to_string(folder.file("server.key")).expect("it is there");
    let digits = key.lines().find(|line| hex::decode_array::<32>(line).is_some()).expect("a line of it");
    let base64 = BASE64_STANDARD.encode(hex::decode_array::<32>(digits).expect("hex"));
    fs::write(folder.file("short.key"), &digits[1..]).expect("a folder of the test");
    fs::write(folder.file("twice.key"), format!("{digits}\n{digits}\n")).expect("the same");
    fs::write(folder.file("base64.key"), format!("{base64}\n")).expect("the same");
    let set = fs::read_to_string(folder.file("keys.json")).expect("it is there");
    fs::write(folder.file("torn.json"), &set[..set.len() - 3]).expect("the same");
    fs::write(folder.file("mixed.json"), set.replacen("HS256", "EdDSA", 1)).expect("the same");
    let sound = "keys.server = 'server.key'\nauth.mode = 'development'\n";
    let mistakes = [
        "keys.server = 'short.key'\nauth.mode = 'development'\n".to_owned(),
        "keys.server = 'twice.key'\nauth.mode = 'development'\n".to_owned(),
        "keys.server = 'base64.key'\nauth.mode = 'development'\n".to_owned(),
        format!("keys.server = '{digits}'\nauth.mode = 'development'\n"),
        format!("keys.server = '{base64}'\nauth.mode = 'development'\n"),
        format!("{sound}keys.tickets = ['{base64}']\n"),
        format!("{sound}keys.tickets = '{digits}'\n"),
        format!("{sound}log.level = '{digits}'\n"),
        format!("{sound}server_key = '{base64}'\n"),
        format!("{sound}server_key = {base64}\n"),
        format!("{sound}limits.outbox = \"{digits}\"\n"),
        "keys.server = 'server.key'\nauth = { mode = 'jwt', keys = 'torn.json' }\n".to_owned(),
        "keys.server = 'server.key'\nauth = { mode = 'jwt', keys = 'mixed.json' }\n".to_owned(),
        // A key file where a config is wanted.
        key.clone(),
    ];
    for mistake in mistakes {
        let file = folder.file("mistake.toml");
        fs::write(&file, &mistake).expect("a folder of the test");
        for verb in [&["check"][..], &["run", "--config"], &["doctor", "--config"]] {
            canaries.run(&[verb, &[path(&file)]].concat(), false);
        }
    }
}

#[test]
fn the_token_of_development_mode_is_in_the_ready_file_that_its_owner_alone_can_read_and_nowhere_else() {
    let Some(folder) = Folder::new() else { return };
    let ready = folder.file("ready.json");
    let dev = ["dev", "--listen", "127.0.0.1:0", "--workers", "1", "--ready-file", path(&ready)];
    let mut dev = start(&folder, "dev.txt", &dev);
    let target = Target::read(&ready);
    let mut canaries = Canaries::default();
    canaries.add("the token", target.token.as_bytes());
    let written = fs::read(&ready).expect("it is there");
    assert_eq!(canaries.found_in(&written), Some("the token"));
    assert_eq!(fs::metadata(&ready).expect("it is there").mode() & 0o777, 0o600);
    Client::login(&target, "alice").wait_until_answered();
    let mut wrong = target.token.clone();
    wrong.replace_range(wrong.len() - 1.., "x");
    let mut refused = Client::connect(&target);
    refused.say_who("alice", &wrong);
    assert_eq!(refused.hear_one(|_| true), Heard::Close(CloseCode::AuthFailed.number()));

    for page in ["/metrics", "/readyz", "/status"] {
        canaries.assert_absent(page, target.get(page).as_bytes());
    }
    let json: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    let admin = json["admin"].as_str().expect("dev has one");
    for verb in ["status", "limits", "bans"] {
        canaries.run(&[verb, "--socket", admin], true);
    }
    dev.signal("TERM");
    assert!(dev.ended().success());
    let said = fs::read(folder.file("dev.txt")).expect("it was made");
    assert!(String::from_utf8_lossy(&said).contains("stopped"));
    canaries.assert_absent("what it says", &said);
}
