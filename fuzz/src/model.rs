//! What the rings should do, in as few words as possible.

use std::collections::{BTreeMap, VecDeque};

/// A message.
pub type Message = Vec<u8>;

/// A position between the getters and the putters.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Message(Message),
    /// Claimed by a putter that has not committed.
    Claimed,
    /// Its putter died.
    Tomb,
}

/// What a put or get comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; the message of a get.
    Done(Message),
    /// No room, or no message.
    No,
    /// Somebody is amidst it.
    Pending,
    /// Never again.
    ShutDown,
}

/// A ring of slots: exact capacity, FIFO, tombs and redelivery after deaths.
pub struct Slots {
    capacity: u64,
    /// The position of the first of `entries`.
    head: u64,
    entries: VecDeque<Entry>,
    /// Positions before `head` that getters claimed and have not committed.
    taking: BTreeMap<u64, Option<Message>>,
    /// Positions before `head` whose getters died.
    given_back: BTreeMap<u64, Message>,
    shut_down: bool,
    immediate: bool,
}

impl Slots {
    /// An empty ring.
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            head: 0,
            entries: VecDeque::new(),
            taking: BTreeMap::new(),
            given_back: BTreeMap::new(),
            shut_down: false,
            immediate: false,
        }
    }

    fn tail(&self) -> u64 {
        self.head + self.entries.len() as u64
    }

    /// Why the next position cannot be claimed by a putter. Retires a tomb in its way.
    fn put_refused(&mut self) -> Option<Answer> {
        if self.entries.len() as u64 == self.capacity {
            if self.entries[0] != Entry::Tomb {
                return Some(Answer::No);
            }
            self.entries.pop_front();
            self.head += 1;
        }
        // The same slot, a lap before.
        let before = self.tail().checked_sub(self.capacity)?;
        if self.given_back.contains_key(&before) {
            return Some(Answer::No);
        }
        self.taking.contains_key(&before).then_some(Answer::Pending)
    }

    /// A put; `accepted` if a shutdown does not refuse it.
    pub fn put(&mut self, message: &[u8], accepted: bool) -> Answer {
        if self.immediate || self.shut_down && !accepted {
            return Answer::ShutDown;
        }
        if let Some(refused) = self.put_refused() {
            return refused;
        }
        self.entries.push_back(Entry::Message(message.to_vec()));
        Answer::Done(Vec::new())
    }

    /// A get. The message, or why not.
    pub fn get(&mut self) -> Answer {
        if self.immediate {
            return Answer::ShutDown;
        }
        if let Some((_, message)) = self.given_back.pop_first() {
            return Answer::Done(message);
        }
        loop {
            match self.entries.front() {
                None => break,
                Some(Entry::Claimed) => return Answer::Pending,
                Some(_) => {}
            }
            self.head += 1;
            if let Some(Entry::Message(message)) = self.entries.pop_front() {
                return Answer::Done(message);
            }
        }
        match (self.shut_down, self.taking.is_empty()) {
            (false, _) => Answer::No,
            // What a getter that is amidst holds may come back.
            (true, false) => Answer::Pending,
            (true, true) => Answer::ShutDown,
        }
    }

    /// Whether the next position is free for a put, without retiring a tomb.
    pub fn has_room(&self) -> bool {
        let before = self.tail().checked_sub(self.capacity);
        let held = before.is_some_and(|before| {
            self.given_back.contains_key(&before) || self.taking.contains_key(&before)
        });
        (self.entries.len() as u64) < self.capacity && !held
    }

    /// How many messages follow each other at the next get's position.
    pub fn run(&self) -> usize {
        self.entries.iter().take_while(|entry| matches!(entry, Entry::Message(_))).count()
    }

    /// Skips the tombs that the next get would meet.
    pub fn retire_tombs(&mut self) {
        while self.entries.front() == Some(&Entry::Tomb) {
            self.entries.pop_front();
            self.head += 1;
        }
    }

    /// Whether a get is to take what a dead getter held, or to throw away.
    pub fn is_marked(&self) -> bool {
        self.immediate || !self.given_back.is_empty()
    }

    /// A shutdown.
    pub fn shut_down(&mut self, immediate: bool) {
        self.shut_down = true;
        if immediate {
            self.immediate = true;
            self.discard();
        }
    }

    /// Throws away what gets can reach.
    fn discard(&mut self) {
        self.given_back.clear();
        while self.entries.front().is_some_and(|entry| *entry != Entry::Claimed) {
            self.entries.pop_front();
            self.head += 1;
        }
    }

    /// Whether a victim can claim the next position for a put, and which it is then. Only
    /// where nothing stands in its way.
    pub fn claim_put(&mut self) -> Option<u64> {
        let full = self.entries.len() as u64 == self.capacity;
        if self.shut_down || full || self.put_refused().is_some() {
            return None;
        }
        self.entries.push_back(Entry::Claimed);
        Some(self.tail() - 1)
    }

    /// The victim that claimed `position` commits after all.
    pub fn commit_put(&mut self, position: u64, message: &[u8]) {
        let place = (position - self.head) as usize;
        self.entries[place] = Entry::Message(message.to_vec());
    }

    /// The victim that claimed `position` for a put is dead and repaired.
    pub fn bury_put(&mut self, position: u64) {
        let place = (position - self.head) as usize;
        self.entries[place] = Entry::Tomb;
    }

    /// As [`claim_put`](Self::claim_put), for a get: the position, and what is there.
    pub fn claim_get(&mut self) -> Option<(u64, Option<Message>)> {
        if self.immediate || matches!(self.entries.front(), None | Some(Entry::Claimed)) {
            return None;
        }
        let held = match self.entries.pop_front() {
            Some(Entry::Message(message)) => Some(message),
            _ => None,
        };
        self.head += 1;
        self.taking.insert(self.head - 1, held.clone());
        Some((self.head - 1, held))
    }

    /// The victim that claimed `position` for a get commits after all.
    pub fn commit_get(&mut self, position: u64) {
        self.taking.remove(&position);
    }

    /// The victim that claimed `position` for a get is dead and repaired.
    pub fn bury_get(&mut self, position: u64) {
        if let Some(Some(message)) = self.taking.remove(&position) {
            self.given_back.insert(position, message);
        }
    }

    /// The next get or shutdown after repairs finishes an immediate shutdown.
    pub fn finish_discarding(&mut self) {
        if self.immediate {
            self.discard();
        }
    }

    /// How many messages there are, while no victim is amidst anything.
    pub fn len(&self) -> u64 {
        let messages = self.entries.iter().filter(|entry| matches!(entry, Entry::Message(_)));
        if self.immediate { 0 } else { (messages.count() + self.given_back.len()) as u64 }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a put would find no room, while no victim is amidst anything.
    pub fn is_full(&self) -> bool {
        let full = self.entries.len() as u64 == self.capacity;
        let before = self.tail().checked_sub(self.capacity);
        let held = before.is_some_and(|before| self.given_back.contains_key(&before));
        let room = !full && !held || full && self.entries[0] == Entry::Tomb;
        !self.shut_down && !room
    }
}
