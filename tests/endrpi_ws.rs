//! Endrpi's requests over the WebSocket at `/`: every action, every error text, and the order of answers.

mod common;

use common::{Daemon, LIMIT, TempDir, Ws};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Instant;
use tungstenite::Message;

/// What `vcgencmd` says on a Pi 4 with a weak supply.
const VCGENCMD: &str = r#"#!/bin/sh
case "$*" in
get_throttled) echo throttled=0x50005 ;;
"measure_clock core") echo "frequency(1)=250000496" ;;
"measure_clock arm") echo "frequency(48)=600169920" ;;
*) echo 'error=1 error_msg="Command not registered"' ;;
esac
"#;

const PLATFORM: &str = r##"{"machineType":"aarch64","networkName":"attic","operatingSystem":{"name":"Linux","release":"6.12.25+rpt-rpi-v8","version":"#1 SMP PREEMPT Debian 1:6.12.25-1+rpt1 (2025-04-30)"},"model":"Raspberry Pi 4 Model B Rev 1.4","gpio":{"backend":"sim","simulated":true,"reason":"gpio.backend is \"sim\"; pins are simulated"}}"##;
const TEMPERATURE: &str = r#"{"systemOnChip":{"quantity":48.312,"prefix":null,"unitOfMeasurement":"CELSIUS"}}"#;
const THROTTLE: &str = r#"{"throttling":true,"throttlingHasOccurred":true,"underVoltageDetected":true,"underVoltageHasOccurred":true,"armFrequencyCapped":false,"armFrequencyCappingHasOccurred":false,"softTemperatureLimitActive":false,"softTemperatureLimitHasOccurred":false}"#;
const UPTIME: &str = r#"{"seconds":93784.52,"formatted":"1 day, 2:03:05"}"#;
const FREQUENCY: &str = r#"{"arm":{"quantity":1800000000.0,"prefix":null,"unitOfMeasurement":"HERTZ"},"core":{"quantity":250000496.0,"prefix":null,"unitOfMeasurement":"HERTZ"}}"#;
const MEMORY: &str = r#"{"total":{"quantity":3884304.0,"prefix":"KILO","unitOfMeasurement":"BYTE"},"free":{"quantity":2410116.0,"prefix":"KILO","unitOfMeasurement":"BYTE"},"available":{"quantity":3377020.0,"prefix":"KILO","unitOfMeasurement":"BYTE"}}"#;

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A captured Pi 4, with a stand-in for its `vcgencmd`.
fn pi4() -> Daemon {
    let dir = TempDir::new();
    let source = dir.file("vcgencmd.sh", VCGENCMD);
    let program = dir.path().join("vcgencmd");
    // Copied by another process: a descriptor that is open for writing here could be inherited by a daemon that
    // another test is just starting, and would make the program "busy".
    let mut copy = Command::new("sh");
    copy.args(["-c", "cp \"$0\" \"$1\" && chmod 755 \"$1\""]).args([&source, &program]);
    assert!(copy.status().expect("sh runs").success());
    let text = format!("root = \"{}\"\n[telemetry]\nvcgencmd = \"{}\"\n", fixture("pi4"), program.display());
    let config = dir.file("pinwire.toml", &text);
    Daemon::start_in(dir, |command| {
        command.arg("--config").arg(config);
    })
}

/// Asks until it is a success: the first answer of a `vcgencmd` may be late on a busy machine.
fn ask_until_success(ws: &mut Ws, request: &str) -> String {
    let begun = Instant::now();
    loop {
        ws.send(request);
        let answer = ws.text();
        if answer.contains("\"success\":true") || begun.elapsed() > LIMIT {
            return answer;
        }
    }
}

#[track_caller]
fn assert_failure(answer: &Value, action: Value, error: &str, request: &str) {
    assert_eq!(answer["action"], action, "{request} → {answer}");
    assert_eq!(answer["success"], false, "{request} → {answer}");
    assert_eq!(answer["data"], Value::Null, "{request} → {answer}");
    assert_eq!(answer["error"], error, "{request} → {answer}");
}

#[test]
fn every_reading_of_a_captured_pi_is_answered_under_each_of_its_names() {
    let daemon = pi4();
    let mut ws = daemon.ws("/");
    let system = format!(
        "{{\"platform\":{PLATFORM},\"temperature\":{TEMPERATURE},\"throttle\":{THROTTLE},\"uptime\":{UPTIME},\
         \"frequency\":{FREQUENCY},\"memory\":{MEMORY}}}"
    );
    let readings = [
        ("TEMPERATURE", TEMPERATURE),
        ("THROTTLE", THROTTLE),
        ("UPTIME", UPTIME),
        ("FREQUENCY", FREQUENCY),
        ("MEMORY", MEMORY),
        ("PLATFORM", PLATFORM),
        ("SYSTEM", &system),
    ];
    for (what, data) in readings {
        for verb in ["READ", "GET"] {
            let action = format!("{verb}_{what}");
            let answer = ask_until_success(&mut ws, &format!("{{\"action\":\"{action}\"}}"));
            let expected = format!("{{\"action\":\"{action}\",\"success\":true,\"data\":{data},\"error\":null}}");
            assert_eq!(answer, expected);
        }
    }
}

#[test]
fn what_a_board_cannot_tell_is_a_failure_with_endrpi_s_text() {
    let empty = TempDir::new();
    let daemon = Daemon::start(&["--root", &empty.path().display().to_string()]);
    let mut ws = daemon.ws("/");
    let texts = [
        ("TEMPERATURE", "Failed to query system on chip temperature"),
        ("THROTTLE", "Failed to query system throttle status"),
        ("UPTIME", "Failed to query system uptime"),
        ("FREQUENCY", "Failed to query system ARM frequency"),
        ("MEMORY", "Failed to query system memory"),
        ("PLATFORM", "Failed to query system platform"),
        ("SYSTEM", "Failed to query system platform"),
    ];
    for (what, error) in texts {
        let action = format!("READ_{what}");
        let request = json!({ "action": action }).to_string();
        assert_failure(&ws.ask(&request), action.into(), error, &request);
    }
    empty.file("proc/uptime", "soon\n");
    empty.file("proc/meminfo", "MemTotal: much\n");
    empty.file("sys/class/thermal/thermal_zone0/temp", "hot\n");
    empty.file("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "fast\n");
    let texts = [
        ("TEMPERATURE", "Failed to parse system on chip temperature query"),
        ("UPTIME", "Failed to parse system uptime query"),
        ("FREQUENCY", "Failed to parse system frequency query"),
        ("MEMORY", "Failed to parse system memory query"),
    ];
    for (what, error) in texts {
        let action = format!("READ_{what}");
        let begun = Instant::now();
        // A reading is shared for `telemetry.max_age`; after that the new text must show.
        let fresh = |answer: &Value| answer["error"] == error || begun.elapsed() > LIMIT;
        let mut answer = Value::Null;
        while !fresh(&answer) {
            answer = ws.ask(&json!({ "action": action }).to_string());
        }
        assert_failure(&answer, action.clone().into(), error, &action);
    }
}

#[test]
fn a_laptop_lacks_only_what_a_laptop_has_not() {
    let daemon = Daemon::start(&["--root", &fixture("laptop")]);
    let mut ws = daemon.ws("/");
    let answer = ws.ask(r#"{"action":"READ_UPTIME"}"#);
    assert_eq!(answer["data"], json!({"seconds": 37211.4, "formatted": "10:20:11"}));
    let answer = ws.ask(r#"{"action":"READ_MEMORY"}"#);
    assert_eq!(answer["data"]["total"], json!({"quantity": 16135484.0, "prefix": "KILO", "unitOfMeasurement": "BYTE"}));
    let answer = ws.ask(r#"{"action":"READ_PLATFORM"}"#);
    assert_eq!(answer["data"]["model"], Value::Null);
    for (action, error) in [
        ("READ_THROTTLE", "Failed to query system throttle status"),
        ("READ_FREQUENCY", "Failed to query system core frequency"),
        ("READ_SYSTEM", "Failed to query system throttle status"),
    ] {
        assert_failure(&ws.ask(&json!({ "action": action }).to_string()), action.into(), error, action);
    }
}

#[test]
fn this_machine_tells_its_memory_uptime_and_platform() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let data = ws.ask(r#"{"action":"READ_MEMORY"}"#)["data"].take();
    let kib = |what: &str| data[what]["quantity"].as_f64().unwrap_or_else(|| panic!("{data}"));
    let meminfo = std::fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).expect("MemTotal");
    assert_eq!(kib("total"), total.trim().trim_end_matches(" kB").parse::<f64>().expect("a number"));
    assert!(kib("free") <= kib("total") && kib("available") <= kib("total"), "{data}");

    let uptime = || {
        let text = std::fs::read_to_string("/proc/uptime").expect("/proc/uptime");
        text.split(' ').next().and_then(|first| first.parse::<f64>().ok()).expect("seconds")
    };
    let before = uptime();
    let data = ws.ask(r#"{"action":"READ_UPTIME"}"#)["data"].take();
    let seconds = data["seconds"].as_f64().expect("a number");
    // A shared reading may be `telemetry.max_age` old.
    assert!(seconds >= before - 1.0 && seconds <= uptime(), "{data}");
    assert!(data["formatted"].as_str().is_some_and(|text| text.contains(':')), "{data}");

    let data = ws.ask(r#"{"action":"READ_PLATFORM"}"#)["data"].take();
    let uname = rustix::system::uname();
    assert_eq!(data["machineType"], &*uname.machine().to_string_lossy());
    assert_eq!(data["networkName"], &*uname.nodename().to_string_lossy());
    assert_eq!(data["operatingSystem"]["release"], &*uname.release().to_string_lossy());
    assert_eq!(data["gpio"]["backend"], "sim");
    assert_eq!(data["gpio"]["simulated"], true);
}

#[test]
fn every_row_of_the_error_table_has_its_text_and_its_place_in_the_order() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    const READ: &str = "READ_PIN_CONFIGURATIONS";
    const UPDATE: &str = "UPDATE_PIN_CONFIGURATIONS";
    let null = || Value::Null;
    let invalid = "Received invalid message";
    let no_action = "Received message with missing 'action' field";
    let bad_action = "Received message with invalid 'action' field";
    let no_params = "Received message with missing 'params' field";
    let bad_params = "Received message with invalid 'params' field";
    let mut table: Vec<(String, Value, &str)> = Vec::new();
    for text in ["", " ", "{", "hello", "\u{feff}{\"action\":\"READ_MEMORY\"}", "\0", "{'action':1}", "[1,]", "{} x"] {
        table.push((text.into(), null(), invalid));
    }
    for text in ["[]", "null", "1", "\"READ_MEMORY\"", "{}", "{\"Action\":\"READ_MEMORY\"}"] {
        table.push((text.into(), null(), no_action));
    }
    for action in ["null", "1", "true", "[]", "{}", "\"\""] {
        // A bad action comes before bad parameters.
        table.push((format!("{{\"action\":{action},\"params\":5}}"), null(), no_action));
    }
    for action in ["NO_SUCH", "read_memory", "READ_MEMORY ", "GET_PIN_CONFIGURATIONS", "READ_MEMORY\\u0000"] {
        table.push((format!("{{\"action\":\"{action}\",\"params\":5}}"), null(), bad_action));
    }
    for action in [READ, UPDATE] {
        table.push((format!("{{\"action\":\"{action}\"}}"), action.into(), no_params));
        for params in ["null", "{}", "[]", "{ }", "\"\"", "0", "false"] {
            table.push((format!("{{\"action\":\"{action}\",\"params\":{params}}}"), action.into(), no_params));
        }
        for params in ["1", "\"x\"", "[1]", "true", "{\"pin\":1}", "{\"pins\":null}", "{\"pins\":\"GPIO4\"}"] {
            table.push((format!("{{\"action\":\"{action}\",\"params\":{params}}}"), action.into(), bad_params));
        }
    }
    for pins in ["[\"GPIO28\"]", "[\"gpio4\"]", "[\"GPIO4\",\"GPIO04\"]", "[null]", "{\"GPIO4\":{}}", "[[\"GPIO4\"]]"] {
        table.push((format!("{{\"action\":\"{READ}\",\"params\":{{\"pins\":{pins}}}}}"), READ.into(), bad_params));
    }
    let update = |pins: &str, error| (json_update(pins), Value::from(UPDATE), error);
    table.extend([
        update("[]", bad_params),
        update(r#"{"GPIO28":{"io":"INPUT","pull":"UP"}}"#, bad_params),
        update(r#"{"GPIO4":null}"#, bad_params),
        update(r#"{"GPIO4":{}}"#, bad_params),
        update(r#"{"GPIO4":{"io":"input","pull":"UP"}}"#, bad_params),
        update(r#"{"GPIO4":{"io":"ALT0"}}"#, bad_params),
        update(r#"{"GPIO4":{"io":"INPUT","pull":"SIDEWAYS"}}"#, bad_params),
        update(r#"{"GPIO4":{"io":"OUTPUT","state":1.01}}"#, bad_params),
        update(r#"{"GPIO4":{"io":"OUTPUT","state":-0.01}}"#, bad_params),
        update(r#"{"GPIO4":{"io":"OUTPUT","state":NaN}}"#, bad_params),
        update(r#"{"GPIO4":{"io":"OUTPUT","state":"high"}}"#, bad_params),
        update("{}", "At least one pin id and pin configuration must be supplied"),
        update(r#"{"GPIO4":{"io":"INPUT"}}"#, "No pull specified for input pin configuration"),
        update(r#"{"GPIO4":{"io":"INPUT","pull":null,"state":1}}"#, "No pull specified for input pin configuration"),
        update(r#"{"GPIO4":{"io":"OUTPUT"}}"#, "No state specified for output pin configuration"),
        update(
            r#"{"GPIO4":{"io":"OUTPUT","state":null,"pull":"UP"}}"#,
            "No state specified for output pin configuration",
        ),
        // What is invalid anywhere comes before what is missing anywhere, and of the missing the first counts.
        update(r#"{"GPIO4":{"io":"INPUT"},"GPIO28":{"io":"INPUT","pull":"UP"}}"#, bad_params),
        update(r#"{"GPIO4":{"io":"INPUT"},"GPIO5":{"io":"OUTPUT"}}"#, "No pull specified for input pin configuration"),
        update(
            r#"{"GPIO5":{"io":"OUTPUT"},"GPIO4":{"io":"INPUT"}}"#,
            "No state specified for output pin configuration",
        ),
    ]);
    for (request, action, error) in table {
        assert_failure(&ws.ask(&request), action, error, &request);
    }
    ws.send(&json_update("{}"));
    assert_eq!(
        ws.text(),
        r#"{"action":"UPDATE_PIN_CONFIGURATIONS","success":false,"data":null,"error":"At least one pin id and pin configuration must be supplied"}"#
    );
}

fn json_update(pins: &str) -> String {
    format!("{{\"action\":\"UPDATE_PIN_CONFIGURATIONS\",\"params\":{{\"pins\":{pins}}}}}")
}

#[test]
fn errors_are_objects_for_those_who_configure_it() {
    let daemon = Daemon::with_config("[endrpi]\nerror_style = \"object\"\n", &[]);
    let mut ws = daemon.ws("/");
    ws.send("{");
    assert_eq!(
        ws.text(),
        r#"{"action":null,"success":false,"data":null,"error":{"message":"Received invalid message"}}"#
    );
    assert_eq!(ws.ask(r#"{"action":"READ_MEMORY"}"#)["error"], Value::Null);
}

#[test]
fn a_binary_frame_is_treated_as_text_and_extra_members_are_ignored() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let request = r#"{"x":[{}],"params":"ignored","action":"NO","action":"GET_MEMORY"}"#;
    ws.0.send(Message::binary(request.as_bytes())).expect("sent");
    let Message::Text(text) = ws.0.read().expect("an answer") else { panic!("not a text frame") };
    assert!(text.starts_with(r#"{"action":"GET_MEMORY","success":true,"#), "{text}");
    ws.0.send(Message::binary(&b"\xff\xfe"[..])).expect("sent");
    assert_eq!(ws.json()["error"], "Received invalid message");
}

#[test]
fn an_id_comes_back_as_it_was_sent_with_every_kind_of_answer() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    for id in ["1", "\"r-1\"", "null", "{\"a\": [1,2.50]}", "\"\\u00e4\"", "1e400"] {
        for request in ["\"action\":\"READ_MEMORY\"", "\"action\":\"NO\"", "\"action\":null"] {
            ws.send(&format!("{{\"id\":{id},{request}}}"));
            let answer = ws.text();
            assert!(answer.ends_with(&format!(",\"id\":{id}}}")), "{answer}");
        }
    }
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    for id in 0..1000 {
        let action = ["READ_MEMORY", "NO_SUCH", "READ_UPTIME", "GET_PLATFORM"][id % 4];
        let text = json!({ "action": action, "id": id }).to_string();
        ws.0.write(Message::text(text)).expect("queued");
    }
    ws.0.flush().expect("sent");
    for id in 0..1000 {
        let answer = ws.json();
        assert_eq!(answer["id"], id);
        assert_eq!(answer["success"], id % 4 != 1, "{answer}");
    }
}
