//! The processes that are killed.

use super::log::{Count, Log, PUTTERS, STOP, STOP_PUTTING};
use super::message::{self, LONGEST};
use super::{Cargo, open};
use crate::failure::{Failure, failed};
use crate::signals::leave_interrupts_to_parent;
use ringway_core::mpmc::{Batch, GetError, PutError, ReadGrant, SharedRing};
use ringway_core::wait::{Deadline, Spinner, WaitPolicy};
use std::process::ExitCode;
use std::time::Duration;

/// How long a call waits before it asks whether to go on.
const PATIENCE: Duration = Duration::from_millis(20);

/// Paths of ring and log, which putter or getter this is, how many messages it puts
/// or takes at a time at most, and whether it takes them as grants.
pub(super) type Arguments = (String, String, u64, u64, bool);

/// The newest number that a getter has of each putter.
pub(super) type Newest = [u64; 2];
const _: () = assert!(std::mem::size_of::<Newest>() as u64 == 8 * PUTTERS);

/// Puts as fast as it can.
pub(super) fn putter((ring, log, which, batch, _): Arguments) -> ExitCode {
    end(start(&ring, &log).and_then(|(ring, log)| match batch {
        1 => put_on(&ring, &log, which),
        _ => put_batches(&ring, &log, which, batch),
    }))
}

/// Takes as fast as it can.
pub(super) fn getter((ring, log, which, batch, grants): Arguments) -> ExitCode {
    end(start(&ring, &log).and_then(|(ring, log)| match batch {
        1 => take_on(&ring, &log, which, grants),
        _ => take_batches(&ring, &log, which, batch),
    }))
}

fn end(result: Result<(), Failure>) -> ExitCode {
    result.map_or_else(Failure::end, |()| ExitCode::SUCCESS)
}

fn start(ring: &str, log: &str) -> Result<(SharedRing, Log), Failure> {
    leave_interrupts_to_parent().map_err(|e| failed("cannot leave signals alone", &e))?;
    let log = open::file(log).and_then(|fd| Log::open(fd).map_err(|e| failed("the log", &e)))?;
    Ok((open::ring(ring)?, log))
}

fn put_on(ring: &SharedRing, log: &Log, which: u64) -> Result<(), Failure> {
    let mut spinner = Spinner::new(WaitPolicy::Adaptive);
    let mut buffer = [0; LONGEST];
    let longest = longest(ring);
    // The one before may have died amidst this number: it is used by nobody again.
    let mut number = log.begun(which) + 1;
    while log.asked() == 0 && number <= log.last_number() {
        let len = message::write(which, number, longest, &mut buffer);
        log.begin(which, number);
        loop {
            match ring.put(&buffer[..len], &mut spinner, Deadline::after(PATIENCE)) {
                Ok(()) => break,
                // Nothing was stored: the number stays begun, and was not put.
                Err(PutError::Full | PutError::NoMemory) if log.asked() != 0 => return Ok(()),
                Err(PutError::Full | PutError::NoMemory) => {}
                Err(PutError::Contended | PutError::Interrupted) => {}
                Err(e) => return Err(failed("cannot put", &e)),
            }
        }
        log.end(which, number);
        number += 1;
    }
    wait_for_the_others(log);
    Ok(())
}

fn wait_for_the_others(log: &Log) {
    while log.asked() < STOP_PUTTING {
        std::thread::sleep(PATIENCE);
    }
}

/// As [`put_on`], from one to `most` messages at a time.
fn put_batches(ring: &SharedRing, log: &Log, which: u64, most: u64) -> Result<(), Failure> {
    let mut spinner = Spinner::new(WaitPolicy::Adaptive);
    let (mut buffer, mut batch) = ([0; LONGEST], Batch::new());
    let longest = longest(ring);
    let mut number = log.begun(which) + 1;
    while log.asked() == 0 && number + most <= log.last_number() {
        let many = 1 + number % most;
        batch.clear();
        for n in number..number + many {
            let len = message::write(which, n, longest, &mut buffer);
            batch.push(&buffer[..len]);
        }
        log.begin(which, number + many - 1);
        let mut put = 0;
        while put < batch.len() {
            let deadline = Deadline::after(PATIENCE);
            let result = match ring.put_many(&batch, put, &mut spinner, deadline) {
                // It does not fit a slot.
                Err(PutError::TooLong { .. }) => {
                    let message = batch.get(put).unwrap_or_default();
                    ring.put(message, &mut spinner, deadline).map(|()| 1)
                }
                other => other,
            };
            match result {
                Ok(some) => put += some,
                Err(PutError::Full | PutError::NoMemory) if log.asked() != 0 => return Ok(()),
                Err(PutError::Full | PutError::NoMemory) => {}
                Err(PutError::Contended | PutError::Interrupted) => {}
                Err(e) => return Err(failed("cannot put", &e)),
            }
            // Nothing if none was put so far: the number before was ended already.
            log.end(which, number + put as u64 - 1);
        }
        number += many;
    }
    wait_for_the_others(log);
    Ok(())
}

/// As [`take_on`], up to `most` messages at a time.
fn take_batches(ring: &SharedRing, log: &Log, which: u64, most: u64) -> Result<(), Failure> {
    let mut spinner = Spinner::new(WaitPolicy::Adaptive);
    let (mut buffer, mut batch) = ([0; LONGEST], Batch::new());
    let (mut newest, longest) = (Newest::default(), longest(ring));
    let most = usize::try_from(most).unwrap_or(1);
    loop {
        batch.clear();
        let deadline = Deadline::after(PATIENCE);
        match ring.get_many(most, &mut batch, false, &mut spinner, deadline) {
            // One that a dead getter gave back, or that does not fit a slot.
            Ok(0) => match ring.try_get(&mut buffer) {
                Ok(len) => note(log, which, buffer.get(..len), longest, &mut newest),
                Err(GetError::Empty | GetError::Contended) => {}
                Err(e) => return Err(failed("cannot get", &e)),
            },
            Ok(_) => {
                batch.iter().for_each(|bytes| note(log, which, Some(bytes), longest, &mut newest));
            }
            Err(GetError::Empty) if log.asked() == STOP => return Ok(()),
            Err(GetError::Empty | GetError::Contended | GetError::Interrupted) => {}
            Err(e) => return Err(failed("cannot get", &e)),
        }
    }
}

fn take_on(ring: &SharedRing, log: &Log, which: u64, grants: bool) -> Result<(), Failure> {
    let mut spinner = Spinner::new(WaitPolicy::Adaptive);
    let (mut buffer, mut streamed) = ([0; LONGEST], Vec::new());
    let (mut newest, longest) = (Newest::default(), longest(ring));
    loop {
        let got = if grants {
            ring.get_ref(&mut spinner, Deadline::after(PATIENCE))
                .map(|grant| note_grant(log, which, grant, &mut buffer, &mut newest))
        } else {
            ring.get(&mut buffer, &mut spinner, Deadline::after(PATIENCE))
                .map(|len| note(log, which, buffer.get(..len), longest, &mut newest))
        };
        match got {
            Ok(()) => {}
            Err(GetError::Stream(stream)) => {
                let deadline = Deadline::after(PATIENCE);
                match stream.receive(&mut streamed, &mut spinner, deadline, None) {
                    Ok(true) => note(log, which, Some(&streamed), longest, &mut newest),
                    // Its putter is gone, or did not get on: another try, here or elsewhere.
                    Ok(false) | Err(GetError::Empty) => {}
                    Err(e) => return Err(failed("cannot receive", &e)),
                }
            }
            Err(GetError::Empty) if log.asked() == STOP => return Ok(()),
            Err(GetError::Empty | GetError::Contended | GetError::Interrupted) => {}
            Err(e) => return Err(failed("cannot get", &e)),
        }
    }
}

/// Bytes of the longest message that is put to `ring`.
pub(super) fn longest(ring: &SharedRing) -> usize {
    let in_blocks = ring.max_message() > ring.payload_size();
    if in_blocks { Cargo::Blocks.longest() } else { Cargo::Inline.longest() }
}

/// Writes down what a grant holds and releases it: a death in between gives the message to
/// another getter, who writes it down, too.
fn note_grant(
    log: &Log,
    getter: u64,
    grant: ReadGrant,
    buffer: &mut [u8; LONGEST],
    newest: &mut Newest,
) {
    let len = grant.len();
    let read = buffer.get_mut(..len).is_some_and(|to| grant.read_at(0, to).is_ok());
    let bytes = if read { buffer.get(..len) } else { None };
    note(log, getter, bytes, Cargo::Grants.longest(), newest);
    grant.release();
}

/// Writes down what came.
pub(super) fn note(
    log: &Log,
    getter: u64,
    bytes: Option<&[u8]>,
    longest: usize,
    newest: &mut Newest,
) {
    let sound = |(p, number): &(u64, u64)| *p < PUTTERS && *number <= log.last_number();
    let Some((p, number)) = bytes.and_then(|bytes| message::read(bytes, longest)).filter(sound)
    else {
        return log.count_one(getter, Count::Torn);
    };
    if log.has(getter, p, number) {
        log.count_one(getter, Count::Doubled);
    }
    log.take(getter, p, number);
    log.count_one(getter, Count::Taken);
    if let Some(newest) = usize::try_from(p).ok().and_then(|p| newest.get_mut(p)) {
        if number < *newest {
            log.count_one(getter, Count::Late);
        }
        *newest = number.max(*newest);
    }
}
