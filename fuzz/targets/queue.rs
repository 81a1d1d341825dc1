//! Queues in real segments, whose bytes an input changes between the calls: typed
//! handles, waiting, repair, the guardian, tasks and the overflow of unbounded queues.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Codec, Postcard};
use ringway_core::handover::{collect, unpack};
use ringway_core::mpmc::SharedRing;
use ringway_core::segment::{BODY, Segment};
use ringway_fuzz::slots::is_narrow;
use ringway_fuzz::{Input, bounded, overwrite};
use ringway_queue::{Builder, JoinableQueue, Pod};
use std::os::fd::OwnedFd;
use std::time::Duration;

type Tasks = JoinableQueue<(u32, Vec<u8>)>;

/// Hands a queue over to ourselves: its bytes and its descriptor.
fn pack(queue: &Tasks) -> (Vec<u8>, OwnedFd) {
    let mut bytes = Vec::new();
    let pack = || Postcard::encode(queue, &mut Vec::new(), |parcel| bytes.extend_from_slice(parcel));
    let (packed, mut fds) = collect(pack);
    packed.expect("a queue has an encoding");
    (bytes, fds.remove(0))
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (slots, unbounded) = (1 + input.below(5), input.flag());
    let builder = Builder::new().max_processes(3).max_threads(4).slot_size(24);
    let made = if unbounded {
        builder.ring_len(slots as u64).joinable::<(u32, Vec<u8>), Postcard>()
    } else {
        builder.joinable_bounded(slots)
    };
    let mut queue: Tasks = made.expect("memory and descriptors are to be had");
    let (parcel, fd) = pack(&queue);
    let segment = Segment::from_fd(fd).expect("it is sound yet");
    let memory = segment.memory().clone();
    let signature = segment.header().signature;
    let ring = SharedRing::open(segment, signature).expect("it is sound yet");
    ring.set_guarded(input.flag()).expect("it is sound yet");
    let words = ((memory.len() - BODY) / 8) as usize;
    while !input.is_empty() {
        if input.flag() {
            let at = BODY + 8 * input.below(words) as u64;
            overwrite(&memory, at, is_narrow(at), |old| input.nonsense(old));
        }
        let soon = Duration::from_micros(input.byte().into());
        let what = input.byte();
        let value = (u32::from(what), vec![7; input.below(22)]);
        bounded(|| match what % 18 {
            0..=2 => drop(queue.try_put(value)),
            3..=5 => drop(queue.try_get()),
            6 => drop(queue.put_timeout(value, soon)),
            7 => drop(queue.get_timeout(soon)),
            8 => drop((queue.len(), queue.is_full(), queue.is_empty())),
            9 => drop((queue.unfinished(), ring.lost_tasks())),
            10 => drop(queue.task_done()),
            11 => drop(queue.join_timeout(soon)),
            12 => drop((ring.repair(), ring.stats(), ring.participants())),
            13 => drop((ring.overflow(), ring.total_len(), ring.announce_getter().is_some())),
            14 => {
                let again = ring.share().map(|fd| unpack(vec![fd], || Postcard::decode(&parcel)));
                if let Ok(Ok(again)) = again {
                    queue = again;
                }
            }
            15 => drop((ring.is_shut_down(), queue.is_shut_down(), queue.capacity())),
            16 => ring.tend(),
            _ => drop(queue.shutdown(what & 0x20 != 0)),
        });
    }
    // What is accepted and not committed may wait for room that no honest getter makes.
    queue.cancel_join_thread();
    // The bytes may not be a queue's any more; a new one is not affected.
    let other = Builder::new().bounded::<u64, Pod>(1).expect("memory and descriptors");
    other.try_put(1).expect("it is empty");
    assert_eq!(other.try_get().expect("it is not empty"), 1);
});
