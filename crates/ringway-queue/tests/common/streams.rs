//! Items that are longer than all the queue's memory.

use ringway_queue::{Builder, Queue, Raw};
use std::time::{Duration, Instant};

pub(crate) const MIB: usize = 1 << 20;
/// The longest that anything may take.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// Bytes that tell which message and which byte of it they are, and whether one is missing.
pub(crate) fn bytes(n: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pages(n, bytes.chunks_mut(PAGE), |part, page| part.copy_from_slice(page));
    bytes
}

/// Whether these are the bytes, without a second copy of them.
pub(crate) fn is_whole(got: &[u8], n: usize, len: usize) -> bool {
    let mut whole = got.len() == len;
    pages(n, got.chunks(PAGE), |part, page| whole &= part == page);
    whole
}

const PAGE: usize = 4096;

/// Calls `body` with each part and what belongs there.
fn pages<P: AsRef<[u8]>>(n: usize, parts: impl Iterator<Item = P>, mut body: impl FnMut(P, &[u8])) {
    let word = |i: usize| ((i ^ n << 20).wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes();
    let mut page: Vec<u8> = (0..PAGE / 8).flat_map(word).collect();
    for (number, part) in parts.enumerate() {
        page[..8].copy_from_slice(&word(number + PAGE));
        let len = part.as_ref().len();
        body(part, &page[..len]);
    }
}

/// A queue whose pool of 64 KiB lets 8 KiB of a stream pass at a time.
pub(crate) fn small(capacity: usize) -> Queue<Vec<u8>, Raw> {
    Builder::new().pool_size(64 << 10).bounded(capacity).unwrap()
}

/// No block and no place is lost: as much fits as at first.
pub(crate) fn nothing_is_left(queue: &Queue<Vec<u8>, Raw>) {
    assert_eq!(queue.len(), 0);
    for _ in 0..2 {
        for n in 0..queue.capacity().unwrap() {
            queue.try_put(vec![u8::try_from(n % 256).unwrap(); 10]).unwrap();
        }
        assert!(queue.is_full());
        for n in 0..queue.capacity().unwrap() {
            assert_eq!(queue.try_get().unwrap(), [u8::try_from(n % 256).unwrap(); 10]);
        }
    }
    queue.try_put(vec![1; 64 << 10]).unwrap();
    assert_eq!(queue.try_get().unwrap(), vec![1; 64 << 10]);
}

/// As `eventually`, without a pause between looks.
pub(crate) fn until(found: impl Fn() -> bool) {
    let deadline = Instant::now() + LONGEST;
    while !found() {
        assert!(Instant::now() < deadline);
    }
}
