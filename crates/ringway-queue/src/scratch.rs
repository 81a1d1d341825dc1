//! What a thread keeps between calls, so that steady traffic allocates nothing.
//!
//! A buffer is taken out while it is used: an encoder may itself use a queue, and then
//! finds none and makes one.

use ringway_core::wait::{Spinner, WaitPolicy};
use std::cell::Cell;
use std::thread::LocalKey;

/// A larger buffer is not kept.
const KEEP: usize = 128 << 10;

thread_local! {
    static ENCODED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static TAKEN: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static PUTTING: Cell<Option<Spinner>> = const { Cell::new(None) };
    static GETTING: Cell<Option<Spinner>> = const { Cell::new(None) };
}

/// Runs `body` with a buffer for encodings; with any if it is not `used`.
#[inline]
pub(crate) fn encoding<R>(used: bool, body: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    if used { with_buffer(&ENCODED, body) } else { body(&mut Vec::new()) }
}

/// Runs `body` with a buffer of `len` bytes to take an item to.
#[inline]
pub(crate) fn taking<R>(len: usize, body: impl FnOnce(&mut [u8]) -> R) -> R {
    with_buffer(&TAKEN, |buffer| {
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        body(&mut buffer[..len])
    })
}

#[inline]
fn with_buffer<R>(
    place: &'static LocalKey<Cell<Vec<u8>>>,
    body: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    // A thread whose locals are gone makes do with a fresh one.
    let mut buffer = place.try_with(Cell::take).unwrap_or_default();
    let result = body(&mut buffer);
    if buffer.capacity() <= KEEP {
        let _ = place.try_with(|place| place.set(buffer));
    }
    result
}

/// Runs `body` with what this thread has learned about waiting for room.
#[inline]
pub(crate) fn putting<R>(policy: WaitPolicy, body: impl FnOnce(&mut Spinner) -> R) -> R {
    with_spinner(&PUTTING, policy, body)
}

/// Runs `body` with what this thread has learned about waiting for items.
#[inline]
pub(crate) fn getting<R>(policy: WaitPolicy, body: impl FnOnce(&mut Spinner) -> R) -> R {
    with_spinner(&GETTING, policy, body)
}

#[inline]
fn with_spinner<R>(
    place: &'static LocalKey<Cell<Option<Spinner>>>,
    policy: WaitPolicy,
    body: impl FnOnce(&mut Spinner) -> R,
) -> R {
    let known = place.try_with(Cell::take).ok().flatten();
    let mut spinner = match known {
        Some(spinner) if spinner.policy() == policy => spinner,
        _ => Spinner::new(policy),
    };
    let result = body(&mut spinner);
    let _ = place.try_with(|place| place.set(Some(spinner)));
    result
}
