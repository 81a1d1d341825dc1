//! The queue.

use crate::error::{GetError, JoinThreadError, PutError, PutReason, ShutDownError};
use crate::inner::Inner;
use crate::long::{self, Looks, NotHere};
use crate::scratch;
use crate::until::Until;
use core::fmt;
use core::marker::PhantomData;
use ringway_codec::{Codec, DecodeError, Postcard};
use ringway_core::mpmc::{Incoming, QuickGet, Stats};
use ringway_core::wait::WaitPolicy;
use std::time::{Duration, Instant};

/// A handle owns no `T` and no `C`: it is `Send` and `Sync` whatever they are.
type Types<T, C> = fn(T, C) -> (T, C);

/// A first-in first-out queue that any number of processes and threads put to and get
/// from.
///
/// A handle is `Send`, `Sync` and cheap to clone; all its calls take `&self`. It is
/// shared by handing it to other processes (see the `ringway` crate) or by name
/// ([`Builder::name`](crate::Builder::name)): they get a handle of their own, and the
/// giver keeps its.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = ringway_queue::Queue::<String>::bounded(10)?;
/// queue.put("hello".into())?;
/// assert_eq!(queue.len(), 1);
/// assert_eq!(queue.get()?, "hello");
/// # Ok(())
/// # }
/// ```
///
/// # Committed and accepted
///
/// A put to a bounded queue that has returned is *committed*: every process can take
/// the item, and it outlives the putter. A put to an unbounded queue is *accepted*: as
/// long as the ring has room and nothing of this process waits, that is the same. Else
/// the item waits in the memory of this process until a thread of it, the feeder, finds
/// room: then it dies with the process if that is killed, calls `_exit` or aborts.
/// Dropping the last handle of a process, [`join_thread`](Self::join_thread) and a
/// normal exit (`exit`, the end of `main`) wait until all is committed. They do not if
/// [cancelled](Self::cancel_join_thread), if the queue was shut down at once, or if no
/// other process is attached; one to which the queue was handed in the last ten seconds
/// counts as attached. A child that was forked without exec has copies of all handles
/// and never drops the last one: there, `join_thread` and a normal exit wait.
///
/// # Order
///
/// If one put has returned before another begins, its item is taken first, between
/// committed items. Items put through one handle stay in order also when some of them
/// had to wait in the process. After the death of a getter an item that it had claimed
/// may come later than its neighbours.
///
/// # If a process dies
///
/// At any instruction: all others go on. An item whose put had been committed is taken
/// exactly once; one that was being put is there whole or not at all; one that was
/// being taken goes to another getter. Exactly one item can be gone with a killed
/// getter: the one that it was just returning with. A bounded queue keeps its capacity;
/// it may report itself full below it until items older than the death are taken.
///
/// A process that is *stopped* in the few instructions between claiming and committing
/// holds up the others behind its item until it goes on or dies.
///
/// # Memory ordering
///
/// What a thread did before it put an item is visible, in memory they share, to the
/// thread that takes it.
pub struct Queue<T, C = Postcard> {
    pub(crate) inner: Inner,
    types: PhantomData<Types<T, C>>,
}

impl<T, C> Clone for Queue<T, C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<T, C> Queue<T, C> {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner, types: PhantomData }
    }

    /// How many items were accepted and not taken, in all processes.
    ///
    /// Exact for completed operations; may be wrong as soon as it returns. Works after
    /// `close`, too. One too high for each process that was stopped in the middle of
    /// moving an item from its memory to the ring.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether there is no item. As [`len`](Self::len), a look: a get right after it may
    /// find something else.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a put would have to wait now. An unbounded queue is never full.
    pub fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    /// The most items at a time, exactly; `None` for an unbounded queue.
    pub fn capacity(&self) -> Option<usize> {
        self.inner.capacity()
    }

    /// The most bytes that the encoding of an item may have: the limit that the queue was
    /// made with; else 16 TiB where items longer than its memory are streamed, or what fits
    /// a slot.
    pub fn max_message(&self) -> usize {
        self.inner.max_message()
    }

    /// What blocked calls do before they sleep.
    pub fn policy(&self) -> WaitPolicy {
        self.inner.policy
    }

    /// Closes this handle: later puts and gets on it are refused. Other handles, clones
    /// of this one included, and other processes go on; what was put stays. A call that
    /// is blocked in another thread goes on. Idempotent.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Waits until all that this process has accepted up to now is committed. Returns at
    /// once for a bounded queue, if nothing waits, and once cancelled. Does not need to
    /// be called: dropping the last handle and exiting wait, too.
    ///
    /// # Blocking
    ///
    /// Until other processes have taken enough.
    ///
    /// # Errors
    ///
    /// [`JoinThreadError::NotClosed`]; [`JoinThreadError::Lost`] if items had to be
    /// given up.
    pub fn join_thread(&self) -> Result<(), JoinThreadError> {
        self.inner.join_thread()
    }

    /// Makes `join_thread`, the drop of the last handle and the exit of this process not
    /// wait, now and later. What is not committed by then is lost.
    pub fn cancel_join_thread(&self) {
        self.inner.cancel_join_thread();
    }

    /// Ends the queue for all processes, for ever. Puts are refused from now on. Gets
    /// take what was accepted and then fail; with `immediate`, what is there is thrown
    /// away and gets fail at once. Blocked calls wake. Idempotent; a second call may
    /// still make it immediate.
    ///
    /// # Blocking
    ///
    /// Does not block.
    ///
    /// # If the process dies
    ///
    /// In the middle of an immediate shutdown, the next getter finishes it.
    ///
    /// # Errors
    ///
    /// [`ShutDownError`] if the segment cannot be used.
    pub fn shutdown(&self, immediate: bool) -> Result<(), ShutDownError> {
        self.inner.shutdown(immediate)
    }

    /// Whether the queue was shut down, by whomever.
    pub fn is_shut_down(&self) -> bool {
        self.inner.ring.is_shut_down()
    }

    /// What this process has seen of deaths among the queue's users, and done about them,
    /// since it attached; and how it hears of them.
    pub fn stats(&self) -> Stats {
        self.inner.ring.stats()
    }
}

impl<T, C: Codec<T>> Queue<T, C> {
    #[inline]
    fn put_until(&self, value: T, until: Until) -> Result<(), PutError<T>> {
        // A type that is encoded at no cost: the short way first.
        if !C::USES_SCRATCH && !self.inner.is_closed() {
            let quick = |bytes: &[u8]| self.inner.put_quick(bytes, until);
            if let Ok(true) = C::encode(&value, &mut Vec::new(), quick) {
                return Ok(());
            }
        }
        self.put_slow(value, until)
    }

    #[inline(never)]
    fn put_slow(&self, value: T, until: Until) -> Result<(), PutError<T>> {
        let put = || -> Result<(), PutReason> {
            if self.inner.is_closed() {
                return Err(PutReason::Closed);
            }
            // The caller's code is done before anything is claimed.
            scratch::encoding(C::USES_SCRATCH, |scratch| {
                C::encode(&value, scratch, |bytes| {
                    if self.inner.put_quick(bytes, until) {
                        return Ok(());
                    }
                    self.inner.put(bytes, until)
                })
            })?
        };
        put().map_err(|reason| PutError::new(reason, value))
    }

    /// Puts one item, waiting for room.
    ///
    /// # Blocking
    ///
    /// While a bounded queue is full, or its memory for long items used up. An unbounded
    /// one never blocks. An item longer than that memory is streamed to a getter: the call
    /// ends when one has all of it, and puts nothing if it ends before.
    ///
    /// # If the process dies
    ///
    /// In the middle of a streamed item, that is dropped. If its getter dies, the next one
    /// gets it from the beginning.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the item in it. The reason is [`PutReason::Closed`],
    /// [`PutReason::ShutDown`], [`PutReason::TooLarge`], [`PutReason::Encode`],
    /// [`PutReason::Poisoned`] or [`PutReason::Engine`].
    #[inline]
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_until(value, Until::NEVER)
    }

    /// Puts one item if there is room now. Never waits.
    ///
    /// # Errors
    ///
    /// [`PutReason::Full`], also while the oldest item is just being taken;
    /// [`PutReason::NoMemory`], if there is a place and the memory for long items is used
    /// up; [`PutReason::WouldStream`], if the item is longer than all of it; [`PutReason::Contended`]; as [`put`](Self::put).
    #[inline]
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_until(value, Until::Now)
    }

    /// Puts one item; the whole call takes at most `timeout`. A `timeout` of zero is a
    /// [`try_put`](Self::try_put), one too long for the clock never ends. (A [`Duration`]
    /// is never negative.)
    ///
    /// # Errors
    ///
    /// [`PutReason::Full`] or [`PutReason::NoMemory`] after that time; as
    /// [`put`](Self::put). A streamed item that was withdrawn does not count in
    /// [`len`](Self::len), but keeps its place until the items before it are taken: until then
    /// a put may find the queue full below its capacity.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_until(value, Until::after(timeout))
    }

    /// Puts one item; gives up at `deadline`.
    ///
    /// # Errors
    ///
    /// As [`put_timeout`](Self::put_timeout).
    pub fn put_deadline(&self, value: T, deadline: Instant) -> Result<(), PutError<T>> {
        self.put_until(value, Until::at(deadline))
    }

    #[inline]
    pub(crate) fn get_until(&self, until: Until) -> Result<T, GetError> {
        let mut got = QuickGet::MISSED;
        if !self.inner.is_closed() {
            let quick = C::decode_in_place(|to| {
                got = self.inner.get_quick(to, until);
                got.is(to.len())
            });
            if let Some(value) = quick {
                return Ok(value);
            }
        }
        self.get_odd(got, until)
    }

    /// The short way took no item, or one that is none.
    #[inline(never)]
    fn get_odd(&self, got: QuickGet, until: Until) -> Result<T, GetError> {
        match self.inner.explain(got) {
            None => self.get_slow(Looks::new(until)),
            Some(Ok(len)) => Err(Self::wrong_len(len)),
            Some(Err(NotHere::Stream(stream))) => self.get_stream(*stream, until),
            Some(Err(why)) => Err(long::refuse(&self.inner, why, C::FIXED_LEN.unwrap_or_default())),
        }
    }

    /// The item comes as a stream. If nothing comes of it, another one.
    #[cold]
    fn get_stream(&self, stream: Incoming, until: Until) -> Result<T, GetError> {
        if let Some(expected) = C::FIXED_LEN.filter(|len| *len != stream.len()) {
            return Err(long::refuse(&self.inner, NotHere::Stream(Box::new(stream)), expected));
        }
        let mut looks = Looks::new(until);
        match looks.receive(&self.inner, stream, Vec::new())? {
            Some(bytes) => Ok(C::decode_owned(bytes)?),
            None => self.get_slow(looks),
        }
    }

    /// The item had an impossible length, and is gone.
    #[cold]
    fn wrong_len(taken: usize) -> GetError {
        let len = C::FIXED_LEN.unwrap_or_default();
        DecodeError(format!("{taken} bytes where the type has {len}").into()).into()
    }

    fn get_slow(&self, mut looks: Looks) -> Result<T, GetError> {
        if self.inner.is_closed() {
            return Err(GetError::Closed);
        }
        let Some(len) = C::FIXED_LEN else {
            // Whole messages are copied out and given free before they are decoded.
            return scratch::taking(self.inner.ring.payload_size(), |buffer| {
                loop {
                    match looks.get(&self.inner, buffer) {
                        Ok(len) => return Ok(C::decode(&buffer[..len.min(buffer.len())])?),
                        Err(NotHere::Stream(stream)) => {
                            let bytes = looks.receive(&self.inner, *stream, Vec::new())?;
                            if let Some(bytes) = bytes {
                                return Ok(C::decode_owned(bytes)?);
                            }
                        }
                        Err(why) => return long::decode::<T, C>(&self.inner, why),
                    }
                }
            });
        };
        // No copy in between: a value of fixed length is taken to where it will be.
        let mut taken = 0;
        let value = scratch::encoding(C::USES_SCRATCH, |scratch| {
            C::decode_from(len, scratch, |to| {
                taken = loop {
                    match looks.get(&self.inner, to) {
                        Ok(taken) => break taken,
                        Err(NotHere::Stream(stream)) if stream.len() == len => {
                            let bytes = looks.receive(&self.inner, *stream, Vec::new())?;
                            if let Some(bytes) = bytes.filter(|bytes| bytes.len() == len) {
                                to.copy_from_slice(&bytes);
                                break len;
                            }
                        }
                        Err(why) => return Err(long::refuse(&self.inner, why, len)),
                    }
                };
                Ok::<(), GetError>(())
            })
        })??;
        if taken != len {
            return Err(Self::wrong_len(taken));
        }
        Ok(value)
    }

    /// Takes one item, waiting for it.
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    ///
    /// # Errors
    ///
    /// [`GetError::Closed`], [`GetError::ShutDown`], [`GetError::Decode`] (the item is
    /// consumed), [`GetError::Poisoned`], [`GetError::Engine`], also where this process has too
    /// little memory for an item that is longer than the queue's: that stays for another.
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.get_until(Until::NEVER)
    }

    /// Takes one item if there is one now. Never waits; but one longer than the queue's memory
    /// is received as long as its next bytes come within 10 ms each, and all of it at 16 MiB a
    /// second or faster. Else it stays for a later call, and this one takes what is behind it.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], never while the item of a committed put is there, except
    /// behind one that another process has begun to put and not finished;
    /// [`GetError::Contended`]; as [`get`](Self::get).
    #[inline]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_until(Until::Now)
    }

    /// Takes one item; the whole call takes at most `timeout`. A `timeout` of zero is a
    /// [`try_get`](Self::try_get), one too long for the clock never ends.
    ///
    /// An item longer than the queue's memory is streamed, and begins anew in each call: calls
    /// that are all shorter than its transfer never get it. After that time it stays for
    /// another call, and this one takes what is behind it.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] after that time; as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_until(Until::after(timeout))
    }

    /// Takes one item; gives up at `deadline`.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Self::get_timeout).
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetError> {
        self.get_until(Until::at(deadline))
    }

    /// The items to come, until the queue is shut down and drained or this handle is
    /// closed. Blocks for each.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, GetError>> + '_ {
        std::iter::from_fn(|| match self.get() {
            Err(GetError::ShutDown | GetError::Closed) => None,
            other => Some(other),
        })
    }

    /// The items that are there now, as long as there are any. Never waits.
    pub fn try_iter(&self) -> impl Iterator<Item = Result<T, GetError>> + '_ {
        std::iter::from_fn(|| match self.try_get() {
            Err(GetError::Empty | GetError::ShutDown | GetError::Closed) => None,
            other => Some(other),
        })
    }
}

impl<T, C> fmt::Debug for Queue<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("segment", &self.inner.ring.label())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
