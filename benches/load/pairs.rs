//! Alternating runs of the two servers, and the ratio of each pair.
//!
//! A machine gets faster and slower in the course of a minute. Neighbouring runs see nearly the same machine, so the
//! ratio is taken within each pair and only then summarised.

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
}

/// One run of one server.
struct Run {
    per_second: f64,
    cpu_us_per_unit: f64,
}

/// All pairs of runs of one kind of work.
#[derive(Default)]
pub struct Pairs {
    daemon: Vec<Run>,
    reference: Vec<Run>,
}

impl Pairs {
    /// Runs both servers in turn. `connect` sets the load up anew for each run, so that neither server carries
    /// a connection while the other one is measured.
    pub fn measure<L: Load>(
        options: &Options,
        name: &str,
        [daemon, reference]: [&Server; 2],
        connect: impl Fn(&Server) -> Result<L>,
    ) -> Result<Self> {
        let mut pairs = Self::default();
        for pair in 1..=options.pairs {
            for (server, runs, who) in
                [(daemon, &mut pairs.daemon, "daemon"), (reference, &mut pairs.reference, "reference")]
            {
                let run = connect(server).and_then(|mut load| measure_run(options, server, &mut load));
                runs.push(run.map_err(|error| format!("{who}, run {pair}: {error}"))?);
            }
            println!("{name}, pair {pair} of {}: ratio {:.3}", options.pairs, pairs.ratio(pair as usize - 1));
        }
        Ok(pairs)
    }

    /// The line of the table.
    pub fn row(&self, work: String, target: Option<f64>) -> Row {
        let ratios = Spread::of((0..self.daemon.len()).map(|pair| self.ratio(pair)));
        let rate = |runs: &[Run]| format!("{:.0}/s", Spread::of(runs.iter().map(|run| run.per_second)).median);
        let cpu = |runs: &[Run]| Spread::of(runs.iter().map(|run| run.cpu_us_per_unit)).median;
        Row {
            work,
            daemon: rate(&self.daemon),
            reference: rate(&self.reference),
            ratio: ratios.to_string(),
            cpu: format!("{:.2} / {:.2}", cpu(&self.daemon), cpu(&self.reference)),
            target: Target::at_least(ratios.median, target),
        }
    }

    fn ratio(&self, pair: usize) -> f64 {
        self.daemon[pair].per_second / self.reference[pair].per_second
    }
}

fn measure_run(options: &Options, server: &Server, load: &mut impl Load) -> Result<Run> {
    load.run(WARM_UP)?;
    let cpu_before = procfs::cpu_time(server.pid())?;
    let start = Instant::now();
    let units = load.run(options.seconds)? as f64;
    let elapsed = start.elapsed();
    let cpu = procfs::cpu_time(server.pid())?.saturating_sub(cpu_before);
    Ok(Run { per_second: units / elapsed.as_secs_f64(), cpu_us_per_unit: cpu.as_secs_f64() * 1e6 / units })
}

/// Smallest, middle and largest of some measurements.
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// There is at least one pair, by the options.
    fn of(values: impl Iterator<Item = f64>) -> Self {
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
