//! A listener for clients without a server key: who is let in there, what is told, and what is kept.

use std::net::SocketAddr;

use base64::Engine as _;
use protocol::CloseCode;
use protocol::noise::StaticKey;

use crate::client::{Client, Heard};
use crate::stage::{Folder, PATIENCE, Process, Target, gateway, now, path, wait_until};

const SETTINGS: &str = "auth.mode = 'jwt'\nauth.keys = 'keys.json'\nlimits.loopback_exempt = true\n\
                        limits.xx_handshakes = 3\nlimits.auth_deadline = '2s'\n\
                        listener = [{ name = 'clients', address = '127.0.0.1:0' }, \
                        { name = 'xx', address = '127.0.0.1:0', key = 'xx.key', suites = ['XX_AESGCM'], \
                        handshake_share = 5 }]\n";

struct Scene {
    target: Target,
    /// Where clients come without a key.
    unpinned: SocketAddr,
    folder: Folder,
    _gateway: Process,
    _service: Process,
}

impl Scene {
    fn set() -> Option<Self> {
        let folder = Folder::new()?;
        folder.make_key("server.key");
        folder.make_key("xx.key");
        let service = Process::service(&folder.file("service.sock"));
        let made = gateway(&["keygen", "--tokens", path(&folder.file("one.jwk"))]);
        std::fs::write(folder.file("keys.json"), made.stdout).expect("a folder of the test");
        let (gateway, target) = folder.gateway(SETTINGS);
        let text = std::fs::read_to_string(folder.file("ready.json")).expect("it is ready");
        let json: serde_json::Value = serde_json::from_str(&text).expect("the ready file is JSON");
        let listeners = json["listeners"].as_array().expect("there are two");
        let xx = listeners.iter().find(|listener| listener["name"] == "xx").expect("it is one");
        let unpinned = xx["listen"].as_str().expect("an address").parse().expect("an address");
        Some(Self { target, unpinned, folder, _gateway: gateway, _service: service })
    }

    fn mint(&self, more: &[&str]) -> String {
        let (config, key) = (self.folder.file("gateway.toml"), self.folder.file("one.jwk"));
        let known = ["token", "--config", path(&config), "--user", "alice", "--sign-with", path(&key)];
        let minted = gateway(&[&known[..], more].concat());
        assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
        String::from_utf8(minted.stdout).expect("text").trim().to_owned()
    }

    /// A token that names a key.
    fn bound(&self, curve: &str, key: &StaticKey) -> String {
        let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.public().0);
        let claim = format!("cnf={{\"jwk\":{{\"kty\":\"OKP\",\"crv\":\"{curve}\",\"x\":\"{x}\"}}}}");
        self.mint(&["--claim", &claim])
    }

    fn client(&self, key: &StaticKey) -> Client {
        Client::unpinned(self.unpinned, key).expect("whoever comes is answered")
    }
}

#[test]
fn whoever_has_a_token_that_names_its_key_gets_in_and_is_given_nothing_to_keep() {
    let Some(scene) = Scene::set() else { return };
    let (own, other) = (StaticKey::from_secret([3; 32]), StaticKey::from_secret([4; 32]));
    let good = scene.bound("X25519", &own);
    let mut client = scene.client(&own);
    client.authenticate("", &good);
    assert!(client.tickets.is_empty() && client.server_keys.is_empty(), "nothing was proved to it");
    client.wait_until_answered();
    // The same token on a link of somebody else, and tokens that name no key of a handshake.
    let refused = [
        (&other, good.clone()),
        (&own, scene.mint(&[])),
        (&own, scene.bound("Ed25519", &own)),
        (&own, "nonsense".to_owned()),
    ];
    for (key, token) in &refused {
        let mut client = scene.client(key);
        client.say_who("", token);
        assert_eq!(client.hear_one(|_| true), Heard::Close(CloseCode::AuthFailed.number()));
    }
    assert_eq!(scene.target.sum("gateway_token_flaws_total", "flaw=\"binding\""), 3);
    let mut pinned = Client::connect(&scene.target);
    pinned.authenticate("", &scene.mint(&[]));
    assert!(!pinned.tickets.is_empty() && !pinned.server_keys.is_empty(), "elsewhere it is as ever");
    assert!(Client::unpinned(scene.target.address, &own).is_err(), "and who has no key hears nothing");
}

/// It asks for its best suite first, hears that this listener has another one of its list, and goes on with that.
#[test]
fn the_client_sdk_links_without_a_server_key_and_shows_no_token_that_could_be_passed_on() {
    let Some(scene) = Scene::set() else { return };
    let key = StaticKey::from_secret([3; 32]);
    let config = |token: String| {
        let credentials = client::Credentials::token(token);
        client::Config::unpinned(scene.unpinned.to_string(), key.clone(), credentials, "", "test")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let unbound = client::Client::connect(config(scene.mint(&[]))).await;
        assert_eq!(unbound.err(), Some(client::Error::Unbound));
        assert_eq!(scene.target.metric("gateway_links_accepted_total"), 0, "nobody was called");
        let bound = client::Client::connect(config(scene.bound("X25519", &key))).await;
        let (client, _pushes) = bound.expect("its token names its key");
        let session = client.ready().await.expect("the link is up");
        assert_eq!((session.suite, &session.user[..]), (protocol::noise::Suite::XxAesGcm, &b"alice"[..]));
        assert!(session.server_keys.is_empty(), "there is nothing to store");
        // The stream to the backend may still be on its way up.
        let end = now() + PATIENCE;
        let answered = client::Outcome::Answered { status: 0, payload: b"hello".to_vec().into() };
        while client.request("echo", b"", b"hello".as_slice()).await != answered {
            assert!(now() < end, "the backend does not answer");
        }
    });
}

#[test]
fn strangers_who_never_send_message_3_push_out_each_other_and_are_forgotten() {
    let Some(scene) = Scene::set() else { return };
    let key = StaticKey::from_secret([3; 32]);
    let crowd: Vec<_> = (0..20).map(|_| scene.client(&key)).collect();
    let waiting = || scene.target.metric("gateway_xx_handshakes");
    // The workers publish at the end of their turns.
    wait_until("the bound of two workers is kept", || (1..=6).contains(&waiting()));
    let evicted = || scene.target.metric("gateway_xx_handshakes_evicted_total");
    wait_until("the others had to go", || evicted() + waiting() >= 20 - scene.lapsed());
    assert!(evicted() >= 20 - 6 - scene.lapsed());
    assert_eq!(scene.target.sum("gateway_kept_out_total", "guard=\"xx_handshakes\""), evicted());
    let mut client = scene.client(&key);
    client.authenticate("", &scene.bound("X25519", &key));
    wait_until("the time of the rest is over", || waiting() == 0);
    drop(crowd);
}

impl Scene {
    /// How many have ended as their time was over.
    fn lapsed(&self) -> u64 {
        self.target.sum("gateway_kept_out_total", "guard=\"deadlines\"")
    }
}
