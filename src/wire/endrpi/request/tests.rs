//! Each row of Endrpi's error table, each action under each name, and what clients send to break a parser.

use super::*;
use crate::types::line::Bias;
use crate::types::position::{Epoch, Position};

fn resolve(name: &str) -> Option<Pin> {
    if name == "led-1" { Pin::new(17) } else { Pin::parse(name) }
}

const KNOWN: Known<'_> = Known { resolve: &resolve, debug_actions: true };

fn pin(bcm: u8) -> Pin {
    Pin::new(bcm).expect("a BCM number below 28")
}

fn call(text: &str) -> Call {
    match parse(text.as_bytes(), KNOWN) {
        Ok(request) => request.call,
        Err(refusal) => panic!("{text} was refused: {refusal:?}"),
    }
}

/// Echoed action, echoed id and message of a message that must be refused.
fn refusal(text: &[u8]) -> (Option<&str>, Option<&str>, String) {
    match parse(text, KNOWN) {
        Ok(request) => panic!("{} was accepted: {request:?}", String::from_utf8_lossy(text)),
        Err(Refusal { action, id, message }) => {
            (action.map(ActionName::as_str), id.map(RawValue::get), message.into_owned())
        }
    }
}

#[test]
fn every_telemetry_action_has_two_names_and_is_echoed_as_sent() {
    let table = [
        ("TEMPERATURE", Call::Temperature),
        ("THROTTLE", Call::Throttle),
        ("UPTIME", Call::Uptime),
        ("FREQUENCY", Call::Frequency),
        ("MEMORY", Call::Memory),
        ("PLATFORM", Call::Platform),
        ("SYSTEM", Call::System),
    ];
    for (name, expected) in table {
        for verb in ["READ", "GET"] {
            let text = format!(r#"{{"action":"{verb}_{name}","params":[1],"more":{{}}}}"#);
            let request = parse(text.as_bytes(), KNOWN).expect("a known action");
            assert_eq!((request.action.as_str(), request.call), (format!("{verb}_{name}").as_str(), expected.clone()));
        }
    }
}

#[test]
fn the_envelope_is_refused_in_endrpis_order() {
    const INVALID: &str = "Received invalid message";
    const MISSING: &str = "Received message with missing 'action' field";
    const UNKNOWN: &str = "Received message with invalid 'action' field";
    let table: [(&[u8], &str); 29] = [
        (b"", INVALID),
        (b"  ", INVALID),
        (b"hello", INVALID),
        (b"\xef\xbb\xbf{\"action\":\"READ_MEMORY\"}", INVALID),
        (b"{\"action\":\"READ_MEMORY\"}\0", INVALID),
        (b"\0", INVALID),
        (b"{\"action\":\"READ_\xffMEMORY\"}", INVALID),
        (b"{\"action\":\"READ_MEMORY\"", INVALID),
        (b"{\"action\":\"READ_MEMORY\",}", INVALID),
        (b"{'action':'READ_MEMORY'}", INVALID),
        (b"{\"action\":\"READ_MEMORY\"} x", INVALID),
        (b"{\"action\":\"READ\nMEMORY\"}", INVALID),
        (b"{\"action\":\"READ_MEMORY\",NaN:1}", INVALID),
        (b"{}", MISSING),
        (b"[]", MISSING),
        (b"[{\"action\":\"READ_MEMORY\"}]", MISSING),
        (b"\"READ_MEMORY\"", MISSING),
        (b"17", MISSING),
        (b"1e999", MISSING),
        (b"null", MISSING),
        (b"[NaN]", MISSING),
        (b"NaN", MISSING),
        (b"{\"action\":null}", MISSING),
        (b"{\"action\":\"\"}", MISSING),
        (b"{\"action\":[\"READ_MEMORY\"]}", MISSING),
        (b"{\"action\":\"read_memory\"}", UNKNOWN),
        (b"{\"action\":\"READ_MEMORY \"}", UNKNOWN),
        (b"{\"action\":\"GET_PIN_CONFIGURATIONS\"}", UNKNOWN),
        (b"{\"action\":\"\\ud800\"}", UNKNOWN),
    ];
    for (text, expected) in table {
        assert_eq!(refusal(text), (None, None, expected.to_owned()), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn parameters_are_refused_in_endrpis_order() {
    const MISSING: &str = "Received message with missing 'params' field";
    const INVALID: &str = "Received message with invalid 'params' field";
    for action in ["READ_PIN_CONFIGURATIONS", "UPDATE_PIN_CONFIGURATIONS", "SIMULATE_INPUT", "SUBSCRIBE", "AUTH"] {
        for params in ["null", "{ }", "[ ]", "\"\"", "false", "0", "-0.0"] {
            let text = format!(r#"{{"action":"{action}","params":{params}}}"#);
            assert_eq!(refusal(text.as_bytes()), (Some(action), None, MISSING.to_owned()), "{text}");
        }
        for params in ["true", "1", "\"x\"", "[0]", "NaN"] {
            let text = format!(r#"{{"action":"{action}","params":{params}}}"#);
            assert_eq!(refusal(text.as_bytes()), (Some(action), None, INVALID.to_owned()), "{text}");
        }
        let text = format!(r#"{{"action":"{action}"}}"#);
        assert_eq!(refusal(text.as_bytes()), (Some(action), None, MISSING.to_owned()), "{text}");
    }
}

#[test]
fn pin_parameters_are_refused_in_endrpis_order() {
    const INVALID: &str = "Received message with invalid 'params' field";
    const NO_PINS: &str = "At least one pin id and pin configuration must be supplied";
    const NO_PULL: &str = "No pull specified for input pin configuration";
    const NO_STATE: &str = "No state specified for output pin configuration";
    let table = [
        ("READ", r#"{"x":1}"#, INVALID),
        ("READ", r#"{"pins":null}"#, INVALID),
        ("READ", r#"{"pins":{"GPIO17":{}}}"#, INVALID),
        ("READ", r#"{"pins":["GPIO17","GPIO28"]}"#, INVALID),
        ("READ", r#"{"pins":["gpio17"]}"#, INVALID),
        ("READ", r#"{"pins":[17.0]}"#, INVALID),
        ("READ", r#"{"pins":[-1]}"#, INVALID),
        ("READ", r#"{"pins":[[17]]}"#, INVALID),
        ("READ", r#"{"pins":[NaN]}"#, INVALID),
        ("UPDATE", r#"{"x":1}"#, INVALID),
        ("UPDATE", r#"{"pins":["GPIO17"]}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO17":1}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO28":{"io":"INPUT","pull":"UP"}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"input","pull":"UP"}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"INPUT","pull":"up"}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"OUTPUT","state":1.1}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"OUTPUT","state":NaN}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"OUTPUT","state":-Infinity}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"OUTPUT","state":"nan"}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"INPUT"},"GPIO4":{"io":"OUTPUT","state":5}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"17":{"io":"OUTPUT","state":1},"pin11":{"io":"OUTPUT","state":0}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{"17":{"io":"OUTPUT","state":1},"pin11":{"io":"OUTPUT","state":0.2}}}"#, INVALID),
        ("UPDATE", r#"{"pins":{}}"#, NO_PINS),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"INPUT"}}}"#, NO_PULL),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"OUTPUT","pull":"UP"}}}"#, NO_STATE),
        ("UPDATE", r#"{"pins":{"GPIO17":{"io":"OUTPUT"},"GPIO4":{"io":"INPUT"}}}"#, NO_STATE),
        ("UPDATE", r#"{"pins":{"GPIO4":{"io":"INPUT"},"GPIO17":{"io":"OUTPUT"}}}"#, NO_PULL),
    ];
    for (verb, params, expected) in table {
        let action = format!("{verb}_PIN_CONFIGURATIONS");
        let text = format!(r#"{{"params":{params},"action":"{action}"}}"#);
        assert_eq!(refusal(text.as_bytes()), (Some(action.as_str()), None, expected.to_owned()), "{text}");
    }
}

#[test]
fn lines_are_read_under_the_names_sent() {
    let table = [
        (r#"["GPIO17","GPIO15"]"#, vec![("GPIO17", 17), ("GPIO15", 15)]),
        ("[]", vec![]),
        (
            r#"["GPIO15",17,"17","pin11","led-1",0]"#,
            vec![("GPIO15", 15), ("GPIO17", 17), ("17", 17), ("pin11", 17), ("led-1", 17), ("GPIO0", 0)],
        ),
        (r#"["GPIO4","GPIO22","GPIO4",4,"\u0047PIO22"]"#, vec![("GPIO4", 4), ("GPIO22", 22)]),
    ];
    for (pins, expected) in table {
        let text = format!(r#"{{"action":"READ_PIN_CONFIGURATIONS","params":{{"pins":[1],"pins":{pins}}}}}"#);
        let expected = expected.into_iter().map(|(name, bcm)| (name.to_owned(), pin(bcm))).collect();
        assert_eq!(call(&text), Call::ReadPins(expected), "{text}");
    }
    let many = vec!["\"GPIO4\",\"pin11\""; 4_000].join(",");
    let text = format!(r#"{{"action":"READ_PIN_CONFIGURATIONS","params":{{"pins":[{many}]}}}}"#);
    assert_eq!(call(&text), Call::ReadPins(vec![("GPIO4".into(), pin(4)), ("pin11".into(), pin(17))]));
}

#[test]
fn lines_are_updated_once_each_and_the_last_of_equal_names_counts() {
    let high = LineSetting::Output { level: Level::High };
    let half = LineSetting::Fraction { duty: Duty::from_fraction(0.5).expect("0 to 1") };
    let up = LineSetting::Input { bias: Bias::Up };
    let table = [
        (r#"{"GPIO17":{"io":"OUTPUT","state":1}}"#, vec![(17, high)]),
        (r#"{"led-1":{"io":"OUTPUT","state":0.5},"4":{"io":"INPUT","pull":"UP"}}"#, vec![(17, half), (4, up)]),
        (r#"{"17":{"io":"OUTPUT","state":1},"pin11":{"io":"OUTPUT","state":1.0}}"#, vec![(17, high)]),
        (
            r#"{"GPIO17":{"io":"?"},"GPIO4":{"io":"INPUT","pull":"UP"},"GPIO17":{"io":"OUTPUT","state":1}}"#,
            vec![(17, high), (4, up)],
        ),
    ];
    for (pins, expected) in table {
        let text = format!(r#"{{"action":"UPDATE_PIN_CONFIGURATIONS","params":{{"pins":{pins}}}}}"#);
        let expected = expected.into_iter().map(|(bcm, setting)| (pin(bcm), setting)).collect();
        assert_eq!(call(&text), Call::UpdatePins(expected), "{text}");
    }
}

#[test]
fn the_extensions_name_the_field_they_refuse() {
    let long = format!("Received message with invalid 'topics' field: {}", Pattern::new("").expect_err("empty"));
    let table = [
        ("SIMULATE_INPUT", r#"{"level":1}"#, "Received message with missing 'pin' field"),
        ("SIMULATE_INPUT", r#"{"pin":null,"level":1}"#, "Received message with missing 'pin' field"),
        ("SIMULATE_INPUT", r#"{"pin":4}"#, "Received message with missing 'level' field"),
        ("SIMULATE_INPUT", r#"{"pin":"x","level":1}"#, "Received message with invalid 'pin' field"),
        ("SIMULATE_INPUT", r#"{"pin":4,"level":2}"#, "Received message with invalid 'level' field"),
        ("SIMULATE_INPUT", r#"{"pin":4,"level":"up"}"#, "Received message with invalid 'level' field"),
        ("SIMULATE_INPUT", r#"{"pin":4,"level":[1]}"#, "Received message with invalid 'level' field"),
        ("SUBSCRIBE", r#"{"x":1}"#, "Received message with missing 'topics' field"),
        ("SUBSCRIBE", r#"{"topics":"gpio.**"}"#, "Received message with invalid 'topics' field"),
        ("SUBSCRIBE", r#"{"topics":["gpio.**",1]}"#, "Received message with invalid 'topics' field"),
        ("SUBSCRIBE", r#"{"topics":["gpio.**",""]}"#, &long),
        (
            "SUBSCRIBE",
            r#"{"topics":["a"],"last":1}"#,
            "Received message with invalid 'params' field: 'last' must be true or false",
        ),
        ("PUBLISH", r#"{"data":"x"}"#, "Received message with missing 'topic' field"),
        ("PUBLISH", r#"{"topic":7}"#, "Received message with invalid 'topic' field"),
        ("PUBLISH", r#"{"topic":""}"#, "Received message with invalid 'topic' field: it must not be empty"),
        ("PUBLISH", r#"{"topic":"a","data":1}"#, "Received message with invalid 'data' field"),
        (
            "PUBLISH",
            r#"{"topic":"a","ack":1}"#,
            "Received message with invalid 'params' field: 'ack' must be true or false",
        ),
        ("SUBSCRIBE", r#"{"topics":[]}"#, "At least one topic must be supplied"),
        ("UNSUBSCRIBE", r#"{"topics":[]}"#, "At least one topic must be supplied"),
        ("UNSUBSCRIBE", r#"[1]"#, "Received message with invalid 'params' field"),
        ("AUTH", r#"{"key":"x"}"#, "Received message with missing 'api_key' field"),
        ("AUTH", r#"{"api_key":5}"#, "Received message with invalid 'api_key' field"),
    ];
    for (action, params, expected) in table {
        let text = format!(r#"{{"action":"{action}","params":{params}}}"#);
        assert_eq!(refusal(text.as_bytes()), (Some(action), None, expected.to_owned()), "{text}");
    }
}

#[test]
fn the_extensions_are_understood() {
    for (level, expected) in [
        ("\"high\"", Level::High),
        ("\"HIGH\"", Level::High),
        ("1", Level::High),
        ("1.0", Level::High),
        ("true", Level::High),
        ("\"low\"", Level::Low),
        ("0", Level::Low),
        ("false", Level::Low),
    ] {
        let text = format!(r#"{{"action":"SIMULATE_INPUT","params":{{"pin":"led-1","level":{level}}}}}"#);
        assert_eq!(call(&text), Call::SimulateInput { pin: pin(17), level: expected }, "{text}");
    }
    let topics: Vec<Pattern> = ["gpio.**", "door"].map(|topic| Pattern::new(topic).expect("valid")).to_vec();
    let text = r#"{"action":"SUBSCRIBE","params":{"topics":["gpio.**","door"]}}"#;
    assert_eq!(call(text), Call::Subscribe(topics.clone(), Wants::default()));
    assert_eq!(call(&text.replace("SUB", "UNSUB")), Call::Unsubscribe(topics));
    let text = text
        .replace("\"topics\"", "\"since\":{\"epoch\":\"0000000000000001\",\"offset\":2},\"position\":true,\"topics\"");
    let since = Some(Position { epoch: Epoch(1), offset: 2 });
    let Call::Subscribe(_, wants) = call(&text) else { panic!("{text}") };
    assert_eq!(wants, Wants { since, last: false, position: true });
    for action in ["READ_PRESENCE", "GET_PRESENCE"] {
        assert_eq!(call(&format!(r#"{{"action":"{action}"}}"#)), Call::Presence);
    }
    assert_eq!(call(r#"{"action":"READ_SNAPSHOT"}"#), Call::Snapshot);
    let publish = |data: &str, ack| Call::Publish(Publish { topic: "door".into(), data: data.into(), ack });
    assert_eq!(call(r#"{"action":"PUBLISH","params":{"topic":"door"}}"#), publish("", false));
    let text = r#"{"action":"PUBLISH","params":{"topic":"door","data":"\u00f6","ack":true}}"#;
    assert_eq!(call(text), publish("ö", true));
    for all in [r#"{"action":"UNSUBSCRIBE"}"#, r#"{"action":"UNSUBSCRIBE","params":{}}"#] {
        assert_eq!(call(all), Call::Unsubscribe(vec![]), "{all}");
    }
    let auth = call(r#"{"action":"AUTH","params":{"api_key":"s\u00e9cret"}}"#);
    assert_eq!(auth, Call::Auth { api_key: "sécret".into() });
    assert!(!format!("{auth:?}").contains("cret"));
}

#[test]
fn debug_actions_are_unknown_where_they_are_not_allowed() {
    let actions = ["DEBUG_PANIC", "DEBUG_HANG"].into_iter();
    for (action, params) in actions.flat_map(|action| [(action, r#"{"thread":"hub"}"#), (action, "7")]) {
        let text = format!(r#"{{"action":"{action}","id":3,"params":{params}}}"#);
        let known = Known { debug_actions: false, ..KNOWN };
        let refusal = parse(text.as_bytes(), known).expect_err("not allowed");
        assert_eq!((refusal.action, refusal.id.map(RawValue::get)), (None, Some("3")));
        assert_eq!(refusal.message, text::INVALID_ACTION);
    }
    assert_eq!(call(r#"{"action":"DEBUG_PANIC","params":{"thread":"hub"}}"#), Call::DebugPanic(Victim::Hub));
}

#[test]
fn an_id_of_any_type_comes_back_as_it_was_sent() {
    for id in
        ["1", "-1.50e3", "\"a\\u00e9\"", "null", "true", "[1, {\"x\": []}]", "{ }", "123456789012345678901234567890"]
    {
        let text = format!(r#"{{"id":"old","action":"READ_MEMORY","id": {id} }}"#);
        let request = parse(text.as_bytes(), KNOWN).expect("a known action");
        assert_eq!(request.id.map(RawValue::get), Some(id));
        for (action, echoed) in [("\"x\"", None), ("\"AUTH\"", Some("AUTH")), ("1", None)] {
            let text = format!(r#"{{"action":{action},"id":{id}}}"#);
            let (action, refused_id, _) = refusal(text.as_bytes());
            assert_eq!((action, refused_id), (echoed, Some(id)), "{text}");
        }
    }
    let patched = br#"{"action":"READ_MEMORY","id":["NaN", 7],"x":[NaN, Infinity]}"#;
    let request = parse(patched, KNOWN).expect("Python would understand this");
    assert_eq!(request.id.map(RawValue::get), Some(r#"["NaN", 7]"#));
    let request = parse(br#"{"action":"READ_MEMORY","id":NaN}"#, KNOWN).expect("Python would understand this");
    assert!(request.id.is_none());
}

#[test]
fn duplicate_members_count_last_and_unknown_ones_not_at_all() {
    let text = r#" {"action":7,"\u0061ction":"READ_UPTIME","\ud800":{"action":"x"},"params":[],"more":[{}]} "#;
    assert_eq!(call(text), Call::Uptime);
    assert_eq!(refusal(br#"{"action":"READ_UPTIME","action":null}"#).2, text::MISSING_ACTION);
}

#[test]
fn nesting_costs_no_stack() {
    let deep = "[".repeat(100_000);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let nest = move || {
        assert_eq!(refusal(deep.as_bytes()).2, text::INVALID_MESSAGE);
        for value in [&closed, &objects] {
            assert_eq!(refusal(value.as_bytes()).2, text::MISSING_ACTION);
            let text = format!(r#"{{"action":"READ_MEMORY","id":{value},"params":{value},"x":{value}}}"#);
            assert_eq!(call(&text), Call::Memory);
            let text = format!(r#"{{"action":{value}}}"#);
            assert_eq!(refusal(text.as_bytes()).2, text::MISSING_ACTION);
            for action in [
                "READ_PIN_CONFIGURATIONS",
                "UPDATE_PIN_CONFIGURATIONS",
                "SIMULATE_INPUT",
                "SUBSCRIBE",
                "AUTH",
                "LEASE_PINS",
                "PLAY_PINS",
            ] {
                for params in [
                    value.clone(),
                    format!(
                        r#"{{"steps":[{{"at":0,"pins":{{"17":{value}}}}},{value}],"lease":{value},"pins":[[{value}]]}}"#
                    ),
                    format!(r#"{{"pins":{value},"pin":{value},"level":{value},"topics":{value},"api_key":{value}}}"#),
                    format!(r#"{{"pins":[{value}],"pin":4,"level":{value},"topics":[{value}]}}"#),
                    format!(r#"{{"pins":{{"GPIO4":{{"io":{value},"state":{value},"pull":{value}}}}}}}"#),
                ] {
                    let text = format!(r#"{{"action":"{action}","params":{params}}}"#);
                    assert_eq!(refusal(text.as_bytes()).0, Some(action));
                }
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(nest).expect("a thread starts");
    thread.join().expect("64 KiB of stack are enough");
}

#[test]
fn no_mutilation_of_a_message_upsets_the_parser() {
    let seed = r#"{"action":"UPDATE_PIN_CONFIGURATIONS","id":[1,"\u00e9"],"params":{"pins":{"17":{"io":"OUTPUT","state":NaN}}}}"#;
    for cut in 0..seed.len() {
        let _ = parse(&seed.as_bytes()[..cut], KNOWN);
        for byte in [b'"', b'\\', b'{', b'}', b'[', b',', b'N', 0, 0x80, 0xff] {
            let mut text = seed.as_bytes().to_vec();
            text[cut] = byte;
            let _ = parse(&text, KNOWN);
            text.insert(cut, byte);
            let _ = parse(&text, KNOWN);
        }
    }
}
