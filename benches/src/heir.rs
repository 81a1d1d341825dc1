//! How soon a survivor gets a message after a getter was killed.
//!
//! *Asleep*: two getters sleep, the one that came first is killed, and at once a message
//! is put. A wake-up that went to the dead one must not be lost. *Amidst*: the victim has
//! claimed the only message and not committed; the survivor sleeps. The death must be
//! noticed, proven and repaired before it can have the message. An OS pipe has no such
//! case: what its reader has taken is gone with it.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::{Partner, Role};
use crate::shape::Queued;
use ringway_core::mpmc::SharedRing;
use ringway_core::segment::Segment;
use rustix::process::{Signal, kill_process};
use std::thread;
use std::time::{Duration, Instant};

const ASLEEP: &str = "heir-asleep";
const AMIDST: &str = "heir-amidst";
/// Long enough to fall asleep.
const LULL: Duration = Duration::from_millis(5);
/// Without a message for so long, it is gone: another is put, and the time counts.
const GONE: Duration = Duration::from_millis(500);
const ITEM: [u64; 1] = [7];

/// The victims of a subject.
pub const fn asleep_role<Q: Queued<1>>() -> Role {
    Role { workload: ASLEEP, subject: Q::NAME, play: asleep::<Q> }
}

/// The victim that has claimed a message of a Ringway queue, called `subject` here.
pub const fn amidst_role(subject: &'static str) -> Role {
    Role { workload: AMIDST, subject, play: amidst }
}

fn asleep<Q: Queued<1>>(control: &Control, parcel: Parcel, _size: usize) -> Fallible {
    let mut queue = Q::attach(parcel)?;
    control.send(0)?;
    queue.get()?;
    Err("the victim was woken".into())
}

fn amidst(control: &Control, parcel: Parcel, _size: usize) -> Fallible {
    let [fd] = parcel.take()?;
    let segment = Segment::from_fd(fd)?;
    let signature = segment.header().signature;
    let ring = SharedRing::open(segment, signature)?;
    if !ring.begin_get()? {
        return Err("there is nothing to claim".into());
    }
    control.send(0)?;
    control.recv()?;
    Err("the victim was let go".into())
}

/// One kill: from SIGKILL to the survivor's message.
///
/// # Errors
///
/// The system refused, or what came was not what was put.
pub fn round_asleep<Q: Queued<1> + Send + 'static>() -> Fallible<Duration> {
    let mut queue = Q::create()?;
    let mut survivor = Q::attach(queue.parcel(1)?)?;
    let partner = Partner::start(ASLEEP, Q::NAME, 8, queue.parcel(0)?)?;
    let armed = partner.watch();
    partner.control()?.expect(0)?;
    // From here on its end is meant.
    drop(armed);
    thread::sleep(LULL);
    let getter = thread::spawn(move || (survivor.get().map_err(|e| e.to_string()), Instant::now()));
    thread::sleep(LULL);
    let start = Instant::now();
    kill_process(partner.pid(), Signal::KILL)?;
    queue.put(&ITEM)?;
    // The dying reader of an OS pipe can still take the bytes, and they are gone with it.
    while !getter.is_finished() {
        if start.elapsed() > GONE {
            queue.put(&ITEM)?;
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    ended(getter, start)
}

/// The same for a victim that has the message in its hands.
///
/// # Errors
///
/// As [`round_asleep`].
pub fn round_amidst<Q: Queued<1> + Send + 'static>() -> Fallible<Duration> {
    let mut queue = Q::create()?;
    let mut survivor = Q::attach(queue.parcel(1)?)?;
    queue.put(&ITEM)?;
    let Parcel { descriptors, .. } = queue.parcel(0)?;
    let partner = Partner::start(AMIDST, Q::NAME, 8, Parcel::of(descriptors))?;
    let armed = partner.watch();
    partner.control()?.expect(0)?;
    // From here on its end is meant.
    drop(armed);
    let getter = thread::spawn(move || (survivor.get().map_err(|e| e.to_string()), Instant::now()));
    thread::sleep(LULL);
    let start = Instant::now();
    kill_process(partner.pid(), Signal::KILL)?;
    ended(getter, start)
}

type Getter = thread::JoinHandle<(Result<[u64; 1], String>, Instant)>;

fn ended(getter: Getter, start: Instant) -> Fallible<Duration> {
    match getter.join().map_err(|_| "the getter panicked")? {
        (Ok(ITEM), end) => Ok(end.saturating_duration_since(start)),
        (Ok(other), _) => Err(format!("{other:?} came").into()),
        (Err(error), _) => Err(error.into()),
    }
}
