//! Grants: writing a message where it will lie, reading it where it lies.
//!
//! # Why this is sound although a peer may write the bytes
//!
//! A grant never lends out the bytes: there is no `&[u8]` and no `&mut [u8]` into the
//! segment. What it offers copies between private memory and the segment, by relaxed
//! atomic accesses or assembly ([`memory`](crate::memory)), so a peer that writes at the
//! same time gives us wrong bytes and nothing worse. "Zero-copy" means that nothing is
//! copied *more* than once on each side: the writer writes its data to where the reader
//! reads them, and the reader takes the parts that it needs. Which bytes are inside was
//! checked once, when the grant was made, and is kept in private memory.
//!
//! # If the process dies
//!
//! With a [`WriteGrant`]: the message never was, and its blocks are free again. With a
//! [`ReadGrant`]: the message goes to another getter.

use super::attachment::Attachment;
use super::blocking::{Ended, GetError, PutError, Try, get_failed, put_failed, retry, wait};
use super::read_grant::ReadGrant;
use super::ring::Ring;
use super::shared::SharedRing;
use super::streaming::{Incoming, put_stream};
use super::word::{IMMEDIATE, SHUTDOWN};
use super::{TryGet, TryPut};
use crate::blocks::{Chain, Walk};
use crate::memory::OutOfBounds;
use crate::peer::Actor;
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::sync::{fence, spin_hint};
use crate::wait::{Deadline, Spinner};
use core::fmt;
use std::sync::Arc;

/// One try to put a message that is in blocks.
type PutChain = fn(&Ring, &mut Actor, &Chain) -> Result<(), TryPut>;

/// Room for a message of a certain length in blocks that nobody else uses. Dropped
/// without a commit, it never was.
///
/// Bytes that are not written have any value, such as that of earlier messages.
#[must_use = "a grant that is not committed is given up"]
pub struct WriteGrant<'a> {
    attachment: &'a Arc<Attachment>,
    /// `None` once it is committed: then it is a getter's. Elsewhere, as what a
    /// [`ReadGrant`] knows.
    chain: Option<Box<Chain>>,
}

impl WriteGrant<'_> {
    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.chain.as_ref().map_or(0, |chain| chain.len)
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `src` to the bytes from `at` on.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`], with nothing written.
    #[inline]
    pub fn write_at(&mut self, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        let Some(chain) = &self.chain else { return only_nothing(at, src.len()) };
        let pool = &self.attachment.ring.pool;
        if pool.write_value(chain, at, src) {
            return Ok(());
        }
        pool.write(chain, at, src)
    }

    /// Copies the bytes from `at` on to `to`.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`], with nothing read.
    #[inline]
    pub fn read_at(&self, at: usize, to: &mut [u8]) -> Result<(), OutOfBounds> {
        let Some(chain) = &self.chain else { return only_nothing(at, to.len()) };
        let pool = &self.attachment.ring.pool;
        if pool.read_value(chain, at, to) {
            return Ok(());
        }
        pool.read(chain, at, to)
    }

    /// Puts the message, if there is room in the ring now. Afterwards the grant is of no
    /// more use; on an error it is as before.
    ///
    /// # Errors
    ///
    /// As [`SharedRing::try_put`].
    pub fn try_commit(&mut self) -> Result<(), PutError> {
        self.check_owner()?;
        match self.commit_now(Ring::try_put_chain) {
            None => Ok(()),
            Some(why) => self.retry_commit(why),
        }
    }

    #[cold]
    fn retry_commit(&mut self, why: TryPut) -> Result<(), PutError> {
        let first = put_failed(self.attachment, why, self.len());
        retry(self.attachment, first, || self.commit_once(Ring::try_put_chain))
            .unwrap_or_else(|busy| Err(if busy { PutError::Contended } else { PutError::Full }))
    }

    /// Puts the message, waiting for room in the ring until the deadline. Else as
    /// [`try_commit`](Self::try_commit).
    ///
    /// # Errors
    ///
    /// As [`SharedRing::put`].
    pub fn commit(&mut self, spinner: &mut Spinner, deadline: Deadline) -> Result<(), PutError> {
        self.check_owner()?;
        let attachment = self.attachment;
        let ring = &attachment.ring;
        let once = || self.commit_once(Ring::try_put_chain);
        let hint = || ring.may_have_room();
        wait(attachment, ring.not_full(), spinner, deadline, hint, once)
            .unwrap_or_else(|ended| Err(put_ended(&ended, PutError::Full)))
    }

    /// One try, also after an orderly shutdown.
    pub(super) fn commit_accepted_once(&mut self) -> Try<(), PutError> {
        self.commit_once(Ring::try_put_chain_accepted)
    }

    fn commit_once(&mut self, put: PutChain) -> Try<(), PutError> {
        match self.commit_now(put) {
            None => Try::Done(Ok(())),
            Some(why) => put_failed(self.attachment, why, self.len()),
        }
    }

    /// Puts the message; says why not, if it did not.
    #[inline]
    fn commit_now(&mut self, put: PutChain) -> Option<TryPut> {
        let ours = &mut self.chain;
        // Beside: an answer of one bit comes up in a register.
        let mut error = None;
        let put = self.attachment.with_lent(|ring, actor, spares| {
            let Some(chain) = ours else { return true };
            if let Err(why) = put(ring, actor, chain) {
                error = Some(why);
                return false;
            }
            // No byte of it is ours any more.
            if let Some(chain) = ours.take() {
                spares.keep_chain(chain);
            }
            true
        });
        if put { None } else { error }
    }

    /// Whether it can be committed: a grant that a fork copied is the parent's; one that is
    /// committed is a getter's.
    ///
    /// # Errors
    ///
    /// [`PutError::Poisoned`].
    pub fn check_owner(&self) -> Result<(), PutError> {
        if self.chain.is_none() || !self.attachment.is_usable() {
            return Err(PutError::Poisoned);
        }
        Ok(())
    }
}

impl Drop for WriteGrant<'_> {
    fn drop(&mut self) {
        if let Some(chain) = &self.chain
            && !self.attachment.is_inherited()
        {
            self.attachment.ring.pool.free_all(&chain.blocks, chain.owner);
        }
    }
}

impl fmt::Debug for WriteGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGrant").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Of a grant that has no bytes any more.
fn only_nothing(at: usize, len: usize) -> Result<(), OutOfBounds> {
    let outside = OutOfBounds { at: at as u64, len: len as u64 };
    (at == 0 && len == 0).then_some(()).ok_or(outside)
}

pub(super) fn put_ended(ended: &Ended, at_deadline: PutError) -> PutError {
    match ended {
        Ended::TimedOut => at_deadline,
        Ended::Interrupted => PutError::Interrupted,
    }
}

impl SharedRing {
    /// Room in blocks for a message of `len` bytes, if there is now. Never waits.
    ///
    /// # Errors
    ///
    /// [`PutError::NoMemory`]; [`PutError::TooLong`]; the lasting ones.
    #[inline]
    pub fn try_reserve(&self, len: usize) -> Result<WriteGrant<'_>, PutError> {
        let attachment = self.attachment()?;
        match reserve_once(attachment, len, SHUTDOWN) {
            Try::Done(result) => result,
            _ => Err(PutError::NoMemory),
        }
    }

    /// As [`try_reserve`](Self::try_reserve), waiting for blocks until the deadline.
    ///
    /// # Errors
    ///
    /// As there; [`PutError::NoMemory`] at the deadline; [`PutError::Interrupted`].
    pub fn reserve(
        &self,
        len: usize,
        spinner: &mut Spinner,
        deadline: Deadline,
    ) -> Result<WriteGrant<'_>, PutError> {
        wait_to_reserve(self.attachment()?, len, spinner, deadline)
    }

    /// Takes the next message without copying it, if there is one now.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Self::try_get).
    #[inline]
    pub fn try_get_ref(&self) -> Result<ReadGrant, GetError> {
        let attachment = self.attachment()?;
        // The common case apart, as in `try_get`.
        match ReadGrant::take(attachment) {
            Ok(grant) => Ok(grant),
            Err(why) => try_ref_failed(attachment, why),
        }
    }

    /// Takes the next message without copying it, waiting for it until the deadline.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_ref(
        &self,
        spinner: &mut Spinner,
        deadline: Deadline,
    ) -> Result<ReadGrant, GetError> {
        let attachment = self.attachment()?;
        let ring = &attachment.ring;
        let hint = || ring.may_have_message();
        let once = || ref_once(attachment);
        wait(attachment, ring.not_empty(), spinner, deadline, hint, once).unwrap_or_else(|ended| {
            Err(match ended {
                Ended::TimedOut => GetError::Empty,
                Ended::Interrupted => GetError::Interrupted,
            })
        })
    }

    /// Looks up to `looks` times, about 30 ns apart, whether a get may find a message: less is
    /// in the way of a putter than a try in vain.
    #[inline]
    pub fn look_for_message(&self, looks: u32) {
        if let Some(attachment) = self.quick() {
            look(looks, || attachment.ring.may_have_message());
        }
    }

    /// As [`look_for_message`](Self::look_for_message), whether a put may find room in the ring.
    #[inline]
    pub fn look_for_room(&self, looks: u32) {
        if let Some(attachment) = self.quick() {
            look(looks, || attachment.ring.may_have_room());
        }
    }

    /// The longest message: a streamed one, if there can be any.
    pub fn max_message(&self) -> usize {
        self.any_attachment().ring.max_message()
    }

    /// The longest message that is not streamed: a slot's, or the whole pool.
    pub fn max_kept(&self) -> usize {
        self.any_attachment().ring.max_kept()
    }

    /// Blocks of the pool that are not free, for inspection.
    pub fn blocks_used(&self) -> u64 {
        self.any_attachment().ring.blocks_used()
    }
}

pub(super) fn ref_once(attachment: &Arc<Attachment>) -> Try<ReadGrant, GetError> {
    match ReadGrant::take(attachment) {
        Ok(grant) => Try::Done(Ok(grant)),
        Err(why) => ref_failed(attachment, why),
    }
}

fn ref_failed(attachment: &Arc<Attachment>, why: TryGet) -> Try<ReadGrant, GetError> {
    match why {
        // Dropped: it is for a call that copies.
        TryGet::Stream(place) => Try::Done(Err(match Incoming::open(attachment, place) {
            Ok(stream) => GetError::Streamed { len: stream.len() },
            Err(error) => error,
        })),
        why => get_failed(attachment, why),
    }
}

#[cold]
fn try_ref_failed(attachment: &Arc<Attachment>, why: TryGet) -> Result<ReadGrant, GetError> {
    retry(attachment, ref_failed(attachment, why), || ref_once(attachment))
        .unwrap_or_else(|busy| Err(if busy { GetError::Contended } else { GetError::Empty }))
}

#[inline]
fn look(looks: u32, ready: impl Fn() -> bool) {
    for _ in 1..looks {
        if ready() {
            break;
        }
        spin_hint();
    }
}

/// `refused` are the flags of a shutdown that make it fail.
#[inline]
fn reserve_once(
    attachment: &Arc<Attachment>,
    len: usize,
    refused: u64,
) -> Try<WriteGrant<'_>, PutError> {
    let ring = &attachment.ring;
    // Without a pool nobody would ever make room, not even for nothing.
    if len > ring.pool.bytes() || ring.pool.bytes() == 0 {
        let limit = ring.max_kept();
        return Try::Done(Err(PutError::TooLong { len, limit }));
    }
    // Relaxed: a look. A shutdown is no later than the commit, and who may sleep on this has
    // looked at it behind a fence.
    if ring.enqueue_pos.load(Relaxed) & refused != 0 {
        return Try::Done(Err(PutError::ShutDown));
    }
    let spare = attachment.spares(|spares| spares.chain.take()).flatten();
    let mut chain = spare.unwrap_or_default();
    if ring.pool.take_to(len, attachment.participant(), &mut chain) {
        ring.pool.locate(&mut chain);
        return Try::Done(Ok(WriteGrant { attachment, chain: Some(chain) }));
    }
    attachment.spares(|spares| spares.keep_chain(chain));
    Try::Blocked
}

/// As [`reserve_once`], for one who waits: takes nothing if it is not enough.
fn reserve_waiting(
    attachment: &Arc<Attachment>,
    len: usize,
    refused: u64,
) -> Try<WriteGrant<'_>, PutError> {
    let ring = &attachment.ring;
    // ORDERING event-announce (SeqCst): a sleeper announced itself before this look at the
    // owner words; who frees a block changes its word by a SeqCst RMW before the look for
    // sleepers. One of the two sees the other.
    fence(SeqCst);
    let refused_now = ring.enqueue_pos.load(SeqCst) & refused != 0;
    if refused_now || len > ring.pool.bytes() || ring.pool.has_room(len) {
        return reserve_once(attachment, len, refused);
    }
    Try::Blocked
}

#[cold]
fn wait_to_reserve<'a>(
    attachment: &'a Arc<Attachment>,
    len: usize,
    spinner: &mut Spinner,
    deadline: Deadline,
) -> Result<WriteGrant<'a>, PutError> {
    let pool = &attachment.ring.pool;
    let once = || reserve_waiting(attachment, len, SHUTDOWN);
    let walk = Walk::default();
    let hint = || pool.seems_to_have_room(len, &walk);
    wait(attachment, pool.freed(), spinner, deadline, hint, once)
        .unwrap_or_else(|ended| Err(put_ended(&ended, PutError::NoMemory)))
}

/// A message that is longer than a slot: puts it in blocks, if there is room now.
pub(super) fn try_put_long(attachment: &Arc<Attachment>, message: &[u8]) -> Result<(), PutError> {
    if attachment.ring.is_streamed(message.len()) {
        let over = attachment.ring.is_shut_down();
        return Err(if over { PutError::ShutDown } else { PutError::WouldStream });
    }
    if attachment.ring.is_full() && message.len() <= attachment.ring.pool.bytes() {
        // Before the copy, and not "no memory" where both are true.
        return Err(PutError::Full);
    }
    match reserve_once(attachment, message.len(), SHUTDOWN) {
        Try::Done(grant) => {
            let mut grant = grant?;
            fill(&mut grant, message)?;
            grant.try_commit()
        }
        _ => Err(PutError::NoMemory),
    }
}

/// As [`try_put_long`], waiting for blocks and then for a slot.
pub(super) fn put_long(
    attachment: &Arc<Attachment>,
    message: &[u8],
    spinner: &mut Spinner,
    deadline: Deadline,
) -> Result<(), PutError> {
    if attachment.ring.is_streamed(message.len()) {
        return put_stream(attachment, message, spinner, deadline, None);
    }
    let mut grant = match reserve_once(attachment, message.len(), SHUTDOWN) {
        Try::Done(result) => result,
        _ => wait_to_reserve(attachment, message.len(), spinner, deadline),
    }?;
    fill(&mut grant, message)?;
    if attachment.ring.may_have_room() {
        let Some(why) = grant.commit_now(Ring::try_put_chain) else { return Ok(()) };
        if let Try::Done(lasting) = put_failed(attachment, why, message.len()) {
            return lasting;
        }
    }
    grant.commit(spinner, deadline)
}

/// Blocks for a message that was accepted before, filled; also after an orderly shutdown.
pub(super) fn accepted_long<'a>(
    attachment: &'a Arc<Attachment>,
    message: &[u8],
) -> Try<WriteGrant<'a>, PutError> {
    match reserve_waiting(attachment, message.len(), IMMEDIATE) {
        Try::Done(Ok(mut grant)) => Try::Done(fill(&mut grant, message).map(|()| grant)),
        other => other,
    }
}

fn fill(grant: &mut WriteGrant<'_>, message: &[u8]) -> Result<(), PutError> {
    let (len, limit) = (message.len(), grant.len());
    // Never: the grant was made for it.
    grant.write_at(0, message).map_err(|_| PutError::TooLong { len, limit })
}
