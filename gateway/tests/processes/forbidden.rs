//! Where io_uring is forbidden, as it is in most containers, every verb that needs it says why and what to do.

use std::collections::BTreeMap;
use std::process::Output;

use driver::probe::{Step, Surroundings, explain};
use driver::{Blocked, Errno};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::stage::{Folder, gateway, path};

/// A system call that fails, and how.
#[derive(Clone, Copy, Debug)]
struct Missing {
    call: libc::c_long,
    errno: i32,
    step: Step,
}

/// What containers, old kernels and half-written profiles do.
const MISSING: [Missing; 4] = [
    Missing { call: libc::SYS_io_uring_setup, errno: libc::EPERM, step: Step::Setup },
    Missing { call: libc::SYS_io_uring_setup, errno: libc::ENOSYS, step: Step::Setup },
    Missing { call: libc::SYS_io_uring_register, errno: libc::EPERM, step: Step::Feature("REGISTER_PROBE") },
    Missing { call: libc::SYS_io_uring_enter, errno: libc::EPERM, step: Step::Enter },
];

#[test]
fn where_io_uring_is_forbidden_a_gateway_tells_the_cause_and_the_fix_and_leaves_nothing_behind() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let (ready, admin) = (folder.file("ready.json"), folder.file("admin.sock"));
    let admin_socket = format!("admin.socket = '{}'\n", path(&admin));
    let config = folder.write_config(&format!("auth.mode = 'development'\n{admin_socket}"));
    let run: &[&str] = &["run", "--config", path(&config), "--ready-file", path(&ready)];
    let dev: &[&str] = &["dev", "--listen", "127.0.0.1:0", "--ready-file", path(&ready)];
    for missing in MISSING {
        for arguments in [run, dev] {
            let output = missing.start(arguments);
            let Blocked { cause, fix, .. } = missing.explained();
            let expected = format!("gateway: error: {cause}\ngateway: error: fix: {fix}\n");
            assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{missing:?}, {arguments:?}");
            assert_eq!(output.status.code(), Some(4), "{missing:?}, {arguments:?}");
            assert!(output.stdout.is_empty(), "a gateway that does not serve prints no hints");
            assert!(!ready.exists() && !admin.exists(), "{missing:?}, {arguments:?}");
        }
    }
}

#[test]
fn the_doctor_names_forbidden_io_uring_with_its_cause_and_its_fix() {
    // A doctor needs no io_uring; to take it away, it must have been there.
    let Some(_folder) = Folder::new() else { return };
    for missing in MISSING {
        let output = missing.start(&["doctor"]);
        let said = String::from_utf8(output.stdout).expect("text");
        let Blocked { cause, fix, .. } = missing.explained();
        let lines: Vec<_> = said.lines().take(3).collect();
        let [found, _needed, to_do] = lines[..] else { panic!("{missing:?}: {said}") };
        assert_eq!(found, format!("BAD   io_uring: {cause}"), "{missing:?}");
        assert_eq!(to_do, format!("      fix: {fix}"), "{missing:?}");
        assert_eq!(output.status.code(), Some(4), "{missing:?}");
        assert!(output.stderr.is_empty(), "{missing:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Missing {
    /// Runs the gateway's binary where the call fails. A filter belongs to the thread that installs it and to the
    /// processes this thread starts from then on, so a thread of its own keeps it away from the other tests.
    fn start(self, arguments: &[&str]) -> Output {
        let architecture = std::env::consts::ARCH.try_into().expect("one that Linux filters know");
        let (others, this) = (SeccompAction::Allow, SeccompAction::Errno(self.errno as u32));
        let rules = BTreeMap::from([(self.call, Vec::new())]);
        let filter = SeccompFilter::new(rules, others, this, architecture).expect("the rule is sound");
        let program: BpfProgram = filter.try_into().expect("one rule is short enough");
        std::thread::scope(|scope| {
            let sandbox = scope.spawn(|| {
                seccompiler::apply_filter(&program).expect("every thread may restrict itself");
                gateway(arguments)
            });
            sandbox.join().expect("the gateway could be started")
        })
    }

    /// What a person is told on this machine, whose words the driver's own tests hold.
    fn explained(self) -> Blocked {
        explain(self.step, Errno(self.errno), &Surroundings::look())
    }
}
