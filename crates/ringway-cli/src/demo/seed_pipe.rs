//! The classic pipe program: one process receives and prints until the other has sent
//! five messages and closed its end; the parent joins both.

use super::say;
use crate::failure::{Failure, check_end};
use crate::signals::Signals;
use ringway::Spawn;
use ringway::pipe::{self, Connection, SendError};
use std::process::ExitCode;

/// Prints what it receives.
pub(super) fn fun1(mut conn: Connection<String>) -> ExitCode {
    loop {
        let (line, last) = match conn.recv() {
            Ok(message) => (format!("{message}\n"), false),
            Err(end) => (format!("{end}\n"), true),
        };
        if let Err(failure) = say(&line) {
            return failure.end();
        }
        if last {
            return ExitCode::SUCCESS;
        }
    }
}

/// Sends five messages.
pub(super) fn fun2(mut conn: Connection<String>) -> Result<(), SendError> {
    for _ in 0..5 {
        conn.send(&"你好，我是fun2".to_string())?;
    }
    conn.close();
    Ok(())
}

/// Starts both, and waits for both to end.
pub(super) fn run(signals: &mut Signals) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(e.to_string());
    let (conn1, conn2) = pipe::duplex::<String>().map_err(|e| failed(&e))?;
    let p1 = Spawn::new(fun1).name("ringway-fun1").kill_on_drop(true);
    let p1 = p1.spawn(conn1).map_err(|e| failed(&e))?;
    let p2 = Spawn::new(fun2).name("ringway-fun2").kill_on_drop(true);
    let p2 = p2.spawn(conn2).map_err(|e| failed(&e))?;

    let ended = [("fun1", p1.join()), ("fun2", p2.join())];
    signals.check()?;
    for (name, status) in ended {
        check_end(name, status.map_err(|e| failed(&e))?)?;
    }
    say("main end\n")
}
