//! The classic queue program: two producers put goods until a queue of ten places is
//! full, two consumers take them until nothing is left; the parent joins all four.

use super::{TICK, say};
use crate::failure::{Failure, check_end, failed};
use crate::signals::Signals;
use ringway::Spawn;
use ringway::queue::{GetError, Queue};
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::Duration;

/// The consumers are slower, so the queue fills up.
const PRODUCING: Duration = Duration::from_millis(10);
const CONSUMING: Duration = Duration::from_millis(40);
/// How long a consumer waits before it believes that nothing more will come.
const PATIENCE: Duration = Duration::from_secs(1);

type Arguments = (String, Queue<u32>);

/// Puts until the queue is full.
pub(super) fn producer((name, queue): Arguments) -> ExitCode {
    end(produce(&name, &queue))
}

/// Takes until nothing is left.
pub(super) fn consumer((name, queue): Arguments) -> ExitCode {
    end(consume(&name, &queue))
}

fn end(result: Result<(), Failure>) -> ExitCode {
    result.map_or_else(Failure::end, |()| ExitCode::SUCCESS)
}

fn produce(name: &str, queue: &Queue<u32>) -> Result<(), Failure> {
    loop {
        // The standard library's hasher starts from a random number.
        let good = u32::try_from(RandomState::new().hash_one(()) % 10).map_or(1, |n| n + 1);
        match queue.try_put(good) {
            Ok(()) => say(&format!("{name} produced {good}\n"))?,
            Err(e) if e.is_full() => return say(&format!("{name}: the queue is full\n")),
            Err(e) => return Err(failed("cannot put", &e)),
        }
        std::thread::sleep(PRODUCING);
    }
}

/// Does not ask whether the queue is empty before it takes: the other consumer may be
/// quicker in between.
fn consume(name: &str, queue: &Queue<u32>) -> Result<(), Failure> {
    loop {
        match queue.get_timeout(PATIENCE) {
            Ok(good) => say(&format!("{name} consumed {good}\n"))?,
            Err(GetError::Empty) => return say(&format!("{name}: nothing is left\n")),
            Err(e) => return Err(failed("cannot get", &e)),
        }
        std::thread::sleep(CONSUMING);
    }
}

/// Starts all four, and waits for them to end.
pub(super) fn run(signals: &mut Signals) -> Result<(), Failure> {
    let queue = Queue::bounded(10).map_err(|e| failed("cannot make a queue", &e))?;
    let start = |spawned: Result<_, ringway::SpawnError>| {
        spawned.map_err(|e| failed("cannot start a process", &e))
    };
    let mut children = Vec::new();
    for name in ["kg_1", "kg_2"] {
        let spawn = Spawn::new(producer).name(name).kill_on_drop(true).die_with_parent(true);
        children.push((name, start(spawn.spawn((name.to_string(), queue.clone())))?));
    }
    for name in ["xx", "rh"] {
        let spawn = Spawn::new(consumer).name(name).kill_on_drop(true).die_with_parent(true);
        children.push((name, start(spawn.spawn((name.to_string(), queue.clone())))?));
    }
    for (name, child) in &mut children {
        let status = loop {
            signals.check()?;
            let ended = child.join_timeout(TICK);
            if let Some(status) = ended.map_err(|e| failed("cannot wait for a process", &e))? {
                break status;
            }
        };
        check_end(name, status)?;
    }
    say("main end\n")
}
