//! Says of addresses which of many blocks holds them, for whoever wants to compare.
//!
//! Standard input: blocks, one a line; an empty line; addresses, one a line. Standard output: of each address the length of
//! the longest prefix that holds it, or `-`.

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;

use gateway::admission::lists::{NEVER, Prefixes};
use protocol::Time;

fn main() -> Result<(), Box<dyn Error>> {
    let text = io::read_to_string(io::stdin())?;
    let (blocks, addresses) = text.split_once("\n\n").ok_or("there is no empty line")?;
    let blocks = blocks.lines().map(|block| Ok((block.parse()?, NEVER)));
    let blocks: Result<Prefixes, gateway::admission::lists::NoBlock> = blocks.collect();
    let blocks = blocks.map_err(|no_block| no_block.to_string())?;
    let mut out = BufWriter::new(io::stdout().lock());
    for address in addresses.lines() {
        let address: IpAddr = address.parse()?;
        match blocks.cover(address, Time::ZERO) {
            Some(cover) => writeln!(out, "{}", cover.len)?,
            None => writeln!(out, "-")?,
        }
    }
    Ok(())
}
