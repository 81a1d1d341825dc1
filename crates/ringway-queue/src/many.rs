//! Many items in one call.
//!
//! All code of the caller's (encoding, decoding) runs before items are claimed or after
//! they are committed. In between is a batch of encoded messages in private memory.

use crate::Queue;
use crate::error::{GetError, PutManyError, PutReason, get_error, put_reason};
use crate::inner::Inner;
use crate::scratch;
use crate::until::Until;
use ringway_codec::Codec;
use ringway_core::mpmc::{self, Batch};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The most messages, and about the most bytes, that are encoded before they are put.
const MESSAGES: usize = 256;
const BYTES: usize = 256 << 10;

/// Bytes of an item that is a word.
const WORD: usize = 8;

thread_local! {
    static BATCH: Cell<Batch> = Cell::new(Batch::new());
}

/// Runs `body` with this thread's batch, empty; one that uses a queue itself finds
/// none and makes one.
fn with_batch<R>(body: impl FnOnce(&mut Batch) -> R) -> R {
    let mut batch = BATCH.try_with(Cell::take).unwrap_or_default();
    let result = body(&mut batch);
    if batch.bytes() <= BYTES {
        batch.clear();
        let _ = BATCH.try_with(|place| place.set(batch));
    }
    result
}

impl Inner {
    /// Puts all messages of `batch` in order. On an error says how many were put before.
    fn put_many(&self, batch: &Batch, until: Until) -> Result<(), (usize, PutReason)> {
        let mut put = 0;
        while let Some(first) = batch.get(put) {
            let result = match self.overflow() {
                Some(overflow) => overflow.put_many(batch, put),
                None => self.put_run(batch, put, until),
            };
            put += match result {
                Ok(many) => many,
                // It does not fit a slot: the single call knows what to do with it.
                Err(PutReason::TooLarge { .. }) => {
                    self.put(first, until).map_err(|reason| (put, reason))?;
                    1
                }
                Err(reason) => return Err((put, reason)),
            };
        }
        Ok(())
    }

    fn put_run(&self, batch: &Batch, from: usize, until: Until) -> Result<usize, PutReason> {
        let put = match until {
            Until::Now => self.ring.try_put_many(batch, from),
            Until::Deadline(deadline) => scratch::putting(self.policy, |spinner| {
                loop {
                    match self.ring.put_many(batch, from, spinner, deadline) {
                        Err(mpmc::PutError::Interrupted) => {}
                        other => break other,
                    }
                }
            }),
        };
        put.map_err(|error| put_reason(error, self.ring.label()))
    }

    /// Takes up to `max` messages. 0 says that the next one is for the single call.
    fn get_many(&self, max: usize, into: &mut Batch, until: Until) -> Result<usize, GetError> {
        let tasks = self.counts_tasks();
        let got = match until {
            Until::Now => self.ring.try_get_many(max, into, tasks),
            Until::Deadline(deadline) => scratch::getting(self.policy, |spinner| {
                loop {
                    match self.ring.get_many(max, into, tasks, spinner, deadline) {
                        Err(mpmc::GetError::Interrupted) => {}
                        other => break other,
                    }
                }
            }),
        };
        got.map_err(|error| get_error(error, self.ring.label()))
    }
}

impl<T, C: Codec<T>> Queue<T, C> {
    fn put_many_until(
        &self,
        values: impl IntoIterator<Item = T>,
        until: Until,
    ) -> Result<(), PutManyError<T>> {
        let mut values: Vec<T> = values.into_iter().collect();
        let mut put = self.put_quick(&values, until);
        if put == values.len() && put > 0 {
            return Ok(());
        }
        let result = with_batch(|batch| {
            while put < values.len() {
                if self.inner.is_closed() {
                    return Err(PutReason::Closed);
                }
                let refused = self.encode_some(&values[put..], batch);
                match self.inner.put_many(batch, until) {
                    Ok(()) => put += batch.len(),
                    Err((some, reason)) => {
                        put += some;
                        return Err(reason);
                    }
                }
                refused?;
            }
            Ok(())
        });
        result.map_err(|reason| PutManyError { reason, put, rest: values.split_off(put) })
    }

    /// Puts the first values that can be put on the short way; says how many.
    #[inline]
    fn put_quick(&self, values: &[T], until: Until) -> usize {
        let Some(bytes) = C::encode_all(values) else { return 0 };
        let words = C::FIXED_LEN == Some(WORD) && bytes.len() == values.len() * WORD;
        if !words {
            return 0;
        }
        let mut put = 0;
        while put < values.len() && !self.inner.is_closed() {
            match self.inner.put_words_quick(&bytes[put * WORD..], until) {
                0 => break,
                many => put += many,
            }
            // Where room comes bit by bit, a deadline ends this as it does the long way.
            if matches!(until, Until::Deadline(_)) && until.passed() {
                break;
            }
        }
        put
    }

    /// Encodes the first values, up to one that cannot be put.
    fn encode_some(&self, values: &[T], batch: &mut Batch) -> Result<(), PutReason> {
        batch.clear();
        scratch::encoding(C::USES_SCRATCH, |scratch| {
            for value in values {
                C::encode(value, scratch, |bytes| {
                    self.inner.admit(bytes.len())?;
                    batch.push(bytes);
                    Ok::<(), PutReason>(())
                })??;
                if batch.len() >= MESSAGES || batch.bytes() >= BYTES {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Puts all `values` in order, as so many calls of [`put`](Self::put) would, but claims
    /// their places together as far as there is room: nobody's item comes between those
    /// of one claim, and the costs of a put are paid once for each claim. Other
    /// processes see the items one after the other.
    ///
    /// # Blocking
    ///
    /// While a bounded queue is full, until all are put.
    ///
    /// # If the process dies
    ///
    /// The items up to some point are there, in order; of the others nothing is.
    ///
    /// # Errors
    ///
    /// [`PutManyError`]: how many were put, the others, and one of [`put`](Self::put)'s
    /// reasons.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutManyError<T>> {
        self.put_many_until(values, Until::NEVER)
    }

    /// Puts as many of `values` as there is room for now, in order. Never waits.
    ///
    /// # Errors
    ///
    /// [`PutManyError`], with [`PutReason::Full`] or [`PutReason::Contended`] where not all
    /// were put; as [`put_many`](Self::put_many).
    pub fn try_put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutManyError<T>> {
        self.put_many_until(values, Until::Now)
    }

    /// As [`put_many`](Self::put_many); the whole call takes at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`PutManyError`], with [`PutReason::Full`] after that time; as there.
    pub fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item = T>,
        timeout: Duration,
    ) -> Result<(), PutManyError<T>> {
        self.put_many_until(values, Until::after(timeout))
    }

    /// As [`put_many`](Self::put_many); gives up at `deadline`.
    ///
    /// # Errors
    ///
    /// As [`put_many_timeout`](Self::put_many_timeout).
    pub fn put_many_deadline(
        &self,
        values: impl IntoIterator<Item = T>,
        deadline: Instant,
    ) -> Result<(), PutManyError<T>> {
        self.put_many_until(values, Until::at(deadline))
    }

    fn get_many_until(
        &self,
        into: &mut Vec<T>,
        max: usize,
        until: Until,
    ) -> Result<usize, GetError> {
        if self.inner.is_closed() {
            return Err(GetError::Closed);
        }
        if max == 0 {
            return Ok(0);
        }
        if max <= MESSAGES && C::FIXED_LEN == Some(WORD) {
            let quick = |to: &mut [u8]| self.inner.get_words_quick(to, until);
            let got = C::decode_all(into, max, quick);
            if got > 0 {
                return Ok(got);
            }
        }
        loop {
            let got = with_batch(|batch| {
                self.inner.get_many(max, batch, until)?;
                decode_all::<T, C>(batch, into)
            })?;
            if got > 0 {
                return Ok(got);
            }
            // One that stands alone: given back by a dead getter, or too long for a slot.
            match self.get_until(until) {
                Ok(value) => {
                    into.push(value);
                    return Ok(1);
                }
                // Another was quicker. The batch call waits, and looks at the clock.
                Err(GetError::Empty | GetError::Contended) if !until.passed() => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes up to `max` items under one claim: waits for the first, takes those that are
    /// there then, and appends them to `into` in order. Returns how many, at least 1 unless
    /// `max` is 0; fewer than there are where items stand between that must be taken
    /// alone, and where they are large (about a MiB in all).
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    ///
    /// # If the process dies
    ///
    /// Before the one commit all these items go to other getters; after it all are gone
    /// with the process: at most a batch.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get). On [`GetError::Decode`] all items of the claim are consumed,
    /// and those that could be decoded are in `into`. On any other error none was taken.
    pub fn get_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, GetError> {
        self.get_many_until(into, max, Until::NEVER)
    }

    /// Takes up to `max` items if any is there now. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Self::try_get) and [`get_many`](Self::get_many).
    pub fn try_get_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, GetError> {
        self.get_many_until(into, max, Until::Now)
    }

    /// As [`get_many`](Self::get_many), waiting at most `timeout` for the first.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] after that time; as there.
    pub fn get_many_timeout(
        &self,
        into: &mut Vec<T>,
        max: usize,
        timeout: Duration,
    ) -> Result<usize, GetError> {
        self.get_many_until(into, max, Until::after(timeout))
    }

    /// As [`get_many`](Self::get_many), waiting for the first until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`get_many_timeout`](Self::get_many_timeout).
    pub fn get_many_deadline(
        &self,
        into: &mut Vec<T>,
        max: usize,
        deadline: Instant,
    ) -> Result<usize, GetError> {
        self.get_many_until(into, max, Until::at(deadline))
    }
}

/// Appends all that can be decoded; the first that cannot is the error.
fn decode_all<T, C: Codec<T>>(batch: &Batch, into: &mut Vec<T>) -> Result<usize, GetError> {
    let mut wrong = None;
    for bytes in batch.iter() {
        match C::decode(bytes) {
            Ok(value) => into.push(value),
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    wrong.map_or(Ok(batch.len()), |error| Err(error.into()))
}
