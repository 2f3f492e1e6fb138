//! Configs as people write them, and what the gateway says about them.

use std::time::Duration;

use protocol::noise::Suite;

use super::section::Section as _;
use super::*;

mod cores;
mod listeners;
mod overload;
mod rates;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

const GOOD: &str = r#"
[keys]
server = "server.key"

[auth]
mode = "delegated"
route = "accounts"

[[route]]
name = "chat"
endpoints = ["chat-1", "chat-2"]
presence = true

[[route]]
name = "accounts"
endpoints = ["accounts"]

[[endpoint]]
name = "accounts"
address = "unix:/run/accounts.sock"
clear = true

[[endpoint]]
name = "chat-1"
address = "tcp:10.0.0.1:9000"
key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

[[endpoint]]
name = "chat-2"
address = "tcp:10.0.0.2:9000"
key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

[upstream]
key = "upstream.key"
"#;

fn machine() -> Machine {
    Machine { cpus: vec![0, 1, 5], open_files: 20_000, memory: 64 << 30 }
}

fn read(path: &Path) -> std::io::Result<String> {
    match path.to_str() {
        Some("server.key" | "upstream.key") => Ok(format!("# a key\n{KEY}\n")),
        Some("own.key") => Ok("07".repeat(32)),
        Some("bom.key") => Ok(format!("\u{feff}# a key\r\n{KEY}\r\n")),
        Some("cut.key") => Ok(KEY[..40].to_owned()),
        Some("denied.key") => Err(std::io::Error::from_raw_os_error(libc::EACCES)),
        _ => Err(std::io::Error::from_raw_os_error(libc::ENOENT)),
    }
}

fn check(text: &str) -> Result<(Checked<Config>, Problems), Problems> {
    load("gateway.toml", text, Overrides::default(), &machine(), &read)
}

/// Adds a line to the table `[name]` of [`GOOD`], or the table itself.
fn with(table: &str, line: &str) -> String {
    let header = format!("[{table}]\n");
    if GOOD.contains(&header) {
        GOOD.replace(&header, &format!("{header}{line}\n"))
    } else {
        format!("{GOOD}\n{header}{line}\n")
    }
}

/// The only problem of a text, as it is printed.
fn problem(text: &str) -> String {
    let problems = check(text).expect_err("the text is wrong");
    assert_eq!(problems.list.len(), 1, "{problems}");
    problems.to_string()
}

#[test]
fn every_number_in_force_is_told_once_with_its_unit() {
    let (config, _) = check(&with("limits", "outbox_pool = \"32MiB\"")).expect("the text is right");
    let told = |key: &str| -> Vec<_> {
        config
            .bounds
            .iter()
            .filter(|bound| bound.key == key)
            .map(|bound| (bound.number, bound.unit))
            .collect()
    };
    assert_eq!(told("limits.outbox_pool"), [(32 << 20, "bytes")], "from the file");
    assert_eq!(told("limits.letters"), [(16_384, "1")], "by default");
    assert_eq!(told("workers"), [(3, "1")], "one for each CPU, which 0 stands for");
    assert_eq!(told("heartbeat.min"), [(60_000, "milliseconds")]);
    assert_eq!(told("endpoint[2].credit_window"), [(1 << 20, "bytes")], "of one of several");
    let bounded = Limits::KEYS.iter().filter(|key| !key.bounds.is_empty());
    assert!(bounded.clone().count() > 15);
    for key in bounded {
        assert_eq!(told(&format!("limits.{}", key.name)).len(), 1, "{}", key.name);
    }
}

#[test]
fn a_small_file_is_enough_and_everything_else_has_a_default() {
    let (config, problems) = check(GOOD).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(problems.list, []);
    assert_eq!(config.cores.iter().map(|core| core.cpu).collect::<Vec<_>>(), [0, 1, 5]);
    assert!(config.cores.iter().all(|core| core.slots == 20_000));
    let [listener] = &config.listeners[..] else { panic!("there is one without being written") };
    assert_eq!((&*listener.name, listener.address), ("clients", "0.0.0.0:7400".parse().unwrap()));
    assert_eq!(listener.suites.bits(), 0b1_1001_1110);
    assert_eq!((listener.backlog, config.limits.close_timeout), (65_535, Duration::from_secs(5)));
    assert_eq!(config.routes[0].endpoints, [1, 2]);
    assert_eq!(config.routes[0].deadline, Duration::from_secs(10));
    assert!(matches!(&config.auth, Auth::Delegated { route, .. } if route == "accounts"));
    assert_eq!(config.endpoints[0].security, Security::Clear);
    assert_eq!(config.endpoint("chat-2"), Some(2));
    assert_eq!(config.limits.frame_len_max, protocol::limits::FRAME_LEN_MAX);
    assert_eq!(config.limits.record_len_max, protocol::limits::RECORD_LEN_MAX_UPLINK);
}

#[test]
fn every_default_is_written_correctly_and_lies_within_its_bounds() {
    // A default out of bounds would be refused when somebody writes it down.
    for (table, keys) in Config::keys() {
        for key in keys.iter().filter(|key| !key.default.is_empty()) {
            let line = format!("{} = {}", key.name, key.default);
            let text = match table {
                "" => format!("{line}\n{GOOD}"),
                "core" => format!("{GOOD}[[core]]\n{line}\n"),
                "listener" => format!("{GOOD}[[listener]]\nname = 'clients'\n{line}\n"),
                "route" | "endpoint" => {
                    GOOD.replacen(&format!("[[{table}]]\n"), &format!("[[{table}]]\n{line}\n"), 1)
                }
                _ => with(table, &line),
            };
            // `presence`, `clear` and `endpoints` stand in the sample already; TOML refuses the second.
            if let Err(problems) = check(&text) {
                assert!(problems.to_string().contains("duplicate key"), "{table}.{}: {problems}", key.name);
            }
        }
    }
}

#[test]
fn every_key_says_what_it_means_and_what_it_costs() {
    for (table, keys) in Config::keys() {
        for key in keys {
            assert!(key.doc.trim().ends_with('.'), "{table}.{}", key.name);
            assert!(!key.memory.is_empty() && !key.written.is_empty(), "{table}.{}", key.name);
        }
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_key_that_was_meant() {
    assert_eq!(
        problem(&with("limits", "frame_len = \"1KiB\"")),
        "gateway.toml:32: error: limits.frame_len: unknown key\n    \
         32 | frame_len = \"1KiB\"\n   fix: did you mean `frame_len_max`?\n"
            .replace("32", &line_of(&with("limits", "frame_len = \"1KiB\""), "frame_len"))
    );
    let text = with("log", "colour = true");
    assert_eq!(
        problem(&text),
        "gateway.toml:32: error: log.colour: unknown key\n    32 | colour = true\n   \
         fix: remove it; known here: level, core_dumps\n"
            .replace("32", &line_of(&text, "colour"))
    );
}

fn line_of(text: &str, start: &str) -> String {
    (text.lines().position(|line| line.starts_with(start)).expect("the line is there") + 1).to_string()
}

#[test]
fn an_unknown_table_is_an_error() {
    let said = problem(&with("limit", "strangers = 100"));
    assert!(said.contains("limit: unknown table") && said.contains("did you mean `limits`?"), "{said}");
}

#[test]
fn a_wrong_value_names_its_line_the_reason_and_the_right_form() {
    for (table, line, reason, fix) in [
        ("limits", "frame_len_max = 65536", "the value has no unit", "a size such as"),
        ("limits", "frame_len_max = \"2MiB\"", "2MiB is out of bounds", "from 4KiB to 1MiB"),
        ("limits", "frame_len_max = \"64kb\"", "unknown unit \"kb\"", "units B, KiB, MiB, GiB"),
        ("receive", "promote_after = 256", "256 is out of bounds", "from 1 to 255"),
        ("receive", "link_buffers = 1000", "1000 is no power of two", "choose 512 or 1024"),
        ("receive", "stream_buffers = 65", "65 is no power of two", "choose 64 or 128"),
        ("log", "level = \"debug\"", "is unknown", "\"error\", \"warning\""),
        ("heartbeat", "min = 30", "has no unit", "a time such as \"30s\""),
        ("heartbeat", "min = \"10ms\"", "10ms is out of bounds", "from 1s to 1h"),
        ("heartbeat", "min = \"61.5s\"", "has a fraction", "write \"61500ms\""),
        ("limits", "strangers = \"many\"", "is a string", "a whole number"),
        ("limits", "strangers = \"64\"", "is a string", "without quotes: 64"),
        ("limits", "loopback_exempt = \"true\"", "is a string", "without quotes: true"),
        ("suites", "leaving = \"NK_AESGCM\"", "a string, not a list", "in brackets: [\"NK_AESGCM\"]"),
        ("admin", "http = \"localhost:7480\"", "not an IP address with a port", "write \"127.0.0.1:7480\""),
        (
            "admin",
            "http = \"probes.example.com:80\"",
            "not an IP address",
            "`getent hosts probes.example.com`",
        ),
        ("limits", "strangers = 1", "1 is out of bounds", "from 16 to"),
        ("limits", "loopback_exempt = 1", "is a whole number", "true or false"),
        ("log", "level = \"inf\"", "did you mean \"info\"?", "\"error\", \"warning\""),
        ("suites", "allowed = [\"NK\"]", "is unknown", "NK_ChaChaPoly"),
        ("suites", "allowed = [\"KK_AESGCM\"]", "is unknown", "NNpsk0"),
        ("suites", "allowed = []", "no client could connect", "at least one suite"),
        ("keys", "retired = [\"abc\"]", "not 64 hex digits", "gateway keygen"),
        ("admin", "http = \"on\"", "not an IP address", "\"off\""),
    ] {
        let text = with(table, line);
        let said = problem(&text);
        assert!(said.contains(reason) && said.contains(fix), "{said}");
        assert!(said.contains(&format!("gateway.toml:{}: error: {table}.", line_of(&text, line))), "{said}");
        assert!(said.contains(&format!(" | {line}\n")), "{said}");
    }
}

#[test]
fn all_problems_are_found_at_once_in_the_order_of_the_file() {
    let text =
        with("limits", "strangers = 0\nglitches = \"x\"").replace("presence = true", "presense = true");
    let problems = check(&text).expect_err("three lines are wrong");
    let keys: Vec<_> = problems.list.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["route[0].presense", "limits.strangers", "limits.glitches"]);
}

#[test]
fn broken_toml_names_its_line() {
    let said = problem("[keys]\nserver = \n");
    assert!(said.starts_with("gateway.toml:2: error: "), "{said}");
}

#[test]
fn a_missing_key_points_at_its_table() {
    let said = problem(&GOOD.replace("mode = \"delegated\"\n", ""));
    assert!(
        said.contains("auth: `mode` is missing") && said.contains("add `mode`: \"development\""),
        "{said}"
    );
    let problems = check("").expect_err("two keys are required");
    let said = problems.to_string();
    assert!(said.contains("keys: `server` is missing") && said.contains("auth: `mode` is missing"), "{said}");
}

#[test]
fn names_must_resolve_and_be_unique() {
    let said = problem(&GOOD.replace("[\"chat-1\", \"chat-2\"]", "[\"chat-1\", \"caht-2\"]"));
    assert!(
        said.contains("no endpoint is called \"caht-2\"") && said.contains("did you mean \"chat-2\"?"),
        "{said}"
    );
    let said = problem(&GOOD.replace("[\"chat-1\", \"chat-2\"]", "[\"chat-1\", \"chat-1\"]"));
    assert!(said.contains("names \"chat-1\" twice"), "{said}");
    let said = problem(&GOOD.replace("route = \"accounts\"", "route = \"acounts\""));
    assert!(
        said.contains("no route is called \"acounts\"") && said.contains("did you mean \"accounts\"?"),
        "{said}"
    );
    let said = problem(&GOOD.replace("route = \"accounts\"", ""));
    assert!(said.contains("\"delegated\" needs a route"), "{said}");
    let said = problem(&GOOD.replace("\"delegated\"", "\"development\""));
    assert!(said.contains("auth.route: has no meaning in \"development\" mode"), "{said}");
    let said = problem(&GOOD.replace("[\"chat-1\", \"chat-2\"]", "[]"));
    assert!(said.contains("names no endpoint"), "{said}");
    let said = check(&GOOD.replace("name = \"chat-2\"", "name = \"chat-1\"")).expect_err("twice").to_string();
    assert!(said.contains("the name \"chat-1\" is taken"), "{said}");
}

#[test]
fn clear_streams_stay_on_this_machine() {
    let endpoint = |lines: &str| format!("{GOOD}\n[[endpoint]]\nname = \"more\"\n{lines}\n");
    for (lines, reason) in [
        ("address = \"tcp:10.0.0.3:9\"", "neither a key nor `clear = true`"),
        ("address = \"tcp:10.0.0.3:9\"\nclear = true", "cross the network in clear"),
        ("address = \"tcp:127.0.0.1:9\"\nclear = true", "any local process could take"),
        (&format!("address = \"unix:/a\"\nclear = true\nkey = \"{KEY}\""), "has a key and is clear"),
    ] {
        let said = problem(&endpoint(lines));
        assert!(said.contains(reason), "{said}");
    }
    let opted = endpoint("address = \"tcp:127.0.0.1:9\"\nclear = true")
        .replace("[upstream]\n", "[upstream]\nclear_on_loopback = true\n");
    assert!(check(&opted).is_ok());
    let said = check(&GOOD.replace("key = \"upstream.key\"", "")).expect_err("KK needs a key").to_string();
    assert!(said.contains("needs this gateway's own key for backends"), "{said}");
}

#[test]
fn key_files_must_be_there_and_hold_a_key() {
    let said = problem(&GOOD.replace("\"server.key\"", "\"other.key\""));
    assert!(
        said.contains("the key file other.key: No such file") && said.contains("gateway keygen --out"),
        "{said}"
    );
    for (file, cause, fix) in [
        ("bom.key", "begins with a byte order mark", "sed -i '1s/^\\xEF\\xBB\\xBF//' bom.key"),
        ("cut.key", "does not hold 64 hex digits", "restore it from a copy"),
        ("denied.key", "Permission denied", "chown USER denied.key; chmod 600 denied.key"),
    ] {
        let said = problem(&GOOD.replace("\"server.key\"", &format!("\"{file}\"")));
        assert!(said.contains(&format!("the key file {file}: ")) && said.contains(cause), "{said}");
        assert!(said.contains(fix) && !said.contains("keygen"), "a new key would lock clients out: {said}");
    }
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    for (table, lines, reason) in [
        ("heartbeat", "min = \"200s\"", "heartbeat.min: is greater than heartbeat.default"),
        ("heartbeat", "max = \"90s\"", "heartbeat.default: is greater than heartbeat.max"),
        ("limits", "outbox_soft = \"512KiB\"", "limits.outbox_soft: is greater than limits.outbox_hard"),
        (
            "limits",
            "outbox_hard = \"60KiB\"\noutbox_soft = \"8KiB\"",
            "frame_len_max: is greater than limits.outbox_hard",
        ),
        (
            "requests",
            "link_bytes = \"64KiB\"",
            "link_bytes: the longest request costs 65600 B, which no link is granted",
        ),
        (
            "limits",
            "partial_bytes = \"191KiB\"",
            "partial_bytes: one link may need 196608 B, for an incomplete frame and record",
        ),
        ("requests", "node_count = 16", "requests.link_count: is greater than requests.node_count"),
        ("upstream", "redial_min = \"8s\"", "upstream.redial_min: is greater than upstream.redial_max"),
    ] {
        let said = problem(&with(table, lines));
        assert!(said.contains(reason), "{said}");
    }
    let narrow = GOOD.replacen("clear = true", "clear = true\ncredit_window = \"256KiB\"", 1);
    assert!(check(&narrow).is_ok());
    let said =
        problem(&narrow.replace(
            "[upstream]",
            "[limits]\nframe_len_max = \"300KiB\"\noutbox_hard = \"1MiB\"\n[requests]\nlink_bytes = \"1MiB\"\n[upstream]",
        ));
    assert!(said.contains("is greater than half of endpoint[0].credit_window"), "{said}");
}

#[test]
fn a_route_and_its_endpoints_are_written_with_the_help_of_the_messages_alone() {
    let list = "[\"chat-1\", \"chat-2\"]";
    let said = problem(&GOOD.replace(list, "\"chat-1\""));
    assert!(said.contains("the value is a string, not a list"), "{said}");
    assert!(said.contains("fix: write it in brackets: [\"chat-1\"]\n"), "{said}");
    let said = problem(&GOOD.replace(list, "[\"10.0.0.1:9000\"]"));
    assert!(said.contains("the name of the table, and the address into that table's `address`"), "{said}");
    for (address, cause, fix) in [
        ("tcp:chat.example.com:9000", "is not an IP address with a port", "`getent hosts chat.example.com`"),
        ("10.0.0.1:9000", "begins neither with", "write \"tcp:10.0.0.1:9000\""),
        ("/run/chat.sock", "begins neither with", "write \"unix:/run/chat.sock\""),
        ("unix:chat.sock", "is not an absolute path", "write the whole path"),
    ] {
        let said = problem(&GOOD.replace("tcp:10.0.0.1:9000", address));
        assert!(said.contains(cause) && said.contains(fix), "{said}");
    }
}

#[test]
fn a_socket_whose_path_is_too_long_is_refused_with_its_length() {
    let socket = |len: usize| format!("socket = \"/{}/admin.sock\"", "x".repeat(len - 12));
    assert!(check(&with("admin", &socket(107))).is_ok());
    let said = problem(&with("admin", &socket(108)));
    assert!(said.contains("is a path of 108 bytes, and that of a Unix socket has at most 107"), "{said}");
    assert!(said.contains("choose a folder with a shorter path"), "{said}");
}

#[test]
fn few_open_files_are_named_as_what_they_are() {
    let endpoint = |i| format!("[[endpoint]]\nname = 'one-{i}'\naddress = 'unix:/{i}'\nclear = true\n");
    let text: String = std::iter::once(GOOD.to_owned()).chain((0..100).map(endpoint)).collect();
    for open_files in [32, 64] {
        let few = Machine { open_files, ..machine() };
        let problems = load("f", &text, Overrides::default(), &few, &read).expect_err("there are too few");
        let said = problems.to_string();
        assert_eq!(problems.list.len(), 1, "{said}");
        assert!(said.contains(&format!("the limit of open files is {open_files}")), "{said}");
        assert!(said.contains("LimitNOFILE=") && !said.contains("parked_accepts"), "{said}");
    }
}

#[test]
fn a_key_in_the_place_of_its_file_is_not_repeated() {
    let said = problem(&GOOD.replace("\"server.key\"", &format!("\"{KEY}\"")));
    assert!(said.contains("keys.server: this is a key, and a file is wanted"), "{said}");
    assert!(said.contains("| server = \"***\"") && !said.contains(KEY), "{said}");
    let said =
        problem(&with("keys", &format!("next = {:?}", [&*format!("{KEY} from 2030-12-24T06:00:00Z"); 5])));
    assert!(said.contains("keys.next: lists 5 keys") && said.contains("at most 4"), "{said}");
}

#[test]
fn tokens_are_judged_over_sealed_streams_and_unix_sockets_only() {
    let clear = with("upstream", "clear_on_loopback = true");
    let said = problem(&clear.replace("unix:/run/accounts.sock", "tcp:127.0.0.1:9"));
    assert!(said.contains("judges tokens, which would reach it in clear over TCP"), "{said}");
}

#[test]
fn suites_that_leave_are_not_announced_and_have_to_be_there() {
    let (config, _) = check(&with("suites", "leaving = ['NK_ChaChaPoly']")).unwrap_or_else(|p| panic!("{p}"));
    let listener = &config.listeners[0];
    let (allowed, announced) = (listener.suites, listener.suites_announced);
    assert!(allowed.contains(Suite::NkChaChaPoly) && !announced.contains(Suite::NkChaChaPoly));
    let said = problem(&with("suites", "allowed = ['NK_AESGCM']\nleaving = ['NK_ChaChaPoly']"));
    assert!(said.contains("suites.leaving: lists a suite that no listener allows"), "{said}");
}

#[test]
fn links_leave_room_for_streams_and_for_those_that_come_back() {
    let (config, _) = check(GOOD).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.endpoints.len(), 3);
    assert_eq!((config.slots_reserved(20_000), config.links_max(20_000)), (64, 20_000 - 64 - 3));
    assert_eq!((config.slots_reserved(16), config.links_max(16)), (3, 10));
}

#[test]
fn more_workers_than_cpus_share_them_in_turn() {
    let overrides = Overrides { listen: Some("127.0.0.1:1".parse().unwrap()), workers: Some(7) };
    let (config, _) =
        load("f", GOOD, overrides, &machine(), &read).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.cores.iter().map(|core| core.cpu).collect::<Vec<_>>(), [0, 1, 5, 0, 1, 5, 0]);
    assert_eq!(config.listeners[0].address, "127.0.0.1:1".parse().unwrap());
    let none = Overrides { workers: Some(0), ..overrides };
    assert!(load("f", GOOD, none, &machine(), &read).is_err());
}

#[test]
fn what_is_open_to_the_network_is_warned_about() {
    let text = GOOD.replace("mode = \"delegated\"\nroute = \"accounts\"", "mode = \"development\"");
    let (_, problems) = check(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(problems.to_string().contains("warning: auth.mode: in development mode"), "{problems}");
    let (_, problems) =
        check(&with("admin", "http = \"0.0.0.0:1\"")).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(problems.to_string().contains("warning: admin.http"), "{problems}");
    let small = Machine { memory: 64 << 20, ..machine() };
    let (_, problems) =
        load("f", GOOD, Overrides::default(), &small, &read).unwrap_or_else(|p| panic!("{p}"));
    assert!(problems.to_string().contains("the sum of all limits is"), "{problems}");
}

#[test]
fn the_sum_of_all_limits_follows_the_limits() {
    let sum = |text: &str| Ceiling::of(&check(text).unwrap_or_else(|problems| panic!("{problems}")).0);
    let small = sum(GOOD);
    let large = sum(&with("limits", "outbox_pool = \"128MiB\""));
    assert_eq!(large.user() - small.user(), 3 * (64 << 20));
    assert_eq!(small.parts[0], ("links", 60_000 * LINK_BYTES));
    assert!(small.to_string().contains("user space in all"));
    let held = sum(&with("limits", "stranger_bytes = \"9MiB\""));
    assert_eq!((held.user() - small.user(), small.parts[1].0), (3 << 20, "strangers"));
}

#[test]
fn the_development_config_passes_all_checks() {
    let with = Development {
        listen: None,
        workers: Some(1),
        exempt: true,
        server: Secret::new([3; 32]),
        tickets: Some(Secret::new([4; 32])),
        service: PathBuf::from("/tmp/a \"b\"/service.sock"),
        admin: Some(PathBuf::from("/tmp/admin.sock")),
        http: None,
    };
    let config = Config::development(with, &machine()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.listeners[0].address, "127.0.0.1:7400".parse().unwrap());
    assert!(config.limits.loopback_exempt);
    let routes: Vec<_> = config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(routes, ["echo", "chat", "push", "outcomes"]);
    let service = driver::Endpoint::Unix(PathBuf::from("/tmp/a \"b\"/service.sock"));
    assert_eq!(config.endpoints[0].address, service);
    let Auth::Development { token } = &config.auth else { panic!("development asserts users") };
    assert!(token.matches(DevelopmentToken::new(&Secret::new([3; 32])).text().as_bytes()));
    assert_eq!(config.tickets.iter().map(Secret::bytes).collect::<Vec<_>>(), [&[4; 32]]);
    assert!(!format!("{config:?}").contains("3, 3, 3"));
}

#[test]
fn every_path_is_meant_relative_to_the_config_and_a_whole_one_stays() {
    let text = format!(
        "{GOOD}[admin]\nsocket = 'admin.sock'\n[lists]\nallow = ['a']\ndeny = ['/etc/d']\nallow_users = ['u']\n\
         deny_users = ['b']\njournal = 'bans'\n"
    );
    let (config, _) = check(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let config = config.beside(Path::new("/etc/gateway"));
    let Lists { allow, deny, allow_users, deny_users, journal, .. } = &config.lists;
    let paths = [allow, deny, allow_users, deny_users].into_iter().flatten();
    let paths: Vec<_> = paths.chain(journal).chain(&config.admin.socket).map(|path| path.to_str()).collect();
    let beside =
        ["a", "/etc/d", "u", "b", "bans", "admin.sock"].map(|name| Path::new("/etc/gateway").join(name));
    assert_eq!(paths, beside.iter().map(|path| path.to_str()).collect::<Vec<_>>());
}

#[test]
fn a_backend_may_do_what_is_named_and_where_nothing_is_all_but_ban() {
    let all =
        [Capability::Serve, Capability::Push, Capability::Kick, Capability::Ban, Capability::Authenticate];
    let may = |line: &str| {
        let text = GOOD.replacen("[[endpoint]]\n", &format!("[[endpoint]]\n{line}\n"), 1);
        let (config, _) = check(&text).unwrap_or_else(|problems| panic!("{problems}"));
        all.map(|one| config.endpoints[0].capabilities.contains(one))
    };
    assert_eq!(may(""), [true, true, true, false, true]);
    let named = "capabilities = [\"ban\", \"serve\", \"authenticate\"]";
    assert_eq!(may(named), [true, false, false, true, true]);
    for (words, reason, fix) in [
        ("[\"push\", \"authenticate\"]", "lacks \"serve\", and route", "add \"serve\", or take"),
        ("[\"serve\"]", "lacks \"authenticate\", and route \"accounts\" leads there", "add \"authenticate\""),
        ("[\"bann\"]", "did you mean \"ban\"", "\"serve\", \"push\""),
        ("\"ban\"", "a string, not a list", "in brackets: [\"ban\"]"),
    ] {
        let said =
            problem(&GOOD.replacen("[[endpoint]]\n", &format!("[[endpoint]]\ncapabilities = {words}\n"), 1));
        assert!(said.contains(reason) && said.contains(fix), "{said}");
    }
}
