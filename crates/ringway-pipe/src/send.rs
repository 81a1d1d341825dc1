//! The sending half of an end: bytes in, waiting, streaming.

use crate::end::{CLOSED, End, Hold, PEER_GONE, SENDING};
use crate::error::{OpenError, SendError};
use crate::until::{PIECES_PER_LOOK, Until};
use ringway_core::Error;
use ringway_core::process::generation;
use ringway_core::spsc::{Corrupted, Producer, PushError};
use ringway_core::wait::{Parked, Spinner, WaitPolicy, park};

/// Sends whole byte messages.
pub(crate) struct SendHalf {
    end: Hold,
    /// Made when the end is taken; belongs to the fork generation `taken`.
    pub(crate) producer: Option<Producer>,
    pub(crate) taken: u64,
    /// Departures of holders of the other end that were looked into.
    departures: u32,
    spinner: Spinner,
}

impl SendHalf {
    pub(crate) fn new(end: Hold, policy: WaitPolicy) -> Self {
        Self { end, producer: None, taken: 0, departures: 0, spinner: Spinner::new(policy) }
    }

    pub(crate) fn end(&self) -> &Hold {
        &self.end
    }

    pub(crate) fn policy(&self) -> WaitPolicy {
        self.spinner.policy()
    }

    /// Whether a streamed message is half sent. Never between two calls.
    pub(crate) fn mid_message(&self) -> bool {
        self.producer.as_ref().is_some_and(Producer::streaming)
    }

    /// The producer, if this process has the end and there is no news of the other one.
    #[inline]
    pub(crate) fn ready_producer(&mut self) -> Option<&mut Producer> {
        let Self { end, producer, taken, departures, .. } = self;
        let producer = producer.as_mut()?;
        let ready = *taken == generation()
            && end.state() == 0
            && !end.news(&producer.ring().reader_departures, *departures);
        ready.then_some(producer)
    }

    /// Sends `message`, whole or streamed.
    #[inline]
    pub(crate) fn send(&mut self, message: &[u8], until: Until) -> Result<(), SendError> {
        if let Some(producer) = &mut self.producer
            && self.taken == generation()
            && self.end.state() == 0
            && !self.end.news(&producer.ring().reader_departures, self.departures)
            && producer.push_whole(message)
        {
            producer.ring().readable.notify();
            return Ok(());
        }
        let sent = self.send_slow(message, until);
        if matches!(sent, Err(SendError::Closed)) {
            self.leave();
        }
        sent
    }

    /// As [`send`](Self::send), between batches: out of the way, so that it is inlined where
    /// single messages are sent.
    #[cold]
    #[inline(never)]
    pub(crate) fn send_alone(&mut self, message: &[u8], until: Until) -> Result<(), SendError> {
        self.send(message, until)
    }

    /// Touches the ring no more, if the end is closed or the half dropped.
    pub(crate) fn leave(&mut self) {
        if self.taken == generation() && self.producer.take().is_some() {
            self.end.leave(SENDING);
        }
    }

    /// Waits until there is room for a message of `len` bytes in one chunk.
    #[inline]
    pub(crate) fn reserve(&mut self, len: usize, until: Until) -> Result<(), SendError> {
        if self.ready_producer().is_some_and(|producer| producer.reserve(len).is_ok()) {
            return Ok(());
        }
        self.reserve_slow(len, until)
    }

    /// The first message, no room, news of the other end, or too long a message.
    #[cold]
    #[inline(never)]
    fn reserve_slow(&mut self, len: usize, until: Until) -> Result<(), SendError> {
        let Self { end, producer, taken, departures, spinner } = self;
        let producer = enter(end, producer, taken, departures)?;
        if end.departed(&producer.ring().reader_departures, departures) {
            return Err(SendError::BrokenPipe);
        }
        loop {
            match producer.reserve(len) {
                Ok(()) => return Ok(()),
                Err(PushError::Full) => wait(end, producer, departures, spinner, len, until)?,
                Err(PushError::TooLong) => {
                    return Err(SendError::WouldStream { len, limit: producer.try_limit() });
                }
                Err(PushError::Corrupted(what)) => return Err(corrupted(end, what)),
            }
        }
    }

    /// The first message, no room, news of the other end, or a long message.
    #[cold]
    #[inline(never)]
    fn send_slow(&mut self, message: &[u8], until: Until) -> Result<(), SendError> {
        let Self { end, producer, taken, departures, spinner } = self;
        let producer = enter(end, producer, taken, departures)?;
        if end.departed(&producer.ring().reader_departures, departures) {
            return Err(SendError::BrokenPipe);
        }
        // A `try_` form never streams: what fits the ring goes whole.
        if message.len() > producer.whole_limit() && !matches!(until, Until::Now) {
            return stream(end, producer, departures, spinner, message, until);
        }
        loop {
            match producer.try_push(message) {
                Ok(()) => {
                    producer.ring().readable.notify();
                    return Ok(());
                }
                Err(PushError::Full) => {
                    wait(end, producer, departures, spinner, message.len(), until)?;
                }
                Err(PushError::TooLong) => {
                    let (len, limit) = (message.len(), producer.try_limit());
                    return Err(SendError::WouldStream { len, limit });
                }
                Err(PushError::Corrupted(what)) => return Err(corrupted(end, what)),
            }
        }
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Takes the end, or takes it anew after a fork.
fn enter<'a>(
    end: &Hold,
    producer: &'a mut Option<Producer>,
    taken: &mut u64,
    departures: &mut u32,
) -> Result<&'a mut Producer, SendError> {
    if end.state() & CLOSED != 0 {
        return Err(SendError::Closed);
    }
    if end.state() & PEER_GONE != 0 {
        return Err(SendError::BrokenPipe);
    }
    end.take(SENDING)?;
    if *taken != generation() || producer.is_none() {
        // The types offer a sending half only where there is a ring.
        let ring = end.outgoing.clone().ok_or(SendError::Closed)?;
        // Not the present count: the first look must ask the kernel.
        *departures =
            ring.reader_departures.load(ringway_core::sync::Ordering::Relaxed).wrapping_sub(1);
        *producer = Some(Producer::new(ring).map_err(|what| corrupted(end, what))?);
        *taken = generation();
    }
    producer.as_mut().ok_or(SendError::Closed)
}

/// Passes a long message through the ring piece by piece.
fn stream(
    end: &Hold,
    producer: &mut Producer,
    departures: &mut u32,
    spinner: &mut Spinner,
    message: &[u8],
    until: Until,
) -> Result<(), SendError> {
    producer.begin(message.len() as u64);
    let passed = pieces(end, producer, departures, spinner, message, until);
    // A closed end may have another user already: whoever closed it let go of the lock.
    // The receiver sees by the next message, or the end, that this one was cut off.
    if passed.is_err() && end.state() & CLOSED == 0 {
        producer.abort();
        producer.ring().readable.notify();
    }
    passed
}

fn pieces(
    end: &Hold,
    producer: &mut Producer,
    departures: &mut u32,
    spinner: &mut Spinner,
    message: &[u8],
    until: Until,
) -> Result<(), SendError> {
    let total = message.len() as u64;
    // A receiver that sleeps is woken for the first piece and then for each half of a ring,
    // not for each piece: this side goes on to write pieces, and notifies before it waits.
    let worth_waking = usize::try_from(producer.ring().capacity() / 2).unwrap_or(usize::MAX);
    let (mut sent, mut told, mut pieces) = (0, 0, 0_u32);
    while sent < message.len() {
        if end.state() & CLOSED != 0 {
            return Err(SendError::Closed);
        }
        let pushed =
            producer.push_part(&message[sent..], total).map_err(|what| corrupted(end, what))?;
        if pushed == 0 {
            if told < sent {
                told = sent;
                producer.ring().readable.notify();
            }
            wait(end, producer, departures, spinner, message.len(), until)?;
            continue;
        }
        sent += pushed;
        if told == 0 || sent - told >= worth_waking || sent == message.len() {
            told = sent;
            producer.ring().readable.notify();
        }
        pieces = pieces.wrapping_add(1);
        // While there is room nothing else looks at the clock.
        if pieces.is_multiple_of(PIECES_PER_LOOK) && sent < message.len() && until.passed() {
            return Err(SendError::Timeout);
        }
    }
    Ok(())
}

/// Waits until there is room for `len` bytes, or for a piece of what is streamed.
fn wait(
    end: &Hold,
    producer: &mut Producer,
    departures: &mut u32,
    spinner: &mut Spinner,
    len: usize,
    until: Until,
) -> Result<(), SendError> {
    let Some(ring) = &end.outgoing else { return Err(SendError::Closed) };
    let mut look = || {
        if end.state() & CLOSED != 0 {
            return Err(SendError::Closed);
        }
        if end.departed(&ring.reader_departures, departures) {
            return Err(SendError::BrokenPipe);
        }
        producer.has_room(len).map_err(|what| corrupted(end, what))
    };
    let Until::Deadline(deadline) = until else {
        return if look()? { Ok(()) } else { Err(SendError::Full) };
    };
    match park(&ring.writable, spinner, deadline, || end.peer(), look)? {
        Parked::Ready => Ok(()),
        Parked::TimedOut => Err(SendError::Timeout),
    }
}

fn corrupted(end: &End, what: Corrupted) -> SendError {
    Error::corrupted(&end.label, what.0).into()
}

impl From<OpenError> for SendError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::EndInUse { pid } => Self::EndInUse { pid },
            OpenError::Engine(error) => Self::Engine(error),
            // Taking an end gives no other.
            _ => Self::Closed,
        }
    }
}
