//! A ring in a segment, as a handle.

use super::attachment::Attachment;
use super::blocking::{GetError, PutError};
use super::keeper::Stats;
use super::layout::{Geometry, Options};
use crate::error::{Error, Result};
use crate::peer::guardian::WatchMode;
use crate::peer::{Identity, Standing};
use crate::process::global;
use crate::segment::{Kind, NewSegment, Place, Segment, Spec};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

/// A ring that processes share. Clones are handles to the same attachment; one process
/// has one per ring, however often it opens it.
///
/// All methods may be called by any number of threads at a time. A forked child that
/// uses an inherited handle attaches anew, as a participant of its own.
///
/// # If a peer dies
///
/// Its claims are undone and its messages redelivered by whoever notices: the
/// [guardian](crate::peer::guardian) of any survivor within a millisecond, as a rule;
/// calls that meet a claim pending for over a millisecond; every new attachment when it
/// joins; and blocked calls four times a second where there is no guardian.
#[derive(Clone)]
pub struct SharedRing {
    link: Arc<Link>,
}

/// An attachment, and the one that replaced it in a forked child.
struct Link {
    attachment: Arc<Attachment>,
    next: OnceLock<Arc<Link>>,
}

impl SharedRing {
    /// Creates a segment with an empty ring and attaches to it. `signature` stands for
    /// the element type and its encoding.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for impossible options; [`Error::NameTaken`];
    /// [`Error::Os`] when memory, descriptors or permissions do not suffice.
    pub fn create(place: Place<'_>, options: &Options, signature: u64) -> Result<Self> {
        let geometry = Geometry::new(options)?;
        let spec = Spec {
            kind: Kind::Queue,
            signature,
            params: geometry.params(),
            body_len: geometry.body_len(),
        };
        // All zero is an empty ring.
        Self::open(NewSegment::create(place, &spec)?.publish()?, signature)
    }

    /// Attaches to the ring in a segment. The segment's own descriptor is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Incompatible`] for another kind or element type; [`Error::Corrupted`];
    /// [`Error::TooManyParticipants`], [`Error::TooManyActors`]; [`Error::Os`].
    pub fn open(segment: Segment, signature: u64) -> Result<Self> {
        segment.header().expect(segment.label(), Kind::Queue, signature)?;
        let key = segment.key()?;
        let (memory, header, fd, label) = segment.into_parts();
        let geometry = Geometry::from_params(&header.params, memory.len(), &label)?;
        let attachment = Attachment::obtain(&memory, geometry, key, fd.as_fd(), &label)?;
        Ok(Self { link: Arc::new(Link { attachment, next: OnceLock::new() }) })
    }

    /// This process's attachment.
    #[inline]
    pub(super) fn attachment(&self) -> core::result::Result<&Arc<Attachment>, Unusable> {
        let attachment = &self.link.attachment;
        if attachment.is_usable() { Ok(attachment) } else { self.attachment_slow() }
    }

    /// This process's attachment, if it has one already.
    #[inline]
    pub(super) fn quick(&self) -> Option<&Arc<Attachment>> {
        let attachment = &self.link.attachment;
        if attachment.is_usable() { Some(attachment) } else { self.quick_after_fork() }
    }

    #[inline(never)]
    fn quick_after_fork(&self) -> Option<&Arc<Attachment>> {
        let mut link = &self.link;
        // Comes round once per fork between the handle's making and this process.
        while !link.attachment.is_usable() {
            link = link.next.get()?;
        }
        Some(&link.attachment)
    }

    /// The attachment the handle was made with, for looks that need none of their own.
    pub(super) fn any_attachment(&self) -> &Attachment {
        &self.link.attachment
    }

    /// The handle was inherited by fork, or its memory is corrupted.
    #[cold]
    fn attachment_slow(&self) -> core::result::Result<&Arc<Attachment>, Unusable> {
        let mut link = &self.link;
        loop {
            if link.attachment.is_usable() {
                return Ok(&link.attachment);
            }
            if !link.attachment.is_inherited() {
                return Err(Unusable::Poisoned);
            }
            link = match link.next.get() {
                Some(next) => next,
                None => {
                    let attachment = link.attachment.again().map_err(Unusable::Attach)?;
                    let new = Arc::new(Link { attachment, next: OnceLock::new() });
                    // Under the lock that fork waits for: a child never inherits a
                    // cell that a thread was about to fill.
                    let global = global::lock();
                    let next = link.next.get_or_init(|| new);
                    drop(global);
                    next
                }
            };
        }
    }

    /// A fresh descriptor of the segment to hand to another process, which opens it by
    /// [`Segment::from_fd`].
    ///
    /// # Errors
    ///
    /// [`Error::Os`] without `/proc`, or when descriptors run out.
    pub fn share(&self) -> Result<OwnedFd> {
        self.attachment()?.share()
    }

    /// The most messages at a time, exactly.
    pub fn capacity(&self) -> u64 {
        self.link.attachment.ring.capacity()
    }

    /// Bytes of the largest message that fits a slot.
    pub fn payload_size(&self) -> usize {
        self.link.attachment.ring.payload_size()
    }

    /// What messages call the segment.
    pub fn label(&self) -> &str {
        self.link.attachment.label()
    }

    /// How many messages are in the ring; [`overflow`](Self::overflow) not included.
    /// Exact for completed operations; may be wrong as soon as it returns.
    pub fn len(&self) -> u64 {
        self.link.attachment.ring.len()
    }

    /// Whether there is no message. May be wrong as soon as it returns.
    pub fn is_empty(&self) -> bool {
        self.link.attachment.ring.is_empty()
    }

    /// Whether a put would find no room. May be wrong as soon as it returns.
    pub fn is_full(&self) -> bool {
        self.link.attachment.ring.is_full()
    }

    /// Ends putting for everybody, for ever; with `immediate`, also throws away what
    /// is there. Blocked calls wake. Idempotent; does not block.
    ///
    /// # Errors
    ///
    /// As a put.
    pub fn shutdown(&self, immediate: bool) -> core::result::Result<(), PutError> {
        let attachment = self.attachment()?;
        attachment.with_actor(|ring, actor| ring.shutdown(actor, immediate));
        Ok(())
    }

    /// Whether the ring was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.link.attachment.ring.is_shut_down()
    }

    /// Says how many accepted items wait in this process's memory for room. One thread
    /// at a time: decrease it after the put.
    ///
    /// # Errors
    ///
    /// As a put.
    pub fn set_overflow(&self, items: u64) -> core::result::Result<(), PutError> {
        let attachment = self.attachment()?;
        attachment.ring.participants().set_overflow(attachment.participant(), items);
        attachment.overflow_has_changed(items);
        Ok(())
    }

    /// Accepted items that wait in the memory of all participants.
    pub fn overflow(&self) -> u64 {
        self.link.attachment.ring.participants().overflow()
    }

    /// Who is attached, this process included, as they say.
    pub fn participants(&self) -> Vec<Identity> {
        let table = self.link.attachment.ring.participants();
        let live = (1..=table.count()).filter(|id| table.standing(*id) == Standing::Live);
        live.map(|id| table.identity(id)).collect()
    }

    /// Asks the kernel about every participant now and repairs the dead: 0.6 us each,
    /// and time in proportion to the slots for each dead.
    ///
    /// # Errors
    ///
    /// As a put.
    pub fn repair(&self) -> core::result::Result<(), PutError> {
        self.attachment()?.bury_the_dead();
        Ok(())
    }

    /// Whether this process's guardian looks after this ring, whatever
    /// [`Settings::guardian`](crate::peer::guardian::Settings::guardian) said when it
    /// attached. Holds for all handles of this process.
    ///
    /// # Errors
    ///
    /// As a put.
    pub fn set_guarded(&self, on: bool) -> core::result::Result<(), PutError> {
        self.attachment()?.set_guarded(on);
        Ok(())
    }

    /// How this process hears of deaths in this ring, and others of its own.
    pub fn watch_mode(&self) -> WatchMode {
        self.stats().mode
    }

    /// What this process has seen of deaths in this ring, and done about them.
    pub fn stats(&self) -> Stats {
        match self.attachment() {
            Ok(attachment) => attachment.stats(),
            Err(_) => self.link.attachment.stats(),
        }
    }
}

/// Why a handle cannot be used.
pub(super) enum Unusable {
    Poisoned,
    Attach(Error),
}

impl From<Unusable> for Error {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::Poisoned => Self::corrupted("the ring", "as found before"),
            Unusable::Attach(error) => error,
        }
    }
}

impl From<Unusable> for PutError {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::Poisoned => Self::Poisoned,
            Unusable::Attach(error) => Self::Attach(error),
        }
    }
}

impl From<Unusable> for GetError {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::Poisoned => Self::Poisoned,
            Unusable::Attach(error) => Self::Attach(error),
        }
    }
}
