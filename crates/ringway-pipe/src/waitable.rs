//! Waiting for the first of several ends.

use crate::recv::RecvHalf;
use crate::{Connection, Receiver};
use ringway_core::wait::{Event, Ticket, Waitable};

fn announce(half: &mut RecvHalf) -> Option<(Event, Ticket)> {
    match half.announce() {
        Ok((false, event, ticket)) => Some((event, ticket)),
        // Ready, or an error that the next call reports.
        Ok((true, ..)) | Err(_) => None,
    }
}

impl<T, C> Waitable for Receiver<T, C> {
    fn announce(&mut self) -> Option<(Event, Ticket)> {
        announce(&mut self.half)
    }
}

impl<S, R, C> Waitable for Connection<S, R, C> {
    fn announce(&mut self) -> Option<(Event, Ticket)> {
        announce(&mut self.receiver.half)
    }
}
