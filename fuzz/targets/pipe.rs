//! Pipes in real segments, whose bytes an input changes between the calls: both typed
//! ends, streams of any claimed length, waiting, handing over and closing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Codec, Postcard};
use ringway_core::handover::{collect, unpack};
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
            // Most of the time a control block, or the first words of a ring.
            let near = input.flag();
            let word = if near { 16 * input.below(10) } else { input.below(words) };
            let word = if near && input.flag() { 512 + word / 4 } else { word };
            let at = BODY + 8 * word.min(words - 1) as u64;
            overwrite(&memory, at, is_narrow(at), |old| input.nonsense(old));
        }
        let soon = Duration::from_micros(input.byte().into());
        let what = input.byte();
        let end = &mut ends[usize::from(what & 1)];
        let message = &[0x33; 9000][..input.below(9000)];
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

/// Memory is taken only for bytes that came: the rings hold 4 KiB each.
fn received(result: Result<Vec<u8>, RecvError>) {
    if let Ok(bytes) = result {
        assert!(bytes.len() <= 1 << 20, "{} bytes from nowhere", bytes.len());
    }
}
