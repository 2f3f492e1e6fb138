//! The admin socket's language: one line in, text or JSON out, then the end.

use super::metrics::{Exposition, render};
use super::snapshot::Snapshot;
use super::{bans, busiest, kick, ladder, limits, throttles};

/// Longest line a client of the admin socket may send, its end included.
pub(super) const LINE_LEN_MAX: usize = 1024;

const HELP: &str = "status           the gateway's state for a person\n\
                    status --json    the same for a script\n\
                    limits [--json]  what is in force at each listener, and whom it has kept out\n\
                    metrics          all numbers, in OpenMetrics\n\
                    help             this text\n";

/// The answer to one line.
#[must_use]
pub(super) fn answer(line: &str, snapshot: &Snapshot<'_>) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["status"] => snapshot.text(),
        ["status", "--json"] => format!("{}\n", snapshot.json()),
        ["limits"] => limits::text(snapshot),
        ["limits", "--json"] => format!("{}\n", limits::json(snapshot)),
        ["metrics"] => render(snapshot, Exposition::OpenMetrics),
        ["help"] => help(),
        [] => format!("error: empty line\n{}", help()),
        [verb, ..] => format!("error: no such verb: {}\n{}", verb.escape_debug(), help()),
    }
}

fn help() -> String {
    format!("{HELP}{}{}{}{}{}", busiest::HELP, bans::HELP, throttles::HELP, kick::HELP, ladder::HELP)
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::with_snapshot;
    use super::*;

    #[test]
    fn each_verb_answers_in_its_form() {
        with_snapshot(|snapshot| {
            assert!(answer("status\n", snapshot).starts_with("gateway "));
            let json: serde_json::Value =
                serde_json::from_str(&answer(" status  --json\r\n", snapshot)).unwrap();
            assert_eq!(json["listen"], "127.0.0.1:7400");
            assert!(answer("metrics", snapshot).ends_with("# EOF\n"));
            assert!(answer("help", snapshot).contains("status --json"));
        });
    }

    #[test]
    fn what_is_no_verb_gets_an_error_and_the_list() {
        with_snapshot(|snapshot| {
            for line in ["", "\n", "stat", "status --yaml", "status --json now", "\u{1b}[2J"] {
                let said = answer(line, snapshot);
                assert!(said.starts_with("error: ") && said.contains("status --json"), "{line:?}: {said}");
                assert!(!said.contains('\u{1b}'), "a terminal is not at the client's mercy");
            }
        });
    }
}
