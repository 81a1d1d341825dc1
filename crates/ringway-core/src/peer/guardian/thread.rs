//! The guardian's thread: look, sleep, look.

use super::Shared;
use super::settings;
use crate::memory::Word32;
use crate::peer::{Identity, Live};
use crate::process::global;
use crate::sync::Ordering::SeqCst;
use crate::wait::{self, Deadline, Woken};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
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
    ask: bool,
    silent: bool,
    alone: bool,
}

impl Round {
    pub(crate) fn new(everyone: bool, woken: bool) -> Self {
        Self {
            everyone,
            woken,
            peers: Vec::new(),
            tables: Vec::new(),
            known: HashSet::new(),
            retry: false,
            ask: false,
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

    /// Look again soon: one is marked and not proven dead, or not repaired to the end.
    pub(crate) fn look_again(&mut self) {
        self.alone = false;
        self.retry = true;
    }

    /// Look again soon: one has joined and cannot be heard yet. Apart from
    /// [`look_again`](Self::look_again), of which there is an end: those who join would use
    /// up the quick retries of the dead.
    pub(crate) fn ask_again(&mut self) {
        self.alone = false;
        self.ask = true;
    }
}

/// Looks at growing intervals, for one reason.
#[derive(Default)]
struct Retries {
    since: Option<Instant>,
    pause: Duration,
}

impl Retries {
    /// How long until the next, of those that are quick for `hope`; `None` if there is no
    /// reason `wanted`.
    fn next(&mut self, wanted: bool, woken: bool, hope: Duration) -> Option<Duration> {
        if !wanted {
            self.since = None;
            return None;
        }
        if woken || self.since.is_none() {
            self.pause = FIRST_PAUSE;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONG_PAUSE);
        let hopeful = self.since.get_or_insert_with(Instant::now).elapsed() < hope;
        Some(if hopeful { pause } else { TICK })
    }
}

/// Time, as the thread keeps it.
struct Pace {
    looked: Instant,
    rounds: u32,
    /// For those that are marked or not repaired to the end.
    retries: Retries,
    /// For those that have joined and cannot be heard yet. Each is asked after for a while
    /// only, so there is hope as long as there are any.
    asks: Retries,
}

impl Pace {
    fn new() -> Self {
        Self {
            looked: Instant::now(),
            rounds: 0,
            retries: Retries::default(),
            asks: Retries::default(),
        }
    }

    /// How long to sleep after `round`; `None` for until something happens.
    fn sleep(&mut self, round: &Round, deaf: bool, uncovered: bool) -> Option<Duration> {
        let tick = if round.silent || deaf { SHORT_TICK } else { TICK };
        let idle = round.alone && !deaf && !uncovered;
        let ticks = settings().tick && !idle;
        let tick = ticks.then(|| tick.saturating_sub(self.looked.elapsed()));
        let retry = self.retries.next(round.retry, round.woken, HOPE);
        let ask = self.asks.next(round.ask, round.woken, Duration::MAX);
        [tick, retry, ask].into_iter().flatten().min()
    }
}

/// Never returns: the kernel would take it for a death.
pub(super) fn run(shared: &Shared) -> ! {
    let mut pace = Pace::new();
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
        let (mut next, end) = (0, end_of_members());
        while let Some((id, member)) = member_in(next..end) {
            member.look(&mut round);
            next = id + 1;
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

/// The number of the next member that joins. It has its own round: whoever joins while the
/// others are looked after does not keep them waiting.
fn end_of_members() -> u64 {
    global::lock().guardian.as_ref().map_or(0, |guardian| guardian.next)
}

/// The first member of these numbers, kept alive for one look. One at a time: a ring that is
/// dropped meanwhile keeps its descriptor so long. (Its memory stays mapped until the round
/// sleeps on other words.) The lock is free while it looks.
fn member_in(numbers: Range<u64>) -> Option<(u64, Arc<dyn super::Guarded>)> {
    let global = global::lock();
    let mut members = global.guardian.as_ref()?.members.range(numbers);
    members.find_map(|(id, member)| Some((*id, member.upgrade()?)))
}

#[cfg(test)]
impl Round {
    /// Whether to look again soon, and whether to ask again.
    pub(crate) fn reasons(&self) -> (bool, bool) {
        (self.retry, self.ask)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Enrolment, Guarded, enrol};
    use super::*;
    use crate::sync::AtomicBool;

    fn after(pace: &mut Pace, woken: bool, reason: impl Fn(&mut Round)) -> Duration {
        let mut round = Round::new(false, woken);
        round.alone = false;
        reason(&mut round);
        pace.sleep(&round, false, false).unwrap()
    }

    /// As if all that has been going on had begun so much earlier.
    fn age(pace: &mut Pace, by: Duration) {
        for retries in [&mut pace.retries, &mut pace.asks] {
            retries.since = retries.since.map(|since| since.checked_sub(by).unwrap());
        }
    }

    /// Looks for as long as it is told to.
    #[derive(Default)]
    struct Slow {
        looks: AtomicBool,
        enough: AtomicBool,
    }

    impl Guarded for Slow {
        fn look(&self, _: &mut Round) {
            self.looks.store(true, SeqCst);
            until(|| self.enough.load(SeqCst));
        }
    }

    fn until(true_at_last: impl Fn() -> bool) {
        let start = Instant::now();
        while !true_at_last() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not come true");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_look_at_one_keeps_no_other_alive() {
        let (slow, other) = (Arc::new(Slow::default()), Arc::new(Slow::default()));
        other.enough.store(true, SeqCst);
        let weak = |member: &Arc<Slow>| Arc::downgrade(&(Arc::clone(member) as Arc<dyn Guarded>));
        let watches = [&slow, &other].map(|member| enrol(weak(member), None).unwrap());
        watches[0].begin();
        until(|| slow.looks.load(SeqCst));
        // Of one that is dropped now nothing is left, and its descriptor is closed.
        let left = Arc::downgrade(&other);
        drop(other);
        let gone = left.upgrade().is_none();
        slow.enough.store(true, SeqCst);
        watches.into_iter().for_each(Enrolment::end);
        assert!(gone, "kept by a look at another");
    }

    #[test]
    fn newcomers_do_not_use_up_the_quick_retries_of_a_death() {
        let mut pace = Pace::new();
        after(&mut pace, true, Round::ask_again);
        age(&mut pace, 2 * HOPE);
        // Still newcomers, and now a death beside them.
        let both = |round: &mut Round| {
            round.ask_again();
            round.look_again();
        };
        after(&mut pace, true, both);
        age(&mut pace, HOPE / 2);
        assert!(
            after(&mut pace, false, Round::look_again) <= LONG_PAUSE,
            "as if it had been tried for long"
        );
        // A death that cannot be proven is given up, and newcomers are asked after as before.
        age(&mut pace, HOPE);
        assert!(after(&mut pace, false, Round::look_again) > LONG_PAUSE);
        assert!(after(&mut pace, false, both) <= LONG_PAUSE);
    }

    #[test]
    fn retries_become_rare_and_quick_again_with_news() {
        let mut pace = Pace::new();
        let times: Vec<_> = (0..10).map(|_| after(&mut pace, false, Round::look_again)).collect();
        assert_eq!((times[0], times[1], times[9]), (FIRST_PAUSE, 2 * FIRST_PAUSE, LONG_PAUSE));
        assert_eq!(after(&mut pace, true, Round::look_again), FIRST_PAUSE);
        after(&mut pace, false, |_| {});
        assert_eq!(after(&mut pace, false, Round::look_again), FIRST_PAUSE);
    }
}
