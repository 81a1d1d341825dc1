//! System calls that a filter refuses, as in a sandbox.
#![allow(unsafe_code, reason = "seccomp")]

/// What is refused, and what the caller hears.
pub(crate) struct Refusal {
    call: libc::c_long,
    /// Only if this argument has one of these bits; or, for no bits, is 0.
    argument: Option<(u32, u32)>,
    answer: u32,
}

/// The call fails with `errno`.
pub(crate) fn refusing(call: libc::c_long, errno: i32) -> Refusal {
    let answer = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    Refusal { call, argument: None, answer }
}

/// The process is killed if it calls with any of `bits` in argument number `argument`; if
/// `bits` is 0, with 0 there.
pub(crate) fn fatal(call: libc::c_long, argument: u32, bits: u32) -> Refusal {
    let answer = libc::SECCOMP_RET_KILL_PROCESS;
    Refusal { call, argument: Some((argument, bits)), answer }
}

/// From now on this thread, and those it starts, live with these. For a child.
pub(crate) fn refuse(refusals: &[Refusal]) {
    let step =
        |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let load = |at| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let answer = |answer| step(libc::BPF_RET | libc::BPF_K, 0, 0, answer);
    let mut program = Vec::new();
    for refusal in refusals {
        let call = u32::try_from(refusal.call).unwrap();
        let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(load(0));
        match refusal.argument {
            None => program.push(step(equals, 0, 1, call)),
            Some((argument, bits)) => {
                program.push(step(equals, 0, 3, call));
                // The low half of the argument.
                program.push(load(16 + 8 * argument));
                let any = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
                let test = if bits == 0 { equals } else { any };
                program.push(step(test, 0, 1, bits));
            }
        }
        program.push(answer(refusal.answer));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    let len = u16::try_from(program.len()).unwrap();
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let (set, mode) = (libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the program lives through the call.
    assert_eq!(unsafe { libc::syscall(set, mode, 0, &raw const program) }, 0);
}
