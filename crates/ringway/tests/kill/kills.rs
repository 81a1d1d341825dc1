//! The kills on a ring: every operation, in every scene, at every point.

use super::Effort;
use super::drive::{Point, survey};
use super::rings::{BATCH, Bystander, Doom, Op, Scene};
use super::tally::Tally;
use super::verdict;
use std::collections::BTreeMap;

const PLAIN: Scene = Scene {
    op: Op::TryPut,
    slots: 1,
    laps: 0,
    inside: 0,
    doom: None,
    bystander: Bystander::None,
    long: false,
};

/// The scenes of one operation for a ring of `slots`.
fn scenes(op: Op, slots: u64, long: bool) -> Vec<Scene> {
    let with =
        |laps, inside, doom, bystander| Scene { op, slots, laps, inside, doom, bystander, long };
    let none = Bystander::None;
    match op {
        Op::TryPut => vec![
            with(0, 0, None, Bystander::Getter),
            with(2, slots - 1, None, none),
            // Its slot is a tomb's, or the one after.
            with(1, 0, Some(Doom::Putter), none),
        ],
        Op::Put => vec![
            // It sleeps until room comes.
            with(1, slots, None, none),
            with(0, slots, None, Bystander::Putter),
        ],
        Op::TryGet | Op::GetRef => vec![
            with(0, slots, None, Bystander::Putter),
            with(2, 1, None, none),
            // Another getter has died with the message.
            with(1, 1, Some(Doom::Getter), none),
        ],
        Op::Get => vec![
            // It sleeps until a message comes.
            with(1, 0, None, none),
            with(0, 0, None, Bystander::Getter),
        ],
        Op::PutMany => vec![
            with(0, 0, None, Bystander::Getter),
            with(2, slots / 3, None, none),
            // Its first slot is a tomb's, or the one after.
            with(1, 0, Some(Doom::Putter), none),
        ],
        Op::GetMany => {
            let mut scenes = vec![
                with(0, slots, None, Bystander::Putter),
                with(2, slots - slots / 3, None, none),
            ];
            if slots > 1 {
                // It ends before a tomb.
                scenes.push(with(1, slots - 1, Some(Doom::Putter), none));
            }
            scenes
        }
        Op::Open => vec![
            with(0, slots, None, Bystander::Putter),
            with(0, 1, Some(Doom::Getter), none),
            with(0, 0, Some(Doom::Putter), none),
        ],
        Op::Drop => vec![with(0, slots, None, Bystander::Putter), with(1, 0, None, none)],
        Op::Shutdown => vec![with(1, 1, None, none), with(0, 0, None, Bystander::Getter)],
        Op::ShutdownNow => {
            vec![with(1, slots, None, Bystander::Putter), with(0, 1, Some(Doom::Getter), none)]
        }
        // Nobody whose guardian would be quicker.
        Op::Guard => {
            vec![with(0, 0, Some(Doom::Putter), none), with(1, slots, Some(Doom::Getter), none)]
        }
        Op::Repair => vec![
            with(0, 0, Some(Doom::Putter), none),
            with(1, 0, Some(Doom::Putter), Bystander::Getter),
            with(0, slots, Some(Doom::Getter), none),
        ],
    }
}

/// Where others die before a repair: the changes of a whole put and a whole get.
fn dooms(long: bool) -> Vec<(u64, Doom)> {
    let puts = survey_of(Op::TryPut, 1, 0, long).into_iter().map(|point| (0, Doom::Put(point)));
    let gets = survey_of(Op::TryGet, 1, 1, long).into_iter().map(|point| (1, Doom::Get(point)));
    puts.chain(gets).collect()
}

/// The same for batches, in a ring of as many slots.
fn batch_dooms() -> Vec<(u64, Doom)> {
    let puts = survey_of(Op::PutMany, BATCH, 0, false).into_iter().map(|p| (0, Doom::PutMany(p)));
    let gets = survey_of(Op::GetMany, BATCH, BATCH, false).into_iter();
    puts.chain(gets.map(|point| (BATCH, Doom::GetMany(point)))).collect()
}

fn survey_of(op: Op, slots: u64, inside: u64, long: bool) -> Vec<Point> {
    let scene = Scene { op, slots, inside, long, ..PLAIN };
    let found = survey(Effort::QUICK, &|| scene.set());
    // The ring they die in may be of another size, and the way there another.
    let anywhere = |point| match point {
        Point::Change(call, changes, _) => Some(Point::Change(call, changes, None)),
        _ => None,
    };
    found.points.into_iter().filter_map(anywhere).collect()
}

/// Kills at every point of every scene of `op`, with messages that are `long` for slots or
/// not, and prints the line.
pub(crate) fn operation(
    name: &str,
    (op, long): (Op, bool),
    effort: Effort,
    paths: &mut BTreeMap<&'static str, usize>,
) -> bool {
    let mut tally = Tally::new(name);
    let mut all = Vec::new();
    for slots in 1..=3 {
        // A quick run takes each scene once, with rings of different sizes.
        // Batches take all the room there is.
        let size = |i: usize| match op {
            Op::PutMany | Op::GetMany => BATCH,
            _ => (i + op as usize) as u64 % 3 + 1,
        };
        let chosen = |i: &usize| effort.full || size(*i) == slots;
        let scenes = scenes(op, slots, long).into_iter().enumerate();
        all.extend(scenes.filter(|(i, _)| chosen(i)).map(|(_, scene)| scene));
    }
    if matches!(op, Op::Repair | Op::Guard) {
        for (i, (inside, doom)) in dooms(long).into_iter().enumerate() {
            // Each is a run of its own: a quick one takes some.
            if !effort.full && i % if long { 12 } else { 8 } != 1 {
                continue;
            }
            let slots = 1 + i as u64 % 3;
            if effort.full {
                all.extend((1..=3).map(|slots| Scene {
                    slots,
                    inside,
                    doom: Some(doom),
                    op,
                    long,
                    ..PLAIN
                }));
            } else {
                all.push(Scene { slots, inside, doom: Some(doom), op, long, ..PLAIN });
            }
        }
        // Batches lie in slots.
        let dooms = if long { Vec::new() } else { batch_dooms() };
        for (i, (inside, doom)) in dooms.into_iter().enumerate() {
            if effort.full || i % 8 == 1 {
                all.push(Scene { slots: BATCH, inside, doom: Some(doom), op, ..PLAIN });
            }
        }
    }
    for scene in all {
        // So many deaths before a repair have few new points each.
        let many = !matches!(scene.doom, None | Some(Doom::Putter | Doom::Getter));
        kill_all(scene, if many { effort.thinner() } else { effort }, &mut tally);
    }
    let good = tally.finish("kills");
    for (path, n) in &tally.paths {
        *paths.entry(path).or_default() += n;
    }
    good
}

fn kill_all(scene: Scene, effort: Effort, tally: &mut Tally) {
    let found = survey(effort, &|| scene.set());
    tally.length(found.instructions, found.capped);
    let name = format!("{scene:?}");
    for (i, point) in found.points.iter().enumerate() {
        let mut stage = scene.set();
        stage.run.go_to(*point);
        let place = stage.run.place();
        // Left to the survivors that are there: they look twice a second.
        let alone = scene.bystander != Bystander::None && i % 16 == 5;
        let result = verdict::after_death(&mut stage, alone);
        tally.note(place, &name, result);
    }
    // A bystander looks four times a second whether it can go on, and announces that: a
    // change of the segment that is not the victim's.
    tally.end_scene(&name, scene.bystander == Bystander::None);
}
