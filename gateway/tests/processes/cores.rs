//! Two cores with different values: they are shown as they are in force, and clients land on the worker that accepts
//! from the listener they know.

use serde_json::{Value, json};

use crate::client::Client;
use crate::stage::{Folder, Stage, Target, gateway, path, wait_until};

/// Listener "app" for worker 0, and "web" with a key of its own for worker 1.
const APART: &str = "\
[[listener]]
name = 'app'
address = '127.0.0.1:0'
[[listener]]
name = 'web'
address = '127.0.0.1:0'
key = 'web.key'
suites = ['NK_AESGCM', 'NNpsk0_AESGCM']
[[core]]
slots = 400
parked_accepts = 16
handshakes_per_turn = 2
link_buffers = 64
listeners = ['app']
[[core]]
slots = 800
parked_accepts = 32
link_buffers = 256
listeners = ['web']
";

/// What differs, as it is in force. The last one is inherited by worker 1.
const DIFFERENT: [(&str, [u64; 2]); 4] = [
    ("slots", [400, 800]),
    ("parked_accepts", [16, 32]),
    ("link_buffers", [64, 256]),
    ("handshakes_per_turn", [2, 4]),
];

#[test]
fn each_core_has_its_own_values_and_its_own_clients() {
    let Some(folder) = Folder::new() else { return };
    let web_key = folder.make_key("web.key");
    let (admin, config) = (folder.file("admin.sock"), folder.file("gateway.toml"));
    let stage = Stage::set_in(folder, &format!("admin.socket = '{}'\n{APART}", path(&admin)));

    let checked = said(&["check", path(&config)]);
    rows_are_right(&checked);
    assert!(column(&checked, "app", 2) == "0" && column(&checked, "web", 2) == "1", "{checked}");

    let status = || -> Value {
        serde_json::from_str(&said(&["status", "--socket", path(&admin), "--json"])).expect("it is JSON")
    };
    let told = status();
    for (name, values) in DIFFERENT {
        for (worker, value) in values.into_iter().enumerate() {
            assert_eq!(told["workers"][worker][name], value, "{name} of {worker}");
            let labels = format!("worker=\"{worker}\",key=\"core.{name}\"");
            assert_eq!(stage.target.sum("gateway_config_bound", &labels), value, "{labels}");
        }
    }
    assert_eq!(told["listeners"][0]["cores"], json!([0]));
    assert_eq!(told["listeners"][1]["cores"], json!([1]));
    assert_eq!(told["listeners"][1]["suites"], json!(["NK_AESGCM", "NNpsk0_AESGCM"]));
    rows_are_right(&said(&["status", "--socket", path(&admin)]));

    let address = told["listeners"][1]["address"].as_str().expect("an address").parse().expect("an address");
    let web = Target { address, key: web_key, token: stage.target.token.clone(), http: None };
    let logins = |target: &Target, count: usize| -> Vec<_> {
        (0..count).map(|index| Client::login(target, &format!("user{index} of {}", target.address))).collect()
    };
    // Kept, so that their links stay.
    let mut all = logins(&stage.target, 5);
    all.extend(logins(&web, 3));
    wait_until("each worker counts its own", || {
        ["gateway_links_accepted_total", "gateway_sessions"].iter().all(|name| {
            let of = |worker: usize| stage.target.sum(name, &format!("worker=\"{worker}\""));
            (of(0), of(1)) == (5, 3)
        })
    });
    all.iter_mut().for_each(Client::wait_until_answered);
    assert_ne!(stage.target.key, web_key);
    assert_eq!(all[0].server_keys, [(stage.target.key.0.to_vec(), 0)]);
    assert_eq!(all[5].server_keys, [(web_key.0.to_vec(), 0)], "each listener's clients hear of its key");
}

#[test]
fn a_core_serves_two_listeners_each_with_its_own_key() {
    let Some(folder) = Folder::new() else { return };
    let web_key = folder.make_key("web.key");
    let admin = folder.file("admin.sock");
    let both = "[receive]\nparked_accepts = 5\n[[listener]]\nname = 'app'\naddress = '127.0.0.1:0'\n\
                [[listener]]\nname = 'web'\naddress = '127.0.0.1:0'\nkey = 'web.key'\n";
    let stage = Stage::set_in(folder, &format!("admin.socket = '{}'\n{both}", path(&admin)));
    let told: Value =
        serde_json::from_str(&said(&["status", "--socket", path(&admin), "--json"])).expect("it is JSON");
    let address = told["listeners"][1]["address"].as_str().expect("an address").parse().expect("an address");
    let web = Target { address, key: web_key, token: stage.target.token.clone(), http: None };
    for (target, user) in [(&stage.target, "first"), (&web, "second"), (&stage.target, "third")] {
        let mut client = Client::login(target, user);
        client.wait_until_answered();
        assert_eq!(client.server_keys, [(target.key.0.to_vec(), 0)], "{user} hears of the key it knows");
    }
    let workers = told["workers"].as_array().expect("all workers").len();
    wait_until("each worker has five accepts parked on each listener", || {
        stage.target.sum("gateway_accepts_parked", "") == 2 * 5 * workers as u64
    });
}

/// What the gateway's binary prints.
fn said(arguments: &[&str]) -> String {
    let output = gateway(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Whether the table of cores has a row for each of the two, with what differs.
fn rows_are_right(text: &str) {
    for (core, slots, buffers, parked, handshakes, listener) in
        [("0", "400", "64 × 2KiB", "16", "2", "app"), ("1", "800", "256 × 2KiB", "32", "4", "web")]
    {
        let cells = [(2, slots), (6, buffers), (8, parked), (9, handshakes), (10, listener)];
        assert!(cells.iter().all(|(at, cell)| column(text, core, *at) == *cell), "{core}: {text}");
    }
}

/// A cell of the row that begins with this.
fn column<'t>(text: &'t str, row: &str, at: usize) -> &'t str {
    let cells = |line: &'t str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    let mut found = text.lines().filter(|line| cells(line).next() == Some(row));
    found.find_map(|line| cells(line).nth(at)).unwrap_or_else(|| panic!("no {at} of {row}: {text}"))
}
