//! Queues in real segments, whose bytes an input changes between the calls: typed
//! handles, batches, grants, items longer than a slot, waiting, repair, the guardian, tasks
//! and the overflow of unbounded queues. While a grant is held the bytes change, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Codec, Postcard};
use ringway_core::handover::{collect, unpack};
use ringway_core::memory::Memory;
use ringway_core::mpmc::Geometry;
use ringway_core::mpmc::SharedRing;
use ringway_core::segment::{BODY, Segment};
use ringway_fuzz::slots::is_narrow;
use ringway_fuzz::{Input, bounded, overwrite};
use ringway_queue::{Builder, GetError, JoinableQueue, Pod, Raw, ReadGrant};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Bytes for items longer than a slot.
const POOL: u64 = 5000;

/// What the items of a queue are.
trait Item: Sized + Clone {
    type Codec: Codec<Self>;

    fn new(what: u8, len: usize) -> Self;

    /// What there is for this type alone: grants.
    fn in_place(_: &JoinableQueue<Self, Self::Codec>, _: Call<'_>, _: &mut Vec<ReadGrant>) {}
}

/// A call of something, and what happens while it holds a grant.
struct Call<'a> {
    what: u8,
    len: usize,
    soon: Duration,
    held: &'a mut dyn FnMut(),
}

impl Item for (u32, Vec<u8>) {
    type Codec = Postcard;

    fn new(what: u8, len: usize) -> Self {
        (what.into(), vec![7; len])
    }
}

impl Item for Vec<u8> {
    type Codec = Raw;

    fn new(what: u8, len: usize) -> Self {
        vec![what; len]
    }

    fn in_place(queue: &JoinableQueue<Self, Raw>, call: Call<'_>, grants: &mut Vec<ReadGrant>) {
        let Call { what, len, soon, held } = call;
        match what % 8 {
            0..=2 => {
                let Ok(mut grant) = queue.reserve_timeout(len, soon) else { return };
                assert_eq!(grant.len(), len);
                grant.write_at(len / 3, &vec![0x3C; len - len / 3]).expect("it was reserved");
                assert!(grant.write_at(1, &vec![0x3C; len]).is_err() || len == 0);
                assert!(grant.store(len, &7_u64).is_err());
                held();
                match what % 8 {
                    0 => drop(grant.try_commit()),
                    1 => drop(grant.commit_timeout(soon)),
                    _ => drop(grant),
                }
            }
            3 | 4 => {
                let Ok(grant) = queue.get_ref_timeout(soon) else { return };
                assert!(grant.len() <= POOL as usize + 300, "longer than all memory for items");
                held();
                assert_eq!(grant.to_vec().len(), grant.len());
                assert_eq!(grant.values::<[u16; 4]>().count(), grant.len() / 8);
                assert!(grant.load::<u8>(grant.len()).is_err());
                grants.push(grant);
            }
            5 => grants.pop().map(ReadGrant::release).unwrap_or_default(),
            6 => drop((grants.pop(), queue.try_put_bytes(&vec![9; len]))),
            _ => {
                let mut buffer = vec![1; len];
                drop(queue.try_get_into(&mut buffer));
                drop(queue.get_into_timeout(&mut buffer, soon));
            }
        }
    }
}

/// Hands a queue over to ourselves: its bytes and its descriptor.
fn pack<T, C: Codec<T>>(queue: &JoinableQueue<T, C>) -> (Vec<u8>, OwnedFd) {
    let mut bytes = Vec::new();
    let pack =
        || Postcard::encode(queue, &mut Vec::new(), |parcel| bytes.extend_from_slice(parcel));
    let (packed, mut fds) = collect(pack);
    packed.expect("a queue has an encoding");
    (bytes, fds.remove(0))
}

fn change(memory: &Memory, geometry: &Geometry, input: &mut Input) {
    let words = ((memory.len() - BODY) / 8) as usize;
    let at = BODY + 8 * input.below(words) as u64;
    overwrite(memory, at, is_narrow(geometry, at), |old| input.nonsense(old));
}

/// Several items at once.
fn many<T: Item>(queue: &JoinableQueue<T, T::Codec>, what: u8, len: usize, soon: Duration) {
    let number = len % 300;
    let items = vec![T::new(what, len % 150); number];
    let mut into = Vec::new();
    match what % 4 {
        0 | 1 => {
            let put = if what % 4 == 0 {
                queue.try_put_many(items)
            } else {
                queue.put_many_timeout(items, soon)
            };
            let (put, rest) = put.map_or_else(|e| (e.put, e.rest.len()), |()| (number, 0));
            assert_eq!(put + rest, number, "some were put, and the others came back");
        }
        kind => {
            let got = if kind == 2 {
                queue.try_get_many(&mut into, number)
            } else {
                queue.get_many_timeout(&mut into, number, soon)
            };
            assert!(into.len() <= number, "{} of {number}", into.len());
            match got {
                Ok(got) => assert_eq!(got, into.len()),
                Err(GetError::Decode(_)) => {}
                Err(_) => assert!(into.is_empty(), "taken and not told"),
            }
        }
    }
}

fn play<T: Item>(input: &mut Input) {
    let (slots, unbounded) = (1 + input.below(5), input.flag());
    let builder = Builder::new().max_processes(3).max_threads(4).slot_size(24);
    let builder = builder.pool_size(POOL * u64::from(input.flag())).max_grants(2);
    let made = if unbounded {
        builder.ring_len(slots as u64).joinable()
    } else {
        builder.joinable_bounded(slots)
    };
    let mut queue: JoinableQueue<T, T::Codec> = made.expect("memory and descriptors are to be had");
    let mut grants = Vec::new();
    let (parcel, fd) = pack(&queue);
    let segment = Segment::from_fd(fd).expect("it is sound yet");
    let memory = segment.memory().clone();
    let params = &segment.header().params;
    let geometry = Geometry::from_params(params, memory.len(), "fuzz").expect("as it was made");
    let signature = segment.header().signature;
    let ring = SharedRing::open(segment, signature).expect("it is sound yet");
    ring.set_guarded(input.flag()).expect("it is sound yet");
    while !input.is_empty() {
        if input.flag() {
            change(&memory, &geometry, input);
        }
        let soon = Duration::from_micros(input.byte().into());
        let what = input.byte();
        let len = input.below(if what & 0x40 == 0 { 22 } else { 6000 });
        if what >= 0xB0 {
            let mut change = || change(&memory, &geometry, input);
            let call = Call { what, len, soon, held: &mut change };
            bounded(|| T::in_place(&queue, call, &mut grants));
            continue;
        }
        let value = T::new(what, len);
        bounded(|| match what % 20 {
            0..=2 => drop(queue.try_put(value)),
            3..=5 => drop(queue.try_get()),
            6 => drop(queue.put_timeout(value, soon)),
            7 => drop(queue.get_timeout(soon)),
            8 => drop((queue.len(), queue.is_full(), queue.is_empty())),
            9 => drop((queue.unfinished(), ring.lost_tasks(), ring.blocks_used())),
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
            17 | 18 => many::<T>(&queue, what / 20, len, soon),
            _ => drop(queue.shutdown(what & 0x20 != 0)),
        });
    }
    // What is accepted and not committed may wait for room that no honest getter makes.
    queue.cancel_join_thread();
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    if input.flag() {
        play::<(u32, Vec<u8>)>(&mut input)
    } else {
        play::<Vec<u8>>(&mut input)
    }
    // The bytes may not be a queue's any more; a new one is not affected.
    let other = Builder::new().bounded::<u64, Pod>(1).expect("memory and descriptors");
    other.try_put(1).expect("it is empty");
    assert_eq!(other.try_get().expect("it is not empty"), 1);
});
