//! Outputs go to their safe states when the daemon is told to end, when one of its threads crashes and when the
//! client that answers for them vanishes: within 100 ms and without any level in between, as the kernel traced it.

mod common;
mod rig;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use common::{Daemon, Ws};
use rig::bench::{Bench, Hammers, again_as, ask, done, drive, drive_params, on_both, pass, refused, say};
use rig::outside::{self, Monitor};
use rig::trace::{Trace, Wire, now};
use serde_json::{Value, json};

/// From the cause to the safe level.
const LIMIT: Duration = Duration::from_millis(100);

/// A line for each safe state, on both sides of it, and one for `active_low`.
const CONFIG: &str = r#"
[gpio.pins]
low = { pin = 17, mode = "output", initial = "high", safe = "low" }
high = { pin = 27, mode = "output", initial = "low", safe = "high" }
input = { pin = 22, mode = "output", initial = "high", safe = "input" }
hold = { pin = 23, mode = "output", initial = "high", safe = "hold" }
inverted = { pin = 24, mode = "output", active_low = true, initial = "high", safe = "low" }
button = { pin = 26, mode = "input" }
"#;

/// Its lines and what becomes of them, and last a line that only a client knows of.
const EXPECTED: [(u32, &[Wire]); 6] = [
    (17, &[Wire::High, Wire::Low]),
    (27, &[Wire::Low, Wire::High]),
    (22, &[Wire::High, Wire::Input]),
    (23, &[Wire::High]),
    (24, &[Wire::Low, Wire::High]),
    (5, &[Wire::High, Wire::Low]),
];

const NAMES: [&str; 6] = ["low", "high", "input", "hold", "inverted", "GPIO5"];

/// Other clients' lines.
const BUSY: [u32; 4] = [6, 12, 13, 16];

fn traced(bench: &Bench) -> Trace {
    Trace::start(&bench.sim, &EXPECTED.map(|line| line.0))
}

/// Everything as expected, and what followed the cause followed in time.
#[track_caller]
fn assert_safe(trace: &Trace, cause: Duration, what: &str) {
    let mut latest = Duration::ZERO;
    for (line, wires) in EXPECTED {
        let changes = trace.changes(line);
        let seen: Vec<Wire> = changes.iter().map(|change| change.wire).collect();
        assert_eq!(seen, wires, "{what}: line {line}: {changes:?}, cause at {cause:?}");
        let Some(safe) = changes.get(1) else { continue };
        assert!(safe.at >= cause, "{what}: line {line} before its cause at {cause:?}: {changes:?}");
        latest = latest.max(safe.at - cause);
    }
    say(&format!("{what}: safe after {latest:?}"));
    assert!(latest <= LIMIT, "{what}: safe after {latest:?} only");
}

#[track_caller]
fn is_safe(trace: &Trace) -> bool {
    EXPECTED.iter().all(|(line, wires)| trace.wires(*line) == *wires)
}

/// Signals at once, without the time another process takes to start.
fn signal(pid: u32, signal: rustix::process::Signal) -> Duration {
    let at = now();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("it runs");
    at
}

#[test]
fn a_signal_makes_the_outputs_safe_before_they_are_let_go() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        for clients in [0, 20] {
            let trace = traced(bench);
            let mut daemon = bench.serve(CONFIG);
            let mut ws = daemon.ws("/");
            drive(&mut ws, "GPIO5", true);
            let hammers = (clients > 0).then(|| Hammers::start(&daemon, clients, &BUSY));
            let cause = signal(daemon.pid(), rustix::process::Signal::TERM);
            assert!(daemon.wait().success());
            let work = hammers.map_or(0, Hammers::stop);
            assert_safe(&trace, cause, &format!("{}: SIGTERM with {clients} busy clients ({work})", bench.backend));
            assert!(!daemon.log().contains("could not be made safe"), "{}", daemon.log());
            // Let go of, the lines are anybody's, and nothing moves them any more.
            let lines = EXPECTED.map(|line| line.0);
            assert!(lines.iter().all(|line| bench.sim.consumer(*line).is_none()));
            let monitor = Monitor::start(&bench.sim, &lines);
            assert_eq!(monitor.within(Duration::from_millis(20)), None);
            drop(monitor);
            assert_eq!(outside::get(&bench.sim, &lines), Ok(vec![false; lines.len()]), "nothing but their pulls");
        }
    });
}

/// The thread, and whether the daemon lives on: a connection's crash ends only that.
const THREADS: [(&str, bool); 4] = [("connection", true), ("gpio-in", false), ("gpio-out", false), ("hub", false)];

fn crash(bench: &Bench, clients: usize) {
    for (thread, lives) in THREADS {
        let trace = traced(bench);
        let mut daemon = bench.serve(CONFIG);
        let mut ws = daemon.ws("/");
        drive(&mut ws, "GPIO5", true);
        let _hammers = (clients > 0).then(|| Hammers::start(&daemon, clients, &BUSY));
        let mut cause = now();
        ws.send(&json!({"action": "DEBUG_PANIC", "params": {"thread": thread}}).to_string());
        if thread == "gpio-in" {
            assert_eq!(ws.json()["success"], true, "it will crash at its next edge");
            cause = now();
            bench.sim.pull(26, true);
        }
        let what = format!("{}: crash of {thread} with {clients} busy clients", bench.backend);
        if lives {
            rig::wait_until(&what, || is_safe(&trace));
            assert_safe(&trace, cause, &what);
            drive(&mut daemon.ws("/"), "low", true);
            assert!(bench.sim.value(17), "what comes after is served again");
        } else {
            assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
            assert_safe(&trace, cause, &what);
            assert!(daemon.log().contains(&format!("thread {thread} crashed")), "{}", daemon.log());
        }
        bench.sim.pull(26, false);
        drop(daemon);
        // A process that exits unexpectedly leaves exported lines exported.
        unexport(bench);
    }
}

fn unexport(bench: &Bench) {
    for line in (0..28).filter(|line| bench.sim.sysfs_line(*line).exists()) {
        std::fs::write("/sys/class/gpio/unexport", (bench.sim.base + line).to_string()).expect("unexported");
    }
}

#[test]
fn a_crash_of_any_thread_makes_the_outputs_safe() {
    if rig::absent() {
        return;
    }
    on_both(|bench| crash(bench, 0));
}

#[test]
fn a_crash_makes_the_outputs_safe_while_others_keep_the_daemon_busy() {
    if rig::absent() {
        return;
    }
    on_both(|bench| crash(bench, 20));
}

/// Somebody who is told of leases that are over, and of nothing else.
fn listener(daemon: &Daemon) -> Ws {
    let mut events = daemon.ws("/");
    done(&mut events, "SUBSCRIBE", json!({"topics": ["gpio.lease.*"]}));
    events
}

/// The next lease that is over.
fn expired(events: &mut Ws) -> Value {
    events.json()["data"]["data"].clone()
}

/// A client that leases all lines and then waits for its end; where this process is that client, this never returns.
const CLIENT: &str = "PINWIRE_TEST_CLIENT";

#[test]
fn the_client_that_is_killed() {
    let Some(address) = std::env::var_os(CLIENT) else { return };
    let address = address.to_str().expect("text").parse().expect("an address");
    let mut ws = Ws::connect(address, "/", &[]).expect("a connection");
    let (grace, thing) = (std::env::var("PINWIRE_TEST_GRACE").expect("set"), "LEASE_PINS");
    done(&mut ws, thing, json!({"pins": NAMES, "lease": "1h", "grace": grace, "holder": "the victim"}));
    drive(&mut ws, "GPIO5", true);
    let _ = writeln!(std::io::stdout(), "leased");
    let _ = ws.0.read();
}

#[test]
fn a_lease_whose_client_is_killed_makes_its_lines_safe() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        for (grace, clients) in [(0, 0), (50, 0), (50, 20)] {
            let trace = traced(bench);
            let daemon = bench.serve(CONFIG);
            let mut events = listener(&daemon);
            let mut command = again_as("the_client_that_is_killed", CLIENT, &daemon.addr.to_string());
            command.env("PINWIRE_TEST_GRACE", format!("{grace}ms")).stdin(Stdio::null()).stdout(Stdio::piped());
            let mut client = command.spawn().expect("the client starts");
            let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines().map_while(Result::ok);
            assert!(lines.any(|line| line.ends_with("leased")), "the client has its lease");
            let mut ws = daemon.ws("/");
            let why = refused(&mut ws, "UPDATE_PIN_CONFIGURATIONS", drive_params("low", false));
            assert!(why.contains("conflict: leased by the victim for"), "{why}");
            let hammers = (clients > 0).then(|| Hammers::start(&daemon, clients, &BUSY));
            let cause = signal(client.id(), rustix::process::Signal::KILL) + Duration::from_millis(grace);
            let _ = client.wait();
            let what = format!("{}: client killed, {grace} ms grace, {clients} busy clients", bench.backend);
            rig::wait_until(&what, || is_safe(&trace));
            hammers.map(Hammers::stop);
            assert_safe(&trace, cause, &what);
            let event = expired(&mut events);
            assert_eq!((&event["holder"], &event["reason"]), (&json!("the victim"), &json!("holder gone")), "{event}");
            assert_eq!(event["resources"], json!(NAMES));
            drive(&mut ws, "low", true);
        }
    });
}

#[test]
fn a_lease_that_is_not_renewed_makes_its_lines_safe() {
    if rig::absent() {
        return;
    }
    const LEASE: Duration = Duration::from_millis(300);
    on_both(|bench| {
        let trace = traced(bench);
        let daemon = bench.serve(CONFIG);
        let (mut ws, mut events) = (daemon.ws("/"), listener(&daemon));
        drive(&mut ws, "GPIO5", true);
        let wish = json!({"pins": NAMES, "lease": LEASE.as_secs_f64(), "grace": 0, "holder": "panel"});
        let id = done(&mut ws, "LEASE_PINS", wish)["lease"].clone();
        // Renewed in time it goes on.
        for _ in 0..3 {
            pass(LEASE / 3);
            done(&mut ws, "RENEW_LEASE", json!({ "lease": id }));
        }
        let renewed = now();
        let event = expired(&mut events);
        assert_eq!((&event["lease"], &event["reason"]), (&id, &json!("not renewed")), "{event}");
        // It was renewed before the answer came back.
        assert_safe(
            &trace,
            renewed + LEASE - LIMIT / 2,
            &format!("{}: a lease that ran out (from -50 ms)", bench.backend),
        );
        let why = refused(&mut ws, "RENEW_LEASE", json!({ "lease": id }));
        assert!(why.contains("it has ended"), "{why}");
    });
}

#[test]
fn a_released_lease_leaves_its_lines_as_they_are() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = traced(bench);
        let daemon: Daemon = bench.serve(CONFIG);
        let mut ws = daemon.ws("/");
        let lease = done(&mut ws, "LEASE_PINS", json!({"pins": ["low", "high"], "lease": "1h"}));
        done(&mut ws, "RELEASE_LEASE", json!({"lease": lease["lease"]}));
        drop(ws);
        let mut ws = daemon.ws("/");
        assert_eq!(ask(&mut ws, "READ_LINES", &json!({"pins": ["low"]}))["data"]["low"]["leasedBy"], Value::Null);
        assert_eq!((trace.wires(17), trace.wires(27)), (vec![Wire::High], vec![Wire::Low]));
    });
}
