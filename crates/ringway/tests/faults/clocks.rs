//! A wall clock that is set does not matter, because nobody looks at it.
//!
//! To set the clock of the machine would concern everybody on it. Instead the processes
//! run under a filter that kills on every sleep that the wall clock could end: a futex
//! with FUTEX_CLOCK_REALTIME, futex_waitv on CLOCK_REALTIME, and absolute sleeps on it.

use crate::common::{LONG, SHORT, Scene, fork, timed};
use crate::refuse::{fatal, refuse};
use crate::{POLICIES, exchange, number_pipe, numbers};
use ringway::queue::{self, Pod};
use std::time::{Duration, Instant};

/// Not in the C library's headers.
const FUTEX_CLOCK_REALTIME: u32 = 256;
const TIMER_ABSTIME: u32 = 1;

fn no_wall_clock() {
    refuse(&[
        fatal(libc::SYS_futex, 1, FUTEX_CLOCK_REALTIME),
        // Its clock is argument 4.
        fatal(libc::SYS_futex_waitv, 4, 0),
        // Relative sleeps on that clock are not changed by setting it.
        fatal(libc::SYS_clock_nanosleep, 1, TIMER_ABSTIME),
        fatal(libc::SYS_timerfd_settime, 1, TIMER_ABSTIME),
    ]);
}

#[test]
fn no_wait_depends_on_the_wall_clock() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        exchange(100, policy, no_wall_clock);
        fork(|| {
            no_wall_clock();
            exchange(100, policy, || {});
            // All that can time out.
            let (mut queue, (mut receiver, _sender)) = (numbers(1, policy), number_pipe(policy));
            let wait = SHORT / 4;
            let in_vain = |call: &mut dyn FnMut() -> bool| {
                let (failed, took) = timed(call);
                assert!(failed && took >= wait && took < LONG, "{took:?}");
            };
            in_vain(&mut || queue.get_timeout(wait).is_err());
            in_vain(&mut || queue.get_deadline(Instant::now() + wait).is_err());
            in_vain(&mut || receiver.recv_timeout(wait).is_err());
            in_vain(&mut || ringway::wait(&mut [&mut queue, &mut receiver], Some(wait)).is_empty());
            queue.put(1).unwrap();
            in_vain(&mut || queue.put_timeout(2, wait).is_err());
            let tasks = queue::Builder::new().joinable::<u64, Pod>().unwrap();
            tasks.put(1).unwrap();
            in_vain(&mut || tasks.join_timeout(wait).is_err());
            // The overflow's feeder and the guardian's tick.
            let small = queue::Builder::new().ring_len(1).unbounded::<u64, Pod>().unwrap();
            (0..100).for_each(|n| small.put(n).unwrap());
            (0..100).for_each(|n| assert_eq!(small.get_timeout(LONG).unwrap(), n));
            std::thread::sleep(Duration::from_millis(600));
        })
        .join();
    }
}

#[test]
fn the_filter_would_see_a_wall_clock() {
    use std::os::unix::process::ExitStatusExt;
    let _scene = Scene::begin();
    let mut child = fork(|| {
        no_wall_clock();
        let word = [0_u32; 1];
        let realtime = libc::FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME.cast_signed();
        #[allow(unsafe_code, reason = "a futex")]
        // SAFETY: the word lives through the call, which does not wait: it is not 1.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), realtime, 1, 0, 0, u32::MAX)
        };
    });
    crate::common::eventually("it ends", || child.ended());
    let status = std::process::ExitStatus::from_raw(child.status().unwrap());
    assert_eq!(status.signal(), Some(libc::SIGSYS));
}
