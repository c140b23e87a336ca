//! What one sample costs the machine it is of.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pinwire::collect::Collector;
use pinwire::config;
use pinwire::telemetry::Telemetry;
use pinwire::types::fleet::Sample;

/// Every third of them looks through all processes.
const ROUNDS: usize = 300;

pub fn collector() -> Collector {
    let settings = config::Telemetry {
        max_age: Duration::from_millis(100),
        vcgencmd: None,
        firmware_interval: Duration::from_secs(5),
        firmware_deadline: Duration::from_secs(5),
    };
    Collector::new(Path::new("/"), Arc::new(Telemetry::new(Path::new("/"), &settings)), None)
}

/// This machine, as an agent sends it.
pub fn of_this_machine() -> Sample {
    let mut collector = collector();
    collector.sample();
    collector.sample()
}

pub fn measure() {
    let mut collector = collector();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let sample = collector.sample();
        let cost = begun.elapsed();
        std::hint::black_box(sample);
        if round % 3 == 0 { with.push(cost) } else { without.push(cost) }
    }
    let processes = std::fs::read_dir("/proc").map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(|n| n.parse::<u32>().is_ok())).count()
    });
    println!("one sample of this machine, {ROUNDS} of them:");
    println!("  with its {processes} processes          {:?} (median)", median(&mut with));
    println!("  without (two of three)          {:?} (median)", median(&mut without));
}

pub fn median(all: &mut [Duration]) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}
