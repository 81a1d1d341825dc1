//! The user of the other end, and hearing of its death where the token does not tell.
//!
//! The token hangs up when the *last* holder of the other end is gone. While a forked copy
//! lies idle somewhere, nobody hears that the end's user was killed, perhaps between
//! publishing a message and waking us. So beside copies ([`Copies`]) a sleeper first has its
//! process's watcher watch the user's pidfd, once for each user. Then it sleeps as long as
//! ever: its watcher wakes it at the user's death, and a new user does when it takes the end.
//!
//! Where the process cannot be watched (another pid namespace, no descriptors, a kernel
//! before 5.3), the sleeper looks again four times a second instead.

use crate::end::{CLOSED, End, Held};
use ringway_core::peer::{Watch, Watched, watch_process};
use ringway_core::process::{Copies, own_identity};
use ringway_core::sync::Ordering;
use ringway_core::wait::{Event, Waker};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

/// A process that uses the other end, as the watcher sees it.
pub(crate) struct User {
    pidfd: OwnedFd,
    watch: Option<Watch>,
    /// The watcher has a weak reference.
    _sleepers: Arc<Sleepers>,
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.end(Some(self.pidfd.as_fd()));
        }
    }
}

/// Who waits at this end.
struct Sleepers(Vec<Event>);

impl Watched for Sleepers {
    fn check_peer(&self) -> bool {
        self.0.iter().for_each(Event::broadcast);
        true
    }
}

impl End {
    /// What a sleeper, which has announced itself, may expect of the process that uses the
    /// other end.
    pub(crate) fn peer(&self) -> Waker {
        // ORDERING pipe-registered (SeqCst): stays behind the sleeper's announcement.
        let reachable = self.peer_record.registered.load(Ordering::SeqCst) == 1;
        // Without copies the token tells.
        let death_is_heard = !Copies::exist(&self.peer_record.copies) || self.hears_of_user();
        Waker { reachable, death_is_heard }
    }

    fn hears_of_user(&self) -> bool {
        // ORDERING holder-copies (SeqCst): stays behind the sleeper's announcement. Who takes
        // the end afterwards wakes it.
        let takes = self.peer_record.takes.load(Ordering::SeqCst);
        // Relaxed: private; written under the lock, and a thread that misses it asks again.
        self.heard.load(Ordering::Relaxed) == u64::from(takes) + 1 || self.listen(takes)
    }

    /// Has the user watched that was the `takes`th to take the other end.
    #[cold]
    fn listen(&self, takes: u32) -> bool {
        let (heard, others) = {
            let mut held = self.held();
            // Relaxed: written under the lock just taken.
            let known = self.heard.load(Ordering::Relaxed) == u64::from(takes) + 1;
            if known || self.state() & CLOSED != 0 {
                return true;
            }
            let others = held.user.take().is_some();
            let heard = self.watch_user(&mut held, takes).is_some();
            let now = if heard { u64::from(takes) + 1 } else { 0 };
            self.heard.store(now, Ordering::Relaxed);
            (heard, others)
        };
        if others {
            // This end's other half may sleep in reliance on the watch that is gone, whose
            // news the watcher may not have had yet. This thread looks again anyway.
            self.wake_own();
        }
        heard
    }

    /// `None`: its death would not be heard of.
    fn watch_user(&self, held: &mut Held, takes: u32) -> Option<()> {
        // Relaxed, here and below: written before `takes`. If this is a later user's, it is
        // about to take the end and to wake us, whatever we find here.
        let pid = self.peer_record.owner_pid.load(Ordering::Relaxed);
        if takes == 0 || pid == 0 {
            // Nobody has used it yet.
            return Some(());
        }
        let namespace = self.peer_record.pid_namespace.load(Ordering::Relaxed);
        if namespace == 0 || namespace != own_identity().pid_namespace {
            return None;
        }
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // It is gone. What it left will be seen by the look before the sleep.
            Err(Errno::SRCH) => return Some(()),
            Err(_) => return None,
        };
        // Asked after the pidfd is there: as long as it has the end, the number is its own.
        if !self.peer_is_used(held).ok()? {
            return Some(());
        }
        let ours = self.incoming.iter().map(|ring| ring.readable.clone());
        let theirs = self.outgoing.iter().map(|ring| ring.writable.clone());
        let sleepers = Arc::new(Sleepers(ours.chain(theirs).collect()));
        let target: Weak<Sleepers> = Arc::downgrade(&sleepers);
        let watch = Some(watch_process(target, pidfd.as_fd()).ok()?);
        held.user = Some(User { pidfd, watch, _sleepers: sleepers });
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Builder;
    use crate::end::{End, SENDING};
    use ringway_codec::Raw;
    use ringway_core::process::Copies;
    use ringway_core::spsc::{Consumer, Producer};
    use ringway_core::sync::Ordering;
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_successor_wakes_whom_a_killed_sender_did_not() {
        let (mut receiver, sender) = Builder::new().simplex::<Vec<u8>, Raw>().unwrap();
        let start = Instant::now();
        let waiting = std::thread::spawn(move || receiver.recv_timeout(LIMIT).unwrap());
        std::thread::sleep(Duration::from_millis(100));
        // What a sender leaves that is killed between its commit and its wake-up.
        let end = sender.half.end();
        end.record.owner_pid.store(1, Ordering::Relaxed);
        assert!(Producer::new(end.outgoing.clone().unwrap()).unwrap().push_whole(&[1]));
        end.take(0).unwrap();
        assert_eq!(waiting.join().unwrap(), [1]);
        assert!(start.elapsed() < LIMIT / 2, "found it only when its time was over");
    }

    /// A process that is said to have taken `end`, while another holds a copy of it.
    fn user_of(end: &Arc<End>) -> (Child, [OwnedFd; 2]) {
        end.take(0).unwrap();
        let user = Command::new("sleep").arg("60").spawn().unwrap();
        end.record.owner_pid.store(user.id(), Ordering::Relaxed);
        (user, end.duplicate().unwrap())
    }

    /// Ends it, which nobody but a pidfd tells of.
    fn kill(mut user: Child) {
        user.kill().unwrap();
        user.wait().unwrap();
    }

    fn told_of_the_message(pid_namespace: Option<u64>) {
        let (mut receiver, sender) = Builder::new().simplex::<Vec<u8>, Raw>().unwrap();
        let end = Arc::clone(sender.half.end());
        let start = Instant::now();
        let waiting = std::thread::spawn(move || receiver.recv_timeout(LIMIT).unwrap());
        std::thread::sleep(Duration::from_millis(100));
        let (user, copy) = user_of(&end);
        if let Some(other) = pid_namespace {
            end.record.pid_namespace.store(other, Ordering::Relaxed);
        }
        // Asleep again, with the copy in mind.
        std::thread::sleep(Duration::from_millis(100));
        assert!(Producer::new(end.outgoing.clone().unwrap()).unwrap().push_whole(&[1]));
        kill(user);
        assert_eq!(waiting.join().unwrap(), [1]);
        assert!(start.elapsed() < LIMIT / 2, "found it only when its time was over");
        drop(copy);
    }

    /// Somebody else holds the end, does nothing with it, and so hides its user's death
    /// from the token.
    #[test]
    fn beside_an_idle_copy_a_sleeper_finds_what_a_killed_sender_left() {
        told_of_the_message(None);
    }

    #[test]
    fn beside_an_idle_copy_a_sleeper_looks_again_where_the_user_cannot_be_watched() {
        told_of_the_message(Some(1));
    }

    #[test]
    fn beside_an_idle_copy_a_sleeper_finds_the_room_that_a_killed_receiver_made() {
        let made = Builder::new().capacity(4096).simplex::<Vec<u8>, Raw>();
        let (receiver, mut sender) = made.unwrap();
        while sender.try_send(&vec![1; 100]).is_ok() {}
        let end = Arc::clone(&receiver.half.end);
        let (user, copy) = user_of(&end);
        let start = Instant::now();
        let waiting = std::thread::spawn(move || sender.send_timeout(&vec![1; 100], LIMIT));
        std::thread::sleep(Duration::from_millis(100));
        let mut consumer = Consumer::new(end.incoming.clone().unwrap()).unwrap();
        // Takes everything, and wakes nobody.
        while let Ok(Some(head)) = consumer.head() {
            consumer.release(head);
        }
        kill(user);
        waiting.join().unwrap().unwrap();
        assert!(start.elapsed() < LIMIT / 2, "found it only when its time was over");
        drop(copy);
    }

    /// Who sleeps in reliance on the news of one user's death is woken by the next user.
    #[test]
    fn a_new_user_wakes_those_who_listen_for_the_old_one() {
        let (mut receiver, mut sender) = Builder::new().simplex::<Vec<u8>, Raw>().unwrap();
        let (theirs, end) = (Arc::clone(&receiver.half.end), Arc::clone(sender.half.end()));
        let copy = end.duplicate().unwrap();
        let listens_for = |takes: u32| {
            let start = Instant::now();
            while theirs.heard.load(Ordering::Relaxed) != u64::from(takes) + 1 {
                assert!(start.elapsed() < LIMIT / 2, "it does not listen for user {takes}");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let waiting = std::thread::spawn(move || receiver.recv_timeout(LIMIT).unwrap());
        // Nobody has used the end yet.
        listens_for(0);
        std::thread::sleep(Duration::from_millis(100));
        end.take(0).unwrap();
        listens_for(1);
        sender.send(&vec![1]).unwrap();
        assert_eq!(waiting.join().unwrap(), [1]);
        drop(copy);
    }

    /// Both halves of an end ask at the same time: the second must not undo the watch that
    /// the first relies on.
    #[test]
    fn one_watch_serves_both_halves_of_an_end() {
        let (receiver, sender) = Builder::new().simplex::<Vec<u8>, Raw>().unwrap();
        let theirs = Arc::clone(&receiver.half.end);
        let (user, copy) = user_of(sender.half.end());
        assert!(theirs.peer().death_is_heard);
        assert!(theirs.held().user.is_some());
        kill(user);
        assert!(theirs.listen(1));
        assert!(theirs.held().user.is_some(), "the watch was undone");
        drop(copy);
    }

    /// Closed by one thread while another is in a call, it may still publish something.
    #[test]
    fn an_end_counts_until_it_is_not_used_any_more() {
        let (_receiver, sender) = Builder::new().simplex::<Vec<u8>, Raw>().unwrap();
        let end = Arc::clone(sender.half.end());
        let copied = || Copies::exist(&end.record.copies);
        end.take(SENDING).unwrap();
        let _copy = end.duplicate().unwrap();
        end.close(0);
        assert!(copied());
        end.leave(SENDING);
        assert!(!copied());
    }

    #[test]
    fn holders_are_counted_as_they_come_and_go() {
        let (receiver, sender) = Builder::new().simplex::<Vec<u8>, Raw>().unwrap();
        let (a, b) = (Arc::clone(&receiver.half.end), Arc::clone(sender.half.end()));
        let copied = |end: &End| Copies::exist(&end.record.copies);
        assert!(!copied(&a) && !copied(&b));
        let _copy = b.duplicate().unwrap();
        assert!(!copied(&a) && copied(&b));
        drop(sender);
        // As handed over: one holder again.
        assert!(!copied(&b));
        drop(receiver);
        assert!(!copied(&a), "fewer than one are none");
    }
}
