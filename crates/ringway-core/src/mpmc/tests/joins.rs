//! Joining beside repairs.

use super::liveness::create;
use crate::mpmc::attachment::reserve_record;
use crate::mpmc::keeper::REPAIR;
use crate::mpmc::own_actors::first_actor;
use crate::process::LockFile;
use std::os::fd::AsFd;
use std::time::Duration;

/// Until the joiner is there, the record's mark and identity may be those of the one before.
#[test]
fn nobody_asks_about_a_record_while_it_changes_hands() {
    let (ring, fd) = create("changing hands");
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let [joiner, other] = [(); 2].map(|()| LockFile::open(fd.as_fd()).unwrap());
    let id = reserve_record(&attachment.ring, &joiner, "changing hands").unwrap();
    assert!(other.locked_by_another(id.into()).unwrap());
    assert!(other.locked_by_another(REPAIR + u64::from(id)).unwrap(), "not before it has joined");
    let own = REPAIR + u64::from(attachment.participant());
    assert!(!other.locked_by_another(own).unwrap(), "and no longer");
}

/// The dead have all actors there are, and somebody else repairs them, which takes its time.
#[test]
fn a_join_waits_for_a_repair_that_gives_actors_back() {
    let (ring, fd) = create("a full table");
    ring.set_guarded(false).unwrap();
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let inner = &attachment.ring;
    let dead = if attachment.participant() == 7 { 6 } else { 7 };
    while inner.actors().claim(dead, 0).is_some() {}
    assert!(first_actor(inner, &attachment.keeper).is_none(), "of one that is not there");
    let repairer = LockFile::open(fd.as_fd()).unwrap();
    assert!(repairer.try_lock(REPAIR + u64::from(dead)).unwrap());
    inner.participants().bury(dead);
    std::thread::scope(|scope| {
        let end = scope.spawn(|| {
            // Longer than a join waits for a proof.
            std::thread::sleep(Duration::from_millis(30));
            repairer.unlock(REPAIR + u64::from(dead)).unwrap();
        });
        assert!(first_actor(inner, &attachment.keeper).is_some());
        end.join().unwrap();
    });
}
