//! Sequences that play on the device: each level at its time, as the kernel traced it. How punctual they are on a Pi
//! is another question; here a tick is a millisecond and the machine is a guest.

mod common;
mod rig;

use std::time::Duration;

use rig::bench::{done, drive, drive_params, line, on_both, pass, refused, say};
use rig::trace::{Change, Trace, Wire};
use serde_json::{Value, json};

use Wire::{High, Low};

/// How late a step may be before it is a bug and not this machine.
const LATE: Duration = Duration::from_millis(80);

/// The levels in order, each at its time after the first, in milliseconds; says by how much they were off.
#[track_caller]
fn assert_played(what: &str, changes: &[Change], expected: &[(Wire, f64)]) {
    let wires: Vec<Wire> = changes.iter().map(|change| change.wire).collect();
    assert_eq!(wires, expected.iter().map(|step| step.0).collect::<Vec<_>>(), "{what}: {changes:?}");
    let mut worst = 0.0_f64;
    for (change, (_, after)) in changes.iter().zip(expected) {
        let off = (change.at - changes[0].at).as_secs_f64() * 1_000.0 - after;
        if off.abs() > worst.abs() {
            worst = off;
        }
    }
    say(&format!("{what}: off by {worst:.3} ms at most"));
    assert!(worst.abs() <= LATE.as_secs_f64() * 1_000.0, "{what}: off by {worst} ms: {changes:?}");
}

fn wait_for(trace: &Trace, line: u32, count: usize) -> Vec<Change> {
    rig::wait_until(&format!("{count} changes of line {line}"), || trace.changes(line).len() >= count);
    trace.changes(line)
}

#[test]
fn a_pulse_is_as_long_as_it_was_said() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let daemon = bench.serve("");
        let mut ws = daemon.ws("/");
        for (pin, level, wires) in [(17, "high", [High, Low]), (18, "low", [Low, High])] {
            let trace = Trace::start(&bench.sim, &[pin]);
            let wish = json!({"pin": pin, "duration": "30ms", "level": level});
            assert_eq!(done(&mut ws, "PULSE_PIN", wish)["durationSeconds"], 0.03);
            let changes = wait_for(&trace, pin, 2);
            assert_played(
                &format!("{}: a {level} pulse", bench.backend),
                &changes,
                &[(wires[0], 0.0), (wires[1], 30.0)],
            );
        }
    });
}

#[test]
fn blinking_does_not_drift() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17]);
        let daemon = bench.serve("[gpio.pins.lamp]\npin = 17\nactive_low = true\n");
        let mut ws = daemon.ws("/");
        done(&mut ws, "BLINK_PIN", json!({"pin": "lamp", "on": "10ms", "off": "15ms", "count": 20}));
        let changes = wait_for(&trace, 17, 40);
        let round = |n: u32| [(Low, f64::from(n) * 25.0), (High, f64::from(n) * 25.0 + 10.0)];
        assert_played(&format!("{}: 20 rounds", bench.backend), &changes, &(0..20).flat_map(round).collect::<Vec<_>>());
        pass(Duration::from_millis(40));
        assert_eq!(trace.changes(17).len(), 40, "and no more");
        assert_eq!(line(&mut ws, "lamp")["sequence"], Value::Null);
    });
}

#[test]
fn steps_of_several_lines_keep_their_offsets() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[5, 6]);
        let daemon = bench.serve("");
        let steps = json!([
            {"at": 0, "pins": {"GPIO5": 1, "GPIO6": 0}},
            {"at": 2500, "pins": {"GPIO6": 1}},
            {"at": 7250, "pins": {"GPIO5": 0}},
            {"at": "12ms", "pins": {"GPIO5": 1, "GPIO6": 0}},
            {"at": 12300, "pins": {"GPIO5": 0}},
        ]);
        done(&mut daemon.ws("/"), "PLAY_PINS", json!({"steps": steps, "period": 20000, "count": 2}));
        let (first, second) = (wait_for(&trace, 5, 8), wait_for(&trace, 6, 5));
        let round = |from: f64| [(High, from), (Low, from + 7.25), (High, from + 12.0), (Low, from + 12.3)];
        assert_played(&format!("{}: GPIO5", bench.backend), &first, &[round(0.0), round(20.0)].concat());
        let expected = [(Low, 0.0), (High, 2.5), (Low, 12.0), (High, 22.5), (Low, 32.0)];
        assert_played(&format!("{}: GPIO6", bench.backend), &second, &expected);
    });
}

#[test]
fn a_sequence_ends_when_it_is_cancelled_and_when_its_line_is_written() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17]);
        let daemon = bench.serve("");
        let mut ws = daemon.ws("/");
        let mut seen = 0;
        for cancel in [true, false] {
            let started = done(&mut ws, "BLINK_PIN", json!({"pin": 17, "on": "5ms", "off": "5ms"}));
            assert_eq!(started["durationSeconds"], Value::Null);
            wait_for(&trace, 17, seen + 5);
            if cancel {
                done(&mut ws, "CANCEL_SEQUENCE", json!({"sequence": started["sequence"]}));
            } else {
                drive(&mut ws, "GPIO17", true);
            }
            let changes = trace.changes(17);
            pass(Duration::from_millis(40));
            assert_eq!(trace.changes(17), changes, "it has ended");
            let why = refused(&mut ws, "CANCEL_SEQUENCE", json!({"sequence": started["sequence"]}));
            assert!(why.contains("it has ended"), "{why}");
            assert_eq!(line(&mut ws, "GPIO17")["sequence"], Value::Null);
            seen = changes.len();
        }
        assert!(bench.sim.value(17), "what was written counts");
    });
}

#[test]
fn a_lease_keeps_others_from_playing_and_from_ending_what_plays() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17]);
        let daemon = bench.serve("");
        let (mut holder, mut other) = (daemon.ws("/"), daemon.ws("/"));
        done(&mut holder, "LEASE_PINS", json!({"pins": [17], "lease": "30s", "grace": 0, "holder": "panel"}));
        let blink = json!({"pin": 17, "on": "5ms", "off": "5ms"});
        let conflict = |why: String| {
            let start = "Failed to update pin `GPIO17`: conflict: leased by panel for ";
            assert!(why.starts_with(start) && why.ends_with(" more; wait, or ask it to let go"), "{why}");
        };
        conflict(refused(&mut other, "BLINK_PIN", blink.clone()));
        assert!(trace.wires(17).is_empty());
        let id = done(&mut holder, "BLINK_PIN", blink)["sequence"].clone();
        wait_for(&trace, 17, 3);
        conflict(refused(&mut other, "CANCEL_SEQUENCE", json!({ "sequence": id })));
        conflict(refused(&mut other, "UPDATE_PIN_CONFIGURATIONS", drive_params("GPIO17", true)));
        wait_for(&trace, 17, trace.changes(17).len() + 2);
        // The holder's end is the end of what it plays.
        drop(holder);
        rig::wait_until("the lease is over", || line(&mut other, "GPIO17")["leasedBy"].is_null());
        let changes = trace.changes(17);
        assert_eq!(changes.last().map(|change| change.wire), Some(Low));
        pass(Duration::from_millis(30));
        assert_eq!(trace.changes(17), changes);
    });
}
