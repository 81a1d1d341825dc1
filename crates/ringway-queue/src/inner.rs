//! A handle without its types.

use crate::error::{
    GetError, JoinThreadError, OpenError, PutReason, ShutDownError, put_reason, unusable,
};
use crate::local::Local;
use crate::long::NotHere;
use crate::overflow::Overflow;
use crate::scratch;
use crate::shape::{Kind, Shape};
use crate::until::Until;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{Acquire, Release};
use ringway_core::mpmc::{self, QuickGet, SharedRing};
use ringway_core::segment::Segment;
use ringway_core::wait::WaitPolicy;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What the typed queues wrap.
pub(crate) struct Inner {
    pub(crate) ring: SharedRing,
    /// For queues without a limit.
    local: Option<Arc<Local>>,
    kind: Kind,
    named: bool,
    pub(crate) policy: WaitPolicy,
    limit: usize,
    closed: AtomicBool,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self {
            ring: self.ring.clone(),
            local: self.local.clone(),
            closed: AtomicBool::new(self.is_closed()),
            ..*self
        }
    }
}

impl Inner {
    /// Attaches to the queue in a segment whose signature was checked.
    pub(crate) fn attach(
        segment: Segment,
        kind: Kind,
        named: bool,
        policy: WaitPolicy,
    ) -> Result<Self, OpenError> {
        let shape = Shape::read(segment.header(), segment.label())?;
        shape.expect(kind, segment.label())?;
        let (key, signature) = (segment.key()?, segment.header().signature);
        let ring = SharedRing::open(segment, signature)?;
        let local = shape.unbounded.then(|| Local::new(key, &ring));
        let limit = shape.limit.unwrap_or(usize::MAX).min(ring.max_message());
        Ok(Self { ring, local, kind, named, policy, limit, closed: AtomicBool::new(false) })
    }

    // ---- Items ------------------------------------------------------------------

    /// Whether a message of `len` bytes may be put.
    #[inline]
    pub(crate) fn admit(&self, len: usize) -> Result<(), PutReason> {
        let limit = self.limit;
        if len > limit { Err(PutReason::TooLarge { len, limit }) } else { Ok(()) }
    }

    /// This process's overflow, for queues without a limit.
    pub(crate) fn overflow(&self) -> Option<&Arc<Overflow>> {
        self.local.as_ref().and_then(|local| local.overflow())
    }

    /// Whether what is taken counts as a task.
    pub(crate) fn counts_tasks(&self) -> bool {
        matches!(self.kind, Kind::JoinableQueue)
    }

    /// Puts a message on the short way. `false` says only that [`put`](Self::put) knows
    /// more.
    #[inline]
    pub(crate) fn put_quick(&self, message: &[u8], until: Until) -> bool {
        self.local.is_none()
            && message.len() <= self.limit
            && self.ring.put_quick(message, || until.looks(self.policy))
    }

    /// Puts messages of 8 bytes each on the short way; says how many. 0 says only that
    /// `put_many` knows more.
    #[inline]
    pub(crate) fn put_words_quick(&self, messages: &[u8], until: Until) -> usize {
        if self.local.is_some() || self.limit < 8 {
            return 0;
        }
        self.ring.put_words_quick(messages, || until.looks(self.policy))
    }

    /// Takes messages of 8 bytes each on the short way; says how many. 0 says only that
    /// `get_many` knows more.
    #[inline]
    pub(crate) fn get_words_quick(&self, into: &mut [u8], until: Until) -> usize {
        if self.counts_tasks() {
            return 0;
        }
        self.ring.get_words_quick(into, || until.looks(self.policy))
    }

    /// Puts a message.
    pub(crate) fn put(&self, message: &[u8], until: Until) -> Result<(), PutReason> {
        self.admit(message.len())?;
        if let Some(overflow) = self.local.as_ref().and_then(|local| local.overflow()) {
            return overflow.put(message);
        }
        let put = match until {
            Until::Now => self.ring.try_put(message),
            Until::Deadline(deadline) => scratch::putting(self.policy, |spinner| {
                loop {
                    match self.ring.put(message, spinner, deadline) {
                        Err(mpmc::PutError::Interrupted) => {}
                        other => break other,
                    }
                }
            }),
        };
        put.map_err(|error| put_reason(error, self.ring.label()))
    }

    /// Takes a message on the short way.
    #[inline]
    pub(crate) fn get_quick(&self, buffer: &mut [u8], until: Until) -> QuickGet {
        if matches!(self.kind, Kind::JoinableQueue) {
            return QuickGet::MISSED;
        }
        self.ring.get_quick(buffer, || until.looks(self.policy))
    }

    /// What came of [`get_quick`](Self::get_quick). `None` says only that [`get`](Self::get)
    /// knows more.
    pub(crate) fn explain(&self, got: QuickGet) -> Option<Result<usize, NotHere>> {
        let got = self.ring.explain(got)?;
        Some(got.map_err(|error| NotHere::from(error, self.ring.label())))
    }

    /// Takes one message and says how long it is; one that is longer than the buffer and
    /// than a slot is taken and left where it is.
    pub(crate) fn get(&self, buffer: &mut [u8], until: Until) -> Result<usize, NotHere> {
        let got = self.get_quick(buffer, until);
        match got.taken() {
            Some(len) => Ok(len),
            None => self.explain(got).unwrap_or_else(|| self.get_slow(buffer, until)),
        }
    }

    #[inline(never)]
    fn get_slow(&self, buffer: &mut [u8], until: Until) -> Result<usize, NotHere> {
        let Self { ring, kind, .. } = self;
        let got = match (until, kind) {
            (Until::Now, Kind::JoinableQueue) => ring.try_get_task(buffer),
            (Until::Now, _) => ring.try_get(buffer),
            (Until::Deadline(deadline), kind) => scratch::getting(self.policy, |spinner| {
                loop {
                    let got = match kind {
                        Kind::JoinableQueue => ring.get_task(buffer, spinner, deadline),
                        _ => ring.get(buffer, spinner, deadline),
                    };
                    match got {
                        Err(mpmc::GetError::Interrupted) => {}
                        other => break other,
                    }
                }
            }),
        };
        got.map_err(|error| NotHere::from(error, ring.label()))
    }

    /// As [`get`](Self::get) without waiting, and not of streamed items.
    #[cold]
    pub(crate) fn get_beside_streams(&self, buffer: &mut [u8]) -> Result<usize, NotHere> {
        match self.ring.try_get_beside(buffer, self.counts_tasks()) {
            // The caller has waited, and may not be told that it should try again.
            Err(mpmc::GetError::Contended) => Err(NotHere::Error(GetError::Empty)),
            got => got.map_err(|error| NotHere::from(error, self.ring.label())),
        }
    }

    /// The error for an item that makes no sense.
    pub(crate) fn corrupted(&self, what: &'static str) -> GetError {
        GetError::Engine(ringway_core::Error::corrupted(self.ring.label(), what))
    }

    // ---- Looking ----------------------------------------------------------------

    pub(crate) fn len(&self) -> usize {
        let len = match self.local {
            Some(_) => self.ring.total_len(),
            None => self.ring.len(),
        };
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.local.is_none() && self.ring.is_full()
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        match self.local {
            Some(_) => None,
            None => Some(usize::try_from(self.ring.capacity()).unwrap_or(usize::MAX)),
        }
    }

    pub(crate) fn max_message(&self) -> usize {
        self.limit
    }

    // ---- Ends -------------------------------------------------------------------

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // ORDERING queue-closed (acquire): who finds it closed also sees what the closer did before.
        self.closed.load(Acquire)
    }

    pub(crate) fn close(&self) {
        // ORDERING queue-closed (release): pairs with `is_closed`.
        self.closed.store(true, Release);
    }

    pub(crate) fn join_thread(&self) -> Result<(), JoinThreadError> {
        if !self.is_closed() {
            return Err(JoinThreadError::NotClosed);
        }
        let Some(local) = &self.local else { return Ok(()) };
        let Some(overflow) = local.overflow() else { return Ok(()) };
        // Another handle of this process may be there to take it.
        let alone = Arc::strong_count(local) == 1 && overflow.is_only_handle();
        match overflow.flush(alone) {
            0 => Ok(()),
            items => Err(JoinThreadError::Lost { items }),
        }
    }

    pub(crate) fn cancel_join_thread(&self) {
        if let Some(overflow) = self.local.as_ref().and_then(|local| local.overflow()) {
            overflow.cancel();
        }
    }

    pub(crate) fn shutdown(&self, immediate: bool) -> Result<(), ShutDownError> {
        self.ring.shutdown(immediate).map_err(|error| unusable(error, self.ring.label()))?;
        // What was thrown away counts as done.
        self.ring.recount_tasks();
        Ok(())
    }

    // ---- Handing over -----------------------------------------------------------

    /// A descriptor for another process, and whether the queue has a name.
    pub(crate) fn share(&self) -> Result<(OwnedFd, bool), OpenError> {
        if self.is_closed() {
            return Err(OpenError::Closed);
        }
        let fd = self.ring.share()?;
        if let Some(overflow) = self.local.as_ref().and_then(|local| local.overflow()) {
            overflow.note_hand_over();
        }
        Ok((fd, self.named))
    }
}
