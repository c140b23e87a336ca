//! Sequences: how late each step is, and whether the last one is later than the first (drift), with the machine
//! as it is and with a busy process on each CPU.
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
    /// Steps in a round, and in all rounds.
    round: u32,
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
    for (loaded, machine) in [(false, "as it is"), (true, "busy")] {
        let _busy = if loaded { Some(Busy::start()?) } else { None };
        for play in plays(options.play_seconds) {
            let (set, own) = if real { traced(options, &play) } else { stamped(options, &play) }
                .map_err(|error| format!("{}, {machine}: {error}", play.name))?;
            let Seen { late, drift } = Seen::of(&play, &set)?;
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
    let doubt = "where steps are left out it is a guess which, and its own account counts";
    Ok(table.below(format!("times from {from}, counted from the first step; drift: of the last step against the first; busy: one computing process per CPU; {doubt}")))
}

fn plays(time: Duration) -> [Play; 3] {
    let blink = |name, step: Duration| {
        let micros = step.as_micros() as u64;
        let count = (time.as_micros() / step.as_micros() / 2).max(1) as u32;
        let params = json!({"pin": LINE, "on": format!("{micros}us"), "off": format!("{micros}us"), "count": count});
        Play { name, action: "BLINK_PIN", params, step, round: 2, steps: 2 * count }
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
        Play { name: "PLAY_PINS, a step each 100 µs", action: "PLAY_PINS", params, step, round, steps: round * count },
    ]
}

/// What the times at which levels were set say of a sequence.
struct Seen {
    /// How late each step was, in the order of the steps, as seen from the first one, which a request sets by itself.
    late: Vec<Duration>,
    /// Of the last step against the first one, in microseconds.
    drift: f64,
}

impl Seen {
    /// Rounds that are wholly past when they should start are left out, and how many there were is known. Each that
    /// was played is taken for the latest that it can be then.
    fn of(play: &Play, set: &[Duration]) -> Result<Seen> {
        let (first, last) = set.first().zip(set.last()).ok_or("no level was set")?;
        let round = play.step * play.round;
        let left_out = play.steps.saturating_sub(u32::try_from(set.len())?) / play.round;
        let mut late = Vec::with_capacity(set.len());
        for (steps, played) in set.chunks(play.round as usize).zip(0..) {
            // The first step of all may have been late itself, so others may be early by comparison.
            let since = (steps[0] + round / 4).saturating_sub(*first);
            let latest = u32::try_from(since.as_nanos() / round.as_nanos())?;
            let start = *first + round * latest.clamp(played, played + left_out);
            for (at, number) in steps.iter().zip(0..) {
                late.push(at.as_secs_f64() - (start + play.step * number).as_secs_f64());
            }
        }
        let drift = last.as_secs_f64() - (*first + play.step * (play.steps - 1)).as_secs_f64();
        let late = late.iter().map(|late| Duration::from_secs_f64(late.max(0.0))).collect();
        Ok(Seen { late, drift: drift * 1e6 })
    }
}

/// With real lines: the times at which the kernel set the level.
fn traced(options: &Options, play: &Play) -> Result<(Vec<Duration>, String)> {
    let sim = device::chip();
    let daemon = device::daemon(options, Some(Backend::Cdev), "debug", "");
    let mut ws = daemon.ws("/");
    prepare(&mut ws)?;
    let trace = Trace::start()?;
    let own = ended(&daemon, &start(&mut ws, play)?)?;
    let mut level = false;
    let set = trace.set(sim.base + LINE)?.into_iter().filter(|(_, to)| std::mem::replace(&mut level, *to) != *to);
    Ok((set.map(|(at, _)| at).collect(), own))
}

/// With simulated lines: the times of the events, and the daemon's own account from a second time without.
fn stamped(options: &Options, play: &Play) -> Result<(Vec<Duration>, String)> {
    let daemon = device::daemon(options, None, "debug", "edge_events = 0\n");
    let mut ws = daemon.ws("/");
    prepare(&mut ws)?;
    let events = subscribe(&daemon);
    ended(&daemon, &start(&mut ws, play)?)?;
    let mut set = Vec::new();
    while let Ok(at) = events.recv_timeout(QUIET) {
        set.push(at.duration_since(SystemTime::UNIX_EPOCH)?);
    }
    drop(daemon);
    let daemon = device::daemon(options, None, "debug", "");
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
