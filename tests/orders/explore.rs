//! Runs tests in many orders, and what they share.

use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use crate::rt::sync::{Condvar, Mutex};

/// Names, and what is run.
pub type Tests = &'static [(&'static str, fn())];

/// Orders of each kind, where `RUNS` says nothing else.
const RUNS: usize = 1500;

/// Threads changed where it hurts, per run.
const CHANGES: usize = 3;

/// Unoptimised code needs deep stacks.
const STACK: usize = 256 * 1024;

/// Runs those that the arguments select.
pub fn run(groups: &[Tests]) {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runs = std::env::var("RUNS").map_or(RUNS, |runs| runs.parse().expect("RUNS is a number"));
    let all: Vec<_> = groups.iter().flat_map(|tests| tests.iter()).collect();
    if std::env::args().any(|word| word == "--list") {
        return all.iter().for_each(|(name, _)| println!("{name}: test"));
    }
    for (name, test) in all {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            let begin = Instant::now();
            Runner::new(RandomScheduler::new(runs), config()).run(test);
            Runner::new(PctScheduler::new(CHANGES, runs), config()).run(test);
            println!("{name}: {runs} orders of each kind in {:.1} s", begin.elapsed().as_secs_f64());
        }
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    // Of what the head of this test says.
    config.silence_warnings = true;
    config
}

/// What somebody waits for.
#[derive(Default)]
pub struct Count {
    reached: Mutex<usize>,
    changed: Condvar,
}

impl Count {
    pub fn add(&self, more: usize) {
        *self.reached.lock().expect("nobody panics") += more;
        self.changed.notify_all();
    }

    /// Not more, either.
    pub fn wait_for(&self, all: usize) {
        let mut reached = self.reached.lock().expect("nobody panics");
        while *reached < all {
            reached = self.changed.wait(reached).expect("nobody panics");
        }
        assert_eq!(*reached, all, "something was done twice");
    }
}
