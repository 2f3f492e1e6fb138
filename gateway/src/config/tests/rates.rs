//! What links and users may say, for all, for a listener, and for a class of accounts.

use std::time::Duration;

use super::{GOOD, check, problem};
use crate::rate::Rate;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_class_has_what_it_names_of_its_own_and_else_what_its_listener_has() {
    let text = format!(
        "{GOOD}\n[rates]\nframes_per_link = '5/s burst 9'\n\
         [[listener]]\nname = 'app'\nframes_per_link = '6/s'\ncontrol_per_link = '7/s'\n\
         [[class]]\nname = 'service'\nframes_per_link = '900/s'\nbytes_per_user = '10MiB/s'\n"
    );
    let (config, _) = check(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let of_all = config.listeners[0].rates;
    assert_eq!((of_all.frames, of_all.control), (Rate::new(6, SECOND, 6), Rate::new(7, SECOND, 7)));
    assert_eq!(of_all.user_frames, Rate::new(100, SECOND, 400), "by default");
    assert_eq!(config.classes[0].name, "service");
    let of_class = of_all.with(&config.classes[0].rates);
    assert_eq!((of_class.frames, of_class.control), (Rate::new(900, SECOND, 900), of_all.control));
    assert_eq!(of_class.user_bytes, Rate::new(10 << 20, SECOND, 10 << 20));
}

#[test]
fn a_burst_holds_a_frame_and_fills_up_within_an_hour() {
    for (table, key) in [("rates", "rates"), ("[class]", "class[0]"), ("[listener]", "listener[0]")] {
        let with = |line: &str| {
            problem(
                &format!("{GOOD}\n[{table}]\nname = 'one'\n{line}\n")
                    .replace("[rates]\nname = 'one'", "[rates]"),
            )
        };
        let said = with("bytes_per_link = '64KiB/s'");
        assert!(said.contains(&format!("{key}.bytes_per_link: has a burst below one frame")), "{said}");
        assert!(said.contains("write \"burst 68KiB\" or more"), "{said}");
        let said = with("frames_per_user = '1/h burst 2'");
        assert!(said.contains(&format!("{key}.frames_per_user: takes 7200 s to fill up")), "{said}");
    }
    let said = problem(&format!("{GOOD}\n[[class]]\nname = 'a'\n[[class]]\nname = 'a'\n"));
    assert!(said.contains("the name \"a\" is taken"), "{said}");
    let many: String = (0..65).map(|number| format!("[[class]]\nname = 'c{number}'\n")).collect();
    let said = problem(&format!("{GOOD}\n{many}"));
    assert!(said.contains("there are 65 classes") && said.contains("64 are possible"), "{said}");
}
