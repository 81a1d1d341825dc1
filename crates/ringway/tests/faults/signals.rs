//! Signals during every blocking call: with SA_RESTART or without, none of them ends
//! early, none goes on longer, and none misses what comes.
#![allow(unsafe_code, reason = "sigaction")]

use crate::common::child::Child;
use crate::common::{Gate, LONG, SOON, Scene, fork, timed};
use crate::{first_of, number_pipe, numbers};
use ringway::WaitPolicy::Block;
use ringway::pipe::{self, Raw, RecvError, SendError};
use ringway::queue::{self, GetError, JoinError, JoinableQueue, Pod, PutReason};
use std::time::Duration;

/// What each call waits for in vain.
const WAIT: Duration = Duration::from_millis(80);
const PAUSE: Duration = Duration::from_millis(2);

/// From now on SIGUSR1 runs a handler that does nothing.
fn handle(flags: libc::c_int) {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a sigaction is a plain C structure; all zeros is a value of it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    action.sa_flags = flags;
    // SAFETY: `action` is valid, and the handler touches nothing.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
}

/// Runs `body` in a child that gets a signal every two milliseconds; once with a handler
/// after which the system restarts calls, once without. `meanwhile` runs here, once the
/// child is ready.
fn under_signals(body: impl Fn(), meanwhile: impl Fn()) {
    for flags in [libc::SA_RESTART, 0] {
        let ready = Gate::new();
        let mut child: Child = fork(|| {
            handle(flags);
            ready.open();
            body();
        });
        ready.pass();
        meanwhile();
        while !child.ended() {
            child.signal(libc::SIGUSR1);
            std::thread::sleep(PAUSE);
        }
        child.join();
    }
}

fn in_vain<R>(call: impl FnOnce() -> R) -> R {
    let (result, took) = timed(call);
    assert!(took >= WAIT, "cut to {took:?}");
    assert!(took < WAIT + SOON, "stretched to {took:?}");
    result
}

#[test]
fn signals_during_time_outs_of_a_queue() {
    let _scene = Scene::begin();
    under_signals(
        || {
            let queue = numbers(1, Block);
            let got = in_vain(|| queue.get_timeout(WAIT));
            assert!(matches!(got, Err(GetError::Empty)), "{got:?}");
            queue.put(1).unwrap();
            let put = in_vain(|| queue.put_timeout(2, WAIT)).unwrap_err();
            assert!(matches!(put.reason, PutReason::Full), "{put}");
            let tasks: JoinableQueue<u64, Pod> =
                queue::Builder::new().policy(Block).joinable_bounded(1).unwrap();
            tasks.put(1).unwrap();
            let joined = in_vain(|| tasks.join_timeout(WAIT));
            assert!(matches!(joined, Err(JoinError::Timeout)), "{joined:?}");
            let (mut a, mut b) = (numbers(1, Block), numbers(1, Block));
            let ready = in_vain(|| ringway::wait(&mut [&mut a, &mut b], Some(WAIT)));
            assert!(ready.is_empty());
        },
        || {},
    );
}

#[test]
fn signals_during_time_outs_of_a_pipe() {
    let _scene = Scene::begin();
    under_signals(
        || {
            let (mut receiver, mut sender) = pipe::Builder::new()
                .policy(Block)
                .capacity(4096)
                .simplex::<Vec<u8>, Raw>()
                .unwrap();
            let got = in_vain(|| receiver.recv_timeout(WAIT));
            assert!(matches!(got, Err(RecvError::Timeout)), "{got:?}");
            assert!(!in_vain(|| receiver.poll(WAIT)).unwrap());
            // A streamed message, and one that is whole.
            let sent = in_vain(|| sender.send_timeout(&vec![1; 9000], WAIT));
            assert!(matches!(sent, Err(SendError::Timeout)), "{sent:?}");
            while sender.try_send(&vec![1; 500]).is_ok() {}
            let sent = in_vain(|| sender.send_timeout(&vec![1; 500], WAIT));
            assert!(matches!(sent, Err(SendError::Timeout)), "{sent:?}");
        },
        || {},
    );
}

#[test]
fn signals_during_time_outs_of_batches_and_grants() {
    let _scene = Scene::begin();
    under_signals(
        || {
            // A queue of a pool that one reservation uses up.
            let queue = queue::Builder::new()
                .policy(Block)
                .pool_size(64 << 10)
                .bounded::<Vec<u8>, Raw>(2)
                .unwrap();
            let got = in_vain(|| queue.get_many_timeout(&mut Vec::new(), 2, WAIT));
            assert!(matches!(got, Err(GetError::Empty)), "{got:?}");
            let got = in_vain(|| queue.get_ref_timeout(WAIT).map(drop));
            assert!(matches!(got, Err(GetError::Empty)), "{got:?}");
            let all = queue.reserve(60_000).unwrap();
            let refused = in_vain(|| queue.reserve_timeout(60_000, WAIT).map(drop));
            assert!(matches!(refused, Err(PutReason::NoMemory)), "{refused:?}");
            let put = in_vain(|| queue.put_many_timeout(vec![vec![1]; 3], WAIT)).unwrap_err();
            assert!(matches!(put.reason, PutReason::Full) && put.put == 2, "{put}");
            let put = in_vain(|| all.commit_timeout(WAIT).map_err(|error| error.reason));
            assert!(matches!(put, Err(PutReason::Full)), "{put:?}");

            let builder = pipe::Builder::new().policy(Block).capacity(4096);
            let (mut receiver, mut sender) = builder.simplex::<Vec<u8>, Raw>().unwrap();
            let got = in_vain(|| receiver.recv_many_timeout(&mut Vec::new(), 2, WAIT));
            assert!(matches!(got, Err(RecvError::Timeout)), "{got:?}");
            let got = in_vain(|| receiver.recv_ref_timeout(WAIT).map(drop));
            assert!(matches!(got, Err(RecvError::Timeout)), "{got:?}");
            let sent = in_vain(|| sender.send_many_timeout(&vec![vec![1; 500]; 20], WAIT));
            assert!(matches!(sent.unwrap_err().reason, SendError::Timeout));
            let room = in_vain(|| sender.reserve_timeout(500, WAIT).map(drop));
            assert!(matches!(room, Err(SendError::Timeout)), "{room:?}");
        },
        || {},
    );
}

/// The flush of what an unbounded queue accepted waits for other processes to take.
#[test]
fn signals_while_the_overflow_is_flushed() {
    let _scene = Scene::begin();
    let small = queue::Builder::new().policy(Block).ring_len(1).unbounded::<u64, Pod>().unwrap();
    under_signals(
        || {
            (0..20).for_each(|n| small.put(n).unwrap());
            small.close();
            small.join_thread().unwrap();
        },
        || {
            std::thread::sleep(WAIT);
            (0..20).for_each(|n| assert_eq!(small.get_timeout(LONG).unwrap(), n));
        },
    );
}

#[test]
fn signals_while_a_call_is_served() {
    let _scene = Scene::begin();
    let (there, full) = (numbers(1, Block), numbers(1, Block));
    let tasks: JoinableQueue<u64, Pod> =
        queue::Builder::new().policy(Block).joinable_bounded(1).unwrap();
    under_signals(
        || {
            assert_eq!(there.get().unwrap(), 1);
            full.put(1).unwrap();
            full.put(2).unwrap();
            tasks.put(5).unwrap();
            tasks.join().unwrap();
            let (mut a, mut b) = (there.clone(), full.clone());
            assert_eq!(first_of(&mut [&mut a, &mut b]), [0]);
            assert_eq!(there.get().unwrap(), 2);
        },
        || {
            // Each answer comes while the child sleeps, most of the time.
            let pause = || std::thread::sleep(3 * PAUSE);
            pause();
            there.put(1).unwrap();
            pause();
            assert_eq!(full.get_timeout(LONG).unwrap(), 1);
            assert_eq!(full.get_timeout(LONG).unwrap(), 2);
            assert_eq!(tasks.get_timeout(LONG).unwrap(), 5);
            pause();
            tasks.task_done().unwrap();
            pause();
            there.put(2).unwrap();
        },
    );
}

#[test]
fn signals_while_messages_stream() {
    let _scene = Scene::begin();
    const LEN: usize = 200_000;
    under_signals(
        || {
            let (mut receiver, mut sender) = pipe::Builder::new()
                .policy(Block)
                .capacity(4096)
                .simplex::<Vec<u8>, Raw>()
                .unwrap();
            let (mut answers, mut answer) = number_pipe(Block);
            let echo = fork(move || {
                let mut got = vec![0; LEN];
                for n in 0..20_u64 {
                    assert_eq!(receiver.recv_bytes_into(&mut got).unwrap(), LEN);
                    assert!(got.iter().all(|byte| u64::from(*byte) == n));
                    answer.send(&n).unwrap();
                }
            });
            for n in 0..20 {
                sender.send(&vec![n; LEN]).unwrap();
                assert_eq!(answers.recv().unwrap(), u64::from(n));
            }
            echo.join();
        },
        || {},
    );
}
