//! Pipes that two unrelated processes find by name.
//!
//! One process creates a pipe under a name and holds one end; another opens the other.
//! The name is gone once it was opened, and each end is opened once: nobody can come in
//! later or twice. A receiver whose peer has not come yet waits for it; a sender fills
//! the ring.
//!
//! There is no token here. The process's lock on its end's byte says that it lives, and
//! the watcher asks for the other's every 50 ms. So a named end stays with the process
//! that opened it: it cannot be handed over, and a copy made by fork holds nothing.

use crate::builder::{Builder, Expected, connection, duplex_signature};
use crate::end::{End, Hold};
use crate::error::OpenError;
use crate::layout::{NEVER_OPENED, OPENED, Reach, Shape, Side};
use crate::recv::RecvHalf;
use crate::send::SendHalf;
use crate::{Connection, Receiver, Sender};
use ringway_codec::{Codec, signature_of};
use ringway_core::Error;
use ringway_core::segment::{Name, NewSegment, Place, Segment};
use ringway_core::sync::Ordering::{Acquire, Relaxed};
use rustix::fs::Mode;

impl Builder {
    /// Creates a two-way pipe under `name` and returns one end. Mode 0600: only this
    /// user can open the other.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`], [`Error::OutOfRange`], [`Error::Os`], in
    /// [`OpenError::Engine`]. Nothing is left behind.
    pub fn create_duplex<S, R, C>(&self, name: &str) -> Result<Connection<S, R, C>, OpenError>
    where
        C: Codec<S> + Codec<R>,
    {
        let signature = self.signature(duplex_signature::<R, S, C>());
        Ok(connection(&self.create(name, true, Side::A, signature)?, self.policy))
    }

    /// Opens the other end of the two-way pipe that was created under `name`. The name
    /// is gone then.
    ///
    /// # Errors
    ///
    /// [`OpenError::EndInUse`] and [`OpenError::Spent`] for the second opener;
    /// [`OpenError::WrongDirection`]; [`Error::NotFound`], [`Error::Incompatible`],
    /// [`Error::Corrupted`], [`Error::Os`], in [`OpenError::Engine`].
    pub fn open_duplex<S, R, C>(&self, name: &str) -> Result<Connection<S, R, C>, OpenError>
    where
        C: Codec<S> + Codec<R>,
    {
        let signature = self.signature(duplex_signature::<S, R, C>());
        Ok(connection(&self.open(name, true, Side::B, signature)?, self.policy))
    }

    /// Creates a one-way pipe under `name` and returns the receiving end.
    ///
    /// # Errors
    ///
    /// As [`create_duplex`](Self::create_duplex).
    pub fn create_receiver<T, C: Codec<T>>(&self, name: &str) -> Result<Receiver<T, C>, OpenError> {
        let end = self.create(name, false, Side::A, self.signature(signature_of::<T, C>()))?;
        Ok(Receiver::new(RecvHalf::new(end, self.policy)))
    }

    /// Creates a one-way pipe under `name` and returns the sending end.
    ///
    /// # Errors
    ///
    /// As [`create_duplex`](Self::create_duplex).
    pub fn create_sender<T, C: Codec<T>>(&self, name: &str) -> Result<Sender<T, C>, OpenError> {
        let end = self.create(name, false, Side::B, self.signature(signature_of::<T, C>()))?;
        Ok(Sender::new(SendHalf::new(end, self.policy)))
    }

    /// Opens the receiving end of the one-way pipe under `name`.
    ///
    /// # Errors
    ///
    /// As [`open_duplex`](Self::open_duplex).
    pub fn open_receiver<T, C: Codec<T>>(&self, name: &str) -> Result<Receiver<T, C>, OpenError> {
        let end = self.open(name, false, Side::A, self.signature(signature_of::<T, C>()))?;
        Ok(Receiver::new(RecvHalf::new(end, self.policy)))
    }

    /// Opens the sending end of the one-way pipe under `name`.
    ///
    /// # Errors
    ///
    /// As [`open_duplex`](Self::open_duplex).
    pub fn open_sender<T, C: Codec<T>>(&self, name: &str) -> Result<Sender<T, C>, OpenError> {
        let end = self.open(name, false, Side::B, self.signature(signature_of::<T, C>()))?;
        Ok(Sender::new(SendHalf::new(end, self.policy)))
    }

    fn create(
        &self,
        name: &str,
        duplex: bool,
        side: Side,
        signature: u64,
    ) -> Result<Hold, OpenError> {
        let shape = self.shape(duplex, Reach::Named, side)?;
        let name = Name::new(name)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let segment = NewSegment::create(Place::Named(&name, mode), &shape.spec(signature))?;
        // The end is taken before the name exists: whoever opens the pipe finds its
        // creator alive.
        let end = named_end(shape, side, segment.unpublished())?;
        end.take(0)?;
        // Relaxed: published with the segment.
        end.presence().store(OPENED, Relaxed);
        segment.publish()?;
        Ok(end)
    }

    fn open(
        &self,
        name: &str,
        duplex: bool,
        side: Side,
        signature: u64,
    ) -> Result<Hold, OpenError> {
        let name = Name::new(name)?;
        let segment = Segment::open_named(&name)?;
        let shape = Expected { duplex, reach: Reach::Named, signature }.check(&segment)?;
        if shape.creator == side {
            let (is, wanted) = match (duplex, side) {
                (false, Side::A) => ("sends", "receives"),
                _ => ("receives", "sends"),
            };
            return Err(OpenError::WrongDirection { is, wanted });
        }
        let end = named_end(shape, side, &segment)?;
        end.take(0)?;
        // The lock is held: no other process can be here.
        // ORDERING named-presence (acq-rel): the peer that sees OPENED (acquire, in
        // `peer_is_gone`) finds the lock taken.
        let fresh = end.presence().compare_exchange(
            NEVER_OPENED,
            OPENED,
            ringway_core::sync::Ordering::AcqRel,
            Acquire,
        );
        if fresh.is_err() {
            return Err(OpenError::Spent);
        }
        // Gone already if somebody removed it; the pipe is open all the same.
        let _ = name.remove();
        Ok(end)
    }
}

fn named_end(shape: Shape, side: Side, segment: &Segment) -> Result<Hold, Error> {
    End::hold(segment.memory(), shape, side, segment.share()?, None, segment.label())
}
