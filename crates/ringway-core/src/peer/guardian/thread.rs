//! The guardian's thread: look, sleep, look.

use super::Shared;
use super::settings;
use crate::memory::Word32;
use crate::peer::{Identity, Live};
use crate::process::global;
use crate::sync::Ordering::SeqCst;
use crate::wait::{self, Deadline, Woken};
use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often all peers are looked after where the kernel tells of every death.
const TICK: Duration = Duration::from_millis(500);
/// The same where it does not.
const SHORT_TICK: Duration = Duration::from_millis(250);
/// Between looks at one that is marked and not proven dead: at first, later, and once
/// it has taken so long that the mark is probably a lie, or its memory is being dumped.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONG_PAUSE: Duration = Duration::from_millis(10);
const HOPE: Duration = Duration::from_secs(2);
/// How many words one thread can sleep on.
const MOST_WORDS: usize = 128;
/// Rounds between two ticks after which each takes a rest: a peer that keeps waking us
/// gets no more than a little of a processor.
const MOST_ROUNDS: u32 = 256;
const REST: Duration = Duration::from_millis(2);

/// One look at everything.
pub(crate) struct Round {
    /// Whether to look after all peers, marked or not.
    pub(crate) everyone: bool,
    /// Whether something happened since the last, other than time.
    woken: bool,
    /// A peer's word each, and one for each table of participants.
    peers: Vec<(Word32, u32)>,
    tables: Vec<(Word32, u32)>,
    known: HashSet<Identity>,
    retry: bool,
    silent: bool,
    alone: bool,
}

impl Round {
    fn new(everyone: bool, woken: bool) -> Self {
        Self {
            everyone,
            woken,
            peers: Vec::new(),
            tables: Vec::new(),
            known: HashSet::new(),
            retry: false,
            silent: false,
            alone: true,
        }
    }

    /// Sleep on this table of participants. Read it before the table.
    pub(crate) fn watch_table(&mut self, (word, seen): (Word32, u32)) {
        self.tables.push((word, seen));
    }

    /// Sleep on this peer, unless it is the process of one that is watched already.
    pub(crate) fn watch_peer(&mut self, identity: Identity, live: Live) {
        self.alone = false;
        self.silent |= live.is_silent();
        let told = identity.pid != 0 && identity.pid_namespace != 0;
        if !told || self.known.insert(identity) {
            self.peers.push((live.word, live.value));
        }
    }

    /// Look again soon: one is marked and not proven dead, or not repaired to the end, or
    /// has joined and cannot be heard yet.
    pub(crate) fn look_again(&mut self) {
        self.alone = false;
        self.retry = true;
    }
}

/// Time, as the thread keeps it.
struct Pace {
    looked: Instant,
    rounds: u32,
    pause: Duration,
    retrying: Option<Instant>,
}

impl Pace {
    /// How long to sleep after `round`; `None` for until something happens.
    fn sleep(&mut self, round: &Round, deaf: bool, uncovered: bool) -> Option<Duration> {
        let tick = if round.silent || deaf { SHORT_TICK } else { TICK };
        let idle = round.alone && !deaf && !uncovered;
        let ticks = settings().tick && !idle;
        let tick = ticks.then(|| tick.saturating_sub(self.looked.elapsed()));
        if !round.retry {
            self.retrying = None;
            return tick;
        }
        if round.woken || self.retrying.is_none() {
            self.pause = FIRST_PAUSE;
        }
        let hopeful = self.retrying.get_or_insert_with(Instant::now).elapsed() < HOPE;
        let pause = if hopeful { self.pause } else { TICK };
        self.pause = (self.pause * 2).min(LONG_PAUSE);
        Some(tick.map_or(pause, |tick| tick.min(pause)))
    }
}

/// Never returns: the kernel would take it for a death.
pub(super) fn run(shared: &Shared) -> ! {
    let mut pace = Pace { looked: Instant::now(), rounds: 0, pause: FIRST_PAUSE, retrying: None };
    let mut woken = true;
    let mut tick = TICK;
    let mut deaf = false;
    loop {
        if pace.rounds > MOST_ROUNDS {
            // With nothing in hand: a ring that is dropped meanwhile is unmapped at once.
            std::thread::sleep(REST);
        }
        // Before the members: who joins afterwards changes it.
        // ORDERING guardian-control (SeqCst): what was changed before the number is seen.
        let control = (shared.control.clone(), shared.control.load(SeqCst));
        let everyone = pace.looked.elapsed() >= tick;
        if everyone {
            (pace.looked, pace.rounds) = (Instant::now(), 0);
        }
        pace.rounds += 1;
        let mut round = Round::new(everyone, woken);
        for member in members() {
            member.look(&mut round);
        }
        let peers = std::mem::take(&mut round.peers);
        let tables = std::mem::take(&mut round.tables);
        let uncovered = 1 + peers.len() + tables.len() > MOST_WORDS;
        shared.note_crowded(uncovered);
        let limit = pace.sleep(&round, deaf, uncovered);
        tick = if round.silent || deaf { SHORT_TICK } else { TICK };
        let until = limit.map_or(Deadline::NEVER, Deadline::after);
        // The most important first: peers that live, then tables that may change.
        let words: Vec<_> = [control].into_iter().chain(peers).chain(tables).collect();
        let words: Vec<_> = words.iter().take(MOST_WORDS).map(|(w, seen)| (w, *seen)).collect();
        let ended = wait::sleep_any(&words, until);
        deaf = ended.is_none();
        shared.note_deaf(deaf);
        woken = match ended {
            Some(ended) => ended != Woken::TimedOut,
            // The system does not let us sleep on several: sleep on the first, shortly,
            // unless there is nobody to look after.
            None => {
                let until = match words.len() {
                    1 => until,
                    _ => until.min(Deadline::after(SHORT_TICK)),
                };
                wait::sleep(words[0].0, words[0].1, until) != Woken::TimedOut
            }
        };
    }
}

/// The members, kept alive for one round. The lock is free while they look.
fn members() -> Vec<Arc<dyn super::Guarded>> {
    match &global::lock().guardian {
        Some(guardian) => guardian.members.values().filter_map(Weak::upgrade).collect(),
        None => Vec::new(),
    }
}
