//! Toggles: how often per second a line changes at most, by a WebSocket client's updates, by a sequence that is always
//! late, and by a loop of the one system call that `gpioset` would use.

use std::time::{Duration, Instant};

use gpiocdev::Request;
use gpiocdev::line::Value as Level;
use serde_json::json;

use crate::Result;
use crate::common::Daemon;
use crate::device::{self, ask};
use crate::options::Options;
use crate::pipeline::Pipeline;
use crate::rig::Sim;
use crate::spread::median;
use crate::table::Table;
use crate::trace::Trace;

const OURS: u32 = 4;
const THEIRS: u32 = 5;

/// Uncounted, before each run.
const WARM_UP: Duration = Duration::from_millis(100);

/// How many requests are on their way.
const DEPTHS: [usize; 2] = [1, 16];

/// As many as a sequence can have.
const STEPS: usize = 1_000;

/// The loop looks at the clock once in so many toggles.
const AT_ONCE: u32 = 64;

pub fn measure(options: &Options) -> Result<Table> {
    let mut table = Table::new(&["toggles by", "per second", "the loop in turn", "ratio min / median / max"]);
    for &backend in &options.backend {
        let sim = device::chip();
        for depth in DEPTHS {
            let daemon = device::daemon(options, Some(backend), "error", "");
            let mut client = client(&daemon)?;
            client.run(depth, WARM_UP)?;
            let name = match depth {
                1 => format!("updates, one after the other, {}", backend.name()),
                _ => format!("updates, {depth} on their way, {}", backend.name()),
            };
            add(&mut table, options, &sim, name, || client.run(depth, options.seconds))?;
        }
        let daemon = device::daemon(options, Some(backend), "debug", "");
        let name = format!("PLAY_PINS, {STEPS} steps in 1 ms, {}", backend.name());
        add(&mut table, options, &sim, name, || play(&daemon, &sim))?;
    }
    Ok(table.below(format!("{} pairs of runs of {:?}; rates are medians", options.runs, options.seconds)))
}

/// Runs both in turn.
fn add(
    table: &mut Table,
    options: &Options,
    sim: &Sim,
    name: String,
    mut run: impl FnMut() -> Result<f64>,
) -> Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        ours.push(run().map_err(|error| format!("{name}: {error}"))?);
        theirs.push(system_calls(sim, options.seconds)?);
    }
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    let (least, most) = ratios.iter().fold((f64::INFINITY, 0.0f64), |(low, high), &r| (low.min(r), high.max(r)));
    let middle = median(ratios);
    println!("{name}: {middle:.3} of the loop's rate");
    let rate = |rates: Vec<f64>| format!("{:.0}", median(rates));
    table.row([name, rate(ours), rate(theirs), format!("{least:.3} / {middle:.3} / {most:.3}")]);
    Ok(())
}

/// A client that sets the line to high and low in turn, after it has seen that this works.
fn client(daemon: &Daemon) -> Result<Pipeline> {
    let pins = |state: u8| json!({"pins": {format!("GPIO{OURS}"): {"io": "OUTPUT", "state": state}}});
    let mut ws = daemon.ws("/");
    for state in [1, 0] {
        ask(&mut ws, "UPDATE_PIN_CONFIGURATIONS", pins(state))?;
    }
    let request = |state| json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": pins(state)}).to_string();
    Pipeline::over(ws, [&request(1), &request(0)])
}

/// The loop, on a line of its own.
fn system_calls(sim: &Sim, time: Duration) -> Result<f64> {
    let request = Request::builder()
        .on_chip(&sim.chip)
        .with_consumer("bench")
        .with_line(THEIRS)
        .as_output(Level::Inactive)
        .request()?;
    let begun = Instant::now();
    let mut toggles = 0;
    while begun.elapsed() < time {
        for _ in 0..AT_ONCE / 2 {
            request.set_value(THEIRS, Level::Active)?;
            request.set_value(THEIRS, Level::Inactive)?;
        }
        toggles += AT_ONCE;
    }
    Ok(f64::from(toggles) / begun.elapsed().as_secs_f64())
}

/// A sequence faster than anything; its rate as the kernel saw it.
fn play(daemon: &Daemon, sim: &Sim) -> Result<f64> {
    let steps: Vec<_> = (0..STEPS).map(|at| json!({"at": at, "pins": {format!("GPIO{OURS}"): 1 - at % 2}})).collect();
    let trace = Trace::start()?;
    let started = ask(&mut daemon.ws("/"), "PLAY_PINS", json!({ "steps": steps }))?;
    let id = started["sequence"].as_str().ok_or("no sequence")?;
    daemon.wait_for_log(&format!("{id} has ended"));
    let set = trace.set(sim.base + OURS)?;
    // The first one makes it an output.
    let (Some(first), Some(last), true) = (set.first(), set.last(), set.len() + 1 >= STEPS) else {
        return Err(format!("the kernel saw {} of {STEPS} levels", set.len()).into());
    };
    Ok((set.len() - 1) as f64 / last.0.saturating_sub(first.0).as_secs_f64())
}
