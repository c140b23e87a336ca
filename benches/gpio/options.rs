//! What was asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Longer runs would meet the daemon's keep-alive (a ping every 25 s), which not every client here answers.
const LONGEST_RUN_S: f64 = 20.0;

#[derive(Clone, Parser)]
#[command(name = "gpio", about = "Measures edges, toggles, sequences and software PWM")]
pub struct Options {
    /// What to measure; everything if none is named
    #[arg(value_enum)]
    pub work: Vec<Work>,
    /// edges, toggles: the daemon's way to the lines
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cdev,sysfs")]
    pub backend: Vec<Backend>,
    /// edges: how many for the daemon, gpiomon and the bare reader each
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub edges: u32,
    /// toggles: runs of daemon and loop in turn, per line of the table
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// toggles: length of one run, in seconds
    #[arg(long, default_value = "1", value_parser = run_length)]
    pub seconds: Duration,
    /// sequences: length of one sequence, in seconds
    #[arg(long, default_value = "2", value_parser = run_length)]
    pub play_seconds: Duration,
    /// pwm: how long CPU time is counted, in seconds
    #[arg(long, default_value = "5", value_parser = run_length)]
    pub pwm_seconds: Duration,
    /// Measure this binary instead of the one just built
    #[arg(long, default_value = env!("CARGO_BIN_EXE_pinwire"))]
    pub daemon: PathBuf,
    /// Cargo says so under `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// The kinds of work.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    Edges,
    Toggles,
    Sequences,
    Pwm,
}

impl Work {
    pub const ALL: [(Work, &str); 4] =
        [(Work::Edges, "edges"), (Work::Toggles, "toggles"), (Work::Sequences, "sequences"), (Work::Pwm, "pwm")];
}

/// The daemon's backends for real lines.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    Cdev,
    Sysfs,
}

impl Backend {
    /// As the daemon's option calls it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Cdev => "cdev",
            Backend::Sysfs => "sysfs",
        }
    }
}

impl Options {
    pub fn wants(&self, work: Work) -> bool {
        self.work.is_empty() || self.work.contains(&work)
    }
}

fn run_length(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=LONGEST_RUN_S).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected 0.05 to {LONGEST_RUN_S} seconds")),
    }
}
