//! What files for earlier versions have, and what to write instead.

/// Tables and keys of earlier versions: what became of them, and how to write that now.
pub(super) const FORMER: [(&str, &str, &str); 1] = [(
    "listen",
    "this table is `[[listener]]` now, of which there may be several",
    "write `[[listener]]` instead of `[listen]` and give it a name, such as `name = \"clients\"`",
)];
