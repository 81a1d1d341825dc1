//! Deaths that no guardian tells of: what is looked for, when, and again.

use super::liveness::{BEFORE_THE_TICK, ENTRY, create, eventually, get, kill_only, median, put};
use super::liveness_roles::monotonic;
use super::processes::{PATIENCE, Peer};
use crate::peer::Standing;
use crate::peer::guardian::{Guarded, Round};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

pub(super) fn unguarded(role: &str, fd: &OwnedFd) -> Peer {
    let peer = Peer::start_at(ENTRY, role, &[fd], &[("RINGWAY_GUARDIAN", "off")]);
    peer.wait_for("ready");
    peer
}

/// Somebody of whose death the kernel tells nobody joins one who was alone, and so had no
/// tick, claims the only message, and is killed so long after. How long a getter waits for
/// the message.
fn death_of_a_hermit(age: Duration) -> Duration {
    let (ring, fd) = create("a hermit's");
    put(&ring, 7);
    let mut victim = unguarded("claims a get", &fd);
    std::thread::scope(|scope| {
        let getter = scope.spawn(|| (get(&ring).unwrap(), monotonic()));
        eventually("the getter sleeps", || {
            let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
            attachment.ring.not_empty().may_have_sleepers()
        });
        std::thread::sleep(age);
        let start = monotonic();
        kill_only(&mut victim);
        let (message, end) = getter.join().unwrap();
        assert_eq!(message, 7);
        eventually("it is buried", || ring.stats().repairs == 1);
        Duration::from_nanos(end.checked_sub(start).expect("not before the kill"))
    })
}

#[test]
fn who_joins_without_a_guardian_is_looked_after() {
    let time = death_of_a_hermit(Duration::from_millis(400));
    println!("a silent stranger's death: {time:?}");
    // Not at its deadline, when it looks once more by itself.
    assert!(time < PATIENCE / 2, "{time:?}");
}

/// As good as one that is killed when it has joined and its guardian has not started yet.
#[test]
fn who_dies_before_it_can_be_heard_is_missed_at_once() {
    let times = (0..9).map(|_| death_of_a_hermit(Duration::ZERO));
    let median = median(times.collect());
    println!("the death of one that had just joined: {median:?}");
    // The tick comes at any time within a quarter of a second.
    assert!(median < BEFORE_THE_TICK / 3, "{median:?}: not by the tick");
}

/// Who is asked after because it may be about to have a guardian is no death that is tried
/// again: such an asking may go on for ever, the quick retries of a death do not.
#[test]
fn a_newcomer_is_asked_after_and_not_tried_again() {
    let (ring, fd) = create("a newcomer's");
    ring.set_guarded(false).unwrap();
    let mut newcomer = unguarded("announces a get", &fd);
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let look = || {
        let mut round = Round::new(false, false);
        attachment.keeper.look(&mut round);
        round.reasons()
    };
    assert_eq!(look(), (false, true));
    let table = attachment.ring.participants();
    let other = |id: &u32| *id != attachment.participant() && table.standing(*id) == Standing::Live;
    let id = (1..=8).find(other);
    // What the kernel would write.
    table.set_live(id.unwrap(), 0xC000_0000);
    assert_eq!(look(), (true, false), "a mark without a proof");
    newcomer.kill();
}

/// One that is killed between being there and telling so: it told before, too.
#[test]
fn who_is_about_to_join_is_looked_for() {
    let (ring, _fd) = create("a joiner's");
    ring.set_guarded(false).unwrap();
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let look = || {
        let mut round = Round::new(false, false);
        attachment.keeper.look(&mut round);
        round.reasons()
    };
    let table = attachment.ring.participants();
    let free = (1..=8).find(|id| table.standing(*id) == Standing::Free).unwrap();
    assert_eq!(look(), (false, false));
    table.set_live(free, 1);
    assert_eq!(look(), (false, true), "it may be there any moment");
    // What one left that was killed in leaving.
    table.set_live(free, 0xC000_0000);
    assert_eq!(look(), (false, false));
    table.set_live(free, 0);
}

/// As long as a record says that somebody is there, the kernel can tell of its death: in
/// joining, before anybody else is told of it, and in leaving.
#[test]
fn whoever_is_there_can_be_heard() {
    let (ring, fd) = create("comes and goes");
    let own = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let (table, own) = (own.ring.participants(), own.participant());
    let mut peer = Peer::start_at(ENTRY, "comes and goes", &[&fd], &[]);
    peer.wait_for("ready");
    let start = Instant::now();
    let (mut looks, mut departures) = (0, 0);
    while departures < 300 || looks <= 100 {
        assert!(start.elapsed() < PATIENCE, "{departures} departures, {looks} looks in time");
        departures = table.departures();
        for id in (1..=table.count()).filter(|id| *id != own) {
            let before = table.standing(id) == Standing::Live;
            let silent = table.live(id).is_some_and(|live| live.is_silent());
            // Else it has left, and may have come again, in between.
            if before && table.standing(id) == Standing::Live && table.departures() == departures {
                looks += 1;
                assert!(!silent, "{id} is there, and nobody would be told of its death");
            }
        }
    }
    peer.go_on();
    println!("{looks} looks at one that is there, {departures} departures");
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
