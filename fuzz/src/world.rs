//! The slot ring beside its model: a user who lives, and two victims who stop after any
//! step, go on, or die and are repaired.

use crate::model::{Answer, BLOCKS, Held, INLINE, Message, Slots};
use crate::slots::{LEASES, Odd, PAYLOAD, memory};
use crate::{Input, bounded};
use ringway_core::mpmc::{Announcement, Batch, Place, Positions, Recovery, Ring, TryGet, TryPut};
use ringway_core::peer::{Actor, Identity};

/// Where a victim stands.
enum Amidst {
    Nothing,
    Put {
        position: u64,
        message: Message,
    },
    Get {
        position: u64,
    },
    /// Messages for consecutive positions; so many are published.
    PutMany {
        first: u64,
        messages: Vec<Message>,
        published: usize,
    },
    /// So many messages from consecutive positions; once they are committed as taken, so
    /// many of them are released.
    GetMany {
        first: u64,
        count: u64,
        released: Option<u64>,
    },
    /// A message that it keeps.
    Keeps(Kept),
}

/// The participant who lives.
const SURVIVOR: u32 = 2;

/// A participant with an odd number: it dies when all of them do.
struct Victim {
    id: u32,
    actor: Option<Actor>,
    amidst: Amidst,
}

/// A message that was taken and not given free.
struct Kept {
    place: Place,
    held: Held,
    message: Message,
}

/// What a get came to.
fn answer(why: TryGet) -> Answer {
    match why {
        TryGet::Empty => Answer::No,
        TryGet::Pending(_) => Answer::Pending,
        TryGet::ShutDown => Answer::ShutDown,
        other => panic!("get: {other:?}"),
    }
}

struct World {
    ring: Ring,
    positions: Positions,
    model: Slots,
    survivor: Actor,
    victims: [Victim; 2],
    /// What the survivor keeps.
    kept: Vec<Kept>,
}

impl World {
    fn new(slots: u64) -> Self {
        let (memory, geometry) = memory(slots, 256 * BLOCKS);
        assert_eq!(geometry.pool().blocks(), BLOCKS, "all of 256 bytes");
        let ring = Ring::new(&memory, geometry).expect("it fits");
        ring.participants().join(SURVIVOR, Identity::default());
        let survivor = ring.actors().claim(SURVIVOR, 0).expect("nobody is there");
        let victim = |id| Victim { id, actor: None, amidst: Amidst::Nothing };
        let positions = Positions::new(slots).expect("within limits");
        let victims = [victim(1), victim(3)];
        let model = Slots::new(slots, LEASES);
        let mut world = Self { ring, positions, model, survivor, victims, kept: Vec::new() };
        assert_eq!(world.ring.payload_size(), INLINE);
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
        let quiet = |victim: &Victim| matches!(victim.amidst, Amidst::Nothing | Amidst::Keeps(_));
        self.victims.iter().all(quiet)
    }

    fn put(&mut self, message: &[u8], accepted: bool) {
        let expected = self.model.put(message, accepted);
        let put = match accepted {
            true => Ring::try_put_accepted,
            false if message.len() > INLINE => Ring::try_put_long,
            false => Ring::try_put,
        };
        let found = match bounded(|| put(&self.ring, &mut self.survivor, message)) {
            Ok(()) => Answer::Done(Vec::new()),
            Err(TryPut::Full) => Answer::No,
            Err(TryPut::Pending(_)) => Answer::Pending,
            Err(TryPut::ShutDown) => Answer::ShutDown,
            Err(TryPut::NoMemory) if expected == Answer::ShutDown => Answer::ShutDown,
            Err(TryPut::NoMemory) => Answer::NoMemory,
            Err(other) => panic!("put: {other:?}"),
        };
        // Rare and slow, it does not tell why there is no room.
        let vague = accepted && matches!((&expected, &found), (Answer::No, Answer::Pending));
        assert!(vague || found == expected, "put: {found:?} where the model says {expected:?}");
    }

    /// A get to a buffer that may be too short for what is in blocks; then it may keep it.
    fn get(&mut self, room: usize, keep: bool) {
        let mut buffer = vec![0; room.max(PAYLOAD)];
        let found = match bounded(|| self.ring.try_get(&mut self.survivor, &mut buffer)) {
            Ok(len) => Answer::Done(buffer[..len].to_vec()),
            Err(TryGet::Long(place)) => {
                let (held, message) =
                    self.model.take(SURVIVOR, false).expect("a message, by the model");
                assert!(message.len() > buffer.len(), "it had room");
                self.keep_or_release(Kept { place, held, message }, keep);
                return;
            }
            Err(why) => answer(why),
        };
        assert_eq!(found, self.model.get(SURVIVOR), "get, beside the model");
        self.model.finish_discarding();
    }

    /// Takes a message and keeps it.
    fn take(&mut self) {
        let found = bounded(|| self.ring.try_take(&mut self.survivor));
        match (found, self.model.take(SURVIVOR, true)) {
            (Ok(place), Ok((held, message))) => {
                self.keep_or_release(Kept { place, held, message }, true);
            }
            (Err(why), expected) => assert_eq!(Some(answer(why)), expected.err(), "take"),
            (Ok(_), expected) => panic!("taken where the model says {expected:?}"),
        }
        self.model.finish_discarding();
    }

    fn keep_or_release(&mut self, kept: Kept, keep: bool) {
        check(&self.ring, &kept);
        if keep && self.kept.len() < 4 {
            return self.kept.push(kept);
        }
        self.ring.release_taken(&mut self.survivor, kept.place);
        self.model.release(kept.held);
    }

    fn release(&mut self, which: usize) {
        if self.kept.is_empty() {
            return;
        }
        let kept = self.kept.swap_remove(which % self.kept.len());
        self.keep_or_release(kept, false);
    }

    fn put_many(&mut self, messages: &[Message]) {
        let mut batch = Batch::new();
        messages.iter().for_each(|message| batch.push(message));
        let put = bounded(|| self.ring.try_put_many(&mut self.survivor, &batch, 0));
        match put {
            Ok(put) => {
                assert!((1..=messages.len()).contains(&put), "{put} of {}", messages.len());
                for message in &messages[..put] {
                    let expected = self.model.put(message, false);
                    assert_eq!(expected, Answer::Done(Vec::new()), "one of {put} that were put");
                }
                assert!(put == messages.len() || !self.model.has_room(), "room for more");
            }
            Err(TryPut::TooLong) => assert!(messages.is_empty()),
            Err(why) => {
                let found = match why {
                    TryPut::Full => Answer::No,
                    TryPut::Pending(_) => Answer::Pending,
                    TryPut::ShutDown => Answer::ShutDown,
                    other => panic!("put_many: {other:?}"),
                };
                assert_eq!(found, self.model.put(&messages[0], false), "put_many, by the model");
            }
        }
    }

    fn get_many(&mut self, max: usize) {
        let mut batch = Batch::new();
        match bounded(|| self.ring.try_get_many(&mut self.survivor, max, &mut batch)) {
            // For the single call.
            Ok(0) => return self.get(0, false),
            Ok(got) => {
                assert_eq!(got, batch.len());
                assert!(!self.model.is_marked(), "before what a dead getter held");
                self.model.retire_tombs();
                assert_eq!(got, self.model.run().min(max), "as many as there are");
                for message in batch.iter() {
                    assert_eq!(self.model.get(SURVIVOR), Answer::Done(message.to_vec()));
                }
            }
            Err(why) => assert_eq!(answer(why), self.model.get(SURVIVOR), "get_many, by the model"),
        }
        self.model.finish_discarding();
    }

    /// The ring's word for a position that the model counts from 0.
    fn word(&self, position: u64) -> u64 {
        let slots = self.positions.slots();
        self.positions.at(position / slots, position % slots)
    }

    /// A victim goes up to the middle of an operation, or on to its end.
    fn step(&mut self, which: usize, put: bool, message: &[u8], announced_only: bool, many: usize) {
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
            Amidst::PutMany { first, messages, published } => {
                let (position, message) = (first + published as u64, &messages[published]);
                self.ring.publish(self.word(position));
                self.model.commit_put(position, message);
                self.model.finish_discarding();
                if published + 1 == messages.len() {
                    self.ring.actors().withdraw_many(&mut actor);
                    Amidst::Nothing
                } else {
                    Amidst::PutMany { first, messages, published: published + 1 }
                }
            }
            Amidst::GetMany { first, count, released: None } => {
                self.ring.commit_get_many(&mut actor, self.word(first));
                Amidst::GetMany { first, count, released: Some(0) }
            }
            Amidst::GetMany { first, count, released: Some(released) } => {
                self.ring.release(self.word(first + released));
                self.model.commit_get(first + released);
                if released + 1 == count {
                    self.ring.actors().withdraw_many(&mut actor);
                    Amidst::Nothing
                } else {
                    Amidst::GetMany { first, count, released: Some(released + 1) }
                }
            }
            Amidst::Keeps(kept) => {
                check(&self.ring, &kept);
                self.ring.release_taken(&mut actor, kept.place);
                self.model.release(kept.held);
                Amidst::Nothing
            }
            Amidst::Nothing if announced_only => {
                // Announces what it never claims.
                let word = self.word(u64::from(message.len() as u8));
                self.ring.announce(&mut actor, Announcement::put(word));
                Amidst::Nothing
            }
            Amidst::Nothing if many > 1 => self.step_many(&mut actor, put, message, many),
            Amidst::Nothing if put => match self.model.claim_put() {
                Some(position) => {
                    let word = self.word(position);
                    self.ring.announce(&mut actor, Announcement::put(word));
                    self.ring.claim_put(word).expect("the model says that it is there");
                    Amidst::Put { position, message: message.to_vec() }
                }
                None => Amidst::Nothing,
            },
            Amidst::Nothing if message.len().is_multiple_of(2) || self.model.next_is_long() => {
                match (self.ring.try_take(&mut actor), self.model.take(actor.participant(), true)) {
                    (Ok(place), Ok((held, message))) => {
                        let kept = Kept { place, held, message };
                        check(&self.ring, &kept);
                        Amidst::Keeps(kept)
                    }
                    (Err(why), expected) => {
                        assert_eq!(Some(answer(why)), expected.err(), "a victim's take");
                        self.model.finish_discarding();
                        Amidst::Nothing
                    }
                    (Ok(_), expected) => panic!("taken where the model says {expected:?}"),
                }
            }
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

    /// A victim claims up to `many` positions together.
    fn step_many(&mut self, actor: &mut Actor, put: bool, message: &[u8], many: usize) -> Amidst {
        if put {
            let claimed: Vec<u64> = (0..many).map_while(|_| self.model.claim_put()).collect();
            let Some(&first) = claimed.first() else { return Amidst::Nothing };
            let (word, count) = (self.word(first), claimed.len());
            self.ring.actors().announce_many(actor, Announcement::put(word), count as u64);
            self.ring
                .claim_put_many(word, count as u64)
                .expect("the model says that they are there");
            let messages = vec![message.to_vec(); count];
            for (position, message) in claimed.iter().zip(&messages) {
                self.ring.write(self.word(*position), message);
            }
            return Amidst::PutMany { first, messages, published: 0 };
        }
        let mut claimed = Vec::new();
        while claimed.len() < many && self.model.run() > 0 {
            let Some((position, Some(message))) = self.model.claim_get() else { break };
            claimed.push((position, message));
        }
        let Some(&(first, _)) = claimed.first() else { return Amidst::Nothing };
        let (word, count) = (self.word(first), claimed.len() as u64);
        self.ring.actors().announce_many(actor, Announcement::get(word), count);
        self.ring.claim_get_many(word, count).expect("the model says that they are there");
        for (position, held) in claimed {
            let mut buffer = [0; PAYLOAD];
            let len = self.ring.read(self.word(position), &mut buffer).expect("a sound length");
            assert_eq!(buffer[..len], held, "what a getter claimed");
        }
        Amidst::GetMany { first, count, released: None }
    }

    fn die(&mut self) {
        for victim in &mut self.victims {
            // Its record and its announcement stay.
            victim.actor = None;
            match std::mem::replace(&mut victim.amidst, Amidst::Nothing) {
                Amidst::Nothing => {}
                Amidst::Put { position, .. } => self.model.bury_put(position),
                Amidst::Get { position } => self.model.bury_get(position),
                Amidst::Keeps(kept) => self.model.bury_held(kept.held),
                Amidst::PutMany { first, messages, published } => {
                    let dead = published as u64..messages.len() as u64;
                    dead.for_each(|index| self.model.bury_put(first + index));
                }
                Amidst::GetMany { first, count, released: None } => {
                    (first..first + count).for_each(|position| self.model.bury_get(position));
                }
                Amidst::GetMany { first, count, released: Some(released) } => {
                    let rest = first + released..first + count;
                    rest.for_each(|position| self.model.commit_get(position));
                }
            }
        }
        for id in [1, 3] {
            assert_eq!(bounded(|| self.ring.recover(id, &Odd)), Recovery::Done);
            assert_eq!(self.ring.recover(id, &Odd), Recovery::Nothing, "repaired once");
        }
        self.replace_the_dead();
    }

    fn look(&self) {
        self.kept.iter().for_each(|kept| check(&self.ring, kept));
        if !self.model.is_discarding() {
            assert_eq!(self.ring.blocks_used(), self.model.blocks_used(), "blocks in use");
        }
        if self.quiet() {
            let found = bounded(|| (self.ring.len(), self.ring.is_full()));
            assert_eq!(found, (self.model.len(), self.model.is_full()), "len and is_full");
            assert_eq!(self.ring.is_empty(), self.model.is_empty());
        }
    }
}

/// What is kept stays as it was.
fn check(ring: &Ring, kept: &Kept) {
    let mut buffer = vec![0; kept.message.len()];
    let len = ring.copy_taken(kept.place, &mut buffer).expect("it is kept");
    assert!((len, &buffer) == (kept.message.len(), &kept.message), "what is kept has changed");
}

/// Runs what `input` says.
pub fn run(input: &mut Input) {
    let mut world = World::new(1 + input.below(6) as u64);
    let mut number = 0_u8;
    while !input.is_empty() {
        let what = input.byte();
        number = number.wrapping_add(1);
        let message = vec![number; usize::from(what >> 4) + usize::from(number % 9)];
        let many = usize::from(number % 5);
        match what % 16 {
            0..=2 => world.put(&message, false),
            3 => world.put_many(&vec![message; many]),
            4 | 5 => world.get(usize::from(what >> 4) * 100, number % 2 == 0),
            6 if what & 0x10 == 0 => world.take(),
            6 => world.release(usize::from(number)),
            7 => world.get_many(many),
            8 => world.put(&message, true),
            9..=12 => {
                let (which, announced_only) = (usize::from(what % 16 > 10), what & 0xE0 == 0);
                let many = if what & 0xC0 == 0x40 { many } else { 1 };
                world.step(which, what & 0x10 != 0, &message, announced_only, many);
            }
            13 => world.die(),
            14 if what >= 0xE0 => {
                world.model.shut_down(what & 0x10 != 0);
                world.ring.shutdown(&mut world.survivor, what & 0x10 != 0);
            }
            15 => world.put(&vec![number; 49 + 80 * usize::from(what >> 4)], false),
            _ => {}
        }
        world.look();
    }
}
