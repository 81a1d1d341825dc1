//! Pipes in real segments, whose bytes an input changes between the calls: both typed
//! ends, batches, grants, streams of any claimed length, waiting, handing over and closing.
//! While a grant is held the bytes change, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Codec, Postcard};
use ringway_core::handover::{collect, unpack};
use ringway_core::memory::Memory;
use ringway_core::segment::{BODY, Segment};
use ringway_fuzz::{Input, bounded, overwrite};
use ringway_pipe::{Builder, Connection, RecvError};
use std::time::Duration;

type End = Connection<(u32, String)>;

/// Whether the code under test uses the words at `at` in halves: the records of the two
/// ends, and the events and departure counts of both rings.
fn is_narrow(at: u64) -> bool {
    let at = at - BODY;
    at < 256 || (512..768).contains(&at) || (1024..1280).contains(&at)
}

/// Hands an end over to ourselves. Also lets another look at its descriptors.
fn pass_on(end: &End, look: impl FnOnce(&[std::os::fd::OwnedFd])) -> Option<End> {
    let mut bytes = Vec::new();
    let pack = || Postcard::encode(end, &mut Vec::new(), |parcel| bytes.extend_from_slice(parcel));
    let (packed, fds) = collect(pack);
    packed.ok()?;
    look(&fds);
    unpack(fds, || Postcard::decode(&bytes)).ok()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (a, b) = Builder::new().capacity(4096).duplex().expect("memory and descriptors");
    let mut memory = None;
    let a = pass_on(&a, |fds| {
        let segment = Segment::from_fd(fds[0].try_clone().expect("descriptors"));
        memory = Some(segment.expect("it is sound yet").memory().clone());
    });
    let memory = memory.expect("an end has descriptors");
    let mut ends: [End; 2] = [a.expect("it is sound yet"), b];
    let words = ((memory.len() - BODY) / 8) as usize;
    let mut buffer = vec![0; 9000];
    while !input.is_empty() {
        if input.flag() {
            change(&memory, words, &mut input);
        }
        let soon = Duration::from_micros(input.byte().into());
        let what = input.byte();
        let end = &mut ends[usize::from(what & 1)];
        let message = &[0x33; 9000][..input.below(9000)];
        if what >= 0xE0 {
            let held = || change(&memory, words, &mut input);
            bounded(|| in_place(end, what >> 1 & 15, message, soon, held));
            continue;
        }
        bounded(|| match what >> 1 & 15 {
            0 | 1 => drop(end.try_send(&(7, "seven".repeat(message.len() / 10)))),
            2 => drop(end.try_recv()),
            3 => drop(end.try_send_bytes(message)),
            4 | 5 => received(end.try_recv_bytes(None)),
            6 => received(end.try_recv_bytes(Some(message.len()))),
            7 => drop(end.send_bytes_timeout(message, soon)),
            8 | 9 => received(end.recv_bytes_timeout(None, soon)),
            10 => drop(end.try_recv_bytes_into(&mut buffer[..message.len()])),
            11 => drop(end.poll(soon)),
            12 => drop(end.recv_timeout(soon)),
            13 => {
                if let Some(passed) = pass_on(end, |_| {}) {
                    *end = passed;
                }
            }
            14 => drop(end.send_timeout(&(1, String::new()), soon)),
            _ if what & 0xC0 == 0 => end.close(),
            _ => drop((end.poll(Duration::ZERO), end.policy())),
        });
    }
});

/// Changes one word.
fn change(memory: &Memory, words: usize, input: &mut Input) {
    // Most of the time in a control block, or among the first words of a ring.
    let near = input.flag();
    let word = if near { 16 * input.below(10) } else { input.below(words) };
    let word = if near && input.flag() { 512 + word / 4 } else { word };
    let at = BODY + 8 * word.min(words - 1) as u64;
    overwrite(memory, at, is_narrow(at), |old| input.nonsense(old));
}

/// Batches and grants; `held` runs while a grant is held.
fn in_place(end: &mut End, what: u8, message: &[u8], soon: Duration, held: impl FnOnce()) {
    let many = message.len() % 40;
    let mut values = Vec::new();
    let mut messages = Vec::new();
    match what {
        0 | 1 => drop(end.try_send_many(&vec![(9, "nine".repeat(many)); many])),
        2 => drop(end.send_many_timeout(&vec![(8, String::new()); 9 * many], soon)),
        3 => drop(end.try_send_bytes_many(&vec![message; many])),
        4 | 5 => at_most(many, end.try_recv_many(&mut values, many), values.len()),
        6 => at_most(many, end.recv_many_timeout(&mut values, many, soon), values.len()),
        7 | 8 => {
            let limit = (what == 7).then_some(1000);
            let got = end.try_recv_bytes_many(&mut messages, many, limit);
            at_most(many, got, messages.len());
            assert!(messages.iter().all(|bytes| bytes.len() <= limit.unwrap_or(1 << 20)));
        }
        9..=11 => {
            let Ok(mut grant) = end.reserve_timeout(message.len(), soon) else { return };
            assert_eq!(grant.len(), message.len());
            let (early, late) = message.split_at(many);
            grant.write_at(late.len(), early).expect("it was reserved");
            assert!(grant.write_at(1, message).is_err() || message.is_empty());
            assert!(grant.store(message.len(), &7_u64).is_err());
            held();
            match what {
                9 => drop(grant.commit()),
                10 => drop(grant.commit_prefix(many)),
                _ => drop(grant),
            }
        }
        _ => {
            let Ok(grant) = end.recv_ref_timeout(soon) else { return };
            // The rings hold 4 KiB each.
            assert!(grant.len() < 4096, "a granted message longer than the ring");
            held();
            assert_eq!(grant.to_vec().len(), grant.len());
            assert_eq!(grant.values::<[u16; 4]>().count(), grant.len() / 8);
            assert!(grant.load::<u8>(grant.len()).is_err());
            let copied = std::io::copy(&mut grant.reader(), &mut std::io::sink());
            assert_eq!(copied.expect("nothing can fail"), grant.len() as u64);
            if what == 13 {
                grant.release();
            }
        }
    }
}

/// No more than was asked for, and as many as it says. With an error nothing, unless a
/// message behind others made no sense.
fn at_most(many: usize, result: Result<usize, RecvError>, got: usize) {
    assert!(got <= many, "{got} of {many}");
    match result {
        Ok(told) => assert_eq!(told, got),
        Err(RecvError::Decode(_)) => {}
        Err(_) => assert_eq!(got, 0, "received and not told"),
    }
}

/// Memory is taken only for bytes that came: the rings hold 4 KiB each.
fn received(result: Result<Vec<u8>, RecvError>) {
    if let Ok(bytes) = result {
        assert!(bytes.len() <= 1 << 20, "{} bytes from nowhere", bytes.len());
    }
}
