//! The receiving half of an end: bytes out, waiting, putting streamed messages together.

use crate::end::{CLOSED, Hold, RECEIVING};
use crate::error::{OpenError, RecvError};
use crate::until::{PIECES_PER_LOOK, Until};
use ringway_core::Error;
use ringway_core::process::generation;
use ringway_core::spsc::{Consumer, Corrupted, Head, Piece};
use ringway_core::wait::{Event, Parked, Spinner, Ticket, WaitPolicy, park};

/// Receives whole byte messages.
pub(crate) struct RecvHalf {
    pub(crate) end: Hold,
    /// Made when the end is taken; belongs to the fork generation `taken`.
    pub(crate) consumer: Option<Consumer>,
    pub(crate) taken: u64,
    /// Departures of holders of the other end that were looked into.
    departures: u32,
    spinner: Spinner,
    partial: Partial,
    /// Bytes of a streamed message released since the sender was last notified.
    owed: u64,
}

/// What has come of a streamed message.
enum Partial {
    /// The next chunk begins a message.
    None,
    /// The beginning was received by someone else, who is gone: the rest is no use.
    Orphan,
    /// These bytes of `total`.
    Got { bytes: Vec<u8>, total: u64 },
}

/// What is there to be received.
pub(crate) enum Next {
    /// A message in one chunk.
    Whole(Head),
    /// A streamed message of this many bytes, of which at least a piece has come.
    Stream(u64),
}

/// The largest part of a streamed message that is allocated before it has come. What a
/// sender says of the length is not to be trusted with memory.
const TRUSTED: u64 = 1 << 20;

impl RecvHalf {
    pub(crate) fn new(end: Hold, policy: WaitPolicy) -> Self {
        let spinner = Spinner::new(policy);
        Self {
            end,
            consumer: None,
            taken: 0,
            departures: 0,
            spinner,
            partial: Partial::None,
            owed: 0,
        }
    }

    pub(crate) fn policy(&self) -> WaitPolicy {
        self.spinner.policy()
    }

    /// Whether part of a message was received. It is lost if the end goes elsewhere.
    pub(crate) fn mid_message(&self) -> bool {
        matches!(self.partial, Partial::Got { .. })
    }

    /// The consumer, if this process has the end and no streamed message is half received.
    pub(crate) fn ready_consumer(&mut self) -> Option<&mut Consumer> {
        let ready = self.taken == generation() && matches!(self.partial, Partial::None);
        if ready { self.consumer.as_mut() } else { None }
    }

    /// The length of the next message if it is there in one chunk, or comes within about a
    /// microsecond of a wait that may look, and nothing else is to be looked after. The quick
    /// way for the usual case: the long way's many steps would cost a tenth of a round trip.
    /// `None` says only that [`next`](Self::next) knows more.
    #[inline]
    pub(crate) fn glance(&mut self, until: Until) -> Option<usize> {
        if self.taken != generation() || !matches!(self.partial, Partial::None) {
            return None;
        }
        let consumer = self.consumer.as_ref()?;
        let len = match until {
            Until::Now => consumer.whole(),
            Until::Deadline(_) => self.spinner.glance(|| consumer.whole()),
        };
        // Closed by this or another thread: the long way says so.
        len.filter(|_| self.end.state() & CLOSED == 0)
    }

    /// Copies the message that [`glance`](Self::glance) showed to `dst`, which has its
    /// length.
    #[inline]
    pub(crate) fn take_whole(&mut self, dst: &mut [u8]) {
        if let Some(consumer) = &mut self.consumer {
            consumer.take_whole(dst);
            consumer.ring().writable.notify();
        }
    }

    /// The next message, which stays where it is. Reports what was cut off, drops what
    /// was given up.
    pub(crate) fn next(&mut self, until: Until) -> Result<Next, RecvError> {
        loop {
            let Some(head) = self.head()? else {
                self.wait(until)?;
                continue;
            };
            match (head.piece, &self.partial) {
                (Piece::Whole, Partial::None) => return Ok(Next::Whole(head)),
                (Piece::First { total }, Partial::None) => return Ok(Next::Stream(total)),
                (Piece::Middle | Piece::Last, Partial::Got { total, .. }) => {
                    return Ok(Next::Stream(*total));
                }
                _ => self.resync(head)?,
            }
        }
    }

    /// Handles a chunk that does not go on from what came before.
    #[cold]
    fn resync(&mut self, head: Head) -> Result<(), RecvError> {
        match head.piece {
            // The sender gave its message up and goes on.
            Piece::Abort => {
                self.partial = Partial::None;
                self.release(head);
                Ok(())
            }
            // A new message where the rest of another should be: that one's sender died
            // and has a successor. The new one stays.
            Piece::Whole | Piece::First { .. } => {
                self.partial = Partial::None;
                Err(RecvError::Truncated)
            }
            // The rest of a message whose beginning went to a receiver that is gone.
            Piece::Middle => {
                self.partial = Partial::Orphan;
                self.release(head);
                Ok(())
            }
            Piece::Last => {
                self.partial = Partial::None;
                self.release(head);
                Err(RecvError::Truncated)
            }
        }
    }

    /// Copies the chunk at the head to `dst`, which has its length, and releases it.
    ///
    /// A sender that streams and sleeps is woken when half the ring is free, not for each
    /// piece: this side goes on to take pieces, and notifies before it waits or returns.
    pub(crate) fn take(&mut self, head: Head, dst: &mut [u8]) {
        self.take_by(head, |consumer| consumer.take(head, dst));
    }

    fn take_by(&mut self, head: Head, copy: impl FnOnce(&mut Consumer)) {
        let Some(consumer) = &mut self.consumer else { return };
        copy(consumer);
        self.owed += head.len as u64;
        let more = matches!(head.piece, Piece::First { .. } | Piece::Middle);
        if !more || self.owed >= consumer.ring().capacity() / 2 {
            self.settle();
        }
    }

    /// Notifies the sender of what was released.
    fn settle(&mut self) {
        if self.owed > 0 {
            self.owed = 0;
            if let Some(ring) = &self.end.incoming {
                ring.writable.notify();
            }
        }
    }

    #[inline]
    pub(crate) fn release(&mut self, head: Head) {
        if let Some(consumer) = &mut self.consumer {
            consumer.release(head);
            consumer.ring().writable.notify();
        }
    }

    /// Receives a streamed message of `total` bytes into a vector that grows as bytes
    /// come. `None` if its sender gave it up.
    pub(crate) fn stream(
        &mut self,
        total: u64,
        until: Until,
    ) -> Result<Option<Vec<u8>>, RecvError> {
        let mut bytes = self.resume();
        let mut pieces = 0;
        loop {
            if late(&mut pieces, until) {
                return Err(self.keep(RecvError::Timeout, bytes, total));
            }
            let start = bytes.len();
            let head = match self.piece(total, start, until) {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.keep(error, bytes, total)),
            };
            let need = start + head.len;
            if bytes.capacity() < need {
                // Twice as much each time, never more than the message, and at most
                // TRUSTED beyond what has come.
                let more = total.min((2 * need as u64).max(TRUSTED));
                bytes.reserve_exact(usize::try_from(more).unwrap_or(need) - start);
            }
            bytes.resize(need, 0);
            self.take_by(head, |consumer| consumer.take_to_fresh(head, &mut bytes[start..]));
            if head.piece == Piece::Last {
                return Ok(Some(bytes));
            }
        }
    }

    /// Receives a streamed message into `dst`, which has its length. `false` if its
    /// sender gave it up.
    pub(crate) fn stream_into(&mut self, dst: &mut [u8], until: Until) -> Result<bool, RecvError> {
        let total = dst.len() as u64;
        let before = self.resume();
        let mut got = before.len();
        dst[..got].copy_from_slice(&before);
        let mut pieces = 0;
        loop {
            if late(&mut pieces, until) {
                return Err(self.keep(RecvError::Timeout, dst[..got].to_vec(), total));
            }
            let head = match self.piece(total, got, until) {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(false),
                Err(error) => return Err(self.keep(error, dst[..got].to_vec(), total)),
            };
            self.take(head, &mut dst[got..got + head.len]);
            got += head.len;
            if head.piece == Piece::Last {
                return Ok(true);
            }
        }
    }

    /// What came of the streamed message before an earlier call ran out of time.
    fn resume(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.partial, Partial::None) {
            Partial::Got { bytes, .. } => bytes,
            Partial::None | Partial::Orphan => Vec::new(),
        }
    }

    /// Ends the call for now. Keeps what has come for the next one, if `error` means that
    /// more may come.
    fn keep(&mut self, error: RecvError, bytes: Vec<u8>, total: u64) -> RecvError {
        self.settle();
        if matches!(error, RecvError::Timeout | RecvError::Empty) && !bytes.is_empty() {
            self.partial = Partial::Got { bytes, total };
        }
        error
    }

    /// Waits for the next piece of a streamed message, of which `got` bytes have come,
    /// and checks it. `None` if the sender gave it up.
    fn piece(&mut self, total: u64, got: usize, until: Until) -> Result<Option<Head>, RecvError> {
        let begun = got > 0;
        let head = loop {
            match self.head()? {
                Some(head) => break head,
                None => match self.wait(until) {
                    // Of this message nothing more will come.
                    Err(RecvError::Eof) if begun => return Err(RecvError::Truncated),
                    other => other?,
                },
            }
        };
        match head.piece {
            Piece::First { .. } if !begun => {}
            Piece::Middle | Piece::Last if begun => {}
            Piece::Abort => {
                self.release(head);
                return Ok(None);
            }
            _ => return Err(RecvError::Truncated),
        }
        let sum = got as u64 + head.len as u64;
        if sum > total || (sum == total) != (head.piece == Piece::Last) || head.len == 0 {
            return Err(self.corrupted(Corrupted("the pieces of a message do not add up")));
        }
        Ok(Some(head))
    }

    /// Whether a call would not wait for its first byte: a message, an error to report,
    /// or the end.
    pub(crate) fn poll(&mut self, until: Until) -> Result<bool, RecvError> {
        loop {
            match self.head()? {
                Some(head) if head.piece == Piece::Abort => {
                    self.partial = Partial::None;
                    self.release(head);
                }
                Some(_) => return Ok(true),
                None => match self.idle_wait(until) {
                    Ok(()) => {}
                    Err(RecvError::Eof | RecvError::Truncated) => return Ok(true),
                    Err(RecvError::Empty | RecvError::Timeout) => return Ok(false),
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// For waiting on several: announces a sleeper, then says whether there is no need.
    pub(crate) fn announce(&mut self) -> Result<(bool, Event, Ticket), RecvError> {
        self.enter()?;
        let ring = self.end.incoming.clone().ok_or(RecvError::Closed)?;
        let ticket = ring.readable.announce();
        Ok((self.poll(Until::Now)?, ring.readable, ticket))
    }

    fn head(&mut self) -> Result<Option<Head>, RecvError> {
        if self.taken != generation() || self.end.state() & CLOSED != 0 {
            self.enter()?;
        }
        let Some(consumer) = &mut self.consumer else { return Err(RecvError::Closed) };
        match consumer.head() {
            Ok(head) => Ok(head),
            Err(what) => Err(self.corrupted(what)),
        }
    }

    /// Takes the end, or takes it anew after a fork.
    #[cold]
    fn enter(&mut self) -> Result<(), RecvError> {
        if let Err(why) = self.end.take(RECEIVING) {
            self.leave();
            return Err(why.into());
        }
        if self.taken != generation() || self.consumer.is_none() {
            // The types offer a receiving half only where there is a ring.
            let ring = self.end.incoming.clone().ok_or(RecvError::Closed)?;
            // Not the present count: the first look must ask the kernel.
            let count = ring.writer_departures.load(ringway_core::sync::Ordering::Relaxed);
            self.departures = count.wrapping_sub(1);
            self.consumer = Some(Consumer::new(ring).map_err(|what| self.corrupted(what))?);
            self.partial = Partial::None;
            self.taken = generation();
        }
        Ok(())
    }

    /// Waits until a chunk is there. An end that will bring no more is an error, once
    /// [`RecvError::Truncated`] if a message was cut off by it.
    fn wait(&mut self, until: Until) -> Result<(), RecvError> {
        let waited = self.idle_wait(until);
        if let Err(RecvError::Truncated) = waited {
            self.partial = Partial::None;
        }
        waited
    }

    #[cold]
    fn idle_wait(&mut self, until: Until) -> Result<(), RecvError> {
        let waited = self.park(until);
        if matches!(waited, Err(RecvError::Closed)) {
            self.leave();
        }
        waited
    }

    fn park(&mut self, until: Until) -> Result<(), RecvError> {
        self.settle();
        let Self { end, consumer, departures, spinner, partial, .. } = self;
        let Some(consumer) = consumer.as_ref() else { return Err(RecvError::Closed) };
        let Some(ring) = &end.incoming else { return Err(RecvError::Closed) };
        let mut look = || {
            if end.state() & CLOSED != 0 {
                return Err(RecvError::Closed);
            }
            if consumer.is_ready() {
                return Ok(true);
            }
            if !end.departed(&ring.writer_departures, departures) {
                return Ok(false);
            }
            // The kernel says the sender is gone. Its last message may have come
            // between our look and that news: look again.
            if consumer.is_ready() {
                return Ok(true);
            }
            match partial {
                Partial::None => Err(RecvError::Eof),
                Partial::Orphan | Partial::Got { .. } => Err(RecvError::Truncated),
            }
        };
        let Until::Deadline(deadline) = until else {
            return if look()? { Ok(()) } else { Err(RecvError::Empty) };
        };
        match park(&ring.readable, spinner, deadline, || end.peer(), look)? {
            Parked::Ready => Ok(()),
            Parked::TimedOut => Err(RecvError::Timeout),
        }
    }

    /// Touches the ring no more, if the end is closed or the half dropped.
    pub(crate) fn leave(&mut self) {
        if self.taken == generation() && self.consumer.take().is_some() {
            self.end.leave(RECEIVING);
        }
    }

    fn corrupted(&self, what: Corrupted) -> RecvError {
        Error::corrupted(&self.end.label, what.0).into()
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether a call that has taken in `pieces` so far is out of time. While pieces are
/// there nothing else looks at the clock. Never before the first piece: a message that
/// is there beats a deadline that has passed.
fn late(pieces: &mut u32, until: Until) -> bool {
    let due = *pieces > 0 && pieces.is_multiple_of(PIECES_PER_LOOK);
    *pieces = pieces.wrapping_add(1);
    due && until.passed()
}

impl From<OpenError> for RecvError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::EndInUse { pid } => Self::EndInUse { pid },
            OpenError::Engine(error) => Self::Engine(error),
            // Taking an end gives no other.
            _ => Self::Closed,
        }
    }
}
