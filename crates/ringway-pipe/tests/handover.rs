//! Ends handed to another process as bytes with descriptors beside.

mod common;

use common::tasks::{open_descriptors, stop, until_asleep};
use common::{Gate, SHORT, SOON, Scene, fork, pattern, post, timed};
use ringway_pipe::{
    Builder, Connection, Pod, Postcard, Raw, Receiver, RecvError, SendError, Sender, WaitPolicy,
    duplex, simplex,
};

#[test]
fn a_sender_goes_to_a_child_and_the_pipe_never_ends_early() {
    let _scene = Scene::begin();
    // The giver drops what it has at once; for a while the descriptors in the socket
    // alone hold the end.
    for round in 0..50_u64 {
        let (here, there) = post::office();
        let child = fork(|| {
            if round % 2 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            let mut sender: Sender<u64> = post::unpack(post::receive(&there)).unwrap();
            sender.send(&round).unwrap();
        });
        drop(there);
        let (mut receiver, sender) = simplex::<u64>().unwrap();
        post::send(&here, post::pack(&sender).unwrap());
        drop((sender, here));
        assert_eq!(receiver.recv().unwrap(), round);
        assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
        child.join();
    }
}

#[test]
fn a_receiver_goes_on_where_the_giver_stopped() {
    let _scene = Scene::begin();
    let (here, there) = post::office();
    let child = fork(move || {
        let mut receiver: Receiver<u32, Pod> = post::unpack(post::receive(&there)).unwrap();
        assert_eq!(receiver.policy(), WaitPolicy::Block, "it travels with the end");
        assert!(receiver.iter().map(Result::unwrap).eq(4..20));
    });
    let (mut receiver, mut sender) =
        Builder::new().policy(WaitPolicy::Block).simplex::<u32, Pod>().unwrap();
    (0..10).for_each(|i| sender.send(&i).unwrap());
    assert!((0..4).all(|i| receiver.recv().unwrap() == i));
    post::send(&here, post::pack(&receiver).unwrap());
    assert!(matches!(receiver.recv(), Err(RecvError::Closed)), "it is no longer ours");
    assert!(matches!(receiver.poll(SHORT), Err(RecvError::Closed)));
    (10..20).for_each(|i| sender.send(&i).unwrap());
    drop(sender);
    child.join();
}

#[test]
fn a_two_way_end_there_and_back() {
    let _scene = Scene::begin();
    let (here, there) = post::office();
    let (back, home) = post::office();
    let (mut a, b): (Connection<String, usize>, Connection<usize, String>) =
        Builder::new().duplex().unwrap();
    let child = fork(|| {
        let mut b: Connection<usize, String> = post::unpack(post::receive(&there)).unwrap();
        let text = b.recv().unwrap();
        b.send(&text.len()).unwrap();
        post::send(&back, post::pack(&b).unwrap());
        assert!(matches!(b.send(&1), Err(SendError::Closed)));
    });
    post::send(&here, post::pack(&b).unwrap());
    a.send(&"four".into()).unwrap();
    assert_eq!(a.recv().unwrap(), 4);
    child.join();
    a.send(&"after".into()).unwrap();
    let mut b: Connection<usize, String> = post::unpack(post::receive(&home)).unwrap();
    assert_eq!(b.recv().unwrap(), "after");
    b.send(&5).unwrap();
    drop(b);
    assert_eq!(a.recv().unwrap(), 5);
    assert!(matches!(a.recv(), Err(RecvError::Eof)));
    assert!(matches!(a.send(&"".into()), Err(SendError::BrokenPipe)));
}

#[test]
fn an_end_lost_on_its_way_is_closed() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    sender.send(&1).unwrap();
    let parcel = post::pack(&sender).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)), "the parcel holds it");
    drop(parcel);
    let (end, took) = timed(|| receiver.recv_timeout(SOON));
    assert!(matches!(end, Err(RecvError::Eof)));
    common::report("end of file after a lost parcel", took);
}

#[test]
fn outside_a_hand_over_an_end_has_no_bytes_and_stays_usable() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    let before = open_descriptors();
    let error = postcard::to_stdvec(&sender).unwrap_err();
    assert!(matches!(error, postcard::Error::SerdeSerCustom), "{error}");
    assert!(postcard::to_stdvec(&receiver).is_err());
    assert_eq!(open_descriptors(), before);
    sender.send(&1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    let (mut a, mut b) = duplex::<u32>().unwrap();
    assert!(postcard::to_stdvec(&a).is_err());
    a.send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    // Nor is it made from bytes alone.
    let (bytes, _) = post::pack(&sender).unwrap();
    assert!(postcard::from_bytes::<Sender<u32>>(&bytes).is_err());
    assert!(post::unpack::<Sender<u32>>((bytes, Vec::new())).is_err());
}

#[test]
fn not_in_the_middle_of_a_message() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) =
        Builder::new().capacity(4096).simplex::<Vec<u8>, Raw>().unwrap();
    let message = pattern(50_000, 1);
    let child = fork(|| sender.send(&message).unwrap());
    drop(sender);
    until_asleep(child.pid());
    stop(&child);
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    assert!(post::pack(&receiver).is_err());
    child.signal(libc::SIGCONT);
    assert!(receiver.recv().unwrap() == message, "nothing was lost");
    // Between messages it goes.
    let mut receiver: Receiver<Vec<u8>, Raw> =
        post::unpack(post::pack(&receiver).unwrap()).unwrap();
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    child.join();
}

#[test]
fn half_of_a_two_way_end_stays() {
    let _scene = Scene::begin();
    let (a, mut b) = duplex::<u32>().unwrap();
    let (mut sender, mut receiver) = a.split();
    assert!(post::pack(&sender).is_err());
    assert!(post::pack(&receiver).is_err());
    sender.send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    b.send(&2).unwrap();
    assert_eq!(receiver.recv().unwrap(), 2);
}

/// Packs a fresh sender, or receiver, of `u32`.
fn packed(sender: bool) -> post::Parcel {
    let (r, s) = simplex::<u32>().unwrap();
    if sender { post::pack(&s).unwrap() } else { post::pack(&r).unwrap() }
}

#[test]
fn what_comes_out_must_be_what_went_in() {
    let _scene = Scene::begin();
    assert!(post::unpack::<Sender<u32>>(packed(true)).is_ok());
    assert!(post::unpack::<Receiver<u32>>(packed(false)).is_ok());
    let before = open_descriptors();
    // Direction.
    assert!(post::unpack::<Receiver<u32>>(packed(true)).is_err());
    assert!(post::unpack::<Sender<u32>>(packed(false)).is_err());
    // Kind.
    assert!(post::unpack::<Connection<u32>>(packed(true)).is_err());
    let pack_duplex = || post::pack(&duplex::<u32>().unwrap().0).unwrap();
    assert!(post::unpack::<Sender<u32>>(pack_duplex()).is_err());
    // Type and encoding.
    assert!(post::unpack::<Sender<u64>>(packed(true)).is_err());
    assert!(post::unpack::<Sender<u32, Pod>>(packed(true)).is_err());
    let (a, b) = Builder::new().duplex::<u32, String, Postcard>().unwrap();
    let (a, b) = (post::pack(&a).unwrap(), post::pack(&b).unwrap());
    assert!(post::unpack::<Connection<String, u32>>(a).is_err());
    assert!(post::unpack::<Connection<String, u32>>(b).is_ok());
    assert_eq!(open_descriptors(), before, "whatever was refused is closed");
}

#[test]
fn a_tag_stands_for_types_under_other_names() {
    let _scene = Scene::begin();
    let (mut receiver, sender) =
        Builder::new().type_tag("number").simplex::<u32, Postcard>().unwrap();
    let mut sender: Sender<u64> = post::unpack(post::pack(&sender).unwrap()).unwrap();
    sender.send(&300).unwrap();
    assert_eq!(receiver.recv().unwrap(), 300);
}

#[test]
fn bytes_that_lie_are_refused() {
    let _scene = Scene::begin();
    let (_receiver, sender) = simplex::<u32>().unwrap();
    let (bytes, descriptors) = post::pack(&sender).unwrap();
    let copies = || descriptors.iter().map(|fd| fd.try_clone().unwrap()).collect::<Vec<_>>();
    for at in 0..bytes.len() {
        for value in [0, 1, 2, 3, 7, 127, 255] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            // Another policy is fine; whatever else may come, it is no panic.
            if let Ok(mut sender) = post::unpack::<Sender<u32>>((wrong, copies())) {
                let _ = sender.try_send(&1);
            }
        }
    }
    for len in 0..bytes.len() {
        assert!(post::unpack::<Sender<u32>>((bytes[..len].to_vec(), copies())).is_err());
    }
    // The two descriptors in each other's place, and something else altogether.
    let mut swapped = copies();
    swapped.reverse();
    assert!(post::unpack::<Sender<u32>>((bytes.clone(), swapped)).is_err());
    let null = || std::fs::File::open("/dev/null").unwrap().into();
    assert!(post::unpack::<Sender<u32>>((bytes.clone(), vec![null(), null()])).is_err());
    let mut no_token = copies();
    no_token[1] = null();
    if let Ok(mut sender) = post::unpack::<Sender<u32>>((bytes, no_token)) {
        let refused = sender.try_send(&1);
        assert!(
            matches!(refused, Err(SendError::Engine(_) | SendError::BrokenPipe)),
            "{refused:?}"
        );
    }
}

#[test]
fn a_copy_of_an_end_in_use_can_be_handed_on_and_waits_its_turn() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    sender.send(&0).unwrap();
    let (here, there) = post::office();
    let (go, gone) = (Gate::new(), Gate::new());
    // One child gives its inherited copy to another, while the parent still sends.
    let giver = fork(|| post::send(&here, post::pack(&sender).unwrap()));
    let taker = fork(|| {
        // Its own inherited copies.
        sender.close();
        receiver.close();
        let mut sender: Sender<u32> = post::unpack(post::receive(&there)).unwrap();
        let refused = sender.send(&9);
        assert!(matches!(refused, Err(SendError::EndInUse { .. })), "{refused:?}");
        go.open();
        gone.pass();
        sender.send(&2).unwrap();
    });
    giver.join();
    go.pass();
    sender.send(&1).unwrap();
    drop(sender);
    gone.open();
    assert!(receiver.iter().map(Result::unwrap).eq(0..3));
    taker.join();
}
