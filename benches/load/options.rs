//! What was asked for on the command line, with the defaults the project's targets are stated for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::launch::Cpus;
use crate::peers::Peer;

/// Longer runs would meet the daemon's keep-alive (a ping every 25 s), which the generator does not answer.
const LONGEST_RUN_S: f64 = 20.0;

#[derive(Clone, Parser)]
#[command(name = "load", about = "Measures the daemon next to a bare TCP server that moves the same bytes")]
pub struct Options {
    /// What to measure; everything if none is named
    #[arg(value_enum)]
    pub work: Vec<Work>,
    /// Length of one run of one server, in seconds
    #[arg(long, default_value = "1", value_parser = run_length)]
    pub seconds: Duration,
    /// Rounds: runs of all servers in turn, per line of the table
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pairs: u32,
    /// round-trips: connections, each with one request outstanding
    #[arg(long, value_delimiter = ',', default_value = "1,16", value_parser = count)]
    pub clients: Vec<usize>,
    /// fan-out: subscribers of the one event
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000", value_parser = count)]
    pub subscribers: Vec<usize>,
    /// fan-out: events in flight
    #[arg(long, value_delimiter = ',', default_value = "1,8", value_parser = count)]
    pub window: Vec<usize>,
    /// fan-out: connections that take turns in publishing
    #[arg(long, default_value = "1", value_parser = count)]
    pub publishers: usize,
    /// idle: connections that say nothing
    #[arg(long, default_value = "4000", value_parser = count)]
    pub connections: usize,
    /// idle: how long wake-ups are counted, in seconds
    #[arg(long, default_value = "10", value_parser = run_length)]
    pub idle_seconds: Duration,
    /// fan-out: another server to measure beside the daemon: bun, ws, mosquitto or nats, and its program
    #[arg(long = "peer", value_name = "NAME=PROGRAM", value_parser = Peer::parse)]
    pub peers: Vec<Peer>,
    /// Measure this binary instead of the one just built
    #[arg(long, default_value = env!("CARGO_BIN_EXE_pinwire"))]
    pub daemon: PathBuf,
    /// Leave generator and servers to the scheduler instead of giving each its own CPU
    #[arg(long)]
    pub no_pin: bool,
    /// Cargo says so under `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Who runs where; found at start, not an argument.
    #[arg(skip)]
    pub cpus: Option<Cpus>,
}

/// The kinds of work.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    RoundTrips,
    FanOut,
    HttpPublish,
    Handshakes,
    History,
    Topics,
    Stalled,
    Idle,
}

impl Options {
    pub fn wants(&self, work: Work) -> bool {
        self.work.is_empty() || self.work.contains(&work)
    }

    /// The same work with the servers on the generator's CPU; `None` where nothing is pinned.
    pub fn on_one_cpu(&self) -> Option<Self> {
        let cpus = self.cpus?.shared();
        Some(Self { cpus: Some(cpus), ..self.clone() })
    }

    /// The line below the table that says how it was measured.
    pub fn conditions(&self) -> String {
        let pinning = match self.cpus {
            Some(cpus) => {
                format!(
                    "generator on CPU {0}, server on CPU {1} (\"one CPU\": both on {0})",
                    cpus.generator, cpus.server
                )
            }
            None => "not pinned".to_owned(),
        };
        format!("{pinning}; {} rounds of {:?} runs; rates and CPU are medians", self.pairs, self.seconds)
    }
}

fn run_length(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=LONGEST_RUN_S).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected 0.05 to {LONGEST_RUN_S} seconds")),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(count) if (1..=100_000).contains(&count) => Ok(count),
        _ => Err("expected a number from 1 to 100000".to_owned()),
    }
}
