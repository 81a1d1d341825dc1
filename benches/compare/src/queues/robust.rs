//! What a careful C program does: a ring under a robust, process-shared mutex of libc and
//! two condition variables in shared memory. When a holder dies, the next one is told and
//! goes on; nothing else here survives that, which is not measured.

use memmap2::MmapRaw;
use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::shape::{CAPACITY, Queued};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

#[repr(C)]
struct Shared {
    lock: libc::pthread_mutex_t,
    not_empty: libc::pthread_cond_t,
    not_full: libc::pthread_cond_t,
    put: usize,
    taken: usize,
    items: [u64; CAPACITY],
}

/// The queue.
pub struct RobustQueue {
    memory: OwnedFd,
    map: MmapRaw,
}

fn done(status: libc::c_int) -> Fallible {
    match status {
        0 => Ok(()),
        error => Err(std::io::Error::from_raw_os_error(error).into()),
    }
}

impl RobustQueue {
    fn shared(&self) -> *mut Shared {
        self.map.as_mut_ptr().cast()
    }

    /// Makes lock and conditions in memory that nobody else has yet.
    fn prepare(&self) -> Fallible {
        let shared = self.shared();
        let mut lock = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let mut condition = MaybeUninit::<libc::pthread_condattr_t>::uninit();
        // SAFETY: the attributes are initialised before they are used, and `shared` points
        // to a mapping of its size that is all zero and that nobody else uses.
        unsafe {
            done(libc::pthread_mutexattr_init(lock.as_mut_ptr()))?;
            done(libc::pthread_mutexattr_setpshared(
                lock.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            ))?;
            done(libc::pthread_mutexattr_setrobust(lock.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST))?;
            done(libc::pthread_mutex_init(&raw mut (*shared).lock, lock.as_ptr()))?;
            done(libc::pthread_condattr_init(condition.as_mut_ptr()))?;
            done(libc::pthread_condattr_setpshared(
                condition.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            ))?;
            done(libc::pthread_cond_init(&raw mut (*shared).not_empty, condition.as_ptr()))?;
            done(libc::pthread_cond_init(&raw mut (*shared).not_full, condition.as_ptr()))
        }
    }

    /// Runs `body` under the lock once `ready` says so; then wakes one who waits for `then`.
    fn locked<R>(
        &mut self,
        ready: impl Fn(&Shared) -> bool,
        until: impl Fn(*mut Shared) -> *mut libc::pthread_cond_t,
        body: impl FnOnce(&mut Shared) -> R,
        then: impl Fn(*mut Shared) -> *mut libc::pthread_cond_t,
    ) -> Fallible<R> {
        let shared = self.shared();
        // SAFETY: the mapping lives as long as `self`; its maker prepared lock and
        // conditions before it gave it away; the rest is touched under the lock only.
        unsafe {
            let lock = &raw mut (*shared).lock;
            match libc::pthread_mutex_lock(lock) {
                libc::EOWNERDEAD => done(libc::pthread_mutex_consistent(lock))?,
                status => done(status)?,
            }
            while !ready(&*shared) {
                done(libc::pthread_cond_wait(until(shared), lock))?;
            }
            let result = body(&mut *shared);
            done(libc::pthread_mutex_unlock(lock))?;
            done(libc::pthread_cond_signal(then(shared)))?;
            Ok(result)
        }
    }
}

impl Queued<1> for RobustQueue {
    const NAME: &'static str = "robust_mutex";

    fn create() -> Fallible<Self> {
        let memory = memfd_create("ringway-compare", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, size_of::<Shared>() as u64)?;
        let queue = Self { map: MmapRaw::map_raw(&memory)?, memory };
        queue.prepare()?;
        Ok(queue)
    }

    fn parcel(&self, _place: usize) -> Fallible<Parcel> {
        Ok(Parcel::of([self.memory.try_clone()?]))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [memory] = parcel.take()?;
        Ok(Self { map: MmapRaw::map_raw(&memory)?, memory })
    }

    fn put(&mut self, item: &[u64; 1]) -> Fallible {
        let item = item[0];
        self.locked(
            |ring| ring.put - ring.taken < CAPACITY,
            // SAFETY: only the address is taken.
            |ring| unsafe { &raw mut (*ring).not_full },
            |ring| {
                ring.items[ring.put % CAPACITY] = item;
                ring.put += 1;
            },
            // SAFETY: as above.
            |ring| unsafe { &raw mut (*ring).not_empty },
        )
    }

    fn get(&mut self) -> Fallible<[u64; 1]> {
        self.locked(
            |ring| ring.put > ring.taken,
            // SAFETY: only the address is taken.
            |ring| unsafe { &raw mut (*ring).not_empty },
            |ring| {
                let item = ring.items[ring.taken % CAPACITY];
                ring.taken += 1;
                [item]
            },
            // SAFETY: as above.
            |ring| unsafe { &raw mut (*ring).not_full },
        )
    }
}
