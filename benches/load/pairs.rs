//! Alternating runs of servers that do the same work, and each run's ratio to the reference's run beside it.
//!
//! A machine gets faster and slower in the course of a minute. Neighbouring runs see nearly the same machine, so the
//! ratio is taken within each round and only then summarised.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Result;
use crate::options::Options;
use crate::procfs;
use crate::server::Server;
use crate::table::{Row, Target};

/// Each run starts with this much of the same work, uncounted: caches warm up, and the connections of the run
/// before (of the other server) are gone.
const WARM_UP: Duration = Duration::from_millis(200);

/// A load that is set up and can be kept going for a while.
pub trait Load {
    /// Keeps the load on for `time`, then waits until nothing is outstanding. Returns the units of work done.
    fn run(&mut self, time: Duration) -> Result<u64>;

    /// The CPU time that counts. The usual one is exact and leaves out threads that have ended.
    fn cpu_time(&self, server: &Server) -> Result<Duration> {
        procfs::cpu_time(server.pid())
    }
}

/// What is to be reached, as a ratio to the reference.
#[derive(Clone, Copy, Default)]
pub enum Goal {
    #[default]
    None,
    /// Work per second, at least.
    Rate(f64),
    /// CPU time per unit of work, at most.
    Cpu(f64),
}

/// One run of one server.
struct Run {
    per_second: f64,
    cpu_us_per_unit: f64,
}

/// All rounds of one kind of work: per server its runs. The first server is the one to be judged, the second one the
/// reference.
pub struct Pairs {
    runs: Vec<Vec<Run>>,
}

/// The place of the reference among the servers.
const REFERENCE: usize = 1;

impl Pairs {
    /// Runs all servers in turn. `connect` sets the load up anew for each run, so that no server carries
    /// a connection while another one is measured.
    pub fn measure<L: Load>(
        options: &Options,
        name: &str,
        servers: &[&Server],
        connect: impl Fn(usize, &Server) -> Result<L>,
    ) -> Result<Self> {
        let mut pairs = Self { runs: servers.iter().map(|_| Vec::new()).collect() };
        for pair in 1..=options.pairs {
            for (place, server) in servers.iter().enumerate() {
                let run = connect(place, server).and_then(|mut load| measure_run(options, server, &mut load));
                let run = run.map_err(|error| format!("server {place}, run {pair}: {error}"))?;
                pairs.runs[place].push(run);
            }
            let last = pair as usize - 1;
            println!(
                "{name}, round {pair} of {}: rate {:.3}, CPU {:.3}",
                options.pairs,
                pairs.rate(0, last),
                pairs.cpu(0, last)
            );
        }
        Ok(pairs)
    }

    /// The line of the table for the first server.
    pub fn row(&self, work: String, goal: Goal) -> Row {
        self.row_of(0, work, goal)
    }

    /// The line for the server at this place.
    pub fn row_of(&self, place: usize, work: String, goal: Goal) -> Row {
        let rounds = || 0..self.runs[place].len();
        let rates = Spread::of(rounds().map(|round| self.rate(place, round)));
        let costs = Spread::of(rounds().map(|round| self.cpu(place, round)));
        let cost = |place: usize| Spread::of(self.runs[place].iter().map(|run| run.cpu_us_per_unit)).median;
        let target = match goal {
            Goal::None => Target::none(),
            Goal::Rate(least) => Target::at_least(rates.median, least),
            Goal::Cpu(most) => Target::at_most_times(costs.median, most),
        };
        Row {
            work,
            daemon: format!("{:.0}/s", self.per_second(place)),
            reference: format!("{:.0}/s", self.per_second(REFERENCE)),
            ratio: rates.to_string(),
            cpu: format!("{:.2} / {:.2}", cost(place), cost(REFERENCE)),
            cpu_ratio: costs.to_string(),
            target,
        }
    }

    /// The median rate of a server.
    pub fn per_second(&self, place: usize) -> f64 {
        Spread::of(self.runs[place].iter().map(|run| run.per_second)).median
    }

    fn rate(&self, place: usize, round: usize) -> f64 {
        self.runs[place][round].per_second / self.runs[REFERENCE][round].per_second
    }

    fn cpu(&self, place: usize, round: usize) -> f64 {
        self.runs[place][round].cpu_us_per_unit / self.runs[REFERENCE][round].cpu_us_per_unit
    }
}

fn measure_run(options: &Options, server: &Server, load: &mut impl Load) -> Result<Run> {
    load.run(WARM_UP)?;
    let cpu_before = load.cpu_time(server)?;
    let start = Instant::now();
    let units = load.run(options.seconds)? as f64;
    let elapsed = start.elapsed();
    let cpu = load.cpu_time(server)?.saturating_sub(cpu_before);
    Ok(Run { per_second: units / elapsed.as_secs_f64(), cpu_us_per_unit: cpu.as_secs_f64() * 1e6 / units })
}

/// Smallest, middle and largest of some measurements.
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// There is at least one, by the options.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let median = (values[last / 2] + values[last.div_ceil(2)]) / 2.0;
        Self { min: values[0], median, max: values[last] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.3} / {:.3} / {:.3}", self.min, self.median, self.max)
    }
}
