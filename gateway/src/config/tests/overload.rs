//! The numbers of the overload ladder.

use super::{GOOD, check, problem};

#[test]
fn levels_rise_and_each_is_left_below_where_it_is_entered() {
    let (config, _) = check(GOOD).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((config.overload.enter, config.overload.leave), ([70, 80, 90, 95, 98], [60, 70, 80, 85, 90]));
    for (lines, said) in [
        ("enter = [70, 80, 90, 95]", "overload.enter: is not five numbers"),
        ("enter = [70, 80, 90, 95, 201]", "overload.enter: is not five numbers"),
        ("enter = [70, 60, 90, 95, 98]", "overload.enter: falls"),
        ("leave = [70, 70, 80, 85, 90]", "overload.leave: is not below"),
        ("leave = [0, 70, 80, 85, 90]", "overload.leave: is not five numbers"),
    ] {
        let problem = problem(&format!("{GOOD}\n[overload]\n{lines}\n"));
        assert!(
            problem.contains(said) && problem.contains("enter = [70, 80, 90, 95, 98]"),
            "{lines}: {problem}"
        );
    }
}
