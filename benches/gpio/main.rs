//! The GPIO bench: how fast the daemon sees edges and sets lines, and how punctual it is.
//!
//! Every figure that has a rival is measured against it in the same run, in turn, and compared as a ratio: an edge's
//! way to a WebSocket client against its way to the output of `gpiomon`, toggles by a WebSocket client against the
//! loop of system calls that `gpioset` would be. Sequences are measured against their own schedule.
//!
//! ```text
//! cargo bench --bench gpio -- sequences pwm      what needs no GPIO, on simulated pins
//! tests/rig/bench edges toggles sequences        on a real kernel's simulated chip
//! cargo bench --bench gpio -- --help             all options
//! ```
//!
//! In reading order: `options`, `device` (the daemon under test, and its chip), the kinds of work `edges`, `toggles`,
//! `sequences`, `pwm`, and what they use: `bare` (the least that a reader of edges can be), `pipeline` (requests, several on their way), `trace` (what the kernel saw),
//! `busy` (load beside), `spread` and `table` (figures in, figures out).
//!
//! Exit code: 0 however slow the daemon is and for work that is skipped, 1 if some work could not be done, 2 for bad
//! usage.
#![deny(unsafe_code)]

mod bare;
mod busy;
mod device;
mod edges;
mod options;
mod pipeline;
mod pwm;
mod sequences;
mod spread;
mod table;
mod toggles;
mod trace;

// The door to the daemon, the chips and the wire are what the tests and the other bench use.
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../load/frames.rs"]
#[allow(dead_code)]
mod frames;
#[path = "../load/procfs.rs"]
#[allow(dead_code)]
mod procfs;
#[path = "../../tests/rig/mod.rs"]
mod rig;

use std::env;
use std::process::ExitCode;

use clap::Parser as _;

use options::{Options, Work};

/// Anything that stops one kind of work; it is printed, and the next kind of work goes on.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    if args.get(1).is_some_and(|arg| arg == busy::FLAG) {
        busy::spin();
    }
    if args.get(1).is_some_and(|arg| arg == bare::FLAG) {
        if let Err(error) = bare::run(&args[2..]) {
            eprintln!("gpio bench, bare reader: {error}");
        }
        return ExitCode::FAILURE;
    }
    // `cargo bench` passes --bench; `cargo test --benches` does not, and must not start a measurement.
    if !args.iter().any(|arg| arg == "--bench") || args.iter().any(|arg| arg == "--test") {
        println!("gpio: measures only under `cargo bench --bench gpio`; nothing done");
        return ExitCode::SUCCESS;
    }
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    measure(&options)
}

fn measure(options: &Options) -> ExitCode {
    let mut complete = true;
    for (work, name) in Work::ALL {
        if !options.wants(work) {
            continue;
        }
        if matches!(work, Work::Edges | Work::Toggles) && !rig::available() {
            println!("skipped: {name}: no simulated GPIO in this kernel; tests/rig/bench runs it\n");
            continue;
        }
        let outcome = match work {
            Work::Edges => edges::measure(options),
            Work::Toggles => toggles::measure(options),
            Work::Sequences => sequences::measure(options),
            Work::Pwm => pwm::measure(options),
        };
        match outcome {
            Ok(table) => println!("{table}"),
            Err(error) => {
                println!("{name}: could not be measured: {error}\n");
                complete = false;
            }
        }
    }
    println!("{}; load average {}", procfs::machine(), busy::load_average());
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
