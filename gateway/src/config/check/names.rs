//! Names that tables are known by.

use crate::config::section::Reader;

/// Notes that a table's name is another one's already.
pub(super) fn unique(reader: &mut Reader<'_>, path: &str, name: &str) {
    let reason = format!("the name \"{name}\" is taken");
    reader.error(&format!("{path}.name"), reason, "give each table its own name".to_owned());
}
