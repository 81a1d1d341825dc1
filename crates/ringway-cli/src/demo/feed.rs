//! The sending side: a thread per worker takes the next file and sends it.

use super::files::Own;
use super::steady::{Skip, Steady};
use super::worker::{Order, PIECE};
use ringway::pipe::{SendError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The files to be sent, and how far that is. Shared by the feeders.
#[derive(Debug)]
pub(super) struct Work {
    files: Arc<[Own]>,
    desk: Mutex<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    next: usize,
    sent: u64,
    skipped: Vec<(usize, Skip)>,
}

impl Work {
    pub(super) fn new(files: Arc<[Own]>) -> Self {
        Self { files, desk: Mutex::default() }
    }

    /// Bytes sent until now.
    pub(super) fn sent(&self) -> u64 {
        self.desk().sent
    }

    /// The files that were left out since the last call.
    pub(super) fn take_skipped(&self) -> Vec<(usize, Skip)> {
        std::mem::take(&mut self.desk().skipped)
    }

    /// A feeder that is done with a file takes the next, so one huge file holds up
    /// nobody else.
    fn next(&self) -> Option<(usize, &Own)> {
        let mut desk = self.desk();
        let file = self.files.get(desk.next)?;
        desk.next += 1;
        Some((desk.next - 1, file))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends files down one pipe until there are no more.
pub(super) fn feed(mut pipe: Sender<Order>, work: &Work) -> Result<(), SendError> {
    let mut buffer = vec![0; PIECE];
    while let Some((index, file)) = work.next() {
        let sent = match Steady::open(&file.path, Some(file.fingerprint)) {
            Ok(opened) => {
                pipe.send(&Order::Count(index as u64))?;
                send(&mut pipe, opened, &mut buffer, work)?
            }
            Err(skip) => Err(skip),
        };
        if let Err(skip) = sent {
            work.desk().skipped.push((index, skip));
        }
    }
    pipe.send(&Order::Done)
}

/// Sends one file. If that fails half-way the worker counts half a file; nobody will
/// look at its answer.
fn send(
    pipe: &mut Sender<Order>,
    mut file: Steady,
    buffer: &mut [u8],
    work: &Work,
) -> Result<Result<(), Skip>, SendError> {
    let outcome = loop {
        match file.read(buffer) {
            Ok([]) => break file.finish().map(drop),
            Ok(piece) => {
                pipe.send_bytes(piece)?;
                work.desk().sent += piece.len() as u64;
            }
            Err(skip) => break Err(skip),
        }
    };
    pipe.send_bytes(&[])?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::count::Tally;
    use crate::demo::scratch::Scratch;
    use crate::demo::worker::{Report, serve};
    use ringway::pipe::{Builder, Connection};
    use std::path::PathBuf;

    fn own(path: PathBuf) -> Own {
        let fingerprint = Steady::open(&path, None).unwrap().fingerprint();
        Own { path, fingerprint, tally: Tally::default() }
    }

    #[test]
    fn a_file_that_changed_or_vanished_is_left_out() {
        let scratch = Scratch::new("feed");
        let names = ["changed", "empty", "vanished", "whole"];
        let files: Vec<_> = names.iter().map(|name| own(scratch.file(name, b""))).collect();
        scratch.file("changed", b"now there is something");
        std::fs::remove_file(&files[2].path).unwrap();
        let whole = own(scratch.file("whole", &b"two words\n".repeat(100_000)));
        let files = files.into_iter().take(3).chain([whole]).collect();

        let pipe = Builder::new().duplex::<Order, Report, _>();
        let (mine, theirs): (Connection<Order, Report>, _) = pipe.unwrap();
        let (orders, mut reports) = mine.split();
        let work = Work::new(files);
        let reports: Vec<Report> = std::thread::scope(|scope| {
            let worker = scope.spawn(|| serve(theirs));
            let feeder = scope.spawn(|| feed(orders, &work));
            let got = reports.iter().collect::<Result<_, _>>().unwrap();
            feeder.join().unwrap().unwrap();
            worker.join().unwrap().unwrap();
            got
        });

        let tallies: Vec<_> =
            reports.iter().map(|r| (r.file, r.tally.lines, r.tally.words)).collect();
        assert_eq!(tallies, [(1, 0, 0), (3, 100_000, 200_000)]);
        assert_eq!(work.sent(), 1_000_000);
        let skipped = work.take_skipped();
        assert!(matches!(skipped[..], [(0, Skip::Changed), (2, Skip::Io(_))]), "{skipped:?}");
    }
}
