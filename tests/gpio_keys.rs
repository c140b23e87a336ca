//! Every key of an output's configuration on real lines: what it does to the wire.

mod common;
mod rig;

use std::time::Duration;

use common::TempDir;
use rig::bench::{ask, done, drive, drive_params, on_both, pass, refused, say};
use rig::trace::{Trace, Wire, now};
use serde_json::json;

use Wire::{High, Low};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn on_disconnect_the_line_goes_to_its_safe_state_after_its_time() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17, 27]);
        let daemon = bench.serve(
            "[gpio.pins]\nlamp = { pin = 17, on_disconnect = \"safe after 100ms\" }\nfan = { pin = 27, on_disconnect = \"hold\" }\n",
        );
        let mut ws = daemon.ws("/");
        drive(&mut ws, "lamp", true);
        drive(&mut ws, "fan", true);
        let gone = now();
        drop(ws);
        rig::wait_until("the lamp is off", || trace.wires(17) == [High, Low]);
        let after = trace.changes(17)[1].at - gone;
        say(&format!("{}: on_disconnect after 100 ms: {after:?}", bench.backend));
        assert!((ms(100)..=ms(200)).contains(&after), "{after:?}");
        assert_eq!(trace.wires(27), [High]);
        // A client that comes back in time and writes again answers for it from then on.
        let mut first = daemon.ws("/");
        drive(&mut first, "lamp", true);
        let mut second = daemon.ws("/");
        drop(first);
        drive(&mut second, "lamp", true);
        pass(ms(200));
        assert_eq!(trace.wires(17), [High, Low, High]);
    });
}

#[test]
fn max_on_and_min_off_hold_for_every_write() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17]);
        let daemon = bench.serve("[gpio.pins]\nvalve = { pin = 17, max_on = \"150ms\", min_off = \"400ms\" }\n");
        let mut ws = daemon.ws("/");
        drive(&mut ws, "valve", true);
        // Being told again does not start its time again.
        pass(ms(50));
        drive(&mut ws, "valve", true);
        rig::wait_until("it is off", || trace.wires(17) == [High, Low]);
        let changes = trace.changes(17);
        let on = changes[1].at - changes[0].at;
        say(&format!("{}: max_on 150 ms: on for {on:?}", bench.backend));
        assert!((ms(149)..=ms(250)).contains(&on), "{on:?}");
        for (action, params) in [
            ("UPDATE_PIN_CONFIGURATIONS", drive_params("valve", true)),
            ("PULSE_PIN", json!({"pin": "valve", "duration": "1ms"})),
        ] {
            let why = refused(&mut ws, action, params);
            assert!(why.contains("min_off: it has to stay off for "), "{why}");
        }
        rig::wait_until("it may be on again", || {
            ask(&mut ws, "UPDATE_PIN_CONFIGURATIONS", &drive_params("valve", true))["success"] == true
        });
        let off = trace.changes(17)[2].at - changes[1].at;
        // How soon it is on again is up to the asking.
        assert!((ms(400)..=ms(2000)).contains(&off), "{off:?}");
    });
}

#[test]
fn interlocked_lines_are_never_on_together() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[17, 27]);
        let daemon = bench.serve("[gpio.pins]\nup = { pin = 17, interlock = [\"down\"] }\ndown = { pin = 27 }\n");
        let mut ws = daemon.ws("/");
        drive(&mut ws, "up", true);
        let both = json!({"pins": {"up": {"io": "OUTPUT", "state": 1}, "down": {"io": "OUTPUT", "state": 1}}});
        for params in [drive_params("down", true), both] {
            let why = refused(&mut ws, "UPDATE_PIN_CONFIGURATIONS", params);
            assert!(why.contains("interlock: "), "{why}");
        }
        let why = refused(&mut ws, "BLINK_PIN", json!({"pin": "down", "on": "5ms", "off": "5ms"}));
        assert!(why.contains("interlock: "), "{why}");
        assert!(!bench.sim.value(27));
        // One off and the other on in one update is allowed; on the wire they are not on together either.
        let swap = json!({"pins": {"down": {"io": "OUTPUT", "state": 1}, "up": {"io": "OUTPUT", "state": 0}}});
        done(&mut ws, "UPDATE_PIN_CONFIGURATIONS", swap);
        assert_eq!((bench.sim.value(17), bench.sim.value(27)), (false, true));
        let (up, down) = (trace.changes(17), trace.changes(27));
        let (off, on) = (up.last().expect("off"), down.last().expect("on"));
        assert_eq!((off.wire, on.wire), (Low, High));
        assert!(off.at <= on.at, "{}: together for {:?}", bench.backend, off.at - on.at);
    });
}

#[test]
fn a_persistent_level_is_the_first_one_after_a_restart() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let kept = TempDir::new();
        let config = format!(
            "state_dir = \"{}\"\n[gpio.pins]\nlamp = {{ pin = 17, mode = \"output\", initial = \"low\", persist = true }}\n\
             fan = {{ pin = 27, mode = \"output\", initial = \"low\" }}\n",
            kept.path().join("state").display()
        );
        for (expected, next) in [(Low, true), (High, true), (High, false), (Low, true)] {
            let trace = Trace::start(&bench.sim, &[17, 27]);
            let mut daemon = bench.serve(&config);
            assert_eq!((trace.wires(17), trace.wires(27)), (vec![expected], vec![Low]), "{}", bench.backend);
            let mut ws = daemon.ws("/");
            drive(&mut ws, "lamp", next);
            drive(&mut ws, "fan", true);
            assert!(daemon.stop().success());
            assert_eq!((bench.sim.value(17), bench.sim.value(27)), (false, false), "safe in between");
        }
    });
}

#[test]
fn lines_that_clients_may_not_touch_stay_as_they_are() {
    if rig::absent() {
        return;
    }
    on_both(|bench| {
        let trace = Trace::start(&bench.sim, &[0, 4, 17, 22]);
        let daemon = bench.serve(
            "[gpio]\nallow = [\"lamp\", 4]\ndeny = [4]\n[gpio.pins]\nlamp = { pin = 17 }\n\
             relay = { pin = 22, mode = \"output\", initial = \"high\" }\n",
        );
        let mut ws = daemon.ws("/");
        for name in ["GPIO4", "relay", "GPIO0"] {
            for (action, params) in [
                ("UPDATE_PIN_CONFIGURATIONS", drive_params(name, false)),
                ("LEASE_PINS", json!({"pins": [name], "lease": "5s"})),
                ("PULSE_PIN", json!({"pin": name, "duration": "1ms"})),
            ] {
                let why = refused(&mut ws, action, params);
                assert!(why.contains("clients may not touch it; gpio.allow and gpio.deny decide that"), "{why}");
            }
        }
        drive(&mut ws, "lamp", true);
        assert_eq!([0, 4, 17, 22].map(|line| trace.wires(line)), [vec![], vec![], vec![High], vec![High]]);
    });
}
