//! The books of a storm.

use super::log::{Count, GETTERS, Log, PUTTERS};
use std::collections::HashSet;
use std::time::Duration;

/// What was sent, what came, and what it took.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Put, not received, and explained by the death of a getter.
    pub(super) taken_by_dead: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) torn: u64,
    /// Out of a putter's order.
    pub(super) late: u64,
    pub(super) killed_putters: u64,
    pub(super) killed_getters: u64,
    /// Messages that killed getters may have had in hand.
    pub(super) in_hand: u64,
    /// Getters that may have been killed between writing down what a grant held and
    /// releasing it.
    pub(super) under_grant: u64,
    /// Written down twice, and explained by that.
    pub(super) again: u64,
    pub(super) leaked: u64,
    /// From SIGKILL to the record being free.
    pub(super) repairs: Vec<Duration>,
    /// What else went wrong.
    pub(super) wrong: Vec<String>,
}

impl Totals {
    /// Reads the logs. `doubts` are the numbers amidst whose puts a putter died: they
    /// may have come or not.
    pub(super) fn read(&mut self, log: &Log, doubts: &HashSet<(u64, u64)>) {
        for g in 0..GETTERS {
            self.torn += log.count(g, Count::Torn);
            self.doubled += log.count(g, Count::Doubled);
            self.late += log.count(g, Count::Late);
        }
        let mut missing = 0;
        for p in 0..PUTTERS {
            for number in 1..=log.begun(p) {
                let came = (0..GETTERS).filter(|g| log.has(*g, p, number)).count() as u64;
                let put = !doubts.contains(&(p, number));
                self.sent += u64::from(put || came > 0);
                self.received += came.min(1);
                self.doubled += came.saturating_sub(1);
                missing += u64::from(put && came == 0);
            }
            // What nobody put.
            let beyond = (log.begun(p) + 1..=log.last_number()).take(64);
            let strange = beyond.filter(|n| (0..GETTERS).any(|g| log.has(g, p, *n))).count();
            self.torn += strange as u64;
        }
        self.again = self.doubled.min(self.under_grant);
        self.doubled -= self.again;
        self.taken_by_dead = missing.min(self.in_hand);
        self.lost = missing - self.taken_by_dead;
        // Only what a dead getter gave back comes after newer ones.
        if self.late > self.in_hand + self.under_grant {
            self.wrong.push(format!("{} messages out of order", self.late));
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.taken_by_dead += other.taken_by_dead;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.torn += other.torn;
        self.late += other.late;
        self.killed_putters += other.killed_putters;
        self.killed_getters += other.killed_getters;
        self.in_hand += other.in_hand;
        self.under_grant += other.under_grant;
        self.again += other.again;
        self.leaked += other.leaked;
        self.repairs.extend(other.repairs);
        self.wrong.extend(other.wrong);
    }

    pub(super) fn line(&self, name: &str) -> String {
        let mut repairs = self.repairs.clone();
        repairs.sort_unstable();
        let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
        format!(
            "{name}: {} sent, {} received, {} taken by the dead (at most {}), {} lost, \
             {} doubled, {} torn, {} again after a grant (at most {}), {} redelivered late, \
             {} leaked slots; {} kills survived; \
             from kill to repair: median {:.2} ms, worst {:.2} ms\n",
            self.sent,
            self.received,
            self.taken_by_dead,
            self.in_hand,
            self.lost,
            self.doubled,
            self.torn,
            self.again,
            self.under_grant,
            self.late,
            self.leaked,
            self.kills(),
            ms(repairs.get(repairs.len() / 2)),
            ms(repairs.last()),
        )
    }

    pub(super) fn kills(&self) -> u64 {
        self.killed_putters + self.killed_getters
    }

    /// What is wrong, if anything is.
    pub(super) fn verdict(&self) -> Option<String> {
        let mut wrong = self.wrong.clone();
        let counts = [
            (self.lost, "lost"),
            (self.doubled, "doubled"),
            (self.torn, "torn"),
            (self.leaked, "leaked slots"),
        ];
        wrong.extend(counts.iter().filter(|c| c.0 > 0).map(|(n, what)| format!("{n} {what}")));
        if self.received == 0 {
            wrong.push("no message came".into());
        }
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }
}

/// What was sent through which kind of ring.
#[derive(Debug, Default)]
pub(super) struct Covered(Vec<(&'static str, u64, u64)>);

impl Covered {
    pub(super) fn note(&mut self, kind: &'static str, totals: &Totals) {
        let (received, kills) = (totals.received, totals.kills());
        match self.0.iter_mut().find(|known| known.0 == kind) {
            Some(known) => (known.1, known.2) = (known.1 + received, known.2 + kills),
            None => self.0.push((kind, received, kills)),
        }
    }

    pub(super) fn line(&self) -> String {
        let each = self.0.iter();
        let each = each.map(|(kind, n, kills)| format!("{kind} ({n} received, {kills} kills)"));
        format!("covered: {}\n", each.collect::<Vec<_>>().join(", "))
    }

    /// Kinds that were in the list and saw nothing.
    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        let idle = self.0.iter().filter(|(_, received, kills)| *received == 0 || *kills == 0);
        idle.map(|(kind, ..)| format!("nothing was shown of {kind}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(puts: u64, doubt: Option<u64>, taken: &[(u64, u64)], killed: u64) -> Totals {
        let log = Log::create(128).unwrap();
        log.begin(0, puts);
        for (g, number) in taken {
            log.take(*g, 0, *number);
        }
        let doubts = doubt.map(|number| (0, number)).into_iter().collect();
        let mut totals = Totals { in_hand: killed, ..Totals::default() };
        totals.read(&log, &doubts);
        totals
    }

    #[test]
    fn what_is_missing_is_lost_unless_a_getter_died() {
        assert_eq!(books(3, None, &[(0, 1), (1, 2), (0, 3)], 0).verdict(), None);
        let one_short = books(3, None, &[(0, 1), (1, 2)], 0);
        assert_eq!((one_short.lost, one_short.sent), (1, 3));
        let with_dead = books(3, None, &[(0, 1), (1, 2)], 1);
        assert_eq!((with_dead.lost, with_dead.taken_by_dead), (0, 1));
        assert_eq!(books(3, None, &[(0, 1)], 1).lost, 1);
    }

    #[test]
    fn a_put_in_doubt_may_have_come_or_not() {
        let without = books(3, Some(3), &[(0, 1), (1, 2)], 0);
        assert_eq!((without.sent, without.lost), (2, 0));
        let with = books(3, Some(3), &[(0, 1), (1, 2), (1, 3)], 0);
        assert_eq!((with.sent, with.received, with.lost), (3, 3, 0));
    }

    #[test]
    fn what_a_getter_wrote_down_and_died_with_may_come_again() {
        let log = Log::create(128).unwrap();
        log.begin(0, 2);
        [(0, 1), (1, 1), (0, 2), (1, 2)].iter().for_each(|(g, number)| log.take(*g, 0, *number));
        let mut totals = Totals { under_grant: 1, ..Totals::default() };
        totals.read(&log, &HashSet::new());
        assert_eq!((totals.again, totals.doubled, totals.received), (1, 1, 2));
        assert!(totals.verdict().is_some());
        let mut covered = Covered::default();
        covered.note("grants", &totals);
        assert_eq!(covered.missing().count(), 1, "nobody was killed");
    }

    #[test]
    fn two_getters_with_one_message_and_strange_numbers_are_noticed() {
        assert_eq!(books(2, None, &[(0, 1), (1, 1), (1, 2)], 0).doubled, 1);
        assert_eq!(books(2, None, &[(0, 1), (1, 2), (1, 3)], 0).torn, 1);
    }
}
