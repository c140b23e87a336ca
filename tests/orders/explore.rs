//! Runs tests in many orders, and what they share.

use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use crate::rt::sync::{Condvar, Mutex};

/// Names, and what is run.
pub type Tests = &'static [(&'static str, fn())];

/// What is run in fewer orders, as it takes longer: only each so manieth.
pub type Share = usize;

/// Orders of each kind, where `RUNS` says nothing else.
const RUNS: usize = 1000;

/// Threads changed where it hurts, per run.
const CHANGES: usize = 3;

/// Unoptimised code needs deep stacks.
const STACK: usize = 256 * 1024;

/// Runs those that the arguments select; what is said of it is said as other tests say it.
pub fn run(groups: &[(Tests, Share)]) {
    let (mut words, mut skipped) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--skip" => skipped.extend(arguments.next()),
            "--test-threads" | "--format" | "--color" => drop(arguments.next()),
            word if !word.starts_with('-') => words.push(argument),
            _ => {}
        }
    }
    let is_wanted = |name: &str| {
        let named = words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
        named && !skipped.iter().any(|word| name.contains(word.as_str()))
    };
    let wanted: Vec<_> = groups
        .iter()
        .flat_map(|(tests, share)| tests.iter().map(move |(name, test)| (name, test, share)))
        .filter(|(name, ..)| is_wanted(name))
        .collect();
    if std::env::args().any(|argument| argument == "--list") {
        return wanted.iter().for_each(|(name, ..)| println!("{name}: test"));
    }
    let runs = std::env::var("RUNS").map_or(RUNS, |runs| runs.parse().expect("RUNS is a number"));
    println!("\nrunning {} tests", wanted.len());
    let begun = Instant::now();
    for (name, test, share) in wanted.iter().copied() {
        let (runs, begun) = (runs.div_ceil(*share), Instant::now());
        Runner::new(RandomScheduler::new(runs), config()).run(test);
        Runner::new(PctScheduler::new(CHANGES, runs), config()).run(test);
        let seconds = begun.elapsed().as_secs_f64();
        println!("test {name} ... ok, in {runs} orders of two kinds, {seconds:.1} s");
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("\ntest result: ok. {} passed; 0 failed; finished in {seconds:.2}s\n", wanted.len());
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
