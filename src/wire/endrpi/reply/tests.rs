//! The exact text of every model, envelope and event.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::super::line::{self as lines, pin};
use super::super::model::System;
use super::*;
use crate::types::event::{Body, Edges, LineChange, LineChangeKind, NodeStatus};
use crate::types::line::{BackendInfo, Bias, Direction, Duty, Level, LineState, Pin, Pwm, PwmSource};
use crate::types::output::{EdgeCounters, Lease, LineReport, Started};
use crate::types::reading::{Frequency, Memory, Platform, Temperature, Throttle, Uptime};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    assert!(out.is_ascii());
    String::from_utf8(out).expect("ASCII")
}

fn line(direction: Direction, level: Level, bias: Bias) -> LineState {
    LineState::new(direction, Some(level), Some(bias))
}

const TEMPERATURE: &str = r#"{"systemOnChip":{"quantity":20.0,"prefix":null,"unitOfMeasurement":"CELSIUS"}}"#;
const THROTTLE: &str = r#"{"throttling":true,"throttlingHasOccurred":true,"underVoltageDetected":false,"underVoltageHasOccurred":true,"armFrequencyCapped":false,"armFrequencyCappingHasOccurred":false,"softTemperatureLimitActive":false,"softTemperatureLimitHasOccurred":false}"#;
const UPTIME: &str = r#"{"seconds":93784.5,"formatted":"1 day, 2:03:04"}"#;
const FREQUENCY: &str = r#"{"arm":{"quantity":1500000000.0,"prefix":null,"unitOfMeasurement":"HERTZ"},"core":{"quantity":500000992.0,"prefix":null,"unitOfMeasurement":"HERTZ"}}"#;
const MEMORY: &str = r#"{"total":{"quantity":24684092.0,"prefix":"KILO","unitOfMeasurement":"BYTE"},"free":{"quantity":0.0,"prefix":"KILO","unitOfMeasurement":"BYTE"},"available":{"quantity":12.0,"prefix":"KILO","unitOfMeasurement":"BYTE"}}"#;
const PLATFORM: &str = r##"{"machineType":"aarch64","networkName":"b\u00fcro","operatingSystem":{"name":"Linux","release":"6.12.1","version":"#1 SMP"},"model":null,"gpio":{"backend":"sim","simulated":true,"reason":"no chip"}}"##;

#[test]
fn every_model_has_its_members_in_order() {
    let temperature = Temperature { celsius: 20.0 };
    let throttle = Throttle { bits: 0x5_0004 };
    let uptime = Uptime { seconds: 93784.5 };
    let frequency = Frequency { arm_hertz: 1.5e9, core_hertz: 500_000_992.0 };
    let memory = Memory { total_kib: 24_684_092, free_kib: 0, available_kib: 12 };
    let gpio = BackendInfo { name: "sim", simulated: true, why: "no chip".into() };
    let platform = Platform {
        machine: "aarch64".into(),
        network_name: "büro".into(),
        os_name: "Linux".into(),
        os_release: "6.12.1".into(),
        os_version: "#1 SMP".into(),
        model: None,
    };
    let system = System {
        platform: &platform,
        gpio: &gpio,
        temperature: &temperature,
        throttle: &throttle,
        uptime: &uptime,
        frequency: &frequency,
        memory: &memory,
    };
    let whole = format!(
        r#"{{"platform":{PLATFORM},"temperature":{TEMPERATURE},"throttle":{THROTTLE},"uptime":{UPTIME},"frequency":{FREQUENCY},"memory":{MEMORY}}}"#
    );
    let table = [
        (Data::Temperature(&temperature), TEMPERATURE),
        (Data::Throttle(&throttle), THROTTLE),
        (Data::Uptime(&uptime), UPTIME),
        (Data::Frequency(&frequency), FREQUENCY),
        (Data::Memory(&memory), MEMORY),
        (Data::Platform(&platform, &gpio), PLATFORM),
        (Data::System(system), whole.as_str()),
        (Data::Text("Pin configurations updated"), "\"Pin configurations updated\""),
        (Data::Pins(&[]), "{}"),
    ];
    for (data, expected) in table {
        assert_eq!(written(|out| model(out, data)), expected);
        let reply = written(|out| success(out, "READ_X", data, None));
        assert_eq!(reply, format!(r#"{{"action":"READ_X","success":true,"data":{expected},"error":null}}"#));
    }
    let board = Platform { model: Some("Raspberry Pi 5".into()), ..platform };
    assert!(
        written(|out| model(out, Data::Platform(&board, &gpio))).contains(r#"},"model":"Raspberry Pi 5","gpio":{"#)
    );
}

#[test]
fn each_throttling_bit_has_its_flag() {
    let names = [
        (0, "underVoltageDetected"),
        (1, "armFrequencyCapped"),
        (2, "throttling"),
        (3, "softTemperatureLimitActive"),
        (16, "underVoltageHasOccurred"),
        (17, "armFrequencyCappingHasOccurred"),
        (18, "throttlingHasOccurred"),
        (19, "softTemperatureLimitHasOccurred"),
    ];
    for (bit, name) in names {
        let text = written(|out| model(out, Data::Throttle(&Throttle { bits: 1 << bit })));
        assert!(text.contains(&format!("\"{name}\":true")), "{text}");
        assert_eq!(text.matches("true").count(), 1, "{text}");
    }
}

#[test]
fn the_documents_examples_read_as_printed() {
    let data = Data::Temperature(&Temperature { celsius: 20.0 });
    let reply = written(|out| success(out, "GET_TEMPERATURE", data, None));
    assert_eq!(
        reply,
        r#"{"action":"GET_TEMPERATURE","success":true,"data":{"systemOnChip":{"quantity":20.0,"prefix":null,"unitOfMeasurement":"CELSIUS"}},"error":null}"#
    );
    let high = line(Direction::Output, Level::High, Bias::Floating);
    let pins = [("GPIO17".to_owned(), high.clone()), ("GPIO15".to_owned(), high)];
    let reply = written(|out| success(out, "READ_PIN_CONFIGURATIONS", Data::Pins(&pins), None));
    assert_eq!(
        reply,
        r#"{"action":"READ_PIN_CONFIGURATIONS","success":true,"data":{"GPIO17":{"io":"OUTPUT","state":1.0,"pull":"FLOATING"},"GPIO15":{"io":"OUTPUT","state":1.0,"pull":"FLOATING"}},"error":null}"#
    );
}

#[test]
fn lines_say_what_they_are_and_null_for_what_is_not_known() {
    let table = [
        (line(Direction::Input, Level::Low, Bias::Up), r#"{"io":"INPUT","state":0.0,"pull":"UP"}"#),
        (line(Direction::Output, Level::High, Bias::Down), r#"{"io":"OUTPUT","state":1.0,"pull":"DOWN"}"#),
        (LineState::new(Direction::Input, None, None), r#"{"io":"INPUT","state":null,"pull":null}"#),
    ];
    for (line, expected) in table {
        assert_eq!(written(|out| pin(out, &line)), expected);
    }
}

fn pwm() -> Pwm {
    let duty = Duty::from_fraction(0.25).expect("0 to 1");
    Pwm { frequency: 100.0, duty, source: PwmSource::Software }
}

#[test]
fn what_endrpi_does_not_know_of_a_line_is_told_where_there_is_something_to_tell() {
    let plain = line(Direction::Output, Level::High, Bias::Down);
    let table = [
        (
            LineState { consumer: Some("spi0 \"CS1\"".into()), ..plain.clone() },
            r#"{"io":"OUTPUT","state":1.0,"pull":"DOWN","consumer":"spi0 \"CS1\""}"#,
        ),
        (
            LineState { active_low: true, ..plain.clone() },
            r#"{"io":"OUTPUT","state":1.0,"pull":"DOWN","activeLow":true}"#,
        ),
        (
            LineState { pwm: Some(pwm()), ..plain.clone() },
            r#"{"io":"OUTPUT","state":0.25,"pull":"DOWN","pwm":{"frequency":100.0,"duty":0.25,"source":"software"}}"#,
        ),
        (LineState { direction: None, level: None, bias: None, ..plain }, r#"{"io":null,"state":null,"pull":null}"#),
    ];
    for (line, expected) in table {
        assert_eq!(written(|out| pin(out, &line)), expected);
    }
}

#[test]
fn a_report_says_all_and_null_for_what_is_not() {
    let idle = LineReport {
        pin: Pin::new(17).expect("a BCM number below 28"),
        resource: "relay".into(),
        state: line(Direction::Input, Level::Low, Bias::Up),
        held: false,
        allowed: true,
        safe: "low",
        leased_by: None,
        sequence: None,
        edges: EdgeCounters::default(),
    };
    let busy = LineReport {
        state: LineState { pwm: Some(pwm()), consumer: Some("x".into()), active_low: true, ..idle.state.clone() },
        held: true,
        allowed: false,
        leased_by: Some("panel".into()),
        sequence: Some("s1".into()),
        edges: EdgeCounters { rising: 4, falling: 3, lost: 2, summarised: 1 },
        ..idle.clone()
    };
    let idle_text = r#"{"resource":"relay","pin":17,"io":"INPUT","state":0.0,"pull":"UP","activeLow":false,"held":false,"allowed":true,"consumer":null,"safe":"low","leasedBy":null,"sequence":null,"pwm":null,"edges":{"rising":0,"falling":0,"lost":0,"summarised":0}}"#;
    let busy_text = r#"{"resource":"relay","pin":17,"io":"INPUT","state":0.25,"pull":"UP","activeLow":true,"held":true,"allowed":false,"consumer":"x","safe":"low","leasedBy":"panel","sequence":"s1","pwm":{"frequency":100.0,"duty":0.25,"source":"software"},"edges":{"rising":4,"falling":3,"lost":2,"summarised":1}}"#;
    assert_eq!(written(|out| lines::report(out, &idle)), idle_text);
    let both = [("17".to_owned(), idle), ("relay".to_owned(), busy)];
    let expected = format!(r#"{{"17":{idle_text},"relay":{busy_text}}}"#);
    assert_eq!(written(|out| model(out, Data::Lines(&both))), expected);
}

#[test]
fn our_own_actions_answer_with_what_was_granted() {
    let pins = [17, 4].into_iter().filter_map(Pin::new).collect();
    let lease = Lease { id: "l1".into(), pins, lease: Duration::from_secs(5), grace: Duration::from_millis(1_500) };
    let endless = Started { id: "s1".into(), duration: None };
    let short = Started { duration: Some(Duration::from_millis(100)), ..endless.clone() };
    let table = [
        (Data::Lease(&lease), r#"{"lease":"l1","pins":["GPIO17","GPIO4"],"leaseSeconds":5.0,"graceSeconds":1.5}"#),
        (Data::Sequence(&endless), r#"{"sequence":"s1","durationSeconds":null}"#),
        (Data::Sequence(&short), r#"{"sequence":"s1","durationSeconds":0.1}"#),
        (Data::Pwm(&pwm()), r#"{"frequency":100.0,"duty":0.25,"source":"software"}"#),
    ];
    for (data, expected) in table {
        assert_eq!(written(|out| model(out, data)), expected);
    }
}

#[test]
fn failures_come_in_both_styles_with_the_id_last() {
    let id: &RawValue = serde_json::from_str("[1, \"x\"]").expect("valid JSON");
    let table = [
        (None, None, ErrorStyle::String, r#"{"action":null,"success":false,"data":null,"error":"bad \"x\""}"#),
        (
            Some("READ_UPTIME"),
            Some(id),
            ErrorStyle::Object,
            r#"{"action":"READ_UPTIME","success":false,"data":null,"error":{"message":"bad \"x\""},"id":[1, "x"]}"#,
        ),
    ];
    for (action, id, style, expected) in table {
        assert_eq!(written(|out| failure(out, action, "bad \"x\"", id, style)), expected);
    }
    let reply =
        written(|out| success(out, "UPDATE_PIN_CONFIGURATIONS", Data::Text(super::super::PINS_UPDATED), Some(id)));
    assert_eq!(
        reply,
        r#"{"action":"UPDATE_PIN_CONFIGURATIONS","success":true,"data":"Pin configurations updated","error":null,"id":[1, "x"]}"#
    );
}

#[test]
fn uptimes_read_as_pythons_timedelta() {
    let table = [
        (0.0, "0:00:00"),
        (0.5, "0:00:00"),
        (1.5, "0:00:02"),
        (2.5, "0:00:02"),
        (59.51, "0:01:00"),
        (3_600.0, "1:00:00"),
        (36_061.2, "10:01:01"),
        (86_399.5, "1 day, 0:00:00"),
        (93_784.5, "1 day, 2:03:04"),
        (172_800.0, "2 days, 0:00:00"),
        (31_536_000.4, "365 days, 0:00:00"),
        (-3.0, "0:00:00"),
        (f64::NAN, "0:00:00"),
    ];
    for (seconds, expected) in table {
        let text = written(|out| model(out, Data::Uptime(&Uptime { seconds })));
        assert!(text.ends_with(&format!(r#","formatted":"{expected}"}}"#)), "{text}");
    }
}

#[test]
fn strings_are_pythons_ascii() {
    let table = [
        ("plain ~", r#""plain ~""#),
        ("a\"b\\c/", r#""a\"b\\c/""#),
        ("\n\r\t\x08\x0c\0\x1f\x7f", r#""\n\r\t\b\f\u0000\u001f\u007f""#),
        ("é€", r#""\u00e9\u20ac""#),
        ("😀", r#""\ud83d\ude00""#),
    ];
    for (text, expected) in table {
        assert_eq!(written(|out| string(out, text)), expected);
    }
    for c in (0..=0x10_ffff).step_by(7).filter_map(char::from_u32) {
        let json = written(|out| string(out, &c.to_string()));
        assert_eq!(serde_json::from_str::<String>(&json).expect("valid JSON"), c.to_string());
    }
}

#[test]
fn events_are_passive_messages() {
    let at = UNIX_EPOCH + Duration::from_millis(1_772_439_330_250);
    let resource: Arc<str> = "porch-lamp".into();
    let pin = Pin::new(23).expect("a BCM number below 28");
    let gpio = |pwm_duty| Body::GpioState { resource: resource.clone(), pin, level: Level::Low, pwm_duty, edges: None };
    let edges = |count, period, lost, seqno| Body::GpioState {
        resource: resource.clone(),
        pin,
        level: Level::High,
        pwm_duty: None,
        edges: Some(Edges { count, period, lost, monotonic_ns: 12_345_678_901, seqno }),
    };
    let change = LineChange {
        kind: LineChangeKind::Requested,
        consumer: Some("gpiomon".into()),
        direction: Some(Direction::Input),
        bias: None,
        active_low: false,
    };
    let released = LineChange { kind: LineChangeKind::Released, consumer: None, direction: None, ..change.clone() };
    let line = |change| Body::GpioLine { resource: resource.clone(), pin, change };
    let lease = Body::GpioLease {
        lease: "l1".into(),
        holder: "panel".into(),
        lines: vec![(resource.clone(), pin), ("GPIO4".into(), Pin::new(4).expect("a BCM number below 28"))],
        reason: "not renewed",
    };
    let log = Body::Log { level: log::Level::Warn, target: "front".into(), message: "full \"up\"".into() };
    let published =
        Body::Published { event: "door".into(), data: "{\"open\":1}".into(), action: None, created_at: None };
    let table = [
        (gpio(None), "gpio.state.changed", r#"{"resource":"porch-lamp","pin":23,"state":"low"}"#),
        (gpio(Some(75)), "gpio.state.changed", r#"{"resource":"porch-lamp","pin":23,"state":"low","pwm_duty":75}"#),
        (
            Body::NodeStatus { node_id: "pi".into(), status: NodeStatus::Ready },
            "node.status.changed",
            r#"{"node_id":"pi","status":"ready"}"#,
        ),
        (log, "system.log.created", r#"{"level":"warn","message":"full \"up\"","target":"front"}"#),
        (
            edges(1, None, 0, Some((7, 3))),
            "gpio.state.changed",
            r#"{"resource":"porch-lamp","pin":23,"state":"high","edge":"rising","monotonic_ns":12345678901,"seqno":7,"line_seqno":3}"#,
        ),
        (
            edges(0, None, 5, None),
            "gpio.state.changed",
            r#"{"resource":"porch-lamp","pin":23,"state":"high","monotonic_ns":12345678901,"lost":5}"#,
        ),
        (
            edges(240, Some(Duration::from_millis(100)), 0, None),
            "gpio.state.changed",
            r#"{"resource":"porch-lamp","pin":23,"state":"high","edge":"rising","monotonic_ns":12345678901,"edges":240,"period_ms":100}"#,
        ),
        (
            line(change),
            "gpio.line.changed",
            r#"{"resource":"porch-lamp","pin":23,"change":"requested","consumer":"gpiomon","io":"INPUT","pull":null,"active_low":false}"#,
        ),
        (
            line(released),
            "gpio.line.changed",
            r#"{"resource":"porch-lamp","pin":23,"change":"released","consumer":null,"io":null,"pull":null,"active_low":false}"#,
        ),
        (
            lease,
            "gpio.lease.expired",
            r#"{"lease":"l1","holder":"panel","resource":"porch-lamp","pins":[23,4],"resources":["porch-lamp","GPIO4"],"reason":"not renewed"}"#,
        ),
        (published, "door", r#""{\"open\":1}""#),
    ];
    for (body, topic, data) in table {
        let expected = format!(
            r#"{{"action":"EVENT","success":true,"data":{{"topic":"{topic}","timestamp":"2026-03-02T08:15:30.250Z","data":{data}}},"error":null}}"#
        );
        assert_eq!(written(|out| event(out, &Event { at, body })), expected);
    }
}
