//! A graph of calls: who leads where, and which functions lead back to themselves.

use std::collections::VecDeque;

/// Functions by index, in order of their addresses.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Readable names; instances of one generic function may share theirs.
    pub(crate) names: Vec<String>,
    /// Whom each of them calls or takes the address of, in order and without repetition.
    pub(crate) calls: Vec<Vec<usize>>,
    /// Whose addresses are somewhere in memory, where a call through a pointer can find them.
    pub(crate) taken: Vec<bool>,
}

impl Graph {
    /// All functions whose names please.
    pub(crate) fn find(&self, pleases: impl Fn(&str) -> bool) -> Vec<usize> {
        (0..self.names.len()).filter(|&at| pleases(&self.names[at])).collect()
    }

    /// Who can be reached from these, themselves included.
    pub(crate) fn reached_from(&self, roots: &[usize]) -> Vec<bool> {
        spread(&self.calls, roots, |_| true)
    }

    /// Who leads to these, themselves included, on ways that do not pass a function whose name `cuts`.
    pub(crate) fn leading_to(&self, targets: &[usize], cuts: impl Fn(&str) -> bool) -> Vec<bool> {
        let mut callers = vec![Vec::new(); self.calls.len()];
        for (caller, callees) in self.calls.iter().enumerate() {
            for &callee in callees {
                callers[callee].push(caller);
            }
        }
        spread(&callers, targets, |at| !cuts(&self.names[at]))
    }

    /// Sets of functions each of which leads to all of its set, itself included; no calls, no knot. This is Tarjan's
    /// search for strongly connected components with a stack of its own, since call graphs are deep.
    pub(crate) fn knots(&self) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let count = self.calls.len();
        let (mut order, mut low) = (vec![UNSEEN; count], vec![UNSEEN; count]);
        let (mut open, mut is_open) = (Vec::new(), vec![false; count]);
        let (mut next, mut knots) = (0, Vec::new());
        for root in 0..count {
            let mut walk = if order[root] == UNSEEN { vec![(root, 0)] } else { Vec::new() };
            while let Some((at, call)) = walk.pop() {
                if call == 0 {
                    (order[at], low[at]) = (next, next);
                    next += 1;
                    open.push(at);
                    is_open[at] = true;
                } else {
                    // Back from the callee before this one.
                    let back = self.calls[at][call - 1];
                    if is_open[back] {
                        low[at] = low[at].min(low[back]);
                    }
                }
                if let Some(&callee) = self.calls[at].get(call) {
                    walk.push((at, call + 1));
                    if order[callee] == UNSEEN {
                        walk.push((callee, 0));
                    }
                } else if low[at] == order[at] {
                    let start = open.iter().rposition(|&member| member == at).expect("it is open");
                    let knot = open.split_off(start);
                    for &member in &knot {
                        is_open[member] = false;
                    }
                    if knot.len() > 1 || self.calls[at].contains(&at) {
                        knots.push(knot);
                    }
                }
            }
        }
        knots
    }

    /// A shortest way between two functions, over at least one call; only through `within`, if that is given.
    pub(crate) fn way(&self, from: usize, to: usize, within: Option<&[usize]>) -> Option<Vec<usize>> {
        let mut came_from = vec![None; self.calls.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for &callee in &self.calls[at] {
                if came_from[callee].is_some() || within.is_some_and(|within| !within.contains(&callee)) {
                    continue;
                }
                came_from[callee] = Some(at);
                if callee != to {
                    queue.push_back(callee);
                    continue;
                }
                let mut way = vec![to];
                while let Some(before) = came_from[way[way.len() - 1]] {
                    way.push(before);
                    if before == from {
                        break;
                    }
                }
                way.reverse();
                return Some(way);
            }
        }
        None
    }

    /// Short cycles that together pass every function of a knot. There are far more cycles than anybody can read.
    pub(crate) fn cycles(&self, knot: &[usize]) -> Vec<Vec<usize>> {
        let mut cycles: Vec<Vec<usize>> = Vec::new();
        for &at in knot {
            if !cycles.iter().any(|cycle| cycle.contains(&at)) {
                cycles.extend(self.way(at, at, Some(knot)));
            }
        }
        cycles.sort_by_key(Vec::len);
        cycles
    }
}

/// Everybody found by following `edges` from these.
fn spread(edges: &[Vec<usize>], from: &[usize], enters: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut found = vec![false; edges.len()];
    let mut waiting = from.to_vec();
    while let Some(at) = waiting.pop() {
        if !found[at] && enters(at) {
            found[at] = true;
            waiting.extend(&edges[at]);
        }
    }
    found
}

mod tests {
    use super::*;

    fn graph(calls: &[&[usize]]) -> Graph {
        Graph {
            names: (0..calls.len()).map(|at| format!("f{at}")).collect(),
            calls: calls.iter().map(|callees| callees.to_vec()).collect(),
            taken: vec![false; calls.len()],
        }
    }

    #[test]
    fn no_knot_without_a_way_back() {
        // A diamond, and somebody apart.
        assert!(graph(&[&[1, 2], &[3], &[3], &[], &[0]]).knots().is_empty());
        assert!(graph(&[]).knots().is_empty());
    }

    #[test]
    fn knots_of_one_two_and_many() {
        let graph = graph(&[&[0, 1], &[2], &[1, 3], &[4, 7], &[5, 6], &[3], &[5], &[]]);
        let mut knots = graph.knots();
        for knot in &mut knots {
            knot.sort_unstable();
        }
        knots.sort();
        assert_eq!(knots, [vec![0], vec![1, 2], vec![3, 4, 5, 6]]);
    }

    #[test]
    fn a_way_back_to_a_finished_knot_joins_nothing() {
        assert_eq!(graph(&[&[1], &[2], &[1], &[1, 0]]).knots(), [vec![1, 2]]);
    }

    #[test]
    fn a_way_deeper_than_a_stack() {
        let count = 300_000;
        let calls = (0..count).map(|at| vec![(at + 1) % count]).collect();
        let graph = Graph { names: vec![String::new(); count], calls, taken: vec![false; count] };
        assert_eq!(graph.knots()[0].len(), count);
    }

    #[test]
    fn knots_agree_with_reachability() {
        // All graphs of four functions: 2^16.
        for bits in 0..1u32 << 16 {
            let callees = |at: usize| (0..4).filter(|to| bits >> (at * 4 + to) & 1 == 1).collect();
            let graph = Graph {
                names: vec![String::new(); 4],
                calls: (0..4).map(callees).collect(),
                taken: vec![false; 4],
            };
            let knots = graph.knots();
            for at in 0..4 {
                let back = graph.way(at, at, None).is_some();
                assert_eq!(
                    knots.iter().filter(|knot| knot.contains(&at)).count(),
                    usize::from(back),
                    "{bits:b}"
                );
            }
        }
    }

    #[test]
    fn cycles_are_short_and_pass_everybody() {
        let graph = graph(&[&[1], &[2, 0], &[3], &[0]]);
        let knots = graph.knots();
        let cycles = graph.cycles(&knots[0]);
        assert_eq!(cycles.len(), 2);
        assert_eq!(cycles[0], [0, 1, 0]);
        assert_eq!(cycles[1].len(), 5);
    }

    #[test]
    fn ways_back_stop_where_they_are_cut() {
        let graph = graph(&[&[1], &[2], &[], &[2]]);
        assert_eq!(graph.reached_from(&[1]), [false, true, true, false]);
        assert_eq!(graph.leading_to(&[2], |_| false), [true; 4]);
        assert_eq!(graph.leading_to(&[2], |name| name == "f1"), [false, false, true, true]);
    }
}
