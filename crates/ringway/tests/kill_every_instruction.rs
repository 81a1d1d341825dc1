//! SIGKILL at any machine instruction.
//!
//! A process is single-stepped through an operation and killed after `k` instructions,
//! for real. Then the survivors, one that was asleep in an operation of its own and one
//! that comes anew, must find every message once and in order, room for exactly as many
//! as ever, and no record, slot, mark or sleeper's bit left behind; and must come to an
//! end. The same with processes that are stopped after `k` instructions and go on, or are
//! killed, after others have worked on.
//!
//! ```text
//! cargo test --release -p ringway --test kill_every_instruction -- --full --nocapture
//! ```
//!
//! kills at every instruction; of attaching, repair, streams and stops, which are long, at
//! every change and system call and a sample of the rest. It takes an hour or two. Without
//! `--full` (or `RINGWAY_KILL=full`) only where the outcome can change, after changes of
//! the segment and system calls, and at a few places between.
//! `RINGWAY_KILL_FAIL_FAST=1` ends at the first fault. A word that is no flag chooses the
//! operations whose names begin with it, `--part=2/9` the second of nine parts of their scenes.
//!
//! Without `--guardian` no process has one: repair runs in the calls of the survivors, and
//! `repair` kills those. With it every process has: survivors hear of the death from the
//! kernel, their guardians race with those who come anew, and `repair` steps and kills a
//! guardian's own thread while it repairs.
//!
//! Release builds only: an unoptimized operation is several times as long, and the sample
//! would miss what it is for.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kill;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    println!("single steps are implemented for x86-64 only: nothing was tested");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    use kill::Effort;
    use kill::pipes::Op as PipeOp;
    use kill::rings::Op;
    use kill::streams::Op as StreamOp;
    use kill::typed::Op as TypedOp;
    use ringway_core::peer::guardian;
    use std::collections::BTreeMap;
    use std::process::ExitCode;

    if cfg!(debug_assertions) {
        println!("single steps need a release build: nothing was tested");
        return ExitCode::SUCCESS;
    }
    let settings = guardian::settings();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let guarded = has("--guardian");
    guardian::configure(guardian::Settings { guardian: guarded, ..settings });
    if has("--list") {
        println!("kill_every_instruction: test");
        return ExitCode::SUCCESS;
    }
    let full = has("--full") || std::env::var("RINGWAY_KILL").is_ok_and(|v| v == "full");
    let effort = if full { Effort::FULL } else { Effort::QUICK };
    let part = args.iter().find_map(|arg| arg.strip_prefix("--part="));
    let Some(effort) = part.map_or(Some(effort), |part| effort.piece(part)) else {
        println!("no part: {part:?}; it is --part=I/N, with I from 1 to N");
        return ExitCode::FAILURE;
    };
    let parted = part.is_some();
    let words: Vec<&String> =
        args.iter().filter(|a| !a.starts_with('-') && *a != "kill_every_instruction").collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.starts_with(*word));
    let mut paths = BTreeMap::new();
    let mut good = true;
    let repair = if guarded { Op::Guard } else { Op::Repair };
    for (name, op) in [
        ("put", (Op::TryPut, false)),
        ("get", (Op::TryGet, false)),
        ("batch put", (Op::PutMany, false)),
        ("batch get", (Op::GetMany, false)),
        ("put into a full ring", (Op::Put, false)),
        ("get from an empty ring", (Op::Get, false)),
        ("attach", (Op::Open, false)),
        ("detach", (Op::Drop, false)),
        ("shutdown", (Op::Shutdown, false)),
        ("immediate shutdown", (Op::ShutdownNow, false)),
        ("repair", (repair, false)),
        ("grant", (Op::GetRef, false)),
        ("blocks: put", (Op::TryPut, true)),
        ("blocks: get", (Op::TryGet, true)),
        ("blocks: put into a full ring", (Op::Put, true)),
        ("blocks: grant", (Op::GetRef, true)),
        ("blocks: immediate shutdown", (Op::ShutdownNow, true)),
        ("blocks: repair", (repair, true)),
    ] {
        if wanted(name) {
            let long = matches!(op.0, Op::Open | Op::Repair | Op::Guard);
            let effort = if long { effort.sampled() } else { effort };
            good &= kill::kills::operation(name, op, effort, &mut paths);
        }
    }
    if wanted("repair beside a rival") {
        good &= kill::stops::rivals(&mut paths);
    }
    for (name, op) in [
        ("stopped in put", (Op::TryPut, false)),
        ("stopped in get", (Op::TryGet, false)),
        ("stopped in batch put", (Op::PutMany, false)),
        ("stopped in batch get", (Op::GetMany, false)),
        ("stopped in attach", (Op::Open, false)),
        ("stopped in repair", (repair, false)),
        ("blocks: stopped in put", (Op::TryPut, true)),
        ("blocks: stopped in get", (Op::TryGet, true)),
        ("blocks: stopped in a grant", (Op::GetRef, true)),
    ] {
        if wanted(name) {
            good &= kill::stops::operation(name, op, effort.sampled());
        }
    }
    for (name, op) in [
        ("queue put", TypedOp::Put),
        ("queue get", TypedOp::Get),
        ("queue put, serialized", TypedOp::PutCoded),
        ("queue get, serialized", TypedOp::GetCoded),
        ("queue batch put", TypedOp::PutWords),
        ("queue batch get", TypedOp::GetWords),
        ("task put", TypedOp::TaskPut),
        ("task get", TypedOp::TaskGet),
        ("task get, of what another getter died with", TypedOp::TaskGetGiven),
        ("task get, in blocks", TypedOp::TaskGetLong),
        ("task batch get", TypedOp::TaskGetMany),
        ("task grant", TypedOp::TaskGrant),
        ("task get from an empty queue", TypedOp::TaskGetEmpty),
        ("task done", TypedOp::TaskDone),
        ("task repair", TypedOp::TaskRepair),
        ("task join", TypedOp::TaskJoin),
    ] {
        // Another's guardian would be quicker than the one that is stepped.
        if wanted(name) && !(guarded && op == TypedOp::TaskRepair) {
            good &= kill::queues::operation(name, op, effort, &mut paths);
        }
        let name = format!("stopped in {name}");
        // Guardians do nothing about those who live.
        if wanted(&name) && !guarded {
            good &= kill::queues::stops(&name, op, effort.sampled().thinner());
        }
    }
    for (name, op) in [
        ("stream put", StreamOp::Put),
        ("stream put that is withdrawn", StreamOp::Withdraw),
        ("stream get", StreamOp::Get),
        ("stream task get", StreamOp::TaskGet),
        ("stream repair after its putter", StreamOp::RepairPutter),
        ("stream repair after its getter", StreamOp::RepairGetter),
    ] {
        // Another's guardian would be quicker than the one that is stepped.
        if wanted(name) && !(guarded && op.repairs()) {
            good &= kill::streams::operation(name, op, effort.sampled(), &mut paths);
        }
        let name = format!("stopped in {name}");
        // Guardians do nothing about those who live.
        if wanted(&name) && !guarded {
            good &= kill::streams::stops(&name, op, effort.sampled().thinner());
        }
    }
    for (name, op) in [
        ("pipe send", PipeOp::Send),
        ("pipe send beside an idle copy", PipeOp::Send),
        ("pipe send of a streamed message", PipeOp::SendLong),
        ("pipe send into a full ring", PipeOp::SendFull),
        ("pipe attach of the sender", PipeOp::AttachSender),
        ("pipe close of the sender", PipeOp::CloseSender),
        ("pipe detach of the sender", PipeOp::DetachSender),
        ("pipe recv", PipeOp::Recv),
        ("pipe recv of a streamed message", PipeOp::RecvLong),
        ("pipe recv from an empty ring", PipeOp::RecvEmpty),
        ("pipe attach of the receiver", PipeOp::AttachReceiver),
        ("pipe close of the receiver", PipeOp::CloseReceiver),
        ("pipe detach of the receiver", PipeOp::DetachReceiver),
    ] {
        // Pipes have a watcher, and no guardian.
        if wanted(name) && !guarded {
            let idle = name.ends_with("idle copy");
            good &= kill::pipes::operation(name, op, idle, effort);
        }
    }
    for (name, op) in [
        ("stopped in pipe send", PipeOp::Send),
        ("stopped in pipe send of a streamed message", PipeOp::SendLong),
        ("stopped in pipe close of the sender", PipeOp::CloseSender),
        ("stopped in pipe detach of the sender", PipeOp::DetachSender),
        ("stopped in pipe recv", PipeOp::Recv),
        ("stopped in pipe recv of a streamed message", PipeOp::RecvLong),
        ("stopped in pipe close of the receiver", PipeOp::CloseReceiver),
        ("stopped in pipe detach of the receiver", PipeOp::DetachReceiver),
    ] {
        if wanted(name) && !guarded {
            good &= kill::pipe_stops::stops(name, op, effort.sampled().thinner());
        }
    }
    kill::tally::summary();
    println!("paths of repair taken: {paths:?}");
    let needed = ["TOMB", "REDELIVER", "FINISHED", "TAKEN", "RETRY", "HALF-REPAIRED"];
    let of_blocks = ["FREEING", "LEASED", "FILLING", "SWEPT"];
    // The last of a few instructions among thousands: a quick run may miss it.
    let of_streams = ["STREAM ENDED", "STREAM HALF DONE"].into_iter().take(1 + usize::from(full));
    for path in needed.into_iter().chain(of_blocks).chain(of_streams) {
        if words.is_empty() && !parted && !paths.contains_key(path) {
            println!("no kill led to {path}: the test has lost its object");
            good = false;
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
