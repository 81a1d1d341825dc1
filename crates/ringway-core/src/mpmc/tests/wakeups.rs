//! Who is woken, and how many, where no tick would make up for it.

use super::{Fates, ring};
use crate::mpmc::Recovery;

/// A killed waker wakes nobody, and a killed sleeper swallows a wake-up.
#[test]
fn a_repair_wakes_every_sleeper_whatever_the_dead_left() {
    let ring = ring(2);
    let events = [ring.not_empty(), ring.not_full(), ring.pool.freed()];
    let tickets = events.map(|event| event.announce());
    let fates = Fates::default();
    assert_eq!(ring.recover(2, &fates), Recovery::Alive);
    let woken = || [0, 1, 2].map(|n| events[n].moved_since(tickets[n]));
    assert_eq!(woken(), [false; 3], "nobody died");
    fates.kill(2);
    assert_eq!(ring.recover(2, &fates), Recovery::Done);
    assert_eq!(woken(), [true; 3], "getters, putters, those who wait for blocks");
}
