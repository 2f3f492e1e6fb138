//! Cores as people write them, and what is in force for each.

use super::*;

/// Adds these cores to [`GOOD`], with two listeners.
fn with_cores(lines: &[&str]) -> String {
    let tables: Vec<_> = lines.iter().map(|lines| format!("[[core]]\n{lines}\n")).collect();
    let listeners =
        "[[listener]]\nname = 'app'\n[[listener]]\nname = 'web'\naddress = '[::1]:0'\nsend_buffer = '1MiB'\n";
    format!("{GOOD}\n{listeners}{}", tables.concat())
}

fn config_of(text: &str) -> Checked<Config> {
    check(text).unwrap_or_else(|problems| panic!("{problems}")).0
}

/// What a core has by default.
fn plain(cpu: u32) -> Core {
    Core {
        cpu,
        slots: 20_000,
        listeners: vec![0],
        submissions: 512,
        completions: 16_384,
        batch_wait: Duration::ZERO,
        batch_least: 8,
        link_buffers: 1024,
        link_buffer_len: 2048,
        stream_buffers: 64,
        stream_buffer_len: 65_536,
        parked_accepts: 8,
        handshakes_per_turn: 4,
    }
}

#[test]
fn cores_must_exist_and_fit_the_limit_of_open_files() {
    let core = |lines: &str| format!("{GOOD}\n[[core]]\n{lines}\n");
    let said = problem(&core("cpu = 3"));
    assert!(
        said.contains("core[0].cpu: this process may not run on CPU 3") && said.contains("[0, 1, 5]"),
        "{said}"
    );
    let said = problem(&core("slots = 30000"));
    assert!(said.contains("the limit of open files is 20000"), "{said}");
    let said = problem(&core("slots = 100\nparked_accepts = 48"));
    assert!(
        said.contains("core[0].slots: 100 slots leave too few for links: 48 are parked accepts")
            && said.contains("give at least 102 slots, or lower parked_accepts here or in [receive]"),
        "{said}"
    );
    let said = problem(&format!("workers = 2\n{}", core("cpu = 5")));
    assert!(said.contains("workers: is 2, but there are 1 [[core]] tables"), "{said}");
    let config = config_of(&core("cpu = 5\nslots = 1000"));
    assert_eq!(config.cores, [Core { slots: 1000, ..plain(5) }]);
}

#[test]
fn a_core_has_what_it_says_and_else_what_holds_for_all() {
    assert_eq!(config_of(GOOD).cores, [plain(0), plain(1), plain(5)]);
    let own = "slots = 2000\nsubmissions = 1024\ncompletions = 2048\nbatch_wait = '1ms'\nbatch_least = 3\n\
               link_buffers = 16\nlink_buffer_len = '1KiB'\nstream_buffers = 4\nstream_buffer_len = '4KiB'\n\
               parked_accepts = 7\nhandshakes_per_turn = 9\nlisteners = ['web']";
    let text = with_cores(&[own, "cpu = 5"]);
    let text = format!(
        "{text}[ring]\nsubmissions = 64\ncompletions = 128\nbatch_wait = '40us'\nbatch_least = 4\n\
         [receive]\nlink_buffers = 32\nlink_buffer_len = '3KiB'\nstream_buffers = 8\nstream_buffer_len = '8KiB'\n\
         parked_accepts = 6\n[limits]\nhandshakes_per_turn = 2\n"
    );
    let own = Core {
        cpu: 0,
        slots: 2000,
        listeners: vec![1],
        submissions: 1024,
        completions: 2048,
        batch_wait: Duration::from_millis(1),
        batch_least: 3,
        link_buffers: 16,
        link_buffer_len: 1024,
        stream_buffers: 4,
        stream_buffer_len: 4096,
        parked_accepts: 7,
        handshakes_per_turn: 9,
    };
    let of_all = Core {
        listeners: vec![0, 1],
        submissions: 64,
        completions: 128,
        batch_wait: Duration::from_micros(40),
        batch_least: 4,
        link_buffers: 32,
        link_buffer_len: 3072,
        stream_buffers: 8,
        stream_buffer_len: 8192,
        parked_accepts: 6,
        handshakes_per_turn: 2,
        ..plain(5)
    };
    let config = config_of(&text);
    assert_eq!(config.cores, [own.clone(), of_all]);
    let told: Vec<_> = config
        .bounds
        .iter()
        .filter(|bound| bound.worker == Some(0))
        .map(|bound| (&*bound.key, bound.unit, bound.number))
        .collect();
    let numbers = own.numbers().map(|(name, unit, number)| (format!("core.{name}"), unit, number));
    assert_eq!(told, numbers.each_ref().map(|(key, unit, number)| (&**key, *unit, *number)));
    assert_eq!(config.bounds.iter().filter(|bound| bound.worker == Some(1)).count(), told.len());
    assert!(!config.bounds.iter().any(|bound| bound.key.starts_with("core[")), "each once");
}

#[test]
fn values_of_a_core_keep_the_bounds_of_those_for_all() {
    for (line, reason, fix) in [
        ("link_buffers = 1000", "link_buffers: 1000 is no power of two", "choose 512 or 1024"),
        ("stream_buffers = 65", "stream_buffers: 65 is no power of two", "choose 64 or 128"),
        ("submissions = 500", "submissions: 500 is no power of two", "choose 256 or 512"),
        ("completions = 20000", "completions: 20000 is no power of two", "choose 16384 or 32768"),
        (
            "submissions = 32768",
            "submissions: 32768 operations may have 16384 completions only",
            "lower submissions, or raise completions",
        ),
        (
            "completions = 256",
            "completions: 512 operations may have 256 completions only",
            "lower submissions, or raise completions",
        ),
        ("batch_wait = '11ms'", "batch_wait: 11ms is out of bounds", "from 0us to 10ms"),
        ("batch_wait = '1s'", "batch_wait: the value has the unknown unit \"s\"", "units us, ms"),
        ("batch_least = 1", "batch_least: 1 is out of bounds", "from 2 to 1024"),
        ("parked_accepts = 0", "parked_accepts: 0 is out of bounds", "from 1 to 64"),
        ("handshakes_per_turn = 0", "handshakes_per_turn: 0 is out of bounds", "from 1 to 1024"),
        ("link_buffer_len = '1B'", "link_buffer_len: 1B is out of bounds", "from 1KiB to 64KiB"),
        ("stream_buffer_len = '1KiB'", "stream_buffer_len: 1KiB is out of bounds", "from 4KiB to 1MiB"),
    ] {
        let text = with_cores(&["slots = 1000", line]);
        let said = problem(&text);
        assert!(said.contains(&format!(":{}: error: core[1].{reason}", line_of(&text, line))), "{said}");
        assert!(said.contains(fix), "{said}");
    }
    let said = problem(&with("ring", "submissions = 32768"));
    assert!(said.contains("ring.submissions: 32768 operations may have 16384"), "{said}");
    let said = problem(&with("ring", "completions = 20000"));
    assert!(said.contains("ring.completions: 20000 is no power of two"), "{said}");
}

#[test]
fn every_core_accepts_somewhere_and_every_listener_is_accepted_from() {
    for (line, reason, fix) in [
        ("listeners = ['wbe']", "no listener is called \"wbe\"", "did you mean \"web\"?"),
        (
            "listeners = ['other']",
            "no listener is called \"other\"",
            "add a [[listener]] with name = \"other\"",
        ),
        ("listeners = ['web', 'web']", "names \"web\" twice", "name each listener once"),
        (
            "listeners = []",
            "names no listener, and a worker holds only links it accepted itself",
            "name a listener, or remove the key: then it is all",
        ),
    ] {
        let said = problem(&with_cores(&["listeners = ['app']", line]));
        assert!(
            said.contains(&format!("error: core[1].listeners: {reason}")) && said.contains(fix),
            "{said}"
        );
    }
    let said = problem(&with_cores(&["listeners = ['app']", "listeners = ['app']"]));
    assert!(
        said.contains("listener[1]: none of the 2 workers accepts from \"web\"")
            && said.contains("fix: add it to `listeners` of a [[core]], or remove the [[listener]]"),
        "{said}"
    );
    let apart = with_cores(&["listeners = ['app']", "listeners = ['web']"]);
    let one = Overrides { workers: Some(1), ..Overrides::default() };
    let said = load("f", &apart, one, &machine(), &read).expect_err("the second one is left out").to_string();
    assert!(
        said.contains("none of the 1 workers accepts from \"web\"") && said.contains("give --workers 2, or"),
        "{said}"
    );
    let config = config_of(&with_cores(&["listeners = ['web', 'app']", "listeners = ['web']"]));
    assert_eq!(config.cores[0].listeners, [0, 1], "in the order of the file");
    assert_eq!((config.cores_of(0), config.cores_of(1)), (vec![0], vec![0, 1]));
}

#[test]
fn waiting_for_more_completions_on_a_shared_cpu_is_warned_about_once() {
    let warnings = |text: &str| check(text).unwrap_or_else(|problems| panic!("{problems}")).1.to_string();
    let batch = "[ring]\nbatch_wait = '50us'\n";
    assert_eq!(warnings(&format!("{}{batch}", with_cores(&["cpu = 0", "cpu = 1"]))), "");
    let said = warnings(&format!("{}{batch}", with_cores(&["cpu = 1", "cpu = 1", "cpu = 1"])));
    assert!(said.contains("warning: ring.batch_wait: CPU 1 has several workers"), "{said}");
    assert!(said.contains("fix: set it to \"0us\"") && said.matches("warning").count() == 1, "{said}");
    let said = warnings(&with_cores(&["cpu = 1", "cpu = 1\nbatch_wait = '1ms'"]));
    assert!(said.contains("warning: core[1].batch_wait: CPU 1 has several workers"), "{said}");
    assert_eq!(warnings(&with_cores(&["cpu = 1", "cpu = 1"])), "", "nobody waits");
}

#[test]
fn the_sum_of_all_limits_follows_each_core() {
    let sum = |lines: &[&str]| Ceiling::of(&config_of(&with_cores(lines)));
    let plain = sum(&["slots = 1000", "slots = 1000"]);
    let part = |ceiling: &Ceiling, name| {
        ceiling.parts.iter().find(|(part, _)| *part == name).expect("there is one").1
    };
    let wide = sum(&["slots = 1000", "slots = 1000\nlink_buffers = 2048\nstream_buffer_len = '128KiB'"]);
    let more = 1024 * 2048 + 64 * 65_536;
    assert_eq!(part(&wide, "receive buffers") - part(&plain, "receive buffers"), more);
    let deep = sum(&["slots = 1000", "slots = 1000\nsubmissions = 1024\ncompletions = 32768"]);
    assert_eq!(deep.kernel_idle - plain.kernel_idle, 512 * 320 + 16_384 * 16);
    // The listener "web" grants 1 MiB to send, "app" 64 KiB.
    let apart = sum(&["slots = 1000\nlisteners = ['app']", "slots = 1000\nlisteners = ['web']"]);
    assert_eq!(plain.kernel_full - apart.kernel_full, 1000 * 2 * ((1 << 20) - (64 << 10)));
    let single = sum(&["slots = 1000"]);
    assert_eq!(part(&plain, "strangers"), 2 * part(&single, "strangers"));
}

#[test]
fn cores_that_are_alike_have_one_row_and_others_one_each() {
    let config = config_of(&with_cores(&["cpu = 5", "cpu = 0", "cpu = 1"]));
    let head = "core   cpu     slots  submissions  completions  batch_wait  link_buffers  stream_buffers  \
                parked_accepts  handshakes_per_turn  listeners\n";
    let row = "all 3  0-1, 5  20000  512          16384        off         1024 × 2KiB   64 × 64KiB      \
               8               4                    app, web\n";
    assert_eq!(config.cores_table(), format!("{head}{row}"));
    let addresses = ["0.0.0.0:7400", "[::1]:7401"].map(|address| address.parse().unwrap());
    let table =
        "listener  address       cores\napp       0.0.0.0:7400  all 3\nweb       [::1]:7401    all 3\n";
    assert_eq!(config.listeners_table(&addresses), table);

    let config = config_of(&with_cores(&["listeners = ['app']", "batch_wait = '50us'\nbatch_least = 4"]));
    let table = config.cores_table();
    let rows: Vec<Vec<_>> = table.lines().map(|row| row.split("  ").map(str::trim).collect()).collect();
    let cells = |row: &[&str]| row.iter().filter(|cell| !cell.is_empty()).count();
    assert!(rows.len() == 3 && rows.iter().all(|row| cells(row) == 11), "{rows:?}");
    assert!(rows[1][0] == "0" && rows[1].contains(&"off") && rows[1].last() == Some(&"app"));
    assert!(rows[2][0] == "1" && rows[2].contains(&"50us for 4") && rows[2].last() == Some(&"app, web"));
    assert!(config.listeners_table(&addresses).contains("0.0.0.0:7400  all 2\n"));
    assert!(config.listeners_table(&addresses).contains("[::1]:7401    1\n"));
}
