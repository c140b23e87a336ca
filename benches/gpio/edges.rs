//! Edges: the time from a change on a line until a WebSocket client has its event, and until somebody who runs
//! `gpiomon` has read its line, of lines of one chip in turn.
//!
//! A third line has a bare reader ([`crate::bare`]), which tells how much of the time is the daemon's own.
//!
//! Two spans of that are told apart. The whole starts just before the simulated level is written, and holds the kernel's
//! own delivery, which on simulated interrupts is up to a tick (a millisecond in the rig). The rest starts at the
//! kernel's stamp of the edge, and is what a reader is to be judged by. Of sysfs there is no such stamp.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::bare::{Bare, EVENT_BYTES};
use crate::common::{LIMIT, Ws, kill};
use crate::device::{self, ask, monotonic};
use crate::options::{Backend, Options};
use crate::rig::{Sim, wait_until};
use crate::spread::Spread;
use crate::table::Table;

const OURS: u32 = 4;
const THEIRS: u32 = 5;
const BARE: u32 = 6;
const LINES: [u32; 3] = [OURS, THEIRS, BARE];

/// First edges of each, uncounted.
const WARM_UP: u32 = 20;

/// Between two edges: long enough that the last one is over, and random so that edges fall anywhere between two ticks.
const SHORTEST_PAUSE_US: u64 = 1_500;
const LONGEST_PAUSE_US: u64 = 3_500;

/// On average, before something is taken to be stuck.
const LONGEST_EDGE: Duration = Duration::from_millis(50);

/// What was to be reached: so many times gpiomon's time, at p50.
const TARGET: f64 = 2.0;

const CONFIG: &str = "edge_events = 0\n[gpio.pins.bench]\npin = 4\nmode = \"input\"\n";

#[derive(Clone, Copy)]
enum Dialect {
    PiController,
    Endrpi,
}

/// From the change and from the kernel's stamp.
#[derive(Default)]
struct Times {
    whole: Vec<Duration>,
    rest: Vec<Duration>,
}

pub fn measure(options: &Options) -> Result<Table> {
    let mut table = Table::new(&[
        "edge to",
        "from the change, p50 / p99 µs",
        "gpiomon",
        "ratio at p50, p99",
        "from the kernel's stamp, p50 / p99 µs",
        "gpiomon",
        "ratio at p50, p99",
        "target",
        "bare reader",
        "ratio to that at p50",
    ]);
    for &backend in &options.backend {
        for (dialect, name) in [(Dialect::PiController, "/ws"), (Dialect::Endrpi, "Endrpi's SUBSCRIBE")] {
            let name = format!("{name}, {}", backend.name());
            let [ours, theirs, bare] = rounds(options, backend, dialect).map_err(|error| format!("{name}: {error}"))?;
            let [whole, rest] = [(&ours.whole, &theirs.whole), (&ours.rest, &theirs.rest)].map(|(ours, theirs)| {
                let ours = (!ours.is_empty()).then(|| Spread::of(ours.iter().copied()));
                (ours, Spread::of(theirs.iter().copied()))
            });
            // Where the kernel gives no stamp, the whole is all there is.
            let judged = if rest.0.is_some() { rest } else { whole };
            let ratio = judged.0.map_or(f64::INFINITY, |ours| ours.p50 / judged.1.p50);
            let met = if ratio <= TARGET { "met" } else { "MISSED" };
            println!("{name}: {ratio:.2} times gpiomon's time at p50");
            let [a, b, c] = cells(whole);
            let [d, e, f] = cells(rest);
            let bare = Spread::of(bare.rest);
            let to_bare = rest.0.map(|ours| format!("{:.2}", ours.p50 / bare.p50)).unwrap_or_default();
            let bare = format!("{:.0} / {:.0}", bare.p50, bare.p99);
            table.row([name, a, b, c, d, e, f, format!("≤ {TARGET} {met}"), bare, to_bare]);
        }
    }
    Ok(table.below(format!("{} edges of each, in turn, on lines of one simulated chip", options.edges)))
}

fn cells((ours, theirs): (Option<Spread>, Spread)) -> [String; 3] {
    let times = |spread: Spread| format!("{:.0} / {:.0}", spread.p50, spread.p99);
    let none = || "no stamp".to_owned();
    let ratio = ours.map(|ours| format!("{:.2}, {:.2}", ours.p50 / theirs.p50, ours.p99 / theirs.p99));
    [ours.map_or_else(none, times), times(theirs), ratio.unwrap_or_default()]
}

/// Edges in turn; who comes after whom changes, too.
fn rounds(options: &Options, backend: Backend, dialect: Dialect) -> Result<[Times; 3]> {
    let sim = device::chip();
    let daemon = device::daemon(options, Some(backend), "error", CONFIG);
    let mut ws = match dialect {
        Dialect::PiController => daemon.ws("/ws?types=gpio.**"),
        Dialect::Endrpi => daemon.ws("/"),
    };
    match dialect {
        Dialect::PiController => ws.sync(),
        Dialect::Endrpi => drop(ask(&mut ws, "SUBSCRIBE", json!({"topics": ["gpio.**"]}))?),
    }
    let mut gpiomon = Gpiomon::start(&sim, LIMIT + LONGEST_EDGE * options.edges)?;
    let mut bare = Bare::start(&sim, BARE)?;
    let mut pulls = Vec::new();
    for line in LINES {
        pulls.push(Pull::open(&sim, line)?);
    }
    let (mut times, mut pauses) = (<[Times; 3]>::default(), Pauses(1));
    for number in 0..WARM_UP + options.edges {
        for turn in if number % 2 == 0 { [0, 1, 2] } else { [2, 1, 0] } {
            pauses.pause();
            let (begun, up) = pulls[turn].flip()?;
            let (stamp, end) = match LINES[turn] {
                OURS => event(&mut ws, dialect, up),
                THEIRS => gpiomon.edge(up)?,
                _ => bare_edge(&mut bare)?,
            };
            if number >= WARM_UP {
                times[turn].whole.push(end.saturating_sub(begun));
                // What the sysfs backend says is when it woke up.
                if LINES[turn] != OURS || backend == Backend::Cdev {
                    times[turn].rest.push(end.saturating_sub(stamp));
                }
            }
        }
    }
    Ok(times)
}

fn bare_edge(bare: &mut Bare) -> Result<(Duration, Duration)> {
    let mut event = [0; EVENT_BYTES];
    bare.stream.read_exact(&mut event)?;
    let end = monotonic();
    Ok((Duration::from_nanos(u64::from_le_bytes(std::array::from_fn(|at| event[at]))), end))
}

/// Waits for the event of our line's change to this level; its stamp, and when it was there.
fn event(ws: &mut Ws, dialect: Dialect, up: bool) -> (Duration, Duration) {
    loop {
        let text = ws.text();
        let end = monotonic();
        let event: Value = serde_json::from_str(&text).unwrap_or_default();
        let data = match dialect {
            Dialect::PiController => &event["data"],
            Dialect::Endrpi => &event["data"]["data"],
        };
        if data["state"] == if up { "high" } else { "low" } && data["pin"] == OURS {
            return (Duration::from_nanos(data["monotonic_ns"].as_u64().unwrap_or(0)), end);
        }
    }
}

/// A line's level, from outside.
struct Pull {
    file: File,
    up: bool,
}

impl Pull {
    fn open(sim: &Sim, line: u32) -> Result<Pull> {
        Ok(Pull { file: OpenOptions::new().write(true).open(sim.control(line, "pull"))?, up: false })
    }

    /// Changes it; says when that began, and whether it is up now.
    fn flip(&mut self) -> Result<(Duration, bool)> {
        self.up = !self.up;
        let begun = monotonic();
        self.file.write_all_at(if self.up { b"pull-up" } else { b"pull-down" }, 0)?;
        Ok((begun, self.up))
    }
}

/// The other one that waits for edges.
struct Gpiomon {
    child: Child,
    lines: BufReader<ChildStdout>,
    text: String,
    /// Dropped, it ends the guard.
    alive: Option<Sender<()>>,
    guard: Option<JoinHandle<()>>,
}

impl Gpiomon {
    /// Starts it; it is killed after `limit`. A pipe's reader has no limit of its own, and to ask each time whether
    /// there is something would cost time.
    fn start(sim: &Sim, limit: Duration) -> Result<Gpiomon> {
        let mut command = Command::new("gpiomon");
        command.args(["--line-buffered", "--format=%e %s %n"]).arg(&sim.chip_name).arg(THEIRS.to_string());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let (alive, ended) = channel::<()>();
        let pid = child.id();
        let guard = std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                kill(pid, "KILL");
            }
        });
        let gpiomon = Gpiomon { child, lines, text: String::new(), alive: Some(alive), guard: Some(guard) };
        wait_until("gpiomon holds its line", || sim.consumer(THEIRS).as_deref() == Some("gpiomon"));
        Ok(gpiomon)
    }

    /// Waits for the edge to this level; its stamp, and when it was there.
    fn edge(&mut self, up: bool) -> Result<(Duration, Duration)> {
        self.text.clear();
        self.lines.read_line(&mut self.text)?;
        let end = monotonic();
        let words: Vec<u64> = self.text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match words[..] {
            [kind, seconds, nanos] if kind == u64::from(up) => {
                Ok((Duration::from_secs(seconds) + Duration::from_nanos(nanos), end))
            }
            _ => Err(format!("gpiomon said {:?}", self.text).into()),
        }
    }
}

impl Drop for Gpiomon {
    fn drop(&mut self) {
        // The guard first: it must not kill whoever gets the same number next.
        self.alive = None;
        if let Some(guard) = self.guard.take() {
            let _ = guard.join();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pauses of varying length.
struct Pauses(u64);

impl Pauses {
    fn pause(&mut self) {
        // Knuth's MMIX generator; any will do.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let time = SHORTEST_PAUSE_US + (self.0 >> 33) % (LONGEST_PAUSE_US - SHORTEST_PAUSE_US);
        let (_never, pace) = channel::<()>();
        let _ = pace.recv_timeout(Duration::from_micros(time));
    }
}
