//! Several subjects of one workload, measured in turns.
//!
//! A busy machine changes from second to second. If one subject were measured after the
//! other, each would meet another machine. So a round runs a short batch of every subject,
//! in an order that changes, and each subject has one sample of every round.

use super::report::{Row, Unit};
use crate::failure::Failure;
use std::time::{Duration, Instant};

/// A subject that is ready, with its processes.
pub(super) trait Session {
    /// Moves `count` messages and says how long that took.
    fn batch(&mut self, count: u64) -> Result<Duration, Failure>;
    /// Ends its processes.
    fn finish(self: Box<Self>) -> Result<(), Failure>;
}

/// Rounds that are run however long they take.
const ENOUGH: usize = 3;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Batches of each subject; fewer, but at least three, if they take twice as long as
    /// they should.
    pub(super) rounds: usize,
    /// About how long each takes.
    pub(super) batch: Duration,
}

/// What a group of rows has in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) workload: &'static str,
    /// Bytes of a message.
    pub(super) size: usize,
    pub(super) unit: Unit,
}

/// Measures the subjects of one group; one row for each. `tick` is called between batches.
pub(super) fn measure(
    group: Group,
    subjects: Vec<(&'static str, Box<dyn Session>)>,
    effort: Effort,
    mut tick: impl FnMut() -> Result<(), Failure>,
) -> Result<Vec<Row>, Failure> {
    let mut running = Vec::new();
    for (subject, mut session) in subjects {
        let count = calibrate(session.as_mut(), effort.batch, &mut tick)?;
        running.push((subject, session, count, Vec::new()));
    }
    // On a busy machine batches take longer than they should; fewer of them must do then.
    let planned = effort.batch * u32::try_from(effort.rounds * running.len()).unwrap_or(u32::MAX);
    let late = Instant::now() + 2 * planned;
    for round in 0..effort.rounds {
        if round >= ENOUGH && Instant::now() > late {
            break;
        }
        for turn in 0..running.len() {
            tick()?;
            let which = (round + turn) % running.len();
            let Some((_, session, count, samples)) = running.get_mut(which) else { continue };
            let took = session.batch(*count)?;
            samples.push(took.as_nanos() as f64 / *count as f64);
        }
    }
    let mut rows = Vec::new();
    for (subject, session, _, samples) in running {
        session.finish()?;
        rows.push(Row::new(group, subject, samples));
    }
    Ok(rows)
}

/// How many messages make a batch of about `target`; warms up on the way.
fn calibrate(
    session: &mut dyn Session,
    target: Duration,
    tick: &mut impl FnMut() -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut count = 1;
    loop {
        tick()?;
        let took = session.batch(count)?;
        // The first batches are slower than those that follow, for cold caches and for
        // what a batch costs besides its messages.
        if took >= target / 2 || count >= 1 << 32 {
            let wanted = target.as_nanos() as f64 / took.as_nanos().max(1) as f64;
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            return Ok(((count as f64 * wanted) as u64).max(1));
        }
        count *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Takes a fixed time a message and writes down when it had its turn.
    struct Fake {
        name: char,
        turns: Rc<RefCell<String>>,
    }

    impl Session for Fake {
        fn batch(&mut self, count: u64) -> Result<Duration, Failure> {
            self.turns.borrow_mut().push(self.name);
            Ok(Duration::from_nanos(10 * count))
        }
        fn finish(self: Box<Self>) -> Result<(), Failure> {
            Ok(())
        }
    }

    #[test]
    fn subjects_take_turns_in_changing_order() {
        let turns = Rc::new(RefCell::new(String::new()));
        let fake = |name| -> Box<dyn Session> { Box::new(Fake { name, turns: Rc::clone(&turns) }) };
        let group = Group { workload: "w", size: 8, unit: Unit::NanosPerMessage };
        let effort = Effort { rounds: 3, batch: Duration::from_micros(1) };
        let subjects = vec![("a", fake('a')), ("b", fake('b')), ("c", fake('c'))];
        let rows = measure(group, subjects, effort, || Ok(())).unwrap();
        assert!(turns.borrow().ends_with("abcbcacab"), "{turns:?}");
        assert_eq!(rows.iter().map(|row| row.subject).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(rows.iter().all(|row| (row.median - 10.0).abs() < 0.01), "{rows:?}");
    }
}
