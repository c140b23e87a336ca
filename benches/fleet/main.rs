//! The fleet bench: what a hub with many agents costs, what it writes, how fast a day of history is, and what one
//! sample costs its machine.
//!
//! ```text
//! cargo bench --bench fleet                        200 agents, a sample each every 5 s, for 130 s
//! cargo bench --bench fleet -- --agents 50 --seconds 65
//! ```
//!
//! In real time: samples that come faster than they say would be rolled up, and the figures would flatter. The agents
//! are sockets of this process that send this machine's own sample, with another load each time; the hub is a process of
//! its own with a state directory. Both share the machine's cores.
//!
//! In reading order: `hub` (the process under test, and what the kernel says of it), `agents` (the generator), `history`,
//! `sample`.
//!
//! Exit code: 0 however slow the hub is, 1 if something could not be done, 2 for bad usage.
#![deny(unsafe_code)]

mod agents;
mod history;
mod hub;
mod sample;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use agents::Agents;
use hub::Hub;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How often an agent sends a sample, as real ones do.
const INTERVAL: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(about = "What a hub with many agents costs")]
struct Options {
    /// How many agents
    #[arg(long, default_value_t = 200)]
    agents: usize,
    /// How long they send; the store writes every 60 s, so a multiple of that and some more is best
    #[arg(long, default_value_t = 130)]
    seconds: u64,
    /// The daemon to be measured
    #[arg(long, default_value = env!("CARGO_BIN_EXE_pinwire"))]
    daemon: PathBuf,
    /// As `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // `cargo bench` passes --bench; `cargo test --benches` does not, and must not start a measurement.
    if !std::env::args().any(|arg| arg == "--bench") || std::env::args().any(|arg| arg == "--test") {
        println!("fleet: measures only under `cargo bench --bench fleet`; nothing done");
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    sample::measure();
    let hub = Hub::start(&options.daemon)?;
    history::measure(&hub)?;
    let mut agents = Agents::connect(&hub, options.agents)?;
    println!("\n{} agents, a sample every {INTERVAL:?}, for {} s", options.agents, options.seconds);
    // One round first: what the first samples need is not what the others do.
    agents.send(INTERVAL)?;
    let before = hub.figures()?;
    let window = Duration::from_secs(options.seconds);
    let sent = agents.send(window)?;
    let after = hub.figures()?;
    let hours = window.as_secs_f64() / 3600.0;
    println!("  samples sent and acknowledged   {sent}, {} bytes each", agents.sample_bytes());
    println!("  hub, processor                  {:.2} % of one core", after.cpu_percent_since(&before, window));
    println!("  hub, memory                     {:.1} MiB resident, {:.1} MiB at most", after.rss_mib, after.peak_mib);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "  database, growth                {:.2} MiB/h",
        mib(after.database.saturating_sub(before.database)) / hours
    );
    println!("  written to the disk             {:.2} MiB/h", mib(after.written - before.written) / hours);
    println!("  {}", hub.machine());
    Ok(())
}
