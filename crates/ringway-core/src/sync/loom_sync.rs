//! Loom's atomics, one of whose orderings can be weakened from outside.
//!
//! `RINGWAY_WEAKEN=file:line` makes every ordering in that line of the crate Relaxed, and a
//! fence there nothing. `.ci/weaken` does so for one line after another and shows that a
//! model fails: the orderings of the code that runs, not of a copy. With
//! `RINGWAY_REACHED=file`, each line that a model reached is written to that file.

pub use loom::sync::atomic::Ordering;
use std::collections::HashSet;
use std::io::Write;
use std::panic::Location;
use std::sync::{LazyLock, Mutex, PoisonError};

static WEAK: LazyLock<Option<(String, u32)>> = LazyLock::new(|| {
    let place = std::env::var("RINGWAY_WEAKEN").ok()?;
    let (file, line) = place.rsplit_once(':')?;
    Some((file.to_string(), line.parse().ok()?))
});

static REACHED: LazyLock<Option<Mutex<Reached>>> = LazyLock::new(|| {
    let path = std::env::var("RINGWAY_REACHED").ok()?;
    let file = std::fs::File::options().create(true).append(true).open(path).ok()?;
    Some(Mutex::new(Reached { file, seen: HashSet::new() }))
});

struct Reached {
    file: std::fs::File,
    seen: HashSet<(&'static str, u32)>,
}

/// Whether the caller's line is the one to be weakened.
#[track_caller]
fn is_weak() -> bool {
    let at = Location::caller();
    if let Some(reached) = &*REACHED {
        let mut reached = reached.lock().unwrap_or_else(PoisonError::into_inner);
        if reached.seen.insert((at.file(), at.line())) {
            let _ = writeln!(reached.file, "{}:{}", at.file(), at.line());
        }
    }
    WEAK.as_ref().is_some_and(|(file, line)| *line == at.line() && at.file().ends_with(file))
}

#[track_caller]
fn weakened(order: Ordering) -> Ordering {
    if is_weak() { Ordering::Relaxed } else { order }
}

/// As the real one.
#[track_caller]
pub fn fence(order: Ordering) {
    if !is_weak() {
        loom::sync::atomic::fence(order);
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        /// As the real one.
        #[derive(Debug, Default)]
        pub struct $name(loom::sync::atomic::$name);

        #[allow(missing_docs, reason = "as the real ones")]
        impl $name {
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(weakened(order))
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, weakened(order));
            }

            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.swap(value, weakened(order))
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, weakened(success), weakened(failure))
            }

            #[track_caller]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_or(value, weakened(order))
            }
        }
    };
}

macro_rules! numbers {
    ($($name:ident, $value:ty);*) => {$(
        atomic!($name, $value);

        #[allow(missing_docs, reason = "as the real ones")]
        impl $name {
            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_add(value, weakened(order))
            }

            #[track_caller]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_sub(value, weakened(order))
            }
        }
    )*};
}

atomic!(AtomicBool, bool);
numbers!(AtomicU32, u32; AtomicU64, u64);
