//! Opening and inspecting: whatever a header, a parcel or a file may say.
//!
//! The input patches a header that is sound at first: magic numbers are hard to guess.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Codec, Postcard};
use ringway_core::handover::unpack;
use ringway_core::memory::{Heap, Memory};
use ringway_core::mpmc::{Geometry, Options, Ring, SharedRing};
use ringway_core::segment::{BODY, Header, Kind, LAYOUT_VERSION, Name, PARAMS, Segment, Sight};
use ringway_core::sync::Ordering::Relaxed;
use ringway_fuzz::{Input, bounded};
use ringway_pipe::{Connection, Receiver};
use ringway_queue::{JoinableQueue, Queue};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// The bytes of a segment of `len` bytes with a sound header, of a queue or of a pipe.
fn template(input: &mut Input) -> Vec<u8> {
    let capacity = 64_u64 << input.below(4);
    let slots = 1 + input.below(5) as u64;
    let (leases, pool) = (input.below(3) as u32, 3000 * input.below(3) as u64);
    let options = Options { participants: 2, actors: 3, leases, pool, ..Options::new(slots, 24) };
    let geometry = Geometry::new(&options).expect("within limits");
    let pipe = input.flag();
    let (kind, mut params, len) = if pipe {
        let rings = 1 + u64::from(input.flag());
        let mut params = [0; PARAMS];
        (params[0], params[1]) = (capacity, rings);
        (Kind::Pipe, params, 2 * BODY + rings * capacity)
    } else {
        (Kind::Queue, geometry.params(), geometry.total_len())
    };
    // What the typed layer of queues says, or whether a pipe's signature is a tag's.
    params[PARAMS - 2] |= if pipe { 0 } else { u64::from(input.byte() & 15) };
    params[4] |= u64::from(pipe && input.flag());
    let mut bytes = vec![0; usize::try_from(len).expect("small")];
    let words32 = [(8, LAYOUT_VERSION), (12, 0x0102_0304), (16, kind as u32), (20, 8)];
    let words64 = [(24, len), (40, 7), (176, 0x5EA1_ED00_5EA1_ED01)];
    bytes[..8].copy_from_slice(b"RINGWAY\0");
    for (at, word) in words32 {
        bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    let params = (48..).step_by(8).zip(params);
    for (at, word) in words64.into_iter().chain(params) {
        bytes[at..at + 8].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// The checks alone, over memory of an exact size.
fn on_the_heap(bytes: &[u8]) {
    let memory = Memory::new(Heap::new(bytes.len()));
    let (words, _) = bytes.as_chunks::<8>();
    for (at, word) in (0..).step_by(8).zip(words) {
        memory.word64(at).expect("inside").store(u64::from_ne_bytes(*word), Relaxed);
    }
    let Ok(header) = bounded(|| Header::read(&memory, "it")) else { return };
    assert_eq!(header.total_len, memory.len());
    let _ = header.expect("it", Kind::Queue, 7);
    let geometry = Geometry::from_params(&header.params, memory.len(), "it");
    let Ok(geometry) = geometry else { return };
    assert!(geometry.total_len() <= memory.len());
    let ring = Ring::new(&memory, geometry).expect("it was checked to fit");
    bounded(|| (ring.len(), ring.is_full(), ring.participants().overflow()));
}

/// The same bytes as a descriptor that another process hands over.
fn handed_over(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("fuzz", flags).expect("a descriptor is to be had"));
    file.set_len(bytes.len() as u64).expect("memory is to be had");
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    file.write_all_at(&bytes[..end], 0).expect("memory is to be had");
    fcntl_add_seals(&file, seals).expect("it has none yet");
    file.into()
}

fn as_what(kind: usize, fd: OwnedFd, parcel: &[u8]) {
    let mut buffer = [0; 64];
    match kind {
        0 => {
            let Ok(segment) = Segment::from_fd(fd) else { return };
            if let Ok(ring) = SharedRing::open(segment, 7) {
                drop((ring.try_put(b"hello"), ring.try_get(&mut buffer), ring.repair()));
                drop((ring.try_put(&[7; 300]), ring.try_get_ref(), ring.try_reserve(1000)));
                assert!(ring.blocks_used() < 1000, "more blocks than there are bytes");
                drop((ring.len(), ring.stats(), ring.participants()));
            }
        }
        1 => {
            let queue: Result<Queue<u64>, _> = unpack(vec![fd], || Postcard::decode(parcel));
            let Ok(queue) = queue else { return };
            queue.cancel_join_thread();
            drop((queue.try_put(1), queue.try_get(), queue.len(), queue.capacity()));
        }
        2 => {
            let queue: Result<JoinableQueue<u64>, _> =
                unpack(vec![fd], || Postcard::decode(parcel));
            let Ok(queue) = queue else { return };
            queue.cancel_join_thread();
            drop((queue.try_put(1), queue.try_get(), queue.unfinished(), queue.task_done()));
        }
        _ => {
            let (token, _other) = std::os::unix::net::UnixStream::pair().expect("descriptors");
            let descriptors = vec![fd, token.into()];
            if kind == 3 {
                let end: Result<Connection<u64>, _> =
                    unpack(descriptors, || Postcard::decode(parcel));
                let Ok(mut end) = end else { return };
                drop((end.try_send(&1), end.try_recv()));
            } else {
                let end: Result<Receiver<u64>, _> =
                    unpack(descriptors, || Postcard::decode(parcel));
                let Ok(mut end) = end else { return };
                drop(end.try_recv());
            }
        }
    }
}

/// The same bytes as a file with a name, as tools look at it.
fn looked_at(bytes: &[u8]) {
    let name = Name::new(&format!("fuzz-{}", std::process::id())).expect("a good name");
    std::fs::write(name.path(), bytes).expect("the directory of names can be written to");
    let sight = bounded(|| Sight::of(name.clone()));
    name.remove().expect("it is there");
    let sight = sight.expect("it was there");
    assert_eq!(sight.size, bytes.len() as u64);
    assert!(!sight.contents.expect("it can be read").held);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let how = input.byte();
    let mut bytes = template(&mut input);
    if input.byte() < 16 {
        let len = usize::from(input.short());
        bytes.truncate(len.next_multiple_of(8));
    }
    let parcel_len = input.below(8);
    let parcel = [input.bytes(parcel_len), &[0, 0, 0, 1, 0][parcel_len.min(5)..]].concat();
    while !input.is_empty() && !bytes.is_empty() {
        // Most of the time the header.
        let end = if input.flag() { 184 } else { bytes.len() };
        let at = input.below(end.min(bytes.len()));
        if input.flag() {
            bytes[at] = input.byte();
        } else if let Some(place) = bytes.get_mut(at & !7..(at & !7) + 8) {
            let old = u64::from_ne_bytes(place.try_into().expect("eight"));
            place.copy_from_slice(&input.nonsense(old).to_ne_bytes());
        }
    }
    on_the_heap(&bytes);
    match how % 16 {
        kind @ 0..=9 => {
            let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
            if how >= 0xF0 {
                seals.remove(SealFlags::SHRINK);
            }
            let fd = handed_over(&bytes, seals);
            bounded(|| as_what(usize::from(kind / 2), fd, &parcel));
        }
        10 => looked_at(&bytes),
        _ => {}
    }
});
