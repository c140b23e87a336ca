//! What each action makes of its parameters, and which field a refusal names.

use super::*;

fn resolve(name: &str) -> Option<Pin> {
    if name == "led-1" { Pin::new(17) } else { Pin::parse(name) }
}

fn pin(bcm: u8) -> Pin {
    Pin::new(bcm).expect("a BCM number below 28")
}

fn made(action: &str, params: &str) -> Made {
    let params: Option<&RawValue> = Some(serde_json::from_str(params).expect("JSON"));
    match action {
        "READ_LINES" => read_lines(params, &resolve),
        "LEASE_PINS" => lease_pins(params, &resolve),
        "RENEW_LEASE" => renew_lease(params),
        "RELEASE_LEASE" => release_lease(params),
        "PULSE_PIN" => pulse_pin(params, &resolve),
        "BLINK_PIN" => blink_pin(params, &resolve),
        "PLAY_PINS" => play_pins(params, &resolve),
        "CANCEL_SEQUENCE" => cancel_sequence(params),
        "SET_PWM" => set_pwm(params, &resolve),
        "DEBUG_PANIC" => debug_panic(params),
        "DEBUG_HANG" => debug_hang(params),
        other => panic!("{other}"),
    }
}

fn call(action: &str, params: &str) -> Call {
    made(action, params).unwrap_or_else(|text| panic!("{action} {params}: {text}"))
}

fn sequence(action: &str, params: &str) -> Sequence {
    match call(action, params) {
        Call::Play(sequence) => sequence,
        other => panic!("{other:?}"),
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn leases_take_text_and_seconds_and_name_each_line_once() {
    let table = [
        (r#"{"pins":["GPIO17"],"lease":"5s"}"#, vec![17], ms(5_000), ms(1_000), None),
        (r#"{"pins":[4,"pin11","led-1"],"lease":0.01,"grace":0}"#, vec![4, 17], ms(10), ms(0), None),
        (r#"{"pins":["4"],"lease":"1day","grace":"1h","holder":null}"#, vec![4], DAY, ms(3_600_000), None),
        (r#"{"pins":["4"],"lease":2.5,"grace":null,"holder":"panel"}"#, vec![4], ms(2_500), ms(1_000), Some("panel")),
    ];
    for (params, pins, lease, grace, holder) in table {
        let pins = pins.into_iter().map(pin).collect();
        let expected = Call::Lease(LeaseWish { pins, lease, grace, holder: holder.map(Into::into) });
        assert_eq!(call("LEASE_PINS", params), expected, "{params}");
    }
    assert_eq!(call("RENEW_LEASE", r#"{"lease":"a"}"#), Call::RenewLease("a".into()));
    assert_eq!(call("RELEASE_LEASE", r#"{"lease":"a"}"#), Call::ReleaseLease("a".into()));
}

#[test]
fn a_pulse_goes_there_and_back_once() {
    let high = sequence("PULSE_PIN", r#"{"pin":"led-1","duration":"100ms"}"#);
    let steps = vec![step(ms(0), pin(17), Level::High), step(ms(100), pin(17), Level::Low)];
    assert_eq!(high, Sequence { steps, period: ms(100), rounds: Some(1) });
    assert_eq!(high.duration(), Some(ms(100)));
    let low = sequence("PULSE_PIN", r#"{"pin":4,"duration":0.25,"level":"low"}"#);
    assert_eq!(low.steps, [step(ms(0), pin(4), Level::Low), step(ms(250), pin(4), Level::High)]);
}

#[test]
fn blinking_goes_on_until_cancelled_unless_counted() {
    let params = r#"{"pin":17,"on":"200ms","off":0.3}"#;
    let forever = sequence("BLINK_PIN", params);
    let steps = vec![step(ms(0), pin(17), Level::High), step(ms(200), pin(17), Level::Low)];
    assert_eq!(forever, Sequence { steps, period: ms(500), rounds: None });
    for (count, rounds) in [("10", Some(10)), ("0", None), ("\"forever\"", None), ("null", None)] {
        let params = params.replace('}', &format!(",\"count\":{count}}}"));
        assert_eq!(sequence("BLINK_PIN", &params).rounds, rounds, "{count}");
    }
}

#[test]
fn steps_are_played_once_unless_counted() {
    let steps =
        r#"[{"at":0,"pins":{"GPIO17":1,"18":"low"}},{"at":1500,"pins":{"led-1":0}},{"at":"2ms","pins":{"18":true}}]"#;
    let once = sequence("PLAY_PINS", &format!(r#"{{"steps":{steps}}}"#));
    assert_eq!((once.period, once.rounds, once.steps.len()), (ms(2), Some(1), 3));
    assert_eq!(once.steps[0].levels, [(pin(17), Level::High), (pin(18), Level::Low)]);
    assert_eq!(once.steps[1], step(Duration::from_micros(1_500), pin(17), Level::Low));
    let table = [
        (r#""period":20000,"count":3"#, ms(20), Some(3)),
        (r#""period":"20ms","count":"forever""#, ms(20), None),
        (r#""period":2000,"count":0"#, ms(2), None),
        (r#""period":20000"#, ms(20), Some(1)),
    ];
    for (rest, period, rounds) in table {
        let played = sequence("PLAY_PINS", &format!(r#"{{"steps":{steps},{rest}}}"#));
        assert_eq!((played.period, played.rounds), (period, rounds), "{rest}");
    }
}

#[test]
fn the_rest_is_what_it_says() {
    let all: Vec<(String, Pin)> = (0..28).map(|bcm| (format!("GPIO{bcm}"), pin(bcm))).collect();
    for params in ["null", "{}", r#"{"pins":null}"#, r#"{"pins":[]}"#] {
        assert_eq!(call("READ_LINES", params), Call::ReadLines(all.clone()), "{params}");
    }
    let named = vec![("led-1".to_owned(), pin(17)), ("GPIO4".to_owned(), pin(4))];
    assert_eq!(call("READ_LINES", r#"{"pins":["led-1",4]}"#), Call::ReadLines(named));
    assert_eq!(call("CANCEL_SEQUENCE", r#"{"sequence":"b"}"#), Call::Cancel("b".into()));
    let duty = Duty::from_fraction(0.25).expect("0 to 1");
    let expected = Call::SetPwm { pin: pin(18), frequency: 100.0, duty };
    assert_eq!(call("SET_PWM", r#"{"pin":"GPIO18","frequency":1e2,"duty":0.25}"#), expected);
    assert_eq!(call("DEBUG_PANIC", r#"{"thread":"gpio-in"}"#), Call::DebugPanic(Victim::GpioIn));
    assert_eq!(call("DEBUG_HANG", r#"{"thread":"store"}"#), Call::DebugHang(Victim::Store));
}

/// Each refusal names its field; what stands behind it is told in words.
#[test]
fn refusals_name_the_field() {
    let one = r#""steps":[{"at":0,"pins":{"4":1}}]"#;
    let table = [
        ("READ_LINES", r#"{"pins":"GPIO4"}"#, "invalid 'pins'"),
        ("READ_LINES", r#"{"pins":["x"]}"#, "invalid 'pins'"),
        ("READ_LINES", "[1]", "invalid 'params'"),
        ("LEASE_PINS", r#"{"lease":"5s"}"#, "missing 'pins'"),
        ("LEASE_PINS", r#"{"pins":[4]}"#, "missing 'lease'"),
        ("LEASE_PINS", r#"{"pins":[],"lease":"5s"}"#, "invalid 'pins' field: name at least one"),
        ("LEASE_PINS", r#"{"pins":[28],"lease":"5s"}"#, "invalid 'pins'"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":"9ms"}"#, "invalid 'lease' field: from 10ms to 1day"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":86400.1}"#, "invalid 'lease'"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":1e999}"#, "invalid 'lease'"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":-1}"#, "invalid 'lease'"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":"5"}"#, "invalid 'lease'"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":true}"#, "invalid 'lease'"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":"5s","grace":"61m"}"#, "invalid 'grace' field: from 0s to 1h"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":"5s","holder":""}"#, "invalid 'holder'"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":"5s","holder":"a\nb"}"#, "invalid 'holder'"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":"5s","holder":7}"#, "invalid 'holder'"),
        ("RENEW_LEASE", r#"{"id":"a"}"#, "missing 'lease'"),
        ("RELEASE_LEASE", r#"{"lease":1}"#, "invalid 'lease'"),
        ("PULSE_PIN", r#"{"duration":1}"#, "missing 'pin'"),
        ("PULSE_PIN", r#"{"pin":4}"#, "missing 'duration'"),
        ("PULSE_PIN", r#"{"pin":"x","duration":1}"#, "invalid 'pin'"),
        ("PULSE_PIN", r#"{"pin":4,"duration":0}"#, "invalid 'duration' field: from 100us to 1day"),
        ("PULSE_PIN", r#"{"pin":4,"duration":"25h"}"#, "invalid 'duration'"),
        ("PULSE_PIN", r#"{"pin":4,"duration":1,"level":"up"}"#, "invalid 'level'"),
        ("BLINK_PIN", r#"{"pin":4,"on":1}"#, "missing 'off'"),
        ("BLINK_PIN", r#"{"pin":4,"on":"1us","off":1}"#, "invalid 'on'"),
        ("BLINK_PIN", r#"{"pin":4,"on":"100us","off":"100us"}"#, "invalid 'off' field: a round takes at least 1ms"),
        ("BLINK_PIN", r#"{"pin":4,"on":1,"off":1,"count":-1}"#, "invalid 'count'"),
        ("BLINK_PIN", r#"{"pin":4,"on":1,"off":1,"count":1.5}"#, "invalid 'count'"),
        ("BLINK_PIN", r#"{"pin":4,"on":1,"off":1,"count":4294967295}"#, "invalid 'count' field: the whole takes 24h"),
        ("PLAY_PINS", r#"{"period":1}"#, "missing 'steps'"),
        ("PULSE_PIN", r#"{"pin":4,"duration":"1s","levle":"low"}"#, "unknown 'levle' field; known: pin, level"),
        ("LEASE_PINS", r#"{"pins":[4],"lease":"1s","holdr":"x"}"#, "unknown 'holdr'"),
        ("PLAY_PINS", r#"{"steps":{}}"#, "invalid 'steps'"),
        ("PLAY_PINS", r#"{"steps":[]}"#, "invalid 'steps' field: at least one"),
        ("PLAY_PINS", r#"{"steps":[1]}"#, "invalid 'steps' field: step 1: an object"),
        ("PLAY_PINS", r#"{"steps":[{"at":0.5,"pins":{"4":1}}]}"#, "step 1: 'at' is in whole microseconds"),
        ("PLAY_PINS", r#"{"steps":[{"at":-1,"pins":{"4":1}}]}"#, "step 1: 'at'"),
        ("PLAY_PINS", r#"{"steps":[{"at":"2d","pins":{"4":1}}]}"#, "step 1: 'at'"),
        ("PLAY_PINS", r#"{"steps":[{"at":0,"pins":[4]}]}"#, "step 1: 'pins' is an object"),
        ("PLAY_PINS", r#"{"steps":[{"at":0,"pins":{}}]}"#, "step 1: 'pins' names no line"),
        ("PLAY_PINS", r#"{"steps":[{"at":0,"pins":{"28":1}}]}"#, "step 1: 'pins' names no such line"),
        ("PLAY_PINS", r#"{"steps":[{"at":0,"pins":{"4":0.5}}]}"#, "step 1: a level is"),
        ("PLAY_PINS", r#"{"steps":[{"at":0,"pins":{"4":1,"GPIO4":1}}]}"#, "step 1: 'pins' names a line twice"),
        (
            "PLAY_PINS",
            r#"{"steps":[{"at":5,"pins":{"4":1}},{"at":5,"pins":{"4":0}}]}"#,
            "step 2: 'at' is not after the step before",
        ),
        ("PLAY_PINS", &format!("{{{one},\"count\":2}}"), "missing 'period'"),
        ("PLAY_PINS", &format!("{{{one},\"count\":2,\"period\":999}}"), "invalid 'period' field: a round takes at"),
        ("PLAY_PINS", &format!("{{{one},\"period\":\"soon\"}}"), "invalid 'period'"),
        ("PLAY_PINS", &format!("{{{one},\"count\":9,\"period\":\"23h\"}}"), "invalid 'count' field: the whole"),
        ("PLAY_PINS", r#"{"steps":[{"at":9,"pins":{"4":1}}],"period":8}"#, "invalid 'period' field: it ends before"),
        ("CANCEL_SEQUENCE", r#"{"x":1}"#, "missing 'sequence'"),
        ("SET_PWM", r#"{"pin":4,"frequency":100}"#, "missing 'duty'"),
        ("SET_PWM", r#"{"pin":4,"frequency":0,"duty":0}"#, "invalid 'frequency'"),
        ("SET_PWM", r#"{"pin":4,"frequency":"100","duty":0}"#, "invalid 'frequency'"),
        ("SET_PWM", r#"{"pin":4,"frequency":100,"duty":1.01}"#, "invalid 'duty'"),
        ("DEBUG_PANIC", r#"{"thread":"main"}"#, "invalid 'thread' field: connection, "),
        ("DEBUG_HANG", r#"{"thread":"connection"}"#, "invalid 'thread' field: gpio-in, "),
    ];
    for (action, params, expected) in table {
        let refusal = made(action, params).expect_err(params);
        assert!(refusal.starts_with("Received message with ") && refusal.contains(expected), "{params}: {refusal}");
    }
    let many: Vec<String> = (0..1_001).map(|at| format!(r#"{{"at":{at},"pins":{{"4":1}}}}"#)).collect();
    let params = |steps: usize| format!(r#"{{"steps":[{}]}}"#, many[..steps].join(","));
    assert_eq!(sequence("PLAY_PINS", &params(1_000)).steps.len(), 1_000);
    assert!(made("PLAY_PINS", &params(1_001)).expect_err("too many").ends_with("at most 1000 steps"));
}
