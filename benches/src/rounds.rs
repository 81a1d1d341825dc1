//! Several subjects of one workload, measured in turns.
//!
//! A busy machine changes from second to second. If one subject were measured after the
//! other, each would meet another machine. So a round runs a short batch of every subject,
//! in an order that changes, and each subject has one sample of every round. A subject
//! that cannot be measured is listed with the reason.

use crate::Fallible;
use crate::plot::Bars;
use crate::session::{Running, Session, Start, any, calibrate};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Rounds that are run however long they take.
const ENOUGH: usize = 3;
/// The subject that the others are compared with.
const OWN: &str = "ringway";

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Batches of each subject; fewer, but at least three, if they take twice as long as
    /// they should.
    pub rounds: usize,
    /// About how long each takes.
    pub batch: Duration,
}

/// The subjects of one workload.
pub struct Group<'a> {
    name: String,
    subjects: Vec<(&'static str, Start<'a>)>,
}

/// What came of one subject: nanoseconds per item of each round, sorted, or why there are
/// none.
pub type Outcome = (&'static str, Result<Vec<f64>, String>);

impl<'a> Group<'a> {
    /// No subjects yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), subjects: Vec::new() }
    }

    /// Adds one.
    pub fn add<S: Session + 'static>(
        &mut self,
        name: &'static str,
        start: impl Fn() -> Fallible<S> + 'a,
    ) {
        self.subjects.push((name, any(start)));
    }

    /// Measures all and prints a table, the fastest first.
    ///
    /// # Errors
    ///
    /// A picture that is wanted cannot be written.
    pub fn run(self, effort: Effort) -> Fallible {
        let name = self.name.clone();
        let mut outcomes = self.measure(effort);
        let median = |outcome: &Outcome| outcome.1.as_ref().map_or(f64::MAX, |all| middle(all));
        outcomes.sort_by(|a, b| median(a).total_cmp(&median(b)));
        print!("{}", table(&name, &outcomes));
        let bars = outcomes.iter().filter_map(|(subject, samples)| {
            let all = samples.as_ref().ok()?;
            Some(((*subject).into(), [*all.first()?, middle(all), *all.last()?]))
        });
        let bars = bars.collect();
        Bars { title: format!("{name}: nanoseconds per item (less is better)"), bars }
            .save(&format!("compare_{}", name.replace(' ', "_")))
    }

    /// Measures all.
    pub fn measure(self, effort: Effort) -> Vec<Outcome> {
        let mut running: Vec<Turn> =
            self.subjects.iter().map(|(_, start)| Turn::start(start, effort)).collect();
        // On a busy machine batches take longer than they should; fewer must do then.
        let planned =
            effort.batch * u32::try_from(effort.rounds * running.len()).unwrap_or(u32::MAX);
        let late = Instant::now() + 2 * planned;
        for round in 0..effort.rounds {
            if round >= ENOUGH && Instant::now() > late {
                break;
            }
            let count = running.len();
            for turn in 0..count {
                running[(round + turn) % count].batch();
            }
        }
        let names = self.subjects.iter().map(|(name, _)| *name);
        names.zip(running.into_iter().map(Turn::end)).collect()
    }
}

/// One subject's part.
struct Turn {
    state: Result<(Box<dyn Running>, u64), String>,
    samples: Vec<f64>,
}

impl Turn {
    fn start(start: &Start<'_>, effort: Effort) -> Self {
        let ready = start().and_then(|mut session| {
            let items = calibrate(session.as_mut(), effort.batch)?;
            Ok((session, items))
        });
        Self { state: ready.map_err(|why| why.to_string()), samples: Vec::new() }
    }

    fn batch(&mut self) {
        let Ok((session, items)) = &mut self.state else { return };
        match session.batch(*items) {
            Ok(took) => self.samples.push(took.as_nanos() as f64 / *items as f64),
            // A subject that fails once has no speed.
            Err(why) => self.state = Err(why.to_string()),
        }
    }

    fn end(mut self) -> Result<Vec<f64>, String> {
        let (session, _) = self.state?;
        session.finish().map_err(|why| why.to_string())?;
        self.samples.sort_by(f64::total_cmp);
        Ok(self.samples)
    }
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn table(name: &str, outcomes: &[Outcome]) -> String {
    let own = outcomes.iter().find_map(|(subject, samples)| {
        samples.as_ref().ok().filter(|_| *subject == OWN).map(|all| middle(all))
    });
    let mut text = format!(
        "\n{name}\n{:<24} {:>11} {:>11} {:>11} {:>7}\n",
        "ns per item", "median", "best", "worst", "spread"
    );
    for (subject, samples) in outcomes {
        let all = match samples {
            Ok(all) => all,
            Err(why) => {
                let _ = writeln!(text, "{subject:<24} not measured: {why}");
                continue;
            }
        };
        let quarter = |part: usize| all.get(all.len() * part / 4).copied().unwrap_or(f64::NAN);
        let median = middle(all);
        let spread = 100.0 * (quarter(3) - quarter(1)) / median;
        let ends = [all.first(), all.last()].map(|end| end.copied().unwrap_or(f64::NAN));
        let _ = write!(
            text,
            "{subject:<24} {median:>11.1} {:>11.1} {:>11.1} {spread:>5.0} %",
            ends[0], ends[1]
        );
        if let Some(own) = own.filter(|_| *subject != OWN) {
            let times = median / own;
            let _ = if times >= 1.0 {
                write!(text, "   Ringway is {times:.1}x as fast")
            } else {
                write!(text, "   Ringway is {:.1}x SLOWER", 1.0 / times)
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(u64, bool);

    impl Session for Fake {
        fn batch(&mut self, items: u64) -> Fallible<Duration> {
            if self.1 && items > 10 {
                return Err("it broke".into());
            }
            Ok(Duration::from_nanos(self.0 * items))
        }
        fn finish(self) -> Fallible {
            Ok(())
        }
    }

    #[test]
    fn slower_faster_broken_and_absent_subjects_are_all_told() {
        let mut group = Group::new("fakes");
        group.add("ringway", || Ok(Fake(10, false)));
        group.add("slow", || Ok(Fake(20, false)));
        group.add("fast", || Ok(Fake(5, false)));
        group.add("broken", || Ok(Fake(5, true)));
        group.add("absent", || -> Fallible<Fake> { Err("it does not build here".into()) });
        let outcomes = group.measure(Effort { rounds: 3, batch: Duration::from_micros(1) });
        let text = table("fakes", &outcomes);
        let line = |subject: &str| text.lines().find(|line| line.starts_with(subject)).unwrap();
        assert!(line("slow").ends_with("Ringway is 2.0x as fast"), "{text}");
        assert!(line("fast").ends_with("Ringway is 2.0x SLOWER"), "{text}");
        assert!(line("broken").ends_with("not measured: it broke"), "{text}");
        assert!(line("absent").ends_with("not measured: it does not build here"), "{text}");
        assert!(line("ringway").contains("10.0") && line("ringway").ends_with(" 0 %"), "{text}");
    }
}
