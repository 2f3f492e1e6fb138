//! Listeners as people write them.

use protocol::noise::{StaticKey, Suite, Suites};

use super::*;

/// Adds these listeners to [`GOOD`].
fn with_listeners(lines: &[&str]) -> String {
    let tables: Vec<_> = lines.iter().map(|lines| format!("[[listener]]\n{lines}\n")).collect();
    format!("{GOOD}\n{}", tables.concat())
}

/// What becomes of them.
fn read_listeners(lines: &[&str]) -> Vec<Listener> {
    check(&with_listeners(lines)).unwrap_or_else(|problems| panic!("{problems}")).0.listeners.clone()
}

#[test]
fn the_former_table_is_an_error_that_says_how_it_is_written_now() {
    let text = format!("{GOOD}\n[listen]\naddress = \"0.0.0.0:1\"\n");
    assert_eq!(
        problem(&text),
        "gateway.toml:N: error: listen: this table is `[[listener]]` now, of which there may be several\n    N | [listen]\n   \
         fix: write `[[listener]]` instead of `[listen]` and give it a name, such as `name = \"clients\"`\n"
            .replace('N', &line_of(&text, "[listen]"))
    );
    let said = problem(&format!("listen.address = \"0.0.0.0:1\"\n{GOOD}"));
    assert!(said.contains("write `[[listener]]` instead of `[listen]`"), "{said}");
    let development = text.replace("mode = \"delegated\"\nroute = \"accounts\"", "mode = \"development\"");
    assert!(problem(&development).contains("listen: this table"), "no word about an address nobody wrote");
    let followed = text.replace("[listen]", "[[listener]]\nname = \"clients\"");
    assert!(check(&followed).is_ok());
    let said = problem(&text.replace("[listen]", "[listener]\nname = \"clients\""));
    assert!(said.contains("[[listener]] must be an array of tables"), "{said}");
}

#[test]
fn a_listener_has_what_it_says_and_else_what_all_have() {
    let strong =
        "name = 'strong'\nkey = 'own.key'\nsuites = ['IK_AESGCM', 'NNpsk0_AESGCM']\nsend_buffer = '8KiB'";
    let all = read_listeners(&["name = 'any'\naddress = '[::1]:0'", strong]);
    let keys: Vec<_> = [KEY.to_owned(), "07".repeat(32)]
        .map(|key| StaticKey::from_secret(protocol::hex::decode_array(&key).unwrap()).public())
        .into();
    assert_eq!(all.iter().map(|listener| listener.key.public()).collect::<Vec<_>>(), keys);
    assert_eq!(all[0].address, "[::1]:0".parse().unwrap());
    assert_eq!((all[0].send_buffer, all[1].send_buffer), (65_536, 8192));
    assert_eq!(all[1].suite_names(), ["IK_AESGCM", "NNpsk0_AESGCM"]);
    assert_eq!(all[0].suite_names().len(), 6);
}

#[test]
fn suites_leave_all_listeners_and_lists_of_keys_belong_to_their_key() {
    let next = |digit: &str| format!("{} from 2030-12-24T06:00:00Z", digit.repeat(64));
    let own = format!(
        "name = 'own'\naddress = '[::1]:2'\nkey = 'own.key'\nsuites = ['IK_ChaChaPoly', 'NK_ChaChaPoly']\n\
         next = ['{}', '{}']\nretired = ['{}']",
        next("1"),
        next("2"),
        "3".repeat(64)
    );
    let text = with_listeners(&["name = 'any'", &own]);
    let text = text.replace("[keys]\n", &format!("[keys]\nnext = ['{}']\n", next("4")));
    let text = format!("{text}[suites]\nallowed = ['NK_AESGCM']\nleaving = ['IK_ChaChaPoly']\n");
    let (config, _) = check(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let [any, own] = &config.listeners[..] else { panic!("there are two") };
    assert_eq!((any.next.len(), any.retired.len()), (1, 0));
    assert_eq!((own.next.len(), own.retired.len()), (2, 1));
    assert_eq!(any.suites_announced, Suites::of(&[Suite::NkAesGcm]));
    assert_eq!(own.suites_announced, Suites::of(&[Suite::NkChaChaPoly]), "it is allowed there only");
}

#[test]
fn listeners_keep_apart_what_must_not_be_the_same() {
    let said = problem(&with_listeners(&["address = '[::1]:1'"]));
    assert!(said.contains("listener[0]: `name` is missing"), "{said}");
    let said =
        problem(&with_listeners(&["name = 'a'\naddress = '[::1]:1'", "name = 'a'\naddress = '[::1]:2'"]));
    assert!(said.contains("listener[1].name: the name \"a\" is taken"), "{said}");
    let said = problem(&with_listeners(&["name = 'a'", "name = 'b'\naddress = '[::ffff:0.0.0.0]:7400'"]));
    assert!(
        said.contains("listener[1].address: listener \"a\" has the address [::ffff:0.0.0.0]:7400 already")
            && said.contains("fix: give each listener an `address` of its own"),
        "{said}"
    );
    assert_eq!(
        read_listeners(&["name = 'a'\naddress = '[::1]:0'", "name = 'b'\naddress = '[::1]:0'"]).len(),
        2
    );
    let weak = "name = 'weak'\naddress = '[::1]:1'\nsuites = ['NK_AESGCM']";
    let said = problem(&with_listeners(&["name = 'a'", weak]));
    assert!(
        said.contains(
            "listener[1]: has the server key of listener \"a\" and other suites: a client could be steered"
        ) && said.contains("fix: give one of them a key of its own with `key = \"FILE\"`"),
        "{said}"
    );
    let retired = format!("name = 'b'\naddress = '[::1]:2'\nkey = 'own.key'\nretired = ['{KEY}']");
    let said = problem(&with_listeners(&["name = 'a'\naddress = '[::1]:1'\nkey = 'own.key'", &retired]));
    assert!(
        said.contains("listener[1]: has the server key of listener \"a\" and other `next` or `retired` keys")
            && said.contains("fix: give both the same lists"),
        "{said}"
    );
    let own = format!("{weak}\nkey = 'own.key'");
    assert_eq!(read_listeners(&["name = 'a'", &own]).len(), 2);
    let many: Vec<_> = (0..256).map(|i| format!("name = 'l{i}'\naddress = '[::1]:{}'", 1000 + i)).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let said = problem(&with_listeners(&many));
    assert!(
        said.contains("listener: there are 256 listeners") && said.contains("255 are possible"),
        "{said}"
    );
    assert!(check(&with_listeners(&many[1..])).is_ok());
}

#[test]
fn a_listener_is_refused_that_nobody_could_use_or_whose_lists_have_no_key() {
    for (line, reason, fix) in [
        ("suites = []", "suites: no client could connect", "name at least one suite"),
        ("suites = ['NK']", "suites: the value is unknown", "NK_ChaChaPoly"),
        ("suites = ['KK_AESGCM']", "suites: the value is unknown", "NNpsk0"),
        ("address = 'localhost:1'", "address: the value is not an IP address", "write \"127.0.0.1:1\""),
        ("backlog = 0", "backlog: 0 is out of bounds", "from 1 to 65535"),
        ("key = 'none.key'", "key: the key file none.key: No such file", "gateway keygen --out none.key"),
        (
            &format!("retired = ['{KEY}']"),
            "retired: belongs to a key of the listener's own, and it has none",
            "add `key = \"FILE\"`, or move the list to `retired` of [keys]",
        ),
        (
            &format!("next = ['{KEY} from 2030-12-24T06:00:00Z']"),
            "next: belongs to a key of the listener's own, and it has none",
            "or move the list to `next` of [keys]",
        ),
        (
            &format!("key = 'own.key'\nnext = {:?}", [&*format!("{KEY} from 2030-12-24T06:00:00Z"); 5]),
            "next: lists 5 keys",
            "at most 4",
        ),
    ] {
        let said = problem(&with_listeners(&[&format!("name = 'a'\n{line}")]));
        assert!(said.contains(&format!("error: listener[0].{reason}")) && said.contains(fix), "{said}");
    }
}

#[test]
fn an_address_of_the_command_line_is_that_of_the_only_listener() {
    let overrides = Overrides { listen: Some("127.0.0.1:1".parse().unwrap()), workers: None };
    let two = with_listeners(&["name = 'a'", "name = 'b'\naddress = '[::1]:2'"]);
    let problems = load("f", &two, overrides, &machine(), &read).expect_err("there are two");
    let said = problems.to_string();
    assert!(said.contains("--listen gives one address, and there are 2 listeners"), "{said}");
    let one = with_listeners(&["name = 'a'"]);
    let (config, _) = load("f", &one, overrides, &machine(), &read).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(config.listeners[0].address, "127.0.0.1:1".parse().unwrap());
}

#[test]
fn balancers_are_listed_where_their_headers_are_read_and_only_there() {
    let all = read_listeners(&[
        "name = 'a'",
        "name = 'b'\naddress = '[::1]:0'\nproxy_protocol = 'required'\nbalancers = ['10.1.2.3/8', '2001:db8::7']",
    ]);
    assert_eq!(
        [all[0].balancing(), all[1].balancing()],
        ["off".to_owned(), "required from 10.0.0.0/8, 2001:db8::7/128".to_owned()]
    );
    let many: Vec<_> = (0..65).map(|i| format!("10.0.0.{i}")).collect();
    for (lines, reason, fix) in [
        (
            "proxy_protocol = 'required'".to_owned(),
            "proxy_protocol: names no balancer",
            "add `balancers` with their addresses",
        ),
        ("proxy_protocol = 'v2'".to_owned(), "proxy_protocol: the value is unknown", "\"required\""),
        (
            "balancers = ['10.0.0.7']".to_owned(),
            "balancers: names balancers, and `proxy_protocol` is off",
            "add `proxy_protocol = \"required\"`",
        ),
        (
            "proxy_protocol = 'optional'\nbalancers = ['10.0.0.7/33']".to_owned(),
            "balancers: the value has \"10.0.0.7/33\", which is no address and no block",
            "write a list of addresses and blocks",
        ),
        (
            "proxy_protocol = 'optional'\nbalancers = '10.0.0.7'".to_owned(),
            "balancers: the value is a string, not a list",
            "write it in brackets: [\"10.0.0.7\"]",
        ),
        (
            format!("proxy_protocol = 'optional'\nbalancers = {many:?}"),
            "balancers: lists 65 balancers",
            "at most 64",
        ),
    ] {
        let said = problem(&with_listeners(&[&format!("name = 'a'\n{lines}")]));
        assert!(said.contains(&format!("error: listener[0].{reason}")) && said.contains(fix), "{said}");
    }
    let anybody = "name = 'a'\nproxy_protocol = 'optional'\nbalancers = ['::/0']";
    let (_, warnings) = check(&with_listeners(&[anybody])).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(
        warnings.to_string().contains("whoever connects can say that it comes from anywhere"),
        "{warnings}"
    );
}

#[test]
fn the_table_names_balancers_where_there_are_any() {
    let balanced = "name = 'b'\naddress = '[::1]:2'\nproxy_protocol = 'optional'\nbalancers = ['10.0.0.0/8']";
    let (config, _) = check(&with_listeners(&["name = 'a'", balanced])).unwrap_or_else(|p| panic!("{p}"));
    let addresses = ["0.0.0.0:7400", "[::1]:2"].map(|address| address.parse().unwrap());
    let table = config.listeners_table(&addresses);
    assert!(table.lines().next().is_some_and(|head| head.ends_with("  proxy_protocol")), "{table}");
    assert!(table.contains("  off\n") && table.contains("  optional from 10.0.0.0/8\n"), "{table}");
}

#[test]
fn a_listener_without_pins_serves_nothing_else_and_neither_does_its_key() {
    let xx = |more: &str| format!("name = 'xx'\naddress = '[::1]:2'\nsuites = ['XX_ChaChaPoly']\n{more}");
    let alone = xx("key = 'own.key'\nhandshake_share = 5");
    let all = read_listeners(&["name = 'a'", &alone]);
    assert!(all[1].suites.are_unpinned() && !all[0].suites.are_unpinned(), "off by default");
    let mixed = alone.replace("'XX_ChaChaPoly'", "'XX_ChaChaPoly', 'XX_AESGCM', 'NK_AESGCM'");
    let next = format!("{alone}\nnext = ['{} from 2030-12-24T06:00:00Z']", "1".repeat(64));
    let retired = format!("{alone}\nretired = ['{}']", "1".repeat(64));
    for (line, reason, fix) in [
        (&mixed, "listener[1].suites: allows XX and other suites", "a [[listener]] of its own"),
        (
            &xx("handshake_share = 5"),
            "listener[1]: allows XX and has no server key of its own",
            "gateway keygen",
        ),
        (&next, "listener[1].next: lists keys where clients keep none", "remove the list"),
        (&retired, "listener[1].retired: lists keys where clients keep none", "remove the list"),
    ] {
        let said = problem(&with_listeners(&["name = 'a'", line]));
        assert!(said.contains(reason) && said.contains(fix), "{line}: {said}");
    }
    let other = "name = 'b'\naddress = '[::1]:3'\nkey = 'own.key'\nsuites = ['NK_AESGCM']";
    let twin = alone.replace("'xx'", "'yy'").replace("]:2", "]:4");
    for shares in [other, &twin] {
        let said = problem(&with_listeners(&[&alone, shares]));
        assert!(said.contains("has the server key of listener \"xx\", and one of them allows XX"), "{said}");
    }
    let development = with_listeners(&["name = 'a'", &alone])
        .replace("mode = \"delegated\"\nroute = \"accounts\"", "mode = \"development\"");
    let said = problem(&development);
    assert!(said.contains("in development mode tokens name no client's key"), "{said}");
    let (_, warned) = check(&with_listeners(&["name = 'a'", &xx("key = 'own.key'")])).expect("it is sound");
    assert!(format!("{warned}").contains("strangers without a key can use up all the time"), "{warned}");
}

#[test]
fn handshakes_without_pins_count_where_they_are_served() {
    let ceiling = |lines: &[&str]| {
        let text = format!("workers = 2\n{}\n[limits]\nxx_handshakes = 1000\n", with_listeners(lines));
        let (config, _) = check(&text).unwrap_or_else(|problems| panic!("{problems}"));
        let parts = Ceiling::of(&config).parts;
        parts.iter().find(|(name, _)| *name == "handshakes of XX").expect("it is a part").1
    };
    assert_eq!(ceiling(&["name = 'a'"]), 0);
    let xx = "name = 'xx'\naddress = '[::1]:2'\nsuites = ['XX_AESGCM']\nkey = 'own.key'\nhandshake_share = 5";
    assert_eq!(ceiling(&["name = 'a'", xx]), 2 * 1000 * (2048 + 128));
}
