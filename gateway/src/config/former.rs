//! What files for earlier versions have, and what to write instead.

/// Tables and keys of earlier versions: what became of them, and how to write that now.
pub(super) const FORMER: [(&str, &str, &str); 3] = [
    (
        "listen",
        "this table is `[[listener]]` now, of which there may be several",
        "write `[[listener]]` instead of `[listen]` and give it a name, such as `name = \"clients\"`",
    ),
    (
        "listener.user_timeout",
        "no timeout is set on open links any more: it ended living clients that stopped reading for a while",
        "remove it; how long a closed one may take is `close_timeout` of `[limits]`",
    ),
    (
        "upstream.user_timeout",
        "no timeout is set on open streams any more: it ended living backends that stopped reading for a while",
        "remove it; how long a closed one may take is `close_timeout` of `[limits]`",
    ),
];

/// The name of a key without the numbers of the tables it stands in.
pub(super) fn plain(full: &str) -> String {
    let parts = full.split('.').map(|part| part.split('[').next().unwrap_or(part));
    parts.collect::<Vec<_>>().join(".")
}
