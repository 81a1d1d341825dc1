//! What many programs write themselves: a ring in shared memory, and two eventfds that
//! count the places that are taken and free. Every send and every receive is one `read`
//! and one `write`, so both sides sleep when they must.

use memmap2::MmapRaw;
use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::subject::Duplex;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::os::fd::OwnedFd;

/// Longest message.
const LONGEST: usize = 64 << 10;
const PLACES: usize = 16;

/// One direction.
struct Half {
    map: MmapRaw,
    taken: OwnedFd,
    free: OwnedFd,
    next: usize,
}

/// One end.
pub struct EventfdRing {
    to: Half,
    from: Half,
}

impl Half {
    fn create() -> Fallible<[OwnedFd; 3]> {
        let memory = memfd_create("ringway-compare", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, (PLACES * LONGEST) as u64)?;
        let flags = EventfdFlags::SEMAPHORE | EventfdFlags::CLOEXEC;
        Ok([memory, eventfd(0, flags)?, eventfd(u32::try_from(PLACES)?, flags)?])
    }

    fn open([memory, taken, free]: [OwnedFd; 3]) -> Fallible<Self> {
        Ok(Self { map: MmapRaw::map_raw(&memory)?, taken, free, next: 0 })
    }

    /// The place whose turn it is.
    fn place(&mut self) -> *mut u8 {
        let at = self.next % PLACES * LONGEST;
        self.next += 1;
        self.map.as_mut_ptr().wrapping_add(at)
    }
}

/// Takes one from a counter; waits for it.
fn down(counter: &OwnedFd) -> Fallible {
    rustix::io::read(counter, &mut [0; 8])?;
    Ok(())
}

fn up(counter: &OwnedFd) -> Fallible {
    rustix::io::write(counter, &1_u64.to_ne_bytes())?;
    Ok(())
}

fn copies(descriptors: &[OwnedFd; 3]) -> Fallible<Vec<OwnedFd>> {
    Ok(descriptors.iter().map(OwnedFd::try_clone).collect::<std::io::Result<_>>()?)
}

impl Duplex for EventfdRing {
    const NAME: &'static str = "eventfd_ring";

    fn create() -> Fallible<(Self, Parcel)> {
        let (there, back) = (Half::create()?, Half::create()?);
        let mut descriptors = copies(&there)?;
        descriptors.extend(copies(&back)?);
        Ok((Self { to: Half::open(there)?, from: Half::open(back)? }, Parcel::of(descriptors)))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [a, b, c, d, e, f] = parcel.take()?;
        Ok(Self { to: Half::open([d, e, f])?, from: Half::open([a, b, c])? })
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        if message.len() > LONGEST {
            return Err("longer than a place".into());
        }
        down(&self.to.free)?;
        let place = self.to.place();
        // SAFETY: the place has LONGEST bytes inside the mapping; the counters let no one
        // else touch it now. The system calls order the bytes.
        unsafe { place.copy_from_nonoverlapping(message.as_ptr(), message.len()) };
        up(&self.to.taken)
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        down(&self.from.taken)?;
        let place = self.from.place();
        let len = message.len().min(LONGEST);
        // SAFETY: as in `send`.
        unsafe { place.copy_to_nonoverlapping(message.as_mut_ptr(), len) };
        up(&self.from.free)
    }
}
