//! Waiting for something that another process publishes with a plain store.

use super::{Deadline, Event, Spinner, WaitPolicy, barrier};
use std::time::Duration;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parked {
    /// What was waited for is there.
    Ready,
    /// The deadline passed.
    TimedOut,
}

/// The first sleep where the barrier does not reach the waker. A waker whose store and look
/// crossed ours in its store buffer would not wake us; buffers drain within a
/// microsecond, so a look after this long sees the store.
const FIRST_SLEEP: Duration = Duration::from_micros(100);

/// The longest sleep beside a waker whose death would not be heard.
const TICK: Duration = Duration::from_millis(250);

/// What a sleeper may expect of whoever wakes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waker {
    /// Whether every possible waker is registered with [`barrier::registered`].
    pub reachable: bool,
    /// Whether the sleeper is woken should the waker die.
    pub death_is_heard: bool,
}

/// Waits until `ready` or `until`: looks as the policy says, then sleeps on `event`.
/// There must be one sleeper on `event` at a time: each wake-up reaches one.
///
/// The waker publishes with a plain store and then calls [`Event::notify`], without a
/// fence between. `waker` is asked about it after the sleeper announced itself. If it is
/// reachable, the barrier runs the fence in its place, and the sleep is for long at once.
/// If not, or if the system refuses the barrier, the first sleep is short and the look
/// after it finds what the waker's store buffer held back.
///
/// A waker may die between the two. If nobody tells of its death, the sleeper looks again
/// four times a second.
///
/// # Errors
///
/// What `ready` returned.
pub fn park<E>(
    event: &Event,
    spinner: &mut Spinner,
    until: Deadline,
    waker: impl Fn() -> Waker,
    mut ready: impl FnMut() -> Result<bool, E>,
) -> Result<Parked, E> {
    loop {
        if ready()? {
            return Ok(Parked::Ready);
        }
        if until.passed() {
            return Ok(Parked::TimedOut);
        }
        let look = || match ready() {
            Ok(false) => None,
            other => Some(other),
        };
        if let Some(found) = spinner.spin(until, look) {
            return found.map(|_| Parked::Ready);
        }
        if spinner.policy() == WaitPolicy::Spin {
            continue;
        }
        let ticket = event.announce();
        if ready()? {
            // No sleep at all: looking a little longer would have spared the waker a syscall.
            spinner.slept();
            return Ok(Parked::Ready);
        }
        // ORDERING event-announce (SeqCst): the announcement comes before this question.
        let Waker { reachable, death_is_heard } = waker();
        if !(reachable && barrier::heavy()) {
            event.sleep(ticket, until.min(Deadline::after(FIRST_SLEEP)));
            spinner.slept();
        }
        if ready()? {
            return Ok(Parked::Ready);
        }
        let long = if death_is_heard { until } else { until.min(Deadline::after(TICK)) };
        event.sleep(ticket, long);
        spinner.slept();
    }
}
