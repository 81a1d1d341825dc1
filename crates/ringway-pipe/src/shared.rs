//! An end that several threads of one process share.
//!
//! A unique handle needs no lock. Here each direction has one, private to the process,
//! that is held for a whole message: frames stay whole, and sending and receiving do not
//! hinder each other. Waiting for one's turn counts towards a call's time-out.

use crate::end::{CLOSED, Hold};
use crate::error::{RecvError, SendError};
use crate::recv::RecvHalf;
use crate::send::SendHalf;
use crate::until::Until;
use crate::{Connection, Receiver, Sender};
use core::fmt;
use ringway_codec::{Codec, Postcard};
use ringway_core::process::{generation, global};
use ringway_core::wait::{Deadline, WaitPolicy};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Something that one thread at a time may have, with a wait that ends.
struct Turn<T: Leaving> {
    here: Mutex<Option<Box<T>>>,
    back: Condvar,
    /// The fork generation it was made in. In a forked child a thread that is not there
    /// may have the lock, or the value.
    born: u64,
    /// The one that replaces it there.
    next: OnceLock<Arc<Self>>,
}

impl<T: Leaving> Turn<T> {
    fn new(value: T) -> Self {
        Self {
            here: Mutex::new(Some(Box::new(value))),
            back: Condvar::new(),
            born: generation(),
            next: OnceLock::new(),
        }
    }

    /// This process's: in a forked child a fresh one, with what `make` makes.
    fn mine(&self, make: impl Fn() -> T) -> &Self {
        let mut turn = self;
        while turn.born != generation() {
            turn = match turn.next.get() {
                Some(next) => next,
                None => {
                    let new = Arc::new(Self::new(make()));
                    // Under the lock that fork waits for: a child never inherits a cell
                    // that a thread was about to fill.
                    let fork_waits = global::lock();
                    let second = turn.next.set(new).err();
                    drop(fork_waits);
                    // Another thread was quicker.
                    drop(second);
                    continue;
                }
            };
        }
        turn
    }

    /// Runs `body` with the value, or returns `None` if it was not free in time.
    fn with<R>(&self, until: Until, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let value = loop {
            if let Some(value) = here.take() {
                break value;
            }
            let Until::Deadline(deadline) = until else { return None };
            let Some(left) = deadline.remaining() else {
                here = self.back.wait(here).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if left.is_zero() {
                return None;
            }
            let waited = self.back.wait_timeout(here, left);
            here = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(here);
        let mut lent = Lent { turn: self, value: Some(value) };
        lent.value.as_deref_mut().map(body)
    }

    /// Calls `leave` with the value, if it is here: if not, whoever has it does so.
    fn closed(&self) {
        if self.born == generation()
            && let Some(value) = &mut *self.here.lock().unwrap_or_else(PoisonError::into_inner)
        {
            value.leave_if_closed();
        }
    }
}

/// A half that lets go of a closed end.
trait Leaving {
    fn leave_if_closed(&mut self);
}

impl<T, C> Leaving for Sender<T, C> {
    fn leave_if_closed(&mut self) {
        if self.half.end().state() & CLOSED != 0 {
            self.half.leave();
        }
    }
}

impl<T, C> Leaving for Receiver<T, C> {
    fn leave_if_closed(&mut self) {
        if self.half.end.state() & CLOSED != 0 {
            self.half.leave();
        }
    }
}

/// Gives the value back also when the body panics.
struct Lent<'a, T: Leaving> {
    turn: &'a Turn<T>,
    value: Option<Box<T>>,
}

impl<T: Leaving> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        let mut here = self.turn.here.lock().unwrap_or_else(PoisonError::into_inner);
        *here = self.value.take();
        // Under the lock: who closes the end looks here for an idle half after it said so.
        // Nobody takes this lock while holding those that it takes.
        here.iter_mut().for_each(|value| value.leave_if_closed());
        drop(here);
        self.turn.back.notify_one();
    }
}

/// The sending end of a pipe for several threads. Cheap to clone. The end closes with the
/// last clone, or for all of them with [`close`](Self::close).
///
/// Its calls take a lock of this process, about 20 ns when it is free.
pub struct SharedSender<T, C = Postcard> {
    turn: Arc<Turn<Sender<T, C>>>,
    end: Hold,
    policy: WaitPolicy,
}

/// The receiving end of a pipe for several threads; as [`SharedSender`].
pub struct SharedReceiver<T, C = Postcard> {
    turn: Arc<Turn<Receiver<T, C>>>,
    end: Hold,
    policy: WaitPolicy,
}

/// One end of a two-way pipe for several threads; as [`SharedSender`].
pub struct SharedConnection<S, R = S, C = Postcard> {
    sender: SharedSender<S, C>,
    receiver: SharedReceiver<R, C>,
}

impl<T, C> Sender<T, C> {
    /// Makes the end usable by several threads at once.
    pub fn into_shared(self) -> SharedSender<T, C> {
        let end = Hold::clone(self.half.end());
        let policy = self.policy();
        SharedSender { turn: Arc::new(Turn::new(self)), end, policy }
    }
}

impl<T, C> Receiver<T, C> {
    /// Makes the end usable by several threads at once.
    pub fn into_shared(self) -> SharedReceiver<T, C> {
        let end = Hold::clone(&self.half.end);
        let policy = self.policy();
        SharedReceiver { turn: Arc::new(Turn::new(self)), end, policy }
    }
}

impl<S, R, C> Connection<S, R, C> {
    /// Makes the end usable by several threads at once.
    pub fn into_shared(self) -> SharedConnection<S, R, C> {
        let (sender, receiver) = self.split();
        SharedConnection { sender: sender.into_shared(), receiver: receiver.into_shared() }
    }
}

impl<T, C> SharedSender<T, C> {
    pub(crate) fn turn(
        &self,
        until: Until,
        body: impl FnOnce(&mut Sender<T, C>) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let late = match until {
            Until::Now => SendError::Full,
            Until::Deadline(_) => SendError::Timeout,
        };
        let make = || Sender::new(SendHalf::new(Hold::clone(&self.end), self.policy));
        self.turn.mine(make).with(until, body).unwrap_or(Err(late))
    }

    /// See [`Sender::send_bytes`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
        self.turn(Until::NEVER, |sender| sender.send_bytes(message))
    }

    /// Closes the end for all threads. Those that are blocked on it wake and get
    /// [`SendError::Closed`]. A process that waits to use a copy of the end, made by fork,
    /// gets its turn when no thread of this one is amidst a message any more.
    pub fn close(&self) {
        self.end.close(0);
        self.turn.closed();
    }
}

impl<T, C: Codec<T>> SharedSender<T, C> {
    /// See [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send(&self, value: &T) -> Result<(), SendError> {
        self.turn(Until::NEVER, |sender| sender.send(value))
    }

    /// See [`Sender::try_send`]. Another thread's message in progress counts as full.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send(&self, value: &T) -> Result<(), SendError> {
        self.turn(Until::Now, |sender| sender.try_send(value))
    }

    /// See [`Sender::send_timeout`]. Waiting for one's turn counts.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<(), SendError> {
        let until = Until::Deadline(Deadline::after(timeout));
        self.turn(until, |sender| sender.send_until(value, until))
    }
}

impl<T, C> SharedReceiver<T, C> {
    pub(crate) fn turn<X>(
        &self,
        until: Until,
        body: impl FnOnce(&mut Receiver<T, C>) -> Result<X, RecvError>,
    ) -> Result<X, RecvError> {
        let late = match until {
            Until::Now => RecvError::Empty,
            Until::Deadline(_) => RecvError::Timeout,
        };
        let make = || Receiver::new(RecvHalf::new(Hold::clone(&self.end), self.policy));
        self.turn.mine(make).with(until, body).unwrap_or(Err(late))
    }

    /// See [`Receiver::recv_bytes`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_bytes(&self, limit: Option<usize>) -> Result<Vec<u8>, RecvError> {
        self.turn(Until::NEVER, |receiver| receiver.recv_bytes(limit))
    }

    /// Closes the end for all threads. Those that are blocked on it wake and get
    /// [`RecvError::Closed`]. As [`SharedSender::close`].
    pub fn close(&self) {
        self.end.close(0);
        self.turn.closed();
    }
}

impl<T, C: Codec<T>> SharedReceiver<T, C> {
    /// See [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.turn(Until::NEVER, Receiver::recv)
    }

    /// See [`Receiver::try_recv`]. Another thread that waits for a message counts as
    /// empty.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.turn(Until::Now, Receiver::try_recv)
    }

    /// See [`Receiver::recv_timeout`]. Waiting for one's turn counts.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        let until = Until::Deadline(Deadline::after(timeout));
        self.turn(until, |receiver| receiver.recv_until(until))
    }
}

impl<S, R, C> SharedConnection<S, R, C> {
    /// The direction to the other end.
    pub fn sender(&self) -> &SharedSender<S, C> {
        &self.sender
    }

    /// The direction from the other end.
    pub fn receiver(&self) -> &SharedReceiver<R, C> {
        &self.receiver
    }

    /// Closes the end for all threads. Those that are blocked on it wake and get
    /// `Closed`.
    pub fn close(&self) {
        self.sender.close();
        self.receiver.close();
    }
}

impl<S, R, C: Codec<S> + Codec<R>> SharedConnection<S, R, C> {
    /// See [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send(&self, value: &S) -> Result<(), SendError> {
        self.sender.send(value)
    }

    /// See [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv(&self) -> Result<R, RecvError> {
        self.receiver.recv()
    }
}

// Derived, these would ask the same of T and C.
impl<T, C> Clone for SharedSender<T, C> {
    fn clone(&self) -> Self {
        Self { turn: Arc::clone(&self.turn), end: Hold::clone(&self.end), policy: self.policy }
    }
}

impl<T, C> Clone for SharedReceiver<T, C> {
    fn clone(&self) -> Self {
        Self { turn: Arc::clone(&self.turn), end: Hold::clone(&self.end), policy: self.policy }
    }
}

impl<S, R, C> Clone for SharedConnection<S, R, C> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), receiver: self.receiver.clone() }
    }
}

impl<T, C> fmt::Debug for SharedSender<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSender").field("pipe", &self.end.label).finish_non_exhaustive()
    }
}

impl<T, C> fmt::Debug for SharedReceiver<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReceiver").field("pipe", &self.end.label).finish_non_exhaustive()
    }
}

impl<S, R, C> fmt::Debug for SharedConnection<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = &self.sender.end.label;
        f.debug_struct("SharedConnection").field("pipe", label).finish_non_exhaustive()
    }
}
