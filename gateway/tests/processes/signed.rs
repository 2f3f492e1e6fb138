//! Signed tokens: minted, verified, renewed on a live link, and by keys that change while the gateway runs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use protocol::CloseCode;
use protocol::wire::frame::{Auth, Frame};

use crate::client::{Client, Heard, Ticket};
use crate::stage::{Folder, Process, Said, Target, gateway, path, wait_until};

const SETTINGS: &str = "auth.mode = 'jwt'\nauth.keys = 'keys.json'\nauth.issuer = 'login.example'\n\
                        auth.audience = ['chat']\nauth.skew = '0ms'\nlimits.loopback_exempt = true\n";

/// A gateway that verifies tokens, and the service behind it.
struct Scene {
    target: Target,
    folder: Folder,
    gateway: Process,
    said: Said,
    _service: Process,
}

impl Scene {
    fn set() -> Option<Self> {
        Some(Self::set_in(Folder::new()?, SETTINGS))
    }

    fn set_in(folder: Folder, settings: &str) -> Self {
        folder.make_key("server.key");
        let service = Process::service(&folder.file("service.sock"));
        make_signer(&folder, "one.jwk", "keys.json");
        let (config, ready) = (folder.write_config(settings), folder.file("ready.json"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(["run", "--config", path(&config), "--workers", "2", "--ready-file", path(&ready)]);
        let mut gateway = Process::start(command.stderr(Stdio::piped()));
        let said = gateway.said();
        Self { target: Target::read(&ready), folder, gateway, said, _service: service }
    }

    /// A token of alice or somebody else, signed with a key of the folder, and what else it is to say.
    fn mint(&self, user: &str, key: &str, more: &[&str]) -> String {
        let (config, key) = (self.folder.file("gateway.toml"), self.folder.file(key));
        let minted = gateway(
            &[&["token", "--config", path(&config), "--user", user, "--sign-with", path(&key)], more]
                .concat(),
        );
        assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
        String::from_utf8(minted.stdout).expect("text").trim().to_owned()
    }

    /// What a client that presents this token is told.
    fn told(&self, token: &str) -> Heard {
        let mut client = Client::connect(&self.target);
        client.say_who("", token);
        client.hear_one(|_| true)
    }
}

/// Makes a key that signs, and the set that verifies.
fn make_signer(folder: &Folder, private: &str, set: &str) -> PathBuf {
    let made = gateway(&["keygen", "--tokens", path(&folder.file(private))]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // As whoever publishes keys should: whole or not at all.
    let draft = folder.file("draft.json");
    std::fs::write(&draft, made.stdout).expect("a folder of the test");
    std::fs::rename(&draft, folder.file(set)).expect("the same folder");
    folder.file(set)
}

fn closed(code: CloseCode) -> Heard {
    Heard::Close(code.number())
}

#[test]
fn whoever_has_a_good_token_gets_in_as_whom_it_names_and_nobody_else_does() {
    let Some(scene) = Scene::set() else { return };
    make_signer(&scene.folder, "other.jwk", "other.json");
    let mint = |more: &[&str]| scene.mint("alice", "one.jwk", more);
    assert_eq!(scene.told(&mint(&[])), Heard::Welcome);
    for (what, token, code) in [
        ("another key", scene.mint("alice", "other.jwk", &[]), CloseCode::AuthFailed),
        ("another audience", mint(&["--claim", "aud=mail"]), CloseCode::AuthFailed),
        ("another issuer", mint(&["--claim", "iss=evil.example"]), CloseCode::AuthFailed),
        ("not yet", mint(&["--claim", "nbf=4000000000"]), CloseCode::AuthFailed),
        ("no more", mint(&["--claim", "exp=1600000000"]), CloseCode::TokenExpired),
        ("bound", mint(&["--claim", "cnf={}"]), CloseCode::AuthFailed),
        ("no token", "nonsense".to_owned(), CloseCode::AuthFailed),
        ("none", "eyJhbGciOiJub25lIn0.e30.".to_owned(), CloseCode::AuthFailed),
    ] {
        assert_eq!(scene.told(&token), closed(code), "{what}");
    }
    let flaws = |flaw: &str| scene.target.sum("gateway_token_flaws_total", &format!("flaw=\"{flaw}\""));
    assert_eq!(["key", "terms", "early", "expired", "binding", "form"].map(flaws), [1, 2, 1, 1, 1, 2]);

    // The second time nothing is verified, whichever worker it is.
    let token = mint(&["--claim", "jti=login-1"]);
    for _ in 0..10 {
        assert_eq!(scene.told(&token), Heard::Welcome);
    }
    let verified = scene.target.metric("gateway_tokens_verified_total");
    assert!(verified <= 8 + 2, "{verified}: 1 was good, 5 were not, and one more for each worker");
}

#[test]
fn a_token_is_renewed_on_its_link_and_the_link_ends_with_the_last_one() {
    let Some(scene) = Scene::set() else { return };
    let [short, as_short] = ["alice", "bob"].map(|user| scene.mint(user, "one.jwk", &["--for", "4s"]));
    let mut client = Client::connect(&scene.target);
    client.say_who("alice", &short);
    assert_eq!(client.hear(1), [Heard::Welcome]);
    // One that is refused changes nothing, and neither does one that is good and another's.
    client.send(&[Frame::Auth(Auth { token: b"nonsense", device: b"test", ..Auth::default() })]);
    let longer = scene.mint("alice", "one.jwk", &["--for", "8s"]);
    client.say_who("alice", &longer);
    assert_eq!(client.hear(1), [Heard::Welcome], "it is told until when it is good now");
    wait_until("the former token has ended", || scene.told(&as_short) == closed(CloseCode::TokenExpired));
    client.wait_until_answered();
    assert_eq!(client.hear_one(|heard| matches!(heard, Heard::Close(_))), closed(CloseCode::TokenExpired));
    assert_eq!(scene.target.metric("gateway_tokens_renewed_total"), 1);

    let mut client =
        Client::login(&Target { token: scene.mint("alice", "one.jwk", &[]), ..scene.target }, "alice");
    let bob = scene.folder.file("gateway.toml");
    let bob = gateway(&[
        "token",
        "--config",
        path(&bob),
        "--user",
        "bob",
        "--sign-with",
        path(&scene.folder.file("one.jwk")),
    ]);
    let bob = String::from_utf8(bob.stdout).expect("text");
    client.say_who("", bob.trim());
    assert_eq!(client.hear_one(|_| true), closed(CloseCode::AuthFailed), "somebody else, on this link");
}

#[test]
fn keys_change_while_the_gateway_runs_and_a_file_with_an_error_changes_nothing() {
    let Some(scene) = Scene::set() else { return };
    let old = scene.mint("alice", "one.jwk", &[]);
    assert_eq!(scene.told(&old), Heard::Welcome);
    std::fs::write(scene.folder.file("draft.json"), "{}").expect("a folder of the test");
    std::fs::rename(scene.folder.file("draft.json"), scene.folder.file("keys.json")).expect("the same");
    make_signer(&scene.folder, "two.jwk", "two.json");
    assert_eq!(scene.told(&old), Heard::Welcome, "the former keys stay in force");
    std::fs::rename(scene.folder.file("two.json"), scene.folder.file("keys.json")).expect("the same folder");
    let new = scene.mint("alice", "two.jwk", &[]);
    wait_until("the new key is in force", || scene.told(&new) == Heard::Welcome);
    wait_until("and the old one nowhere", || scene.told(&old) == closed(CloseCode::AuthFailed));
}

#[test]
fn whoever_keeps_presenting_bad_tokens_on_its_link_is_let_go() {
    let Some(scene) = Scene::set() else { return };
    let mut client = Client::connect(&scene.target);
    client.say_who("alice", &scene.mint("alice", "one.jwk", &[]));
    assert_eq!(client.hear(1), [Heard::Welcome]);
    let bad = Frame::Auth(Auth { token: b"nonsense", device: b"test", ..Auth::default() });
    client.send(&[bad; 100]);
    client.wait_until_answered();
    client.send(&[bad]);
    assert_eq!(client.hear_one(|heard| matches!(heard, Heard::Close(_))), closed(CloseCode::Glitches));
}

/// When a token says that it was issued, in seconds.
fn issued(token: &str) -> u64 {
    let claims = token.split('.').nth(1).and_then(|claims| BASE64_URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: serde_json::Value = serde_json::from_slice(&claims.expect("base64")).expect("JSON");
    claims["iat"].as_u64().expect("it says so")
}

#[test]
fn a_token_from_before_a_revocation_is_worth_nothing_and_one_from_after_it_is() {
    let Some(folder) = Folder::new() else { return };
    let admin = path(&folder.file("admin.sock")).to_owned();
    let scene = Scene::set_in(folder, &format!("{SETTINGS}admin.socket = '{admin}'\n"));
    let old = scene.mint("alice", "one.jwk", &[]);
    let begin = issued(&old) - 7200;
    let dated_back = scene.mint("alice", "one.jwk", &["--claim", &format!("iat={begin}")]);
    assert_eq!(scene.told(&old), Heard::Welcome);
    let kicked = gateway(&["kick", "--user", "alice", "--revoke", "--socket", &admin]);
    assert!(kicked.status.success(), "{}", String::from_utf8_lossy(&kicked.stderr));
    wait_until("it is worth nothing", || scene.told(&old) == closed(CloseCode::AuthFailed));
    assert_eq!(scene.told(&dated_back), closed(CloseCode::AuthFailed), "nor is one of long ago");
    assert_eq!(scene.told(&scene.mint("bob", "one.jwk", &[])), Heard::Welcome);
    // Tokens are dated to the second.
    wait_until("a new one is good", || scene.told(&scene.mint("alice", "one.jwk", &[])) == Heard::Welcome);
    assert_eq!(scene.told(&old), closed(CloseCode::AuthFailed));
}

/// Comes back with a ticket, on the device of these tests; what it is told.
fn told_with(target: &Target, ticket: &Ticket) -> Heard {
    let mut client = Client::dial(target, Some(ticket)).expect("its seal is good");
    client.send(&[Frame::Auth(Auth { device: b"test", ..Auth::default() })]);
    client.hear_one(|_| true)
}

#[test]
fn a_login_is_kicked_by_the_id_of_its_token_and_no_other_login_notices() {
    let Some(folder) = Folder::new() else { return };
    let admin = path(&folder.file("admin.sock")).to_owned();
    let scene = Scene::set_in(folder, &format!("{SETTINGS}admin.socket = '{admin}'\n"));
    let mint = |user: &str, id: &str| scene.mint(user, "one.jwk", &["--claim", id]);
    let (stolen, other) = (mint("alice", "jti=stolen"), mint("alice", "jti=other"));
    let login = |token: &str, device: &str| on_device(&scene, device, token);
    let (mut thief, heard) = login(&stolen, "test");
    assert_eq!(heard, Heard::Welcome);
    let ticket = thief.tickets.pop().expect("a welcome brings tickets");
    let (mut alice, heard) = login(&other, "phone");
    assert_eq!(heard, Heard::Welcome);
    let (mut bob, heard) = login(&mint("bob", "jti=stolen"), "test");
    assert_eq!(heard, Heard::Welcome);

    let verb = ["kick", "--user", "alice", "--token-id", "stolen", "--json", "--socket", &admin];
    let kicked = gateway(&verb);
    assert!(kicked.status.success(), "{}", String::from_utf8_lossy(&kicked.stderr));
    let said = String::from_utf8(kicked.stdout).expect("text");
    assert!(said.contains("\"token_id\":\"stolen\"") && said.contains("\"revoked\":true"), "{said}");
    assert_eq!(thief.hear_one(|heard| matches!(heard, Heard::Close(_))), closed(CloseCode::Kicked));
    assert_eq!(scene.told(&stolen), closed(CloseCode::AuthFailed), "its token");
    assert_eq!(told_with(&scene.target, &ticket), closed(CloseCode::AuthFailed), "its ticket");
    let another = mint("alice", "jti=stolen");
    assert_eq!(scene.told(&another), closed(CloseCode::AuthFailed), "another token of that id");

    for innocent in [&mut alice, &mut bob] {
        innocent.request("echo", b"?");
        innocent.wait_until_answered();
    }
    let ticket = alice.tickets.pop().expect("a welcome brings tickets");
    drop(alice);
    let mut again = Client::dial(&scene.target, Some(&ticket)).expect("its seal is good");
    again.send(&[Frame::Auth(Auth { device: b"phone", ..Auth::default() })]);
    assert_eq!(again.hear(1), [Heard::Welcome], "its ticket is as good as its token");
    assert_eq!(login(&other, "phone").1, Heard::Welcome);
    assert_eq!(scene.told(&mint("alice", "jti=third")), Heard::Welcome);
    // Whoever is in may not go over to it either.
    let (mut mallory, heard) = login(&mint("alice", "jti=fourth"), "desk");
    assert_eq!(heard, Heard::Welcome);
    mallory.send(&[Frame::Auth(Auth { token: stolen.as_bytes(), device: b"desk", ..Auth::default() })]);
    assert_eq!(mallory.hear_one(|_| true), closed(CloseCode::AuthFailed), "without a welcome");

    let counted = |name| scene.target.metric(name);
    assert_eq!(counted("gateway_revoked_logins_remembered"), 1);
    assert_eq!(
        (counted("gateway_revoked_logins_forgotten_total"), counted("gateway_revocations_remembered")),
        (0, 0)
    );
    let Scene { mut gateway, said, .. } = scene;
    gateway.signal("TERM");
    assert!(gateway.ended().success());
    let log = said.whole();
    assert!(
        log.contains("kicks user alice by login \"stolen\", and that login is worth nothing any more"),
        "{log}"
    );
    assert!(![&stolen, &another, &other].iter().any(|token| log.contains(token.as_str())), "{log}");
}

#[test]
fn tokens_that_are_good_for_longer_than_revocations_are_remembered_are_refused_and_told_of() {
    let Some(folder) = Folder::new() else { return };
    let scene = Scene::set_in(folder, &format!("{SETTINGS}auth.token_lifetime_max = '2h'\n"));
    let mint = |more: &[&str]| scene.mint("alice", "one.jwk", more);
    assert_eq!(scene.told(&mint(&["--for", "2h"])), Heard::Welcome);
    assert_eq!(scene.told(&mint(&["--for", "3h"])), closed(CloseCode::AuthFailed));
    assert_eq!(scene.told(&mint(&["--claim", "iat=0"])), closed(CloseCode::AuthFailed), "its last hour");
    assert_eq!(scene.target.sum("gateway_token_flaws_total", "flaw=\"lifetime\""), 2);
    let config = scene.folder.file("gateway.toml");
    let check = gateway(&["check", path(&config)]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("tokens are good for 2h at most (auth.token_lifetime_max)"), "{said}");
    scene.said.wait_for("raise `token_lifetime_max` of [auth]");
}

const POLICY: &str = "auth.mode = 'jwt'\nauth.keys = 'keys.json'\nauth.issuer = 'login.example'\n\
                      auth.audience = ['chat']\ndevices.phone = 'refuse 1'\n\
                      class = [{ name = 'service', control_per_link = '5000/s', frames_per_link = '5000/s', \
                      frames_per_user = '5000/s' }]\n";

/// A login on a device; what it is told.
fn on_device(scene: &Scene, device: &str, token: &str) -> (Client, Heard) {
    let mut client = Client::connect(&scene.target);
    let (token, device) = (token.as_bytes(), device.as_bytes());
    client.send(&[Frame::Auth(Auth { token, device, class: 3, ..Auth::default() })]);
    let heard = client.hear_one(|_| true);
    (client, heard)
}

#[test]
fn what_a_token_says_of_device_and_account_holds_and_so_it_does_after_a_ticket() {
    let Some(folder) = Folder::new() else { return };
    let scene = Scene::set_in(folder, POLICY);
    let phone = |id: &str| {
        let claims = ["--claim", "device_class=phone", "--claim", "limit_class=service", "--claim", id];
        scene.mint("alice", "one.jwk", &claims)
    };
    let (mut first, heard) = on_device(&scene, "first", &phone("jti=one"));
    assert_eq!(heard, Heard::Welcome);
    // The client's word says desktop, and the token's counts.
    assert_eq!(on_device(&scene, "second", &phone("jti=two")).1, closed(CloseCode::DeviceRefused));
    assert_eq!(scene.target.sum("gateway_kept_out_total", "guard=\"devices\""), 1);
    let (_tablet, heard) = on_device(&scene, "tablet", &scene.mint("alice", "one.jwk", &[]));
    assert_eq!(heard, Heard::Welcome, "nobody but itself says what it is");

    let pings: Vec<_> = (0..600).map(|_| Frame::Ping(Default::default())).collect();
    let pongs = |client: &mut Client| {
        client.send(&pings);
        let heard = client.hear(600);
        heard.iter().filter(|heard| **heard == Heard::Other("pong")).count()
    };
    assert_eq!(pongs(&mut first), 600, "a service may say more");
    let ticket = first.tickets.pop().expect("a welcome brings tickets");
    drop(first);
    wait_until("its link is gone", || scene.target.metric("gateway_sessions_detached") == 1);
    let mut again = Client::dial(&scene.target, Some(&ticket)).expect("a good ticket");
    again.send(&[Frame::Auth(Auth { device: b"first", ..Auth::default() })]);
    assert_eq!(again.hear(1), [Heard::Welcome]);
    assert_eq!(on_device(&scene, "second", &phone("jti=two")).1, closed(CloseCode::DeviceRefused));
    assert_eq!(pongs(&mut again), 600);
    let unknown = scene.mint("bob", "one.jwk", &["--claim", "limit_class=nobody"]);
    let (mut bob, heard) = on_device(&scene, "phone", &unknown);
    assert_eq!(heard, Heard::Welcome);
    assert!(pongs(&mut bob) < 300);
    assert_eq!(scene.target.metric("gateway_limit_classes_unknown_total"), 1);
}

#[test]
fn a_renewed_token_may_be_of_another_class_and_its_limits_hold_from_then_on() {
    let Some(folder) = Folder::new() else { return };
    let scene = Scene::set_in(folder, POLICY);
    let (mut alice, heard) = on_device(&scene, "desk", &scene.mint("alice", "one.jwk", &[]));
    assert_eq!(heard, Heard::Welcome);
    let token = scene.mint("alice", "one.jwk", &["--claim", "limit_class=service"]);
    alice.send(&[Frame::Auth(Auth { token: token.as_bytes(), device: b"desk", ..Auth::default() })]);
    assert_eq!(alice.hear(1), [Heard::Welcome]);
    let pings: Vec<_> = (0..600).map(|_| Frame::Ping(Default::default())).collect();
    alice.send(&pings);
    assert!(alice.hear(600).iter().all(|heard| *heard == Heard::Other("pong")));
}
