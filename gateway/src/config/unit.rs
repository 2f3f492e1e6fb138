//! Numbers with units.

/// Shows a number in the largest unit that divides it; `units` run from large to small.
pub(super) fn show_unit(number: u64, units: &[(&str, u64)]) -> String {
    for (name, factor) in units {
        if number >= *factor && number.is_multiple_of(*factor) {
            return format!("{}{name}", number / factor);
        }
    }
    format!("{number}{}", units.last().map_or("", |(name, _)| name))
}
