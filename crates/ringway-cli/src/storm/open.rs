//! How workers reach what the parent made: through the parent's own descriptors, which
//! stay open as long as the storm lasts.

use super::SIGNATURE;
use crate::failure::{Failure, failed};
use ringway_core::mpmc::SharedRing;
use ringway_core::segment::Segment;
use std::os::fd::{AsRawFd, OwnedFd};

/// A path for other processes to a descriptor of this one.
pub(super) fn path(fd: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd())
}

/// Opens what [`path`] named.
pub(super) fn file(path: &str) -> Result<OwnedFd, Failure> {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path);
    file.map(OwnedFd::from).map_err(|e| failed("cannot open shared memory of the parent", &e))
}

/// Attaches to the ring at [`path`].
pub(super) fn ring(path: &str) -> Result<SharedRing, Failure> {
    let ring = Segment::from_fd(file(path)?).and_then(|s| SharedRing::open(s, SIGNATURE));
    ring.map_err(|e| failed("cannot attach", &e))
}
