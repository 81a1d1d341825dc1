//! Threads that the program does not notice, and that start in a forked child, too.
//!
//! # Why not `std::thread`
//!
//! Every thread that `std` starts takes a lock of its own before it runs anything of
//! ours (it notes its name for the handler of stack overflows). A fork copies that lock
//! as it is: if another thread of the parent held it, being just about to start, then
//! in the child nobody ever lets go of it, and no thread that `std` starts there ever
//! begins. Attaching waits for the guardian's first words, so the child would hang in its
//! first call, once in some ten thousand forks of a program that starts threads all the time.
//! The C library's own threads know of fork: it puts its locks right in the child.
#![allow(unsafe_code, reason = "pthread_create, and signal masks")]

use core::ffi::{CStr, c_void};
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a new thread is given.
struct Start {
    name: &'static CStr,
    body: Box<dyn FnOnce() + Send>,
}

/// Starts a thread that the program does not notice: small, named, and with every
/// signal blocked, so that handlers go on running where the program expects them.
///
/// # Errors
///
/// The system's answer when threads run out.
pub fn spawn_quiet(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn_quiet_as(c"ringway-watch", 64 << 10, body)
}

/// As [`spawn_quiet`], with a name and a stack of `stack` bytes.
pub(crate) fn spawn_quiet_as(
    name: &'static CStr,
    stack: usize,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    // SAFETY: a signal set is a plain C structure; all zeros is a value of it.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut before = all;
    // SAFETY: `all` is a valid signal set.
    unsafe { libc::sigfillset(&raw mut all) };
    // A thread inherits the mask of the one that starts it.
    // SAFETY: both pointers are to valid signal sets that outlive the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    let started = create(stack, Start { name, body: Box::new(body) });
    // SAFETY: `before` was filled by the call above; no old mask is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, null_mut()) };
    started
}

fn create(stack: usize, start: Start) -> io::Result<()> {
    let start = Box::into_raw(Box::new(start));
    let mut answer = create_with(Some(stack), start);
    if answer == libc::EINVAL {
        // The program's thread-local variables alone do not fit such a stack.
        answer = create_with(None, start);
    }
    if answer != 0 {
        // SAFETY: made above, and no thread was: it is still ours.
        drop(unsafe { Box::from_raw(start) });
        return Err(io::Error::from_raw_os_error(answer));
    }
    Ok(())
}

/// Makes the thread, detached; with a stack as usual if no size is given. It owns `start`
/// if the answer is 0.
fn create_with(stack: Option<usize>, start: *mut Start) -> i32 {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let at = attributes.as_mut_ptr();
    // SAFETY: a place for attributes.
    let mut answer = unsafe { libc::pthread_attr_init(at) };
    if answer != 0 {
        return answer;
    }
    // SAFETY: initialized above.
    answer = unsafe { libc::pthread_attr_setdetachstate(at, libc::PTHREAD_CREATE_DETACHED) };
    if answer == 0
        && let Some(bytes) = stack
    {
        // SAFETY: initialized above.
        let least = unsafe { least_stack(at) };
        // SAFETY: initialized above.
        answer = unsafe { libc::pthread_attr_setstacksize(at, bytes + least) };
    }
    if answer == 0 {
        let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
        let into = thread.as_mut_ptr();
        // SAFETY: valid attributes, a place for the id; `run` takes what `start` is, and its
        // thread is the only one that has it from now on.
        answer = unsafe { libc::pthread_create(into, at, run, start.cast()) };
    }
    // SAFETY: initialized above, and not used any more.
    unsafe { libc::pthread_attr_destroy(at) };
    answer
}

/// What the C library takes of a stack for itself and for the program's thread-local
/// variables, which may be many: it counts them as part of the size that is asked for.
///
/// # Safety
///
/// `attributes` are initialized.
unsafe fn least_stack(attributes: *const libc::pthread_attr_t) -> usize {
    /// An estimate for C libraries that do not tell, or do not count so.
    const USUAL: usize = 16 << 10;
    // SAFETY: the name ends in a zero byte. The function has no other kind where it exists:
    // glibc keeps it for language runtimes, such as Rust's own, which asks it likewise.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__pthread_get_minstack".as_ptr()) };
    if found.is_null() {
        return USUAL;
    }
    type Ask = unsafe extern "C" fn(*const libc::pthread_attr_t) -> libc::size_t;
    // SAFETY: see above.
    let ask: Ask = unsafe { core::mem::transmute::<*mut c_void, Ask>(found) };
    // SAFETY: the caller's promise.
    unsafe { ask(attributes) }
}

/// The thread's first function.
extern "C" fn run(start: *mut c_void) -> *mut c_void {
    // SAFETY: `create_with` gave this thread what `create` made of a box.
    let Start { name, body } = *unsafe { Box::from_raw(start.cast::<Start>()) };
    // Refused, it has no name.
    let _ = rustix::thread::set_name(name);
    // A panic, which can only be that of a hook of the program's, has been told by the time
    // it gets here, and ends the thread.
    let _ = catch_unwind(AssertUnwindSafe(body));
    null_mut()
}
