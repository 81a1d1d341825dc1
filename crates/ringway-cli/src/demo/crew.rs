//! The worker processes of a job.

use crate::failure::{Failure, check_end, failed};
use ringway::{Child, Spawn};
use serde::Serialize;

/// All workers. Dropping it kills them and waits for their end.
#[derive(Default)]
pub(super) struct Crew(Vec<Child>);

impl Crew {
    /// Starts one more: a process called `name` that runs `function`. It also ends when
    /// this process does.
    pub(super) fn hire<F, A, R>(
        &mut self,
        name: &str,
        function: F,
        arguments: A,
    ) -> Result<(), Failure>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize,
    {
        let spawn = Spawn::new(function).name(name).kill_on_drop(true).die_with_parent(true);
        let child = spawn.spawn(arguments).map_err(|e| failed("cannot start a worker", &e))?;
        self.0.push(child);
        Ok(())
    }

    /// Whether none is alive.
    pub(super) fn has_ended(&mut self) -> Result<bool, Failure> {
        for child in &mut self.0 {
            if child.try_join().map_err(|e| failed("cannot wait for a worker", &e))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for the end of all, which must have been a good one.
    pub(super) fn join(self) -> Result<(), Failure> {
        for child in self.0 {
            let id = child.id();
            let status = child.join().map_err(|e| failed("cannot wait for a worker", &e))?;
            check_end(&format!("worker process {id}"), status)?;
        }
        Ok(())
    }
}
