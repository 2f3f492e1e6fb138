//! The cores: what each has of its own, what it takes from the tables for all, and whether the machine can give it.

use super::tables::Tables;
use crate::config::problem::nearest;
use crate::config::section::Reader;
use crate::config::sections::{CoreKeys, SLOTS_MAX, WORKERS_MAX};
use crate::config::{Core, Machine, Overrides};

/// The kernel's default bound of open files is large on some systems; a ring with more slots than this gains
/// nothing, because cancelling gets slower with every armed link.
const SLOTS_DEFAULT_MAX: u64 = 20_000;

/// Slots of a worker at least.
const SLOTS_MIN: u64 = 64;

/// Resolves and checks all of them.
pub(super) fn cores(
    reader: &mut Reader<'_>,
    tables: &Tables,
    overrides: Overrides,
    machine: &Machine,
) -> Option<Vec<Core>> {
    let count = count(reader, tables, overrides, machine)?;
    check_rings(reader, tables);
    let mut all = Some(Vec::new());
    for i in 0..count {
        let core = core(reader, tables, machine, i);
        all = all.zip(core).map(|(mut all, one)| {
            all.push(one);
            all
        });
    }
    let all = all?;
    check_open_files(reader, &all, tables, machine);
    for (i, core) in all.iter().enumerate() {
        check_slots(reader, i, core, tables);
    }
    check_served(reader, &all, tables);
    check_batches(reader, &all, tables);
    Some(all)
}

fn count(reader: &mut Reader<'_>, tables: &Tables, overrides: Overrides, machine: &Machine) -> Option<usize> {
    let listed = &tables.cores;
    let named = tables.node.workers;
    if named != 0 && !listed.is_empty() && named != listed.len() && overrides.workers.is_none() {
        let reason = format!("is {named}, but there are {} [[core]] tables", listed.len());
        reader.error("workers", reason, "remove `workers`, or the tables".to_owned());
        return None;
    }
    let count = match (overrides.workers, named) {
        (Some(count), _) => count,
        (None, 0) if listed.is_empty() => machine.cpus.len(),
        (None, 0) => listed.len(),
        (None, named) => named,
    };
    if count == 0 || u64::try_from(count).is_ok_and(|count| count > WORKERS_MAX) {
        let fix = format!("choose 1 to {WORKERS_MAX}");
        reader.error("workers", format!("{count} workers are not possible"), fix);
        return None;
    }
    Some(count)
}

fn core(reader: &mut Reader<'_>, tables: &Tables, machine: &Machine, i: usize) -> Option<Core> {
    let keys = tables.cores.get(i);
    let Tables { ring, receive, limits, .. } = tables;
    let in_turn = machine.cpus[i % machine.cpus.len()];
    let named = keys.and_then(|keys| keys.cpu).and_then(|cpu| u32::try_from(cpu).ok());
    let cpu = named.unwrap_or(in_turn);
    let slots_default = machine.open_files.clamp(SLOTS_MIN, SLOTS_DEFAULT_MAX);
    let slots = keys.and_then(|keys| keys.slots).map_or(slots_default, |slots| slots as u64);
    check_core(reader, i, cpu, slots, !follows_open_files(tables, i), machine);
    // All bounds are far below 2³².
    let own =
        |own: fn(&CoreKeys) -> Option<usize>, of_all: usize| keys.and_then(own).unwrap_or(of_all) as u32;
    Some(Core {
        cpu,
        slots: slots.min(SLOTS_MAX) as u32,
        listeners: served(reader, tables, i)?,
        submissions: own(|keys| keys.submissions, ring.submissions),
        completions: own(|keys| keys.completions, ring.completions),
        batch_wait: keys.and_then(|keys| keys.batch_wait).unwrap_or(ring.batch_wait),
        batch_least: own(|keys| keys.batch_least, ring.batch_least),
        link_buffers: own(|keys| keys.link_buffers, receive.link_buffers),
        link_buffer_len: own(|keys| keys.link_buffer_len, receive.link_buffer_len),
        stream_buffers: own(|keys| keys.stream_buffers, receive.stream_buffers),
        stream_buffer_len: own(|keys| keys.stream_buffer_len, receive.stream_buffer_len),
        parked_accepts: own(|keys| keys.parked_accepts, receive.parked_accepts),
        handshakes_per_turn: own(|keys| keys.handshakes_per_turn, limits.handshakes_per_turn),
    })
}

fn check_core(reader: &mut Reader<'_>, i: usize, cpu: u32, slots: u64, chosen: bool, machine: &Machine) {
    if !machine.cpus.contains(&cpu) {
        let fix = format!("choose one of {:?}", machine.cpus);
        reader.error(&format!("core[{i}].cpu"), format!("this process may not run on CPU {cpu}"), fix);
    }
    if chosen && slots > machine.open_files {
        let reason = format!(
            "{slots} slots, but the limit of open files is {}, and the kernel bounds each ring by it",
            machine.open_files
        );
        let fix =
            "raise LimitNOFILE (systemd) or `ulimit -n`, or use more workers with fewer slots".to_owned();
        reader.error(&format!("core[{i}].slots"), reason, fix);
    }
}

/// Indices of the listeners a core accepts from, in the order of the file.
fn served(reader: &mut Reader<'_>, tables: &Tables, i: usize) -> Option<Vec<usize>> {
    let all = &tables.listeners;
    let Some(names) = tables.cores.get(i).and_then(|keys| keys.listeners.as_ref()) else {
        return Some((0..all.len()).collect());
    };
    let path = format!("core[{i}].listeners");
    if names.is_empty() {
        // Links never move between workers, so whoever accepts none has slots that nobody can take.
        let reason = "names no listener, and a worker holds only links it accepted itself".to_owned();
        reader.error(&path, reason, "name a listener, or remove the key: then it is all".to_owned());
        return None;
    }
    for (i, name) in names.iter().enumerate() {
        let known = || all.iter().map(|listener| &*listener.name);
        if !known().any(|known| known == name) {
            let fix = match nearest(name, known()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("add a [[listener]] with name = \"{name}\""),
            };
            reader.error(&path, format!("no listener is called \"{name}\""), fix);
            return None;
        }
        if names[..i].contains(name) {
            reader.error(&path, format!("names \"{name}\" twice"), "name each listener once".to_owned());
            return None;
        }
    }
    Some((0..all.len()).filter(|at| names.contains(&all[*at].name)).collect())
}

/// Streams, parked accepts and at least as many links must fit.
fn slots_needed(core: &Core, tables: &Tables) -> usize {
    2 * (tables.endpoints.len() + parked(core))
}

fn parked(core: &Core) -> usize {
    core.parked_accepts as usize * core.listeners.len()
}

/// Whether a core's slots are what the limit of open files leaves.
fn follows_open_files(tables: &Tables, i: usize) -> bool {
    tables.cores.get(i).is_none_or(|keys| keys.slots.is_none())
}

/// Cores whose slots nobody has chosen have as many as there may be open files, which can be too few.
fn check_open_files(reader: &mut Reader<'_>, cores: &[Core], tables: &Tables, machine: &Machine) {
    let (open_files, default) = (machine.open_files, SLOTS_DEFAULT_MAX);
    let follow = cores.iter().enumerate().filter(|(i, _)| follows_open_files(tables, *i));
    let needed = follow.map(|(_, core)| slots_needed(core, tables) as u64).max().unwrap_or(0);
    if needed > open_files && needed <= default {
        let reason = format!(
            "the limit of open files is {open_files}, which is the number of slots of a worker, and at least \
             {needed} are needed"
        );
        let fix = format!(
            "raise it: LimitNOFILE={default} in the unit, or `ulimit -n {default}` before the start, which takes \
             root or a new shell"
        );
        reader.error("", reason, fix);
    }
}

fn check_slots(reader: &mut Reader<'_>, i: usize, core: &Core, tables: &Tables) {
    let needed = slots_needed(core, tables);
    let told = follows_open_files(tables, i) && needed as u64 <= SLOTS_DEFAULT_MAX;
    if (core.slots as usize) < needed && !told {
        let reason = format!(
            "{} slots leave too few for links: {} are parked accepts and {} streams",
            core.slots,
            parked(core),
            tables.endpoints.len()
        );
        let fix = format!("give at least {needed} slots, or lower parked_accepts here or in [receive]");
        reader.error(&format!("core[{i}].slots"), reason, fix);
    }
}

/// The key that a core has a value from: one of its own, or that in the table for all.
fn source(tables: &Tables, i: usize, own: fn(&CoreKeys) -> bool, table: &str, name: &str) -> String {
    if tables.cores.get(i).is_some_and(own) { format!("core[{i}].{name}") } else { format!("{table}.{name}") }
}

fn check_served(reader: &mut Reader<'_>, cores: &[Core], tables: &Tables) {
    for (at, listener) in tables.listeners.iter().enumerate() {
        if !cores.iter().any(|core| core.listeners.contains(&at)) {
            let reason = format!("none of the {} workers accepts from \"{}\"", cores.len(), listener.name);
            let listed = tables.cores.len();
            // Only --workers takes fewer than are listed.
            let fix = if cores.len() < listed {
                format!(
                    "give --workers {listed}, or leave it out: fewer workers leave out the last [[core]] tables"
                )
            } else {
                "add it to `listeners` of a [[core]], or remove the [[listener]]".to_owned()
            };
            reader.error(&format!("listener[{at}]"), reason, fix);
        }
    }
}

/// The kernel takes queues and rings of buffers of such sizes only.
fn check_rings(reader: &mut Reader<'_>, tables: &Tables) {
    let Tables { ring, receive, .. } = tables;
    let mut check = |table: &str, name: &str, count: Option<usize>| {
        if let Some(count) = count.filter(|count| !count.is_power_of_two()) {
            let more = count.next_power_of_two();
            let fix = format!("choose {} or {more}", more / 2);
            reader.error(&format!("{table}.{name}"), format!("{count} is no power of two"), fix);
        }
    };
    check("ring", "submissions", Some(ring.submissions));
    check("ring", "completions", Some(ring.completions));
    check("receive", "link_buffers", Some(receive.link_buffers));
    check("receive", "stream_buffers", Some(receive.stream_buffers));
    for (i, keys) in tables.cores.iter().enumerate() {
        let table = format!("core[{i}]");
        check(&table, "submissions", keys.submissions);
        check(&table, "completions", keys.completions);
        check(&table, "link_buffers", keys.link_buffers);
        check(&table, "stream_buffers", keys.stream_buffers);
    }
    let mut fits = |key: &str, submissions: usize, completions: usize| {
        if submissions > completions {
            let reason = format!("{submissions} operations may have {completions} completions only");
            reader.error(key, reason, "lower submissions, or raise completions".to_owned());
        }
    };
    fits("ring.submissions", ring.submissions, ring.completions);
    for (i, keys) in tables.cores.iter().enumerate() {
        let key = match (keys.submissions, keys.completions) {
            (None, None) => continue,
            (Some(_), _) => "submissions",
            (None, Some(_)) => "completions",
        };
        let (submissions, completions) =
            (keys.submissions.unwrap_or(ring.submissions), keys.completions.unwrap_or(ring.completions));
        fits(&format!("core[{i}].{key}"), submissions, completions);
    }
}

/// Where workers share a CPU, completions of one gather while another runs: a wait on top of that only adds latency.
fn check_batches(reader: &mut Reader<'_>, cores: &[Core], tables: &Tables) {
    let mut told = Vec::new();
    for (i, core) in cores.iter().enumerate() {
        let shares = cores.iter().enumerate().any(|(other, with)| other != i && with.cpu == core.cpu);
        let key = source(tables, i, |keys| keys.batch_wait.is_some(), "ring", "batch_wait");
        if core.batch_wait.is_zero() || !shares || told.contains(&key) {
            continue;
        }
        let reason = format!(
            "CPU {} has several workers, and a wait for more completions pays only while \
                              there are no more workers than CPUs",
            core.cpu
        );
        reader.warning(&key, reason, "set it to \"0us\", or give each worker a CPU of its own".to_owned());
        told.push(key);
    }
}
