//! Two producers and two consumers share a queue of ten places, each in a process of its
//! own. The producers put goods until the queue is full and then stop; the consumers take
//! them until none is left.
//!
//! The well-known Python version of this program asks `queue.full()` before it puts and
//! `queue.empty()` before it gets. With two of each that is a race: both consumers see the
//! last item, one takes it, and the other waits for ever in `get`. A look is over when it
//! returns. So here the call itself says how it went: `try_put` puts or says that the queue
//! is full, and `get_timeout` takes an item or says that none came for a second.
//!
//! Run it with `cargo run --example seed_queue`.

use ringway::queue::{GetError, Queue};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The consumers are slower, so the queue fills up.
const PRODUCING: Duration = Duration::from_millis(10);
const CONSUMING: Duration = Duration::from_millis(40);
/// How long a consumer waits before it believes that nothing more will come.
const PATIENCE: Duration = Duration::from_secs(1);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn producer((name, queue): (String, Queue<u32>)) -> Result {
    println!("{name}");
    loop {
        let good = random();
        match queue.try_put(good) {
            Ok(()) => println!("{name} produced {good}"),
            Err(error) if error.is_full() => break,
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(PRODUCING);
    }
    println!("{name}: the queue is full");
    Ok(())
}

fn consumer((name, queue): (String, Queue<u32>)) -> Result {
    println!("{name}");
    loop {
        match queue.get_timeout(PATIENCE) {
            Ok(good) => println!("{name} consumed {good}"),
            Err(GetError::Empty) => break,
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(CONSUMING);
    }
    println!("{name}: nothing is left to consume");
    Ok(())
}

/// A number from 1 to 10.
fn random() -> u32 {
    // The standard library's hasher starts from a random number.
    let number = RandomState::new().hash_one(());
    u32::try_from(number % 10).map_or(1, |number| number + 1)
}

pub(crate) fn main() -> Result {
    // A child process runs one of these instead of the rest of `main`.
    ringway::init(ringway::entries![producer, consumer]);

    let queue = Queue::bounded(10)?;
    let mut children = Vec::new();
    for name in ["kg_1", "kg_2"] {
        children.push(ringway::spawn(producer, (name.to_string(), queue.clone()))?);
    }
    for name in ["xx", "rh"] {
        children.push(ringway::spawn(consumer, (name.to_string(), queue.clone()))?);
    }
    println!("begin test");
    for child in children {
        let status = child.join()?;
        if !status.success() {
            return Err(format!("a child ended with {status}").into());
        }
    }
    println!("main end");
    Ok(())
}
