//! The byte ring beside a deque: messages whole, in pieces, in batches, in place.

use crate::model::Message;
use crate::{Input, bounded, bytes};
use ringway_core::memory::Memory;
use ringway_core::spsc::{CONTROL_LEN, Consumer, Direction, Piece, Producer, PushError};
use std::collections::VecDeque;

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
        let drained = !self.consumer.is_ready();
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

    /// As many of `count` messages as there is room for, under one publish.
    fn push_many(&mut self, message: &Message, count: usize) {
        if self.sending.is_some() {
            return;
        }
        let limit = self.producer.whole_limit();
        let drained = !self.consumer.is_ready();
        let mut batch = self.producer.writing();
        let mut pushed = 0;
        while pushed < count && bounded(|| batch.push(message)) {
            pushed += 1;
        }
        drop(batch);
        assert!(pushed > 0 || count == 0 || message.len() > limit || !drained, "room for none");
        self.sent.extend(std::iter::repeat_n(message, pushed).cloned());
    }

    /// Reserves room, fills it in two parts, and sends what it says of it, if anything.
    fn push_in_place(&mut self, message: Message, prefix: Option<usize>) {
        if self.sending.is_some() || bounded(|| self.producer.reserve(message.len())).is_err() {
            return;
        }
        let place = self.producer.reserved(message.len());
        let (early, late) = message.split_at(message.len() / 3);
        place.write_at(early.len(), late).expect("it was reserved");
        place.write_at(0, early).expect("it was reserved");
        assert!(place.write_at(1, &message).is_err() || message.is_empty());
        let Some(prefix) = prefix else { return };
        let prefix = prefix.min(message.len());
        self.producer.commit(prefix);
        self.sent.push_back(message[..prefix].to_vec());
    }

    /// Takes up to `max` messages that are there in one piece, under one release.
    fn take_many(&mut self, max: usize) {
        let mut batch = self.consumer.reading();
        for _ in 0..max {
            let Some(len) = bounded(|| batch.whole()) else { break };
            let mut bytes = vec![0; len];
            assert!(batch.take_exact(&mut bytes), "it has that length");
            assert!(self.partial.is_empty(), "a whole message amidst another");
            assert_eq!(Some(bytes), self.sent.pop_front(), "messages, in their order");
        }
    }

    /// Looks at the next chunk where it lies, and takes it or not.
    fn look(&mut self, take: bool) {
        let Some(head) = bounded(|| self.consumer.head()).expect("sound memory") else { return };
        let place = self.consumer.payload(head);
        let mut bytes = vec![0; head.len];
        place.read_at(0, &mut bytes).expect("it lies in the ring");
        assert!(place.read_at(head.len, &mut [0; 1]).is_err());
        if head.piece == Piece::Whole {
            assert_eq!(Some(&bytes), self.sent.front(), "messages, in their order");
            if take {
                self.consumer.release(head);
                self.sent.pop_front();
            }
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

/// Runs what `input` says.
pub fn run(input: &mut Input) {
    let capacity = 64 << input.below(5);
    let memory = bytes::memory(capacity);
    let mut stream = Stream::new(&memory, capacity);
    let mut number = 0_u8;
    while !input.is_empty() {
        let what = input.byte();
        number = number.wrapping_add(1);
        let len = usize::from(what >> 3) * if what & 4 == 0 { 1 } else { capacity as usize / 16 };
        match what % 8 {
            0 => stream.push(vec![number; len], number % 2 == 0),
            1 | 5 => stream.stream(vec![number; len]),
            2 if what == 0xFA => stream.abort(),
            4 => stream.push_many(&vec![number; len % 50], usize::from(what >> 3)),
            6 => {
                let prefix = (what >= 0x20).then_some(usize::from(what));
                stream.push_in_place(vec![number; len], prefix);
            }
            3 => stream.take_many(usize::from(what >> 3)),
            7 => stream.look(what & 0x80 == 0),
            _ => stream.take(),
        }
    }
    while !stream.sent.is_empty() {
        stream.take();
    }
}
