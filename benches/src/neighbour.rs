//! A noisy neighbour: a process that computes and copies large blocks all the time, on
//! whatever processor the system gives it.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::{Partner, Role};
use rustix::process::{Signal, kill_process};
use std::hint::black_box;

const NEIGHBOUR: &str = "neighbour";
/// Bytes it copies: more than caches hold.
const BLOCK: usize = 32 << 20;

/// Its role.
pub const ROLE: Role = Role { workload: NEIGHBOUR, subject: NEIGHBOUR, play: be_noisy };

/// A running one.
#[derive(Debug)]
pub struct Neighbour(Partner);

impl Neighbour {
    /// Moves in.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn start() -> Fallible<Self> {
        let partner = Partner::start_on(None, NEIGHBOUR, NEIGHBOUR, BLOCK, Parcel::default())?;
        partner.control()?.expect(1)?;
        Ok(Self(partner))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // The partner is reaped when it is dropped, after this.
        let _ = kill_process(self.0.pid(), Signal::KILL);
    }
}

fn be_noisy(control: &Control, _parcel: Parcel, block: usize) -> Fallible {
    let (mut one, mut other) = (vec![1_u8; block], vec![2_u8; block]);
    control.send(1)?;
    loop {
        black_box(&mut other).copy_from_slice(black_box(&one));
        std::mem::swap(&mut one, &mut other);
    }
}
