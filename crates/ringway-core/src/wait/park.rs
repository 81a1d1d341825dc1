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

/// The first sleep of a wait. A waker whose store and look crossed ours in its store
/// buffer would not wake us; buffers drain within a microsecond, so a look after this
/// long sees the store. Most waits end within it and never pay for the barrier.
const FIRST_SLEEP: Duration = Duration::from_micros(100);

/// Waits until `ready` or `until`: looks as the policy says, then sleeps on `event`.
/// There must be one sleeper on `event` at a time: each wake-up reaches one.
///
/// The waker publishes with a plain store and then calls [`Event::notify`], without a
/// fence between. So the sleeper does without its wake-up once: announce, look, sleep
/// for 100 us, look, [`barrier::heavy`], look, and only then sleep for long. The short
/// sleep makes it right also where the barrier is refused or reaches not every waker;
/// the barrier makes it right by proof where it does. Measured with both sides asleep:
/// a short sleep that is cut short by a wake-up costs nothing, the barrier 11 to 14 us
/// with a busy peer; hence this order.
///
/// # Errors
///
/// What `ready` returned.
pub fn park<E>(
    event: &Event,
    spinner: &mut Spinner,
    until: Deadline,
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
        event.sleep(ticket, until.min(Deadline::after(FIRST_SLEEP)));
        if ready()? {
            return Ok(Parked::Ready);
        }
        barrier::heavy();
        if ready()? {
            return Ok(Parked::Ready);
        }
        event.sleep(ticket, until);
    }
}
