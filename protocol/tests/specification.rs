//! The tables of SPEC.md say what the code says: codes with their names, limits, and what each error is answered
//! with. (The tables of frames are held to the `.proto` files by `tests/foreign/selftest.py`.)

use protocol::noise::Suite;
use protocol::noise::preamble::Rejection;
use protocol::{Cause, CloseCode, Error, Refusal, Undelivered, limits};

const SPEC: &str = include_str!("../SPEC.md");

/// The rows of the tables under a heading, as cells; headers included.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = SPEC.split_once(heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    rest.lines()
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect()
}

/// The numbers and names of a table of codes.
fn codes(heading: &str) -> Vec<(u32, &'static str)> {
    let rows = rows(heading);
    let code = |row: &Vec<&'static str>| row[0].parse().ok().map(|number| (number, row[1]));
    rows.iter().filter_map(code).collect()
}

#[test]
fn the_close_codes_are_listed_with_number_and_name() {
    let want: Vec<_> = CloseCode::ALL.iter().map(|code| (code.number(), code.name())).collect();
    assert_eq!(codes("### 13.1 Close codes"), want);
}

#[test]
fn the_refusals_are_listed_with_number_and_name() {
    let want: Vec<_> = Refusal::ALL.iter().map(|code| (code.number(), code.name())).collect();
    assert_eq!(codes("### 13.2 Refusals"), want);
}

#[test]
fn the_undelivered_reasons_are_listed_with_number_and_name() {
    let want: Vec<_> = Undelivered::ALL.iter().map(|code| (code.number(), code.name())).collect();
    assert_eq!(codes("### 13.3 Undelivered reasons"), want);
}

#[test]
fn the_causes_of_not_knowing_are_listed_with_number_and_name() {
    let want: Vec<_> = Cause::ALL.iter().map(|code| (code.number(), code.name())).collect();
    assert_eq!(codes("### 13.5 Causes of not knowing"), want);
}

#[test]
fn every_suite_is_listed_with_its_noise_protocol_and_length() {
    let rows = rows("### 4.1 Suites");
    for suite in Suite::ALL {
        let row = rows.iter().find(|row| row[0] == suite.byte().to_string()).expect("it is listed");
        assert_eq!((row[2], row[4]), (&*format!("`{}`", suite.name()), &*suite.message_1_len().to_string()));
        assert_eq!(row[3].starts_with("streams"), suite.is_stream());
    }
}

#[test]
fn the_reasons_of_the_clear_reply_are_listed_with_number_and_name() {
    let reasons = [
        (Rejection::Version, "version"),
        (Rejection::Suite, "suite"),
        (Rejection::RetiredKey, "retired_key"),
        (Rejection::Busy, "busy"),
        (Rejection::TicketRefused, "ticket_refused"),
    ];
    assert_eq!(codes("### 3.2 The clear reply"), reasons.map(|(reason, name)| (reason as u32, name)));
}

#[test]
fn every_error_is_listed_with_its_answer() {
    let rows = rows("## 15. Errors");
    for error in ERRORS {
        let name = error.name();
        let row = rows
            .iter()
            .find(|row| row[0].split(", ").any(|listed| listed == name))
            .unwrap_or_else(|| panic!("{name} is not listed"));
        let answer = row[2];
        match error.close_code() {
            Some(code) => {
                assert!(answer.starts_with(&format!("`Close({})`", code.name())), "{name}: {answer}")
            }
            // The clear reply is what may go before the silence, see section 3.2.
            None => assert!(!answer.contains("`Close("), "{name}: {answer}"),
        }
    }
}

#[test]
fn the_fixed_limits_are_the_codes() {
    let rows = rows("### 14.1 Fixed by this text");
    let number = |what: &str| {
        let row = rows.iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("{what} is not listed"));
        let digits: String = row[1].chars().filter(|c| c.is_ascii_digit() || *c == ' ').collect();
        digits.split_whitespace().last().and_then(|last| last.parse::<usize>().ok()).expect("a number")
    };
    for (what, want) in [
        ("preamble", limits::PREAMBLE_LEN),
        ("gate tag", limits::GATE_TAG_LEN),
        ("ticket", limits::TICKET_LEN_MAX),
        ("hello in all", limits::HELLO_LEN_MAX),
        ("ticket field of an unknown version or suite", limits::TICKET_LEN_MAX_UNKNOWN),
        ("message 1 of an unknown version or suite", limits::MESSAGE_1_LEN_MAX_UNKNOWN),
        ("message 2", limits::MESSAGE_2_LEN_MAX),
        ("clear reply", limits::CLEAR_REPLY_LEN),
        ("record up before `Welcome`", limits::RECORD_LEN_MAX_UNAUTHENTICATED),
        ("first frame of a link", limits::FRAME_LEN_MAX_UNAUTHENTICATED),
        ("frame down", limits::FRAME_LEN_CEILING),
        ("records per key", limits::REKEY_INTERVAL as usize),
        ("frame length varint", limits::VARINT_LEN_MAX),
        ("frames held before authentication", limits::HELD_FRAMES_MAX),
        ("bytes held before authentication", limits::HELD_BYTES_MAX),
        ("user, device", limits::ID_LEN_MAX),
        ("request id, session id", limits::REQUEST_ID_LEN),
        ("push id", limits::PUSH_ID_LEN_MAX),
        ("route", limits::ROUTE_LEN_MAX),
        ("key of a request", limits::KEY_LEN_MAX),
        ("room", limits::ROOM_LEN_MAX),
        ("token", limits::TOKEN_LEN_MAX),
        ("agent", limits::AGENT_LEN_MAX),
        ("signature", limits::SIGNATURE_LEN),
        ("dictionaries of a client", limits::DICTIONARIES_MAX),
        ("realm", limits::REALM_LEN_MAX),
        ("limit class", limits::LIMIT_CLASS_LEN_MAX),
        ("resume message", limits::RESUME_LEN_MAX),
        ("unknown frames of a stream in a minute", limits::STREAM_GLITCHES_MAX as usize),
        ("text of a close", limits::CLOSE_TEXT_LEN_MAX),
        ("credit overhead per payload frame", limits::CREDIT_OVERHEAD as usize),
        ("bound of a stream's frames (`Hello`, `Ready`)", limits::FRAME_LEN_CEILING),
        ("record of a stream's `Hello`", limits::RECORD_LEN_MAX_UNAUTHENTICATED),
        ("routes in `Ready`", limits::ROUTES_MAX),
        ("name of a gateway, of a backend instance", limits::INSTANCE_LEN_MAX),
        ("boot id", limits::BOOT_ID_LEN),
        ("input discarded after `Close`", limits::LINGER_BYTES_MAX),
    ] {
        assert_eq!(number(what), want, "{what}");
    }
}

/// One of each kind.
const ERRORS: [Error; 28] = [
    Error::Magic,
    Error::Preamble,
    Error::Gate,
    Error::Version,
    Error::Suite,
    Error::RetiredKey,
    Error::HandshakeLength(0),
    Error::Handshake,
    Error::Ticket,
    Error::Replay,
    Error::Downgrade,
    Error::Rejected(0),
    Error::Early,
    Error::RecordEmpty,
    Error::RecordLength(0),
    Error::Record,
    Error::FrameLength(0),
    Error::FrameEmpty,
    Error::FrameEncoding,
    Error::Field(""),
    Error::Unexpected(""),
    Error::Credit,
    Error::Glitches,
    Error::PartialEvicted,
    Error::HandshakeTimeout,
    Error::AuthTimeout,
    Error::HeartbeatTimeout,
    Error::Stalled,
];
