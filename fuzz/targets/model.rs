//! Sequences of operations on sound memory, beside a model that is a deque.
//!
//! Slots: puts and gets of a user who lives, and of two victims who stop after any step,
//! go on, or die and are repaired. Bytes: messages whole and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_core::memory::Memory;
use ringway_core::mpmc::{Announcement, Positions, Recovery, Ring, TryGet, TryPut};
use ringway_core::peer::{Actor, Identity};
use ringway_core::spsc::{CONTROL_LEN, Consumer, Direction, Piece, Producer, PushError};
use ringway_fuzz::model::{Answer, Message, Slots};
use ringway_fuzz::slots::{Odd, PAYLOAD, memory};
use ringway_fuzz::{Input, bounded, bytes};
use std::collections::VecDeque;

/// Where a victim stands.
enum Amidst {
    Nothing,
    Put { position: u64, message: Message },
    Get { position: u64 },
}

/// A participant with an odd number: it dies when all of them do.
struct Victim {
    id: u32,
    actor: Option<Actor>,
    amidst: Amidst,
}

struct World {
    ring: Ring,
    positions: Positions,
    model: Slots,
    survivor: Actor,
    victims: [Victim; 2],
}

impl World {
    fn new(slots: u64) -> Self {
        let (memory, geometry) = memory(slots);
        let ring = Ring::new(&memory, geometry).expect("it fits");
        ring.participants().join(2, Identity::default());
        let survivor = ring.actors().claim(2, 0).expect("nobody is there");
        let victim = |id| Victim { id, actor: None, amidst: Amidst::Nothing };
        let positions = Positions::new(slots).expect("within limits");
        let victims = [victim(1), victim(3)];
        let mut world = Self { ring, positions, model: Slots::new(slots), survivor, victims };
        world.replace_the_dead();
        world
    }

    fn replace_the_dead(&mut self) {
        for victim in &mut self.victims {
            self.ring.participants().join(victim.id, Identity::default());
            victim.actor = self.ring.actors().claim(victim.id, 0);
            assert!(victim.actor.is_some(), "the dead had no actor but their own");
        }
    }

    fn quiet(&self) -> bool {
        self.victims.iter().all(|victim| matches!(victim.amidst, Amidst::Nothing))
    }

    fn put(&mut self, message: &[u8], accepted: bool) {
        let expected = self.model.put(message, accepted);
        let put = if accepted { Ring::try_put_accepted } else { Ring::try_put };
        let found = match bounded(|| put(&self.ring, &mut self.survivor, message)) {
            Ok(()) => Answer::Done(Vec::new()),
            Err(TryPut::Full) => Answer::No,
            Err(TryPut::Pending(_)) => Answer::Pending,
            Err(TryPut::ShutDown) => Answer::ShutDown,
            Err(other) => panic!("put: {other:?}"),
        };
        // Rare and slow, it does not tell why there is no room.
        let vague = accepted && matches!((&expected, &found), (Answer::No, Answer::Pending));
        assert!(vague || found == expected, "put: {found:?} where the model says {expected:?}");
    }

    fn get(&mut self) {
        let expected = self.model.get();
        let mut buffer = [0; PAYLOAD];
        let found = match bounded(|| self.ring.try_get(&mut self.survivor, &mut buffer)) {
            Ok(len) => Answer::Done(buffer[..len].to_vec()),
            Err(TryGet::Empty) => Answer::No,
            Err(TryGet::Pending(_)) => Answer::Pending,
            Err(TryGet::ShutDown) => Answer::ShutDown,
            Err(other) => panic!("get: {other:?}"),
        };
        assert_eq!(found, expected, "get, beside the model");
        self.model.finish_discarding();
    }

    /// The ring's word for a position that the model counts from 0.
    fn word(&self, position: u64) -> u64 {
        let slots = self.positions.slots();
        self.positions.at(position / slots, position % slots)
    }

    /// A victim goes up to the middle of an operation, or on to its end.
    fn step(&mut self, which: usize, put: bool, message: &[u8], announced_only: bool) {
        let amidst = std::mem::replace(&mut self.victims[which].amidst, Amidst::Nothing);
        let mut actor = self.victims[which].actor.take().expect("it lives");
        self.victims[which].amidst = match amidst {
            Amidst::Put { position, message } => {
                let word = self.word(position);
                self.ring.write(word, &message);
                self.ring.publish(word);
                self.model.commit_put(position, &message);
                self.model.finish_discarding();
                Amidst::Nothing
            }
            Amidst::Get { position } => {
                self.ring.release(self.word(position));
                self.model.commit_get(position);
                Amidst::Nothing
            }
            Amidst::Nothing if announced_only => {
                // Announces what it never claims.
                let word = self.word(u64::from(message.len() as u8));
                self.ring.announce(&mut actor, Announcement::put(word));
                Amidst::Nothing
            }
            Amidst::Nothing if put => match self.model.claim_put() {
                Some(position) => {
                    let word = self.word(position);
                    self.ring.announce(&mut actor, Announcement::put(word));
                    self.ring.claim_put(word).expect("the model says that it is there");
                    Amidst::Put { position, message: message.to_vec() }
                }
                None => Amidst::Nothing,
            },
            Amidst::Nothing => match self.model.claim_get() {
                Some((position, held)) => {
                    let word = self.word(position);
                    self.ring.announce(&mut actor, Announcement::get(word));
                    self.ring.claim_get(word).expect("the model says that it is there");
                    if let Some(held) = held {
                        let mut buffer = [0; PAYLOAD];
                        let len = self.ring.read(word, &mut buffer).expect("a sound length");
                        assert_eq!(buffer[..len], held, "what a getter claimed");
                    }
                    Amidst::Get { position }
                }
                None => Amidst::Nothing,
            },
        };
        self.victims[which].actor = Some(actor);
    }

    fn die(&mut self) {
        for victim in &mut self.victims {
            // Its record and its announcement stay.
            victim.actor = None;
            match std::mem::replace(&mut victim.amidst, Amidst::Nothing) {
                Amidst::Nothing => {}
                Amidst::Put { position, .. } => self.model.bury_put(position),
                Amidst::Get { position } => self.model.bury_get(position),
            }
        }
        for id in [1, 3] {
            assert_eq!(bounded(|| self.ring.recover(id, &Odd)), Recovery::Done);
            assert_eq!(self.ring.recover(id, &Odd), Recovery::Nothing, "repaired once");
        }
        self.replace_the_dead();
    }

    fn look(&self) {
        if self.quiet() {
            let found = bounded(|| (self.ring.len(), self.ring.is_full()));
            assert_eq!(found, (self.model.len(), self.model.is_full()), "len and is_full");
            assert_eq!(self.ring.is_empty(), self.model.is_empty());
        }
    }
}

fn slots(input: &mut Input) {
    let mut world = World::new(1 + input.below(6) as u64);
    let mut number = 0_u8;
    while !input.is_empty() {
        let what = input.byte();
        number = number.wrapping_add(1);
        let message = vec![number; usize::from(what >> 4) + usize::from(number % 9)];
        match what % 16 {
            0..=3 => world.put(&message, false),
            4..=7 => world.get(),
            8 => world.put(&message, true),
            9 | 10 => world.step(0, what & 0x10 != 0, &message, what & 0xE0 == 0),
            11 | 12 => world.step(1, what & 0x10 != 0, &message, what & 0xE0 == 0),
            13 => world.die(),
            14 if what >= 0xE0 => {
                world.model.shut_down(what & 0x10 != 0);
                world.ring.shutdown(&mut world.survivor, what & 0x10 != 0);
            }
            _ => {}
        }
        world.look();
    }
}

/// A producer and a consumer, and the messages between them.
struct Stream {
    producer: Producer,
    consumer: Consumer,
    sent: VecDeque<Message>,
    /// What the producer streams, and how much of it is written.
    sending: Option<(Message, usize)>,
    /// What came of it.
    partial: Message,
}

impl Stream {
    fn new(memory: &Memory, capacity: u64) -> Self {
        let ring = Direction::new(memory, 0, CONTROL_LEN, capacity).expect("it fits");
        Self {
            producer: Producer::new(ring.clone()).expect("a fresh ring"),
            consumer: Consumer::new(ring).expect("a fresh ring"),
            sent: VecDeque::new(),
            sending: None,
            partial: Vec::new(),
        }
    }

    fn push(&mut self, message: Message, quick: bool) {
        if self.sending.is_some() {
            return;
        }
        if quick && self.producer.push_whole(&message) {
            return self.sent.push_back(message);
        }
        let drained = !self.consumer.is_ready().expect("sound memory");
        match bounded(|| self.producer.try_push(&message)) {
            Ok(()) => self.sent.push_back(message),
            Err(PushError::TooLong) => assert!(message.len() > self.producer.try_limit()),
            Err(PushError::Full) => assert!(!drained, "full, and nothing is in it"),
            Err(PushError::Corrupted(what)) => panic!("{what}"),
        }
    }

    fn stream(&mut self, message: Message) {
        if self.sending.is_none() && !message.is_empty() {
            self.producer.begin(message.len() as u64);
            self.sending = Some((message, 0));
        }
        let Some((message, done)) = &mut self.sending else { return };
        let total = message.len() as u64;
        let pushed = bounded(|| self.producer.push_part(&message[*done..], total));
        *done += pushed.expect("sound memory");
        if *done == message.len() {
            let (message, _) = self.sending.take().expect("it was there");
            self.sent.push_back(message);
        }
    }

    fn abort(&mut self) {
        self.producer.abort();
        self.sending = None;
    }

    fn take(&mut self) {
        let Some(head) = bounded(|| self.consumer.head()).expect("sound memory") else {
            assert!(self.sent.is_empty(), "a message is gone");
            return;
        };
        let mut bytes = vec![0; head.len];
        bounded(|| self.consumer.take(head, &mut bytes));
        match head.piece {
            Piece::Abort => return self.partial.clear(),
            Piece::Whole | Piece::First { .. } => assert!(self.partial.is_empty()),
            Piece::Middle | Piece::Last => assert!(!self.partial.is_empty()),
        }
        self.partial.extend_from_slice(&bytes);
        if matches!(head.piece, Piece::Whole | Piece::Last) {
            let message = std::mem::take(&mut self.partial);
            assert_eq!(Some(message), self.sent.pop_front(), "messages, in their order");
        }
    }
}

fn stream(input: &mut Input) {
    let capacity = 64 << input.below(5);
    let memory = bytes::memory(capacity);
    let mut stream = Stream::new(&memory, capacity);
    let mut number = 0_u8;
    while !input.is_empty() {
        let what = input.byte();
        number = number.wrapping_add(1);
        let len = usize::from(what >> 3) * if what & 4 == 0 { 1 } else { capacity as usize / 16 };
        match what % 4 {
            0 => stream.push(vec![number; len], number % 2 == 0),
            1 => stream.stream(vec![number; len]),
            2 if what == 0xFE => stream.abort(),
            _ => stream.take(),
        }
    }
    while !stream.sent.is_empty() {
        stream.take();
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    if input.flag() { slots(&mut input) } else { stream(&mut input) }
});
