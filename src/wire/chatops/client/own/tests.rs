//! What is beyond ChatOps: exact messages.

use super::super::super::write::written;
use super::super::parse;
use super::*;
use crate::types::fleet::{DeviceEvent, LogLevel, LogLine, Sample};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_record_is_numbered_and_gets_another_time_where_its_own_was_wrong() {
    let signature =
        Signature { stream: "s", seq: 18, boot_id: Some("b"), monotonic_ns: 5, clock: ClockState::Corrected };
    let event = DeviceEvent { topic: "gpio.state.changed".into(), at: at(0), data: r#"{"pin":17}"#.into() };
    // Texts that look like the member do not count: their quotes are escaped.
    let line = LogLine {
        level: LogLevel::Error,
        message: "\"timestamp\":\"x\"".into(),
        at: None,
        source: None,
        component: None,
    };
    let sample = Sample { load: Some([0.5, 0.25, 0.0]), ..Sample::default() };
    let numbers = r#""stream":"s","seq":18,"boot_id":"b","monotonic_ns":5,"clock":"corrected"}"#;
    for (record, expected) in [
        (
            Record::Event(event),
            r#"{"type":"event","event":{"type":"gpio.state.changed","timestamp":"TIME","data":{"pin":17}},"#,
        ),
        (
            Record::Log(line),
            r#"{"type":"log","data":{"level":"error","message":"\"timestamp\":\"x\"","timestamp":"TIME"},"#,
        ),
        (Record::Sample(Box::new(sample)), r#"{"type":"metrics","data":{"timestamp":"TIME","#),
    ] {
        let packed = pack(&record, at(60));
        for (corrected, time) in [(None, "1970-01-01T00:01:00Z"), (Some(at(3600)), "1970-01-01T01:00:00Z")] {
            let text = written(|out| numbered(out, &packed, corrected, &signature));
            assert!(text.starts_with(&expected.replace("TIME", time)), "{text}");
            assert!(text.ends_with(numbers), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        }
    }
}

#[test]
fn the_agent_says_who_it_is_and_asks_first() {
    assert_eq!(
        written(|out| hello(out, "0123456789", &[0; 32])),
        format!(r#"{{"type":"hello","key_id":"0123456789","nonce":"{}"}}"#, "A".repeat(43))
    );
    let agent = AgentInfo {
        name: Some("pi1".into()),
        streams: vec!["u".into(), "v".into()],
        node: Some(NodeFacts { cpu_cores: Some(4), memory: Some(1024), ..NodeFacts::default() }),
        ..AgentInfo::default()
    };
    assert_eq!(
        written(|out| auth_with(out, "k", Protocol::Code, &agent)),
        concat!(
            r#"{"type":"auth","api_key":"k","protocol":"code","#,
            r#""agent":{"name":"pi1","streams":["u","v"],"node":{"cpu_cores":4,"memory":1024}}}"#
        )
    );
    let result = r#"{"type":"action_result","command_id":"c","response":{"success":true}}"#;
    assert_eq!(written(|out| action_result(out, "c", r#"{"success":true}"#)), result);
    assert_eq!(
        written(|out| command_output(out, "c", 3, "x\n")),
        r#"{"type":"command_output","command_id":"c","offset":3,"chunk":"x\n"}"#
    );
}

#[test]
fn what_a_hub_of_this_program_says_is_understood() {
    let told = |text: &str| parse(text.as_bytes());
    assert_eq!(told(r#"{"type":"proof","proof":"AQID"}"#), Ok(Told::Proof { proof: vec![1, 2, 3] }));
    assert!(told(r#"{"type":"proof","proof":"!"}"#).is_err());
    assert_eq!(told(r#"{"type":"stored","stream":"u","seq":17}"#), Ok(Told::Stored { stream: "u".into(), seq: 17 }));
    assert_eq!(
        told(r#"{"type":"action","command_id":"c","request":{"action":"READ_MEMORY"}}"#),
        Ok(Told::Action { id: "c".into(), request: r#"{"action":"READ_MEMORY"}"#.into() })
    );
    assert!(told(r#"{"type":"action","command_id":"c","request":"x"}"#).is_err());

    let welcome = br#"{"type":"auth_success","server_id":"s","streams":{"u":17,"v":0}}"#;
    assert_eq!(positions(welcome), [("u".to_owned(), 17), ("v".to_owned(), 0)]);
    for none in ["{}", r#"{"streams":null}"#, r#"{"streams":{"u":-1}}"#, "x"] {
        assert_eq!(positions(none.as_bytes()), [], "{none}");
    }

    let order = br#"{"type":"command","command_id":"c","command":"x","timeout":5,
        "issued_by":{"who":"ann","id":"k1","from":"192.0.2.1"}}"#;
    let issuer = Issuer { who: "ann".into(), id: Some("k1".into()), from: "192.0.2.1".into() };
    assert_eq!(terms(order), Terms { issuer: Some(issuer), timeout: Some(Duration::from_secs(5)) });
    let stop = br#"{"type":"stop_container","command_id":"c","container_id":"x","timeout":5}"#;
    assert_eq!(terms(stop), Terms::default());
}
