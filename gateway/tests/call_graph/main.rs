//! No function of the data path re-enters itself: below a worker's turn the graph of calls has no cycle.
//!
//! A function that can be entered again while it runs finds the state it works on changed behind its back. Rust's
//! borrows prevent that only for what is borrowed across the call, and methods of one big struct borrow nothing. So the
//! compiled gateway is looked at: its disassembly says who calls whom.
//!
//! What makes this a proof and not a sample:
//!
//! * Without optimisation every call is an instruction: direct, through the global offset table, or through a register
//!   that was loaded right before. Closures and instances of generic functions are functions of their own, also those
//!   of the standard library, and calls while a panic unwinds are calls. What is inlined nevertheless
//!   (`#[inline(always)]`) moves its calls to whoever calls it, and a cycle stays a cycle.
//! * Taking a function's address counts as calling it.
//! * A call through a pointer that comes from elsewhere, such as a method of a `dyn` object, has no edge: its target is
//!   unknown. But it can only reach a function whose address lies somewhere in memory or was put there. The second test
//!   shows that none of those leads into a worker, apart from the control thread and the thread's start ([`APART`]). So
//!   no such call can close a cycle.
//! * The tests see what they must: known ways through the worker, nearly all of its functions below its turn, and
//!   planted cycles of every kind in this test's own binary, one of which an optimiser would remove.
//!
//! What is assumed: no worker calls what the control thread points at in order to reach workers, see [`APART`].
//!
//! What is not seen: instances that only the simulator uses (a worker over another driver); two instances of one generic
//! function are two functions, so that a function that hands itself another closure is not a cycle; a closure that
//! is inlined has no name of its own. Tables of functions that hold distances instead of addresses would not be seen,
//! but compilers make them only when they optimise. `aarch64` has only been read from texts so far; there the planted
//! cycles tell whether it is read well.

mod graph;
mod listing;
mod machine;
mod planted;

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::sync::OnceLock;

use graph::Graph;

#[test]
fn no_function_of_the_data_path_re_enters_itself() {
    let Some(graph) = gateway() else { return };
    let turn = graph.find(is_turn);
    let below = graph.reached_from(&turn);
    let is_ours = |at: usize| {
        let name = &graph.names[at];
        is_of(name, WORKER) || below[at] && DATA_PATH.iter().any(|place| is_of(name, place))
    };
    let knots: Vec<_> = graph.knots().into_iter().filter(|knot| knot.iter().any(|&at| is_ours(at))).collect();
    assert!(knots.is_empty(), "{}", report(graph, &knots));
}

#[test]
fn no_pointer_leads_into_a_worker() {
    let Some(graph) = gateway() else { return };
    let pointed_at = pointed_at(graph, WORKER, APART);
    assert!(
        pointed_at.is_empty(),
        "functions that calls through pointers may reach, each with a way from it into a worker:\n{}",
        pointed_at.join("\n")
    );
}

#[test]
fn the_graph_shows_what_is_known_of_the_gateway() {
    let Some(graph) = gateway() else { return };
    let turn = graph.find(is_turn);
    assert_eq!(turn.len(), 1, "a worker has one turn");
    let below = graph.reached_from(&turn);
    for end in ENDS {
        let found = graph.find(|name| name == *end);
        assert!(found.iter().any(|&at| below[at]), "a turn leads to {end}");
    }
    let worker = graph.find(|name| is_of(name, WORKER));
    assert!(worker.len() >= 150, "only {} functions of the worker", worker.len());
    let seen = worker.iter().filter(|&&at| below[at]).count();
    assert!(seen * 10 >= worker.len() * 8, "a turn leads to only {seen} of {} functions", worker.len());

    // The control thread starts a worker, by a pointer in memory; a worker never leads to it.
    let above = graph.leading_to(&turn, |_| false);
    assert!((0..above.len()).any(|at| above[at] && graph.taken[at]), "a thread's start is pointed at");
    let apart = graph.find(|name| is_of(name, APART));
    assert!(apart.iter().any(|&at| above[at]), "the control thread leads to a turn");
    let below_any = graph.reached_from(&worker);
    let back: Vec<_> = apart.iter().filter(|&&at| below_any[at]).map(|&at| &graph.names[at]).collect();
    assert!(back.is_empty(), "a worker leads to the control thread: {back:?}");
}

#[test]
fn planted_cycles_are_seen() {
    assert!(planted::run() > 0, "they run");
    let binary = std::env::current_exe().expect("a running test has a binary");
    let Some(graph) = run_or_say(graph_of(&binary)) else { return };
    let one = |name: &str| {
        let found = graph.find(|full| full == format!("call_graph::planted::{name}"));
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    };
    let knots = graph.knots();
    let knotted = |name: &str| knots.iter().any(|knot| knot.contains(&one(name)));
    for name in ["there", "back", "by_tail", "by_closure", "by_instance", "by_address"] {
        assert!(knotted(name), "{name} leads back to itself");
    }
    for name in ["by_pointer", "straight", "last"] {
        assert!(!knotted(name), "no edge of {name} leads back");
    }
    let pointed_at = pointed_at(&graph, "call_graph::planted::", "nobody is apart");
    let pointed_at =
        |name: &str| pointed_at.iter().any(|way| way.split(" → ").next() == Some(&graph.names[one(name)]));
    assert!(pointed_at("by_pointer"), "its address lies in a table");
    assert!(pointed_at("by_address"), "its address was put somewhere");
    assert!(!pointed_at("last") && !pointed_at("back"), "they are just called");
    let text = report(&graph, &knots);
    assert!(
        text.contains("planted::there → call_graph::planted::back → call_graph::planted::there"),
        "{text}"
    );
}

/// Where the functions of a worker are.
const WORKER: &str = "gateway::worker::";
/// What a worker's turn may call that is ours.
const DATA_PATH: &[&str] = &["gateway::", "driver::", "protocol::"];
/// Above the worker, and assumed never to be called by one through a pointer: the first function of a worker's thread,
/// which runs once and is consumed by that, and closures with which the control thread sends letters from its own
/// thread. The one closure it gives a worker to call, for randomness, leads to no worker.
const APART: &str = "gateway::control::";
/// Where the way of a message ends, in both directions.
const ENDS: &[&str] = &[
    "<driver::uring::Uring as driver::ops::Driver>::submit",
    "<driver::uring::Uring as driver::ops::Driver>::next",
    "protocol::link::server::ServerLink::seal",
    "protocol::stream::gateway::GatewayStream::seal",
    "protocol::stream::gateway::GatewayStream::receive",
    "protocol::wire::frame::Frame::encode",
    "protocol::wire::frame::Request::decode",
    "protocol::wire::stream::push::StreamPush::decode",
];

/// Functions that a call through a pointer may reach and that lead to functions of a place, other than through those
/// apart: each with a shortest way.
fn pointed_at(graph: &Graph, place: &str, apart: &str) -> Vec<String> {
    let targets = graph.find(|name| is_of(name, place));
    let leading = graph.leading_to(&targets, |name| name.contains(apart));
    let pointed_at = (0..graph.names.len()).filter(|&at| leading[at] && graph.taken[at]);
    pointed_at
        .map(|at| {
            let way = targets.iter().filter_map(|&to| graph.way(at, to, None)).min_by_key(Vec::len);
            line(graph, &way.unwrap_or(vec![at]))
        })
        .collect()
}

fn is_turn(name: &str) -> bool {
    name.trim_start_matches('<').starts_with("gateway::worker::Worker<") && name.ends_with(">::turn")
}

/// Whether a function, a method of a type, or a method of a trait is at home in this place.
fn is_of(name: &str, place: &str) -> bool {
    let path = name.trim_start_matches('<').trim_start_matches('&').trim_start_matches("mut ");
    path.starts_with(place) || name.starts_with('<') && name.contains(&format!(" as {place}"))
}

/// The graph of the gateway of this build. Every test that cannot have it says so itself.
fn gateway() -> Option<&'static Graph> {
    static GRAPH: OnceLock<Result<Graph, String>> = OnceLock::new();
    run_or_say(GRAPH.get_or_init(|| graph_of(Path::new(env!("CARGO_BIN_EXE_gateway")))).as_ref())
}

/// Refuses what was compiled for speed: there a cycle may have become a loop.
fn graph_of(binary: &Path) -> Result<Graph, String> {
    if cfg!(debug_assertions) {
        listing::graph_of(binary)
    } else {
        Err("an optimised binary hides cycles".to_owned())
    }
}

fn run_or_say<G, R: Display>(graph: Result<G, R>) -> Option<G> {
    graph.inspect_err(|reason| eprintln!("NOT RUN: {reason}")).ok()
}

/// What to read when there are cycles.
fn report(graph: &Graph, knots: &[Vec<usize>]) -> String {
    let mut text = "functions that lead back to themselves:\n".to_owned();
    for knot in knots {
        let calls: usize = knot
            .iter()
            .map(|&at| graph.calls[at].iter().filter(|callee| knot.contains(callee)).count())
            .sum();
        let cycles = graph.cycles(knot);
        writeln!(text, "{} functions with {calls} calls among them; some of the cycles:", knot.len())
            .expect("a string takes everything");
        for cycle in &cycles {
            writeln!(text, "    {}", line(graph, cycle)).expect("a string takes everything");
        }
    }
    text
}

fn line(graph: &Graph, way: &[usize]) -> String {
    way.iter().map(|&at| short(&graph.names[at])).collect::<Vec<_>>().join(" → ")
}

/// Without what every function of the worker has in its name.
fn short(name: &str) -> String {
    name.replace("<impl gateway::worker::parts::Parts>::", "").replace(WORKER, "")
}
