//! From the text that `objdump` writes to a graph of calls.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use super::graph::Graph;
use super::machine::{Machine, Step, hex};

/// The graph of a binary's calls, or why it cannot be had on this machine.
pub(crate) fn graph_of(binary: &Path) -> Result<Graph, String> {
    let Some(mut machine) = Machine::of_this_build() else {
        return Err(format!("the instructions of {} are unknown here", std::env::consts::ARCH));
    };
    let memory = Memory::read(&objdump(&["--section-headers", "--dynamic-reloc"], binary)?);
    let code = objdump(&["--disassemble", "--section=.text", "--demangle", "--no-show-raw-insn"], binary)?;
    Ok(Listing::read(&code, &memory, &mut machine).graph(&memory))
}

/// Runs `objdump`. Only its absence is an excuse: one that fails is a fault.
fn objdump(flags: &[&str], binary: &Path) -> Result<String, String> {
    let output = match Command::new("objdump").env("LC_ALL", "C").args(flags).arg(binary).output() {
        Ok(output) => output,
        Err(error) => return Err(format!("objdump does not start ({error}); it is part of binutils")),
    };
    assert!(output.status.success(), "objdump: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout).expect("names are UTF-8"))
}

/// Addresses that lie in memory when the program starts, since a position-independent program has a relocation for each.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Where, and which.
    words: BTreeMap<u64, u64>,
    /// The global offset table: what lies there is read by instructions that say so, and by nothing else.
    table: Range<u64>,
}

impl Memory {
    /// Reads section headers and dynamic relocations.
    pub(crate) fn read(text: &str) -> Self {
        let mut memory = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                [_, ".got", len, start, ..] => {
                    let start = hex(start).expect("a section's address");
                    memory.table = start..start + hex(len).expect("a section's length");
                }
                [at, kind, value] if kind.ends_with("_RELATIVE") => {
                    let value = value.strip_prefix("*ABS*+").and_then(hex).expect("an address");
                    memory.words.insert(hex(at).expect("an address"), value);
                }
                _ => {}
            }
        }
        memory
    }

    /// How many addresses there are.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }
}

/// What the instructions say, in addresses.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    starts: Vec<u64>,
    names: Vec<String>,
    /// From which function to which address, and whether that is a jump, which may stay in its function.
    goes: Vec<(usize, u64, bool)>,
    /// From which function to exactly which address: it was at hand.
    takes: Vec<(usize, u64)>,
    /// Addresses that were not just called but put somewhere.
    put: Vec<u64>,
}

impl Listing {
    /// Reads a disassembly with demangled names and without raw bytes.
    pub(crate) fn read(code: &str, memory: &Memory, machine: &mut Machine) -> Self {
        let mut listing = Self::default();
        let mut held = Held::default();
        for line in code.lines() {
            if let Some((start, name)) = header(line) {
                held.let_go(&mut listing.put);
                machine.begin_function();
                listing.starts.push(start);
                listing.names.push(name.to_owned());
            } else if let Some((_, instruction)) = line.split_once(":\t")
                && let Some(function) = listing.starts.len().checked_sub(1)
            {
                listing.learn(function, instruction, memory, machine, &mut held);
            }
        }
        held.let_go(&mut listing.put);
        listing
    }

    fn learn(
        &mut self,
        function: usize,
        instruction: &str,
        memory: &Memory,
        machine: &mut Machine,
        held: &mut Held,
    ) {
        let step = machine.read(instruction);
        match step {
            Step::Calls(address) => self.goes.push((function, address, false)),
            Step::Jumps(address) => self.goes.push((function, address, true)),
            Step::GoesThrough(slot) => {
                self.takes.extend(memory.words.get(&slot).map(|&address| (function, address)));
            }
            // If the register holds an address we know, the edge is there already.
            Step::GoesBy(register) => held.forget(register),
            Step::Returns => {}
            Step::Takes { .. } | Step::Loads { .. } | Step::Other => {
                held.let_go_if_named(instruction, &mut self.put)
            }
        }
        let (register, address) = match step {
            Step::Takes { register, address } => (register, Some(address)),
            Step::Loads { register, slot } => (register, memory.words.get(&slot).copied()),
            Step::Other => return,
            Step::Calls(_) | Step::Jumps(_) | Step::GoesThrough(_) | Step::GoesBy(_) | Step::Returns => {
                return held.let_go(&mut self.put);
            }
        };
        let Some(address) = address else { return };
        self.takes.push((function, address));
        if machine.is_lost_by_calls(register) {
            held.registers.push((register.to_owned(), address));
        } else {
            self.put.push(address);
        }
    }

    /// Finds the functions behind the addresses.
    pub(crate) fn graph(mut self, memory: &Memory) -> Graph {
        let count = self.starts.len();
        assert!(self.starts.is_sorted(), "functions come in order");
        let mut calls = vec![Vec::new(); count];
        for &(from, address, jump) in &self.goes {
            let to = self.starts.partition_point(|&start| start <= address).checked_sub(1);
            // Loops and branches; a jump to the own start is a loop as well, as nothing is optimised.
            calls[from].extend(to.filter(|&to| !(jump && to == from)));
        }
        for (from, address) in &self.takes {
            calls[*from].extend(self.starts.binary_search(address));
        }
        for callees in &mut calls {
            callees.sort_unstable();
            callees.dedup();
        }
        let elsewhere = memory.words.iter().filter(|(at, _)| !memory.table.contains(at));
        self.put.extend(elsewhere.map(|(_, address)| address));
        let mut taken = vec![false; count];
        for address in &self.put {
            if let Ok(at) = self.starts.binary_search(address) {
                taken[at] = true;
            }
        }
        Graph { names: self.names, calls, taken }
    }
}

/// Addresses in registers, about to be called.
///
/// A compiler that loads a function's address in order to call it does so right before: nothing else names the register,
/// and no call, jump or return comes in between. Whatever does not look like that counts as put somewhere.
#[derive(Debug, Default)]
struct Held {
    registers: Vec<(String, u64)>,
}

impl Held {
    fn forget(&mut self, register: &str) {
        self.registers.retain(|(held, _)| held != register);
    }

    fn let_go(&mut self, put: &mut Vec<u64>) {
        put.extend(self.registers.drain(..).map(|(_, address)| address));
    }

    fn let_go_if_named(&mut self, instruction: &str, put: &mut Vec<u64>) {
        self.registers.retain(|(register, address)| {
            let named = instruction.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == register);
            if named {
                put.push(*address);
            }
            !named
        });
    }
}

/// `0000000000003a80 <name>:`, the line before a function.
fn header(line: &str) -> Option<(u64, &str)> {
    let (address, name) = line.strip_suffix(">:")?.split_once(" <")?;
    Some((u64::from_str_radix(address, 16).ok()?, name))
}

mod tests {
    use super::*;

    const HEADERS: &str = "
Sections:
Idx Name          Size      VMA               LMA               File off  Algn
 15 .text         00000200  0000000000001000  0000000000001000  00001000  2**6
 24 .data.rel.ro  00000100  0000000000008000  0000000000008000  00008000  2**6
 26 .got          00000100  0000000000009000  0000000000009000  00009000  2**3

DYNAMIC RELOCATION RECORDS
OFFSET           TYPE              VALUE
0000000000008010 R_X86_64_RELATIVE  *ABS*+0x0000000000001040
0000000000009010 R_X86_64_RELATIVE  *ABS*+0x0000000000001020
0000000000009018 R_X86_64_RELATIVE  *ABS*+0x0000000000001060
0000000000009020 R_X86_64_GLOB_DAT  free@GLIBC_2.2.5
";

    fn graph(code: &str, mut machine: Machine) -> Graph {
        let memory = Memory::read(HEADERS);
        assert_eq!(memory.len(), 3);
        Listing::read(code, &memory, &mut machine).graph(&memory)
    }

    #[test]
    fn a_planted_cycle_over_every_kind_of_call() {
        let graph = graph(
            "
gateway:     file format elf64-x86-64

Disassembly of section .text:

0000000000001000 <a::direct>:
    1000:\tpush   %rax
    1001:\tjne    1008 <a::direct+0x8>
    1003:\tjmp    1000 <a::direct>
    1008:\tcall   *0x8002(%rip)        # 9010 <_DYNAMIC+0x250>
    100e:\tcall   *0x8002(%rip)        # 9020 <_DYNAMIC+0x260>
    1014:\tret

0000000000001020 <core::option::Option<T>::map>:
    1020:\tmov    0x7fe9(%rip),%rax        # 9018 <_DYNAMIC+0x258>
    1027:\tmov    0x8(%rsp),%rdi
    102c:\tcall   *%rax
    102e:\tret

0000000000001040 <a::in_a_table>:
    1040:\tjmp    1084 <a::last+0x4>

0000000000001060 <a::direct::{{closure}}>:
    1060:\tlea    -0x27(%rip),%rax        # 1040 <a::in_a_table>
    1067:\tmov    %rax,0x8(%rsp)
    106c:\tret

0000000000001080 <a::last>:
    1080:\tcall   1000 <a::direct>
    1085:\tret
",
            Machine::X86_64,
        );
        assert_eq!(graph.calls, [vec![1], vec![3], vec![4], vec![2], vec![0]]);
        // Only what was put somewhere, by instructions or from the start.
        assert_eq!(graph.taken, [false, false, true, false, false]);
        assert_eq!(graph.knots()[0].len(), 5);
    }

    #[test]
    fn what_a_register_held_across_anything_is_put_somewhere() {
        let load = "mov    0x7fe9(%rip),%rax        # 9018 <x>";
        for (between, taken) in [
            ("mov    0x8(%rsp),%rdi", false),
            ("mov    %rax,0x8(%rsp)", true),
            ("call   1000 <a>", true),
            ("jne    1000 <a>", true),
            ("ret", true),
        ] {
            let code = format!(
                "0000000000001000 <a>:\n 1000:\t{load}\n 1007:\t{between}\n 100c:\tcall   *%rax\n\n\
                 0000000000001060 <b>:\n 1060:\tret\n"
            );
            let graph = graph(&code, Machine::X86_64);
            assert!(graph.calls[0].contains(&1), "{between}");
            assert_eq!(graph.taken[1], taken, "{between}");
        }
    }

    #[test]
    fn a_register_that_calls_preserve_tells_nothing() {
        let code = "0000000000001000 <a>:\n 1000:\tmov    0x7fe9(%rip),%rbx        # 9018 <x>\n \
                    1007:\tcall   *%rbx\n\n0000000000001060 <b>:\n 1060:\tret\n";
        assert!(graph(code, Machine::X86_64).taken[1]);
    }

    #[test]
    fn a_planted_cycle_on_aarch64() {
        let graph = graph(
            "
0000000000001000 <a::direct>:
    1000:\tstp\tx29, x30, [sp, #-16]!
    1004:\tb.ne\t100c <a::direct+0xc>  // b.any
    1008:\tbl\t1020 <a::through_the_table>
    100c:\tret

0000000000001020 <a::through_the_table>:
    1020:\tadrp\tx8, 9000 <_GLOBAL_OFFSET_TABLE_>
    1024:\tldr\tx8, [x8, #24]
    1028:\tmov\tx0, #0x8
    102c:\tblr\tx8

0000000000001060 <a::taker>:
    1060:\tadrp\tx8, 1000 <a::direct>
    1064:\tadd\tx8, x8, #0x80
    1068:\tstr\tx8, [sp, #8]
    106c:\tret

0000000000001080 <a::last>:
    1080:\tcbz\tx0, 1000 <a::direct>
    1084:\tret
",
            Machine::Aarch64 { pages: BTreeMap::new() },
        );
        assert_eq!(graph.calls, [vec![1], vec![2], vec![3], vec![0]]);
        assert_eq!(graph.taken, [false, false, false, true]);
        assert_eq!(graph.knots()[0].len(), 4);
    }
}
