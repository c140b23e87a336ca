//! Sequences: how late each step is, and whether the last one is later than the first (drift), with the machine idle
//! and with a busy process on each CPU.
//!
//! Where there is a kernel with GPIO its trace says when each level was set. Elsewhere the lines are simulated, and it
//! is the events' own stamps: taken right after the level was set, but the subscriber who collects them keeps the
//! machine busy. So each sequence is played a second time without one; then the daemon itself says how late it was.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::Result;
use crate::busy::Busy;
use crate::common::{Daemon, Ws};
use crate::device::{self, ask};
use crate::options::{Backend, Options};
use crate::rig;
use crate::spread::Spread;
use crate::table::Table;
use crate::trace::Trace;

const LINE: u32 = 4;

/// Events of a sequence that has ended are all there after so much silence.
const QUIET: Duration = Duration::from_millis(200);

/// A line that changes at equal steps, starting high.
struct Play {
    name: &'static str,
    action: &'static str,
    params: Value,
    step: Duration,
    steps: u32,
}

pub fn measure(options: &Options) -> Result<Table> {
    let real = rig::available();
    let mut table = Table::new(&[
        "sequence",
        "machine",
        "steps",
        "late by mean / p50 / p99 / max µs",
        "drift µs",
        "by its own account, mean / max µs",
        "left out",
    ]);
    for (loaded, machine) in [(false, "idle"), (true, "busy")] {
        let _busy = if loaded { Some(Busy::start()?) } else { None };
        for play in plays(options.play_seconds) {
            let (set, own) = if real { traced(&play) } else { stamped(&play) }
                .map_err(|error| format!("{}, {machine}: {error}", play.name))?;
            let late = lateness(&play, &set)?;
            let drift = late[late.len() - 1].as_secs_f64() * 1e6;
            let left_out = play.steps - u32::try_from(set.len())?.min(play.steps);
            let spread = Spread::of(late);
            println!("{}, {machine}: late by {:.0} µs at p50", play.name, spread.p50);
            table.row([
                play.name.to_owned(),
                machine.to_owned(),
                play.steps.to_string(),
                format!("{:.0} / {:.0} / {:.0} / {:.0}", spread.mean, spread.p50, spread.p99, spread.max),
                format!("{drift:.0}"),
                own,
                left_out.to_string(),
            ]);
        }
    }
    let from = if real { "the kernel's trace, backend cdev" } else { "events of simulated pins" };
    Ok(table.below(format!("times from {from}, counted from the first step; busy: one computing process per CPU")))
}

fn plays(time: Duration) -> [Play; 3] {
    let blink = |name, step: Duration| {
        let micros = step.as_micros() as u64;
        let count = (time.as_micros() / step.as_micros() / 2).max(1) as u32;
        let params = json!({"pin": LINE, "on": format!("{micros}us"), "off": format!("{micros}us"), "count": count});
        Play { name, action: "BLINK_PIN", params, step, steps: 2 * count }
    };
    // As many steps as a round can have.
    let (step, round) = (Duration::from_micros(100), 1_000);
    let steps: Vec<_> =
        (0..round).map(|n| json!({"at": 100 * n, "pins": {format!("GPIO{LINE}"): 1 - n % 2}})).collect();
    let count = (time.as_micros() / (step * round).as_micros()).max(1) as u32;
    let params = json!({"steps": steps, "period": 100 * round, "count": count});
    [
        blink("BLINK_PIN 1 kHz", Duration::from_micros(500)),
        blink("BLINK_PIN 100 Hz", Duration::from_millis(5)),
        Play { name: "PLAY_PINS, a step each 100 µs", action: "PLAY_PINS", params, step, steps: round * count },
    ]
}

/// How late each step was, as seen from the first one, which is on time by definition.
fn lateness(play: &Play, set: &[Duration]) -> Result<Vec<Duration>> {
    let first = set.first().ok_or("no level was set")?;
    let direct = set.len() == play.steps as usize;
    let late = set.iter().enumerate().map(|(number, at)| {
        let since = at.saturating_sub(*first);
        // With steps left out each one belongs to the latest that it can be; all levels alternate.
        let possible = (since.as_nanos() / play.step.as_nanos()) as u32;
        let nearest = possible - (possible ^ number as u32) % 2 * u32::from(possible > 0);
        since.saturating_sub(play.step * if direct { number as u32 } else { nearest })
    });
    Ok(late.collect())
}

/// With real lines: the times at which the kernel set the level.
fn traced(play: &Play) -> Result<(Vec<Duration>, String)> {
    let sim = device::chip();
    let daemon = device::daemon(Some(Backend::Cdev), "debug", "");
    let mut ws = daemon.ws("/");
    prepare(&mut ws)?;
    let trace = Trace::start()?;
    let own = ended(&daemon, &start(&mut ws, play)?)?;
    let mut level = false;
    let set = trace.set(sim.base + LINE)?.into_iter().filter(|(_, to)| std::mem::replace(&mut level, *to) != *to);
    Ok((set.map(|(at, _)| at).collect(), own))
}

/// With simulated lines: the times of the events, and the daemon's own account from a second time without.
fn stamped(play: &Play) -> Result<(Vec<Duration>, String)> {
    let daemon = device::daemon(None, "debug", "edge_events = 0\n");
    let mut ws = daemon.ws("/");
    prepare(&mut ws)?;
    let events = subscribe(&daemon);
    ended(&daemon, &start(&mut ws, play)?)?;
    let mut set = Vec::new();
    while let Ok(at) = events.recv_timeout(QUIET) {
        set.push(at.duration_since(SystemTime::UNIX_EPOCH)?);
    }
    drop(daemon);
    let daemon = device::daemon(None, "debug", "");
    let mut ws = daemon.ws("/");
    prepare(&mut ws)?;
    let own = ended(&daemon, &start(&mut ws, play)?)?;
    Ok((set, own))
}

/// The line is an output, and low, before it starts.
fn prepare(ws: &mut Ws) -> Result<()> {
    let pins = json!({"pins": {format!("GPIO{LINE}"): {"io": "OUTPUT", "state": 0}}});
    ask(ws, "UPDATE_PIN_CONFIGURATIONS", pins).map(drop)
}

fn start(ws: &mut Ws, play: &Play) -> Result<String> {
    let started = ask(ws, play.action, play.params.clone())?;
    Ok(started["sequence"].as_str().ok_or("no sequence")?.to_owned())
}

/// Waits for its end; the daemon's account of it, `… has ended: 4000 steps, late by 5 µs on average, 60 µs at most`.
fn ended(daemon: &Daemon, id: &str) -> Result<String> {
    daemon.wait_for_log(&format!("{id} has ended"));
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(&format!("{id} has ended"))).ok_or("not in the log")?;
    let figures = line.split_once("late by ").ok_or("no figures")?.1;
    let figures: Vec<&str> = figures.split(' ').filter(|word| word.parse::<u64>().is_ok()).collect();
    Ok(figures.join(" / "))
}

/// The stamps of the line's changes, from a subscriber whose stamps are the finest.
fn subscribe(daemon: &Daemon) -> Receiver<SystemTime> {
    let mut ws = daemon.ws("/subscribe?clientName=bench");
    ws.send(r#"{"action":"subscribe","event":"gpio.state.changed"}"#);
    ws.sync();
    let (sender, events) = channel();
    std::thread::spawn(move || {
        while let Ok(message) = ws.0.read() {
            let event: Value =
                message.to_text().ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            let at = event["created_at"].as_str().and_then(|text| humantime::parse_rfc3339(text).ok());
            if at.is_some_and(|at| sender.send(at).is_err()) {
                return;
            }
        }
    });
    events
}
