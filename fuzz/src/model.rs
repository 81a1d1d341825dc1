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
    /// No blocks.
    NoMemory,
    /// Somebody is amidst it.
    Pending,
    /// Never again.
    ShutDown,
}

/// The longest message that is in its slot.
pub const INLINE: usize = 48;
/// How many blocks there are, and how many bytes each has.
pub const BLOCKS: u64 = 5;
const BLOCK: u64 = 256;

/// Blocks that a message takes.
fn blocks(message: &Message) -> u64 {
    if message.len() > INLINE { (message.len() as u64).div_ceil(BLOCK) } else { 0 }
}

/// Where a message is that was taken and not given free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// In its slot, which others wait for.
    Slot(u64),
    /// In a lease record.
    Lease(usize),
}

/// What a lease record has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lease {
    Free,
    /// By a participant.
    Held(u32, Message),
    /// Given back.
    Back(Message),
}

/// A ring of slots: exact capacity, FIFO, tombs and redelivery after deaths, grants, and
/// exact memory for messages longer than a slot.
pub struct Slots {
    capacity: u64,
    leases: Vec<Lease>,
    /// Positions before `head` whose messages somebody keeps in their slots.
    holding: BTreeMap<u64, Message>,
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
    /// An empty ring with so many lease records.
    pub fn new(capacity: u64, leases: u32) -> Self {
        Self {
            capacity,
            leases: vec![Lease::Free; leases as usize],
            holding: BTreeMap::new(),
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
        if self.given_back.contains_key(&before) || self.holding.contains_key(&before) {
            return Some(Answer::No);
        }
        self.taking.contains_key(&before).then_some(Answer::Pending)
    }

    /// A put; `accepted` if a shutdown does not refuse it.
    pub fn put(&mut self, message: &[u8], accepted: bool) -> Answer {
        if self.immediate || self.shut_down && !accepted {
            return Answer::ShutDown;
        }
        if blocks(&message.to_vec()) + self.blocks_used() > BLOCKS {
            return Answer::NoMemory;
        }
        if let Some(refused) = self.put_refused() {
            return refused;
        }
        self.entries.push_back(Entry::Message(message.to_vec()));
        Answer::Done(Vec::new())
    }

    /// A get. The message, or why not.
    pub fn get(&mut self, who: u32) -> Answer {
        match self.take(who, false) {
            Ok((held, message)) => {
                self.release(held);
                Answer::Done(message)
            }
            Err(why) => why,
        }
    }

    /// A message that participant `who` keeps, in a lease record if it may go to one that is
    /// free.
    pub fn take(&mut self, who: u32, may_move: bool) -> Result<(Held, Message), Answer> {
        if self.immediate {
            return Err(Answer::ShutDown);
        }
        for (index, lease) in self.leases.iter_mut().enumerate() {
            if let Lease::Back(message) = lease {
                let message = message.clone();
                *lease = Lease::Held(who, message.clone());
                return Ok((Held::Lease(index), message));
            }
        }
        if let Some((position, message)) = self.given_back.pop_first() {
            return Ok(self.keep(who, position, message, may_move));
        }
        loop {
            match self.entries.front() {
                None => break,
                Some(Entry::Claimed) => return Err(Answer::Pending),
                Some(_) => {}
            }
            self.head += 1;
            if let Some(Entry::Message(message)) = self.entries.pop_front() {
                return Ok(self.keep(who, self.head - 1, message, may_move));
            }
        }
        let others = |lease: &Lease| matches!(lease, Lease::Held(holder, _) if *holder != who);
        Err(match (self.shut_down, self.taking.is_empty() && self.holding.is_empty()) {
            (false, _) => Answer::No,
            // What a getter that is amidst holds may come back.
            (true, false) => Answer::Pending,
            // So may what another one keeps, which takes longer.
            (true, true) if self.leases.iter().any(others) => Answer::No,
            (true, true) => Answer::ShutDown,
        })
    }

    fn keep(
        &mut self,
        who: u32,
        position: u64,
        message: Message,
        may_move: bool,
    ) -> (Held, Message) {
        let free = self.leases.iter().position(|lease| *lease == Lease::Free);
        if let Some(index) = free.filter(|_| may_move) {
            self.leases[index] = Lease::Held(who, message.clone());
            return (Held::Lease(index), message);
        }
        self.holding.insert(position, message.clone());
        (Held::Slot(position), message)
    }

    /// Who keeps a message is done with it.
    pub fn release(&mut self, held: Held) {
        match held {
            Held::Slot(position) => drop(self.holding.remove(&position)),
            Held::Lease(index) => self.leases[index] = Lease::Free,
        }
    }

    /// Who keeps a message is dead and repaired.
    pub fn bury_held(&mut self, held: Held) {
        match held {
            Held::Slot(position) => {
                let message = self.holding.remove(&position).expect("it is kept");
                self.given_back.insert(position, message);
            }
            Held::Lease(index) => {
                let kept = std::mem::replace(&mut self.leases[index], Lease::Free);
                let Lease::Held(_, message) = kept else { panic!("it is kept") };
                self.leases[index] = Lease::Back(message);
            }
        }
    }

    /// Messages in lease records that were given back.
    fn leases_back(&self) -> usize {
        self.leases.iter().filter(|lease| matches!(lease, Lease::Back(_))).count()
    }

    /// How many blocks messages take, while nothing is to be thrown away.
    pub fn blocks_used(&self) -> u64 {
        let entries = self.entries.iter().filter_map(|entry| match entry {
            Entry::Message(message) => Some(message),
            _ => None,
        });
        let leases = self.leases.iter().filter_map(|lease| match lease {
            Lease::Held(_, message) | Lease::Back(message) => Some(message),
            Lease::Free => None,
        });
        let kept = self.given_back.values().chain(self.holding.values()).chain(leases);
        entries.chain(kept).map(blocks).sum()
    }

    /// Whether what is there is thrown away.
    pub fn is_discarding(&self) -> bool {
        self.immediate
    }

    /// Whether the next position is free for a put, without retiring a tomb.
    pub fn has_room(&self) -> bool {
        let before = self.tail().checked_sub(self.capacity);
        let held = before.is_some_and(|before| {
            self.given_back.contains_key(&before)
                || self.taking.contains_key(&before)
                || self.holding.contains_key(&before)
        });
        (self.entries.len() as u64) < self.capacity && !held
    }

    /// How many messages follow each other at the next get's position, all in their slots.
    pub fn run(&self) -> usize {
        let is_short = |entry: &&Entry| matches!(entry, Entry::Message(m) if blocks(m) == 0);
        self.entries.iter().take_while(is_short).count()
    }

    /// Whether the message at the next get's position is in blocks.
    pub fn next_is_long(&self) -> bool {
        matches!(self.entries.front(), Some(Entry::Message(message)) if blocks(message) > 0)
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
        self.immediate || !self.given_back.is_empty() || self.leases_back() > 0
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
        for lease in self.leases.iter_mut().filter(|lease| matches!(lease, Lease::Back(_))) {
            *lease = Lease::Free;
        }
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
        let back = self.given_back.len() + self.leases_back();
        if self.immediate { 0 } else { (messages.count() + back) as u64 }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a put would find no room, while no victim is amidst anything.
    pub fn is_full(&self) -> bool {
        let full = self.entries.len() as u64 == self.capacity;
        let before = self.tail().checked_sub(self.capacity);
        let held = before.is_some_and(|before| {
            self.given_back.contains_key(&before) || self.holding.contains_key(&before)
        });
        let room = !full && !held || full && self.entries[0] == Entry::Tomb;
        !self.shut_down && !room
    }
}
