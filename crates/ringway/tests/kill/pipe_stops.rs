//! The stops on a pipe: sender or receiver stands still at any point. It is alive, so the
//! other end waits and is not told of an end of file, and nobody else may use its end;
//! when it goes on, or is killed after all, every message is there once.

use super::Effort;
use super::drive::{Point, survey};
use super::page::Page;
use super::pipes::{END, OTHER, Op, SHORT, Scene, Stage, close, message};
use super::rings::until;
use super::tally::{Fault, Kind, Seen, Tally, check, fault};
use ringway_pipe::{RecvError, SendError};
use std::time::Duration;

/// Long enough for a hang-up to be told: about 0.1 ms.
const A_WHILE: Duration = Duration::from_millis(2);

/// The victim stands still. Others go on, and neither bury it nor take its place.
fn stopped(stage: &mut Stage, op: Op, kill: bool) -> Result<Seen, Fault> {
    // One amidst a close has let go of its end already, or will.
    if !op.closes() {
        in_use(stage, op)?;
    }
    std::thread::sleep(A_WHILE);
    let log = stage.peer.1.logged();
    let told = log.iter().any(|what| [END, OTHER].contains(what));
    // Copies keep the pipe open where there are any.
    let closed = op.closes() && stage.copy.is_none();
    check(!told || closed, Kind::Wrong, || format!("it was only stopped: {log:?}"))?;
    if closed && stage.run.returned() {
        // It lives on, and has said that it is done with the pipe.
        let told = until(|| stage.peer.1.logged().contains(&END));
        check(told, Kind::Hung, || "no end of file".into())?;
    }
    if kill {
        stage.run.victim.child.kill();
    } else {
        // What a victim that goes on waits for.
        stage.peer.1.set(Page::CUE, 1);
        stage.run.victim.release();
        let code = stage.run.victim.child.join().or_else(|e| fault(Kind::Hung, e))?;
        check(code == 0, Kind::Wrong, || format!("the victim ended with {code}"))?;
        let returned = stage.run.returned();
        check(returned, Kind::Hung, || "the victim did not return".into())?;
    }
    let mut seen = close(stage)?;
    // One that goes on comes to its end wherever it stood.
    seen.done = None;
    Ok(seen)
}

/// A third process's copy of the end must not be usable.
fn in_use(stage: &mut Stage, op: Op) -> Result<(), Fault> {
    let Some((receiver, sender)) = &mut stage.copy else { return Ok(()) };
    let refused = if op.sends() {
        matches!(sender.try_send_bytes(&message(200, SHORT)), Err(SendError::EndInUse { .. }))
    } else {
        let got = receiver.recv_bytes_timeout(None, A_WHILE);
        matches!(got, Err(RecvError::EndInUse { .. }))
    };
    check(refused, Kind::Wrong, || "the end of a stopped process was used".into())
}

/// Stops at every point of `op`; the victim goes on or dies.
pub(crate) fn stops(name: &str, op: Op, effort: Effort) -> bool {
    let mut tally = Tally::new(name);
    for copy in [false, true] {
        let scene = Scene { op, copy };
        let found = survey(effort, &|| scene.set());
        tally.length(found.instructions, found.capped);
        let points = found.points.iter().filter(|point| !matches!(point, Point::Asleep));
        for (i, point) in points.enumerate() {
            for kill in [false, true] {
                if !effort.full && (i % 2 == 0) == kill {
                    continue;
                }
                let mut stage = scene.set();
                stage.run.go_to(*point);
                let place = stage.run.place();
                let result = stopped(&mut stage, op, kill);
                tally.note(place, &format!("{scene:?}, killed {kill}"), result);
            }
        }
    }
    tally.finish("stops")
}
