//! Deaths that no guardian tells of: what is looked for, when, and again.

use super::liveness::{BEFORE_THE_TICK, ENTRY, create, eventually, get, kill_only, median, put};
use super::liveness_roles::monotonic;
use super::processes::{PATIENCE, Peer};
use crate::peer::Standing;
use crate::wait::{Deadline, Spinner, WaitPolicy};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

fn unguarded(role: &str, fd: &OwnedFd) -> Peer {
    let peer = Peer::start_at(ENTRY, role, &[fd], &[("RINGWAY_GUARDIAN", "off")]);
    peer.wait_for("ready");
    peer
}

/// Somebody of whose death the kernel tells nobody joins while we sleep, makes room, and
/// is killed before it wakes us. Our guardian had nobody to look after, and so no tick.
#[test]
fn who_joins_without_a_guardian_is_looked_after() {
    let (ring, fd) = create("a hermit's");
    (0..4).for_each(|n| put(&ring, n));
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| {
            let deadline = Deadline::after(PATIENCE);
            ring.put(&[9; 8], &mut Spinner::new(WaitPolicy::Block), deadline).map(|()| monotonic())
        });
        eventually("the putter sleeps", || {
            let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
            attachment.ring.not_full().may_have_sleepers()
        });
        // Its guardian, too.
        std::thread::sleep(Duration::from_millis(20));
        let mut victim = unguarded("takes and tells nobody", &fd);
        let start = monotonic();
        kill_only(&mut victim);
        let end = putter.join().unwrap().unwrap();
        let time = Duration::from_nanos(end.saturating_sub(start));
        println!("a silent stranger's death: {time:?}");
        // Not at its deadline, when it looks once more by itself.
        assert!(time < PATIENCE / 2, "{time:?}");
    });
    eventually("it is buried", || ring.stats().repairs == 1);
}

/// A live process is about to claim the message that a dead one had claimed: whoever finds
/// that out cannot repair yet, and is to try again when the live one has moved on, long
/// before it would look at everybody again.
#[test]
fn what_a_rival_delays_is_tried_again_soon() {
    let round = || {
        let (ring, fd) = create("a rival's");
        ring.set_guarded(false).unwrap();
        put(&ring, 7);
        let mut rival = unguarded("announces a get", &fd);
        let mut victim = unguarded("claims a get", &fd);
        victim.kill();
        let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
        let table = attachment.ring.participants();
        std::thread::scope(|scope| {
            let getter = scope.spawn(|| (get(&ring).unwrap(), Instant::now()));
            let dead = || (1..=8).any(|id| table.standing(id) == Standing::Dead);
            eventually("the death is found", dead);
            assert_eq!(ring.stats().repairs, 0, "the rival may have claimed it as well");
            let start = Instant::now();
            rival.go_on();
            let (message, end) = getter.join().unwrap();
            assert_eq!(message, 7);
            end.saturating_duration_since(start)
        })
    };
    let median = median((0..7).map(|_| round()).collect());
    println!("a rival moves on until the message is redelivered: {median:?}");
    assert!(median < BEFORE_THE_TICK, "{median:?}: not by the tick");
}
