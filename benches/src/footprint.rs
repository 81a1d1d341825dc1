//! What a thing takes while it exists: memory, address space, mappings and descriptors of
//! this process.

use crate::Fallible;
use std::fs;

/// How many of a thing are made to see what one takes.
const MADE: u32 = 32;

/// What one takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Footprint {
    /// Bytes of shared memory that are really there.
    pub shared: f64,
    /// Bytes of private memory that are really there.
    pub private: f64,
    /// Bytes of address space.
    pub space: f64,
    /// Mappings.
    pub mappings: f64,
    /// Descriptors.
    pub descriptors: f64,
}

impl Footprint {
    /// What this process takes now.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    fn now() -> Fallible<Self> {
        let (rollup, status) = (
            fs::read_to_string("/proc/self/smaps_rollup")?,
            fs::read_to_string("/proc/self/status")?,
        );
        let of = |text: &str, name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes =
                line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            1024.0 * kilobytes.unwrap_or(f64::NAN)
        };
        Ok(Self {
            shared: of(&status, "RssShmem:"),
            private: of(&rollup, "Anonymous:"),
            space: of(&status, "VmSize:"),
            mappings: fs::read_to_string("/proc/self/maps")?.lines().count() as f64,
            descriptors: fs::read_dir("/proc/self/fd")?.count() as f64,
        })
    }

    /// What one of the things that `make` makes takes, when `used` was done to it.
    ///
    /// # Errors
    ///
    /// It cannot be made or used.
    pub fn of<T>(
        make: impl Fn() -> Fallible<T>,
        used: impl Fn(&mut T) -> Fallible,
    ) -> Fallible<Self> {
        // What the first one brings for all, threads say, is not what one takes.
        let mut first = make()?;
        used(&mut first)?;
        let before = Self::now()?;
        let mut things = Vec::with_capacity(MADE as usize);
        for _ in 0..MADE {
            let mut thing = make()?;
            used(&mut thing)?;
            things.push(thing);
        }
        let after = Self::now()?;
        let one = |after: f64, before: f64| (after - before).max(0.0) / f64::from(MADE);
        Ok(Self {
            shared: one(after.shared, before.shared),
            private: one(after.private, before.private),
            space: one(after.space, before.space),
            mappings: one(after.mappings, before.mappings),
            descriptors: one(after.descriptors, before.descriptors),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_takes_two_descriptors() {
        // Other tests of this program make and drop things meanwhile.
        let seen = (0..20).any(|_| {
            let one = Footprint::of(|| Ok(std::io::pipe()?), |_| Ok(())).unwrap();
            (one.descriptors - 2.0).abs() < 0.01
        });
        assert!(seen);
    }
}
