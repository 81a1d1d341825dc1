//! The rival that Ringway must beat: a ring under a lock in shared memory, made of
//! `shared_memory` and `raw_sync` as their examples do. Kill a holder of the lock, and
//! it is lost for ever; that is not measured here.
#![allow(unsafe_code, reason = "raw_sync takes raw addresses")]

use crate::Fallible;
use crate::control::Parcel;
use crate::shape::{CAPACITY, Queued};
use raw_sync::Timeout;
use raw_sync::events::{Event, EventImpl, EventInit, EventState};
use raw_sync::locks::{LockImpl, LockInit, Mutex};
use shared_memory::{Shmem, ShmemConf};

/// Room for the lock and the two events.
const HEAD: usize = 1024;

/// The lock-based ring.
pub struct LockBased<const W: usize> {
    lock: Box<dyn LockImpl>,
    not_empty: Box<dyn EventImpl>,
    not_full: Box<dyn EventImpl>,
    // Last: the others point into it.
    shared: Shmem,
}

/// What the lock guards: two counts, then the items.
#[repr(C)]
struct Ring<const W: usize> {
    put: usize,
    taken: usize,
    items: [[u64; W]; CAPACITY],
}

fn said(error: Box<dyn std::error::Error>) -> Box<dyn std::error::Error + Send + Sync> {
    error.to_string().into()
}

/// The event at `at`, in the first HEAD bytes of the shared memory, which outlives it.
fn event(at: *mut u8, fresh: bool) -> Fallible<(Box<dyn EventImpl>, usize)> {
    let made = if fresh {
        // SAFETY: `at` is aligned to 64 and mapped, with room to spare.
        unsafe { Event::new(at, true) }
    } else {
        // SAFETY: as above; the creator made the event there.
        unsafe { Event::from_existing(at) }
    };
    made.map_err(said)
}

impl<const W: usize> LockBased<W> {
    fn over(shared: Shmem, fresh: bool) -> Fallible<Self> {
        let base = shared.as_ptr();
        // Where each object begins follows from the sizes that raw_sync reports, the same in
        // every process; the three together take far less than HEAD.
        let data = base.wrapping_add(HEAD);
        let made = if fresh {
            // SAFETY: HEAD bytes and a `Ring` lie behind `base`, page-aligned, as long as
            // `shared` lives; all bits zero are a ring.
            unsafe { Mutex::new(base, data) }
        } else {
            // SAFETY: as above; the creator made the lock there.
            unsafe { Mutex::from_existing(base, data) }
        };
        let (lock, used) = made.map_err(said)?;
        let at = base.wrapping_add(used.next_multiple_of(64));
        let (not_empty, used) = event(at, fresh)?;
        let (not_full, _) = event(at.wrapping_add(used.next_multiple_of(64)), fresh)?;
        Ok(Self { lock, not_empty, not_full, shared })
    }

    /// Runs `body` under the lock.
    fn locked<R>(&self, body: impl FnOnce(&mut Ring<W>) -> R) -> Fallible<R> {
        let guard = self.lock.lock().map_err(said)?;
        // SAFETY: the guard's pointer is to the `Ring`, and the lock keeps others out.
        let ring = unsafe { &mut *(*guard).cast::<Ring<W>>() };
        Ok(body(ring))
    }
}

impl<const W: usize> Queued<W> for LockBased<W> {
    const NAME: &'static str = "raw_sync";

    fn create() -> Fallible<Self> {
        Self::over(ShmemConf::new().size(HEAD + size_of::<Ring<W>>()).create()?, true)
    }

    fn parcel(&self, _place: usize) -> Fallible<Parcel> {
        Ok(Parcel { bytes: self.shared.get_os_id().into(), descriptors: Vec::new() })
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let id = String::from_utf8(parcel.bytes)?;
        Self::over(ShmemConf::new().os_id(id).open()?, false)
    }

    fn put(&mut self, item: &[u64; W]) -> Fallible {
        loop {
            let room = self.locked(|ring| {
                let room = CAPACITY - (ring.put - ring.taken);
                if room > 0 {
                    ring.items[ring.put % CAPACITY] = *item;
                    ring.put += 1;
                }
                room
            })?;
            // An event wakes one: whoever leaves something for others passes it on.
            if room > 1 {
                self.not_full.set(EventState::Signaled).map_err(said)?;
            }
            if room > 0 {
                return self.not_empty.set(EventState::Signaled).map_err(said);
            }
            self.not_full.wait(Timeout::Infinite).map_err(said)?;
        }
    }

    fn get(&mut self) -> Fallible<[u64; W]> {
        loop {
            let (got, left) = self.locked(|ring| {
                let left = ring.put - ring.taken;
                let got = (left > 0).then(|| ring.items[ring.taken % CAPACITY]);
                ring.taken += usize::from(left > 0);
                (got, left)
            })?;
            if left > 1 {
                self.not_empty.set(EventState::Signaled).map_err(said)?;
            }
            if let Some(got) = got {
                self.not_full.set(EventState::Signaled).map_err(said)?;
                return Ok(got);
            }
            self.not_empty.wait(Timeout::Infinite).map_err(said)?;
        }
    }
}
