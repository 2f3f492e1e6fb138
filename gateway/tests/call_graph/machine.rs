//! What one instruction means for the graph of calls, on the machines the gateway is built for.

use std::collections::BTreeMap;

/// An instruction, as far as the graph cares.
#[derive(Debug, PartialEq)]
pub(crate) enum Step<'t> {
    /// A call of the function at this address.
    Calls(u64),
    /// A jump to this address, which is a call if the address lies in another function.
    Jumps(u64),
    /// A call or jump to the address that this word of memory holds.
    GoesThrough(u64),
    /// A call or jump to the address that this register holds.
    GoesBy(&'t str),
    /// The address is put into the register.
    Takes { register: &'t str, address: u64 },
    /// What this word of memory holds is put into the register, or to some other use if no register is named.
    Loads { register: &'t str, slot: u64 },
    /// The straight line ends, and nothing is called.
    Returns,
    /// Nothing of interest.
    Other,
}

/// A reader of the instructions of one kind of processor.
#[derive(Debug)]
pub(crate) enum Machine {
    /// AT&T syntax, as `objdump` writes it unless told otherwise.
    X86_64,
    /// Addresses come in two halves; `pages` holds the upper ones by register, until the function ends.
    Aarch64 { pages: BTreeMap<String, u64> },
}

impl Machine {
    /// The processor of this build, whose tests look at a binary of the same build; `None` if it is unknown here.
    pub(crate) fn of_this_build() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64 { pages: BTreeMap::new() }),
            _ => None,
        }
    }

    /// Whether a called function may change the register: then what it held before a call is gone after it.
    pub(crate) fn is_lost_by_calls(&self, register: &str) -> bool {
        match self {
            Self::X86_64 => {
                matches!(register, "rax" | "rcx" | "rdx" | "rsi" | "rdi" | "r8" | "r9" | "r10" | "r11")
            }
            Self::Aarch64 { .. } => {
                register.strip_prefix('x').and_then(|number| number.parse().ok()).is_some_and(|n: u8| n <= 18)
            }
        }
    }

    /// Forgets what is known about registers: another function begins.
    pub(crate) fn begin_function(&mut self) {
        if let Self::Aarch64 { pages } = self {
            pages.clear();
        }
    }

    /// Reads what follows an instruction's address.
    pub(crate) fn read<'t>(&mut self, text: &'t str) -> Step<'t> {
        match self {
            Self::X86_64 => read_x86_64(text),
            Self::Aarch64 { pages } => read_aarch64(text, pages),
        }
    }
}

/// Prefixes that `objdump` writes as words in front of a mnemonic.
const PREFIXES: &[&str] =
    &["bnd", "notrack", "addr32", "data16", "rex.W", "lock", "rep", "repz", "repnz", "cs"];

fn read_x86_64(text: &str) -> Step<'_> {
    let (code, comment) = text.split_once('#').unwrap_or((text, ""));
    let (mut mnemonic, mut operands) = halves(code);
    while PREFIXES.contains(&mnemonic) {
        (mnemonic, operands) = halves(operands);
    }
    let goes = mnemonic.starts_with('j') || mnemonic.starts_with("call");
    // Relative to the instruction pointer: the comment says the sum.
    let word = if operands.contains("(%rip)") { hex(comment) } else { None };
    if goes {
        return match (operands.strip_prefix('*'), word, hex(operands)) {
            (Some(_), Some(slot), _) => Step::GoesThrough(slot),
            (Some(register), None, _) => Step::GoesBy(register.trim_start_matches('%')),
            (None, _, Some(address)) if mnemonic.starts_with("call") => Step::Calls(address),
            (None, _, Some(address)) => Step::Jumps(address),
            (None, _, None) => Step::Other,
        };
    }
    if mnemonic.starts_with("ret") {
        return Step::Returns;
    }
    let Some(word) = word else { return Step::Other };
    let target = operands.rsplit_once(",%").map_or("", |(_, register)| register);
    match mnemonic {
        "lea" => Step::Takes { register: target, address: word },
        "mov" => Step::Loads { register: target, slot: word },
        // Into a vector register, or compared with, or pushed.
        _ => Step::Loads { register: "", slot: word },
    }
}

fn read_aarch64<'t>(text: &'t str, pages: &mut BTreeMap<String, u64>) -> Step<'t> {
    let (mnemonic, operands) = halves(text);
    let first = operands.split(',').next().unwrap_or_default().trim();
    match mnemonic {
        "bl" => return hex(operands).map_or(Step::Other, Step::Calls),
        "b" => return hex(operands).map_or(Step::Other, Step::Jumps),
        "blr" | "br" => return Step::GoesBy(first),
        "ret" => return Step::Returns,
        "cbz" | "cbnz" | "tbz" | "tbnz" => {
            // The target comes last; a name behind it may have commas of its own.
            let target = operands.split(',').skip(1).map(str::trim).find(|part| !part.starts_with('#'));
            return target.and_then(hex).map_or(Step::Other, Step::Jumps);
        }
        _ if mnemonic.starts_with("b.") => return hex(operands).map_or(Step::Other, Step::Jumps),
        _ => {}
    }
    let rest = operands.split_once(',').map_or("", |(_, rest)| rest.trim());
    match mnemonic {
        "adrp" => {
            if let Some(page) = hex(rest) {
                pages.insert(first.to_owned(), page);
            }
            Step::Other
        }
        "adr" => hex(rest).map_or(Step::Other, |address| Step::Takes { register: first, address }),
        "add" | "ldr" => {
            let mut parts = rest.split(',').map(|part| part.trim_matches([' ', '[', ']', '!']));
            let page = parts.next().and_then(|from| pages.get(from).copied());
            let offset = parts.next().map_or(Some(0), immediate);
            // It holds something else from now on.
            pages.remove(first);
            match page.zip(offset) {
                Some((page, offset)) if mnemonic == "add" => {
                    Step::Takes { register: first, address: page + offset }
                }
                Some((page, offset)) => Step::Loads { register: first, slot: page + offset },
                None => Step::Other,
            }
        }
        _ => Step::Other,
    }
}

/// A word and what follows it.
fn halves(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

/// The hexadecimal number a text begins with.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    u64::from_str_radix(&text[..end], 16).ok()
}

/// `#0x1f` or `#31`.
fn immediate(text: &str) -> Option<u64> {
    let number = text.strip_prefix('#')?;
    if number.starts_with("0x") { hex(number) } else { number.parse().ok() }
}

mod tests {
    use super::*;

    #[test]
    fn ways_to_call_on_x86_64() {
        let mut machine = Machine::X86_64;
        for (text, step) in [
            ("call   3a1480 <a::b<c, d>::e>", Step::Calls(0x3a1480)),
            ("callq  0x3a1480 <a>", Step::Calls(0x3a1480)),
            ("addr32 call 3a1480 <a>", Step::Calls(0x3a1480)),
            ("jmp    24b0 <a+0x12>", Step::Jumps(0x24b0)),
            ("bnd jmp 24b0 <a+0x12>", Step::Jumps(0x24b0)),
            ("jne    24b0 <a+0x12>", Step::Jumps(0x24b0)),
            ("call   *0x45eb36(%rip)        # 806ba8 <_DYNAMIC+0x3008>", Step::GoesThrough(0x806ba8)),
            ("jmp    *0x45eb36(%rip)        # 806ba8 <_DYNAMIC+0x3008>", Step::GoesThrough(0x806ba8)),
            ("call   *%rax", Step::GoesBy("rax")),
            ("notrack jmp *%rax", Step::GoesBy("rax")),
            ("call   *0x18(%rcx)", Step::GoesBy("0x18(%rcx)")),
            ("lea    -0x12(%rip),%rdi        # 3a6f <a>", Step::Takes { register: "rdi", address: 0x3a6f }),
            ("mov    0x5b(%rip),%rax        # 803df0 <b>", Step::Loads { register: "rax", slot: 0x803df0 }),
            ("movq   0x5b(%rip),%xmm0        # 803df0 <b>", Step::Loads { register: "", slot: 0x803df0 }),
            ("mov    %rax,0x5b(%rip)        # 803df0 <b>", Step::Loads { register: "", slot: 0x803df0 }),
            ("lea    0x8(%rsp),%rdi", Step::Other),
            ("mov    %fs:0x0,%rax", Step::Other),
            ("ret", Step::Returns),
        ] {
            assert_eq!(machine.read(text), step, "{text}");
        }
    }

    #[test]
    fn ways_to_call_on_aarch64() {
        let mut machine = Machine::Aarch64 { pages: BTreeMap::new() };
        for (text, step) in [
            ("bl\t9d0 <a::b<c, d>::e>", Step::Calls(0x9d0)),
            ("b\t9d0 <a+0x10>", Step::Jumps(0x9d0)),
            ("b.ne\t9d0 <a+0x10>  // b.any", Step::Jumps(0x9d0)),
            ("cbz\tx0, 9d0 <a::b<c, d>+0x10>", Step::Jumps(0x9d0)),
            ("tbnz\tw0, #3, 9d0 <a::b<c, d>+0x10>", Step::Jumps(0x9d0)),
            ("blr\tx8", Step::GoesBy("x8")),
            ("br\tx16", Step::GoesBy("x16")),
            ("adrp\tx0, 20000 <a+0x10>", Step::Other),
            ("add\tx0, x0, #0xa78", Step::Takes { register: "x0", address: 0x20a78 }),
            // The upper half is gone.
            ("add\tx1, x0, #0xa78", Step::Other),
            ("adrp\tx8, 30000 <a+0x10>", Step::Other),
            ("ldr\tx9, [x8, #3912]", Step::Loads { register: "x9", slot: 0x30f48 }),
            ("ldr\tx8, [x8]", Step::Loads { register: "x8", slot: 0x30000 }),
            ("ldr\tx0, [sp, #8]", Step::Other),
            ("adr\tx2, 4000 <a>", Step::Takes { register: "x2", address: 0x4000 }),
            ("ret", Step::Returns),
        ] {
            assert_eq!(machine.read(text), step, "{text}");
        }
    }
}
