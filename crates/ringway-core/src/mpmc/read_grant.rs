//! A message that is read where it lies.

use super::attachment::Attachment;
use super::blocking::GetError;
use super::contents::Contents;
use super::get::TryGet;
use super::long::Place;
use super::ring::Ring;
use crate::memory::{OutOfBounds, Run};
use core::fmt;
use std::sync::Arc;
use std::time::Instant;

/// A message that was taken and not yet given up. Nobody else gets it meanwhile, and
/// nobody waits for it: its slot goes on, unless all lease records are in use.
///
/// [`release`](Self::release) ends it. Dropped without, or with its process, the message
/// goes to another getter, perhaps after newer ones.
#[must_use = "a grant that is dropped gives the message to another getter"]
pub struct ReadGrant {
    held: Box<Held>,
}

/// What a grant knows. It stays where it was written first: a grant goes up through several calls,
/// and to move all of this each time, by wide loads right behind narrow stores, took 25 ns. What a
/// released one had is kept for the thread's next ([`Spares`](super::lend::Spares)).
#[derive(Default)]
pub(super) struct Held {
    /// Where the message is. `None` before there is one, and after the release.
    taken: Option<(Arc<Attachment>, Place)>,
    contents: Contents,
    /// It was counted as a task when it was taken.
    task: bool,
    /// It is known as one that keeps its slot.
    kept: bool,
    /// For those who time what getters do.
    begun: Option<Instant>,
}

impl ReadGrant {
    /// For a message at `place` that this process has just taken.
    pub(super) fn open(attachment: &Arc<Attachment>, place: Place) -> Result<Self, GetError> {
        let spare = attachment.spares(|spares| spares.held.take()).flatten();
        let mut held = spare.unwrap_or_default();
        if !attachment.ring.contents(place, &mut held.contents) {
            attachment.with_actor(|ring, actor| ring.release_taken(actor, place));
            attachment.poison();
            return Err(GetError::Corrupted("the blocks of a message"));
        }
        held.begin(attachment, place);
        Ok(Self { held })
    }

    /// Takes a message, for a caller to keep.
    #[inline]
    pub(super) fn take(attachment: &Arc<Attachment>) -> Result<Self, TryGet> {
        // Beside: a result of one word comes up in a register.
        let mut error = TryGet::Empty;
        let held = attachment.with_lent(|ring, actor, spares| {
            let mut held = spares.held.take().unwrap_or_default();
            match ring.try_take_with(actor, &mut held.contents) {
                Ok(place) => {
                    held.begin(attachment, place);
                    held.lend(ring, place);
                    Some(held)
                }
                Err(why) => {
                    spares.keep_held(held);
                    error = why;
                    None
                }
            }
        });
        held.map(|held| Self { held }).ok_or(error)
    }

    /// Remembers that the message counts as a task of this process.
    pub(super) fn set_task(&mut self) {
        self.held.task = true;
    }

    /// Bytes of the message.
    #[inline]
    pub fn len(&self) -> usize {
        self.held.contents.len()
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `at` on to `to`.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`], with nothing read.
    #[inline]
    pub fn read_at(&self, at: usize, to: &mut [u8]) -> Result<(), OutOfBounds> {
        let Held { taken: Some((attachment, place)), contents, .. } = &*self.held else {
            // Never: only what holds a message becomes a grant.
            return Err(OutOfBounds { at: at as u64, len: to.len() as u64 });
        };
        let ring = &attachment.ring;
        if ring.read_value(contents, at, to) {
            return Ok(());
        }
        ring.copy_contents(*place, contents, at, to)
    }

    /// Its bytes from `at` on, up to the end of the block that has that one; `None` of a message
    /// that is in no block, or has no such byte.
    #[inline]
    pub fn run(&self, at: usize) -> Option<Run<'_>> {
        let (attachment, _) = self.held.taken.as_ref()?;
        attachment.ring.run(&self.held.contents, at)
    }

    /// COMMIT: the message is taken for good, and its memory free.
    #[inline]
    pub fn release(self) {
        Held::commit(self.held);
    }
}

impl Held {
    /// Whether its list of blocks takes no memory of its own.
    pub(super) fn is_small(&self) -> bool {
        self.contents.0.is_small()
    }

    /// The message that is described is there now.
    #[inline]
    fn begin(&mut self, attachment: &Arc<Attachment>, place: Place) {
        let ring = &attachment.ring;
        self.taken = Some((Arc::clone(attachment), place));
        (self.task, self.kept) = (false, false);
        self.begun = ring.pool.read_times().begin(self.contents.len());
        ring.locate(&mut self.contents);
    }

    /// For a caller to keep.
    #[inline]
    fn lend(&mut self, ring: &Ring, place: Place) {
        if let Some(position) = place.position() {
            ring.kept.begin(ring.positions.in_slot(position));
            self.kept = true;
        }
    }

    /// What a caller kept is settled now.
    fn settle(&self, ring: &Ring, place: Place) {
        if self.kept
            && let Some(position) = place.position()
        {
            ring.kept.end(ring.positions.in_slot(position));
        }
    }

    fn commit(mut held: Box<Self>) {
        let Some((attachment, place)) = held.taken.take() else { return };
        // A copy that a fork made releases nothing: the parent has it.
        if attachment.is_inherited() {
            return;
        }
        held.settle(&attachment.ring, place);
        attachment.ring.pool.read_times().end(held.begun, held.contents.len());
        let kept = held.kept;
        let mut held = Some(held);
        attachment.with_lent(|ring, actor, spares| {
            let Some(held) = held.take() else { return };
            let contents = &held.contents;
            if held.task {
                actor.counting(|actor| ring.release_contents(actor, place, contents));
            } else {
                ring.release_contents(actor, place, contents);
            }
            spares.keep_held(held);
        });
        if kept {
            // As for those in records, which `vacate` tells of.
            attachment.ring.note_end();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some((attachment, place)) = self.taken.take() else { return };
        // A copy that a fork made gives nothing back: the parent has it.
        if !attachment.is_inherited() {
            self.settle(&attachment.ring, place);
            attachment.ring.give_back(place);
            if self.task {
                attachment.forget_task();
            }
        }
    }
}

impl fmt::Debug for ReadGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGrant").field("len", &self.len()).finish_non_exhaustive()
    }
}
