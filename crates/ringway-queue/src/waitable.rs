//! Waiting for the first of several.

use crate::{JoinableQueue, Queue, SimpleQueue};
use ringway_core::wait::{Event, Ticket, Waitable};

/// Ready when a get would not wait, also because it would fail.
impl<T, C> Waitable for Queue<T, C> {
    fn announce(&mut self) -> Option<(Event, Ticket)> {
        if self.inner.is_closed() { None } else { self.inner.ring.announce_getter() }
    }

    fn tend(&mut self) {
        self.inner.ring.tend();
    }
}

impl<T, C> Waitable for JoinableQueue<T, C> {
    fn announce(&mut self) -> Option<(Event, Ticket)> {
        self.as_queue_mut().announce()
    }

    fn tend(&mut self) {
        self.as_queue_mut().tend();
    }
}

impl<T, C> Waitable for SimpleQueue<T, C> {
    fn announce(&mut self) -> Option<(Event, Ticket)> {
        self.queue.announce()
    }

    fn tend(&mut self) {
        self.queue.tend();
    }
}
