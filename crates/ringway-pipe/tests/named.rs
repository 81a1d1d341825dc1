//! Pipes that are found by name.

mod common;

use common::scene::names;
use common::{Gate, SHORT, SOON, Scene, fork, post, report, timed};
use ringway_core::segment::Name;
use ringway_pipe::{
    Builder, Connection, Error, OpenError, Pod, Postcard, Raw, Receiver, RecvError, SendError,
    Sender,
};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

fn path(name: &str) -> PathBuf {
    Name::new(name).unwrap().path().to_owned()
}

fn new() -> Builder {
    Builder::new()
}

fn receiver(name: &str) -> Result<Receiver<u32>, OpenError> {
    new().create_receiver(name)
}

#[test]
fn a_receiver_made_here_a_sender_opened_there() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut receiver = receiver(&name).unwrap();
    assert!(matches!(receiver.recv_timeout(SHORT), Err(RecvError::Timeout)), "nobody came yet");
    let child = fork(|| {
        let mut sender: Sender<u32> = new().open_sender(&name).unwrap();
        assert!(!path(&name).exists(), "the name is gone once it was opened");
        (0..1000).for_each(|i| sender.send(&i).unwrap());
    });
    assert!(receiver.iter().map(Result::unwrap).eq(0..1000));
    child.join();
    assert!(names(&name).is_empty());
}

#[test]
fn a_sender_made_here_a_receiver_opened_there() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut sender: Sender<Vec<u8>, Raw> = new().capacity(4096).create_sender(&name).unwrap();
    // It fills the ring before anybody comes.
    let mut sent = 0_u8;
    while sender.try_send_bytes(&[sent; 100]).is_ok() {
        sent += 1;
    }
    assert!(matches!(sender.send_bytes_timeout(&[0; 100], SHORT), Err(SendError::Timeout)));
    let child = fork(|| {
        let mut receiver: Receiver<Vec<u8>, Raw> = new().open_receiver(&name).unwrap();
        assert!((0..sent).all(|i| receiver.recv().unwrap() == [i; 100]));
        assert_eq!(receiver.recv().unwrap(), common::pattern(50_000, 1));
        assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    });
    sender.send(&common::pattern(50_000, 1)).unwrap();
    drop(sender);
    child.join();
}

#[test]
fn both_ways() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut a: Connection<String, usize> = new().create_duplex(&name).unwrap();
    let child = fork(|| {
        let mut b: Connection<usize, String> = new().open_duplex(&name).unwrap();
        while let Ok(text) = b.recv() {
            b.send(&text.len()).unwrap();
        }
    });
    for len in [0, 5, 200_000] {
        a.send(&"x".repeat(len)).unwrap();
        assert_eq!(a.recv().unwrap(), len);
    }
    drop(a);
    child.join();
}

#[test]
fn a_pipe_of_a_creator_that_left_in_order_keeps_its_messages() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut sender: Sender<u32> = new().create_sender(&name).unwrap();
    (0..3).for_each(|i| sender.send(&i).unwrap());
    drop(sender);
    let mut receiver: Receiver<u32> = new().open_receiver(&name).unwrap();
    assert!((0..3).all(|i| receiver.try_recv().unwrap() == i));
    assert!(matches!(receiver.try_recv(), Err(RecvError::Eof)));
    drop(self::receiver(&scene.name("other")).unwrap());
    let mut sender: Sender<u32> = new().open_sender(&scene.name("other")).unwrap();
    assert!(matches!(sender.send(&1), Err(SendError::BrokenPipe)));
}

#[test]
fn names_taken_and_not_found() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let first = receiver(&name).unwrap();
    match receiver(&name) {
        Err(OpenError::Engine(Error::NameTaken { name: taken })) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
    let missing = scene.name("missing");
    match new().open_sender::<u32, Postcard>(&missing) {
        Err(OpenError::Engine(Error::NotFound { name })) => assert_eq!(name, missing),
        other => panic!("{other:?}"),
    }
    // The one who was refused did no harm.
    let mut sender: Sender<u32> = new().open_sender(&name).unwrap();
    sender.send(&1).unwrap();
    drop(first);
    assert!(matches!(sender.send(&1), Err(SendError::BrokenPipe)));
}

#[test]
fn one_of_many_creators_wins_a_name() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let (start, tried) = (Gate::new(), Gate::new());
    let children: Vec<_> = (0..8)
        .map(|_| {
            fork(|| {
                start.pass();
                let made = receiver(&name);
                tried.open();
                if let Err(error) = &made {
                    assert!(matches!(error, OpenError::Engine(Error::NameTaken { .. })), "{error}");
                    return;
                }
                assert_eq!(made.unwrap().recv().unwrap(), 1);
            })
        })
        .collect();
    (0..8).for_each(|_| start.open());
    (0..8).for_each(|_| tried.pass());
    let mut sender: Sender<u32> = new().open_sender(&name).unwrap();
    sender.send(&1).unwrap();
    children.into_iter().for_each(common::child::Child::join);
}

#[test]
fn one_of_many_openers_gets_the_end() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut receiver = receiver(&name).unwrap();
    let start = Gate::new();
    let children: Vec<_> = (0..8)
        .map(|i| {
            let (start, name) = (&start, &name);
            fork(move || {
                start.pass();
                match new().open_sender::<u32, Postcard>(name) {
                    Ok(mut sender) => sender.send(&i).unwrap(),
                    Err(
                        OpenError::EndInUse { .. }
                        | OpenError::Spent
                        | OpenError::Engine(Error::NotFound { .. }),
                    ) => {}
                    Err(error) => panic!("{error}"),
                }
            })
        })
        .collect();
    (0..8).for_each(|_| start.open());
    assert!(receiver.recv().is_ok());
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)), "and no second message");
    children.into_iter().for_each(common::child::Child::join);
}

#[test]
fn each_end_is_opened_once() {
    let scene = Scene::begin();
    let (name, other) = (scene.name("pipe"), scene.name("link"));
    let mut receiver = receiver(&name).unwrap();
    // A second name keeps the file reachable, as a slow second opener would.
    std::fs::hard_link(path(&name), path(&other)).unwrap();
    let gate = Gate::new();
    let child = fork(|| {
        let mut sender: Sender<u32> = new().open_sender(&name).unwrap();
        sender.send(&1).unwrap();
        gate.pass();
    });
    assert_eq!(receiver.recv().unwrap(), 1);
    match new().open_sender::<u32, Postcard>(&other) {
        Err(OpenError::EndInUse { pid }) => assert_eq!(pid, u32::try_from(child.pid()).ok()),
        result => panic!("{result:?}"),
    }
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)), "no end of file from that");
    gate.open();
    child.join();
    let spent = new().open_sender::<u32, Postcard>(&other);
    assert!(matches!(spent, Err(OpenError::Spent)), "{spent:?}");
    assert!(matches!(receiver.recv_timeout(SOON), Err(RecvError::Eof)));
}

#[test]
fn what_opens_must_be_what_was_made() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut receiver = receiver(&name).unwrap();
    let incompatible = |error| match error {
        OpenError::Engine(Error::Incompatible { object, what, .. }) => {
            object.contains(&name) && what == "element type signature"
        }
        _ => false,
    };
    assert!(incompatible(new().open_sender::<u64, Postcard>(&name).unwrap_err()));
    assert!(incompatible(new().open_sender::<u32, Pod>(&name).unwrap_err()));
    assert!(incompatible(new().type_tag("x").open_sender::<u32, Postcard>(&name).unwrap_err()));
    let wrong = |error| matches!(error, OpenError::WrongDirection { .. });
    assert!(wrong(new().open_receiver::<u32, Postcard>(&name).unwrap_err()));
    assert!(wrong(new().open_duplex::<u32, u32, Postcard>(&name).unwrap_err()));
    // None of them took the end or the name.
    let mut sender: Sender<u32> = new().open_sender(&name).unwrap();
    sender.send(&1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);

    let name = scene.name("two-way");
    let _a: Connection<u32> = new().create_duplex(&name).unwrap();
    assert!(wrong(new().open_sender::<u32, Postcard>(&name).unwrap_err()));
    assert!(wrong(new().open_receiver::<u32, Postcard>(&name).unwrap_err()));
    assert!(new().open_duplex::<u32, u64, Postcard>(&name).is_err());
    new().open_duplex::<u32, u32, Postcard>(&name).unwrap();
}

#[test]
fn a_tag_in_place_of_the_type_name() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut receiver: Receiver<u32> = new().type_tag("n").create_receiver(&name).unwrap();
    let mut sender: Sender<u64> = new().type_tag("n").open_sender(&name).unwrap();
    sender.send(&70_000).unwrap();
    assert_eq!(receiver.recv().unwrap(), 70_000);
}

#[test]
fn a_killed_creator_is_the_end_for_its_opener() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let made = Gate::new();
    let victim = fork(|| {
        let mut a: Connection<u32> = new().create_duplex(&name).unwrap();
        a.send(&1).unwrap();
        made.open();
        std::thread::sleep(common::LONG);
    });
    made.pass();
    let mut b: Connection<u32> = new().open_duplex(&name).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    assert!(matches!(b.recv_timeout(2 * SHORT), Err(RecvError::Timeout)));
    victim.kill();
    let (end, took) = timed(|| b.recv_timeout(SOON));
    report("end of file after SIGKILL of a named pipe's creator", took);
    assert!(matches!(end, Err(RecvError::Eof)), "{end:?}");
    assert!(matches!(b.send(&1), Err(SendError::BrokenPipe)));
}

#[test]
fn a_killed_opener_is_the_end_for_the_creator() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut sender: Sender<Vec<u8>, Raw> = new().capacity(4096).create_sender(&name).unwrap();
    let opened = Gate::new();
    let victim = fork(|| {
        let _receiver: Receiver<Vec<u8>, Raw> = new().open_receiver(&name).unwrap();
        opened.open();
        std::thread::sleep(common::LONG);
    });
    opened.pass();
    victim.kill();
    // In the middle of a streamed message, in the sleep of a full ring.
    let (result, took) = timed(|| sender.send_timeout(&vec![0; 100_000], SOON));
    report("broken pipe after SIGKILL of a named pipe's opener", took);
    assert!(matches!(result, Err(SendError::BrokenPipe)), "{result:?}");
    assert!(matches!(sender.send(&vec![1]), Err(SendError::BrokenPipe)));
}

#[test]
fn an_end_closed_in_order_is_known_at_once() {
    let scene = Scene::begin();
    for round in 0..300 {
        let name = scene.name(&format!("pipe{round}"));
        let mut receiver = receiver(&name).unwrap();
        let sender: Sender<u32> = new().open_sender(&name).unwrap();
        drop(sender);
        assert!(matches!(receiver.try_recv(), Err(RecvError::Eof)), "round {round}");
    }
}

#[test]
fn a_copy_made_by_fork_holds_nothing() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut receiver = receiver(&name).unwrap();
    let mut sender: Sender<u32> = new().open_sender(&name).unwrap();
    let (tried, closed, ended) = (Gate::new(), Gate::new(), Gate::new());
    let child = fork(|| {
        assert!(matches!(sender.send(&9), Err(SendError::EndInUse { .. })));
        tried.open();
        closed.pass();
        // Nor can it be used later: its message might never be received.
        assert!(matches!(sender.send(&9), Err(SendError::Closed)));
        ended.pass();
    });
    tried.pass();
    sender.send(&1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    drop(sender);
    closed.open();
    assert!(matches!(receiver.recv_timeout(SOON), Err(RecvError::Eof)));
    ended.open();
    child.join();
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)), "the end is for ever");
}

#[test]
fn an_end_opened_by_name_is_not_handed_over() {
    let scene = Scene::begin();
    let mut receiver = receiver(&scene.name("pipe")).unwrap();
    assert!(post::pack(&receiver).is_err());
    let mut sender: Sender<u32> = new().open_sender(&scene.name("pipe")).unwrap();
    sender.send(&1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1, "and stays usable");
}

#[test]
fn the_file_is_for_its_owner_only() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let _receiver = receiver(&name).unwrap();
    let mode = std::fs::metadata(path(&name)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn bad_names_are_refused() {
    let _scene = Scene::begin();
    let long = "x".repeat(201);
    for name in ["", "a/b", "../x", "a b", "ä", "a\0b", &long] {
        for error in [
            receiver(name).unwrap_err(),
            new().create_duplex::<u32, u32, Postcard>(name).unwrap_err(),
            new().open_sender::<u32, Postcard>(name).unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::Engine(Error::OutOfRange { .. })), "{name:?}");
        }
    }
}

#[test]
fn while_nobody_has_come_a_wait_is_only_a_wait() {
    let scene = Scene::begin();
    let mut receiver = receiver(&scene.name("pipe")).unwrap();
    assert!(!receiver.poll(Duration::from_millis(200)).unwrap(), "no end before a beginning");
}
