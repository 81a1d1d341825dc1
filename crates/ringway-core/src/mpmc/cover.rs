//! Who announces a position, alone or within a batch.
//!
//! A batch's announcement has a count beside it and covers so many positions. Its writer
//! stores the count first and takes it back last; a reader that sees a claim therefore
//! sees a cover of all that was claimed, or something stored after the batch was over, and
//! with it the commits. A cover may be too wide while its writer moves on: a live one then
//! only makes repair try again, and for a dead one each position is decided by the same
//! rule as any other. Only a DONE must be exact, for it decides by itself
//! ([`Actors::done`](crate::peer::Actors::done)).

use super::position::{POSITION_MASK, Positions};
use super::ring::Ring;
use super::spans::Spans;
use super::word::{Announcement, Phase, State};
use crate::peer::Liveness;
use crate::sync::Ordering::{Relaxed, SeqCst};
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

/// Who may have claimed a position that is claimed and not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimant {
    /// Somebody who lives, or was quicker and will move on.
    Live,
    /// One who is dead, and had committed it as part of a batch.
    Done,
    /// One who is dead: nobody else covers it.
    Dead,
}

/// The positions of the last lap before one of the ring's ends: all that can be claimed
/// and not settled. Numbered from 0, the oldest.
#[derive(Debug, Clone, Copy)]
struct Window {
    positions: Positions,
    end: u64,
    start: u64,
}

impl Window {
    fn before(positions: Positions, end: u64) -> Self {
        Self { positions, end, start: positions.lap_before(end) }
    }

    fn number(&self, position: u64) -> Option<u64> {
        let back = self.positions.distance(self.end, position)?;
        (back > 0).then(|| self.positions.slots() - back)
    }

    /// The numbers of those of `count` positions from `first` on that are in it.
    fn range(&self, first: u64, count: u64) -> Option<Range<u64>> {
        let slots = self.positions.slots();
        let count = count.clamp(1, slots);
        if let Some(back) = self.positions.distance(self.end, first) {
            let start = slots - back;
            return Some(start..slots.min(start + count));
        }
        // A batch whose first positions were settled, and used again.
        let before = self.positions.distance(self.start, first)?;
        Some(0..count.saturating_sub(before))
    }
}

/// What everybody announced, as one look found it after a death was proven: of each
/// position that was claimed before, who may have claimed it.
///
/// One look at each actor serves all positions. However much a peer announces, repair takes
/// time in proportion to actors and slots, not to their product.
pub(super) struct Claims {
    puts: Window,
    gets: Window,
    live_puts: Spans,
    live_gets: Spans,
    /// What the dead, whoever of them, had committed as taken.
    done: Spans,
    /// What the one that is repaired announced.
    own_puts: Spans,
    own_gets: Spans,
    own_done: Spans,
}

impl Claims {
    /// Who may have put at a position; `None` if nobody claimed it, or it is settled.
    pub(super) fn putter(&self, position: u64) -> Option<Claimant> {
        let number = self.puts.number(position)?;
        Some(if self.live_puts.contains(number) { Claimant::Live } else { Claimant::Dead })
    }

    /// Who may be taking from a position; `None` as above.
    pub(super) fn getter(&self, position: u64) -> Option<Claimant> {
        let number = self.gets.number(position)?;
        Some(if self.done.contains(number) {
            Claimant::Done
        } else if self.live_gets.contains(number) {
            Claimant::Live
        } else {
            Claimant::Dead
        })
    }
}

impl Ring {
    /// The participants that may have claimed `what`, a single put or get; each once,
    /// however many records bear its number.
    pub(super) fn claimants(&self, what: Announcement) -> BTreeSet<u32> {
        let actors = (0..self.actors.count()).filter(|actor| self.announces(*actor, what));
        actors.map(|actor| self.actors.participant(actor)).filter(|id| *id != 0).collect()
    }

    /// Whether the actor of a record may have claimed what `what` announces.
    fn announces(&self, actor: usize, what: Announcement) -> bool {
        let (theirs, count) = self.actors.covering(actor);
        let pair = match (what.as_put(), what.as_get()) {
            (Some(position), _) => (theirs.as_put(), position),
            (_, Some(position)) => (theirs.as_get().or(theirs.as_done()), position),
            _ => return false,
        };
        let (Some(first), position) = pair else { return false };
        self.positions.covers(first, count, position)
    }

    /// Looks at what is claimed, and then at what everybody announces. `dead` is proven.
    pub(super) fn claims(&self, dead: u32, liveness: &dyn Liveness) -> Claims {
        // ORDERING mpmc-claim (acquire): who sees a claim sees its announcement. What is
        // claimed from here on is none of the dead's.
        let puts = Window::before(self.positions, self.enqueue_pos.load(SeqCst) & POSITION_MASK);
        // ORDERING mpmc-claim (acquire): as above.
        let gets = Window::before(self.positions, self.dequeue_pos.load(SeqCst));
        let [mut live_puts, mut live_gets, mut done] = [const { Vec::new() }; 3];
        let [mut own_puts, mut own_gets, mut own_done] = [const { Vec::new() }; 3];
        // Once proven, always: who joins in its place claims nothing that was claimed before.
        let mut proofs = BTreeMap::from([(dead, true)]);
        for actor in 0..self.actors.count() {
            let (what, count) = self.actors.covering(actor);
            let (window, first) = match (what.as_put(), what.as_get().or(what.as_done())) {
                (Some(first), _) => (&puts, first),
                (_, Some(first)) => (&gets, first),
                _ => continue,
            };
            let Some(range) = window.range(first, count) else { continue };
            // After what it announces: a record that is given back meanwhile was settled.
            let participant = self.actors.participant(actor);
            if participant == 0 {
                continue;
            }
            let is_dead =
                *proofs.entry(participant).or_insert_with(|| liveness.proven_dead(participant));
            if !is_dead {
                let live = if what.as_put().is_some() { &mut live_puts } else { &mut live_gets };
                live.push(range.clone());
            } else if what.as_put().is_none() {
                // Looked at after the proof, which was asked for after the claims were seen:
                // whoever claimed one of these positions has stood still since.
                let exact = self.actors.done(actor);
                done.extend(exact.and_then(|(first, count)| gets.range(first, count)));
            }
            if participant == dead {
                let own = match (what.as_put(), what.as_get()) {
                    (Some(_), _) => &mut own_puts,
                    (_, Some(_)) => &mut own_gets,
                    _ => &mut own_done,
                };
                own.push(range);
            }
        }
        Claims {
            puts,
            gets,
            live_puts: Spans::of(live_puts),
            live_gets: Spans::of(live_gets),
            done: Spans::of(done),
            own_puts: Spans::of(own_puts),
            own_gets: Spans::of(own_gets),
            own_done: Spans::of(own_done),
        }
    }

    /// Settles what the dead announced. `false` if that cannot be told yet.
    pub(super) fn resolve(&self, claims: &Claims) -> bool {
        let (puts, gets) = (&claims.puts, &claims.gets);
        let at = |window: &Window, number| self.positions.advance(window.start, number);
        let mut resolved = true;
        for number in claims.own_puts.numbers() {
            resolved &= self.resolve_put(at(puts, number), claims);
        }
        for number in claims.own_gets.numbers() {
            resolved &= self.resolve_get(at(gets, number), claims);
        }
        for number in claims.own_done.numbers() {
            self.finish(at(gets, number));
        }
        resolved
    }

    /// Releases the slot of `position`, which a dead getter committed as taken, if it did
    /// not do so itself.
    pub(super) fn finish(&self, position: u64) {
        // ORDERING mpmc-claim (acquire): as in `claims`.
        if !self.passed(self.dequeue_pos.load(SeqCst), position) {
            return;
        }
        let lap = self.positions.lap(position);
        let [full, empty] =
            [State::of(Phase::Full, lap), State::of(Phase::Empty, self.positions.lap_after(lap))];
        if let Some(word) = self.state_word(position) {
            // ORDERING mpmc-commit (SeqCst): as in `resolve_put`, and failure too.
            let _ = word.compare_exchange(full.0, empty.0, SeqCst, Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A window's ranges say what each position would have been told by itself.
        #[test]
        fn a_window_holds_what_covers_its_positions(
            slots in 1_u64..12,
            laps in prop_oneof![0_u64..4, Just(POSITION_MASK >> 4)],
            index in 0_u64..12,
            back in 0_u64..30,
            ahead in 0_u64..3,
            count in 0_u64..20,
        ) {
            let positions = Positions::new(slots).unwrap();
            let end = positions.at(laps, index % slots);
            // The positions before the end, the nearest first, and one that is announced.
            let mut before = vec![end];
            for _ in 0..30 {
                let last = before[before.len() - 1];
                let first = positions.index(last) == 0;
                let lap = positions.lap_before(last);
                before.push(if first { positions.advance(lap, slots - 1) } else { last - 1 });
            }
            let back = usize::try_from(back).unwrap();
            let mut first = before[back];
            for _ in 0..ahead {
                first = positions.next(first);
            }
            let window = Window::before(positions, end);
            let range = window.range(first, count).unwrap_or(0..0);
            let claimed = usize::try_from(slots).unwrap();
            for (at, position) in before.iter().enumerate() {
                let number = window.number(*position);
                prop_assert_eq!(number.is_some(), (1..=claimed).contains(&at));
                if let Some(number) = number {
                    prop_assert_eq!(positions.advance(window.start, number), *position);
                    let covered = positions.covers(first, count.min(slots), *position);
                    prop_assert_eq!(range.contains(&number), covered, "{} before the end", at);
                }
            }
        }
    }
}
