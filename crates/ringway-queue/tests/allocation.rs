//! Steady traffic of small items allocates nothing.
#![allow(unsafe_code, reason = "an allocator that counts")]

use ringway_queue::{Builder, Pod, Queue};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `body` runs a thousand times, after a few to begin.
fn allocations(mut body: impl FnMut()) -> u64 {
    (0..10).for_each(|_| body());
    let before = ALLOCATIONS.get();
    (0..1000).for_each(|_| body());
    ALLOCATIONS.get() - before
}

#[test]
fn steady_traffic_allocates_nothing() {
    let serde = Queue::<(u32, i64, [u8; 16])>::bounded(4).unwrap();
    let pod = Builder::new().bounded::<[u64; 4], Pod>(4).unwrap();
    let unbounded = Queue::<Option<u64>>::unbounded().unwrap();
    let tasks = Builder::new().joinable::<u64, Pod>().unwrap();
    let none = allocations(|| {
        serde.put((1, -1, [7; 16])).unwrap();
        assert_eq!(serde.get().unwrap().0, 1);
        pod.try_put([1; 4]).unwrap();
        assert_eq!(pod.try_get().unwrap(), [1; 4]);
        unbounded.put(Some(3)).unwrap();
        assert_eq!(unbounded.get().unwrap(), Some(3));
        tasks.put(9).unwrap();
        assert_eq!(tasks.get().unwrap(), 9);
        tasks.task_done().unwrap();
        assert!(pod.try_get().is_err());
    });
    assert_eq!(none, 0);
    // The count counts.
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1000);
}
