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

/// Waits until `ready` or `until`: looks as the policy says, then sleeps on `event`.
/// There must be one sleeper on `event` at a time: each wake-up reaches one.
///
/// The waker publishes with a plain store and then calls [`Event::notify`], without a
/// fence between. `reachable` says whether every possible waker is registered with
/// [`barrier::registered`]; it is asked after the sleeper announced itself. If so, the
/// barrier runs the fence in the waker's place, and the sleep is for long at once. If not,
/// or if the system refuses the barrier, the first sleep is short and the look after it
/// finds what the waker's store buffer held back.
///
/// # Errors
///
/// What `ready` returned.
pub fn park<E>(
    event: &Event,
    spinner: &mut Spinner,
    until: Deadline,
    reachable: impl Fn() -> bool,
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
            return Ok(Parked::Ready);
        }
        // ORDERING event-announce (SeqCst): the announcement comes before this question.
        if !(reachable() && barrier::heavy()) {
            event.sleep(ticket, until.min(Deadline::after(FIRST_SLEEP)));
        }
        if ready()? {
            return Ok(Parked::Ready);
        }
        event.sleep(ticket, until);
    }
}
