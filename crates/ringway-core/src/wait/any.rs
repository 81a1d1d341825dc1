//! Waiting for the first of several.

use super::futex::sleep_any;
use super::{Deadline, Event, Ticket, barrier};
use std::time::Duration;

/// Something one can wait for together with others.
pub trait Waitable {
    /// Announces a sleeper and then looks: `None` if a call on the source would not wait
    /// (also if it would fail), else what to sleep on.
    fn announce(&mut self) -> Option<(Event, Ticket)>;

    /// Does what a blocked call on the source would do now and then: look after peers
    /// whose death nobody else may notice. Called about twice a second.
    fn tend(&mut self) {}
}

/// As in [`super::park`]: the sleep that makes up for the fence the busy side saves.
const FIRST_SLEEP: Duration = Duration::from_micros(100);
/// The longest sleep: [`Waitable::tend`] is due then.
const TICK: Duration = Duration::from_millis(500);
/// Between looks where the system cannot sleep on several words.
const POLL: Duration = Duration::from_millis(1);

/// Waits until some of `sources` are ready and returns their indices, in order; empty
/// if `until` passed first or there are no sources. Errors and ends of file count as
/// ready.
///
/// Sleeps on up to 128 sources at once with `futex_waitv`. With more, or where the
/// system lacks it (before Linux 5.16), it looks every millisecond.
pub fn wait_any(sources: &mut [&mut dyn Waitable], until: Deadline) -> Vec<usize> {
    if sources.is_empty() {
        return Vec::new();
    }
    let mut sleeps = 0_u32;
    // The events of the sources, once it came to a sleep, and whether it got a wake-up.
    let mut slept: Vec<(Event, bool)> = Vec::new();
    loop {
        let mut ready = Vec::new();
        let mut asleep = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter_mut().enumerate() {
            match source.announce() {
                None => ready.push(index),
                Some(waiter) => asleep.push(waiter),
            }
        }
        if !ready.is_empty() || until.passed() {
            // A wake-up reaches one sleeper. This one takes nothing, and the caller may
            // leave it at that.
            slept.iter().filter(|(_, woken)| *woken).for_each(|(event, _)| event.notify());
            return ready;
        }
        // The first sleep is short. Before a long one, the barrier and another look.
        let limit = match sleeps {
            0 => until.min(Deadline::after(FIRST_SLEEP)),
            _ => until.min(Deadline::after(TICK)),
        };
        if sleeps == 1 {
            barrier::heavy();
            sleeps += 1;
            continue;
        }
        let words: Vec<_> = asleep.iter().map(|(event, ticket)| event.waiter(*ticket)).collect();
        let long = sleeps > 1;
        if sleep_any(&words, limit).is_none() {
            let nap = until.remaining().map_or(POLL, |left| left.min(POLL));
            std::thread::sleep(nap);
        }
        if long {
            // Each source sees to it that it does not do so too often.
            sources.iter_mut().for_each(|source| source.tend());
        }
        // No source was ready: `asleep` has each of them, in their order.
        slept.resize_with(asleep.len(), || (asleep[0].0.clone(), false));
        for ((event, woken), (source, ticket)) in slept.iter_mut().zip(asleep) {
            *woken |= source.moved_since(ticket);
            *event = source;
        }
        sleeps = sleeps.saturating_add(1);
    }
}
