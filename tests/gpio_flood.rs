//! Edges as fast as the kernel takes them, with 50 subscribers of which 5 stall: what each of the others is told,
//! and told to be lost, is what was sent, edge by edge.

#[path = "rig/audience.rs"]
mod audience;
mod common;
mod rig;
mod robust;

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use audience::{Audience, Dialect};
use common::{Daemon, TempDir, pinwire};
use rig::flood::Flood;
use rig::{Sim, read, wait_until};
use robust::{small_tcp, text, upgraded};
use serde_json::json;

const LINES: [u32; 4] = [4, 5, 6, 7];

/// The last thing that happens, for everybody to see.
const MARK: u32 = 20;

const HONEST: usize = 45;
const STALLED: usize = 5;

/// Edges on each line; 100,000 in all.
const ROUNDS: u32 = 25_000;

/// While the daemon is stopped: three times as many on each line as the kernel keeps for all of them.
const UNREAD: u32 = 3 * 1024;

struct Run {
    backend: &'static str,
    /// Events of a line in 100 ms, beyond which there are summaries; 0 for none.
    edge_events: u32,
    rounds: u32,
    /// Whether the daemon is kept from reading for a while.
    stopped: bool,
}

#[test]
fn cdev_tells_every_edge() {
    flood(&Run { backend: "cdev", edge_events: 0, rounds: ROUNDS, stopped: false });
}

#[test]
fn cdev_summarises() {
    flood(&Run { backend: "cdev", edge_events: 50, rounds: 5000, stopped: false });
}

#[test]
fn cdev_tells_what_the_kernel_had_no_room_for() {
    flood(&Run { backend: "cdev", edge_events: 0, rounds: 500, stopped: true });
}

#[test]
fn sysfs_tells_every_edge() {
    flood(&Run { backend: "sysfs", edge_events: 0, rounds: ROUNDS, stopped: false });
}

#[test]
fn sysfs_summarises() {
    flood(&Run { backend: "sysfs", edge_events: 50, rounds: 5000, stopped: false });
}

#[test]
fn sysfs_tells_what_nobody_looked_at() {
    flood(&Run { backend: "sysfs", edge_events: 0, rounds: 500, stopped: true });
}

fn flood(run: &Run) {
    // One chip at a time: the kernel's count does not say whose lines it counts, and speed is shared.
    static ALONE: Mutex<()> = Mutex::new(());
    if rig::absent() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sim = Sim::with("flood", 28).live();
    let daemon = daemon(run);
    // sysfs reads the count and the level one after the other, so that they fit only at the end.
    let strict = run.backend == "cdev" && run.edge_events == 0;
    let audience = Audience::of(&daemon, HONEST, MARK, strict);
    let stalled: Vec<_> = (0..STALLED)
        .map(|n| {
            let dialect = Dialect::ALL[n % 2];
            let mut stream = upgraded(small_tcp(daemon.addr), daemon.addr, dialect.path());
            stream.write_all(&text(dialect.ask())).expect("sent");
            stream
        })
        .collect();

    let mut flood = Flood::on(&sim, &LINES);
    let before = flood.taken();
    let began = Instant::now();
    pour(&mut flood, run.rounds, &audience);
    if run.stopped {
        daemon.signal("STOP");
        let stat = format!("/proc/{}/stat", daemon.pid());
        wait_until("it is stopped", || read(stat.as_ref()).contains(") T "));
        flood.pour(UNREAD);
        daemon.signal("CONT");
        pour(&mut flood, run.rounds, &audience);
    }
    let pouring = began.elapsed();
    let sent = u64::from(flood.rounds);
    let taken: Vec<u64> = flood.taken().iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(taken, [sent; 4], "the kernel has taken every edge");
    let all = sent * LINES.len() as u64;
    wait_until("every edge is told or told to be lost", || {
        audience.is_over() || audience.totals().iter().all(|total| *total >= all)
    });
    let told_all = began.elapsed();

    let mut ws = daemon.ws("/");
    let lines = ws.ask(&json!({"action": "READ_LINES", "params": {"pins": LINES.map(name)}}).to_string());
    let mark = json!({"pins": {format!("GPIO{MARK}"): {"io": "OUTPUT", "state": 1}}});
    let answer = ws.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": mark}).to_string());
    assert_eq!(answer["success"], true, "{answer}");
    let heard = audience.heard();

    let lost: u64 = heard.told.values().map(|told| told.lost).sum();
    let events: u64 = heard.told.values().map(|told| told.events).sum();
    let summaries: u64 = heard.told.values().map(|told| told.summaries).sum();
    let _ = writeln!(
        std::io::stdout(),
        "{}, edge_events = {}{}: {all} edges, {:.0}/s; told within {:.1} s: {events} events, {summaries} of them \
         summaries, {lost} lost; {} deliveries, {:.0}/s",
        run.backend,
        run.edge_events,
        if run.stopped { ", stopped meanwhile" } else { "" },
        all as f64 / pouring.as_secs_f64(),
        told_all.as_secs_f64(),
        heard.deliveries,
        heard.deliveries as f64 / told_all.as_secs_f64(),
    );

    assert_eq!(heard.told.keys().copied().collect::<Vec<_>>(), LINES);
    for (line, told) in &heard.told {
        assert_eq!(told.edges + told.lost, sent, "line {line}: {told:?}");
        assert_eq!(told.high, sim.value(*line), "line {line}: {told:?}");
        let counters = &lines["data"][name(*line)]["edges"];
        let counted =
            ["rising", "falling", "lost"].map(|kind| counters[kind].as_u64().unwrap_or_else(|| panic!("{lines}")));
        assert_eq!(counted.iter().sum::<u64>(), sent, "line {line}: {counters}");
    }
    if run.stopped {
        let kept = if run.backend == "cdev" { 1024 * LINES.len() } else { LINES.len() };
        assert!(lost >= u64::from(UNREAD) * LINES.len() as u64 - kept as u64, "{lost} lost");
    }
    // Those that come back in time are told why; see tests/slow_subscriber.rs. What little is told of a stopped
    // daemon's edges may fit into what waits for them.
    let cut = || daemon.log().matches("reads too slowly").count();
    if !run.stopped {
        wait_until("all who stalled are cut", || cut() >= STALLED);
    }
    assert!(cut() <= STALLED, "somebody else is cut");
    drop(stalled);
}

/// Until somebody in the audience has failed, which is told later.
fn pour(flood: &mut Flood, rounds: u32, audience: &Audience) {
    let until = flood.rounds + rounds;
    while flood.rounds < until && !audience.is_over() {
        flood.pour((until - flood.rounds).min(500));
    }
}

fn name(line: u32) -> String {
    format!("line-{line}")
}

fn daemon(run: &Run) -> Daemon {
    let dir = TempDir::new();
    // Who stalls is cut, which the log counts.
    let mut config =
        format!("[session]\nslow_events = \"cut\"\n[gpio]\nchip = \"flood\"\nedge_events = {}\n", run.edge_events);
    for line in LINES {
        config += &format!("[gpio.pins.{}]\npin = {line}\nmode = \"input\"\n", name(line));
    }
    let config = dir.file("pinwire.toml", &config);
    let mut command = pinwire();
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", run.backend, "--config"]).arg(config);
    Daemon::launch(dir, command)
}
