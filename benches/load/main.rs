//! The load bench: how fast the daemon is, next to the fastest thing that could stand in its place.
//!
//! Absolute figures belong to one machine and one moment, so every figure here has a partner: a bare TCP
//! server (`reference`) that moves the same bytes and does nothing else, driven by the same generator and pinned
//! the same way, in alternating runs. What is printed and compared with the project's targets is the ratio.
//!
//! ```text
//! cargo bench --bench load                      everything, some minutes
//! cargo bench --bench load -- fan-out --pairs 9 one kind of work, more pairs
//! cargo bench --bench load -- --help            all options
//! ```
//!
//! In reading order: `options` (what was asked), `server` and `launch` (the processes under test), `reference`, `peers`,
//! `frames`, `client` and `ready` (the generator's side of the wire), `pairs` (alternating runs and their ratio), the kinds
//! of work `round_trips`, `fan_out`, `handshakes`, `history`, `topics`, `stalled`, `idle`, and `procfs`, `table` (figures
//! in, figures out). `benches/peers/run` runs all of it beside other brokers.
//!
//! Exit code: 0 however slow the daemon is, 1 if some work could not be done at all, 2 for bad usage.
#![deny(unsafe_code)]

mod client;
mod fan_out;
mod frames;
mod handshakes;
mod history;
mod idle;
mod launch;
mod options;
mod pairs;
mod peers;
mod procfs;
mod publisher;
mod ready;
mod reference;
mod round_trips;
mod server;
mod stalled;
mod table;
mod topics;

use std::process::ExitCode;
use std::{env, io};

use clap::Parser as _;

use options::{Options, Work};
use table::{Row, Table};

/// Anything that stops one kind of work; it is printed, and the next kind of work goes on.
type Result<T> = std::result::Result<T, Error>;
type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(launch::FLAG) => return ended("launch", launch::become_program(&args[2..])),
        Some(reference::FLAG) => return ended("reference", reference::serve(&args[2..])),
        _ => {}
    }
    // `cargo bench` passes --bench; `cargo test --benches` does not, and must not start a measurement.
    if !args.iter().any(|arg| arg == "--bench") || args.iter().any(|arg| arg == "--test") {
        println!("load: measures only under `cargo bench --bench load`; nothing done");
        return ExitCode::SUCCESS;
    }
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    measure(options)
}

/// Does every kind of work asked for, in order, and prints the table of all that could be done.
fn measure(mut options: Options) -> ExitCode {
    if let Err(error) = launch::raise_descriptor_limit() {
        println!("the limit of open descriptors stays as it is: {error}");
    }
    options.cpus = if options.no_pin { None } else { launch::pin_generator() };

    let mut table = Table::default();
    let mut complete = true;
    let mut note = |work: String, outcome: Result<Vec<Row>>| match outcome {
        Ok(rows) => table.extend(rows),
        Err(error) => {
            println!("{work}: could not be measured: {error}");
            table.extend([Row::failed(work)]);
            complete = false;
        }
    };
    if options.wants(Work::RoundTrips) {
        for (name, options, clients) in round_trips::plan(&options) {
            let rows = round_trips::measure(&options, &name, clients);
            note(name, rows);
        }
    }
    if options.wants(Work::FanOut) {
        for &window in &options.window {
            for &subscribers in &options.subscribers {
                let shape = fan_out::Shape { subscribers, publishers: options.publishers, window };
                note(shape.name(), fan_out::measure(&options, shape));
            }
        }
    }
    if options.wants(Work::HttpPublish) {
        for &window in &options.window {
            note(format!("HTTP publish, {window} in flight"), fan_out::measure_http(&options, window));
        }
    }
    if options.wants(Work::Handshakes) {
        note("handshakes".to_owned(), handshakes::measure(&options));
    }
    if options.wants(Work::History) {
        note("history".to_owned(), history::measure(&options));
    }
    if options.wants(Work::Topics) {
        note("10,000 topics".to_owned(), topics::measure(&options));
    }
    if options.wants(Work::Stalled) {
        note("stalled subscribers".to_owned(), stalled::measure(&options));
    }
    if options.wants(Work::Idle) {
        note("idle".to_owned(), idle::measure(&options));
    }

    println!("\n{table}\n{}; load average {}", procfs::machine(), procfs::load_average());
    println!("{}", options.conditions());
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The end of a helper process: silent when its parent went away first, one line otherwise.
fn ended(role: &str, outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load bench, {role}: {error}");
            ExitCode::FAILURE
        }
    }
}
