//! `ringway storm`: processes put and get at full speed while others are killed.
//!
//! [`round`] runs one ring with its [`worker`]s and kills them; what they did is in a
//! [`log`] that outlives them; [`totals`] closes the books. [`message`]s are unique and
//! tell when they are torn.

mod log;
mod message;
mod open;
mod round;
mod totals;
mod worker;

use crate::failure::Failure;
use crate::signals::Signals;
use ringway::Entry;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::time::Duration;
use totals::{Covered, Totals};

/// Stands for the storm's messages.
const SIGNATURE: u64 = 0x5354_4F52_4D00_0001;
/// The most messages of a batch.
const BATCH: u64 = 8;

/// Kill processes at random, with SIGKILL, amidst a queue, and account for every message
///
/// Two processes put and two get, as fast as they can, through rings of 1, 2, 3 and 64
/// places, one after the other: messages in slots, one by one and in batches of up to 8;
/// messages in blocks, most of them longer than a slot, by copy and as grants; streams, longer
/// than all blocks; and batches. All the time one of the four, chosen by the seed, is
/// killed and replaced. Every message has a number and a pattern. Getters write down
/// what they took in shared memory that outlives them.
///
/// At the end no message may be lost, doubled or torn, and each ring must have room for
/// exactly as many as ever, and every block must be free. A message that a getter took and did
/// not live to write down is gone with it: `taken by the dead`, at most one, or a batch, per
/// killed getter. Grants are written down before they are released: nothing is taken by the
/// dead there, and what a getter died with after it wrote it down comes again, at most one
/// per killed getter. The last line but one says what was covered.
///
/// Exit status: 0 if all is right (the last line is then `storm: ok`), 1 if not.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long, over all rings
    #[arg(long, value_name = "S", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Chooses whom to kill and when; printed, to try the same again
    #[arg(long, value_name = "X")]
    seed: Option<u64>,
}

/// What the storm's child processes run.
pub(crate) fn entries() -> Vec<Entry> {
    ringway::entries![worker::putter, worker::getter].into()
}

/// Where the messages of a ring lie, and how they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cargo {
    /// In slots.
    Inline,
    /// Most in blocks.
    Blocks,
    /// The same, taken as grants.
    Grants,
    /// Some of them longer than all blocks together: they pass as streams.
    Streams,
}

/// A ring and how it is used.
#[derive(Debug, Clone, Copy)]
struct Load {
    slots: u64,
    cargo: Cargo,
    /// Messages put or taken at a time, at most.
    batch: u64,
}

impl Load {
    fn name(self) -> String {
        match self.kind() {
            "inline" => format!("N={}", self.slots),
            kind => format!("N={}, {kind}", self.slots),
        }
    }

    /// What it covers.
    fn kind(self) -> &'static str {
        match (self.cargo, self.batch) {
            (Cargo::Inline, 1) => "inline",
            (Cargo::Inline, _) => "batches",
            (Cargo::Blocks, 1) => "blocks",
            (Cargo::Blocks, _) => "blocks and batches",
            (Cargo::Grants, _) => "grants",
            (Cargo::Streams, _) => "streams",
        }
    }
}

/// Every kind with every size.
fn loads() -> Vec<Load> {
    let kinds = [
        (Cargo::Inline, 1),
        (Cargo::Inline, BATCH),
        (Cargo::Blocks, 1),
        (Cargo::Grants, 1),
        (Cargo::Streams, 1),
        (Cargo::Blocks, BATCH),
    ];
    let sizes = [1, 2, 3, 64];
    let each = |(cargo, batch)| sizes.map(|slots| Load { slots, cargo, batch });
    kinds.into_iter().flat_map(each).collect()
}

impl Cargo {
    fn longest(self) -> usize {
        match self {
            Self::Inline => message::LONGEST_SHORT,
            Self::Blocks | Self::Grants | Self::Streams => message::LONGEST,
        }
    }
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    /// The next number, below `end`.
    fn below(&mut self, end: u64) -> u64 {
        // Steele, Lea, Flood: SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) % end
    }
}

/// Runs the storm.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    // The standard library's hasher starts from a random number.
    let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(()) % 1_000_000);
    let mut signals = Signals::catch()?;
    let mut dice = Dice(seed);
    say(&format!("storm: {} s, seed {seed}\n", options.seconds))?;
    let loads = loads();
    let each = Duration::from_millis(options.seconds * 1000 / loads.len() as u64);
    let mut all = Totals::default();
    let mut covered = Covered::default();
    for load in loads {
        let totals = round::run(load, each, &mut dice, &mut signals)?;
        say(&totals.line(&load.name()))?;
        covered.note(load.kind(), &totals);
        all.add(totals);
    }
    say(&all.line("total"))?;
    all.wrong.extend(covered.missing());
    say(&covered.line())?;
    match all.verdict() {
        None => say("storm: ok\n"),
        Some(wrong) => Err(Failure::Failed(format!("storm: {wrong}; seed {seed}"))),
    }
}

/// Prints to the standard output; unlike `print!`, without a panic if nobody reads it.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
