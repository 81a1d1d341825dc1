//! News of death and its proof, with real processes: a victim that is killed while it
//! has something in its hands, a survivor that sleeps until that is repaired.
//!
//! Both are this test program, started again for [`peer`]. Figures are printed, not
//! judged: what is asserted is who is repaired, who is not, and before which tick.
#![allow(unsafe_code, reason = "fork, namespaces, system call filters")]

use super::liveness_roles::{monotonic, switches};
use super::processes::{PATIENCE, Peer};
use crate::mpmc::{Announcement, GetError, Options, SharedRing};
use crate::peer::Live;
use crate::peer::guardian::{DeathEvent, Proof, WatchMode, set_death_hook};
use crate::segment::Place;
use crate::sync::Ordering::SeqCst;
use crate::wait::{Deadline, Spinner, WaitPolicy};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub(super) const ENTRY: &str = "mpmc::tests::liveness_roles::peer";

/// What a test that can tell news from a tick must be faster than, at least half the time.
pub(super) const BEFORE_THE_TICK: Duration = Duration::from_millis(150);

pub(super) fn create(label: &str) -> (SharedRing, OwnedFd) {
    let options = Options { participants: 8, actors: 16, ..Options::new(4, 8) };
    let ring = SharedRing::create(Place::Anonymous(label), &options, 7).unwrap();
    let fd = ring.share().unwrap();
    (ring, fd)
}

fn victim(role: &str, segments: &[&OwnedFd]) -> Peer {
    let peer = Peer::start_at(ENTRY, role, segments, &[]);
    peer.wait_for("ready");
    peer
}

pub(super) fn get(ring: &SharedRing) -> Result<u64, GetError> {
    let mut bytes = [0; 8];
    let deadline = Deadline::after(PATIENCE);
    ring.get(&mut bytes, &mut Spinner::new(WaitPolicy::Block), deadline)?;
    Ok(u64::from_le_bytes(bytes))
}

pub(super) fn put(ring: &SharedRing, n: u64) {
    ring.try_put(&n.to_le_bytes()).unwrap();
}

/// Sends SIGKILL and does not reap: until it is dropped, the victim is a zombie.
pub(super) fn kill_only(peer: &mut Peer) {
    peer.child.kill().unwrap();
}

/// Waits for `done`, in time.
pub(super) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "in time: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    println!("    from {:?} to {:?}", times[0], times[times.len() - 1]);
    times[times.len() / 2]
}

/// Kills a victim that has claimed the only message; says how long a getter that
/// slept then waited for it. The victim stays a zombie meanwhile.
fn round(role: &str) -> Duration {
    let (ring, fd) = create("a round");
    put(&ring, 7);
    let mut victim = victim(role, &[&fd]);
    std::thread::scope(|scope| {
        let getter = scope.spawn(|| (get(&ring).unwrap(), Instant::now()));
        // Asleep, as far as one can tell from here.
        eventually("the getter sleeps", || {
            let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
            attachment.ring.not_empty().may_have_sleepers()
        });
        std::thread::sleep(Duration::from_millis(2));
        let start = Instant::now();
        kill_only(&mut victim);
        let (message, end) = getter.join().unwrap();
        assert_eq!(message, 7, "{role}");
        let time = end.saturating_duration_since(start);
        // Not at its deadline, when it looks once more by itself.
        assert!(time < PATIENCE / 2, "{time:?}");
        time
    })
}

#[test]
fn a_kill_wakes_a_sleeping_getter_at_once() {
    let median = median((0..50).map(|_| round("claims a get")).collect());
    println!("SIGKILL until the blocked getter of another process has the message: {median:?}");
    assert!(median < BEFORE_THE_TICK, "{median:?}: not by the tick");
}

#[test]
fn a_killed_putters_hole_is_passed_at_once() {
    let times = (0..20).map(|_| {
        let (ring, fd) = create("a hole");
        let mut victim = victim("claims a put", &[&fd]);
        put(&ring, 8);
        std::thread::scope(|scope| {
            let getter = scope.spawn(|| (get(&ring).unwrap(), Instant::now()));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!getter.is_finished(), "the victim lives");
            let start = Instant::now();
            kill_only(&mut victim);
            let (message, end) = getter.join().unwrap();
            assert_eq!(message, 8);
            assert_eq!(ring.stats().tombs, 1);
            end.saturating_duration_since(start)
        })
    });
    let median = median(times.collect());
    println!("SIGKILL of a putter in mid-put until the next message is got: {median:?}");
}

#[test]
fn a_victim_of_many_threads_is_repaired() {
    let median = median((0..10).map(|_| round("claims a get with threads")).collect());
    println!("the same, 64 threads: {median:?}");
}

/// Runs a survivor in a process of its own and kills `role`; gives the survivor's mode
/// and how long it slept after the kill.
fn survivor(role: &str, environment: &[(&str, &str)]) -> (String, Duration) {
    let (ring, fd) = create("a survivor's");
    // This process looks on and must not help.
    ring.set_guarded(false).unwrap();
    put(&ring, 7);
    let mut victim = victim(role, &[&fd]);
    let survivor = Peer::start_at(ENTRY, "survives", &[&fd], environment);
    let mode = survivor.wait_for("mode");
    std::thread::sleep(Duration::from_millis(50));
    let start = monotonic();
    kill_only(&mut victim);
    let got: u64 = survivor.wait_for("got").parse().unwrap();
    let time = Duration::from_nanos(got.saturating_sub(start));
    // Not at its deadline, when it looks once more by itself.
    assert!(time < PATIENCE / 2, "{time:?}");
    (mode, time)
}

#[test]
fn a_large_victim_is_repaired_long_before_its_memory_is_gone() {
    repair_a_victim_of(1536);
}

#[test]
#[ignore = "fills 6 GiB twice"]
fn a_very_large_victim_is_repaired_long_before_its_memory_is_gone() {
    repair_a_victim_of(6144);
}

fn repair_a_victim_of(mib: u64) {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap();
    let available = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: u64 = available.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    // Less than half of what there is: other tests run, too.
    if kib / 1024 < 2 * mib {
        println!("skipped: only {kib} KiB of memory available");
        return;
    }
    let role = format!("claims a get with {mib} MiB");
    let early = survivor(&role, &[]);
    let late = survivor(&role, &[("RINGWAY_TEST_EARLY", "off")]);
    println!("victim of {mib} MiB: {:?} with early proof, {:?} without", early.1, late.1);
    assert_eq!((early.0.as_str(), late.0.as_str()), ("Instant", "Instant"));
}

#[test]
fn without_a_guardian_blocked_calls_look() {
    let (mode, time) = survivor("claims a get", &[("RINGWAY_GUARDIAN", "off")]);
    println!("guardian off: {time:?}");
    assert_eq!(mode, "Calls");
}

#[test]
fn a_refused_system_call_leaves_the_tick() {
    // The survivor can hear, but cannot have its own death told.
    let (mode, time) = survivor("claims a get", &[("RINGWAY_TEST_REFUSE", "robust")]);
    println!("set_robust_list refused to the survivor: {time:?}");
    assert_eq!(mode, "Polling");
    // The survivor cannot hear.
    let (_, time) = survivor("claims a get", &[("RINGWAY_TEST_REFUSE", "waitv")]);
    println!("futex_waitv refused to the survivor: {time:?}");
    // The victim's death is not told.
    let (ring, fd) = create("a silent victim's");
    put(&ring, 7);
    let refuse = [("RINGWAY_TEST_REFUSE", "robust")];
    let mut victim = Peer::start_at(ENTRY, "claims a get", &[&fd], &refuse);
    victim.wait_for("ready");
    let start = Instant::now();
    kill_only(&mut victim);
    assert_eq!(get(&ring).unwrap(), 7);
    println!("set_robust_list refused to the victim: {:?}", start.elapsed());
}

/// A thread of the victim sits in a read into shared memory that no signal ends. It
/// stores there long after the kernel has marked the death.
#[test]
fn nothing_is_repaired_before_the_last_store() {
    let (ring, fd) = create("a slow death's");
    put(&ring, 7);
    let target: OwnedFd =
        rustix::fs::memfd_create("target", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&target, 1 << 30).unwrap();
    let blocks = || rustix::fs::fstat(&target).unwrap().st_blocks;
    let mut victim = victim("claims a get and reads", &[&fd, &target]);
    eventually("it reads", || blocks() > 1 << 14);
    let start = Instant::now();
    kill_only(&mut victim);
    let at_the_kill = blocks();
    let mut marked = None;
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    eventually("it is repaired", || {
        let table = attachment.ring.participants();
        let is_marked = || (1..=8).any(|id| table.live(id).is_some_and(|live| live.says_dead()));
        if marked.is_none() && is_marked() {
            marked = Some((start.elapsed(), blocks()));
        }
        ring.stats().repairs == 1
    });
    let at_the_repair = blocks();
    println!("killed with {at_the_kill} blocks, marked {marked:?}, repaired {:?}", start.elapsed());
    std::thread::sleep(Duration::from_millis(300));
    println!("    then {at_the_repair} blocks, and 300 ms later {}", blocks());
    assert_eq!(at_the_repair, blocks(), "it stored after it was proven dead");
    assert_eq!(get(&ring).unwrap(), 7);
    drop(victim);
}

#[test]
fn a_forged_mark_kills_nobody() {
    let (ring, fd) = create("a forger's");
    let mut victim = victim("claims a put", &[&fd]);
    put(&ring, 8);
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let table = attachment.ring.participants();
    let other = (1..=8).find(|id| {
        *id != attachment.participant() && table.standing(*id) == crate::peer::Standing::Live
    });
    let other = other.unwrap();
    let before = table.live(other).unwrap().value;
    assert!(before != 0 && !table.live(other).unwrap().says_dead());
    // What the kernel would write, and wake.
    table.set_live(other, 0xC000_0000);
    assert!(table.live(other).unwrap().says_dead());
    let soon = Deadline::after(Duration::from_millis(300));
    let nothing = ring.get(&mut [0; 8], &mut Spinner::new(WaitPolicy::Block), soon);
    assert!(matches!(nothing, Err(GetError::Empty)));
    assert_eq!((ring.stats().deaths, ring.participants().len()), (0, 2));
    eventually("its guardian restores the word", || table.live(other).unwrap().value == before);
    // It goes on as if nothing had been.
    victim.go_on();
    assert_eq!([get(&ring).unwrap(), get(&ring).unwrap()], [42, 8]);
    assert_eq!(ring.stats().tombs, 0);
    // An erased word delays the news, no more.
    table.set_live(other, 0);
    kill_only(&mut victim);
    eventually("the tick finds it", || ring.stats().repairs == 1);
}

#[test]
fn a_forked_child_is_another_matter() {
    let (ring, fd) = create("a family's");
    put(&ring, 7);
    let mut parent = victim("claims a get after fork", &[&fd]);
    let child = Orphan::of(&parent);
    kill_only(&mut parent);
    assert_eq!(get(&ring).unwrap(), 7, "an untouched copy keeps nobody alive");
    assert!(child.is_alive());
    drop(child);

    put(&ring, 8);
    let parent = victim("child claims a get", &[&fd]);
    let child = Orphan::of(&parent);
    eventually("parent and child", || ring.participants().len() == 3);
    let start = Instant::now();
    drop(child);
    assert_eq!(get(&ring).unwrap(), 8, "it is a participant of its own");
    println!("a forked child's death: {:?}", start.elapsed());
    assert_eq!(ring.participants().len(), 2);
}

/// A grandchild, killed whatever happens.
struct Orphan(rustix::process::Pid);

impl Orphan {
    fn of(parent: &Peer) -> Self {
        let pid = parent.wait_for("child").parse().unwrap();
        Self(rustix::process::Pid::from_raw(pid).unwrap())
    }

    fn is_alive(&self) -> bool {
        rustix::process::test_kill_process(self.0).is_ok()
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, rustix::process::Signal::KILL);
    }
}

#[test]
fn an_exec_is_a_death() {
    let (ring, fd) = create("a shedder's");
    put(&ring, 7);
    let mut victim = victim("claims a get and execs", &[&fd]);
    victim.go_on();
    assert_eq!(get(&ring).unwrap(), 7);
    assert!(victim.child.try_wait().unwrap().is_none(), "the process lives on");
}

#[test]
fn a_stopped_process_is_alive() {
    use rustix::process::{Pid, Signal, kill_process};
    let (ring, fd) = create("a stopped one's");
    put(&ring, 7);
    let mut victim = victim("claims a get", &[&fd]);
    kill_process(Pid::from_child(&victim.child), Signal::STOP).unwrap();
    // Longer than a tick.
    let later = Deadline::after(Duration::from_millis(800));
    let nothing = ring.get(&mut [0; 8], &mut Spinner::new(WaitPolicy::Block), later);
    assert!(matches!(nothing, Err(GetError::Empty)));
    assert_eq!((ring.stats().deaths, ring.participants().len()), (0, 2));
    kill_only(&mut victim);
    assert_eq!(get(&ring).unwrap(), 7);
}

/// A message is committed and nobody is told, as if the wake-up had gone to a sleeper
/// that was stopped before it could act.
#[test]
fn a_swallowed_wakeup_is_made_up_for() {
    let (ring, fd) = create("a swallower's");
    let survivor = Peer::start_at(ENTRY, "survives", &[&fd], &[]);
    assert_eq!(survivor.wait_for("mode"), "Instant");
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    // So that it is the survivor's guardian and not ours that helps.
    ring.set_guarded(false).unwrap();
    eventually("it sleeps", || attachment.ring.not_empty().may_have_sleepers());
    std::thread::sleep(Duration::from_millis(100));
    let start = monotonic();
    {
        let actor = &mut *attachment.spare();
        let tail = attachment.ring.enqueue_pos.load(SeqCst);
        attachment.ring.announce(actor, Announcement::put(tail));
        attachment.ring.claim_put(tail).unwrap();
        attachment.ring.write(tail, &7_u64.to_le_bytes());
        attachment.ring.publish(tail);
    }
    let got: u64 = survivor.wait_for("got").parse().unwrap();
    let time = Duration::from_nanos(got.saturating_sub(start));
    println!("a swallowed wake-up: {time:?}");
    // Not at its deadline, when it looks once more by itself.
    assert!(time < PATIENCE / 2, "{time:?}");
}

#[test]
fn across_pid_namespaces_the_lock_proves() {
    let (ring, fd) = create("two namespaces'");
    put(&ring, 7);
    let mut outer = Peer::start_at(ENTRY, "claims a get in a namespace", &[&fd], &[]);
    let said = outer.wait_for("namespace");
    if said != "new" {
        println!("skipped: no new pid namespace: {said}");
        return;
    }
    eventually("it is attached and has claimed", || ring.is_empty());
    assert_eq!(ring.participants().len(), 2);
    let start = Instant::now();
    outer.go_on();
    assert_eq!(get(&ring).unwrap(), 7);
    println!("victim in another pid namespace, kill included: {:?}", start.elapsed());
}

#[test]
fn one_kill_is_repaired_in_a_hundred_rings() {
    let rings: Vec<_> = (0..100).map(|_| create("one of many")).collect();
    for (ring, _) in &rings {
        put(ring, 7);
    }
    let fds: Vec<&OwnedFd> = rings.iter().map(|(_, fd)| fd).collect();
    let mut victim = victim("claims a get", &fds);
    let start = Instant::now();
    kill_only(&mut victim);
    eventually("the first", || rings.iter().any(|(ring, _)| ring.stats().repairs == 1));
    let first = start.elapsed();
    eventually("all", || rings.iter().all(|(ring, _)| ring.stats().repairs == 1));
    println!("a hundred rings: first after {first:?}, all after {:?}", start.elapsed());
    for (ring, _) in &rings {
        assert_eq!(get(ring).unwrap(), 7);
        let stats = ring.stats();
        assert_eq!((stats.deaths, stats.tombs, stats.redelivered), (1, 0, 1));
        assert_eq!(stats.mode, WatchMode::Instant);
        assert!(stats.last_repair.is_some_and(|at| at >= start));
    }
}

#[test]
fn idle_threads_make_no_system_calls() {
    let (_ring, fd) = create("an idle one's");
    let idle = Peer::start_at(ENTRY, "idles", &[&fd], &[]);
    idle.wait_for("ready");
    let pid = idle.child.id();
    // Joining is over, and the first tick.
    std::thread::sleep(Duration::from_secs(1));
    let before = switches(pid);
    std::thread::sleep(Duration::from_secs(3));
    let after = switches(pid);
    let moved = |name: &str| -> Vec<u64> {
        let threads = before.iter().filter(|(_, (thread, _))| thread == name);
        threads.map(|(tid, (_, count))| after[tid].1 - count).collect()
    };
    let (blocked, guard) = (moved("blocked"), moved("ringway-guard"));
    println!("3 s idle: blocked threads switched {blocked:?} times, the guardian {guard:?}");
    assert_eq!(blocked, [0, 0, 0, 0]);
    assert_eq!(guard.len(), 1);
    assert!(guard[0] <= 7, "at most two a second");
}

#[test]
fn guardians_do_not_keep_each_other_awake() {
    let (ring, fd) = create("three guardians'");
    let idle = || Peer::start_at(ENTRY, "idles", &[&fd], &[]);
    let peers = [idle(), idle(), idle()];
    for peer in &peers {
        peer.wait_for("ready");
    }
    std::thread::sleep(Duration::from_millis(200));
    let count = |peer: &Peer| -> u64 {
        let threads = switches(peer.child.id());
        threads.values().filter(|(name, _)| name == "ringway-guard").map(|(_, n)| n).sum()
    };
    let before: Vec<u64> = peers.iter().map(count).collect();
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let table = attachment.ring.participants();
    let other = (1..=8).find(|id| table.identity(*id).pid == peers[0].child.id().into()).unwrap();
    let forged = Instant::now();
    table.set_live(other, 0xC000_0000);
    // Its own guardian restores it at its next tick; until then all others wonder.
    eventually("it is restored", || !table.live(other).unwrap().says_dead());
    let rounds: Vec<u64> = peers.iter().map(count).zip(before).map(|(a, b)| a - b).collect();
    println!("a forged mark stood {:?}; guardians woke {rounds:?} times", forged.elapsed());
    assert!(rounds.iter().all(|rounds| *rounds < 100), "{rounds:?}");
}

static TOLD: Mutex<Vec<(u32, u64, Proof, u64)>> = Mutex::new(Vec::new());

fn hook(event: &DeathEvent<'_>) {
    if event.label == "a mourner's" {
        let told = (event.participant, event.identity.pid, event.proof, event.redelivered);
        TOLD.lock().unwrap().push(told);
        panic!("a hook's panic is its own affair");
    }
}

#[test]
fn the_hook_hears_of_each_death_once() {
    set_death_hook(Some(hook));
    let (ring, fd) = create("a mourner's");
    put(&ring, 7);
    let mut victim = victim("claims a get", &[&fd]);
    let pid = u64::from(victim.child.id());
    kill_only(&mut victim);
    eventually("it is told", || !TOLD.lock().unwrap().is_empty());
    assert_eq!(get(&ring).unwrap(), 7);
    ring.repair().unwrap();
    let told = TOLD.lock().unwrap().clone();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].1, told[0].3), (pid, 1));
    assert_eq!(ring.watch_mode(), WatchMode::Instant);
}

#[test]
fn a_word_names_its_thread_and_nothing_else() {
    let live = |value| {
        let word = crate::memory::Memory::new(crate::memory::Heap::new(4)).word32(0).unwrap();
        word.store(value, SeqCst);
        Live { word, value }
    };
    let alive = live(Live::of(1234));
    assert!(!alive.says_dead() && !alive.is_silent());
    assert!(live(0xC000_0000).says_dead() && live(0).is_silent());
}
